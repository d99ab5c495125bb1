"""What the keys do to runs: real rows and folders, the engine's own words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.workspace import Workspace
from seg_tui.app import SegTui
from seg_tui.screens.dialogs import Confirm
from seg_tui.screens.log import LogScreen
from seg_tui.widgets.run_table import RunTable
from tests.tui.conftest import opened, screen_text, settled, until


@pytest.fixture(autouse=True)
def agents(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Workspace]]:
    """For which workspaces an agent was asked for; none is started, as these runs are made up."""
    asked: list[Workspace] = []
    monkeypatch.setattr("engine.agent.presence.ensure_agent", asked.append)
    monkeypatch.setattr("engine.intentions.ensure_agent", asked.append)
    yield asked


def status(workspace: Workspace, run_id: str) -> str:
    with workspace.open_store() as store:
        return store.run(run_id).status


def put_cursor(app: SegTui, run_id: str) -> None:
    app.screen.query_one(RunTable).put_cursor(run_id)


async def test_stop_asks_the_run_to_stop_and_shows_it_at_once(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        put_cursor(app, "cccc0000")
        await pilot.press("s")
        await until(pilot, lambda: app.snapshot.runs["cccc0000"].status == "stopping")
        await until(pilot, lambda: "lr-0.01: ends its step and saves" in screen_text(app))
        put_cursor(app, "dddd0000")
        await pilot.press("s")
        await until(pilot, lambda: app.snapshot.runs["dddd0000"].status == "stopped")


async def test_what_cannot_be_done_is_refused_in_the_engines_words(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        put_cursor(app, "aaaa0000")
        await pilot.press("s")
        await until(pilot, lambda: "aaaa0000: is finished; is over" in screen_text(app))
        await pilot.press("r")
        await until(pilot, lambda: "only stopped, failed and lost runs are queued again" in screen_text(app))
        assert status(workspace, "aaaa0000") == "finished"


async def test_resume_queues_the_marked_runs_and_asks_for_an_agent(
    workspace: Workspace, agents: list[Workspace]
) -> None:
    with workspace.open_store() as store:
        store.set_status("dddd0000", "stopped", "stopped")
    async with opened(workspace) as (app, pilot):
        put_cursor(app, "bbbb0000")
        await pilot.press("space")
        put_cursor(app, "dddd0000")
        await pilot.press("space", "r")
        await until(pilot, lambda: "2 runs: queued" in screen_text(app))
        await settled(pilot)
    assert [status(workspace, run_id) for run_id in ("bbbb0000", "dddd0000")] == ["queued", "queued"]
    assert agents == [workspace]


async def test_delete_asks_and_removes_files_and_rows(workspace: Workspace) -> None:
    folder = workspace.run_dir("aaaa0000").path
    async with opened(workspace) as (app, pilot):
        put_cursor(app, "aaaa0000")
        await pilot.press("d")
        assert isinstance(app.screen, Confirm)
        assert "unet-seed0  finished, epoch 30/30, best Dice 0.6005" in screen_text(app)
        await pilot.press("n")
        await settled(pilot)
        assert folder.is_dir()

        await pilot.press("d", "y")
        await until(pilot, lambda: "aaaa0000" not in app.snapshot.runs)
        assert not folder.exists()
        assert app.screen.query_one(RunTable).cursor_run is not None


async def test_a_living_run_is_never_deleted(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        put_cursor(app, "cccc0000")
        await pilot.press("d", "y")
        await until(pilot, lambda: "cccc0000: is running; `seg-engine stop` it first" in screen_text(app))
        assert workspace.run_dir("cccc0000").path.is_dir()


async def test_tags_of_many_are_changed_and_those_of_some_stay(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        for run_id in ("aaaa0000", "aaaa0001"):
            put_cursor(app, run_id)
            await pilot.press("space")
        await pilot.press("t", *"keep this", "enter")
        await until(pilot, lambda: app.snapshot.runs["aaaa0000"].tags == ("keep", "this"))
        assert app.snapshot.runs["aaaa0001"].tags == ("keep", "night", "this")
        assert workspace.run_dir("aaaa0001").read_card().tags == ("keep", "night", "this")
        await pilot.press("t", *["backspace"] * len(" this"), "enter")
        await until(pilot, lambda: app.snapshot.runs["aaaa0001"].tags == ("keep", "night"))


async def test_a_note_begins_with_the_one_there_is(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        put_cursor(app, "aaaa0000")
        await pilot.press("o")
        await until(pilot, lambda: "Note on unet-seed0" in screen_text(app))
        await pilot.press(*"good", "enter")
        await until(pilot, lambda: "note kept" in screen_text(app))
        await pilot.press("o")
        await until(pilot, lambda: "Note on unet-seed0" in screen_text(app))
        await pilot.press(*" one", "enter")
        await until(pilot, lambda: workspace.run_dir("aaaa0000").read_card().note == "good one")


async def test_id_and_folder_go_to_the_clipboard(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        put_cursor(app, "aaaa0002")
        await pilot.press("y")
        assert app.clipboard == "aaaa0002"
        await pilot.press("f")
        assert app.clipboard == str(workspace.run_dir("aaaa0002").path)


async def test_the_log_is_shown_and_follows(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        put_cursor(app, "cccc0000")
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, LogScreen) and "epoch 12 done" in screen_text(app))
        with open(workspace.run_dir("cccc0000").log, "a") as log:
            log.writelines(f"line {number}\n" for number in range(200))
        await until(pilot, lambda: "line 199" in screen_text(app))
        await pilot.press("q")
        assert app.screen.query_one(RunTable).cursor_run.id == "cccc0000"


async def test_compare_wants_two_runs_and_at_most_twelve(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        await pilot.press("c")
        await until(pilot, lambda: "Mark two runs or more" in screen_text(app))


async def test_quitting_stops_no_run(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        await pilot.press("q")
        await pilot.pause()
        assert app._exit
    assert status(workspace, "cccc0000") == "running"


async def test_a_key_without_a_run_says_so(empty_workspace: Workspace) -> None:
    async with opened(empty_workspace) as (app, pilot):
        await pilot.press("escape", "s")
        await until(pilot, lambda: "No run is under the cursor" in screen_text(app))
