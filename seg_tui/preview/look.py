"""Where one looks: which runs, sample and epoch, which part of the picture, in what way.

Plain values without a screen: keys change a `Look`, and a `View` follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from seg_tui.preview.galleries import Ranking, RunGallery, Size
from seg_tui.widgets.class_colors import Depth
from seg_tui.widgets.label_image import HALF_BLOCKS, RULES, Dots, Rule, fit

_Value = TypeVar("_Value")

Kind = Literal["image", "target", "prediction", "error", "score"]

ACCEPTED = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 1.0)
"""Shares of in-distribution pixels that a threshold may accept."""

MOST_COLUMNS = 7
"""Pictures side by side."""

CLOSEST = 1 / 32
"""The smallest part of a picture that is looked at."""


@dataclass(frozen=True)
class Box:
    """The part of a picture that is looked at, in shares of it: 0..1 down and to the right."""

    top: float = 0.0
    left: float = 0.0
    size: float = 1.0

    def pixels(self, height: int, width: int) -> tuple[slice, slice]:
        """The same part of a picture of so many pixels; at least one."""
        tall, wide = max(1, round(self.size * height)), max(1, round(self.size * width))
        top = min(round(self.top * height), height - tall)
        left = min(round(self.left * width), width - wide)
        return slice(top, top + tall), slice(left, left + wide)

    def absolute(self, place: tuple[float, float]) -> tuple[float, float]:
        """A place in this part as a place in the whole."""
        return self.top + place[0] * self.size, self.left + place[1] * self.size

    def relative(self, place: tuple[float, float]) -> tuple[float, float]:
        """A place in the whole as a place in this part; outside 0..1 when it is not in it."""
        return (place[0] - self.top) / self.size, (place[1] - self.left) / self.size

    def around(self, place: tuple[float, float]) -> Box:
        """The same size, moved as little as needed for `place` to be in it."""
        top, left = (
            min(max(edge, where - self.size), where, 1 - self.size)
            for edge, where in zip((self.top, self.left), place, strict=True)
        )
        return Box(max(0.0, top), max(0.0, left), self.size)

    def zoomed(self, size: float, place: tuple[float, float]) -> Box:
        """So large, `place` staying where it is on the screen."""
        down, right = self.relative(place)
        top, left = place[0] - down * size, place[1] - right * size
        return Box(min(max(0.0, top), 1 - size), min(max(0.0, left), 1 - size), size)


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
    over the image, 0..1. Where there is a `score`, predictions are grey where it is above the threshold that
    accepts the share `accept` of in-distribution pixels."""

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


@dataclass
class Look:
    """What is looked at. `epoch` is that of all runs, unless `each_best` gives each its own; `full` is the
    position of the one panel that fills the screen; `cross` a place in the whole picture."""

    galleries: dict[str, RunGallery] = field(default_factory=dict)
    samples: tuple[str, ...] = ()
    sample: str = ""
    epochs: tuple[int, ...] = ()
    epoch: int = 0
    each_best: bool = False
    errors: bool = False
    worst_first: bool = False
    full: int | None = None
    flicker: bool = False
    box: Box = Box()
    cross: tuple[float, float] | None = None
    overlay: float = 1.0
    rule: Rule = RULES[0]
    rankings: dict[tuple[str, int], Ranking] = field(default_factory=dict)
    score_place: int = 0
    accept: float = 0.95

    @property
    def score(self) -> str:
        """The score that is shown, of a single run that has maps of some; else none."""
        scores = self.first.scores if len(self.galleries) == 1 else ()
        return scores[self.score_place % len(scores)] if scores else ""

    def slide(self, step: int) -> None:
        """Move the threshold so many steps; no further than the ends."""
        here = min(range(len(ACCEPTED)), key=lambda place: abs(ACCEPTED[place] - self.accept))
        self.accept = ACCEPTED[min(max(here + step, 0), len(ACCEPTED) - 1)]

    @property
    def first(self) -> RunGallery:
        return next(iter(self.galleries.values()))

    def keep(self, galleries: Sequence[RunGallery]) -> None:
        """Look at these galleries, which have something to show; what was looked at stays where it is there.

        Who looked at the last epoch that all have looks at the new last one; so does who just came.
        """
        at_end = not self.epochs or self.epoch == self._last_epoch()
        self.galleries = {gallery.id: gallery for gallery in galleries}
        common = set.intersection(*(set(gallery.epochs) for gallery in galleries))
        if not self.epochs and not common:
            self.each_best = True  # evaluations have one epoch each, that of their checkpoint
        self.epochs = tuple(sorted(set().union(*(gallery.epochs for gallery in galleries))))
        if at_end or self.epoch not in self.epochs:
            self.epoch = self._last_epoch()
        self.samples = tuple(sorted(set().union(*(gallery.samples for gallery in galleries))))
        if self.sample not in self.samples:
            shared = set.intersection(*(set(gallery.samples) for gallery in galleries))
            self.sample = min(shared) if shared else self.samples[0]
        self.order()

    def _last_epoch(self) -> int:
        """The last epoch that all runs have kept; where they share none, the last of any."""
        shared = set.intersection(*(set(gallery.epochs) for gallery in self.galleries.values()))
        return max(shared) if shared else self.epochs[-1]

    @property
    def size(self) -> Size:
        """Height and width of the sample that is shown, in pixels, as the first run that has it saw it."""
        return next(run.sizes[self.sample] for run in self.galleries.values() if self.sample in run.sizes)

    def epoch_of(self, gallery: RunGallery) -> int:
        """The epoch that is shown of a run."""
        best = gallery.nearest_to_best() if self.each_best else None
        return self.epoch if best is None else best

    def go_to_epoch(self, step: int) -> None:
        """So many kept epochs on, or back when negative; no further than the ends."""
        if self.each_best:
            self.epoch, self.each_best = self.epoch_of(self.first), False
        here = self.epochs.index(self.epoch) + step
        self.epoch = self.epochs[min(max(here, 0), len(self.epochs) - 1)]

    def go_to_sample(self, step: int) -> None:
        here = self.samples.index(self.sample) + step
        self.sample = self.samples[min(max(here, 0), len(self.samples) - 1)]

    # ------------------------------------------------------------------ order

    def ranking(self, run: RunGallery) -> Ranking | None:
        """The scores of all samples of a run at the epoch that is shown of it, once they are known."""
        return self.rankings.get((run.id, self.epoch_of(run)))

    def order(self) -> None:
        """Put the samples into their order; the one that is looked at stays."""
        ranking = self.ranking(self.first)
        if not self.worst_first:
            self.samples = tuple(sorted(self.samples))
        elif ranking is not None:
            order = ranking.worst_first()
            self.samples = (*order, *sorted(set(self.samples) - set(order)))

    # ------------------------------------------------------------------ pictures

    def panels(self) -> tuple[Panel, ...]:
        """All there is to see of a sample: of one run four panels, of several a prediction each."""
        first = self.first
        given = (Panel("image", first.id, None), Panel("target", first.id, None))
        if len(self.galleries) == 1:
            epoch = self.epoch_of(first)
            last: Kind = "score" if self.score else "error"
            return (*given, Panel("prediction", first.id, epoch), Panel(last, first.id, epoch))
        kind: Kind = "error" if self.errors else "prediction"
        return (*given, *(Panel(kind, run.id, self.epoch_of(run)) for run in self.galleries.values()))

    def partner(self, position: int) -> int:
        """With which panel one flickers: a prediction with that of the next run, or with the truth."""
        count = len(self.panels())
        if len(self.galleries) > 1:
            return 2 + (position - 1) % (count - 2) if position >= 2 else 2
        return 1 if position == 2 else 2

    def view(self, lines: int, cols: int, depth: Depth, dots: Dots = HALF_BLOCKS) -> View | None:
        """What is to be drawn into so many cells of `dots`; None when there is no room or nothing to see."""
        if not self.galleries or cols < 8 or lines < 4:
            return None
        panels = self.panels()
        height, width = self.size
        if self.full is not None:
            self.full = min(self.full, len(panels) - 1)
            chosen = [self.full] + ([self.partner(self.full)] if self.flicker else [])
            panels = tuple(panels[position] for position in chosen)
            own_lines, own_cols, columns = lines - 1, cols, 1
        else:
            columns = best_grid(len(panels), height, width, lines + 1, cols)
            own_lines, own_cols = cell_size(len(panels), columns, lines + 1, cols)
            own_lines, own_cols = fit(height, width, own_lines, own_cols)
        return View(
            sample=self.sample,
            panels=panels,
            columns=columns,
            lines=own_lines,
            cols=own_cols,
            box=self.box,
            overlay=self.overlay,
            rule=self.rule,
            depth=depth,
            dots=dots,
            score=self.score,
            accept=self.accept,
        )

    def neighbours(self, view: View) -> list[View]:
        """What is likely to be wanted next: the epochs and samples beside this one."""
        found = []
        if not self.each_best:
            for epoch in _beside(self.epochs, self.epoch):
                panels = tuple(p if p.epoch is None else replace(p, epoch=epoch) for p in view.panels)
                found.append(replace(view, panels=panels))
        return found + [replace(view, sample=sample) for sample in _beside(self.samples, self.sample)]

    # ------------------------------------------------------------------ parts of a picture

    def move(self, down: int, right: int, rows: int, cols: int) -> None:
        """Move the cross by pixels of a picture of rows x cols; the part looked at follows it."""
        if self.cross is None:
            self.cross = self.box.absolute((0.5, 0.5))
            return
        tall, wide = self.box.size / rows, self.box.size / cols
        top, left = self.cross[0] + down * tall, self.cross[1] + right * wide
        self.cross = min(max(top, tall / 2), 1 - tall / 2), min(max(left, wide / 2), 1 - wide / 2)
        self.box = self.box.around(self.cross)

    def zoom(self, factor: float) -> None:
        """Look at a part `factor` times as large, around the cross."""
        size = min(max(self.box.size * factor, CLOSEST), 1.0)
        self.box = self.box.zoomed(size, self.cross or self.box.absolute((0.5, 0.5)))


def _beside(values: Sequence[_Value], value: _Value) -> list[_Value]:
    here = values.index(value)
    return [*values[here + 1 : here + 3], *values[max(0, here - 1) : here]]
