# look.pxi - what weights, gradients and layers' outputs look like.
# SPDX-License-Identifier: BSD-3-Clause


def summaries(list arrays, list counts, size_t bins, size_t threads=1, bint exact_threads=False):
    """Of consecutive parts, with so many elements each, of float arrays, pairs (values, what they
    were before or None): (mean, std, norm, min, max, change), and histograms: int64 (parts, bins)
    and the edges, float64 (parts, bins + 1). All arrays' first parts come first."""
    cdef size_t a, i, n, done = 0, n_arrays = len(arrays), n_parts = n_arrays * len(counts)
    cdef size_t size = 0
    cdef Borrowed held
    room = bytearray((n_parts + 1) * sizeof(bpfast_part))
    cdef bpfast_part *parts = <bpfast_part *><char *>room
    histograms, edges = empty((n_parts, bins), "q"), empty((n_parts, bins + 1))
    cdef Borrowed into = Borrowed(histograms, True), lines = Borrowed(edges, True)
    borrowed = []
    for a in range(n_arrays):
        done = 0
        values, before = arrays[a]
        held = Borrowed(values)
        borrowed.append(held)
        size = held.view.itemsize
        for i, n in enumerate(counts):
            parts[i * n_arrays + a].x = <const char *>held.view.buf + done * size
            parts[i * n_arrays + a].n = n
            done += n
        if before is None:
            continue
        done = 0
        held = Borrowed(before)
        borrowed.append(held)
        for i, n in enumerate(counts):
            parts[i * n_arrays + a].before = <const char *>held.view.buf + done * size
            done += n
    for i in range(n_parts):
        parts[i].counts = <int64_t *>into.view.buf + i * bins
        parts[i].edges = <double *>lines.view.buf + i * (bins + 1)
    with nogil:
        bpfast_summarize(parts, n_parts, size, bins, threads, exact_threads)
    return [
        (parts[i].mean, parts[i].std, parts[i].norm, parts[i].min, parts[i].max, parts[i].change)
        for i in range(n_parts)
    ], histograms, edges


def outputs(Net net, x, list layers, size_t threads=1, bint exact_threads=False):
    """Of each (core layer, low, high), for these rows at inference: (units, values, mean, std,
    units without a positive value, values <= low, values >= high)."""
    cdef Inputs held = Inputs(x)
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
        status = bpfast_look(net.net, &array, rows, threads, exact_threads, to, n, &message)
    check(status, &message)
    return [
        (to[i].units, to[i].outputs, to[i].mean, to[i].std, to[i].silent, to[i].lows, to[i].highs)
        for i in range(n)
    ]
