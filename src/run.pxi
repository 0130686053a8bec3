# run.pxi - training runs: epochs, chunks of steps, single batches.
# SPDX-License-Identifier: BSD-3-Clause

cdef class Run:
    """One training run over fixed data, or (without data) the low-level calls."""

    cdef bpfast_run *run
    cdef Net net
    cdef Data train, validation
    cdef Objective objective
    cdef Borrowed rates, before

    def __cinit__(self, Net net, Data train, Data validation, Objective objective,
                  size_t batch_size, size_t threads, bint exact_threads=False, bint shuffle=True,
                  bint sweep=False, bint check_inputs=False, bint ignore_faults=False,
                  double planned_epochs=1.0, size_t accumulate=1, double decay=0.0):
        cdef bpfast_config config
        cdef bpfast_message message
        cdef bpfast_status status
        memset(&config, 0, sizeof(config))
        self.net, self.train, self.validation, self.objective = net, train, validation, objective
        if train is not None:
            config.train = train.data
        if validation is not None:
            config.validation = validation.data
        if objective is not None:
            config.objective = objective.objective
        config.batch_size = batch_size
        config.accumulate = accumulate
        config.threads = threads
        config.exact_threads = exact_threads
        config.shuffle = shuffle
        config.sweep = sweep
        config.check_inputs = check_inputs
        config.ignore_faults = ignore_faults
        config.planned_epochs = planned_epochs
        config.decay = decay
        with nogil:
            status = bpfast_run_new(&self.run, net.net, &config, &message)
        check(status, &message)

    def __dealloc__(self):
        bpfast_run_free(self.run)

    @property
    def threads(self):
        return bpfast_run_threads(self.run)

    def begin_epoch(self, rates, dict cursor):
        """`rates`: float64, one or one a step. `cursor`: {} or what cursor() returned."""
        cdef bpfast_cursor c
        cdef Borrowed residuals
        memset(&c, 0, sizeof(c))
        if cursor:
            if "residuals" in cursor:
                residuals = Borrowed(vector("d", cursor["residuals"]))
                c.residuals = <const double *>residuals.view.buf
            c.batch = cursor["batch"]
            c.scores.loss_sum = cursor["loss_sum"]
            c.scores.weight_sum = cursor["weight_sum"]
            c.scores.correct = cursor["correct"]
            c.scores.squared = cursor["squared"]
            c.scores.absolute = cursor["absolute"]
        self.rates = Borrowed(rates)
        with nogil:
            bpfast_run_begin_epoch(
                self.run, <const double *>self.rates.view.buf, self.rates.view.shape[0], &c)

    def steps(self, size_t max_steps, double chunk_seconds, double seconds, clock):
        """Runs until max_steps, the epoch's end or `seconds` of `clock`; polls signals between
        chunks. Parameters are current afterwards. Returns whether the epoch is finished."""
        cdef bpfast_status status = BPFAST_OK
        cdef c_bool finished = False
        cdef double chunk = chunk_seconds
        cdef size_t before = bpfast_run_cursor(self.run).batch, done = 0
        start = clock() if seconds < INFINITY else 0.0
        try:
            while not finished and status == BPFAST_OK and done < max_steps:
                if seconds < INFINITY:
                    chunk = min(chunk_seconds, seconds - (clock() - start))
                    if chunk <= 0 and done > 0:
                        break
                with nogil:
                    status = bpfast_run_steps(self.run, max_steps - done, chunk, &finished)
                done = bpfast_run_cursor(self.run).batch - before
                PyErr_CheckSignals()
        finally:
            if not finished or status != BPFAST_OK:
                bpfast_run_unpack(self.run)
        self.raise_fault(status)
        return bool(finished)

    cdef int raise_fault(self, bpfast_status status) except -1:
        cdef bpfast_fault f
        if status == BPFAST_OK:
            return 0
        f = bpfast_run_fault(self.run)
        raise Fault(
            "bad_input" if status == BPFAST_BAD_INPUT else "not_finite", f.layer, f.batch, f.row)

    def watch(self, before):
        """Lets the last step of the epoch that is about to begin copy the parameters that it meets
        to `before`, and leave its gradient in the network."""
        self.before = Borrowed(before, True)
        bpfast_run_watch(self.run, self.before.view.buf)

    @property
    def watched(self):
        """Whether the epoch's last step did so."""
        return bool(bpfast_run_watched(self.run))

    def unpack(self):
        """Makes the parameters current; the next step reads them anew."""
        bpfast_run_unpack(self.run)

    def end_epoch(self):
        """Returns (penalty, validation scores or None)."""
        cdef double penalty = 0.0
        cdef bpfast_scores scores
        cdef bpfast_status status
        with nogil:
            status = bpfast_run_end_epoch(self.run, &penalty, &scores)
        self.raise_fault(status)
        return penalty, (None if self.validation is None else _scores(&scores))

    def cursor(self):
        cdef bpfast_cursor c = bpfast_run_cursor(self.run)
        where = {"batch": c.batch, **_scores(&c.scores)}
        if self.objective.objective.residuals:
            where["residuals"] = self.residuals(False)
        return where

    def residuals(self, bint validation):
        """Sums of squared residuals of each output."""
        cdef const double *sums = bpfast_run_residuals(self.run, validation)
        return [sums[j] for j in range(self.net.info.outputs)]

    def restore(self):
        bpfast_run_restore(self.run)

    # ---- one batch at a time

    def forward(self, x, out, size_t part=0):
        cdef Inputs held = Inputs(x)
        cdef Borrowed result = Borrowed(out, True)
        cdef bpfast_array array
        cdef size_t rows = held.rows()
        held.describe(&array)
        with nogil:
            bpfast_run_forward(self.run, &array, rows, part, result.view.buf)

    def backward(self, dy, bint accumulate, dx=None):
        cdef Borrowed held = Borrowed(dy), result
        cdef bpfast_array array
        cdef void *into = NULL
        held.describe(&array)
        if dx is not None:
            result = Borrowed(dx, True)
            into = result.view.buf
        with nogil:
            bpfast_run_backward(self.run, &array, accumulate, into)

    def loss(self, Data batch):
        """Returns (data loss, penalty); gradients of their sum are in the net."""
        cdef double loss = 0.0, penalty = 0.0
        with nogil:
            bpfast_run_loss(self.run, &batch.data, &loss, &penalty)
        return loss, penalty

    def apply(self, double rate):
        with nogil:
            bpfast_run_apply(self.run, rate)
