"""A training for TensorBoard's eyes; needs tensorboardX."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from bpfast._callback import Callback, Logs
from bpfast._check import bad_type, check_text

if TYPE_CHECKING:
    from bpfast.weight_monitor import WeightMonitor

#: What is of the epoch, not of one kind of rows.
_PLAIN = ("penalty", "learning_rate", "seconds")


class TensorBoard(Callback):
    """Write what a fit records into event files that TensorBoard shows.

    Parameters
    ----------
    log_dir : str or path-like
        The folder, made where it is missing; one for each run that is to be compared.
    monitor : WeightMonitor, optional
        Histograms and numbers of what it looks at are written too. It is a callback of the same
        fit, before or behind this one.

    Raises
    ------
    ImportError
        tensorboardX is missing: ``pip install 'bpfast[tensorboard]'``.

    Notes
    -----
    Steps are epochs, from 0. Scalars are ``loss/training`` and ``loss/validation``, metrics alike,
    ``learning_rate``, ``penalty`` and ``seconds``; with a monitor ``gradient_norm``,
    ``update_ratio`` and ``norm`` of each tensor, ``dead`` and ``saturated`` of each layer, and the
    histograms ``weights`` and ``gradients``. The text ``settings`` names network, optimizer, loss,
    batch size and seed.
    """

    def __init__(
        self, log_dir: str | os.PathLike[str], *, monitor: WeightMonitor | None = None
    ) -> None:
        if not isinstance(log_dir, str | os.PathLike):
            raise bad_type("log_dir", "a str or a path", log_dir)
        self.log_dir = check_text("log_dir", os.fspath(log_dir))
        if monitor is not None and not hasattr(monitor, "looks"):
            raise bad_type("monitor", "None or a WeightMonitor", monitor)
        self._monitor = monitor
        self._writer: Any = None
        self._seen = 0  # looks that are written
        _writer_class()

    def on_train_begin(self, logs: Logs) -> None:
        """Open the file, and write what is trained and how."""
        self._writer = _writer_class()(self.log_dir)
        self._seen = 0
        self._writer.add_text("settings", self._settings(int(logs["epochs"])), 0)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the epoch's numbers, and what the monitor has seen."""
        for key, value in logs.items():
            name, kind = key.removeprefix("val_"), "validation" if key[:4] == "val_" else "training"
            self._number(key if key in _PLAIN else f"{name}/{kind}", value, epoch)
        self._write_looks()
        self._writer.flush()

    def on_train_end(self, logs: Logs) -> None:
        """Write what is left, and close the file."""
        if self._writer is None:
            return
        self._write_looks()
        self._writer.close()
        self._writer = None

    def _number(self, tag: str, value: float, epoch: int) -> None:
        """Write a number; what is not defined is left out."""
        if not math.isnan(value):
            self._writer.add_scalar(tag, float(value), epoch)

    def _settings(self, epochs: int) -> str:
        """Return a table in Markdown."""
        import bpfast

        net = self.net
        rows = {
            "network": f"{net.sizes}, {net.dtype}, {net.parameters.size:,} parameters",
            "loss": "own" if net._loss is None else net._loss,
            "optimizer": net._optimizer,
            "batch size": net._batch_size,
            "epochs": epochs,
            "seed": net.seed,
            "bpfast": bpfast.__version__,
        }
        lines = [f"| {name} | `{str(value).replace('|', '/')}` |" for name, value in rows.items()]
        return "\n".join(["| | |", "|---|---|", *lines])

    def _write_looks(self) -> None:
        """Write the looks of the monitor that came since the last time."""
        looks = [] if self._monitor is None else self._monitor.looks
        if len(looks) < self._seen:  # the monitor began anew
            self._seen = 0
        for look in looks[self._seen :]:
            for name, tensor in look.tensors.items():
                for key in ("norm", "gradient_norm", "update_ratio"):
                    self._number(f"{key}/{name}", getattr(tensor, key), look.epoch)
                self._histogram(
                    f"weights/{name}",
                    tensor.histogram,
                    tensor.edges,
                    (tensor.mean, tensor.std),
                    look.epoch,
                )
                self._histogram(
                    f"gradients/{name}",
                    tensor.gradient_histogram,
                    tensor.gradient_edges,
                    (tensor.gradient_mean, tensor.gradient_std),
                    look.epoch,
                )
            for name, layer in look.layers.items():
                for key in ("dead", "saturated"):
                    self._number(f"{key}/{name}", getattr(layer, key), look.epoch)
        self._seen = len(looks)

    def _histogram(
        self, tag: str, counts: Any, edges: Any, moments: tuple[float, float], epoch: int
    ) -> None:
        """Write a histogram; of an empty one, or with edges that are no numbers, nothing.

        A bucket of TensorBoard ends at its limit: an empty one in front says where the first
        begins.
        """
        import numpy as np

        number, limits = int(np.sum(counts)), np.asarray(edges, float)
        if number == 0 or not (np.isfinite(limits).all() and np.isfinite(moments).all()):
            return
        mean, deviation = moments
        self._writer.add_histogram_raw(
            tag,
            min=float(limits[0]),
            max=float(limits[-1]),
            num=number,
            sum=mean * number,
            sum_squares=(mean**2 + deviation**2) * number,
            bucket_limits=limits.tolist(),
            bucket_counts=[0, *np.asarray(counts).tolist()],
            global_step=epoch,
        )


def _writer_class() -> Any:
    """Return tensorboardX's SummaryWriter, or say how to get it."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ImportError(
            f"TensorBoard needs tensorboardX ({error}): pip install 'bpfast[tensorboard]'"
        ) from None
    return SummaryWriter
