"""What a workspace holds, as tables and figures."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from engine.api.frames import Frame, Kind, as_frame, chosen_kind
from engine.errors import Notice
from engine.report.records import (
    EnvironmentOfRun,
    EpochOfRun,
    EvaluationOfRun,
    class_record,
    class_scores,
    environment_record,
    epoch_record,
    evaluation_record,
)
from engine.report.runs import run_values
from engine.requests.opening import has_database, open_existing
from engine.store import ExperimentRow, NoSuchRun, RunRow
from engine.workspace import Workspace as Folders
from engine.workspace import find_workspace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.store import Store


class HasId(Protocol):
    """A run that has been looked up already."""

    id: str


class Tables:
    """The reading half of `engine.Workspace`. `folders` says where things lie, `frames` what tables are."""

    def __init__(self, root: str | Path | None = None, frames: Kind = "auto") -> None:
        self.folders: Folders = find_workspace(Path(root) if root is not None else None)
        self.frames: Kind = chosen_kind(frames)

    def runs(self, filters: str = "", *, sort: str = "-dice", limit: int | None = None) -> Frame:
        """Runs as a table: a column for each field of `engine.store.RunRow` that is one value, and one for
        each config key by its dotted name. A config key whose name a field has already has `config.` before.

        `filters` are those of `seg-engine runs`: "dice>0.5 tag:night 'name~two words'". `sort` is a field or
        a config key, largest first with "-" before it. Raises StoreError for names that do not exist.
        """
        return as_frame(self.rows(filters, sort=sort, limit=limit), run_values, self.frames)

    def rows(self, filters: str = "", *, sort: str = "-dice", limit: int | None = None) -> list[RunRow]:
        """`runs` as the store's frozen rows, whatever the workspace's kind of frames."""
        if not has_database(self.folders):
            return []
        from engine.store.query import parse_text

        with self.open() as store:
            query = parse_text(filters)
            return store.runs([] if query is None else [query], sort, limit)

    def experiments(self) -> list[ExperimentRow]:
        """The experiments, with their numbers of runs and best Dice."""
        if not has_database(self.folders):
            return []
        with self.open() as store:
            return store.experiments()

    def epochs(self, *runs: str | HasId, split: str | None = None) -> Frame:
        """The scores of each epoch of some runs, of all where none is named: a row for each epoch and split
        ("train" and "val"; `split` for one of them alone)."""
        return as_frame(self._epochs(runs, split), epoch_record, self.frames)

    def class_scores(self, *runs: str | HasId, split: str | None = "val") -> Frame:
        """Dice and IoU of each class at each epoch of some runs, of all where none is named; `split` None:
        on both splits."""
        found = [score for row in self._epochs(runs, split) for score in class_scores(row)]
        return as_frame(found, class_record, self.frames)

    def evaluations(self, *runs: str | HasId) -> Frame:
        """The scores that the networks of some runs, of all where none is named, got on a split: by
        themselves at their end and by `seg-engine evaluate`. Of a run that is such an evaluation, its own."""
        found: dict[tuple[str, int], EvaluationOfRun] = {}
        with self.open() as store:
            for row in self._named(store, runs):
                learned = _learned(store, row)
                for scores in (*store.results.evaluations(row.id), *store.results.evaluations_of(row.id)):
                    found.setdefault((scores.run_id, scores.seq), EvaluationOfRun(learned, scores))
        return as_frame([*found.values()], evaluation_record, self.frames)

    def environments(self, *runs: str | HasId) -> Frame:
        """The scores that the networks of some runs, of all where none is named, got in other environments by
        `seg-engine generalise`: a row for each environment, the images that the run held out first. The
        differences are to these, with 95 % intervals. Of a run of that command, its own."""
        found: dict[tuple[str, int], EnvironmentOfRun] = {}
        with self.open() as store:
            for row in self._named(store, runs):
                learned = _learned(store, row)
                for scores in store.results.environments(row.id):
                    found.setdefault((scores.run_id, scores.place), EnvironmentOfRun(learned, scores))
        return as_frame([*found.values()], environment_record, self.frames)

    def figure(
        self, *runs: str | HasId, measure: str = "dice", against: str = "epochs", columns: int = 1
    ) -> Figure:
        """Curves of some runs as a Matplotlib figure for a paper, as `seg-engine figure curves` draws it.

        `measure` is dice, dice_image, miou, pixel_accuracy or loss, `against` epochs, hours or images;
        `columns` is the width in columns of a two-column paper. Raises FigureError where there is nothing to
        draw.
        """
        from engine.report.figures.curves import Curve, curves_figure  # imports Matplotlib

        with self.open() as store:
            rows = self._named(store, runs)
            curves = [Curve(row.name or row.id, [store.results.epochs(row.id)]) for row in rows]
        return curves_figure(curves, measure, 1 if columns == 1 else 2, (), against)

    @contextmanager
    def open(self, change: bool = False) -> Iterator[Store]:
        """The store of the workspace, up to date, for the length of a block. Raises StoreError where there is
        none, with `change` also where this user may only look."""
        with open_existing(self.folders, notice, change) as store:
            yield store

    def _named(self, store: Store, runs: Sequence[str | HasId]) -> list[RunRow]:
        if not runs:
            return store.runs(sort="created_at")
        ids = [store.resolve(run) if isinstance(run, str) else run.id for run in runs]
        return [store.run(run_id) for run_id in ids]

    def _epochs(self, runs: Sequence[str | HasId], split: str | None) -> list[EpochOfRun]:
        with self.open() as store:
            return [
                EpochOfRun(row, epoch)
                for row in self._named(store, runs)
                for epoch in store.results.epochs(row.id, split)
            ]


def _learned(store: Store, row: RunRow) -> RunRow:
    """The run whose network a run looked at; itself where it looked at none, or at that of a deleted run."""
    try:
        return store.run(row.source) if row.source else row
    except NoSuchRun:
        return row


def notice(line: str) -> None:
    """Tell a program what is worth knowing and no error."""
    warnings.warn(line, Notice, stacklevel=4)
