"""The network: layers with their weights, and everything one does with them."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bpfast import (
    _core,
    _describe,
    _diagnose,
    _exports,
    _find_lr,
    _inference,
    _reuse,
    config,
    losses,
)
from bpfast._batches import Batches
from bpfast._build import draw_weights, named
from bpfast._check import check_bool, check_choice, check_count, check_notes
from bpfast._data import as_sparse_or_dense, check_finite
from bpfast._plan import Plan
from bpfast._spec import DTYPES, core_rule, read_layers, seed_of
from bpfast.layers.base import Layer, changes

if TYPE_CHECKING:
    from bpfast._fit import LiveProgress, Progress
    from bpfast.callbacks import Callback, History
    from bpfast.layers.shapes import Shape
    from bpfast.optimizers import Optimizer
    from bpfast.schedules import Schedule

Array = NDArray[Any]
LossLike = str | losses.Loss | Mapping[str, Any] | Callable[..., Any]
MetricLike = str | Callable[..., float]


class Network:
    """A feed-forward network on the CPU.

    Parameters
    ----------
    layers : list of int or list of Layer
        Sizes, as in ``[784, 256, 10]``: dense layers with relu inside, identity at the end, and
        He-normal weights throughout; or layers, with `input_shape`. A layer that appears twice
        shares its parameters.
    input_shape : int or tuple of int, optional
        Of an input row: n or (n,), (length, channels) or (height, width, channels); needed with a
        list of layers.
    dtype : {"float32", "float64"}, default "float32"
        Of weights, arithmetic and outputs.
    rng : int, numpy.random.Generator or None, default None
        Seed of initial weights, shuffling, dropout and splits. A generator gives one number; None
        draws one from the operating system. `seed` records it.
    n_threads : int, optional
        Most threads; None for `bpfast.set_num_threads` or the machine's limit. It never changes
        results.

    Attributes
    ----------
    input_shape : tuple of int
    inputs, outputs : int
        Values of an input row and of an output row.
    params, grads : dict of str to ndarray
        Writable views by name: ``"0.kernel"`` (inputs, outputs), ``"0.bias"`` (outputs,). A name is
        the path of a layer, through composites, and what it is of that layer; shared ones have the
        path of the first place.
    parameters, gradients : ndarray (n,)
        The same memory as one vector: the concatenated, raveled values of `params` and `grads`.
    buffers : dict of str to ndarray
        Writable views of what is measured, not trained: running statistics, and the mean and scale
        of a Standardize layer, 0 and 1 until the first fit.
    history : History or None
        Of the last fit, also when it ended in an exception.
    metadata : dict of str to str
        Notes of the user, kept in model files.

    Raises
    ------
    TypeError, ValueError
        An argument is not one of the above.
    MemoryError
        The parameters do not fit; the message states bytes.
    """

    def __init__(
        self,
        layers: Sequence[int] | Sequence[Layer],
        *,
        input_shape: int | Sequence[int] | None = None,
        dtype: str = "float32",
        rng: int | np.random.Generator | None = None,
        n_threads: int | None = None,
    ) -> None:
        self._setup(*read_layers(layers, input_shape), dtype, seed_of(rng), n_threads)
        draw_weights(self)

    def _setup(
        self,
        layers: list[Layer],
        input_shape: Shape,
        dtype: str,
        seed: int,
        n_threads: int | None,
    ) -> None:
        """Make the core network; weights are still zero."""
        name: Any = dtype  # NumPy's types and dtype objects are taken too
        if isinstance(name, (type, np.dtype)):
            name = np.dtype(name).name
        self.dtype = np.dtype(check_choice("dtype", name, DTYPES))
        self.layers: tuple[Layer, ...] = tuple(layers)
        self.input_shape = input_shape
        self.inputs = math.prod(input_shape)
        self.seed = seed
        self.n_threads = None if n_threads is None else check_count("n_threads", n_threads)
        self.metadata: dict[str, str] = {}
        self.history: History | None = None
        self._changes = changes()
        self._plan = Plan(layers, input_shape)
        self._trainable, self._lr_scales = self._plan.trainable(), self._plan.lr_scales()
        self._core = _core.Net(
            self._plan.specs(),
            self._plan.core_input,
            self.dtype.itemsize,
            config.chosen_isa(),
            seed,
        )
        self.outputs: int = self._core.outputs
        self.parameters: Array = np.asarray(self._core.parameters())
        self.gradients: Array = np.asarray(self._core.gradients())
        self._buffers: Array = np.asarray(self._core.buffers())
        self.params = self._views(self.parameters)
        self.grads = self._views(self.gradients)
        self.buffers = named(
            self._plan.buffers,
            self._buffers,
            {(layer, part): at for layer, at, _, part in self._core.buffers_list()},
        )
        self._measured = False  # a first Standardize layer has its statistics
        self._optimizer: Optimizer | None = None
        self._loss: losses.Loss | None = None
        self._metrics: list[str] = []
        self._batch_size: int | None = None  # of the last fit
        self._progress: Progress | LiveProgress | None = None  # where an interrupted fit stands
        self._sweep = False  # tests: gradients through GRAD even where they could be fused
        self._decay = 0.0  # scikit-learn's alpha: L2 of all kernels over a step's weight
        self._lock = _core.FitLock()
        self._batches = Batches(self)

    def _views(self, flat: Array) -> dict[str, Array]:
        """Return named, shaped views of a vector of parameters."""
        starts = {(layer, int(bias)): at for layer, at, _, _, bias in self._core.tensors()}
        return named(self._plan.parameters, flat, starts)

    def _state(self) -> tuple[Array, Array]:
        """Return a copy of what training changes: parameters and buffers."""
        return self.parameters.copy(), self._buffers.copy()

    def _set_state(self, state: tuple[Array, Array]) -> None:
        """Put back what `_state` returned."""
        self.parameters[...], self._buffers[...] = state

    # ---- training

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        loss: LossLike,
        optimizer: str | Optimizer = "adam",
        epochs: int = 10,
        batch_size: int = 32,
        accumulate: int = 1,
        shuffle: bool = True,
        validation_data: tuple[Any, ...] | None = None,
        validation_split: float = 0.0,
        metrics: Iterable[MetricLike] = (),
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | Literal["balanced"] | None = None,
        schedule: Schedule | Callable[[int, float], float] | None = None,
        callbacks: Iterable[Callback] = (),
        max_seconds: float | None = None,
        on_divergence: Literal["raise", "stop", "ignore"] = "raise",
        verbose: int = 0,
        resume: bool = False,
    ) -> History:
        """Train by minibatch gradient descent.

        Parameters
        ----------
        X : array (rows, inputs) or (rows, *input_shape)
            Any real dtype and layout, memory maps included; read in place. For one channel
            (rows, height, width) will do. Of SciPy's sparse formats CSR, expanded batch by batch.
        y : array (rows,) or (rows, outputs)
            Targets; integer class labels 0 .. outputs - 1 for ``"cross_entropy"``, or one-hot or
            soft rows.
        loss : str, Loss or callable
            A name of `bpfast.losses`, an object, or ``(y, output) -> (value, gradient)``, both of
            the batch's mean.
        optimizer : str or Optimizer, default "adam"
            Its state continues over fits while the class stays the same.
        epochs, batch_size : int, defaults 10 and 32
            32 as in Keras. The last batch of an epoch may be smaller.
        accumulate : int, default 1
            Batches a step: its gradient is that of their rows together, as one batch would have it
            but for rounding, in the memory of `batch_size` rows. BatchNorm's statistics are of each
            batch, random masks differ. Schedules and `on_batch_end` count steps; an epoch's last
            step takes the rows that are left.
        shuffle : bool, default True
            A new order each epoch, determined by `seed` and the number of epochs so far.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Scored after each epoch.
        validation_split : float in [0, 1), default 0
            Share of the rows to hold out instead: drawn by `seed`, stratified for class labels.
            The rows are copied; give `validation_data` for arrays that fill the memory.
        metrics : iterable of str or callable
            Names of `bpfast.metrics`, or ``(y, output) -> float``, which cost a predict over the
            training rows each epoch.
        sample_weight : array (rows,), optional
            >= 0. Loss and gradient divide by the batch's sum; a batch of zero weight makes no step.
        class_weight : dict or "balanced", optional
            Multiplies the weights of a class's rows; balanced: rows / (classes * count), as
            scikit-learn.
        schedule : Schedule or callable ``(epoch, initial) -> rate``, optional
            Counts epochs from 0 in this fit.
        callbacks : iterable of Callback
        max_seconds : float, optional
            Stop soon after, at a batch boundary; a later ``resume=True`` goes on there.
        on_divergence : {"raise", "stop", "ignore"}, default "raise"
            When a loss or weight is not finite: raise DivergenceError, or return, with the last
            finite epoch's weights; or go on regardless.
        verbose : {0, 1, 2}, default 0
            Progress on standard error; see `bpfast.Progress`.
        resume : bool, default False
            Go on with the fit that was interrupted, also in another process after `save` and
            `bpfast.load`: with the same arguments it ends with the same bits. Without such a fit,
            start one.

        Returns
        -------
        History
            Per epoch ``loss`` (the data term), ``penalty``, ``learning_rate``, ``seconds``, and
            the metrics; with ``val_`` for the validation data.

        Raises
        ------
        ShapeError, ValueError, TypeError
            Before any work; the network is unchanged.
        DivergenceError
            See `on_divergence`.
        RuntimeError
            A fit of this network is running.
        KeyboardInterrupt
            At a batch boundary; the weights are finite and current.
        """
        from bpfast._fit import Fit

        with self._lock:
            self._read_layers()
            return Fit(
                self,
                X,
                y,
                loss=loss,
                optimizer=optimizer,
                epochs=epochs,
                batch_size=batch_size,
                accumulate=accumulate,
                shuffle=shuffle,
                validation_data=validation_data,
                validation_split=validation_split,
                metrics=metrics,
                sample_weight=sample_weight,
                class_weight=class_weight,
                schedule=schedule,
                callbacks=callbacks,
                max_seconds=max_seconds,
                on_divergence=on_divergence,
                verbose=verbose,
                resume=resume,
            ).run()

    def _current_batches(self) -> Batches:
        """Return the single-batch runs: new ones after a layer was frozen or thawed."""
        self._read_layers()
        return self._batches

    def _read_layers(self) -> bool:
        """Tell the core which layers learn, and how fast; return whether runs must be made anew."""
        if self._changes == changes():
            return False
        self._changes = changes()  # before the look at them
        scales, trainable = self._plan.lr_scales(), self._plan.trainable()
        if scales != self._lr_scales:
            self._core.set_lr_scales(scales)
            self._lr_scales = scales
        if trainable == self._trainable:
            return False
        self._core.set_trainable(trainable)
        self._trainable, self._batches = trainable, Batches(self)
        return True

    def _read_layers_if_idle(self) -> None:
        """Do so unless a fit runs, which keeps what it has read."""
        with contextlib.suppress(RuntimeError), self._lock:
            self._read_layers()

    # ---- inference

    def predict(self, X: ArrayLike) -> Array:
        """Return the last layer's output, (rows, outputs); any number of threads may call it."""
        self._lock.check_idle("predict")
        x = as_sparse_or_dense(X, self.input_shape, self.dtype.itemsize, scan=False)
        out = np.empty((len(x), self.outputs), self.dtype)  # the room first, then a look at X
        check_finite("X", x, self.dtype.itemsize)
        if len(x):
            self._core.predict(x, out, *self._threads())
        return out

    def predict_one(self, x: ArrayLike, out: Array | None = None) -> Array:
        """Return the output (outputs,) for one row x of `input_shape`, in `out` when given."""
        if self._lock.owner is None:
            found: Array | None = self._core.predict_one(x, out)
            if found is not None:
                return found
        self._lock.check_idle("predict_one")
        return _inference.predict_one(self, x, out)

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return probabilities (rows, outputs): of classes, or of each yes-or-no output."""
        return _inference.probabilities(self, X)

    def predict_classes(self, X: ArrayLike) -> Array:
        """Return class labels (rows,) as int64; (rows, outputs) of 0 and 1 for multi-label nets."""
        return _inference.classes(self, X)

    def evaluate(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        loss: LossLike | None = None,
        metrics: Iterable[MetricLike] | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, float]:
        """Return loss and metrics of these rows; by default those of the last fit.

        Raises
        ------
        ValueError
            No `loss` was given and the network was never fitted.
        """
        self._lock.check_idle("evaluate")
        return _inference.evaluate(self, X, y, loss, metrics, sample_weight)

    # ---- one batch at a time

    def forward(self, X: ArrayLike, *, training: bool = False) -> Array:
        """Return the output of one batch, (rows, outputs), keeping what `backward` needs.

        ``training=True`` applies dropout and is what `backward` goes back through.
        """
        with self._lock:
            return self._current_batches().forward(X, check_bool("training", training))

    def backward(self, dY: ArrayLike, *, accumulate: bool = False) -> Array:
        """Go back through the last ``forward(..., training=True)``.

        The gradient with respect to X is by the weights as they are now: change them afterwards.

        Parameters
        ----------
        dY : array (rows, outputs)
            Gradient of the objective with respect to that output.
        accumulate : bool, default False
            Add to `gradients` instead of replacing them. Regularizers' gradients are added once, by
            the call that replaces.

        Returns
        -------
        ndarray (rows, *input_shape)
            The gradient with respect to X; `gradients` and `grads` hold that of the parameters.

        Raises
        ------
        RuntimeError
            No such forward came before.
        """
        with self._lock:
            return self._current_batches().backward(dY, check_bool("accumulate", accumulate))

    def loss_and_gradient(
        self, X: ArrayLike, y: ArrayLike, *, loss: LossLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return loss plus penalty of one batch in training mode; `gradients` hold its gradient."""
        with self._lock:
            return self._current_batches().loss_and_gradient(X, y, losses.get(loss), sample_weight)

    def step(self, optimizer: str | Optimizer) -> None:
        """Make one optimizer step from `gradients`."""
        with self._lock:
            self._current_batches().step(optimizer)

    def _set_optimizer(self, optimizer: Optimizer) -> None:
        """Give the core its rule; the state continues while the class stays the same."""
        if optimizer is self._optimizer:
            return  # immutable: the core has its numbers
        anew = self._optimizer is not None and type(self._optimizer) is not type(optimizer)
        self._core.set_optimizer(core_rule(optimizer), anew)
        self._optimizer = optimizer

    def reset_optimizer(self) -> None:
        """Forget the optimizer's state, and with it a fit that could be resumed."""
        with self._lock:
            self._core.reset_optimizer()
            self._optimizer = None
            self._progress = None

    # ---- description

    def _threads(self) -> tuple[int, bool]:
        return config.thread_choice(self.n_threads)[0], config.exact_threads

    @property
    def sizes(self) -> str:
        """The sizes on the way through the layers, such as 784-256-10; not those in composites."""
        return self._plan.sizes()

    summary = _describe.summary
    explain = _describe.explain
    memory_required = _describe.memory_required
    diagnose = _diagnose.diagnose
    find_lr = _find_lr.find_lr

    def __repr__(self) -> str:
        """Show sizes and dtype."""
        return f"<Network {self.sizes} {self.dtype}, {self.parameters.size:,} parameters>"

    # ---- copies and files

    def save(self, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
        """Write everything to a safetensors file: weights, optimizer state, position, notes.

        The file appears whole or not at all. `metadata` replaces the attribute. Names are those of
        `params`; kernels are (inputs, outputs) and (height, width, channels / groups, filters),
        where PyTorch's ``weight`` has the outputs first: ``kernel.T``, ``transpose(3, 2, 0, 1)``.

        Raises
        ------
        OSError
            The file cannot be written; an older one is intact.
        """
        from bpfast import io

        notes = check_notes("metadata", self.metadata if metadata is None else metadata)
        io.save(self, path, notes)
        self.metadata = notes

    to_c = _exports.to_c
    to_onnx = _exports.to_onnx
    to_torch = _exports.to_torch
    load_weights = _reuse.load_weights
    freeze = _reuse.freeze
    unfreeze = _reuse.unfreeze
    replace_head = _reuse.replace_head

    def clone(self) -> Network:
        """Return an independent network with the same weights, state and position."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        """Return arrays and plain values; no pointers."""
        from bpfast import io

        tensors, description = io.to_parts(self)
        return {"tensors": tensors, "description": description, "n_threads": self.n_threads}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Rebuild from `__getstate__`."""
        from bpfast import io

        io.from_parts(state["tensors"], state["description"], self, state["n_threads"])

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        """Return a copy through `__getstate__`."""
        other = Network.__new__(Network)
        other.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return other
