"""The first look at the database, which another process takes while the dashboard is imported."""

from __future__ import annotations

import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from textual.message import Message

from engine.workspace import Workspace
from seg_tui.first_look import FirstLook
from seg_tui.live import Live, Snapshot, SnapshotTaken, StoreTroubled
from tests.tui.conftest import WAIT_SECONDS
from tests.tui.made_up_workspace import add

WITHOUT_SQLALCHEMY = """
import queue, sys
from pathlib import Path
from engine.workspace import Workspace
from seg_tui.first_look import FirstLook
from seg_tui.live import Live
workspace, said = Workspace(Path(sys.argv[1])), queue.Queue()
live = Live(workspace, said.put, interval=3600.0, look_after=False, first_look=FirstLook(workspace))
live.start()
runs = said.get(timeout=60).snapshot.runs
print(*sorted(runs), "sqlalchemy" in sys.modules)
live.stop()
"""


@contextmanager
def following(workspace: Workspace, first_look: FirstLook) -> Iterator[tuple[Live, queue.Queue[Message]]]:
    said: queue.Queue[Message] = queue.Queue()
    live = Live(workspace, said.put, interval=0.02, look_after=False, first_look=first_look)
    live.start()
    try:
        yield live, said
    finally:
        live.stop()


def next_snapshot(said: queue.Queue[Message]) -> Snapshot:
    message = said.get(timeout=WAIT_SECONDS)
    assert isinstance(message, SnapshotTaken)
    return message.snapshot


def test_runs_are_told_by_a_process_that_has_not_imported_sqlalchemy(workspace: Workspace) -> None:
    with workspace.open_store() as store:
        there = sorted(store.run_ids())
    command = [sys.executable, "-c", WITHOUT_SQLALCHEMY, str(workspace.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=True)
    assert done.stdout.split() == [*there, "False"]


def test_what_is_seen_first_is_what_any_look_sees_and_what_follows_adds_to_it(workspace: Workspace) -> None:
    with workspace.open_store() as store:
        there = {run.id: run for run in store.changes().runs}
    with following(workspace, FirstLook(workspace)) as (_, said):
        first = next_snapshot(said)
        assert first.there
        assert dict(first.runs) == there
        assert all(run.also == {} for run in first.runs.values())
        add(workspace, "eeee0000", name="newcomer")
        second = next_snapshot(said)
        assert second.changed_since(first) == ["eeee0000"]


def test_a_database_that_was_replaced_meanwhile_is_read_alone(
    workspace: Workspace, empty_workspace: Workspace
) -> None:
    first_look = FirstLook(workspace)
    assert first_look._process is not None
    seen = first_look.take()
    assert seen is not None
    first_look.take = lambda: seen  # type: ignore[method-assign]
    workspace.database.unlink()
    for leftover in workspace.root.glob("experiments.db-*"):
        leftover.unlink()
    add(workspace, "ffff0000", name="alone")
    with following(workspace, first_look) as (_, said):
        assert len(next_snapshot(said).runs) > 1
        assert [*next_snapshot(said).runs] == ["ffff0000"]


def test_a_read_only_workspace_is_told_as_such(workspace: Workspace) -> None:
    look = FirstLook(Workspace(workspace.root, "nobody changes it")).take()
    assert look is not None
    assert look.read_only == "nobody changes it"


def test_where_there_is_no_database_yet_nothing_is_made(empty_workspace: Workspace) -> None:
    with following(empty_workspace, FirstLook(empty_workspace)) as (_, said):
        snapshot = next_snapshot(said)
        assert not snapshot.there
        assert not snapshot.runs
    assert not empty_workspace.database.exists()


def test_a_damaged_database_is_told(empty_workspace: Workspace) -> None:
    empty_workspace.database.write_text("no database\n" * 1000)
    with following(empty_workspace, FirstLook(empty_workspace)) as (_, said):
        message = said.get(timeout=WAIT_SECONDS)
        assert isinstance(message, StoreTroubled)
        assert "not a database" in message.problem


def test_who_leaves_waits_for_no_look(workspace: Workspace) -> None:
    with sqlite3.connect(workspace.database, isolation_level=None) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        with following(workspace, FirstLook(workspace)) as (_, said):
            pass
        assert said.empty()
        assert "live" not in {thread.name for thread in threading.enumerate()}
