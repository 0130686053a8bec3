"""Networks taken apart into core layers: values, names, sharing, what is left out, mistakes."""

from __future__ import annotations

from typing import Any

import pytest

import bpfast as bp
from bpfast._graph import MOST_LAYERS
from bpfast._plan import Plan
from bpfast.errors import ShapeError
from bpfast.layers.base import MOST_DEPTH, config_of
from bpfast.layers.configs import from_configs


def plan(*layers: bp.Layer, shape: tuple[int, ...] = (4,)) -> Plan:
    return Plan(layers, shape)


def brief(made: Plan) -> list[tuple[Any, ...]]:
    """Path, kind and inputs of each core layer, and 1 + whose parameters it shares, if any."""
    rows = []
    for name, spec in zip(made.names, made.specs(), strict=True):
        shares = (spec["shares"],) if spec["shares"] else ()
        rows.append((name, spec["kind"], spec["inputs"], *shares))
    return rows


def keys(made: Plan) -> list[str]:
    return list(made.parameters)


def test_a_stack_of_dense_layers() -> None:
    made = plan(bp.Standardize(), bp.Dense(3, "relu"), bp.Dropout(0.5), bp.Dense(2, name="out"))
    assert brief(made) == [
        ("0", "standardize", [0]),
        ("1", "dense", [1]),
        ("2", "dropout", [2]),
        ("out", "dense", [3]),
    ]
    assert keys(made) == ["1.kernel", "1.bias", "out.kernel", "out.bias"]
    assert [t.shape for t in made.parameters.values()] == [(4, 3), (3,), (3, 2), (2,)]
    assert {name: t.shape for name, t in made.buffers.items()} == {"0.mean": (4,), "0.scale": (4,)}
    assert made.measured_buffers() == ["0.mean", "0.scale"]
    assert (made.core_input, made.sizes(), made.products()) == ((1, 1, 4), "4-3-2", 18)


def test_residuals() -> None:
    """An identity where shapes agree, else a projection; within each other too."""
    inner = bp.Residual([bp.BatchNorm(), bp.Dense(3)], activation="relu")
    made = plan(bp.Residual([bp.Dense(3, "tanh"), inner], name="block"), bp.Dense(2))
    assert brief(made) == [
        ("block.0", "dense", [0]),
        ("block.1.0", "batchnorm", [1]),
        ("block.1.1", "dense", [2]),
        ("block.1", "add", [1, 3]),
        ("block.1", "activation", [4]),
        ("block.projection", "dense", [0]),
        ("block", "add", [6, 5]),
        ("1", "dense", [7]),
    ]
    assert "block.projection.kernel" in made.parameters
    assert "block.projection.bias" not in made.parameters
    assert [t.layer for t in made.buffers.values()] == [1, 1]


def test_projections_of_images_have_strides() -> None:
    layers = [bp.Residual([bp.Conv2D(8, 3, strides=2, padding="same")]), bp.GlobalAvgPool()]
    made = plan(*layers, bp.Dense(2), shape=(7, 6, 3))
    spec = made.specs()[1]
    assert (spec["kind"], spec["window"], spec["stride"]) == ("conv", (1, 1), (2, 2))
    assert made.parameters["0.projection.kernel"].shape == (1, 1, 3, 8)


def test_concatenating_skips() -> None:
    made = plan(bp.Concatenate([[], [bp.Dense(3), bp.Dropout(0.1)], [bp.Slice(1, 3)]]), bp.Dense(2))
    assert brief(made) == [
        ("0.1.0", "dense", [0]),
        ("0.1.1", "dropout", [1]),
        ("0", "concat", [0, 2]),
        ("0.2.0", "slice", [0]),
        ("0", "concat", [3, 4]),
        ("1", "dense", [5]),
    ]
    assert made.parameters["1.kernel"].shape == (9, 2)


def test_siamese_layers_share() -> None:
    made = plan(bp.Siamese([bp.Dense(3, "tanh"), bp.BatchNorm()]), bp.Dense(2))
    assert brief(made) == [
        ("0", "slice", [0]),
        ("0.0", "dense", [1]),
        ("0.1", "batchnorm", [2]),
        ("0", "slice", [0]),
        ("0.0", "dense", [4], 2),
        ("0.1", "batchnorm", [5], 3),
        ("0", "distance", [3, 6]),
        ("1", "dense", [7]),
    ]
    assert keys(made)[:4] == ["0.0.kernel", "0.0.bias", "0.1.gamma", "0.1.beta"]
    assert list(made.buffers) == ["0.1.running_mean", "0.1.running_variance"]


def test_one_object_in_several_places() -> None:
    """Names are those of the first place; a dropout draws anew in each; a composite shares all."""
    layer, drop = bp.Dense(4, "tanh"), bp.Dropout(0.5)
    block = bp.Residual([layer, drop, bp.LayerNorm(name="norm")])
    made = plan(block, layer, block, drop, bp.Dense(2))
    assert brief(made) == [
        ("0.0", "dense", [0]),
        ("0.1", "dropout", [1]),
        ("0.norm", "layernorm", [2]),
        ("0", "add", [0, 3]),
        ("1", "dense", [4], 1),
        ("2.0", "dense", [5], 1),
        ("2.1", "dropout", [6]),
        ("2.norm", "layernorm", [7], 3),
        ("2", "add", [5, 8]),
        ("3", "dropout", [9]),
        ("4", "dense", [10]),
    ]
    assert keys(made)[:4] == ["0.0.kernel", "0.0.bias", "0.norm.gamma", "0.norm.beta"]
    assert keys(made)[4:] == ["4.kernel", "4.bias"]
    assert [(use.path, use.first) for use in made.uses if use.first] == [
        ("1", "0.0"),
        ("2", "0"),
        ("2.0", "0.0"),
        ("2.1", "0.1"),
        ("2.norm", "0.norm"),
        ("3", "0.1"),
    ]


def test_a_given_shortcut() -> None:
    """Its layers have paths of their own, where they share and where they are written."""
    again = bp.Dense(4, "tanh")
    block = bp.Residual([bp.Dense(4), again], shortcut=[again, bp.Dense(4)], name="block")
    made = plan(block, bp.Dense(1))
    assert brief(made) == [
        ("block.0", "dense", [0]),
        ("block.1", "dense", [1]),
        ("block.shortcut.0", "dense", [0], 2),
        ("block.shortcut.1", "dense", [3]),
        ("block", "add", [4, 2]),
        ("1", "dense", [5]),
    ]
    read, _ = from_configs(config_of([block, bp.Dense(1)], "", {}))
    assert isinstance(read, bp.Residual)
    assert read.shortcut is not None
    assert read.shortcut[0] is read.layers[1]
    assert read.shortcut[1] is not read.layers[0]


def test_projections_are_shared_too() -> None:
    block = bp.Residual([bp.Dense(3)])
    made = plan(bp.Siamese([block]), bp.Dense(1))
    shares = [(spec["kind"], spec["shares"]) for spec in made.specs()]
    assert shares[5:7] == [("dense", 2), ("dense", 3)]
    assert made.names[6] == "0.0.projection"


def test_tied_layers() -> None:
    encoder = bp.Dense(3, "tanh", name="encoder")
    made = plan(encoder, bp.Dense(tied_to=encoder, name="decoder"))
    spec = made.specs()[1]
    assert (spec["shares"], spec["tied"], spec["units"], spec["use_bias"]) == (1, True, 4, True)
    assert keys(made) == ["encoder.kernel", "encoder.bias", "decoder.bias"]
    assert made.parameters["decoder.bias"].shape == (4,)
    assert made.products() == 24
    free = bp.Dense(tied_to=encoder, use_bias=False)
    made = plan(encoder, free, encoder, free)
    assert [(s["shares"], s["tied"]) for s in made.specs()] == [(0, False), (1, True)] * 1 + [
        (1, False),
        (1, True),
    ]


def test_activations_go_into_the_layer_before() -> None:
    def last(*layers: bp.Layer, shape: tuple[int, ...] = (4,)) -> list[tuple[str, str]]:
        specs = plan(*layers, shape=shape).specs()
        return [(spec["kind"], spec.get("activation", "")) for spec in specs]

    act = bp.Activation
    assert last(bp.Dense(3), act("tanh")) == [("dense", "tanh")]
    assert last(bp.Dense(3), act("softmax")) == [("dense", "softmax")]
    assert last(bp.Dense(3), act("identity")) == [("dense", "identity")]
    assert last(bp.Dense(3, "relu"), act("tanh")) == [("dense", "relu"), ("activation", "tanh")]
    assert last(bp.Dense(3), bp.BatchNorm(), act("relu"))[1:] == [
        ("batchnorm", ""),
        ("activation", "relu"),
    ]
    conv = [bp.Conv2D(3, 3), act("relu"), bp.Flatten(), bp.Dense(2)]
    assert last(*conv, shape=(4, 4, 1))[0] == ("conv", "relu")
    split = [bp.Conv2D(3, 3, "softmax"), bp.Flatten(), bp.Dense(2)]
    assert last(*split, shape=(4, 4, 1))[:2] == [("conv", "identity"), ("activation", "softmax")]
    # Another reads what is before the activation:
    skip = bp.Concatenate([[], [act("relu")]])
    apart = [("dense", "identity"), ("activation", "relu")]
    assert last(bp.Dense(3), skip, bp.Dense(2))[:2] == apart


def test_numbers_hold_when_layers_are_left_out() -> None:
    shared = bp.Dense(4)
    act = bp.Activation("relu")
    made = plan(bp.Dense(4), act, shared, act, bp.Residual([shared, act]), bp.Dense(1))
    assert brief(made) == [
        ("0", "dense", [0]),
        ("2", "dense", [1]),
        ("4.0", "dense", [2], 2),
        ("4", "add", [2, 3]),
        ("5", "dense", [4]),
    ]


def test_reshaping_that_the_core_does_not_see() -> None:
    made = plan(bp.Flatten(), bp.Dense(2), shape=(3, 3, 2))
    assert (brief(made), made.core_input) == ([("1", "dense", [0])], (1, 1, 18))
    assert (made.input_shape, made.parameters["1.kernel"].shape) == ((3, 3, 2), (18, 2))
    made = plan(bp.Standardize(), bp.Flatten(), bp.Dense(2), shape=(3, 3, 2))
    assert (len(made.layers), made.core_input) == (2, (1, 1, 18))
    assert made.buffers["0.mean"].shape == (3, 3, 2)
    made = plan(bp.Reshape((3, 3, 1)), bp.Conv2D(2, 3), bp.Flatten(), bp.Dense(1), shape=(9,))
    assert ([spec["kind"] for spec in made.specs()], made.core_input) == (
        ["conv", "dense"],
        (3, 3, 1),
    )
    made = plan(bp.Flatten(), bp.Dense(1))
    assert brief(made) == [("1", "dense", [0])]
    both = bp.Concatenate([[bp.Flatten()], [bp.Conv2D(2, 3), bp.GlobalAvgPool()]])
    made = plan(both, bp.Dense(1), shape=(3, 3, 1))
    assert made.core_input == (3, 3, 1)
    assert made.specs()[0]["kind"] == "reshape"


def test_frozen_layers() -> None:
    """What is frozen anywhere is frozen everywhere; a composite freezes what is in it."""
    shared = bp.Dense(4)
    block = bp.Residual([bp.Dense(4), shared])
    made = plan(shared, block, bp.Dense(2))
    assert made.trainable() == [True] * 5
    block.trainable = False
    assert made.trainable() == [False, False, False, False, True]
    assert [spec["trainable"] for spec in made.specs()] == made.trainable()
    block.trainable, shared.trainable = True, False
    assert made.trainable() == [False, True, False, True, True]
    encoder = bp.Dense(3)
    decoder = bp.Dense(tied_to=encoder)
    made = plan(encoder, decoder)
    decoder.trainable = False
    assert made.trainable() == [True, False]


def nested(depth: int) -> bp.Layer:
    layer: bp.Layer = bp.Dense(4)
    for _ in range(depth):
        layer = bp.Residual([layer])
    return layer


def doubled(times: int) -> bp.Layer:
    """As few objects as can be, in 2^times places."""
    layer: bp.Layer = bp.Dropout(0.5)
    for _ in range(times):
        layer = bp.Residual([layer, layer])
    return layer


twice, other = bp.Dense(3), bp.Dense(3)
a, b = bp.Dense(3, name="a"), bp.Dense(3, name="a")
MISTAKES: dict[str, tuple[list[bp.Layer], tuple[int, ...], type[Exception], str]] = {
    "shapes": ([bp.Flatten(), bp.Conv2D(2, 3)], (4, 4, 1), ShapeError, r"layer 1 \(Conv2D\) needs"),
    "in a composite": (
        [bp.Residual([bp.Dense(3), bp.Conv1D(2, 3)], name="block")],
        (4,),
        ShapeError,
        r"layer block\.1 \(Conv1D\) needs .* got \(3,\)",
    ),
    "a composite's own": (
        [bp.Dense(3), bp.Siamese([bp.Dense(2)])],
        (4,),
        ShapeError,
        r"layer 1 \(Siamese\) needs an even number of features, got .* \(3,\)",
    ),
    "shared with other inputs": (
        [twice, twice],
        (4,),
        ShapeError,
        r"layer 1 \(Dense\) shares its parameters with layer 0, .* \(4,\), got .* \(3,\)",
    ),
    "tied to none": ([bp.Dense(tied_to=other)], (4,), ValueError, "layer 0: tied_to must be"),
    "tied to a later": (
        [bp.Dense(4, tied_to=other), other],
        (3,),
        ValueError,
        "layer 0: tied_to must be an earlier layer",
    ),
    "tied with other units": (
        [other, bp.Dense(5, tied_to=other)],
        (4,),
        ShapeError,
        r"layer 1 \(Dense\) must have the 4 units that tie it, got units=5",
    ),
    "tied to other inputs": (
        [other, bp.Dense(2), bp.Dense(tied_to=other)],
        (4,),
        ShapeError,
        r"layer 2 \(Dense\) is tied to a layer of 3 units, got an input of shape \(2,\)",
    ),
    "one name twice": ([a, b], (4,), ValueError, r"layers\[1\].name 'a' is already that of layers"),
    "one name twice in a composite": (
        [bp.Residual([a, b])],
        (4,),
        ValueError,
        r"layer 0: layers\[1\].name 'a' is already that of layers\[0\]",
    ),
    "an index as a name": (
        [bp.Dense(3, name="1"), bp.Dense(2)],
        (4,),
        ValueError,
        r"layers\[1\].name '1' is already",
    ),
    "the projection's name": (
        [bp.Residual([bp.Dense(3, name="projection")])],
        (4,),
        ValueError,
        "layer 0.projection: another layer is called so already",
    ),
    "a name within a shortcut": (
        [bp.Residual([bp.Dense(4)], shortcut=[a, b])],
        (4,),
        ValueError,
        r"layer 0.shortcut: layers\[1\].name 'a' is already that of layers\[0\]",
    ),
    "a shortcut to elsewhere": (
        [bp.Residual([bp.Dense(3)], shortcut=[bp.Dense(5)], name="block")],
        (4,),
        ShapeError,
        r"layer block \(Residual\) cannot add what the shortcut gives, of shape \(5,\), to \(3,\)",
    ),
    "standardize later": (
        [bp.Dense(3), bp.Standardize()],
        (4,),
        ValueError,
        "layer 1: Standardize must be the first layer",
    ),
    "standardize in a composite": (
        [bp.Residual([bp.Standardize(), bp.Dense(4)])],
        (4,),
        ValueError,
        r"layer 0\.0: Standardize must be the first layer",
    ),
    "nothing to train": ([bp.Dropout(0.5)], (4,), ValueError, "at least one with parameters"),
    "an image as output": (
        [bp.Conv2D(2, 3)],
        (4, 4, 1),
        ShapeError,
        r"output must be a vector, got shape \(2, 2, 2\): end with Flatten\(\) or GlobalAvgPool",
    ),
    "too deep": ([nested(MOST_DEPTH)], (4,), ValueError, f"may be {MOST_DEPTH} deep"),
    "too many": ([doubled(20), bp.Dense(1)], (4,), ValueError, f"at most {MOST_LAYERS:,} in all"),
    "too large": (
        [bp.Concatenate([[], []])] * 62 + [bp.Dense(1)],
        (4,),
        MemoryError,
        "layer 60: a row of shape .* more bytes than can be addressed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes(what: str) -> None:
    layers, shape, error, message = MISTAKES[what]
    with pytest.raises(error, match=message) as caught:
        Plan(layers, shape)
    assert "\n" not in str(caught.value)
    if isinstance(caught.value, ShapeError) and "output" not in what:
        assert f"layer {caught.value.layer} " in str(caught.value)


def test_the_deepest_network() -> None:
    assert len(plan(nested(MOST_DEPTH - 1)).layers) == MOST_DEPTH
