# look.pxi - what weights, gradients and layers' outputs look like.
# SPDX-License-Identifier: BSD-3-Clause


def summaries(values, list counts, size_t bins, before=None):
    """Of consecutive parts of a float array, with so many elements each: (mean, std, norm, min,
    max, change since `before`, a like array), and histograms: int64 (parts, bins) and the edges,
    float64 (parts, bins + 1)."""
    cdef Borrowed held = Borrowed(values), other
    cdef size_t i, n, size = held.view.itemsize
    cdef const char *x = <const char *>held.view.buf
    cdef const char *y = NULL
    cdef bpfast_summary s
    if before is not None:
        other = Borrowed(before)
        y = <const char *>other.view.buf
    histograms, edges = empty((len(counts), bins), "q"), empty((len(counts), bins + 1))
    cdef Borrowed into = Borrowed(histograms, True), at = Borrowed(edges, True)
    cdef int64_t *to = <int64_t *>into.view.buf
    cdef double *lines = <double *>at.view.buf
    figures = []
    for i, n in enumerate(counts):
        with nogil:
            bpfast_summarize(x, y, n, size, bins, &s, to + i * bins, lines + i * (bins + 1))
        figures.append((s.mean, s.std, s.norm, s.min, s.max, s.change))
        x += n * size
        if y != NULL:
            y += n * size
    return figures, histograms, edges


def outputs(Net net, x, list layers):
    """Of each (core layer, low, high), for these rows at inference: (units, values, mean, std,
    units without a positive value, values <= low, values >= high)."""
    cdef Borrowed held = Borrowed(x)
    cdef size_t i, n = len(layers), rows = held.rows()
    cdef bpfast_array array
    cdef bpfast_message message
    cdef bpfast_status status
    room = bytearray((n + 1) * sizeof(bpfast_outputs))
    cdef bpfast_outputs *to = <bpfast_outputs *><char *>room
    held.describe(&array)
    for i in range(n):
        to[i].layer, to[i].low, to[i].high = layers[i]
    with nogil:
        status = bpfast_look(net.net, &array, rows, to, n, &message)
    check(status, &message)
    return [
        (to[i].units, to[i].outputs, to[i].mean, to[i].std, to[i].silent, to[i].lows, to[i].highs)
        for i in range(n)
    ]
