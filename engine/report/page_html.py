"""A page as one HTML file that needs nothing else: pictures and style are inside, no script, no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from html import escape

from engine.report.page import (
    Block,
    Bullets,
    Cell,
    Code,
    Details,
    Heading,
    Inline,
    Paragraph,
    Picture,
    Table,
)
from engine.visible import visible

_STYLE = """
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #1c1c1e; --faint: #6a6a70; --line: #e2e2e6; --shade: #f6f6f8;
  --accent: #0072b2; --better: #00795a; --worse: #b84f00; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #16171a; --ink: #e8e8ea; --faint: #9a9aa2; --line: #33353b; --shade: #1f2126;
  --accent: #56b4e9; --better: #3fc79a; --worse: #f0965a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 3rem 1.5rem 5rem; max-width: 62rem;
  background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .75rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 3rem 0 .75rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { margin: .6rem 0; max-width: 46rem; }
ul { margin: .6rem 0; padding-left: 1.2rem; max-width: 46rem; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
nav { margin: 1.5rem 0 0; color: var(--faint); font-size: .9rem; }
nav a { margin-right: 1.1rem; white-space: nowrap; display: inline-block; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .34rem .8rem .34rem 0; text-align: left; vertical-align: top; white-space: nowrap; }
th { font-weight: 600; color: var(--faint); border-bottom: 1px solid var(--ink); }
td { border-bottom: 1px solid var(--line); }
th.number, td.number { text-align: right; }
.better { color: var(--better); } .worse { color: var(--worse); }
.published { color: var(--faint); font-style: italic; }
code, pre { font: .84rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--shade); border: 1px solid var(--line); border-radius: 6px;
  padding: .8rem 1rem; overflow-x: auto; }
pre.commands { white-space: pre-wrap; overflow-wrap: anywhere; }
figure { margin: 1.25rem 0; }
figure img { display: block; max-width: 100%; background: #ffffff; border-radius: 6px; padding: 10px;
  border: 1px solid var(--line); }
figcaption { color: var(--faint); font-size: .88rem; margin-top: .4rem; max-width: 46rem; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--accent); }
@media print { body { max-width: none; padding: 0; }
  h2 { break-after: avoid; } figure, tr { break-inside: avoid; } }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_POLICY = (
    "default-src 'none'; img-src data:; "
    f"style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"
)
"""The page may show its own pictures and style, and nothing else: no script, no form, no network."""

_MIDDLE_LEVEL = 2
"""The headings that the table of contents lists."""


def to_html(title: str, blocks: Sequence[Block], read: Callable[[str], bytes]) -> str:
    """The page; `read` gives the bytes of a picture by its path below the page's folder."""
    # The table of contents stands behind what is said before the first section.
    first = next((i for i, b in enumerate(blocks) if isinstance(b, Heading) and b.level > 1), len(blocks))
    head, rest = blocks[:first], blocks[first:]
    contents = "".join(
        f'<a href="#{block.anchor}">{_shown(block.text)}</a>'
        for block in rest
        if isinstance(block, Heading) and block.level == _MIDDLE_LEVEL
    )
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_shown(title)}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            *_all(head, read),
            f"<nav>{contents}</nav>",
            *_all(rest, read),
            "</body>",
            "</html>",
            "",
        ]
    )


def _all(blocks: Iterable[Block], read: Callable[[str], bytes]) -> list[str]:
    return [_html(block, read) for block in blocks]


def _html(block: Block, read: Callable[[str], bytes]) -> str:
    match block:
        case Heading():
            return f'<h{block.level} id="{block.anchor}">{_shown(block.text)}</h{block.level}>'
        case Paragraph():
            return f"<p>{_cell(block.parts)}</p>"
        case Bullets():
            return f"<ul>{''.join(f'<li>{_shown(point)}</li>' for point in block.points)}</ul>"
        case Table():
            return _table(block)
        case Picture():
            data = base64.b64encode(read(block.path)).decode()
            size = f'width="{100 * block.width:g}%"'
            image = f'<img src="data:image/png;base64,{data}" alt="{_shown(block.caption)}" {size}>'
            return f"<figure>{image}<figcaption>{_shown(block.caption)}</figcaption></figure>"
        case Code():
            kind = ' class="commands"' if block.language == "sh" else ""
            return f"<pre{kind}><code>{_shown(block.text.rstrip())}</code></pre>"
        case Details():
            inner = "\n".join(_all(block.blocks, read))
            return f"<details><summary>{_shown(block.summary)}</summary>\n{inner}\n</details>"


def _table(block: Table) -> str:
    kind = ['class="number"' if i >= block.numbers_from else "" for i in range(len(block.header))]
    head = "".join(f"<th {k}>{_shown(t)}</th>" for k, t in zip(kind, block.header, strict=True))
    rows = "\n".join(
        "<tr>" + "".join(f"<td {k}>{_cell(c)}</td>" for k, c in zip(kind, row, strict=True)) + "</tr>"
        for row in block.rows
    )
    body = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
    return f'<div class="scroll">{body}</div>'.replace(" >", ">")


def _cell(cell: Cell) -> str:
    return "".join(map(_inline, cell)) if isinstance(cell, tuple) else _inline(cell)


def _inline(part: Inline) -> str:
    if isinstance(part, str):
        return _shown(part)
    words = _shown(part.text)
    if part.style in ("code", "strong"):
        return f"<{part.style}>{words}</{part.style}>"
    return f'<span class="{part.style}">{words}</span>'


def _shown(words: str) -> str:
    """Text as HTML that shows it: nothing in it is markup, and nothing hides or turns what follows."""
    return escape(visible(words))
