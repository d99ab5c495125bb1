"""What the preview shows: decoded, brought to the size of the screen, scored. Runs in threads.

A `View` says what is wanted, a `Shown` is what came of it. The same view is drawn once: decoded files and
drawn pictures are kept, the least used of them given up first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.classes import VOID
from engine.metrics.boundary import boundary_distance, near_outline
from engine.metrics.image_confusions import confusion_of
from engine.metrics.scores import Scores, scores_from_confusion
from engine.report.gallery import (
    Inputs,
    PictureError,
    read_inputs,
    read_prediction,
)
from engine.report.score_maps import read_score_map
from seg_tui.preview.galleries import Ranking, RunGallery
from seg_tui.preview.paint import Drawn, Scene, paint
from seg_tui.preview.view import Panel, View
from seg_tui.widgets.class_colors import Color, Depth, class_letters, class_paints
from seg_tui.widgets.label_image import Pixels

_Value = TypeVar("_Value")

DECODED_BYTES = 96 * 2**20
"""How much of decoded files is kept: some 150 samples with a prediction at 256x512, nine at 1024x2048."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What came of a view. `scores` are of the sample, by (run, epoch), and so are its
    `boundary_errors` where those are wanted; `target_pixels` counts its ground truth by train id, int64
    [256]."""

    view: View
    drawn: tuple[Drawn, ...]
    scores: Mapping[tuple[str, int], Scores]
    predicted_pixels: Mapping[tuple[str, int], NDArray[np.int64]]
    target_pixels: NDArray[np.int64] | None
    boundary_errors: Mapping[tuple[str, int], BoundaryErrors] = field(default_factory=dict)


@dataclass(frozen=True)
class BoundaryErrors:
    """How many of the `wrong` pixels of a sample are `near`, within `distance` pixels of a true boundary."""

    near: int
    wrong: int
    distance: int

    @property
    def share(self) -> float:
        return self.near / self.wrong if self.wrong else 0.0


class Cancelled(Exception):
    """Something newer is wanted."""


Check = Callable[[], None]
"""Raises Cancelled when what is being made is not wanted any more."""


class Keep:
    """Values by key, the least used given up beyond `capacity`, by default a number of values; `weigh` tells
    what each takes of it. Safe to use from several threads."""

    def __init__(self, capacity: int, weigh: Callable[[object], int] = lambda value: 1) -> None:
        self.capacity = capacity
        self._weigh = weigh
        self._values: OrderedDict[Hashable, object] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]  # type: ignore[return-value]
        value = make()
        with self._lock:
            if key not in self._values:
                self._weight += self._weigh(value)
            self._values[key] = value
            while self._weight > self.capacity and len(self._values) > 1:
                _, gone = self._values.popitem(last=False)
                self._weight -= self._weigh(gone)
        return value


def _bytes_of(value: object) -> int:
    """Of decoded files."""
    if isinstance(value, Inputs):
        return value.image.nbytes + value.target.nbytes
    return value.nbytes if isinstance(value, np.ndarray) else 0


class Studio:
    """Draws views of some galleries. Every method may be called in any thread."""

    def __init__(self) -> None:
        self._arrays = Keep(DECODED_BYTES, _bytes_of)
        self._counts = Keep(8192)
        self._pictures = Keep(96)
        self._paints = Keep(64)

    def draw(self, galleries: Mapping[str, RunGallery], view: View, check: Check) -> Shown:
        """Raises Cancelled, between two pictures, when `check` does."""
        drawn = []
        scores: dict[tuple[str, int], Scores] = {}
        predicted: dict[tuple[str, int], NDArray[np.int64]] = {}
        near: dict[tuple[str, int], BoundaryErrors] = {}
        target: NDArray[np.int64] | None = None
        for panel in view.panels:
            check()
            gallery = galleries[panel.run]
            try:
                drawn.append(self._draw(gallery, panel, view))
                if target is None:
                    inputs = self.inputs(gallery, view.sample)
                    target = np.bincount(inputs.target.ravel(), minlength=256)
                if panel.epoch is not None and (panel.run, panel.epoch) not in scores:
                    counts = self.confusion(gallery, panel.epoch, view.sample)
                    scores[panel.run, panel.epoch] = scores_from_confusion(counts)
                    predicted[panel.run, panel.epoch] = counts.sum(axis=0)
                    if view.boundaries:
                        errors = self.boundary_errors(gallery, panel.epoch, view.sample)
                        near[panel.run, panel.epoch] = errors
            except PictureError as error:
                drawn.append(Drawn(panel, None, problem=str(error)))
        return Shown(view, tuple(drawn), scores, predicted, target, near)

    def rank(self, gallery: RunGallery, epoch: int, check: Check) -> Ranking:
        """Score every sample at an epoch; those that cannot be read are left out. Raises Cancelled."""
        if gallery.ranking is not None and gallery.ranking.epoch == epoch:
            return gallery.ranking
        classes = len(gallery.classes)
        total = np.zeros((classes, classes + 1), dtype=np.int64)
        dice: dict[str, float | None] = {}
        for sample in gallery.files[epoch]:
            check()
            try:
                counts = self.confusion(gallery, epoch, sample)
            except PictureError:
                continue
            dice[sample] = scores_from_confusion(counts).dice
            total += counts
        return Ranking(gallery.id, epoch, dice, scores_from_confusion(total), len(dice))

    # ------------------------------------------------------------------ decoded files

    def inputs(self, gallery: RunGallery, sample: str) -> Inputs:
        """Raises PictureError."""
        return self._arrays.get(
            ("inputs", gallery.folder, sample),
            lambda: read_inputs(gallery.folder, sample, len(gallery.classes)),
        )

    def prediction(self, gallery: RunGallery, epoch: int, sample: str) -> Pixels:
        """Train ids uint8 [H, W]. Raises PictureError."""
        path = gallery.files.get(epoch, {}).get(sample)
        if path is None:
            there = ", ".join(map(str, gallery.epochs)) or "none"
            raise PictureError(
                f"{gallery.name} has no prediction of this image at epoch {epoch}; saved: {there}"
            )
        inputs = self.inputs(gallery, sample)
        key = (path, _written_at(path))
        return self._arrays.get(key, lambda: read_prediction(path, inputs, len(gallery.classes)))

    def shares(self, gallery: RunGallery, sample: str, score: str) -> NDArray[np.float32]:
        """A score map: the share of in-distribution pixels that score lower, float32 [H, W]. Raises
        PictureError."""
        target = self.inputs(gallery, sample).target
        key = ("shares", gallery.folder, sample, score)
        return self._arrays.get(key, lambda: read_score_map(gallery.folder, sample, score, target))

    def band(self, gallery: RunGallery, sample: str) -> NDArray[np.bool_]:
        """What is near a true boundary, as boundary IoU has it: bool [H, W]. Raises PictureError."""
        target = self.inputs(gallery, sample).target
        key = ("band", gallery.folder, sample)
        return self._arrays.get(key, lambda: near_outline(target, boundary_distance(target.shape)))

    def boundary_errors(self, gallery: RunGallery, epoch: int, sample: str) -> BoundaryErrors:
        """Raises PictureError."""
        target = self.inputs(gallery, sample).target
        wrong = (self.prediction(gallery, epoch, sample) != target) & (target != VOID)
        near = wrong & self.band(gallery, sample)
        return BoundaryErrors(int(near.sum()), int(wrong.sum()), boundary_distance(target.shape))

    def confusion(self, gallery: RunGallery, epoch: int, sample: str) -> NDArray[np.int64]:
        """int64 [C, C+1] of a sample at an epoch. Raises PictureError."""
        path = gallery.files.get(epoch, {}).get(sample)
        key = ("confusion", path, _written_at(path)) if path is not None else None
        if key is None:
            self.prediction(gallery, epoch, sample)  # says what is missing
        return self._counts.get(
            key,
            lambda: confusion_of(
                self.prediction(gallery, epoch, sample),
                self.inputs(gallery, sample).target,
                len(gallery.classes),
            ),
        )

    # ------------------------------------------------------------------ pictures

    def paints(self, gallery: RunGallery, depth: Depth) -> list[Color]:
        """The colours in which the terminal shows the classes."""
        return self._paints.get((gallery.colors, depth), lambda: class_paints(gallery.colors, depth))

    def _draw(self, gallery: RunGallery, panel: Panel, view: View) -> Drawn:
        inputs = self.inputs(gallery, view.sample)
        predicted = (
            self.prediction(gallery, panel.epoch, view.sample) if panel.epoch is not None else inputs.target
        )
        stamp = _written_at(gallery.files[panel.epoch][view.sample]) if panel.epoch is not None else 0
        key = (gallery.folder, panel, stamp, replace(view, panels=()))
        return self._pictures.get(key, lambda: self._drawn(gallery, panel, view, inputs, predicted))

    def _drawn(
        self, gallery: RunGallery, panel: Panel, view: View, inputs: Inputs, predicted: Pixels
    ) -> Drawn:
        part = view.box.pixels(*inputs.target.shape)
        scene = Scene(
            image=inputs.image[part],
            target=inputs.target[part],
            prediction=predicted[part],
            paints=self.paints(gallery, view.depth),
            letters=class_letters(gallery.classes),
            shares=self.shares(gallery, view.sample, view.score)[part] if view.score else None,
            band=self.band(gallery, view.sample)[part] if view.boundaries else None,
        )
        return paint(panel, scene, view)


def _written_at(path: Path) -> int:
    """When a file was last written, in nanoseconds: a resumed run writes an epoch anew. 0: it is gone."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
