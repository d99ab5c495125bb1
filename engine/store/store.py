"""The Store: every way in which the program reads and changes the database, one transaction a verb."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from engine.host.processes import ProcessIdentity
from engine.run.directory import RunCard, RunDir, RunDirError
from engine.run.events import AnyEvent
from engine.run.journal import JournalError, read_pieces
from engine.store import filters as terms
from engine.store.checks import CheckVerbs
from engine.store.detections import DetectionVerbs
from engine.store.errors import IngestConflict, StoreError, UnfitRun
from engine.store.folds.status import NO_END, NO_PROGRESS
from engine.store.ingest import fold
from engine.store.insert import first_status, insert_run, set_tags, settle_experiments
from engine.store.lookup import exists, hold, hold_list, no_run, require
from engine.store.opening import open_database
from engine.store.queue import QueueVerbs, place_in_line
from engine.store.rows import (
    END_STATUSES,
    EPOCH_COLUMNS,
    EVALUATION_COLUMNS,
    EVENT_COLUMNS,
    IMAGE_COLUMNS,
    STATUSES,
    EpochRow,
    EvaluationRow,
    EventRow,
    ExperimentRow,
    ImageRow,
    RunRow,
    run_row,
    select_runs,
)
from engine.store.schema import epochs, events, experiments, images, results, runs
from engine.store.summaries import SummaryVerbs

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig

MAX_CANDIDATES = 5


class Store(QueueVerbs, SummaryVerbs, CheckVerbs, DetectionVerbs):
    """The database of a workspace. Safe to use from several threads and processes at once.

    Verbs that take a `run_id` want all of it; `resolve` makes it of what a person typed. Every verb raises
    StoreError, with one line that says what to do, when the database cannot be used.
    """

    def __init__(
        self,
        url: str,
        timeout: float = 30.0,
        workspace: str = "",
        upgrade: bool = False,
        look: bool = False,
    ) -> None:
        """Open `sqlite:///PATH` or `postgresql://USER@HOST/DATABASE`, making the tables where there are none.

        Waits for others at most `timeout` s. `workspace` says whose runs are made and taken from the queue,
        where several workspaces share a server. Tables of an older version on a server want `upgrade`. Who
        only wants to `look` may open a database that is not theirs to write.
        """
        self._database = open_database(url, timeout, upgrade, look)
        self.workspace = workspace

    @property
    def label(self) -> str:
        """What to call the database in a message: its path, or its URL without a password."""
        return self._database.label

    @property
    def read_only(self) -> str:
        """Why nothing can be written, in words that say whose the database is; "" where it can."""
        return self._database.read_only

    @property
    def mine(self) -> str:
        """A filter for the runs of this workspace."""
        return f"workspace={self.workspace}"

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with self._database.explained(), self._database.reader.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with self._database.explained(), self._database.writer.begin() as connection:
            yield connection

    def faults(self) -> list[str]:
        """What the database itself finds damaged; none when it is sound."""
        with self._read() as connection:
            return self._database.faults(connection)

    # ------------------------------------------------------------------ intentions

    def create_run(
        self,
        card: RunCard,
        config: RunConfig,
        status: str = "queued",
        owner: ProcessIdentity | None = None,
    ) -> None:
        """Enter a run, and its experiment when that is new. Raises StoreError when the id is taken.

        A run that its `owner` starts at once is entered as `starting`, so that no agent takes it.
        """
        _check_status(status)
        place: dict[str, Any] = {"claimed_by": owner.as_json() | {"attempt": 1} if owner else None}
        with self._write() as connection:
            hold_list(connection)
            if exists(connection, card.id):
                raise StoreError(f"run {card.id} is in the database already")
            if status == "queued":
                place["queued_at"] = place_in_line(connection, self.workspace, card.queued_at or card.created)
            insert_run(connection, card, config, status, self.workspace, place)

    def set_status(
        self,
        run_id: str,
        status: str,
        cause: str = "",
        message: str = "",
        expect: Collection[str] | None = None,
        seen: RunRow | None = None,
    ) -> bool:
        """Say what is to become of a run, or what has become of a worker that cannot say it any more.

        With `expect` only when the status is one of those, in one step: of two who change it, one gets True.
        With `seen` only while status and claim are those of this snapshot: what was found out of its worker
        says nothing about the next one. Returns whether the status was set.
        """
        _check_status(status)
        now = time.time()
        change: dict[str, Any] = NO_END | {"status": status, "cause": cause, "message": message}
        if status in END_STATUSES:
            change |= NO_PROGRESS | {"ended_at": now}
        with self._write() as connection:
            hold(connection, run_id)
            if status == "queued":
                change["queued_at"] = place_in_line(connection, self.workspace, now)
            statement = runs.update().where(runs.c.id == run_id).values(change)
            if expect is not None:
                statement = statement.where(runs.c.status.in_(list(expect)))
            if seen is not None:
                now_there = sa.select(runs.c.status, runs.c.claimed_by).where(runs.c.id == run_id)
                if tuple(connection.execute(now_there).one()) != (seen.status, seen.claimed_by):
                    return False
            return connection.execute(statement).rowcount == 1

    def update_card(
        self,
        run_id: str,
        name: str | None = None,
        tags: Iterable[str] | None = None,
        note: str | None = None,
    ) -> None:
        """Rename, tag or annotate a run; None leaves a part as it is, `tags` replaces all of them."""
        change = {key: value for key, value in (("name", name), ("note", note)) if value is not None}
        with self._write() as connection:
            hold(connection, run_id)
            # Also when only tags change: who follows the run is to see it.
            connection.execute(runs.update().where(runs.c.id == run_id).values(change or {"id": run_id}))
            if tags is not None:
                set_tags(connection, run_id, tags)

    def delete_run(
        self,
        run_id: str,
        expect: Collection[str] = STATUSES,
        with_it: Callable[[], object] = lambda: None,
    ) -> bool:
        """Remove a run with all its rows, and its experiment when it was the last. Its folder stays.

        Only when its status is one of `expect`; returns whether it was. `with_it` is called just before the
        rows are gone for good, and keeps them by raising.
        """
        with self._write() as connection:
            hold_list(connection)
            hold(connection, run_id)
            whose = sa.select(runs.c.experiment_id).where(runs.c.id == run_id)
            experiment = connection.execute(whose).scalar_one()
            chosen = runs.delete().where(runs.c.id == run_id, runs.c.status.in_(list(expect)))
            if connection.execute(chosen).rowcount != 1:
                return False
            settle_experiments(connection, experiments.c.id == experiment)
            with_it()
            return True

    @contextlib.contextmanager
    def list_held(self) -> Iterator[Callable[[str], bool]]:
        """Keep others from adding and removing runs; gives the question whether a run of an id is there."""
        with self._write() as connection:
            hold_list(connection)
            yield lambda run_id: exists(connection, run_id)

    # ------------------------------------------------------------------ results

    def ingest(self, run_id: str, events: Sequence[AnyEvent], offset: int, expected_offset: int) -> None:
        """Fold events of the run's journal into the database, with the `offset` behind the last of them.

        Nothing is written, and IngestConflict raised, when the stored offset is not `expected_offset`:
        someone else was faster.
        """
        with self._write() as connection:
            self._database.relax(connection)  # what is lost comes again, as the offset is lost with it
            hold(connection, run_id)
            before = _foldable(connection, run_id)
            if before["journal_offset"] != expected_offset:
                raise IngestConflict(
                    f"run {run_id}: its journal is read up to byte {before['journal_offset']}, "
                    f"not {expected_offset}; read on from there"
                )
            fold(connection, before, events, offset)

    def import_run(self, run_dir: RunDir, queued: bool = True) -> str:
        """Take a run directory with its whole journal into the database; returns the run's id.

        Goes on where an earlier import or ingest ended, so twice changes nothing. The status is what the
        journal says: a run whose worker was killed still seems to run. A new run that waits in the queue, by
        its card, does so here too if `queued`; else it is stopped, as it may still wait elsewhere. All is one
        transaction: raises UnfitRun, and changes nothing, when card, config or journal cannot be read.
        """
        try:
            card, config = run_dir.read_card(), run_dir.read_config()
            if card.id != run_dir.id:
                raise UnfitRun(f"{run_dir.path}: belongs to run {card.id}; name the folder so")
            with self._write() as connection:
                hold_list(connection)
                is_new = not exists(connection, card.id)
                if is_new:
                    status, place = first_status(card, queued)
                    insert_run(connection, card, config, status, self.workspace, place)
                elif (theirs := self._workspace_of(connection, card.id)) != self.workspace:
                    raise StoreError(
                        f"run {card.id} is in the database already, as one of the workspace {theirs}"
                    )
                hold(connection, card.id)
                for _, new, end in read_pieces(
                    run_dir.journal, _foldable(connection, card.id)["journal_offset"]
                ):
                    fold(connection, _foldable(connection, card.id), new, end)
                if is_new and queued:
                    _queue_again(connection, card)
        except (RunDirError, JournalError) as error:
            raise UnfitRun(str(error)) from error
        except OSError as error:
            raise UnfitRun(f"{run_dir.journal}: cannot be read: {error.strerror}") from error
        return card.id

    def _workspace_of(self, connection: sa.Connection, run_id: str) -> str:
        return str(connection.execute(sa.select(runs.c.workspace).where(runs.c.id == run_id)).scalar_one())

    # ------------------------------------------------------------------ snapshots

    def resolve(self, prefix: str) -> str:
        """The id of the one run whose id begins with `prefix` or whose name is exactly that.

        Raises StoreError when there is none, or more than one; the message then lists some of them.
        """
        text = prefix.strip()
        if not text:
            raise StoreError("which run? give its id, the beginning of it, or its name")
        wanted = runs.c.id.startswith(text, autoescape=True) | (runs.c.name == text)
        found = sa.select(runs.c.id, runs.c.name).where(wanted)
        newest_first = found.order_by(runs.c.created_at.desc(), runs.c.id).limit(MAX_CANDIDATES + 1)
        with self._read() as connection:
            if exists(connection, text):
                return text
            candidates = connection.execute(newest_first).all()
        if not candidates:
            raise StoreError(f"{text}: no run has that id or name; `seg-engine runs` lists them")
        if len(candidates) > 1:
            shown = ", ".join(f"{row.id} ({row.name})" for row in candidates[:MAX_CANDIDATES])
            more = ", ..." if len(candidates) > MAX_CANDIDATES else ""
            raise StoreError(f"{text}: could be {shown}{more}; give more of the id")
        return str(candidates[0].id)

    def run(self, run_id: str) -> RunRow:
        with self._read() as connection:
            row = connection.execute(select_runs().where(runs.c.id == run_id)).first()
        if row is None:
            raise no_run(run_id)
        return run_row(row)

    def runs(
        self,
        filters: Sequence[str] = (),
        sort: str = "-created_at",
        limit: int | None = None,
        experiment: str | None = None,
        status: str | None = None,
    ) -> list[RunRow]:
        """Runs that meet all `filters` (see engine/store/filters.py), ordered by a field or config key.

        A leading `-` means falling; empty values come last either way. Raises StoreError for a filter or
        sort that means nothing, with the nearest that does.
        """
        chosen = select_runs().where(*(terms.condition(term) for term in filters))
        if experiment is not None:
            chosen = chosen.where(experiments.c.name == experiment)
        if status is not None:
            _check_status(status)
            chosen = chosen.where(runs.c.status == status)
        chosen = chosen.order_by(*terms.ordering(sort)).limit(limit)
        with self._read() as connection:
            return [run_row(row) for row in connection.execute(chosen)]

    def leaderboard(
        self, limit: int | None = 100, experiment: str | None = None, filters: Sequence[str] = ()
    ) -> list[RunRow]:
        """The runs with the best validation Dice, best first; runs without any score are left out."""
        return self.runs([*filters, "best_dice>=0"], "-best_dice", limit, experiment)

    def experiments(self) -> list[ExperimentRow]:
        """Every experiment, the newest first."""
        active = sa.func.count(sa.case((runs.c.status.not_in(END_STATUSES), 1)))
        summary = (
            sa.select(
                experiments.c.name,
                experiments.c.created_at,
                sa.func.count(runs.c.id),
                active,
                sa.func.max(runs.c.best_dice),
            )
            .join_from(experiments, runs, isouter=True)
            .group_by(experiments.c.id)
            .order_by(experiments.c.created_at.desc(), experiments.c.id.desc())
        )
        with self._read() as connection:
            return [ExperimentRow(*row) for row in connection.execute(summary)]

    def epochs(self, run_id: str, split: str | None = None) -> list[EpochRow]:
        """A run's curve, in the order of the epochs (then by split)."""
        curve = sa.select(*EPOCH_COLUMNS).where(epochs.c.run_id == run_id)
        if split is not None:
            curve = curve.where(epochs.c.split == split)
        rows = self._rows_of(run_id, curve.order_by(epochs.c.epoch, epochs.c.split))
        return [EpochRow(*row) for row in rows]

    def events(self, run_id: str) -> list[EventRow]:
        """What the worker reported through all attempts, but its progress; in order."""
        log = sa.select(*EVENT_COLUMNS).where(events.c.run_id == run_id).order_by(events.c.seq)
        return [EventRow(*row) for row in self._rows_of(run_id, log)]

    def evaluations(self, run_id: str) -> list[EvaluationRow]:
        """The scores of the run's checkpoints, in the order in which they were made."""
        scores = _EVALUATIONS.where(results.c.run_id == run_id).order_by(results.c.seq)
        return [EvaluationRow(*row) for row in self._rows_of(run_id, scores)]

    def evaluations_of(self, run_id: str) -> list[EvaluationRow]:
        """The scores that other runs, of the task `evaluate`, gave the checkpoints of this one; in order of
        time."""
        scores = _EVALUATIONS.where(runs.c.source == run_id).order_by(results.c.t)
        return [EvaluationRow(*row) for row in self._rows_of(run_id, scores)]

    def image_scores(self, run_id: str, sort: str = "dice", limit: int | None = None) -> list[ImageRow]:
        """The scores of each image of an evaluation: the worst first, or by `sort`.

        `sort` is image, dice, miou, pixel_accuracy, valid_pixels or class:NAME, the Dice of a class; with a
        "-" before it largest first; images without that score last. Raises StoreError for another word.
        """
        column = _image_order(sort.removeprefix("-"))
        order = column.desc() if sort.startswith("-") else column.asc()
        chosen = sa.select(*IMAGE_COLUMNS).where(images.c.run_id == run_id)
        chosen = chosen.order_by(order.nulls_last(), images.c.image).limit(limit)
        return [ImageRow(*row) for row in self._rows_of(run_id, chosen)]

    def _rows_of(self, run_id: str, select: sa.Select[Any]) -> list[tuple[Any, ...]]:
        with self._read() as connection:
            require(connection, run_id)
            return [tuple(row) for row in connection.execute(select)]


def _foldable(connection: sa.Connection, run_id: str) -> dict[str, Any]:
    """The columns of a run that its journal decides, as `fold` wants them."""
    return dict(connection.execute(_FOLDED.where(runs.c.id == run_id)).mappings().one())


def _queue_again(connection: sa.Connection, card: RunCard) -> None:
    """Put a run back into its place in the queue that waits for an attempt of which nothing came yet."""
    change = NO_END | NO_PROGRESS | {"status": "queued", "queued_at": card.queued_at or card.created}
    waits = (runs.c.id == card.id) & (runs.c.attempt < card.queued_for)
    connection.execute(runs.update().where(waits).values(change))


_EVALUATIONS = sa.select(*EVALUATION_COLUMNS).join_from(results, runs)
_IMAGE_ORDERS = ("image", "dice", "miou", "pixel_accuracy", "valid_pixels")


def _image_order(name: str) -> sa.ColumnElement[Any]:
    kind, _, class_name = name.partition(":")
    if kind == "class" and class_name:
        dice: sa.ColumnElement[Any] = images.c.class_dice[class_name].as_float()
        return dice
    if name not in _IMAGE_ORDERS:
        raise StoreError(f"{name}: images have {', '.join(_IMAGE_ORDERS)} and class:NAME to sort by")
    return images.c[name]


_NOT_FOLDED = {
    *("source", "config", "note", "name", "priority", "paused", "after"),
    *("changed", "variant", "workspace"),
}
_FOLDED = sa.select(*(c for c in runs.c if c.name not in _NOT_FOLDED))


def _check_status(status: str) -> None:
    if status not in STATUSES:
        raise StoreError(f"{status}: is no status; it must be one of {', '.join(STATUSES)}")
