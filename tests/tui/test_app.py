"""The app around the screens: a database in trouble, two dashboards at once, settings, help, leaving."""

from __future__ import annotations

import shutil
import sqlite3

import pytest
from textual.color import Color
from textual.widgets import Input, Select
from textual.widgets._select import SelectCurrent

from engine.run.journal import read_all
from engine.workspace import Workspace
from seg_tui.keys import sentence
from seg_tui.live import Live
from seg_tui.screens.dashboard import Dashboard
from seg_tui.screens.dialogs import Pick
from seg_tui.screens.help import HelpScreen
from seg_tui.screens.settings import SettingsScreen
from seg_tui.screens.welcome import Welcome
from seg_tui.settings import COLUMN_KEYS, Settings, load_settings, settings_path
from seg_tui.widgets.choice import Choice
from seg_tui.widgets.run_table import RunTable
from seg_tui.widgets.ticks import Ticks
from tests.engine.made_up_runs import finished_journal
from tests.tui.conftest import make_app, notices, opened, run_lines, screen_text, settled, until
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
        assert len(app.screen.table.runs.ordered) == 6
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
        assert "try it with demo data" in screen_text(app)
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
        app.screen.query_one("#pane", Choice).value = "no"
        app.screen.query_one("#curves", Select).value = "bright"
        app.screen.query_one("#columns", Ticks).focus()
        await pilot.press("home", "down", "down", "down", "down", "space")
        await settled(pilot)
        assert app.theme == "textual-light"
        assert "  experiment" in screen_text(app)
        assert "✓ recipe" in screen_text(app)
        assert app.live.interval == 2.5
        app.screen.query_one("#refresh", Input).value = "0"
        await settled(pilot)
        assert "refresh" in screen_text(app)
        assert app.live.interval == 2.5, "what is not allowed changes nothing"
        await pilot.press("escape")
        kept = app.settings
        assert "experiment" not in run_lines(app)[0]
    columns = tuple(key for key in Settings().columns if key != "experiment")
    async with opened(workspace) as (app, _):
        assert app.settings == kept
        assert kept == Settings("textual-light", columns, 2.5, "bright", pane=False)
        assert "experiment" not in run_lines(app)[0]


async def test_what_another_dashboard_has_set_meanwhile_stays(workspace: Workspace) -> None:
    earlier = make_app(workspace)
    async with opened(workspace) as (app, pilot):
        app.change_settings(refresh=2.5)
        await settled(pilot)
    async with earlier.run_test() as pilot:
        earlier.change_settings(theme="textual-light")
        await settled(pilot)
    assert load_settings(workspace) == (Settings("textual-light", refresh=2.5), "")


async def test_settings_show_which_of_them_a_key_would_change(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, SettingsScreen))
        theme, curves = (app.screen.query_one(name, Select) for name in ("#theme", "#curves"))
        await until(pilot, lambda: app.focused is theme)
        accent = Color.parse(app.get_css_variables()["block-cursor-background"])
        await pilot.press("tab")
        await settled(pilot)
        assert app.focused is curves
        shown = [select.query_one(SelectCurrent).styles.background for select in (theme, curves)]
        assert [background == accent for background in shown] == [False, True]


async def test_a_table_without_any_column_is_refused(workspace: Workspace) -> None:
    settings_path(workspace).write_text('columns = ["name"]\n')
    async with opened(workspace) as (app, pilot):
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, SettingsScreen))
        app.screen.query_one("#columns", Ticks).focus()
        await pilot.press("home", "down", "space")
        await settled(pilot)
        assert "columns: must be a list such as" in screen_text(app)
        assert app.settings.columns == ("name",)


async def test_broken_settings_are_told_and_cost_nothing(workspace: Workspace) -> None:
    settings_path(workspace).write_text('refresh = "often"\n')
    settings, problem = load_settings(workspace)
    assert settings.refresh > 0
    assert "refresh" in problem
    async with opened(workspace) as (app, pilot):
        await until(pilot, lambda: any("refresh" in n.message for n in app._notifications), "the notice")
    settings_path(workspace).write_text('columns = ["status", 3]\ncurves = "bright"\n')
    settings, problem = load_settings(workspace)
    assert (settings, "columns: must be a list such as" in problem) == (Settings(curves="bright"), True)
    settings_path(workspace).write_text("a = " + "[" * 100_000)
    settings, problem = load_settings(workspace)
    assert (settings, "nested more than 32 levels deep" in problem) == (Settings(), True)


@pytest.mark.parametrize(
    "keys",
    [(), ("n",), ("n", "enter"), ("enter",), ("p",), ("l",), ("a", "c")],
    ids=lambda keys: "-".join(keys),
)
async def test_help_and_palette_know_every_key_of_a_screen(
    workspace: Workspace, keys: tuple[str, ...]
) -> None:
    async with opened(workspace, size=(120, 90)) as (app, pilot):
        await pilot.press(*keys)
        await settled(pilot)
        screen = app.screen
        assert keys == () or not isinstance(screen, Dashboard)
        wanted = {
            active.binding.action: (active.binding.description, active.binding.tooltip)
            for active in screen.active_bindings.values()
            if active.binding.show and active.enabled and type(active.node).__module__.startswith("seg_tui")
        }
        assert len(wanted) >= 2
        commands = {command.title for command in app.get_system_commands(screen)}
        assert "Focus Next" not in commands, "nobody searches for how to move about"
        app.action_help()
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        shown = " ".join(screen_text(app).replace("│", " ").split())
        for description, tooltip in wanted.values():
            assert sentence(description) in commands
            assert sentence(tooltip or description) in shown
        assert "Move cursor left a word" not in shown, "how one edits text anywhere is no key of a screen"
        assert " 3 Tab 3" not in shown, "one line names the numbers of all tabs"
        await pilot.press("escape")
        assert app.screen is screen


async def test_the_palette_does_what_it_names(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        app.screen.query_one(RunTable).put_cursor("aaaa0001")
        await pilot.press("ctrl+p")
        await pilot.press(*"copy id")
        await until(pilot, lambda: "Copy the run's id" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.clipboard == "aaaa0001", "the id in the clipboard")


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


async def test_a_theme_that_does_not_exist_is_told_and_kept_until_another_is_chosen(
    workspace: Workspace,
) -> None:
    settings_path(workspace).write_text('theme = "of a plugin"\n')
    async with opened(workspace) as (app, pilot):
        await until(pilot, lambda: any("does not exist" in line for line in notices(app)), "the notice")
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, SettingsScreen))
        await settled(pilot)
        assert app.settings.theme == "of a plugin"
        assert "of a plugin" in screen_text(app)
        app.screen.query_one("#theme", Select).value = "textual-light"
        await settled(pilot)
        assert app.theme == "textual-light"


async def test_a_column_that_is_named_twice_is_shown_once_and_the_order_of_columns_stays(
    workspace: Workspace,
) -> None:
    settings_path(workspace).write_text('columns = ["best", "status", "best", "name"]\n')
    async with opened(workspace) as (app, pilot):
        assert run_lines(app)[0].split()[:6] == ["best", "Dice", "@", "epoch▼", "status", "name"]
        await pilot.press("S")
        await until(pilot, lambda: isinstance(app.screen, Pick))
        await pilot.press("escape", "f2")
        await until(pilot, lambda: isinstance(app.screen, SettingsScreen))
        ticks = app.screen.query_one("#columns", Ticks)
        ticks.focus()
        ticks.highlighted = COLUMN_KEYS.index("last")
        await pilot.press("space")
        await settled(pilot)
        assert app.settings.columns == ("best", "last", "status", "name")
        await pilot.press("space")
        await settled(pilot)
        assert app.settings.columns == ("best", "status", "name")


async def test_a_file_of_settings_that_is_no_toml_is_not_written_over(workspace: Workspace) -> None:
    settings_path(workspace).write_text('columns = ["name", \n# mine\n')
    async with opened(workspace) as (app, pilot):
        app.change_settings(refresh=2.0)
        await until(pilot, lambda: any("is not TOML" in line for line in notices(app)), "the notice")
        assert app.live.interval == 2.0
    assert "# mine" in settings_path(workspace).read_text()


async def test_a_fault_of_whoever_reads_the_database_ends_the_dashboard(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Live) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Live, "_look", broken)
    app = make_app(workspace)
    with pytest.raises(ZeroDivisionError):
        async with app.run_test() as pilot:
            await until(pilot, lambda: app.fault is not None, "the fault")
    assert isinstance(app.fault, ZeroDivisionError)
