"""The page of ``bpfast train --report``: its sections, its words, and itself in a browser."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import browser
import numpy as np
import pytest
from command import Result, bp

from bpfast.cli.page import page, section, table

pytest.importorskip("matplotlib")

SECTIONS = (
    "Summary",
    "Learning curves",
    "Weights and gradients",
    "Diagnosis",
    "Confusion matrix",
    "Settings that reproduce this run",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A page of the digits, and what was printed."""
    folder = tmp_path_factory.mktemp("report")
    path = folder / "run.html"
    command = ("train", "--hidden", "24,16", "--epochs", "4", "--report", path, "--json")
    result = bp(*command, "--out", folder / "digits.safetensors")
    assert result.code == 0, result.err
    return path, result


class Elements(HTMLParser):
    """Tags that were opened and must be closed, and all attributes."""

    EMPTY = frozenset(("meta", "link", "br", "hr", "img", "input"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def heads(text: str) -> list[str]:
    return re.findall(r"<h2>([^<]+)</h2>", text)


def test_sections_and_numbers(made):
    path, result = made
    text = path.read_text()
    assert tuple(heads(text)) == SECTIONS
    told = result.json
    assert f"<dd>{100 * told['test_accuracy']:.2f}%</dd>" in text
    assert told["sha256"] in text
    assert f"<dd>{told['parameters']:,}</dd>" in text
    assert "bpfast train --hidden 24,16 --epochs 4 --report" in text
    assert f"wrote {path}:" in result.out


def test_is_one_well_formed_page_that_fetches_nothing(made):
    text = made[0].read_text()
    found = Elements(text)
    assert found.open == []
    assert not found.tags & {"script", "iframe", "object", "embed", "img"}
    for name, value in found.attributes:
        assert not name.startswith("on")
        if name in ("href", "src", "xlink:href"):
            assert value is not None
            assert value.startswith(("#", "data:")), value
    ids = [value for name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert "@import" not in text
    assert not re.search(r"url\((?!#|&quot;#)", text)


def test_command_line_makes_the_same_model_again(made, tmp_path):
    path, result = made
    again = bp(
        "train", "--hidden", "24,16", "--epochs", "4", "--out", tmp_path / "a.safetensors", "--json"
    )
    assert again.json["sha256"] == result.json["sha256"]  # looking changes no bit
    assert re.search(r"data, SHA-256</td><td>[0-9a-f]{64}", path.read_text())


HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of data whose every name is an attack."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    classes = np.array([HOSTILE, "</svg><img src=x onerror=alert(2)>"])
    data = folder / "<b onload=alert(3)>&amp;.npz"
    np.savez(data, **{"a": X[:, 0], '"><i>': X[:, 1], "kind": classes[(X[:, 0] > 0).astype(int)]})
    out = folder / "page.html"
    result = bp(
        "train", data, "--target", "kind", "--epochs", "2", "--hidden", "4",
        "--out", folder / "m.safetensors", "--report", out,
    )  # fmt: skip
    assert result.code == 0, result.err
    return out


def test_text_of_data_is_escaped(hostile):
    text = hostile.read_text()
    found = Elements(text)
    assert found.open == []
    assert not found.tags & {"script", "img", "b", "i"}
    assert not any(name.startswith("on") for name, _ in found.attributes)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_quantities_have_no_confusion_matrix(tmp_path):
    X = np.random.default_rng(0).normal(size=(200, 3))
    np.savez(tmp_path / "t.npz", a=X[:, 0], b=X[:, 1], y=X @ [1.0, 2.0, 3.0])
    result = bp(
        "train", tmp_path / "t.npz", "--target", "y", "--epochs", "2", "--hidden", "4",
        "--out", tmp_path / "m.safetensors", "--report", tmp_path / "page.html", "--quiet",
    )  # fmt: skip
    assert result.code == 0, result.err
    text = (tmp_path / "page.html").read_text()
    assert heads(text) == [name for name in SECTIONS if name != "Confusion matrix"]
    assert "test r2" in text


def test_own_page_is_replaced_and_no_other_file(made, tmp_path):
    path = made[0]
    options = ("--hidden", "4", "--epochs", "1", "--quiet", "--out", tmp_path / "m.safetensors")
    assert bp("train", *options, "--report", path.with_name("again.html")).code == 0
    assert bp("train", *options, "--report", path.with_name("again.html")).code == 0
    other = tmp_path / "thesis.html"
    other.write_text("<!DOCTYPE html>\n<p>years of work")
    refused = bp("train", *options, "--report", other)
    assert refused.code == 1
    assert refused.err.startswith(f"bpfast: {other}: exists; --force overwrites it, --report names")
    assert other.read_text().endswith("years of work")


def test_without_matplotlib_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    model = tmp_path / "m.safetensors"
    refused = bp("train", "--out", model, "--report", tmp_path / "page.html")
    assert refused.code == 1
    assert "pip install 'bpfast[plot]'" in refused.err
    assert not model.exists()


def test_pieces_escape():
    whole = page("<x>", section("<y>", table(("<a>", "b"), [("<c>", "&")])), "<z>")
    assert Elements(whole).open == []
    assert not Elements(whole).tags & {"x", "y", "a>", "c", "z"}
    assert table(("a", "b"), []) == ""


# ---- in a browser -------------------------------------------------------------------------------

needs_browser = pytest.mark.skipif(browser.find() is None, reason="needs Debian's chromium")

SHOWN = """
[...document.querySelectorAll("section")].map(s => {
    const box = s.getBoundingClientRect(), style = getComputedStyle(s);
    const broken = [...s.querySelectorAll("svg")].filter(v => {
        const b = v.getBoundingClientRect();
        return b.width < 100 || b.height < 50 || b.right > innerWidth + 1;
    }).length;
    return [s.querySelector("h2").textContent, box.width > 200 && box.height > 40
        && style.visibility === "visible" && style.display !== "none", broken];
})
"""
TOO_WIDE = """
[...document.querySelectorAll("table, pre")].filter(t => {
    const around = t.closest(".grid > *, section").getBoundingClientRect();
    return t.getBoundingClientRect().right > around.right + 1;
}).map(t => t.textContent.slice(0, 40))
"""


@needs_browser
def test_browser_shows_every_section_on_phone_and_desktop(made, hostile):
    with browser.opened() as seen:
        for width, height in ((390, 844), (1280, 900)):
            seen.show(made[0], width, height)
            shown = seen.value(SHOWN)
            assert [name for name, *_ in shown] == list(SECTIONS)
            assert all(visible and not broken for _, visible, broken in shown), shown
            assert seen.value("innerWidth") == width
            assert seen.value("document.documentElement.scrollWidth") <= width
            assert seen.value("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
            assert seen.picture()[:4] == b"\x89PNG"
        assert seen.printed()[:5] == b"%PDF-"
        seen.call("Emulation.setEmulatedMedia", media="print")
        seen.show(made[0], 720, 1000)  # A4 without margins
        assert seen.value(TOO_WIDE) == []
        seen.call("Emulation.setEmulatedMedia", media="screen")
        seen.show(hostile, 1280, 900)
        assert seen.value("document.querySelectorAll('script, img, b, i').length") == 0
        assert seen.complaints() == []
        assert {url.split(":")[0] for url in seen.requests()} <= {"file", "data"}
