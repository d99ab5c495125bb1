"""Samples of the gallery for a paper: image | ground truth | prediction | error, with a legend.

The panels are those of `seg-engine picture`, each pixel of a class map in the colour of its class, laid out
so that text stays text in a PDF.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from engine.classes import VOID
from engine.report.figures.style import FAINT, WIDTHS, Columns, FigureError, new_figure, paper_style
from engine.report.gallery import Sample, size_text
from engine.report.triptych import (
    HATCH_DARK,
    HATCH_LIGHT,
    WRONG,
    Color,
    class_map_panel,
    classes_present,
    error_panel,
)
from engine.typed import typed

MOST_RUNS = 4

_GAP = 0.035
_HEADER = 0.17
_LEGEND_GAP = 0.06
_LEGEND_LINE = 0.115
"""In inches."""

_LEGEND_SIZE = 6.5
"""In points."""

_WHOLE = (1, 1)
"""Each pixel of a class map is a pixel of the panel."""


@dataclass(frozen=True)
class Predictions:
    """The gallery of one run: what to call it, and its samples."""

    label: str
    samples: Sequence[Sample]


def samples_figure(
    runs: Sequence[Predictions], class_names: Sequence[str], colors: Sequence[Color], columns: Columns = 2
) -> Figure:
    """A row for each sample that all runs have: image, ground truth, then each run's prediction and error.

    Raises FigureError for too many runs, for images of different sizes, and for runs that kept predictions of
    different images.
    """
    if len(runs) > MOST_RUNS:
        raise FigureError(f"{len(runs)} runs are too many side by side; at most {MOST_RUNS}")
    rows = [_row(runs, name) for name in _shared_names(runs)]
    first = rows[0][0]
    for other in (row[0] for row in rows):
        if other.target.shape != first.target.shape:
            sizes = f"{first.name} is {size_text(first.target)}, {other.name} is {size_text(other.target)}"
            raise FigureError(f"its images have one size, and {sizes}; `{typed('picture', 'RUN')}` takes any")
    maps = [sample for row in rows for sample in row]
    panels = [
        [row[0].image, class_map_panel(row[0].target, colors, _WHOLE)]
        + [panel for sample in row for panel in _panels(sample, colors)]
        for row in rows
    ]
    titles = ["Image", "Ground truth"]
    for run in runs:
        titles += ["Prediction", "Error"] if len(runs) == 1 else [run.label, "Error"]
    present = classes_present(maps)
    keys = [(class_names[i], Patch(facecolor=share_of(colors[i]), edgecolor=FAINT, lw=0.3)) for i in present]
    keys.append(("wrong", Patch(facecolor=share_of(WRONG))))
    if any((sample.target == VOID).any() for sample in maps):
        void = Patch(facecolor=share_of(HATCH_DARK), edgecolor=share_of(HATCH_LIGHT), hatch="//////", lw=0)
        keys.append(("void, not scored", void))
    return laid_out(panels, titles, keys, columns)


def laid_out(
    panels: Sequence[Sequence[NDArray[np.uint8]]],
    titles: Sequence[str],
    keys: Sequence[tuple[str, Patch]],
    columns: Columns,
) -> Figure:
    """Panels in a grid of exact size, titles above them and the legend below."""
    width = WIDTHS[columns]
    across = len(titles)
    panel_width = (width - _GAP * (across - 1)) / across
    height, pixels, _ = panels[0][0].shape
    panel_height = panel_width * height / pixels
    per_line = _keys_in_a_line([name for name, _ in keys], width)
    legend = _LEGEND_GAP + math.ceil(len(keys) / per_line) * _LEGEND_LINE
    whole = _HEADER + len(panels) * (panel_height + _GAP) + legend
    with paper_style():
        figure = new_figure(columns, whole)
        figure.set_layout_engine("none")
        for column, title in enumerate(titles):
            left = column * (panel_width + _GAP)
            middle = (left + panel_width / 2) / width
            figure.text(middle, 1 - 0.05 / whole, title, ha="center", va="top", fontsize=7)
            for row, line in enumerate(panels):
                top = _HEADER + row * (panel_height + _GAP)
                bottom = 1 - (top + panel_height) / whole
                axes = figure.add_axes((left / width, bottom, panel_width / width, panel_height / whole))
                # The photograph may be smoothed to the printer's dots; class maps and errors never are.
                axes.imshow(
                    line[column], interpolation="antialiased" if column == 0 else "none", aspect="auto"
                )
                axes.set_axis_off()
        figure.legend(
            [patch for _, patch in keys],
            [name for name, _ in keys],
            loc="upper center",
            bbox_to_anchor=(0.5, (legend - _LEGEND_GAP) / whole),
            ncols=per_line,
            handlelength=0.9,
            handleheight=0.9,
            handletextpad=0.4,
            columnspacing=1.0,
            labelspacing=0.25,
            fontsize=_LEGEND_SIZE,
            borderaxespad=0,
            borderpad=0,
        )
    return figure


def _keys_in_a_line(names: Sequence[str], width: float) -> int:
    """How many keys fit beside each other in `width` inches; a legend is filled column by column."""
    for columns in range(len(names), 1, -1):
        lines = math.ceil(len(names) / columns)
        longest = [max(map(len, names[i : i + lines])) for i in range(0, len(names), lines)]
        if sum(_LEGEND_SIZE / 72 * (2.3 + 0.58 * length) for length in longest) <= width:
            return len(longest)
    return 1


def _shared_names(runs: Sequence[Predictions]) -> list[str]:
    names = [
        sample.name
        for sample in runs[0].samples
        if all(any(sample.name == other.name for other in run.samples) for run in runs)
    ]
    if not names:
        raise FigureError(
            f"{runs[0].label} and {runs[-1].label} kept predictions of different images; "
            "they cannot share rows"
        )
    return names


def _row(runs: Sequence[Predictions], name: str) -> list[Sample]:
    """One image as every run saw it."""
    row = [next(sample for sample in run.samples if sample.name == name) for run in runs]
    for run, sample in zip(runs, row, strict=True):
        if sample.target.shape != row[0].target.shape:
            sizes = (f"{shape[0]}x{shape[1]}" for shape in (row[0].target.shape, sample.target.shape))
            raise FigureError(f"{runs[0].label} is at {next(sizes)}, {run.label} at {next(sizes)}")
    return row


def _panels(sample: Sample, colors: Sequence[Color]) -> list[NDArray[np.uint8]]:
    return [class_map_panel(sample.prediction, colors, _WHOLE), error_panel(sample, _WHOLE)]


def share_of(color: Color) -> tuple[float, float, float]:
    """A colour of 0 to 255 as matplotlib takes it."""
    return color[0] / 255, color[1] / 255, color[2] / 255
