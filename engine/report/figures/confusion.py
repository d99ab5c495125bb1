"""The confusion matrix of an evaluation: what each class was taken for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from engine.report.figures.style import FAINT, INK, PALETTE, Columns, FigureError, new_figure, paper_style

_COLORS = LinearSegmentedColormap.from_list("share", ["white", "#bcdcef", PALETTE[0], "#00304d"])
"""White to the dark of one hue: its lightness alone tells the share, with any kind of colour vision."""

_LEAST_SHOWN = 0.005
"""Shares below half a percent are left white without a number."""


def confusion_figure(
    confusion: Sequence[Sequence[int]], class_names: Sequence[str], columns: Columns = 2
) -> Figure:
    """A matrix normalised by row: of the pixels of a class, the percentage predicted as each class.

    `confusion` is [C][C + 1], rows ground truth, the last column predicted void, which is drawn only where
    it occurs. A class that the ground truth does not have is a row of grey. Raises FigureError for another
    shape and for a matrix without pixels.
    """
    if not len(confusion):
        raise FigureError("the records that were imported have no confusion matrix")
    counts = np.asarray(confusion, dtype=np.int64)
    classes = len(class_names)
    if counts.shape != (classes, classes + 1):
        raise FigureError(f"the confusion matrix is {_shape(counts)}, not {classes}x{classes + 1}")
    predicted = [*class_names, "void"] if counts[:, -1].any() else list(class_names)
    counts = counts[:, : len(predicted)]
    totals = counts.sum(axis=1, keepdims=True)
    if not totals.any():
        raise FigureError("the confusion matrix is empty; no pixel was scored")
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    with paper_style():
        side = {1: 2.9, 2: 5.2}[columns]
        figure = new_figure(columns, side)
        axes = figure.add_subplot()
        colors = _COLORS.with_extremes(bad="#ededf0")
        image = axes.imshow(np.ma.masked_invalid(shares), cmap=colors, vmin=0, vmax=1, interpolation="none")
        axes.set_xticks(range(len(predicted)), predicted, rotation=90)
        axes.set_yticks(range(classes), class_names)
        axes.tick_params(length=0, labelsize=_label_size(classes, columns))
        axes.set_xlabel("Predicted")
        axes.set_ylabel("Ground truth")
        for spine in axes.spines.values():
            spine.set(visible=True, color=FAINT)
        size = _number_size(classes, columns)
        if size:
            for row, column in zip(*np.nonzero(np.nan_to_num(shares) >= _LEAST_SHOWN), strict=True):
                share = shares[row, column]
                ink = "white" if share > 0.55 else INK
                axes.text(
                    column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=size, color=ink
                )
        beside = axes.inset_axes((1.02, 0, 0.035, 1))
        bar = figure.colorbar(image, cax=beside, ticks=[0, 0.25, 0.5, 0.75, 1])
        bar.ax.set_yticklabels(["0", "25", "50", "75", "100 %"])
        bar.ax.tick_params(length=0)
        bar.outline.set_linewidth(0.4)
    return figure


def _label_size(classes: int, columns: Columns) -> float:
    return 6.5 if columns == 2 or classes <= 12 else 5.5


def _number_size(classes: int, columns: Columns) -> float:
    """Points of the numbers in the cells, 0 where a cell has no room for them."""
    cell = {1: 130.0, 2: 270.0}[columns] / classes
    return min(7.0, cell / 2) if cell >= 9 else 0


def _shape(counts: np.ndarray) -> str:
    return "x".join(map(str, counts.shape))
