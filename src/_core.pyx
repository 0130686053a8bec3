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


def find_bad_columns(x):
    """First row of a `Sparse` with a column out of range or twice; the row count if none."""
    cdef Inputs held = Inputs(x)
    cdef bpfast_array array
    cdef bpfast_message message
    cdef bpfast_status status
    cdef size_t rows = held.rows(), first = 0, bad, count, piece
    held.describe(&array)
    piece = max(1, SCAN_ELEMENTS // max(1, held.data.rows() // max(1, rows)))
    while first < rows:  # signals are polled between pieces
        count = min(rows - first, piece)
        with nogil:
            status = bpfast_find_bad_columns(&array, count, &bad, &message)
        check(status, &message)
        if bad < count:
            return first + bad
        first += count
        array.starts += count
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


include "net.pxi"


# ---- data and objectives ---------------------------------------------------------------------


cdef class Data:
    """Rows to train or score on: inputs, and targets or int64 labels, and float64 weights."""

    cdef bpfast_data data
    cdef list held

    def __cinit__(self, x=None, y=None, labels=None, weights=None):
        cdef Inputs inputs
        cdef Borrowed b
        memset(&self.data, 0, sizeof(self.data))
        self.held = []
        if x is None:
            return
        inputs = Inputs(x)
        self.held.append(inputs)
        inputs.describe(&self.data.x)
        self.data.rows = inputs.rows()
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
    """A loss with its parameter, and which metrics are wanted.

    `each`: float64, a parameter for each output instead, or None."""

    cdef bpfast_objective objective
    cdef bytes name
    cdef Borrowed each

    def __cinit__(self, str loss, double parameter, bint labels, bint accuracy=False,
                  bint errors=False, bint residuals=False, each=None):
        self.name = loss.encode()
        self.objective.each = NULL
        if each is not None:
            self.each = Borrowed(vector("d", each))
            self.objective.each = <const double *>self.each.view.buf
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
include "look.pxi"


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
