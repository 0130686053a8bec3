# profile.pxi - where the time of a training step goes.
# SPDX-License-Identifier: BSD-3-Clause

_KERNELS = {
    "product": BPFAST_KERNEL_PRODUCT,
    "gradient": BPFAST_KERNEL_GRADIENT,
    "activation": BPFAST_KERNEL_ACTIVATION,
    "derivative": BPFAST_KERNEL_DERIVATIVE,
    "update": BPFAST_KERNEL_UPDATE,
}


def pieces(Run run):
    """(what, layer, flops, elements, activation) of each piece of a step, or None where the run has
    no such piece."""
    cdef bpfast_piece p
    cdef size_t i
    out = []
    for i in range(bpfast_run_piece_count(run.run)):
        p = bpfast_run_piece(run.run, i)
        activation = None if p.activation == NULL else p.activation.decode()
        out.append(None if p.what == NULL
                   else (p.what.decode(), p.layer, p.flops, p.elements, activation))
    return out


def profile(Run run, size_t max_steps, seconds):
    """Runs up to max_steps steps; adds to `seconds`, zeros of float64 (steps, threads, pieces).
    Returns the steps and threads that there were."""
    cdef Borrowed held = Borrowed(seconds, True)
    cdef bpfast_status status
    cdef size_t team = 0, before = bpfast_run_cursor(run.run).batch
    with nogil:
        status = bpfast_run_profile(run.run, max_steps, <double *>held.view.buf, &team)
    run.raise_fault(status)
    return bpfast_run_cursor(run.run).batch - before, team


def kernel_seconds(Net net, str kernel, size_t layer=0):
    """Seconds that a kernel takes in L1: "product" and "gradient" per floating-point operation,
    "activation" and "derivative" of a dense layer and "update" per element."""
    cdef bpfast_kernel which = _KERNELS[kernel]
    cdef bpfast_message message
    cdef bpfast_status status
    cdef double seconds = 0.0
    with nogil:
        status = bpfast_net_kernel_seconds(net.net, which, layer, &seconds, &message)
    check(status, &message)
    return seconds
