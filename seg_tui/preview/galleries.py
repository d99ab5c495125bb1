"""The galleries of runs: what each has kept, or why it has nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from engine.metrics.scores import Scores, scores_from_confusion
from engine.report.gallery import gallery_epochs, gallery_name
from engine.report.score_maps import kept_scores
from engine.run.directory import RunDir
from engine.store import RunRow, Store
from engine.tasks import TASKS
from engine.workspace import Workspace
from seg_tui.preview.footage import footage_of
from seg_tui.widgets.class_colors import Color, color_of

Size = tuple[int, int]
"""Height and width, in pixels."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """The Dice of every kept sample of a run at an epoch, and the scores that are pooled over `images`: the
    same samples, or all that an evaluation has scored."""

    run: str
    epoch: int
    dice: Mapping[str, float | None]
    pooled: Scores
    images: int

    def worst_first(self) -> tuple[str, ...]:
        """Samples without a Dice last."""
        return tuple(
            sorted(self.dice, key=lambda name: (self.dice[name] is None, self.dice[name] or 0, name))
        )


@dataclass(frozen=True, eq=False)
class RunGallery:
    """The gallery of a run. `files` maps epoch -> sample -> PNG, `sizes` the samples to their sizes.

    `ranking` is what the database knows of an evaluation's scores, None where they are to be computed from
    the files. `problem` is a line that says why there is nothing to be seen and how to get it, empty when
    there is. `scores` are the out-of-distribution scores that it has maps of. A run that has made a `video`
    has that in the place of pictures.
    """

    id: str
    name: str
    folder: Path
    classes: tuple[str, ...]
    colors: tuple[Color, ...]
    best_epoch: int | None
    files: Mapping[int, Mapping[str, Path]]
    sizes: Mapping[str, Size]
    ranking: Ranking | None = None
    problem: str = ""
    scores: tuple[str, ...] = ()
    video: bool = False

    @property
    def epochs(self) -> tuple[int, ...]:
        return tuple(self.files)

    @property
    def samples(self) -> tuple[str, ...]:
        """In the order of their names."""
        return tuple(sorted(set().union(*self.files.values())))

    def nearest_to_best(self) -> int | None:
        """The kept epoch that is nearest to the run's best; the last one as long as no epoch is the best."""
        if not self.files:
            return None
        if self.best_epoch is None:
            return self.epochs[-1]
        best = self.best_epoch
        return min(self.epochs, key=lambda epoch: (abs(epoch - best), -epoch))


def find_gallery(workspace: Workspace, store: Store, run_id: str) -> RunGallery:
    """The gallery of a run as it is now. Raises StoreError when there is no such run."""
    row = store.run(run_id)
    run = workspace.run_dir(row.id)
    folder = run.gallery
    files = {epoch: {path.stem: path for path in paths} for epoch, paths in gallery_epochs(folder).items()}
    return RunGallery(
        id=row.id,
        name=row.name,
        folder=folder,
        classes=row.classes,
        colors=tuple(color_of(color) for color in row.colors),
        best_epoch=row.best_epoch,
        files=files,
        sizes=_sizes(row, [path for paths in files.values() for path in paths.values()]),
        ranking=_known_ranking(store, row, files) if TASKS[row.task].evaluates else None,
        problem="" if files else _why_none(row, run),
        video=bool(footage_of(row, run)),
        scores=tuple(kept_scores(folder, next(iter(next(iter(files.values())))))) if files else (),
    )


def _why_none(row: RunRow, run: RunDir) -> str:
    if os.path.isdir(run.path):
        return TASKS[row.task].without_pictures(row)
    return f"{row.id} ({row.name}): its folder {run.path} is not on this machine, nor are its predictions"


def _sizes(row: RunRow, predictions: Iterable[Path]) -> dict[str, Size]:
    """A training sees all images at one size; an evaluation may have scored each at its own."""
    height, width = row.config.get("data", {}).get("size") or (1, 2)
    sizes = {path.stem: (int(height), int(width)) for path in predictions}
    if row.config.get("evaluate") and row.config["evaluate"].get("at") == "original":
        for path in predictions:
            sizes[path.stem] = _size_in_header(path) or sizes[path.stem]
    return sizes


def _size_in_header(path: Path) -> Size | None:
    """None for a file that is no picture: whoever draws it says what is wrong with it."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.height, picture.width
    except (OSError, SyntaxError, ValueError):
        return None


def _known_ranking(store: Store, row: RunRow, files: Mapping[int, Mapping[str, Path]]) -> Ranking | None:
    """What an evaluation has scored, None until it has ended."""
    made = store.results.evaluations(row.id)
    if not made or not files:
        return None
    epoch, kept = next(iter(files.items()))
    scored = {gallery_name(image.image): image.dice for image in store.results.image_scores(row.id)}
    pooled = scores_from_confusion(np.array(made[-1].confusion, dtype=np.int64))
    dice = {sample: scored[sample] for sample in kept if sample in scored}
    return Ranking(row.id, epoch, dice, pooled, made[-1].images)
