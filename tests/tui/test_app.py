"""The app around the screens: trouble with the database, first screen, settings, help, two at once."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from engine.workspace import Workspace
from seg_tui import actions
from seg_tui.screens.dashboard import Dashboard
from seg_tui.screens.help import HelpScreen
from seg_tui.screens.settings import SettingsScreen
from seg_tui.screens.welcome import Welcome
from seg_tui.settings import Settings, load_settings
from seg_tui.widgets.run_table import RunTable
from tests.tui.conftest import make_app, opened, screen_text, settled, until
from tests.tui.made_up_workspace import add

# ---------------------------------------------------------------------- trouble with the database


async def test_a_database_that_is_gone_is_one_notice_and_what_was_seen_stays(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        away = workspace.root / "away.db"
        workspace.database.rename(away)
        await until(pilot, lambda: app.trouble)
        text = screen_text(app)
        assert text.count("is gone; what is shown is how it was") == 1
        assert "unet-seed1" in text
        await pilot.press("down", "i")
        away.rename(workspace.database)
        await until(pilot, lambda: not app.trouble)
        assert "is gone" not in screen_text(app)
        assert len(app.snapshot.runs) == 6


async def test_a_damaged_database_is_one_notice_and_the_app_recovers(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        whole = workspace.root / "whole.db"
        shutil.copy(workspace.database, whole)
        workspace.database.unlink()
        workspace.database.write_bytes(b"no database at all" * 100)
        await until(pilot, lambda: "db rebuild" in app.trouble)
        await pilot.press("s")
        await settled(pilot)
        os.replace(whole, workspace.database)
        for suffix in ("-wal", "-shm"):
            workspace.database.with_name(workspace.database.name + suffix).unlink(missing_ok=True)
        await until(pilot, lambda: not app.trouble)
        assert isinstance(app.screen, Dashboard)


async def test_a_newer_database_is_told_as_such(workspace: Workspace) -> None:
    with sqlite3.connect(workspace.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    app = make_app(workspace)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "newer version of this program" in screen_text(app))
        with sqlite3.connect(workspace.database) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '0004'")
        connection.close()
        await until(pilot, lambda: "unet-seed1" in screen_text(app))
        assert not app.trouble


async def test_a_held_database_is_told_and_an_action_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seg_tui.stores.WAIT_SECONDS", 0.2)
    async with opened(workspace) as (app, pilot):
        holder = sqlite3.connect(workspace.database, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        app.screen.query_one(RunTable).put_cursor("dddd0000")
        await pilot.press("s")
        await until(pilot, lambda: "another program has held the database" in screen_text(app))
        holder.execute("ROLLBACK")
        holder.close()
        await pilot.press("s")
        await until(pilot, lambda: app.snapshot.runs["dddd0000"].status == "stopped")


# ---------------------------------------------------------------------- two at once


async def test_two_dashboards_agree(workspace: Workspace) -> None:
    async with opened(workspace) as (one, _), opened(workspace) as (other, pilot):
        one.act(actions.change_tags, ["aaaa0000"], [], ["seen"])
        await until(pilot, lambda: other.snapshot.runs["aaaa0000"].tags == ("seen",))
        await until(pilot, lambda: one.snapshot.runs["aaaa0000"].tags == ("seen",))


# ---------------------------------------------------------------------- the first screen


async def test_an_empty_workspace_offers_what_to_do_and_makes_nothing(empty_workspace: Workspace) -> None:
    async with opened(empty_workspace) as (app, pilot):
        assert isinstance(app.screen, Welcome)
        assert "No runs in this workspace yet" in screen_text(app)
        await pilot.press("escape")
        assert isinstance(app.screen, Dashboard)
    assert not empty_workspace.database.exists()


async def test_the_first_screen_leaves_when_somebody_starts_a_run(empty_workspace: Workspace) -> None:
    async with opened(empty_workspace) as (app, pilot):
        add(empty_workspace, "eeee0000", name="from elsewhere")
        await until(pilot, lambda: isinstance(app.screen, Dashboard) and "from elsewhere" in screen_text(app))


async def test_the_demo_draws_data_and_queues_a_run(
    empty_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "DEMO_IMAGES", 4)
    monkeypatch.setattr(actions, "DEMO_SIZE", (64, 64))
    monkeypatch.setattr("engine.agent.presence.ensure_agent", lambda workspace: None)
    async with opened(empty_workspace) as (app, pilot):
        await pilot.press("d")
        await until(
            pilot, lambda: isinstance(app.screen, Dashboard) and app.snapshot.runs, "the run of the demo"
        )
        (run,) = app.snapshot.runs.values()
        assert (run.name, run.recipe, run.status) == ("demo", "quick", "queued")
        assert app.screen.query_one(RunTable).cursor_run.id == run.id
        data = empty_workspace.root / "demo-data"
        assert empty_workspace.run_dir(run.id).read_config().data.root == str(data)
        assert len(list(data.glob("leftImg8bit/*/*/*.png"))) == 4
        assert not list(empty_workspace.root.glob(".demo-data*"))


async def test_a_demo_that_cannot_be_drawn_says_why(
    empty_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "DEMO_IMAGES", 1)
    async with opened(empty_workspace) as (app, pilot):
        await pilot.press("d")
        await until(pilot, lambda: "at least 2 are needed" in screen_text(app))
        assert isinstance(app.screen, Welcome)


# ---------------------------------------------------------------------- settings


async def test_settings_hold_at_once_and_are_kept(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        await pilot.press("f2")
        assert isinstance(app.screen, SettingsScreen)
        app.change_settings(columns=("name", "best"), theme="textual-light", curves="bright")
        await settled(pilot)
        await pilot.press("escape")
        assert app.screen.query_one(RunTable).column_titles == ["name", "best Dice @ epoch"]
        assert app.theme == "textual-light"
    async with opened(workspace) as (app, _):
        assert app.screen.query_one(RunTable).column_titles == ["name", "best Dice @ epoch"]
        assert app.theme == "textual-light"


async def test_a_wrong_refresh_is_refused_in_place(workspace: Workspace) -> None:
    async with opened(workspace, (120, 50)) as (app, pilot):
        await pilot.press("f2")
        app.screen.query_one("#refresh").value = "0.01"
        await pilot.pause()
        assert "refresh: must be from 0.5 to 60 seconds" in screen_text(app)
        assert app.settings.refresh == 0.5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("theme = ", "cannot be read"),
        ('curvs = "bright"', "curvs: is no setting; did you mean curves?"),
        ('columns = ["name", "dice"]', "columns: 'dice' is no column"),
        ("refresh = 0", "refresh: must be from 0.5 to 60 seconds"),
    ],
)
async def test_a_damaged_settings_file_is_one_notice(workspace: Workspace, text: str, problem: str) -> None:
    (workspace.root / "tui.toml").write_text(text)
    async with opened(workspace) as (app, pilot):
        await until(pilot, lambda: len(app._notifications) == 1)
        assert problem in next(iter(app._notifications)).message
        assert app.settings == Settings()
        assert (workspace.root / "tui.toml").read_text() == text


async def test_what_is_right_in_the_file_holds_and_what_is_unknown_stays(workspace: Workspace) -> None:
    path = workspace.root / "tui.toml"
    path.write_text('# mine\ncurves = "bright"\nfuture = 3\n')
    settings, problem = load_settings(workspace)
    assert settings.curves == "bright"
    assert "future: is no setting" in problem
    async with opened(workspace) as (app, pilot):
        app.change_settings(refresh=2.0)
        await settled(pilot)
    assert path.read_text() == '# mine\ncurves = "bright"\nfuture = 3\nrefresh = 2.0\n'


# ---------------------------------------------------------------------- help, palette, walls


async def test_every_key_is_in_the_help_and_in_the_palette(workspace: Workspace) -> None:
    async with opened(workspace, (120, 80)) as (app, pilot):
        commands = {command.title for command in app.get_system_commands(app.screen)}
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        text = screen_text(app)
        for binding in Dashboard.BINDINGS:
            assert binding.tooltip in text, binding.key
            assert f"{binding.description[0].upper()}{binding.description[1:]}" in commands
        await pilot.press("escape")
        assert isinstance(app.screen, Dashboard)


async def test_a_command_of_the_palette_does_what_its_key_does(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press(*"mark all runs", "down", "enter")
        await until(pilot, lambda: len(app.screen.query(RunTable)) == 1)
        assert len(app.screen.query_one(RunTable).marked) == 6


def test_opening_the_dashboard_imports_no_torch(workspace: Workspace) -> None:
    code = """
import asyncio, sys
from pathlib import Path
from engine.workspace import Workspace
from seg_tui.app import SegTui

async def main():
    app = SegTui(Workspace(Path(sys.argv[1])), look_after=False)
    async with app.run_test() as pilot:
        while not app.snapshot.runs:
            await pilot.pause(0.02)
        await app.workers.wait_for_complete()
    heavy = {"torch", "numpy", "alembic", "PIL"} & sys.modules.keys()
    assert not heavy, heavy

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(workspace.root)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
