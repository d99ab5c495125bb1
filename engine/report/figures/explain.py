"""The score against each config key that differs, and the configs as lines over parallel axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from engine.report.explain import Explanation, Factor, Setting, as_number
from engine.report.explain_text import percent
from engine.report.figures.style import FAINT, INK, PALETTE, Columns, new_figure, paper_style

MOST_PANELS, MOST_AXES, MOST_STRIPS = 6, 6, 8
"""Keys that are drawn, the most important ones, and values of a key that have a strip of their own."""
LONGEST_WORD = 12

_FROM_WORST = LinearSegmentedColormap.from_list("score", ["#d8d8de", "#8fc3e3", PALETTE[0], "#00304d"])
"""From the worst to the best: its lightness alone tells them apart."""


def explain_figure(explanation: Explanation, columns: Columns = 2) -> Figure:
    """A panel for each of the keys that matter most: a point for each config, seeds as a bar of one standard
    deviation, the means of its values joined. Below them, where two keys or more differ, all configs as lines
    over an axis for each key."""
    factors = explanation.factors[:MOST_PANELS]
    across = min(len(factors), 3 if columns == 2 else 2)
    down = math.ceil(len(factors) / across)
    with_lines = len(factors) > 1
    with paper_style():
        figure = new_figure(columns, 1.7 * down + (2.0 if with_lines else 0.2))
        grid = figure.add_gridspec(down + with_lines, across, height_ratios=[1.0] * down + [1.1] * with_lines)
        for place, factor in enumerate(factors):
            axes = figure.add_subplot(grid[place // across, place % across])
            _panel(axes, explanation, factor)
            if place % across == 0:
                axes.set_ylabel(explanation.metric.title)
        if with_lines:
            _parallel(figure.add_subplot(grid[down, :]), explanation, factors[:MOST_AXES])
    return figure


def _panel(axes: Axes, explanation: Explanation, factor: Factor) -> None:
    scale = Scale(factor)
    for setting in explanation.settings:
        x = scale.place(setting.values[factor.key])
        if x is None:
            continue
        axes.errorbar(
            x,
            setting.score.mean,
            yerr=setting.score.sd,
            fmt="o",
            ms=3,
            mew=0,
            elinewidth=0.7,
            color=PALETTE[0],
            alpha=0.75,
        )
    middles = [scale.middle(level.low, level.high, level.text) for level in factor.levels]
    means = [level.score.mean for level in factor.levels]
    if factor.is_number:
        axes.plot(middles, means, "-", color=PALETTE[1], lw=1.0)
    else:
        axes.plot(middles, means, "_", color=PALETTE[1], ms=14, mew=1.4)
    scale.apply(axes)
    axes.grid(axis="y")
    axes.set_title(f"{factor.title}  {percent(factor.importance)}", fontsize=7, loc="left")


def _parallel(axes: Axes, explanation: Explanation, factors: Sequence[Factor]) -> None:
    """Lines from the worst to the best config, which lies on top, over an axis for each key and the score."""
    ordered = list(reversed(explanation.settings))
    places = {factor.key: shares(factor, explanation.settings) for factor in factors}
    means = [setting.score.mean for setting in explanation.settings]
    low, high = min(means), max(means)
    for rank, setting in enumerate(ordered):
        ys = [places[factor.key].get(setting.values[factor.key]) for factor in factors]
        ys.append((setting.score.mean - low) / (high - low) if high > low else 0.5)
        known = [(x, y) for x, y in enumerate(ys) if y is not None]
        color = _FROM_WORST(rank / max(1, len(ordered) - 1))
        axes.plot([x for x, _ in known], [y for _, y in known], color=color, lw=0.9, alpha=0.9)
    for x, factor in enumerate(factors):
        axes.axvline(x, color=FAINT, lw=0.6)
        for text, y in _labels(places[factor.key]):
            axes.annotate(
                text,
                (x, y),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=5.5,
                color=INK,
                bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
            )
    axes.axvline(len(factors), color=FAINT, lw=0.6)
    for y, value in ((0, low), (1, high)):
        axes.annotate(
            f"{value:.4g}", (len(factors), y), (3, 0), textcoords="offset points", va="center", fontsize=5.5
        )
    axes.set_xticks(range(len(factors) + 1), [*(f.key for f in factors), explanation.metric.title])
    axes.set(ylim=(-0.06, 1.06), xlim=(-0.05, len(factors) + 0.25), yticks=[])
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def shares(factor: Factor, settings: Sequence[Setting]) -> dict[str | None, float]:
    """Where each value of a key lies on its axis, in [0, 1]: numbers by their size, words evenly by their
    mean score."""
    texts = dict.fromkeys(value for setting in settings if (value := setting.values[factor.key]) is not None)
    if factor.is_number:
        sizes = {text: _in(factor, as_number(text) or 0.0) for text in texts}
        low, high = min(sizes.values()), max(sizes.values())
        return {text: (size - low) / (high - low) if high > low else 0.5 for text, size in sizes.items()}
    ordered = [level.text for level in factor.levels]
    last = max(1, len(ordered) - 1)
    return {text: ordered.index(text or '""') / last for text in texts}


def _labels(places: Mapping[str | None, float]) -> list[tuple[str, float]]:
    """As many values as there is room for, the first and the last among them."""
    ordered = sorted((y, text or '""') for text, y in places.items())
    shown: list[tuple[str, float]] = []
    for y, text in [*ordered[:1], *ordered[:0:-1]]:
        if all(abs(y - other) > 0.09 for _, other in shown):
            shown.append((_short(text), y))
    return shown


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_WORD else text[: LONGEST_WORD - 1] + "…"


def _in(factor: Factor, value: float) -> float:
    return math.log10(value) if factor.is_log else value


class Scale:
    """The x axis of one key: numbers as they are or as logarithms, words as strips beside each other."""

    def __init__(self, factor: Factor) -> None:
        self.factor = factor
        self.words = [] if factor.is_number else [level.text for level in factor.levels]

    def place(self, text: str | None) -> float | None:
        """Where a value stands; None where there is no such key."""
        if text is None:
            return None
        return as_number(text) if self.factor.is_number else float(self.words.index(text or '""'))

    def middle(self, low: float | None, high: float | None, text: str) -> float:
        """Where the mean of a level stands."""
        if low is None or high is None:
            return float(self.words.index(text))
        return 10 ** fmean((math.log10(low), math.log10(high))) if self.factor.is_log else (low + high) / 2

    def apply(self, axes: Axes) -> None:
        if self.words:
            step = math.ceil(len(self.words) / MOST_STRIPS)
            shown = range(0, len(self.words), step)
            axes.set_xticks(list(shown), [_short(self.words[place]) for place in shown])
            axes.set_xlim(-0.5, len(self.words) - 0.5)
            if max(map(len, self.words)) > 6:
                for label in axes.get_xticklabels():
                    label.set(rotation=30, ha="right", rotation_mode="anchor")
        elif self.factor.is_log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(numticks=5))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
            axes.xaxis.set_major_formatter(ScalarFormatter(useOffset=False))
        axes.margins(x=0.08)
