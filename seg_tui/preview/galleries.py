"""The galleries of runs: what each has kept, or why it has nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.metrics.scores import Scores
from engine.report.gallery import gallery_epochs
from engine.store import RunRow, Store
from engine.workspace import Workspace
from seg_tui.widgets.class_colors import Color, color_of


@dataclass(frozen=True, eq=False)
class RunGallery:
    """The gallery of a run. `files` maps epoch -> sample -> PNG, `size` is (height, width) in pixels;
    `problem` is a line that says why there is nothing to be seen and how to get it, empty when there is."""

    id: str
    name: str
    folder: Path
    classes: tuple[str, ...]
    colors: tuple[Color, ...]
    best_epoch: int | None
    files: Mapping[int, Mapping[str, Path]]
    size: tuple[int, int]
    problem: str = ""

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


@dataclass(frozen=True, eq=False)
class Ranking:
    """The Dice of every sample of a run at an epoch, and the pooled scores of all of them."""

    run: str
    epoch: int
    dice: Mapping[str, float | None]
    pooled: Scores

    def worst_first(self) -> tuple[str, ...]:
        """Samples without a Dice last."""
        return tuple(
            sorted(self.dice, key=lambda name: (self.dice[name] is None, self.dice[name] or 0, name))
        )


def find_gallery(workspace: Workspace, store: Store, run_id: str) -> RunGallery:
    """The gallery of a run as it is now. Raises StoreError when there is no such run."""
    row = store.run(run_id)
    folder = workspace.run_dir(row.id).gallery
    files = {epoch: {path.stem: path for path in paths} for epoch, paths in gallery_epochs(folder).items()}
    return RunGallery(
        id=row.id,
        name=row.name,
        folder=folder,
        classes=row.classes,
        colors=tuple(color_of(color) for color in row.colors),
        best_epoch=row.best_epoch,
        files=files,
        size=_size_of(row),
        problem="" if files else _how_to_get_one(row),
    )


def _size_of(row: RunRow) -> tuple[int, int]:
    """The (height, width) at which a run sees images, and keeps its gallery."""
    height, width = row.config.get("data", {}).get("size") or (1, 2)
    return int(height), int(width)


def _how_to_get_one(row: RunRow) -> str:
    every = row.config.get("gallery", {}).get("every", 0)
    if not every:
        return (
            f"{row.id} ({row.name}) keeps no gallery, as gallery.every is 0. "
            f"`seg-engine rerun {row.id} gallery.every=5` makes a run that keeps one; R does so from here."
        )
    if row.ended:
        return (
            f"{row.id} ({row.name}) has no gallery: it is {row.status} after epoch {row.epoch}, "
            "before its first predictions were kept."
        )
    return (
        f"{row.id} ({row.name}) has no predictions yet: the first come after epoch {min(every, row.epochs)} "
        f"(gallery.every={every}); it is {row.status}, epoch {row.epoch}/{row.epochs}."
    )
