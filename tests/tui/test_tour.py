"""The tour goes on when somebody has done what it says; a dashboard for looking changes nothing."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import threading

import pytest

from engine.store import StoreError
from engine.workspace import Workspace
from seg_tui.app import SegTui
from seg_tui.program import goes_on, main
from seg_tui.screens.dialogs import Menu
from seg_tui.screens.launch import LaunchScreen
from seg_tui.screens.preview import PreviewScreen
from seg_tui.screens.run import RunScreen
from seg_tui.screens.welcome import Welcome
from seg_tui.stores import unchanged
from seg_tui.tour import STEPS, TourLine
from seg_tui.widgets.run_table import RunTable
from tests.tui.conftest import notices, screen_text, until
from tests.tui.made_up_gallery import add_with_gallery
from tests.tui.made_up_workspace import NOW, add, learning_journal


async def test_the_tour_goes_on_step_by_step_when_what_it_says_is_done(empty_workspace: Workspace) -> None:
    journal = learning_journal(0.5)
    journal.finish(30)
    add(empty_workspace, "aaaa0000", journal, name="demo")
    app = SegTui(empty_workspace, now=lambda: NOW, look_after=False, demo=True)
    async with app.run_test(size=(80, 24)) as pilot:

        async def step(number: int) -> None:
            await until(pilot, lambda: app.tour.step == number, f"step {number}; {app.tour.step}")
            await until(pilot, lambda: app.screen.query(TourLine), "its line on this screen")
            if number < len(STEPS):
                shown = " ".join(screen_text(app).split())
                assert f"tour {number + 1}/{len(STEPS)} {STEPS[number].says[:40]}" in shown

        await step(0)
        await pilot.press("enter")
        await step(1)
        await pilot.press("escape")
        await step(0)  # from here no key does what the second step says
        await pilot.press("enter")
        await step(1)
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.detail, "the run")
        await pilot.press("v")
        await step(2)
        await pilot.press("p")
        await step(3)
        await until(pilot, lambda: isinstance(app.screen, PreviewScreen))
        await pilot.press("escape", "escape")
        await step(4)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen), "another form")
        await pilot.press("escape")
        await step(4)
        await pilot.press("R")
        await step(5)
        await pilot.press("escape")
        await step(4)
        await pilot.press("f8")
        await step(6)
        add(empty_workspace, "bbbb0000", None, name="demo", created=NOW - 10)
        await until(pilot, lambda: len(app.snapshot.runs) == 2)
        app.screen.query_one(RunTable).put_cursor("aaaa0000")
        await pilot.press("space")
        app.screen.query_one(RunTable).put_cursor("bbbb0000")
        await pilot.press("space")
        await step(7)
        await pilot.press("c")
        await step(8)
        await pilot.press("escape", "x")
        await until(pilot, lambda: isinstance(app.screen, Menu), "the menu")
        await step(9)
        await pilot.press("escape", "f1")
        await step(len(STEPS))
        assert "the runs go on" in screen_text(app)
        await pilot.press("f9")
        await until(
            pilot, lambda: not any(screen.query(TourLine) for screen in app.screen_stack), "it is gone"
        )


async def test_a_dashboard_for_looking_writes_nothing_to_the_database_whoever_asks(
    workspace: Workspace,
) -> None:
    app = SegTui(unchanged(workspace), now=lambda: NOW)
    with pytest.raises(StoreError, match="is open for reading only: --read-only changes nothing"):
        app.store.get().lifecycle.set_status("dddd0000", "stopped")
    with (
        pytest.raises(StoreError, match="readonly database"),
        app.store.get().database.read() as connection,
    ):
        connection.exec_driver_sql("UPDATE runs SET name = 'x'")
    app.store.close()


def test_a_database_of_an_older_version_stays_as_it_is_and_one_is_told_what_to_do(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(workspace.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0021'")
    before = workspace.database.read_bytes()
    monkeypatch.setattr(sys, "argv", ["seg-tui", str(workspace.root), "--read-only"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    upgrade = f"`seg-engine -w {workspace.root} db upgrade`"
    assert f"has the tables of an older version (0021), and --read-only changes nothing; {upgrade}" in line
    assert workspace.database.read_bytes() == before


async def test_a_dashboard_for_looking_offers_and_does_nothing_that_writes(workspace: Workspace) -> None:
    app = SegTui(unchanged(workspace), now=lambda: NOW)
    before = {path: path.read_bytes() for path in workspace.runs.rglob("*.json")}
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.snapshot.at > 0)
        offered = {active.binding.action for active in app.screen.active_bindings.values() if active.enabled}
        assert not offered & {
            "new",
            "stop",
            "resume",
            "rerun",
            "delete",
            "tag",
            "note",
            "menu",
            "undo",
            "agent",
        }
        assert {"open", "compare", "filter", "app.help"} <= offered
        await until(pilot, lambda: "read-only" in screen_text(app).splitlines()[0], "the title says so")
        await pilot.press("f2")
        await until(
            pilot, lambda: "forgotten at the end: --read-only" in screen_text(app), "the settings, too"
        )
        assert "saved in" not in screen_text(app)
        await pilot.press("escape")
        app.screen.query_one(RunTable).put_cursor("dddd0000")
        await pilot.press("s", "x", "d", "R", "n", "t")
        assert len(app.screen_stack) == 2, "nothing has opened"
        app.act(lambda workspace, store: pytest.fail("it was done"))
        await until(pilot, lambda: any("--read-only" in notice for notice in notices(app)), "the refusal")
        assert goes_on(app.snapshot) == "runs go on without the dashboard: 1 running (lr-0.01), 1 queued"
    with workspace.open_store() as store:
        assert store.run("dddd0000").status == "queued"
    assert before == {path: path.read_bytes() for path in workspace.runs.rglob("*.json")}


async def test_an_empty_workspace_offers_the_tour(
    empty_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_demo(workspace: Workspace, *others: object) -> str:
        return add(workspace, "aaaa0000", learning_journal(0.5), name="demo")

    monkeypatch.setattr("seg_tui.screens.welcome.make_demo", make_demo)
    app = SegTui(empty_workspace, now=lambda: NOW, look_after=False)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, Welcome), "the welcome")
        await until(pilot, lambda: "take the tour" in screen_text(app))
        assert app.tour.step is None
        await pilot.press("t")
        await until(pilot, lambda: app.tour.step == 0, "the tour")
        await until(pilot, lambda: "press enter to open it" in screen_text(app).lower())


async def test_what_becomes_of_the_demo_is_seen_on_a_low_screen(
    empty_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()

    def make_demo(*others: object) -> str:
        may_end.wait(30)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "demo-data")

    monkeypatch.setattr("seg_tui.screens.welcome.make_demo", make_demo)
    app = SegTui(empty_workspace, now=lambda: NOW, look_after=False)
    async with app.run_test(size=(60, 15)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, Welcome), "the welcome")
        await pilot.press("d")
        await until(pilot, lambda: "drawing street scenes" in screen_text(app), "that it has begun")
        may_end.set()
        await until(pilot, lambda: "No space left on device" in screen_text(app), "why it has ended")


async def test_a_dashboard_for_looking_saves_no_view_and_begins_no_run_from_a_preview(
    empty_workspace: Workspace,
) -> None:
    add_with_gallery(empty_workspace, "gal00001")
    app = SegTui(unchanged(empty_workspace), now=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.snapshot.at > 0)
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.screen, Menu), "the views")
        assert "usual view" in screen_text(app)
        assert "save" not in screen_text(app)
        await pilot.press("escape")
        app.go_to.predictions(["gal00001"])
        await until(pilot, lambda: isinstance(app.screen, PreviewScreen), "the preview")
        await pilot.press("R")
        await pilot.pause()
        assert isinstance(app.screen, PreviewScreen)
