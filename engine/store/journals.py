"""Taking the journals of runs into the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from engine.run.directory import RunCard, RunDir, RunDirError
from engine.run.events import AnyEvent
from engine.run.journal import JournalError, read_pieces
from engine.store.cleared import NO_END, NO_PROGRESS
from engine.store.database import Database
from engine.store.errors import IngestConflict, StoreError, UnfitRun
from engine.store.ingest import fold
from engine.store.insert import first_status, insert_run
from engine.store.lookup import exists, hold, hold_list, no_run
from engine.store.schema import runs

_OFFSET = sa.select(runs.c.journal_offset).where(runs.c.id == sa.bindparam("wanted"))


class Journals:
    """What the workers of runs have written, folded into the rows of a database; runs that come with their
    folder belong to `workspace`."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def offset(self, run_id: str) -> int:
        """The byte up to which the run's journal is in the database. Raises NoSuchRun."""
        with self._database.read() as connection:
            offset = connection.scalar(_OFFSET, {"wanted": run_id})
        if offset is None:
            raise no_run(run_id)
        return int(offset)

    def ingest(self, run_id: str, events: Sequence[AnyEvent], offset: int, expected_offset: int) -> None:
        """Fold events of the run's journal into the database, with the `offset` behind the last of them.

        Nothing is written, and IngestConflict raised, when the stored offset is not `expected_offset`:
        someone else was faster.
        """
        with self._database.write() as connection:
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
                raise UnfitRun(f"{run_dir.path}: belongs to run {card.id}; rename the folder to that id")
            with self._database.write() as connection:
                hold_list(connection)
                is_new = not exists(connection, card.id)
                if is_new:
                    status, place = first_status(card, queued)
                    insert_run(connection, card, config, status, self._workspace, place)
                elif (theirs := _workspace_of(connection, card.id)) != self._workspace:
                    raise StoreError(
                        f"run {card.id} is already in the database, as one of the workspace {theirs}"
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


def _workspace_of(connection: sa.Connection, run_id: str) -> str:
    return str(connection.execute(sa.select(runs.c.workspace).where(runs.c.id == run_id)).scalar_one())


def _foldable(connection: sa.Connection, run_id: str) -> dict[str, Any]:
    """The columns of a run that its journal decides, as `fold` wants them."""
    return dict(connection.execute(_FOLDED.where(runs.c.id == run_id)).mappings().one())


def _queue_again(connection: sa.Connection, card: RunCard) -> None:
    """Put a run back into its place in the queue that waits for an attempt of which nothing came yet."""
    change = NO_END | NO_PROGRESS | {"status": "queued", "queued_at": card.queued_at or card.created}
    waits = (runs.c.id == card.id) & (runs.c.attempt < card.queued_for)
    connection.execute(runs.update().where(waits).values(change))


_NOT_FOLDED = {
    *("config", "note", "name", "priority", "paused", "after"),
    *("changed", "variant", "workspace", "archived", "protected", "untold", "trial"),
}
_FOLDED = sa.select(*(c for c in runs.c if c.name not in _NOT_FOLDED))
