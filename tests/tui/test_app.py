"""The app around the screens: a database in trouble, two dashboards at once, settings, help, leaving."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace

import pytest
from textual.widgets import Checkbox, Input, Select

from engine.journal import read_all
from engine.workspace import Workspace
from seg_tui.screens.dashboard import Dashboard
from seg_tui.screens.help import HelpScreen
from seg_tui.screens.settings import SettingsScreen
from seg_tui.screens.welcome import Welcome
from seg_tui.settings import load_settings, settings_path
from seg_tui.widgets.run_table import RunTable
from tests.engine.made_up_runs import finished_journal
from tests.tui.conftest import make_app, opened, screen_text, settled, until
from tests.tui.made_up_workspace import add

pytestmark = pytest.mark.asyncio


async def test_a_locked_database_is_told_and_the_app_recovers(workspace: Workspace) -> None:
    blocker = sqlite3.connect(workspace.database, isolation_level=None)
    blocker.execute("PRAGMA locking_mode = EXCLUSIVE")
    blocker.execute("BEGIN EXCLUSIVE")
    app = make_app(workspace)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.trouble, "the trouble")
        assert "locked" in app.trouble
        assert app.trouble.splitlines() == [app.trouble]
        blocker.close()
        app.live.nudge()
        await until(pilot, lambda: not app.trouble and len(app.snapshot.runs) == 6, "the recovery")


async def test_a_database_that_is_moved_away_is_told_and_what_was_known_stays(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        moved = workspace.database.with_suffix(".away")
        workspace.database.rename(moved)
        app.live.nudge()
        await until(pilot, lambda: app.trouble, "the trouble")
        assert isinstance(app.screen, Dashboard)
        assert app.trouble.splitlines() == [app.trouble]
        assert len(app.screen.table.shown) == 6
        moved.rename(workspace.database)
        app.live.nudge()
        await until(pilot, lambda: not app.trouble, "the recovery")
        await until(pilot, lambda: len(app.snapshot.runs) == 6)


async def test_a_database_of_a_newer_program_is_one_clear_line(workspace: Workspace) -> None:
    with sqlite3.connect(workspace.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    app = make_app(workspace)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.trouble, "the trouble")
        await settled(pilot)
        assert "newer" in app.trouble
        assert "newer" in screen_text(app)
        await pilot.press("slash", "x", "escape")
        assert app.is_running


async def test_two_dashboards_on_one_workspace_agree(workspace: Workspace) -> None:
    async with opened(workspace) as (first, pilot), opened(workspace) as (second, other):
        first.screen.query_one(RunTable).put_cursor("dddd0000")
        await pilot.press("s")
        await until(other, lambda: second.snapshot.runs["dddd0000"].status == "stopped", "the other's stop")
        add(workspace, "eeee0000", finished_journal(), name="newcomer")
        for app, driver in ((first, pilot), (second, other)):
            app.live.nudge()
            await until(driver, lambda app=app: "eeee0000" in app.snapshot.runs)
        assert first.snapshot.runs == second.snapshot.runs


async def test_leaving_stops_no_run(workspace: Workspace) -> None:
    before = read_all(workspace.run_dir("cccc0000").journal)
    async with opened(workspace) as (app, pilot):
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)
    with workspace.open_store() as store:
        assert store.run("cccc0000").status == "running"
    assert read_all(workspace.run_dir("cccc0000").journal) == before


async def test_an_empty_workspace_is_welcomed_and_makes_no_database(empty_workspace: Workspace) -> None:
    async with opened(empty_workspace) as (app, pilot):
        await until(pilot, lambda: isinstance(app.screen, Welcome))
        assert "try it on demo data" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, Dashboard))
        assert "No runs yet" in screen_text(app)
    assert not empty_workspace.database.exists()


async def test_settings_hold_at_once_and_are_kept_in_the_workspace(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, SettingsScreen))
        app.screen.query_one("#theme", Select).value = "textual-light"
        app.screen.query_one("#refresh", Input).value = "2.5"
        app.screen.query_one("#pane", Checkbox).value = False
        await settled(pilot)
        assert app.theme == "textual-light"
        assert app.live.interval == 2.5
        app.screen.query_one("#refresh", Input).value = "0"
        await settled(pilot)
        assert "refresh" in screen_text(app)
        assert app.live.interval == 2.5, "what is not allowed changes nothing"
        await pilot.press("escape")
        kept = app.settings
    async with opened(workspace) as (app, _):
        assert app.settings == kept == replace(kept, theme="textual-light", refresh=2.5, pane=False)


async def test_broken_settings_are_told_and_cost_nothing(workspace: Workspace) -> None:
    settings_path(workspace).write_text('refresh = "often"\n')
    settings, problem = load_settings(workspace)
    assert settings.refresh > 0
    assert "refresh" in problem
    async with opened(workspace) as (app, pilot):
        await until(pilot, lambda: any("refresh" in n.message for n in app._notifications), "the notice")


async def test_help_and_palette_know_every_key_of_the_dashboard(workspace: Workspace) -> None:
    async with opened(workspace, size=(120, 60)) as (app, pilot):
        wanted = {
            active.binding.description
            for active in app.screen.active_bindings.values()
            if active.binding.show and active.binding.description
        }
        commands = {command.title.lower() for command in app.get_system_commands(app.screen)}
        assert {description.lower() for description in wanted} <= commands
        for word in ("new", "stop", "resume", "rerun", "delete", "tag", "note", "mark", "compare", "preview"):
            assert word in {description.lower() for description in wanted}, word
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        for word in ("Stop", "filter", "sort"):
            assert word.lower() in screen_text(app).lower()


async def test_a_workspace_that_is_removed_and_comes_back_is_read_again(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        away = workspace.root.with_name("away")
        shutil.move(workspace.root, away)
        app.live.nudge()
        await until(pilot, lambda: app.trouble, "the trouble")
        shutil.move(away, workspace.root)
        app.live.nudge()
        await until(pilot, lambda: not app.trouble, "the recovery")
        assert len(app.snapshot.runs) == 6
