"""A page as blocks that become Markdown or HTML: headings, text, tables, pictures, code, parts to unfold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.visible import one_line, visible

Style = Literal["better", "worse", "published", "code", "strong"]


@dataclass(frozen=True, slots=True)
class Marked:
    """Text with a meaning that HTML shows by colour or font, Markdown as far as it can."""

    text: str
    style: Style


Inline = str | Marked
Cell = Inline | tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """`level` 1 is the page's title; there is one."""

    text: str
    level: int = 2

    @property
    def anchor(self) -> str:
        return "-".join("".join(c if c.isalnum() else " " for c in self.text.lower()).split())


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Text, in which some words may be marked."""

    parts: tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of points."""

    points: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of as many cells as the header has; columns from `numbers_from` on are set flush right."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers_from: int = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG: its path below the page's folder and what it shows; `width` is that of the page, 0 to 1."""

    path: str
    caption: str
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to be copied as they are."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """What not everybody needs: shown when it is unfolded."""

    summary: str
    blocks: tuple[Block, ...]


Block = Heading | Paragraph | Bullets | Table | Picture | Code | Details


def text(*parts: Inline) -> Paragraph:
    return Paragraph(parts)


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]], numbers_from: int = 1) -> Table:
    return Table(tuple(header), tuple(map(tuple, rows)), numbers_from)


# ---------------------------------------------------------------------- Markdown


def to_markdown(blocks: Iterable[Block]) -> str:
    """The page as GitHub's Markdown; pictures are links to files beside it."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {_escaped(block.text)}"
        case Paragraph():
            return _cell(block.parts)
        case Bullets():
            return "\n".join(f"- {_escaped(point)}" for point in block.points)
        case Table():
            return _markdown_table(block)
        case Picture():
            return f"![{_escaped(block.caption)}]({block.path})\n\n*{_escaped(block.caption)}*"
        case Code():
            fence = "`" * max(3, 1 + _longest_ticks(block.text))
            return f"{fence}{block.language}\n{visible(block.text.rstrip())}\n{fence}"
        case Details():
            summary = f"<details>\n<summary>{_escaped(block.summary)}</summary>"
            return "\n\n".join([summary, *map(_markdown, block.blocks), "</details>"])


def _markdown_table(block: Table) -> str:
    rules = ["---" if i < block.numbers_from else "---:" for i in range(len(block.header))]
    lines = [
        [_escaped(title) for title in block.header],
        rules,
        *(list(map(_cell, row)) for row in block.rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(cell: Cell) -> str:
    return "".join(map(_inline, cell)) if isinstance(cell, tuple) else _inline(cell)


def _inline(part: Inline) -> str:
    if isinstance(part, str):
        return _escaped(part)
    match part.style:
        case "code":
            ticks = "`" * (1 + _longest_ticks(part.text))
            blank = " " if "`" in part.text else ""
            return f"{ticks}{blank}{one_line(part.text).replace('|', chr(92) + '|')}{blank}{ticks}"
        case "strong":
            return f"**{_escaped(part.text)}**"
        case "published":
            return f"*{_escaped(part.text)}*"
        case _:
            return _escaped(part.text)


def _escaped(words: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    line = one_line(" ".join(words.splitlines()) if "\n" in words or "\r" in words else words)
    return "".join(f"\\{c}" if c in "\\|*_`<[~&" else c for c in line)


def _longest_ticks(words: str) -> int:
    return max(map(len, re.findall("`+", words)), default=0)
