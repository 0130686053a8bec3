# arrays.pxi - buffers that C borrows, and C memory that Python views.
# SPDX-License-Identifier: BSD-3-Clause

cdef size_t _source_of(str name) except? 999:
    return SOURCES.index(name)


# Element types by buffer format; L and Q, l and q differ by platform in size only.
cdef dict _FORMATS = {
    ("f", 4): _source_of("float32"), ("d", 8): _source_of("float64"),
    ("e", 2): _source_of("float16"), ("?", 1): _source_of("bool"),
    ("B", 1): _source_of("uint8"), ("b", 1): _source_of("int8"),
    ("H", 2): _source_of("uint16"), ("h", 2): _source_of("int16"),
    ("I", 4): _source_of("uint32"), ("i", 4): _source_of("int32"),
    ("L", 4): _source_of("uint32"), ("l", 4): _source_of("int32"),
    ("L", 8): _source_of("uint64"), ("l", 8): _source_of("int64"),
    ("Q", 8): _source_of("uint64"), ("q", 8): _source_of("int64"),
}


cdef class Borrowed:
    """A buffer held for as long as C reads it."""

    cdef Py_buffer view
    cdef bint held

    def __cinit__(self, array, bint writable=False):
        flags = PyBUF_STRIDED if writable else PyBUF_STRIDED_RO
        PyObject_GetBuffer(array, &self.view, flags | PyBUF_FORMAT)
        self.held = True

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    cdef int describe(self, bpfast_array *out) except -1:
        """A 1-D array counts as one column."""
        if not 1 <= self.view.ndim <= 2:
            raise ValueError(f"expected 1 or 2 dimensions, got {self.view.ndim}")
        text = self.view.format.decode() if self.view.format != NULL else "B"
        out.source = _FORMATS[text.lstrip("@=<"), self.view.itemsize]
        out.data = self.view.buf
        out.row_stride = self.view.strides[0]
        out.col_stride = self.view.strides[1] if self.view.ndim == 2 else self.view.itemsize
        out.cols = self.view.shape[1] if self.view.ndim == 2 else 1
        out.starts = NULL
        out.columns = NULL
        out.wide = False
        return 0

    cdef size_t rows(self):
        return self.view.shape[0]


cdef class Inputs:
    """Rows that C reads: an array's, or those of a `bpfast._sparse.Sparse`."""

    cdef Borrowed data, starts, columns
    cdef object sparse

    def __cinit__(self, x):
        self.sparse = None if type(x) is ndarray or not hasattr(x, "starts") else x
        if self.sparse is None:
            self.data = Borrowed(x)
        else:
            self.data, self.starts, self.columns = (
                Borrowed(x.data), Borrowed(x.starts), Borrowed(x.columns))

    cdef int describe(self, bpfast_array *out) except -1:
        self.data.describe(out)
        if self.sparse is not None:
            out.cols = self.sparse.shape[1]
            out.starts = <const int64_t *>self.starts.view.buf
            out.columns = self.columns.view.buf
            out.wide = self.columns.view.itemsize == 8
        return 0

    cdef size_t rows(self):
        return self.data.rows() if self.sparse is None else self.starts.rows() - 1


cdef bint hold_row(object value, Py_ssize_t n, bint writable, Py_buffer *view) except -1:
    """Whether `value` is a NumPy array (n,) of float32 or float64, and no subclass; then it is held
    in `view` until PyBuffer_Release. Writable ones must be contiguous."""
    if type(value) is not ndarray:
        return False
    flags = PyBUF_STRIDED if writable else PyBUF_STRIDED_RO
    try:
        PyObject_GetBuffer(value, view, flags | PyBUF_FORMAT)
    except (BufferError, ValueError):
        return False  # read-only
    if (
        view.ndim == 1 and view.shape[0] == n and view.format[1] == 0
        and (view.format[0] == b"f" or view.format[0] == b"d")
        and (not writable or view.strides[0] == view.itemsize)
    ):
        return True
    PyBuffer_Release(view)
    return False


cdef class View:
    """Memory inside a C object as a writable 1-D buffer; keeps its owner alive."""

    cdef object owner
    cdef void *data
    cdef Py_ssize_t shape[1]
    cdef Py_ssize_t strides[1]

    @staticmethod
    cdef View make(object owner, void *data, size_t count, size_t itemsize):
        cdef View self = View.__new__(View)
        self.owner = owner
        self.data = data
        self.shape[0] = count
        self.strides[0] = itemsize
        return self

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        buffer.buf = self.data
        buffer.obj = self
        buffer.itemsize = self.strides[0]
        buffer.len = self.shape[0] * self.strides[0]
        buffer.format = b"f" if self.strides[0] == 4 else b"d"
        buffer.ndim = 1
        buffer.shape = self.shape
        buffer.strides = self.strides
        buffer.suboffsets = NULL
        buffer.internal = NULL
        buffer.readonly = 0
