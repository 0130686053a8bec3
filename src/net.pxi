# net.pxi - networks: their layers, parameters, optimizer and inference.
# SPDX-License-Identifier: BSD-3-Clause


cdef int describe_layer(bpfast_layer *to, dict spec, list encoded) except -1:
    """Fills a zeroed layer; `encoded` keeps its names alive. Pairs are (height's, width's)."""
    encoded.append(spec["kind"].encode())
    to.kind = encoded[-1]
    encoded.append(spec.get("activation", "identity").encode())
    to.activation = encoded[-1]
    to.n_inputs = len(spec["inputs"])
    for i, value in enumerate(spec["inputs"][:2]):
        to.inputs[i] = value
    to.shares, to.tied = spec.get("shares", 0), spec.get("tied", False)
    to.units = spec.get("units", 0)
    to.use_kernel, to.use_bias = spec.get("use_kernel", False), spec.get("use_bias", False)
    to.trainable = spec.get("trainable", True)
    to.non_negative = spec.get("non_negative", False)
    to.rate = spec.get("rate", spec.get("weight_dropout", 0.0))
    to.epsilon, to.momentum = spec.get("epsilon", 0.0), spec.get("momentum", 0.0)
    to.first, to.count = spec.get("first", 0), spec.get("count", 0)
    to.shape.height, to.shape.width, to.shape.channels = spec.get("shape", (0, 0, 0))
    to.window[0], to.window[1] = spec.get("window", (1, 1))
    to.stride[0], to.stride[1] = spec.get("stride", (1, 1))
    to.dilation[0], to.dilation[1] = spec.get("dilation", (1, 1))
    to.outside_y[0], to.outside_y[1] = spec.get("outside_y", (0, 0))
    to.outside_x[0], to.outside_x[1] = spec.get("outside_x", (0, 0))
    to.groups = spec.get("groups", 1)
    to.l1, to.l2 = spec.get("l1", 0.0), spec.get("l2", 0.0)
    to.bias_l1, to.bias_l2 = spec.get("bias_l1", 0.0), spec.get("bias_l2", 0.0)
    to.max_norm = spec.get("max_norm", 0.0)
    to.lr_scale = spec.get("lr_scale", 1.0)
    return 0


cdef class Net:
    """A C network. `layers` are the dicts of Layer.spec()."""

    cdef bpfast_net *net
    cdef bpfast_net_info info
    cdef str dtype

    def __cinit__(self, list layers, tuple input_shape, int itemsize, str isa, uint64_t seed):
        cdef bpfast_message message
        cdef bpfast_layer *specs
        cdef bpfast_status status
        cdef bpfast_shape shape
        cdef const char *isa_name = NULL
        encoded = []  # keeps the text alive
        if isa is not None:
            encoded.append(isa.encode())
            isa_name = encoded[-1]
        room = bytearray((len(layers) + 1) * sizeof(bpfast_layer))  # zeroed
        specs = <bpfast_layer *><char *>room
        for i, spec in enumerate(layers):
            describe_layer(&specs[i], spec, encoded)
        shape.height, shape.width, shape.channels = input_shape
        status = bpfast_net_new(
            &self.net, specs, len(layers), shape, itemsize, isa_name, seed, &message)
        check(status, &message)
        self.info = bpfast_net_describe(self.net)
        self.dtype = "f" if itemsize == 4 else "d"

    def __dealloc__(self):
        bpfast_net_free(self.net)

    @property
    def isa(self):
        return self.info.isa.decode()

    @property
    def outputs(self):
        return self.info.outputs

    def parameters(self):
        return View.make(self, self.info.parameters, self.info.n_parameters, self.info.itemsize)

    def gradients(self):
        return View.make(self, self.info.gradients, self.info.n_parameters, self.info.itemsize)

    def buffers(self):
        return View.make(self, self.info.buffers, self.info.n_buffers, self.info.itemsize)

    def tensors(self):
        """(layer, offset, rows, cols, is_bias) of each parameter tensor, in order."""
        cdef bpfast_tensor t
        cdef size_t i = 0
        out = []
        while bpfast_net_tensor(self.net, i, &t):
            out.append((t.layer, t.offset, t.rows, t.cols, bool(t.is_bias)))
            i += 1
        return out

    def buffers_list(self):
        """(layer, offset, size, part) of each pair of statistics, in order."""
        cdef bpfast_buffer b
        cdef size_t i = 0
        out = []
        while bpfast_net_buffer(self.net, i, &b):
            out.append((b.layer, b.offset, b.size, b.part))
            i += 1
        return out

    def set_trainable(self, list flags):
        """One flag a layer, for runs made from now on."""
        cdef size_t i
        for i, flag in enumerate(flags):
            bpfast_net_set_trainable(self.net, i, flag)

    def set_lr_scales(self, list scales):
        """One factor of the learning rate a layer, from the next step on."""
        cdef size_t i
        for i, scale in enumerate(scales):
            bpfast_net_set_lr_scale(self.net, i, scale)

    def counters(self):
        cdef bpfast_counters c = bpfast_net_counters(self.net)
        return {"seed": c.seed, "step": c.step, "epoch": c.epoch}

    def set_counters(self, uint64_t seed, uint64_t step, uint64_t epoch):
        cdef bpfast_counters c
        c.seed, c.step, c.epoch = seed, step, epoch
        bpfast_net_set_counters(self.net, c)

    def standardize(self, x):
        cdef Inputs held = Inputs(x)
        cdef bpfast_array array
        cdef bpfast_message message
        cdef bpfast_status status
        cdef size_t rows = held.rows()
        held.describe(&array)
        with nogil:
            status = bpfast_net_standardize(self.net, &array, rows, &message)
        check(status, &message)

    def set_optimizer(self, dict spec, bint anew=False):
        """`spec` has "rule" and the numbers of bpfast_optimizer; `anew` forgets the state."""
        cdef bpfast_optimizer o
        cdef bpfast_message message
        memset(&o, 0, sizeof(o))
        o.rule = RULES.index(spec["rule"])
        o.learning_rate = spec["learning_rate"]
        o.momentum = spec.get("momentum", 0.0)
        o.beta_1 = spec.get("beta_1", 0.0)
        o.beta_2 = spec.get("beta_2", 0.0)
        o.epsilon = spec.get("epsilon", 0.0)
        o.weight_decay = spec.get("weight_decay", 0.0)
        o.rho = spec.get("rho", 0.0)
        o.eta_minus = spec.get("eta_minus", 0.0)
        o.eta_plus = spec.get("eta_plus", 0.0)
        o.step_min = spec.get("step_min", 0.0)
        o.step_max = spec.get("step_max", 0.0)
        o.bias_correction = spec.get("bias_correction", False)
        o.clip_norm = spec.get("clip_norm", 0.0)
        o.clip_value = spec.get("clip_value", 0.0)
        check(bpfast_net_set_optimizer(self.net, &o, anew, &message), &message)

    def reset_optimizer(self):
        bpfast_net_reset_optimizer(self.net)

    @staticmethod
    def slot_names(str rule):
        text = bpfast_optimizer_slot_names(RULES.index(rule)).decode()
        return text.split(",") if text else []

    def read_state(self, size_t slot, out):
        cdef Borrowed held = Borrowed(out, True)
        return bool(bpfast_net_read_state(self.net, slot, held.view.buf))

    def write_state(self, size_t slot, values):
        cdef Borrowed held = Borrowed(values)
        return bool(bpfast_net_write_state(self.net, slot, held.view.buf))

    def set_average(self, double decay, uint64_t start):
        """From now on steps move an average of the parameters; by decay 0 they do not."""
        cdef bpfast_message message
        check(bpfast_net_set_average(self.net, decay, start, &message), &message)

    def drop_average(self):
        bpfast_net_drop_average(self.net)

    def read_average(self, out=None):
        """Whether there is an average; then it is in `out`, unless that is None."""
        cdef Borrowed held
        if out is None:
            return bool(bpfast_net_read_average(self.net, NULL))
        held = Borrowed(out, True)
        return bool(bpfast_net_read_average(self.net, held.view.buf))

    def write_average(self, values):
        cdef Borrowed held = Borrowed(values)
        return bool(bpfast_net_write_average(self.net, held.view.buf))

    def predict(self, x, out, size_t threads, bint exact_threads=False):
        """`out` is C-contiguous, (rows, outputs), of the network's dtype."""
        cdef Inputs held = Inputs(x)
        cdef Borrowed result = Borrowed(out, True)
        cdef bpfast_array array
        cdef bpfast_message message
        cdef bpfast_status status
        cdef size_t rows = held.rows()
        held.describe(&array)
        with nogil:
            status = bpfast_predict(
                self.net, &array, rows, result.view.buf, threads, exact_threads, &message)
        check(status, &message)

    def predict_one(self, x, out):
        """The output for one row, in `out` or (None) in a new array.

        The short way for what is called most: finite rows that `hold_row` takes. For anything else
        it returns None and has done nothing.
        """
        cdef Py_buffer row, result
        if not hold_row(x, self.info.inputs, False, &row):
            return None
        try:
            if out is None:
                out = empty(self.info.outputs, self.dtype)
            if not hold_row(out, self.info.outputs, True, &result):
                return None
            try:
                return out if self.predict_held(&row, &result) else None
            finally:
                PyBuffer_Release(&result)
        finally:
            PyBuffer_Release(&row)

    cdef bint predict_held(self, const Py_buffer *row, const Py_buffer *out) except -1:
        """Whether both buffers would do; then the row's output is in the second."""
        cdef bpfast_message message
        cdef bpfast_status status
        cdef bpfast_array array
        if <size_t>out.itemsize != self.info.itemsize:
            return False
        array.data = row.buf
        array.source = FLOAT32 if row.itemsize == 4 else FLOAT64
        array.row_stride = 0
        array.col_stride = row.strides[0]
        array.cols = self.info.inputs
        array.starts = NULL
        array.columns = NULL
        array.wide = False
        if bpfast_find_bad_row(&array, 1, self.info.itemsize) == 0:
            return False
        if self.info.n_parameters <= MOST_WITH_GIL:
            status = bpfast_predict(self.net, &array, 1, out.buf, 1, False, &message)
        else:
            with nogil:
                status = bpfast_predict(self.net, &array, 1, out.buf, 1, False, &message)
        check(status, &message)
        return True

    def evaluate(self, Data data, Objective objective, size_t threads, residuals=None):
        cdef bpfast_scores scores
        cdef bpfast_message message
        cdef bpfast_status status
        cdef double *sums = NULL
        cdef Borrowed held
        if residuals is not None:
            held = Borrowed(residuals, True)
            sums = <double *>held.view.buf
        with nogil:
            status = bpfast_evaluate(
                self.net, &data.data, &objective.objective, threads, &scores, sums, &message)
        check(status, &message)
        return _scores(&scores)

    def penalty(self):
        cdef double value
        with nogil:
            value = bpfast_penalty(self.net)
        return value

    def memory(self, size_t batch_size, size_t rows, str rule, bint average):
        cdef size_t persist, state, work
        slots = bpfast_optimizer_slots(RULES.index(rule)) + average  # laid out as one
        if not bpfast_net_memory(self.net, batch_size, rows, slots, &persist, &state, &work):
            raise MemoryError(f"batch_size={batch_size} needs more bytes than can be addressed")
        return {"persist": persist, "state": state, "work": work}

    def plan_lines(self, size_t batch_size):
        cdef char text[256]
        cdef bpfast_message message
        out = []
        while True:
            check(bpfast_net_plan_line(
                self.net, batch_size, len(out), text, sizeof(text), &message), &message)
            if text[0] == 0:
                return out
            out.append(text.decode().rstrip())


cdef dict _scores(const bpfast_scores *s):
    return {
        "loss_sum": s.loss_sum, "weight_sum": s.weight_sum, "correct": s.correct,
        "squared": s.squared, "absolute": s.absolute,
    }
