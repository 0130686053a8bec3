"""Results do not depend on the caller's floating-point mode, and no call changes it.

The mode is set through the C library's fegetenv and fesetenv: on x86-64 MXCSR stands in bytes 28 to
31 of fenv_t, on aarch64 FPCR in bytes 0 to 3.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
import struct
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import bpfast as bp

MACHINE = platform.machine().lower()
FENV_BYTES = 64  # more than any fenv_t
#: machine -> offset of the register, bits that flush denormals, bits that are modes, not flags
REGISTERS = {
    "x86_64": (28, 0x8040, 0xFFC0),
    "aarch64": (0, 1 << 24, 0xFFFFFFFF),
}
if MACHINE not in REGISTERS or platform.libc_ver()[0] != "glibc":
    pytest.skip("knows glibc's fenv_t on x86-64 and aarch64", allow_module_level=True)
OFFSET, FLUSH, MODES = REGISTERS[MACHINE]
#: rounding mode -> its bits in the register
ROUNDINGS = {
    "x86_64": {"down": 0x2000, "up": 0x4000, "zero": 0x6000},
    "aarch64": {"up": 1 << 22, "down": 2 << 22, "zero": 3 << 22},
}[MACHINE]
LIBM = ctypes.CDLL("libm.so.6")
HALF_OF_LEAST = np.float32(2.0**-127)  # a denormal


def read() -> int:
    """The calling thread's register."""
    env = ctypes.create_string_buffer(FENV_BYTES)
    LIBM.fegetenv(env)
    return struct.unpack_from("<I", env, OFFSET)[0]


def write(register: int) -> None:
    env = ctypes.create_string_buffer(FENV_BYTES)
    LIBM.fegetenv(env)
    struct.pack_into("<I", env, OFFSET, register)
    LIBM.fesetenv(env)


@contextlib.contextmanager
def mode(bits: int) -> Iterator[None]:
    """Sets bits of the register; on leaving, checks that the modes are as they were set."""
    before = read()
    write(before | bits)
    entered = read() & MODES
    try:
        yield
        left = read() & MODES
    finally:
        write(before)
    assert left == entered == (before & MODES) | bits


CALLERS = {"as it is": 0, "flushing": FLUSH} | {f"rounding {k}": v for k, v in ROUNDINGS.items()}
each_caller = pytest.mark.parametrize("bits", CALLERS.values(), ids=CALLERS)


def test_the_tests_can_set_the_mode() -> None:
    one = np.ones(1)
    with mode(FLUSH):
        assert HALF_OF_LEAST * np.float32(1) == 0
    with mode(ROUNDINGS["up"]):
        up = one / 3
    assert HALF_OF_LEAST * np.float32(1) > 0
    assert up > one / 3


# ---- what is computed ---------------------------------------------------------------------------


def network(dtype: str = "float32", **options: object) -> bp.Network:
    layers = [
        bp.Standardize(),
        bp.Dense(9, "gelu", weight_regularizer=bp.L2(1e-3), weight_init=bp.initializers.Uniform()),
        bp.Dropout(0.25),
        bp.Dense(3, weight_init=bp.initializers.Normal()),
    ]
    return bp.Network(layers, input_shape=5, dtype=dtype, rng=3, **options)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Inputs in double, a column of which float32 holds as denormals, and labels."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(70, 5))
    X[:, 2] *= 1e-39
    return X, rng.integers(0, 3, 70)


#: Made in the default mode, which NumPy's own arithmetic follows.
X, Y = data()
SLOPE = np.full((70, 3), 1 / 3)


def everything(dtype: str) -> dict[str, bytes]:
    """Bits of whatever the library computes, by name."""
    net = network(dtype)
    found = {"initial": net.parameters}
    fit = {"loss": "cross_entropy", "optimizer": bp.Adam(0.01), "epochs": 4, "batch_size": 16}
    net.fit(X, Y, validation_data=(X, Y), metrics=["accuracy"], **fit)
    found |= {"fitted": net.parameters, "output": net.predict(X), "row": net.predict_one(X[0])}
    found["penalty"] = np.array(net.history.history["penalty"])
    found["forward"] = net.forward(X, training=True)
    found["backward"] = net.backward(SLOPE)
    net.loss_and_gradient(X, Y, loss="cross_entropy")
    found["gradients"] = net.gradients
    net.step(bp.Rprop(0.1))
    found["stepped"] = net.parameters
    orthogonal = bp.Dense(6, "relu", weight_init=bp.initializers.Orthogonal())
    found["orthogonal"] = bp.Network([orthogonal], input_shape=8, rng=0).parameters
    return {name: np.array(value).tobytes() for name, value in found.items()}


@each_caller
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_the_callers_mode(dtype: str, bits: int) -> None:
    expected = everything(dtype)
    with mode(bits):
        found = everything(dtype)
    assert [name for name in expected if found[name] != expected[name]] == []


@each_caller
def test_several_threads_give_the_same_bits(bits: int) -> None:
    """The pool's threads have modes of their own, inherited from whoever started them."""
    inputs, labels = np.random.default_rng(1).normal(size=(256, 5)), np.arange(256) % 3
    fit = {"loss": "cross_entropy", "epochs": 2, "batch_size": 64}
    expected = network(n_threads=1)
    expected.fit(inputs, labels, **fit)
    found: list[bytes] = []

    def train() -> None:
        with mode(bits):
            net = network(n_threads=2)
            net.fit(inputs, labels, **fit)
            found.append(net.parameters.tobytes())

    thread = threading.Thread(target=train)  # with a pool of its own, which inherits its mode
    thread.start()
    thread.join()
    assert found == [expected.parameters.tobytes()]


def test_denormal_inputs_count_as_zero() -> None:
    net = bp.Network([bp.Dense(1, use_bias=False, weight_init="ones")], input_shape=1, rng=0)
    for rows in (1, 40):
        assert not net.predict(np.full((rows, 1), HALF_OF_LEAST)).any()
    net.params["0.kernel"][:] = HALF_OF_LEAST
    assert not net.predict(np.full((1, 1), 2.0**100)).any()


# ---- what is left behind ------------------------------------------------------------------------


class StopError(Exception):
    pass


def stop(epoch: int, logs: object) -> None:
    raise StopError


RAISES = {
    "shape": (ValueError, lambda net, x, y: net.predict(x[:, 1:])),
    "label": (ValueError, lambda net, x, y: net.fit(x, y + 5, loss="cross_entropy")),
    "nan": (ValueError, lambda net, x, y: net.predict(np.full_like(x, np.nan))),
    "divergence": (
        bp.DivergenceError,
        lambda net, x, y: net.fit(x, x[:, :3], loss="mse", optimizer=bp.SGD(1e30), epochs=9),
    ),
    "memory": (
        MemoryError,
        lambda net, x, y: bp.Network([bp.Dense(2**31)], input_shape=2**31, rng=0),
    ),
    "callback": (
        StopError,
        lambda net, x, y: net.fit(
            x, y, loss="cross_entropy", callbacks=[bp.LambdaCallback(on_epoch_end=stop)]
        ),
    ),
}


@each_caller
@pytest.mark.parametrize(("error", "call"), RAISES.values(), ids=RAISES)
def test_errors_leave_the_mode_alone(error: type[Exception], call, bits: int) -> None:
    net = network()
    with mode(bits), pytest.raises(error):
        call(net, X, Y)


@pytest.mark.skipif(MACHINE != "x86_64", reason="aarch64 keeps flags in another register")
def test_no_flag_is_left_behind() -> None:
    """The core alone, since NumPy and Python raise flags of their own: the whole of MXCSR."""
    net = network()
    net.fit(X, Y, loss="cross_entropy", epochs=1)
    x, out = np.full(5, 1e-30, dtype=np.float32), np.empty(3, dtype=np.float32)
    before = read()
    for flags in (0, 0x3F):
        write(before & ~0x3F | flags)
        net.predict_one(x, out)
        after = read()
        write(before)
        assert after == before & ~0x3F | flags
