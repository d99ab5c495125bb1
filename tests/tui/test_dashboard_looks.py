"""How the dashboard looks in every state that it can be in, narrow and wide."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.workspace import Workspace
from seg_tui import live
from seg_tui.app import SegTui
from seg_tui.screens.dashboard import Dashboard
from tests.tui.conftest import make_app, settled, until
from tests.tui.made_up_workspace import many_runs, workspace_in
from tests.tui.snapshots import at_rest

pytestmark = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
Size = tuple[int, int]


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace whose path, which the title tells, is the same in every test."""
    monkeypatch.chdir(tmp_path)
    return workspace_in(Path("lab/cityscapes"))


@pytest.fixture
def filled(bare: Workspace, made_up: Path) -> Workspace:
    shutil.copytree(made_up, bare.root, dirs_exist_ok=True)
    return bare


def look_at(
    snap_compare: object, workspace: Workspace, size: Size, keys: Sequence[str] = (), run_id: str = ""
) -> None:
    """The dashboard with the cursor on a run, after some keys."""
    app = make_app(workspace)

    async def before(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.snapshot.at > 0)
        await settled(pilot)
        if run_id:
            dashboard_of(app).table.put_cursor(run_id)
        for key in keys:
            await pilot.press(key)
        await settled(pilot)
        await at_rest(pilot)

    compare(snap_compare, app, size, before)


def compare(snap_compare: object, app: SegTui, size: Size, before: object) -> None:
    app.theme = "textual-dark"
    assert snap_compare(app, terminal_size=size, run_before=before)  # type: ignore[operator]


def dashboard_of(app: SegTui) -> Dashboard:
    return next(screen for screen in app.screen_stack if isinstance(screen, Dashboard))


def test_a_run_under_way(snap_compare: object, filled: Workspace, size: Size) -> None:
    look_at(snap_compare, filled, size)


def test_a_failed_run_tells_why(snap_compare: object, filled: Workspace, size: Size) -> None:
    look_at(snap_compare, filled, size, run_id="bbbb0000")


def test_grouped_by_all_but_the_seed(snap_compare: object, filled: Workspace, size: Size) -> None:
    look_at(snap_compare, filled, size, ["g", "g"], run_id="aaaa0000")


def test_filtered_with_marks(snap_compare: object, filled: Workspace, size: Size) -> None:
    look_at(snap_compare, filled, size, ["space", "slash", *"dice>0.58", "enter"], run_id="aaaa0001")


def test_a_filter_that_is_wrong(snap_compare: object, filled: Workspace, size: Size) -> None:
    app = make_app(filled)

    async def before(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.snapshot.at > 0)
        await settled(pilot)
        await pilot.press("slash")
        app.screen.query_one("#filter-query", Input).value = "dicce>0.6"  # no beginning of it is asked
        await settled(pilot)
        await at_rest(pilot)

    compare(snap_compare, app, size, before)


def test_two_thousand_runs(snap_compare: object, bare: Workspace, size: Size) -> None:
    many_runs(bare, 2000, active=4)
    look_at(snap_compare, bare, size)


def test_without_colours(
    snap_compare: object, filled: Workspace, size: Size, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    look_at(snap_compare, filled, size, ["space"], run_id="aaaa0000")


def test_empty(snap_compare: object, bare: Workspace, size: Size) -> None:
    look_at(snap_compare, bare, size, ["escape"])


def test_before_the_first_look_at_the_database(
    snap_compare: object, bare: Workspace, size: Size, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live.Live, "start", lambda self: None)
    app = make_app(bare)
    compare(snap_compare, app, size, settled)


def test_a_locked_database(
    snap_compare: object, filled: Workspace, size: Size, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "WAIT_SECONDS", 0.1)
    with closing(sqlite3.connect(filled.database, isolation_level=None)) as blocker:
        blocker.execute("PRAGMA locking_mode = EXCLUSIVE")
        blocker.execute("BEGIN EXCLUSIVE")
        app = make_app(filled)

        async def before(pilot: Pilot[None]) -> None:
            await until(pilot, lambda: app.trouble, "the trouble")
            await settled(pilot)

        compare(snap_compare, app, size, before)
