"""The Store: every way in which the program reads and changes the database, one transaction a verb."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from engine.store import filters as terms
from engine.store.dialects import LatestChange
from engine.store.errors import NoSuchRun, StoreError
from engine.store.lookup import exists, no_run
from engine.store.opening import open_database
from engine.store.rows import END_STATUSES, ExperimentRow, RunRow, check_status
from engine.store.schema import experiments, runs, tags
from engine.store.selects import run_row, select_run, select_runs
from engine.store.summaries import SIBLING_COLUMNS, SUMMARY_COLUMNS, run_summary
from engine.store.summary_rows import Changes, Sibling
from engine.typed import typed

if TYPE_CHECKING:
    from engine.store.agents import Agents
    from engine.store.checks import Checks
    from engine.store.journals import Journals
    from engine.store.lifecycle import Lifecycle
    from engine.store.notices import Notices
    from engine.store.queue import Queue
    from engine.store.results import Results

MAX_CANDIDATES = 5

MOST_AT_ONCE = 10_000
"""Ids in one statement; SQLite takes 32,766."""


def _grouped(filters: Sequence[terms.Filter]) -> list[terms.Filter]:
    query = terms.query_of(filters)
    return [] if query is None else [query]


class Store:
    """The database of a workspace: its lists of runs, and by its other objects all else that is done with it.
    Safe to use from several threads and processes at once.

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
        read_only: str = "",
    ) -> None:
        """Open `sqlite:///PATH` or `postgresql://USER@HOST/DATABASE`, making the tables where there are none.

        Waits for others at most `timeout` s. `workspace` says whose runs are made and taken from the queue,
        where several workspaces share a server. Tables of an older version on a server want `upgrade`. Who
        only wants to `look` may open a database that is not theirs to write. With a reason to be `read_only`
        nothing is written, and a database of an older version is refused.
        """
        self.database = open_database(url, timeout, upgrade, look, read_only)
        self.workspace = workspace

    # What has the other verbs is imported when it is used: a table of runs is shown without.

    @cached_property
    def lifecycle(self) -> Lifecycle:
        from engine.store.lifecycle import Lifecycle

        return Lifecycle(self.database, self.workspace)

    @cached_property
    def queue(self) -> Queue:
        from engine.store.queue import Queue

        return Queue(self.database, self.workspace)

    @cached_property
    def agents(self) -> Agents:
        from engine.store.agents import Agents

        return Agents(self.database, self.workspace)

    @cached_property
    def notices(self) -> Notices:
        from engine.store.notices import Notices

        return Notices(self.database, self.workspace)

    @cached_property
    def results(self) -> Results:
        from engine.store.results import Results

        return Results(self.database)

    @cached_property
    def journals(self) -> Journals:
        from engine.store.journals import Journals

        return Journals(self.database, self.workspace)

    @cached_property
    def checks(self) -> Checks:
        from engine.store.checks import Checks

        return Checks(self.database)

    @property
    def label(self) -> str:
        """What to call the database in a message: its path, or its URL without a password."""
        return self.database.label

    @property
    def read_only(self) -> str:
        """Why nothing can be written, in words that say whose the database is; "" where it can."""
        return self.database.read_only

    @property
    def mine(self) -> str:
        """A filter for the runs of this workspace."""
        return f"workspace={self.workspace}"

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def resolve(self, prefix: str) -> str:
        """The id of the one run whose id begins with `prefix` or whose name is exactly that.

        Raises NoSuchRun when there is none, and StoreError when there are several; it lists some of them.
        """
        text = prefix.strip()
        if not text:
            raise StoreError("give a run id, a prefix of it, or a run name")
        wanted = runs.c.id.startswith(text, autoescape=True) | (runs.c.name == text)
        found = sa.select(runs.c.id, runs.c.name).where(wanted)
        newest_first = found.order_by(runs.c.created_at.desc(), runs.c.id).limit(MAX_CANDIDATES + 1)
        with self.database.read() as connection:
            if exists(connection, text):
                return text
            candidates = connection.execute(newest_first).all()
        if not candidates:
            raise NoSuchRun(f"{text}: no run has that id or name; `{typed('runs')}` lists them")
        if len(candidates) > 1:
            shown = ", ".join(f"{row.id} ({row.name})" for row in candidates[:MAX_CANDIDATES])
            more = ", ..." if len(candidates) > MAX_CANDIDATES else ""
            by_name = all(row.name == text for row in candidates)
            instead = "an id" if by_name else "a longer prefix of the id"
            raise StoreError(f"{text}: could be {shown}{more}; give {instead}")
        return str(candidates[0].id)

    def run(self, run_id: str) -> RunRow:
        with self.database.read() as connection:
            row = connection.execute(select_run(), {"wanted": run_id}).first()
        if row is None:
            raise no_run(run_id)
        return run_row(row)

    def runs(
        self,
        filters: Sequence[terms.Filter] = (),
        sort: str = "-created_at",
        limit: int | None = None,
        experiment: str | None = None,
        status: str | None = None,
    ) -> list[RunRow]:
        """Runs that meet `filters`, ordered by a field, a config key or what was measured.

        Filters are words of a filter as a shell splits them, or whole ones (engine/store/query.py; terms are
        in filters.py): ["dice>0.6", "or", "tag:night"].

        A leading `-` means falling; empty values come last either way. Raises StoreError for a filter or
        sort that means nothing, with the nearest that does.
        """
        chosen = select_runs().where(*terms.conditions(filters))
        if experiment is not None:
            chosen = chosen.where(experiments.c.name == experiment)
        if status is not None:
            check_status(status)
            chosen = chosen.where(runs.c.status == status)
        chosen = chosen.order_by(*terms.ordering(sort)).limit(limit)
        with self.database.read() as connection:
            return [run_row(row) for row in connection.execute(chosen)]

    def leaderboard(
        self, limit: int | None = 100, experiment: str | None = None, filters: Sequence[terms.Filter] = ()
    ) -> list[RunRow]:
        """The runs with the best validation Dice, best first; runs without any score are left out."""
        return self.runs([*_grouped(filters), "best_dice>=0"], "-best_dice", limit, experiment)

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
        with self.database.read() as connection:
            return [ExperimentRow(*row) for row in connection.execute(summary)]

    def changes(self, since: int = -1, also: Sequence[str] = ()) -> Changes:
        """The runs written to after the number `since` (-1: all of them), in one snapshot, and what they have
        under the names `also`, which filters know."""
        more = [terms.column_of(name)[0] for name in also]
        chosen = (
            sa.select(*SUMMARY_COLUMNS.values(), *more)
            .join_from(runs, experiments)
            .where(runs.c.changed > since)
            .order_by(runs.c.changed)
        )
        totals = sa.select(LatestChange(), sa.func.count()).select_from(runs)
        with self.database.read() as connection:
            latest, count = connection.execute(totals).one()
            rows = connection.execute(chosen).all()
        return Changes(tuple(run_summary(row, also) for row in rows), int(latest), int(count))

    def siblings(self, run_ids: Sequence[str], beside: int = 16) -> list[Sibling]:
        """Some runs with their configs, and `beside` of the best runs of each of their experiments."""
        if not run_ids:
            return []
        mine = sa.select(runs.c.experiment_id).where(runs.c.id.in_(run_ids)).distinct()
        chosen = sa.select(*SIBLING_COLUMNS).join_from(runs, experiments)
        with self.database.read() as connection:
            wanted = set(run_ids)
            for (experiment,) in connection.execute(mine).all():
                best = sa.select(runs.c.id).where(runs.c.experiment_id == experiment)  # in the index's order
                best = best.order_by(runs.c.best_dice.desc().nulls_last()).limit(beside)
                wanted |= set(connection.execute(best).scalars())
            found = connection.execute(chosen.where(runs.c.id.in_(sorted(wanted))))
            return [Sibling(*row) for row in found]

    def values(self, names: Sequence[str], run_ids: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        """What some runs have under names that filters know, by id. Raises StoreError for a name that means
        nothing."""
        columns = [terms.column_of(name)[0] for name in names]
        chosen = sa.select(runs.c.id, *columns).join_from(runs, experiments)
        found: dict[str, tuple[Any, ...]] = {}
        with self.database.read() as connection:
            for begin in range(0, len(run_ids), MOST_AT_ONCE):
                part = chosen.where(runs.c.id.in_(run_ids[begin : begin + MOST_AT_ONCE]))
                found |= {row[0]: tuple(row[1:]) for row in connection.execute(part)}
        return found

    def distinct(self, name: str, most: int = 2000) -> list[str]:
        """The texts that runs have as a tag or under a name that filters know; none where it is no text."""
        of_tags = name in terms.TAG
        column, kind = (tags.c.tag, "text") if of_tags else terms.column_of(name)
        if kind != "text":
            return []
        chosen = sa.select(column).distinct().limit(most)
        source = chosen.select_from(tags) if of_tags else chosen.join_from(runs, experiments)
        with self.database.read() as connection:
            return [str(value) for value in connection.execute(source).scalars() if value]

    def run_ids(self, filters: Sequence[terms.Filter] = (), sort: str = "-created_at") -> list[str]:
        """The ids of the runs that meet all `filters`, in order; both as for `runs`. Raises StoreError."""
        chosen = (
            sa.select(runs.c.id)
            .join_from(runs, experiments)
            .where(*terms.conditions(filters))
            .order_by(*terms.ordering(sort))
        )
        with self.database.read() as connection:
            return list(connection.execute(chosen).scalars())
