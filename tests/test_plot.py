"""Figures: what they show, without pyplot or with it, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import numpy as np
import pytest
from looks import monitor_of

import bpfast as bp

mpl = pytest.importorskip("matplotlib")

from bpfast import plot  # noqa: E402
from bpfast._figures import svg  # noqa: E402


@pytest.fixture(autouse=True)
def no_pyplot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests may have imported it, and it holds all figures."""
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)


@pytest.fixture(scope="module")
def net() -> bp.Network:
    layers = [bp.Dense(20, "relu", name="hidden"), bp.Dense(3, name="out")]
    return bp.Network(layers, input_shape=64, rng=0)


RECORD = {
    "loss": [2.0, 1.0, 0.5, 0.4],
    "val_loss": [2.1, 1.2, 0.9, 1.0],
    "accuracy": [0.2, 0.5, 0.7, 0.8],
    "seconds": [0.1] * 4,
}
FOUND = SimpleNamespace(
    rates=np.geomspace(1e-7, 10, 60),
    losses=2.3 - 1.5 * np.exp(-0.5 * ((np.arange(60) - 40) / 8) ** 2),
    raw=np.full(60, 2.0),
    suggestion=1e-3,
)


def draws(net: bp.Network) -> dict:
    monitor = monitor_of(net)
    true, found = np.arange(60) % 4, np.arange(60) // 2 % 4
    return {
        "learning_curves": lambda **k: plot.learning_curves(RECORD, **k),
        "weights": lambda **k: plot.weights(monitor, **k),
        "gradients": lambda **k: plot.gradients(monitor, "out.kernel", **k),
        "gradient_flow": lambda **k: plot.gradient_flow(monitor, **k),
        "first_layer": lambda **k: plot.first_layer(net, **k),
        "confusion": lambda **k: plot.confusion(true, found, **k),
        "learning_rate_test": lambda **k: plot.learning_rate_test(FOUND, **k),
    }


@pytest.mark.parametrize("name", plot.__all__)
def test_returns_axes_that_save(net, name, tmp_path):
    ax = draws(net)[name]()
    ax.figure.savefig(tmp_path / "figure.png", dpi=40)
    assert (tmp_path / "figure.png").stat().st_size > 1000
    given = mpl.figure.Figure().add_subplot()
    assert draws(net)[name](ax=given) is given


def labels(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_curves_of_training_and_validation():
    ax = plot.learning_curves(RECORD)
    assert labels(ax) == ["training", "validation", "best: 0.9, epoch 3"]
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), RECORD["val_loss"])
    assert len({line.get_linestyle() for line in ax.lines[:2]}) == 2
    assert labels(plot.learning_curves(RECORD, "accuracy")) == ["training"]
    spread = {"loss": [100.0, 1.0, 0.1]}
    assert plot.learning_curves(spread).get_yscale() == "log"


def test_curves_of_a_history(net):
    rng = np.random.default_rng(0)
    copy = net.clone()
    history = copy.fit(rng.normal(size=(40, 64)), rng.integers(3, size=40), loss="cross_entropy")
    assert len(plot.learning_curves(history).lines[0].get_xdata()) == 10


def test_ridges(net):
    monitor = monitor_of(net, 40)
    ax = plot.weights(monitor)
    assert ax.get_title() == "hidden.kernel"
    ticks = [label.get_text() for label in ax.get_yticklabels()]
    assert (len(ticks), ticks[0], ticks[-1]) == (12, "1", "40")
    # Each ridge stands on its line and is as high as the others; the first epoch is on top.
    for place, line in enumerate(ax.lines):
        assert line.get_ydata().max() == place
        assert line.get_ydata().min() == pytest.approx(place - 1.6)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_ridges_leave_out_what_is_not_defined(net):
    monitor = monitor_of(net, 3)
    first = monitor.looks[0].tensors["hidden.kernel"]
    first.gradient_edges = np.full(33, np.nan)
    first.gradient_histogram = np.zeros(32, int)
    assert [t.get_text() for t in plot.gradients(monitor).get_yticklabels()] == ["2", "3"]


def test_flow_has_a_line_an_epoch(net):
    ax = plot.gradient_flow(monitor_of(net, 40))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["hidden", "out"]
    assert labels(ax)[0] == "epoch 1"
    assert labels(ax)[-1] == "epoch 40"
    assert len(ax.lines) == 5
    marks = {(line.get_marker(), line.get_linestyle()) for line in ax.lines}
    assert len(marks) == 5


def test_images_of_the_first_layer(net):
    ax = plot.first_layer(net)
    picture = ax.images[0].get_array()
    assert picture.shape == (4 * 9 - 1, 5 * 9 - 1)
    np.testing.assert_array_equal(
        picture[:8, 9:17], net.params["hidden.kernel"][:, 1].reshape(8, 8)
    )
    assert ax.get_title() == "hidden.kernel: 20 units of 8 x 8"
    many = bp.Network([bp.Dense(100), bp.Dense(2)], input_shape=12, rng=0)
    assert "64 of 100 units" in plot.first_layer(many, (3, 4)).get_title()
    colours = plot.first_layer(many, (2, 2, 3)).images[0].get_array()
    assert colours.shape == (8 * 3 - 1, 8 * 3 - 1, 3)
    conv = bp.Network([bp.Conv2D(4, 3), bp.Flatten(), bp.Dense(2)], input_shape=(8, 8, 2), rng=0)
    assert plot.first_layer(conv).images[0].get_array().shape == (7, 7)


def test_confusion_counts():
    ax = plot.confusion(["b", "a", "b", "b"], ["a", "a", "b", "b"])
    assert [t.get_text() for t in ax.texts] == ["1", "0", "1", "2"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[1, 0], [1 / 3, 2 / 3]])
    named = plot.confusion([0, 2], [0, 1], ["zero", "one", "two"])
    assert [t.get_text() for t in named.get_xticklabels()] == ["zero", "one", "two"]
    assert not plot.confusion(np.arange(50), np.arange(50)).texts


def test_pyplot_is_used_where_it_is_in_use(net):
    code = """
        import sys
        import bpfast as bp
        ax = bp.plot.learning_curves({"loss": [2.0, 1.0]})
        assert "matplotlib.pyplot" not in sys.modules
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot
        assert pyplot.get_fignums() == []
        ax = bp.plot.learning_curves({"loss": [2.0, 1.0]})
        assert pyplot.gcf() is ax.figure
    """
    code = "\n".join(line.strip() for line in code.splitlines())
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_without_matplotlib_the_message_says_what_to_install():
    code = """
        import sys
        sys.modules["matplotlib"] = None
        import bpfast as bp
        try:
            bp.plot.learning_curves({"loss": [2.0, 1.0]})
        except ImportError as error:
            assert "pip install 'bpfast[plot]'" in str(error), error
        else:
            raise AssertionError
    """
    code = "\n".join(line[8:] for line in code.splitlines())
    subprocess.run([sys.executable, "-c", code], check=True)


def test_svg_is_an_element_with_names_of_its_own(net):
    pages = [svg(plot.weights(monitor_of(net)), name) for name in ("a", "b", "a")]
    assert pages[0] == pages[2]
    ids = [{e.get("id") for e in ET.fromstring(page).iter()} - {None} for page in pages[:2]]
    assert not ids[0] & ids[1]
    assert all(i.startswith("a-") for i in ids[0])
    assert "Date" not in pages[0]
    assert "<metadata" not in pages[0]


REFUSED = {
    "no key": (lambda n: plot.learning_curves(RECORD, "r2"), ValueError, "key .*accuracy.*'r2'"),
    "no history": (lambda n: plot.learning_curves(3), TypeError, "history must be a History or"),
    "no epoch": (lambda n: plot.learning_curves({"loss": []}), ValueError, "at least one epoch"),
    "no tensor": (
        lambda n: plot.weights(monitor_of(n), "0.kernel"), ValueError, "tensor .*hidden.kernel"
    ),
    "no monitor": (lambda n: plot.gradient_flow(3), TypeError, "monitor must be a WeightMonitor"),
    "no looks": (
        lambda n: plot.weights(SimpleNamespace(looks=[])), ValueError, "monitor must be one"
    ),
    "shape": (lambda n: plot.first_layer(n, (7, 9)), ValueError, r"shape must be .* of 64 inputs"),
    "no square": (
        lambda n: plot.first_layer(bp.Network([12, 2], rng=0)), ValueError, "shape .* of 12 inputs"
    ),
    "two lengths": (lambda n: plot.confusion([1, 2], [1]), bp.ShapeError, r"\(2,\) and \(1,\)"),
    "no row": (lambda n: plot.confusion([], []), bp.ShapeError, r"\(rows,\)"),
    "few names": (lambda n: plot.confusion([0, 2], [0, 1], ["a"]), ValueError, "labels .* 3 names"),
    "no axes": (lambda n: plot.learning_curves(RECORD, ax=3), TypeError, "ax must be None or an"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(net, case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call(net)
