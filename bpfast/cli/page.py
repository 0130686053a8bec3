"""Pieces of an HTML page: all that they are given is text, and escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

_CSS: Final = """
:root { --ink: #1b1f24; --soft: #5b6470; --line: #d9dee4; --back: #ffffff; --tile: #f4f6f8;
  --mark: #0072b2; --warn: #d55e00 }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; color: var(--ink); background: var(--back);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
h1 { font-size: 1.5rem; margin: .5rem 0; overflow-wrap: anywhere }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .8rem; padding-bottom: .3rem;
  border-bottom: 2px solid var(--mark) }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem }
p { margin: .4rem 0; overflow-wrap: anywhere }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .9rem }
a { color: var(--mark) }
.tiles { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)) }
.tiles div { background: var(--tile); border-radius: .4rem; padding: .6rem .8rem }
.tiles dt { color: var(--soft); font-size: .85rem }
.tiles dd { margin: 0; font-size: 1.3rem; font-weight: 600; font-variant-numeric: tabular-nums }
.grid { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)) }
.grid > * { min-width: 0 }
.grid + .grid { margin-top: 1rem }
figure { margin: 0; min-width: 0 }
figure svg { width: 100%; height: auto; max-width: 31rem; display: block; margin: 0 auto }
figcaption { color: var(--soft); font-size: .85rem; text-align: center }
.wide { overflow-x: auto; margin: .6rem 0 }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap }
th:first-child, td:first-child, table.text td { text-align: left }
table.text td:last-child { white-space: normal; overflow-wrap: anywhere }
table.text th { text-align: left }
pre { background: var(--tile); border-radius: .4rem; padding: .7rem .9rem; overflow-x: auto;
  font-size: .85rem; line-height: 1.4 }
pre.wrapped { white-space: pre-wrap; overflow-wrap: anywhere }
.finding { border-left: .3rem solid var(--warn); padding: .1rem .9rem; margin: .8rem 0;
  background: var(--tile) }
small { color: var(--soft); font-weight: normal }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .85rem }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt }
  nav { display: none }
  .grid { grid-template-columns: repeat(2, 1fr) }
  .grid.tables { grid-template-columns: 1fr }
  .wide, pre { overflow: visible }
  pre { white-space: pre-wrap; overflow-wrap: anywhere }
  figure, tr, .finding, .tiles div { break-inside: avoid }
  h2, h3 { break-after: avoid }
}
"""


def page(title: str, body: str, made: str) -> str:
    """Return the element html; `body` is of `section`s."""
    heads = re.findall(r'<section id="([^"]+)">\s*<h2>([^<]+)</h2>', body)
    links = "".join(f'<a href="#{place}">{name}</a>' for place, name in heads)
    return (
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        '<link rel="icon" href="data:,">\n'
        f"<style>{_CSS}</style>\n</head>\n<body>\n<header><h1>{escape(title)}</h1>\n"
        f"<nav>{links}</nav></header>\n<main>\n{body}</main>\n"
        f"<footer>{escape(made)}</footer>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Return a section of parts that are HTML already."""
    place = re.sub(r"\W+", "-", title.lower())
    inside = "\n".join(part for part in parts if part)
    return f'<section id="{place}">\n<h2>{escape(title)}</h2>\n{inside}\n</section>\n'


def figure(svg: str, caption: str) -> str:
    """Return a drawing with its caption, which also tells those who do not see it what it is."""
    told = escape(caption)
    marked = svg.replace("<svg", f'<svg role="img" aria-label="{told}"', 1)
    return f"<figure>{marked}<figcaption>{told}</figcaption></figure>"


def tiles(numbers: Mapping[str, str]) -> str:
    """Return what matters most, large."""
    cells = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in numbers.items())
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def lines(texts: Iterable[str]) -> str:
    """Return a paragraph for each."""
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that scrolls where it is too wide; two columns are text, more are numbers."""
    kind = ' class="text"' if len(heads) == 2 else ""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows
    )
    if not body:
        return ""
    return (
        f'<div class="wide" tabindex="0"><table{kind}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )
