"""What is wanted on the screen, as it follows from where one looks and from the room there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from seg_tui.preview.look import Box, Look
from seg_tui.widgets.class_colors import Depth
from seg_tui.widgets.class_legend import legend_width
from seg_tui.widgets.label_image import HALF_BLOCKS, Dots, Rule, fit

_Value = TypeVar("_Value")

Kind = Literal["image", "target", "prediction", "error", "score"]

MOST_COLUMNS = 7
"""Pictures side by side."""

LEGEND_GAP = 3
"""Cells between two columns of the legend, and between it and the pictures."""
MARGIN = 1
"""Cells that stay free left and right of the pictures, and right of a legend beside them."""
_NO_CLASSES = 4
"""Lines of the legend that are of no class: this image, all images, a blank one, void."""
_WORTH_IT = 1.05
"""The pictures must become so many times as large for the legend to leave its place beside them."""


@dataclass(frozen=True)
class Panel:
    """One picture of a view: what it shows of which run, and which epoch for a prediction."""

    kind: Kind
    run: str
    epoch: int | None


@dataclass(frozen=True)
class View:
    """What is wanted on the screen: pictures in a grid of `columns`. `lines` and `cols` are the cells that
    there are for each, `dots` the pixels (down, right) of a cell; `overlay` is the opacity of class maps
    over the image, 0..1. With `boundaries`, only errors near true boundaries are drawn. Where there is a
    `score`, predictions are grey where it is above the threshold that accepts the share `accept` of
    in-distribution pixels."""

    sample: str
    panels: tuple[Panel, ...]
    columns: int
    lines: int
    cols: int
    box: Box
    overlay: float
    rule: Rule
    depth: Depth
    dots: Dots = HALF_BLOCKS
    score: str = ""
    accept: float = 1.0
    boundaries: bool = False


@dataclass(frozen=True)
class Room:
    """How the pictures and their legend share the screen: the cells for the pictures, and in how many
    columns the legend stands below them; 0: beside them, or there is none."""

    lines: int = 0
    cols: int = 0
    legend_columns: int = 0


def room_for(look: Look, lines: int, cols: int, legend: bool) -> Room:
    """Share `lines` x `cols` cells. The legend stands below the pictures where these become larger so than
    beside it. No room where the cells are not known yet."""
    cols -= 2 * MARGIN
    if not legend or lines <= 0 or cols <= 0:
        return Room(lines, max(0, cols))
    runs = len(look.galleries)
    columns = max(1, cols // (legend_width(runs, bars=False) + LEGEND_GAP))
    beside = Room(lines, cols - legend_width(runs) - LEGEND_GAP - MARGIN)
    below = Room(lines - legend_height(look, columns), cols, columns)
    larger = _largest(look, below.lines, below.cols) > _WORTH_IT * _largest(look, beside.lines, beside.cols)
    return below if larger else beside


def legend_height(look: Look, columns: int) -> int:
    """Lines of a legend below the pictures if a sample had all classes, with a blank one above it: so the
    pictures stay where they are from sample to sample."""
    errors = 3 + len(look.galleries) if look.boundaries else 0
    return -(-(len(look.first.classes) + _NO_CLASSES + errors) // columns) + 2


def _largest(look: Look, lines: int, cols: int) -> float:
    """The scale of the pictures in the best grid."""
    panels, (height, width) = len(panels_of(look)), look.size
    columns = best_grid(panels, height, width, lines + 1, cols)
    return _scale(panels, columns, height, width, lines + 1, cols)


def best_grid(panels: int, height: int, width: int, lines: int, cols: int) -> int:
    """In how many columns `panels` pictures of `height` x `width` pixels become largest.

    `lines` x `cols` cells are shared; each picture has a caption line, and a blank one between rows.
    """
    return max(
        range(1, min(panels, MOST_COLUMNS) + 1),
        key=lambda columns: _scale(panels, columns, height, width, lines, cols),
    )


def cell_size(panels: int, columns: int, lines: int, cols: int) -> tuple[int, int]:
    """The cells that each picture of a grid has for itself, as (lines, columns)."""
    rows = -(-panels // columns)
    return max(1, lines // rows - 2), max(1, (cols - 2 * (columns - 1)) // columns)


def _scale(panels: int, columns: int, height: int, width: int, lines: int, cols: int) -> float:
    own_lines, own_cols = cell_size(panels, columns, lines, cols)
    return min(2 * own_lines / height, own_cols / width)


def panels_of(look: Look) -> tuple[Panel, ...]:
    """All there is to see of a sample: of one run four panels, of several a prediction each."""
    first = look.first
    given = (Panel("image", first.id, None), Panel("target", first.id, None))
    if len(look.galleries) == 1:
        epoch = look.epoch_of(first)
        last: Kind = "score" if look.score else "error"
        return (*given, Panel("prediction", first.id, epoch), Panel(last, first.id, epoch))
    kind: Kind = "error" if look.errors else "prediction"
    return (*given, *(Panel(kind, run.id, look.epoch_of(run)) for run in look.galleries.values()))


def partner_of(look: Look, position: int) -> int:
    """With which panel one flickers: a prediction with that of the next run, or with the truth."""
    count = len(panels_of(look))
    if len(look.galleries) > 1:
        return 2 + (position - 1) % (count - 2) if position >= 2 else 2
    return 1 if position == 2 else 2


def view_of(look: Look, lines: int, cols: int, depth: Depth, dots: Dots = HALF_BLOCKS) -> View | None:
    """What is to be drawn into so many cells of `dots`; None when there is no room or nothing to see."""
    if not look.galleries or cols < 8 or lines < 4:
        return None
    panels = panels_of(look)
    height, width = look.size
    if look.full is not None:
        look.full = min(look.full, len(panels) - 1)
        chosen = [look.full] + ([partner_of(look, look.full)] if look.flicker else [])
        panels = tuple(panels[position] for position in chosen)
        own_lines, own_cols, columns = lines - 1, cols, 1
    else:
        columns = best_grid(len(panels), height, width, lines + 1, cols)
        own_lines, own_cols = cell_size(len(panels), columns, lines + 1, cols)
        own_lines, own_cols = fit(height, width, own_lines, own_cols)
    return View(
        sample=look.sample,
        panels=panels,
        columns=columns,
        lines=own_lines,
        cols=own_cols,
        box=look.box,
        overlay=look.overlay,
        rule=look.rule,
        depth=depth,
        dots=dots,
        score=look.score,
        accept=look.accept,
        boundaries=look.boundaries,
    )


def neighbours_of(look: Look, view: View) -> list[View]:
    """What is likely to be wanted next: the epochs and samples beside this one."""
    found = []
    if not look.each_best:
        for epoch in _beside(look.epochs, look.epoch):
            panels = tuple(p if p.epoch is None else replace(p, epoch=epoch) for p in view.panels)
            found.append(replace(view, panels=panels))
    return found + [replace(view, sample=sample) for sample in _beside(look.samples, look.sample)]


def _beside(values: Sequence[_Value], value: _Value) -> list[_Value]:
    here = values.index(value)
    return [*values[here + 1 : here + 3], *values[max(0, here - 1) : here]]
