# _core.pyx - the binding: Python objects own C objects, arrays are borrowed, statuses raise.
# SPDX-License-Identifier: BSD-3-Clause
#
# No mathematics and no loops over elements. Arguments were checked in Python; here they are only
# taken apart. Long calls run without the GIL.

from cpython.buffer cimport (
    Py_buffer, PyBUF_FORMAT, PyBUF_STRIDED, PyBUF_STRIDED_RO, PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from c_bpfast cimport *

from array import array as vector

from numpy import empty, ndarray


cdef extern from *:
    """
    #if defined(__clang__)
    #define BP_COMPILER "clang " __clang_version__
    #else
    #define BP_COMPILER "gcc " __VERSION__
    #endif
    """
    const char *BP_COMPILER


cdef list _names(const char *(*name)(size_t) noexcept nogil):
    cdef size_t i = 0
    out = []
    while name(i) != NULL:
        out.append(name(i).decode())
        i += 1
    return out


ACTIVATIONS = tuple(_names(bpfast_activation_name))
LOSSES = tuple(_names(bpfast_loss_name))
RULES = tuple(_names(bpfast_optimizer_rule_name))
SOURCES = tuple(_names(bpfast_source_name))
ISAS = tuple(_names(bpfast_isa_name))
COMPILER = BP_COMPILER.decode()


class Fault(Exception):
    """A run stopped: `kind` is "not_finite" or "bad_input", with layer, batch and row."""

    def __init__(self, kind, layer, batch, row):
        super().__init__(kind, layer, batch, row)
        self.kind, self.layer, self.batch, self.row = kind, layer, batch, row


cdef int check(bpfast_status status, bpfast_message *message) except -1:
    if status == BPFAST_OK:
        return 0
    text = message.text.decode("utf-8", "replace")
    if status == BPFAST_NO_MEMORY:
        raise MemoryError(text)
    raise ValueError(text)


def supported_isas():
    """Names of the ISA rows that this CPU runs, best first."""
    return [name for i, name in enumerate(ISAS) if bpfast_isa_supported(i)]


def default_isa():
    return bpfast_isa_default().decode()


def thread_limits():
    cdef bpfast_threads t = bpfast_thread_limits()
    return {
        "threads": t.threads, "cpus": t.cpus, "openmp": t.openmp, "thread_limit": t.thread_limit,
        "affinity": t.affinity, "cores": t.cores, "quota": t.quota, "reason": t.reason.decode(),
        "cpus_reason": t.cpus_reason.decode(), "has_openmp": bool(t.has_openmp),
    }


def cpu_cores(bytes root, size_t cpus):
    """For tests: physical cores of the first CPUs, by the files below root; 0: unknown."""
    return bpfast_cpu_cores(root, cpus)


def cpu_quota(bytes root):
    """For tests: the control group's quota in CPUs, by the files below root; 0: unlimited."""
    return bpfast_cpu_quota(root)


def cos(double x):
    """Cosine of x in radians, by the library's own polynomial."""
    return bpfast_cos(x)


def fail_allocation(size_t nth):
    """Makes this thread's nth allocation in C from now on fail, once; 0: none. For tests.

    Returns how many were left until the one that an earlier call had chosen.
    """
    return bpfast_fail_allocation(nth)


include "arrays.pxi"
include "lock.pxi"


# Looked through in about 20 ms.
cdef size_t SCAN_ELEMENTS = 1 << 25


def find_bad_row(x, int itemsize):
    """First row with an element not finite in float32 (4) or float64 (8); the row count if none."""
    cdef Borrowed held = Borrowed(x)
    cdef bpfast_array array
    cdef size_t rows = held.rows(), first = 0, bad, count
    held.describe(&array)
    while first < rows:  # signals are polled between pieces
        count = min(rows - first, max(1, SCAN_ELEMENTS // max(1, array.cols)))
        with nogil:
            bad = bpfast_find_bad_row(&array, count, itemsize)
        if bad < count:
            return first + bad
        first += count
        array.data = <const char *>array.data + <ptrdiff_t>count * array.row_stride
        PyErr_CheckSignals()
    return rows


def find_bad_label(labels, size_t classes):
    """First of the int64 labels that is not 0 .. classes - 1; their number if none."""
    cdef Borrowed held = Borrowed(labels)
    cdef size_t rows = held.rows(), bad
    with nogil:
        bad = bpfast_find_bad_label(<const int64_t *>held.view.buf, rows, classes)
    return bad


def activate(str activation, array):
    """Applies an activation to a C-contiguous (rows, columns) float array in place."""
    cdef Borrowed held = Borrowed(array, True)
    name = activation.encode()
    if not bpfast_activate(name, held.view.buf, held.view.shape[0], held.view.shape[1],
                           held.view.itemsize):
        raise ValueError(f"unknown activation {activation!r}")


# A row through fewer parameters takes less than about 10 us: others may wait so long for the GIL,
# and giving it up and taking it back costs a tenth of a microsecond, or much more when one does.
cdef size_t MOST_WITH_GIL = 100_000
cdef size_t FLOAT32 = SOURCES.index("float32"), FLOAT64 = SOURCES.index("float64")


# ---- networks --------------------------------------------------------------------------------


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

    def counters(self):
        cdef bpfast_counters c = bpfast_net_counters(self.net)
        return {"seed": c.seed, "step": c.step, "epoch": c.epoch}

    def set_counters(self, uint64_t seed, uint64_t step, uint64_t epoch):
        cdef bpfast_counters c
        c.seed, c.step, c.epoch = seed, step, epoch
        bpfast_net_set_counters(self.net, c)

    def standardize(self, x):
        cdef Borrowed held = Borrowed(x)
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

    def predict(self, x, out, size_t threads, bint exact_threads=False):
        """`out` is C-contiguous, (rows, outputs), of the network's dtype."""
        cdef Borrowed held = Borrowed(x), result = Borrowed(out, True)
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

    def memory(self, size_t batch_size, size_t rows, str rule):
        cdef size_t persist, state, work
        slots = bpfast_optimizer_slots(RULES.index(rule))
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


# ---- data and objectives ---------------------------------------------------------------------


cdef class Data:
    """Rows to train or score on: inputs, and targets or int64 labels, and float64 weights."""

    cdef bpfast_data data
    cdef list held

    def __cinit__(self, x=None, y=None, labels=None, weights=None):
        cdef Borrowed b
        memset(&self.data, 0, sizeof(self.data))
        self.held = []
        if x is None:
            return
        b = Borrowed(x)
        self.held.append(b)
        b.describe(&self.data.x)
        self.data.rows = b.rows()
        if y is not None:
            b = Borrowed(y)
            self.held.append(b)
            b.describe(&self.data.y)
        if labels is not None:
            b = Borrowed(labels)
            self.held.append(b)
            self.data.labels = <const int64_t *>b.view.buf
        if weights is not None:
            b = Borrowed(weights)
            self.held.append(b)
            self.data.weights = <const double *>b.view.buf


cdef class Objective:
    """A loss with its parameter, and which metrics are wanted."""

    cdef bpfast_objective objective
    cdef bytes name

    def __cinit__(self, str loss, double parameter, bint labels, bint accuracy=False,
                  bint errors=False, bint residuals=False):
        self.name = loss.encode()
        self.objective.loss = self.name
        self.objective.parameter = parameter
        self.objective.labels = labels
        self.objective.accuracy = accuracy
        self.objective.errors = errors
        self.objective.residuals = residuals


def loss_value(Data data, output, Objective objective, int itemsize, gradient=None):
    """Mean loss of `output` rows; its gradient is written into `gradient` when given."""
    cdef Borrowed held = Borrowed(output), into
    cdef bpfast_array array
    cdef bpfast_message message
    cdef double value
    cdef void *slope = NULL
    held.describe(&array)
    if gradient is not None:
        into = Borrowed(gradient, True)
        slope = into.view.buf
    check(bpfast_loss_value(&data.data, &array, &objective.objective, itemsize, &value, slope,
                            &message), &message)
    return value


include "run.pxi"
include "profile.pxi"


# ---- random numbers --------------------------------------------------------------------------


def permute(out, uint64_t seed, uint32_t stream, uint64_t step=0):
    """Fills an int64 array with a permutation that (seed, stream, step) determine."""
    cdef Borrowed held = Borrowed(out, True)
    bpfast_permutation(<int64_t *>held.view.buf, held.rows(), seed, stream, step)


def permutation(size_t n, uint64_t seed, uint32_t stream, uint64_t step=0):
    """An int64 array with a permutation of range(n) that (seed, stream, step) determine."""
    import numpy
    out = numpy.empty(n, numpy.int64)
    permute(out, seed, stream, step)
    return out


def fill(out, str kind, double a, double b, uint64_t seed, uint32_t stream):
    """Fills a C-contiguous float array: "uniform" from a to b, "normal" with mean a and standard
    deviation b, "orthogonal" with gain a, "constant" a."""
    cdef Borrowed held = Borrowed(out, True)
    cdef size_t itemsize = held.view.itemsize, n = held.view.len // held.view.itemsize
    if kind == "orthogonal":
        if not bpfast_fill_orthogonal(held.view.buf, held.view.shape[0], held.view.shape[1],
                                      itemsize, a, seed, stream):
            raise MemoryError(f"orthogonal: {n} weights")
    elif kind in ("uniform", "normal"):
        bpfast_fill_random(held.view.buf, n, itemsize, kind == "normal", a, b, seed, stream)
    elif kind == "constant":
        out[...] = a
    else:
        raise ValueError(f"kind must be uniform, normal, orthogonal or constant, got {kind!r}")
