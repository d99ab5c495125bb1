"""Where one looks: which runs, sample and epoch, which part of the picture, in what way.

Plain values without a screen: keys change a `Look`, and a `View` follows from it (`seg_tui.preview.view`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from seg_tui.preview.galleries import Ranking, RunGallery, Size
from seg_tui.widgets.label_image import RULES, Rule

ACCEPTED = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 1.0)
"""Shares of in-distribution pixels that a threshold may accept."""

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
    boundaries: bool = False
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

    def next_score(self, step: int) -> None:
        """Another out-of-distribution score; the share that is accepted stays."""
        self.score_place += step

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

    def toggle_best(self) -> None:
        """Each run at the saved epoch nearest its best, or all at the same epoch again."""
        self.each_best = not self.each_best

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

    def toggle_worst(self) -> None:
        """Samples with the lowest Dice first, the worst of them shown; again: by name."""
        self.worst_first = not self.worst_first
        self.order()
        if self.worst_first:
            self.sample = self.samples[0]

    # ------------------------------------------------------------------ how pictures are drawn

    def toggle_errors(self) -> None:
        """Of several runs: their errors instead of their predictions."""
        self.errors = not self.errors

    def toggle_boundaries(self) -> None:
        """Only errors near true boundaries, or all; of several runs, instead of their predictions."""
        self.boundaries = not self.boundaries
        self.errors = self.errors or self.boundaries

    def cover(self, step: float) -> None:
        """Class maps cover so much more of the image."""
        self.overlay = round(min(max(self.overlay + step, 0.0), 1.0), 1)

    def next_rule(self) -> None:
        """How a cell chooses among the classes it covers: rare ones first, the most, the middle."""
        self.rule = RULES[(RULES.index(self.rule) + 1) % len(RULES)]

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
