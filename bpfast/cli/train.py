"""``bpfast train``: data in, a scored model file out."""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

import bpfast as bp
from bpfast import optimizers
from bpfast.cli import augment, report, story, tabular
from bpfast.cli.data import (
    FASHION_MNIST,
    TABLE,
    Data,
    Rows,
    default_stem,
    encode,
    load_data,
    source_of,
)
from bpfast.cli.files import check_output, sha256
from bpfast.cli.model import describe
from bpfast.cli.recipes import RECIPES, image_shape
from bpfast.cli.scores import score

if TYPE_CHECKING:
    from bpfast._diagnosis import Diagnosis
    from bpfast.layers import Layer
    from bpfast.network import Network
    from bpfast.optimizers import Optimizer

LARGE: Final = 10_000  # training rows from which fewer epochs of larger batches do
LEAST_STEPS: Final = 1_000  # that small tables need


@dataclass(frozen=True)
class Settings:
    """What shapes a network and its training; a model file keeps it.

    The defaults are one recipe for each model, for images of 8 x 8 and 28 x 28 pixels and for
    tables: some dropout, Adam with a rate that ends at 0, which makes the last epoch as good as
    the best one, so that no validation row decides anything. Quantities get less dropout: between
    none, best on exact functions, and what noisy measurements would like. `fill` sets what depends
    on the model and the data.
    """

    model: str = "mlp"
    hidden: tuple[int, ...] | None = None
    epochs: int = 0
    batch_size: int = 0
    optimizer: str = "adam"
    lr: float = 0.0
    dropout: float | None = None
    l2: float = 0.0
    scale: str = ""
    mirror: bool | None = None
    shift: int | None = None

    def fill(self, rows: int, *, regression: bool = False, clothes: bool = False) -> Settings:
        """Return these settings with what was left open chosen for so many training rows.

        Clothes are the same when they are turned left to right.
        """
        large = rows >= LARGE
        recipe = RECIPES[self.model]
        mirror, shift = recipe.images and clothes, recipe.shift[large]
        batch_size = self.batch_size or (rows if self.full_batch else recipe.batch_size[large])
        epochs = recipe.epochs[large]
        if not self.full_batch:
            epochs = max(epochs, math.ceil(LEAST_STEPS / math.ceil(rows / batch_size)))
        own_rate = float(optimizers.get(self.optimizer).arguments()["learning_rate"])
        return replace(
            self,
            epochs=self.epochs or epochs,
            batch_size=batch_size,
            hidden=recipe.hidden if self.hidden is None else self.hidden,
            dropout=recipe.dropout / (1 + regression) if self.dropout is None else self.dropout,
            scale=self.scale or recipe.scale,
            mirror=mirror if self.mirror is None else self.mirror,
            shift=shift if self.shift is None else self.shift,
            lr=self.lr or (recipe.lr if self.optimizer == "adam" else 0.0) or own_rate,
        )

    @property
    def full_batch(self) -> bool:
        """Whether the optimizer reads signs of the whole gradient, and adapts its own steps."""
        return self.optimizer == "rprop"


def run(arguments: argparse.Namespace) -> int:
    """Train, score, save and tell."""
    asked = {name: getattr(arguments, name) for name in Settings.__dataclass_fields__}
    settings = Settings(**{name: value for name, value in asked.items() if value is not None})
    seed: int = arguments.seed
    path = Path(arguments.out or f"{default_stem(arguments.data)}.safetensors")
    check_output(path, force=arguments.force, own=True)
    page = Path(arguments.report) if arguments.report else None
    if page is not None:
        report.check(page, force=arguments.force)
    flags = tabular.Flags.of(arguments)
    if source_of(arguments.data) == TABLE:
        model = f"--model {settings.model}" if RECIPES[settings.model].images else ""
        flag = model or ("--mirror" if settings.mirror else "--shift" if settings.shift else "")
        if flag:
            raise ValueError(f"{flag} needs images, got the table {arguments.data}")
        data = tabular.load_to_train(arguments.data, flags, seed)
    else:
        flags.refuse(arguments.data)
        data = load_data(arguments.data, seed)
        if len(data.classes) < 2:
            raise ValueError(
                f"{arguments.data}: one class only, {data.classes[0]}; nothing to learn"
            )
    for label in np.setdiff1d(data.classes, data.train.y).tolist():
        story.tell(f"{arguments.data}: no row of class {label} is among the training rows")
    settings = settings.fill(
        len(data.train.y), regression=data.regression, clothes=arguments.data == FASHION_MNIST
    )

    say = (lambda *lines: None) if arguments.quiet else story.say
    say(story.machine_line(arguments.threads), story.data_line(data))
    net = build(data, settings, seed, arguments.threads)
    say(*story.network_lines(net, data, settings, seed))
    metric = metrics_of(data)[0]
    table = story.EpochTable(settings.epochs, len(data.train.y), metric, every=arguments.verbose)
    monitor = bp.WeightMonitor() if page is not None else None
    callbacks: list[bp.Callback] = [] if arguments.quiet else [table]
    callbacks += [monitor] if monitor is not None else []
    start = time.perf_counter()
    try:
        history = fit(net, data, settings, seed, callbacks)
    except KeyboardInterrupt:
        done = len(net.history.epoch) if net.history else 0
        raise KeyboardInterrupt(
            f"after {done} of {settings.epochs} epochs; no file written"
        ) from None
    seconds = time.perf_counter() - start

    diagnosis = diagnose(net, data, settings) if page is not None else None
    if data.regression:
        to_units(net, data)
    scores = score(net, data)
    net.reset_optimizer()  # its moments would treble the file
    net.save(path, metadata=describe(data, seed, asdict(settings)))
    rows = len(data.train.y) * settings.epochs
    say(
        *scores.lines,
        f"trained in {seconds:.2f} s, {rows / seconds:,.0f} samples/s with validation",
        story.file_line(path),
        *story.next_lines(data, path),
    )
    if page is not None and monitor is not None and diagnosis is not None:
        made = report.Run(
            arguments.line, net, data, asdict(settings), seed, arguments.threads, history, scores,
            seconds, monitor, diagnosis, path,
        )  # fmt: skip
        report.write(page, made)
        say(story.file_line(page))
    if arguments.json:
        result = {
            "data": data.argument,
            "seed": seed,
            "settings": asdict(settings),
            "parameters": int(net.parameters.size),
            "epochs": settings.epochs,
            "seconds": seconds,
            "samples_per_second": rows / seconds,
            "train_loss": history["loss"][-1],
            "validation_loss": history["val_loss"][-1],
            f"validation_{metric}": history[f"val_{metric}"][-1],
            **scores.values,
            "model": str(path),
            "sha256": sha256(path),
        }
        story.say(json.dumps(finite(result)))
    return 0


def build(data: Data, settings: Settings, seed: int, threads: int | None) -> Network:
    """Return the network, its weights drawn."""
    recipe, inputs = RECIPES[settings.model], data.train.X.shape[1]
    outputs = 1 if data.regression else len(data.classes)
    penalty = bp.L2(settings.l2) if settings.l2 else None
    layers: list[Layer] = [bp.Standardize()] if settings.scale == "standard" else []
    layers += recipe.layers(inputs, settings.hidden or (), settings.dropout or 0.0, penalty)
    layers.append(bp.Dense(outputs, weight_regularizer=penalty))
    shape = image_shape(inputs) if recipe.images else inputs
    return bp.Network(layers, input_shape=shape, rng=seed, n_threads=threads)


def fit(
    net: Network, data: Data, settings: Settings, seed: int, callbacks: list[bp.Callback]
) -> dict[str, list[float]]:
    """Train, and return the numbers of each epoch."""
    recipe, X = RECIPES[settings.model], data.train.X
    if settings.mirror or settings.shift:
        side = image_shape(X.shape[1])[0]
        if (settings.shift or 0) >= side:
            raise ValueError(
                f"--shift must be less than the {side} pixels of a side, got {settings.shift}"
            )
        X = X.copy()
        changed = augment.Augment(X, seed, mirror=bool(settings.mirror), shift=settings.shift or 0)
        callbacks = [changed, *callbacks]
    history = net.fit(
        X,
        targets(data, data.train, "the training rows"),
        loss="mse" if data.regression else "cross_entropy",
        optimizer=optimizer_of(settings),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        validation_data=(data.validation.X, targets(data, data.validation, "the validation rows")),
        metrics=metrics_of(data),
        schedule=None if settings.full_batch else recipe.schedule(settings.epochs),
        callbacks=callbacks,
    )
    return history.history


def diagnose(net: Network, data: Data, settings: Settings) -> Diagnosis:
    """Return what is wrong with a network as `fit` leaves it."""
    return net.diagnose(
        data.train.X,
        targets(data, data.train, "the training rows"),
        optimizer=optimizer_of(settings),
        batch_size=settings.batch_size,
        feature_names=None if data.schema is None else data.schema.input_names,
        validation_data=(data.validation.X, targets(data, data.validation, "the validation rows")),
    )


def optimizer_of(settings: Settings) -> Optimizer:
    """Return the optimizer with its highest learning rate."""
    return optimizers.get(settings.optimizer).replace(learning_rate=settings.lr)


def targets(data: Data, rows: Rows, what: str) -> NDArray[Any]:
    """Return what is trained on: places of classes, or distances from the mean of quantities.

    Those are in standard deviations of the training rows, and so are the losses.
    """
    if not data.regression:
        return encode(rows.y, data.classes, what)
    mean, deviation = units(data)
    return (rows.y - mean) / deviation


def units(data: Data) -> tuple[float, float]:
    """Return mean and standard deviation of the training rows' quantity."""
    return float(data.train.y.mean()), float(data.train.y.std()) or 1.0


def to_units(net: Network, data: Data) -> None:
    """Rescale the last layer: the model's output is in the target's units wherever it is used."""
    mean, deviation = units(data)
    kernel, bias = list(net.params.values())[-2:]
    kernel *= deviation
    bias[...] = bias * deviation + mean


def metrics_of(data: Data) -> list[str]:
    """Return what is measured beside the loss, the most telling first."""
    return ["r2", "mae"] if data.regression else ["accuracy"]


def finite(result: dict[str, object]) -> dict[str, object]:
    """Return the result with None for what JSON has no number for."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in result.items()
    }
