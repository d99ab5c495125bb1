"""What the keys do to runs: they ask where it cannot be undone, and tell in a line what became of it."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.host.processes import identify
from engine.plugins import load_plugin
from engine.requests import deleting
from engine.requests.lifecycle import set_note, set_tags
from engine.requests.refusals import Refused
from engine.store import AgentState, RunRow, Store, StoreError
from engine.workspace import Workspace
from seg_tui import actions, changes
from seg_tui.actions import make_demo, set_place
from seg_tui.app import SegTui
from seg_tui.commands import ask_engine
from seg_tui.live import SnapshotTaken
from seg_tui.messages import ActionEnded
from seg_tui.program import goes_on, main
from seg_tui.screens.dialogs import Ask, Confirm, Menu, Pick
from seg_tui.screens.help import HelpScreen
from seg_tui.screens.launch import LaunchScreen
from seg_tui.widgets.bars import SPINNER, TitleBar
from seg_tui.widgets.run_table import RunTable
from tests.engine.made_up_runs import finished_journal
from tests.tui.conftest import make_app, notices, opened, screen_text, settled, type_at_once, until
from tests.tui.made_up_workspace import add

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> list[Workspace]:
    """Queued runs stay in the queue; the workspaces for which an agent was wanted."""
    wanted: list[Workspace] = []
    monkeypatch.setattr("engine.agent.presence.ensure_agent", wanted.append)
    return wanted


async def press_on(app: SegTui, pilot: Pilot[None], run_id: str, *keys: str) -> None:
    app.screen.query_one(RunTable).put_cursor(run_id)
    await pilot.press(*keys)


async def told(app: SegTui, pilot: Pilot[None], words: str) -> None:
    await until(pilot, lambda: any(words in notice for notice in notices(app)), f"{words!r}; {notices(app)}")


def status(workspace: Workspace, run_id: str) -> str:
    with workspace.open_store() as store:
        return store.run(run_id).status


async def test_stop_takes_a_waiting_run_out_of_the_queue_and_resume_puts_it_back(
    workspace: Workspace, no_agent: list[Workspace]
) -> None:
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "dddd0000", "s")
        await told(app, pilot, "lr-0.1: left the queue")
        assert status(workspace, "dddd0000") == "stopped"
        await until(pilot, lambda: app.snapshot.runs["dddd0000"].status == "stopped", "the row")
        await press_on(app, pilot, "dddd0000", "r")
        await told(app, pilot, "lr-0.1: queued")
        assert status(workspace, "dddd0000") == "queued"
        assert no_agent == [workspace]


@pytest.mark.parametrize(("key", "run_id"), [("s", "aaaa0000"), ("r", "aaaa0000"), ("r", "dddd0000")])
async def test_what_cannot_be_done_is_refused_and_changes_nothing(
    workspace: Workspace, key: str, run_id: str
) -> None:
    before = status(workspace, run_id)
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, run_id, key)
        await until(pilot, lambda: notices(app), "the refusal")
        (notice,) = app._notifications
        assert notice.severity == "error"
        assert run_id in notice.message or app.snapshot.runs[run_id].name in notice.message
        assert before in notice.message
    assert status(workspace, run_id) == before


async def test_a_failed_run_is_queued_again_as_the_same_run(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "bbbb0000", "r")
        await told(app, pilot, "too-big: queued")
    assert status(workspace, "bbbb0000") == "queued"


async def test_delete_asks_and_only_y_deletes(workspace: Workspace) -> None:
    folder = workspace.run_dir("aaaa0001").path
    async with opened(workspace) as (app, pilot):
        for key in ("n", "escape", "q"):
            await press_on(app, pilot, "aaaa0001", "d")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            assert "aaaa0001  unet-seed1  finished, epoch 30/30" in screen_text(app)
            await pilot.press(key)
            await until(pilot, lambda: not isinstance(app.screen, Confirm))
        assert folder.is_dir()
        await press_on(app, pilot, "aaaa0001", "d", "y")
        await told(app, pilot, "unet-seed1: deleted")
        await until(pilot, lambda: "aaaa0001" not in app.snapshot.runs)
    assert not folder.exists()


async def test_who_needs_a_run_is_part_of_the_question_whether_to_delete_it(workspace: Workspace) -> None:
    add(workspace, "eeee0000", None, {"distill.from": "../aaaa0001/checkpoints/best.pt"}, name="student")
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "aaaa0001", "d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        shown = str(app.screen.query(Static).last().visual)
        assert "needed by eeee0000 student (its teacher; queued), which cannot go on without it" in shown
        await pilot.press("n")
        await press_on(app, pilot, "aaaa0002", "d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "needed by" not in screen_text(app)


async def test_the_question_fits_the_smallest_screen_whatever_the_names(workspace: Workspace) -> None:
    for number in range(10):
        add(workspace, f"eeee000{number}", finished_journal(), name=f"{number} " + "very long " * 12)
    async with opened(workspace, size=(80, 24)) as (app, pilot):
        for number in range(10):
            await press_on(app, pilot, f"eeee000{number}", "space")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        shown = screen_text(app)
        assert "Permanently delete these 10 runs" in shown
        assert "y: yes" in shown
        assert all(f"eeee000{number}  {number} very long" in shown for number in range(10))


async def test_a_living_run_is_not_deleted_nor_any_that_are_marked_with_it(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "aaaa0001", "space")
        await press_on(app, pilot, "cccc0000", "space", "d")
        assert notices(app) == ["cccc0000: is running; `seg-engine stop` it first"]
        assert not isinstance(app.screen, Confirm), "what cannot be done is not asked for"
    assert workspace.run_dir("aaaa0001").path.is_dir()
    assert status(workspace, "aaaa0001") == "finished"


async def test_a_run_that_starts_while_one_is_asked_is_not_deleted(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "dddd0000", "d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        with workspace.open_store() as store:
            store.lifecycle.set_status("dddd0000", "running")
        await pilot.press("y")
        await told(app, pilot, "dddd0000: is running")
    assert workspace.run_dir("dddd0000").path.is_dir()


async def test_many_marked_runs_are_named_up_to_ten_and_deleted_together(workspace: Workspace) -> None:
    for number in range(11):
        add(workspace, f"ffff{number:04d}", finished_journal(), name=f"many-{number}")
    async with opened(workspace) as (app, pilot):
        await pilot.press("slash", *"many", "enter")
        await until(pilot, lambda: len(app.screen.query_one(RunTable).runs.ordered) == 11)
        await pilot.press("a", "d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "these 11 runs" in screen_text(app)
        assert "… and 1 more" in screen_text(app)
        await pilot.press("y")
        await told(app, pilot, "11 runs: deleted")
        await until(pilot, lambda: len(app.snapshot.runs) == 6)
        assert not app.screen.query_one(RunTable).runs.marked


async def test_tags_of_several_runs_are_changed_together_and_others_stay(workspace: Workspace) -> None:
    with workspace.open_store() as store:
        set_tags(workspace, store, "aaaa0001", ["night", "own"])
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "aaaa0001", "space")
        await press_on(app, pilot, "aaaa0002", "space", "t")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert app.screen.query_one(Input).value == "night"
        app.screen.query_one(Input).value = "day, sunny"
        await pilot.press("enter")
        await told(app, pilot, "2 runs: day sunny")
    with workspace.open_store() as store:
        assert set(store.run("aaaa0001").tags) == {"own", "day", "sunny"}
        assert set(store.run("aaaa0002").tags) == {"day", "sunny"}


async def test_escape_leaves_tags_and_note_as_they_are(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        for key in ("t", "o"):
            await press_on(app, pilot, "aaaa0001", key)
            await until(pilot, lambda: isinstance(app.screen, Ask))
            app.screen.query_one(Input).value = "changed"
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(app.screen, Ask))
    with workspace.open_store() as store:
        row = store.run("aaaa0001")
        assert (list(row.tags), row.note) == (["night"], "")


async def test_a_note_is_kept_shown_again_and_removed(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "aaaa0001", "o")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one(Input).value = "the good one"
        await pilot.press("enter")
        await told(app, pilot, "unet-seed1: note saved")
        await press_on(app, pilot, "aaaa0001", "o")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert app.screen.query_one(Input).value == "the good one"
        app.screen.query_one(Input).value = ""
        await pilot.press("enter")
        await told(app, pilot, "unet-seed1: note removed")
    with workspace.open_store() as store:
        assert store.run("aaaa0001").note == ""


async def test_copy_id_and_folder_put_them_into_the_clipboard(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "aaaa0001", "y")
        assert app.clipboard == "aaaa0001"
        await press_on(app, pilot, "aaaa0001", "f")
        assert Path(app.clipboard) == workspace.run_dir("aaaa0001").path


async def test_rerun_and_compare_say_how_many_runs_they_need(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "aaaa0001", "c")
        assert "Mark two or more runs" in notices(app)[-1]
        await press_on(app, pilot, "aaaa0001", "space")
        await press_on(app, pilot, "aaaa0002", "space", "R")
        assert "Rerun takes one run" in notices(app)[-1]
        assert not isinstance(app.screen, LaunchScreen)


async def test_marked_runs_are_stopped_and_queued_again_together(
    workspace: Workspace, no_agent: list[Workspace]
) -> None:
    add(workspace, "eeee0000", None, name="waits too")
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "dddd0000", "space")
        await press_on(app, pilot, "eeee0000", "space", "s")
        await told(app, pilot, "2 runs: 2 left the queue")
        await until(pilot, lambda: app.snapshot.runs["eeee0000"].status == "stopped")
        await pilot.press("r")
        await told(app, pilot, "2 runs: queued")
    assert [status(workspace, run_id) for run_id in ("dddd0000", "eeee0000")] == ["queued", "queued"]


async def test_keys_without_any_run_say_so(empty_workspace: Workspace) -> None:
    async with opened(empty_workspace) as (app, pilot):
        await pilot.press("escape")
        for key in ("s", "r", "d", "t", "o", "y", "l", "p", "W"):
            await pilot.press(key)
            assert "No run is selected or marked" in notices(app)[-1], key


@pytest.mark.parametrize(("key", "words"), [("o", "a long thought"), ("t", "x")])
async def test_words_typed_while_the_database_is_locked_come_back_to_be_sent_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, key: str, words: str
) -> None:
    run_id = "aaaa0000"
    monkeypatch.setattr("seg_tui.stores.WAIT_SECONDS", 0.1)
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, run_id, key)
        await until(pilot, lambda: isinstance(app.screen, Ask), "the question")
        app.screen.query_one(Input).value = words
        with closing(sqlite3.connect(workspace.database, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            await pilot.press("enter")
            await until(
                pilot, lambda: isinstance(app.screen, Ask) and app.screen.query(".problem"), "given back"
            )
            assert app.screen.query_one(Input).value == words
            assert "another program has locked the database" in str(app.screen.query_one(".problem").render())
            holder.execute("ROLLBACK")
        ((draft, kept),) = app.drafts.items()
        assert kept == words
        # The same news while another screen is in the way: the words wait for their key.
        app.pop_screen()
        app.action_help()
        await until(pilot, lambda: isinstance(app.screen, HelpScreen), "the help")
        app.post_message(ActionEnded("locked", refused=True, draft=draft))
        await told(app, pilot, "what you typed is kept")
        await pilot.press("escape", key)
        await until(pilot, lambda: isinstance(app.screen, Ask), "the question once more")
        assert app.screen.query_one(Input).value == words
        await pilot.press("enter")
        await until(pilot, lambda: not app.drafts, "it is kept")
    with workspace.open_store() as store:
        row = store.run(run_id)
    assert words in (row.note, *row.tags)


async def test_what_was_typed_is_seen_above_a_refusal_of_many_lines(workspace: Workspace) -> None:
    async with opened(workspace, size=(80, 24)) as (app, pilot):
        refusal = "\n".join(f"key {place}: no such key" for place in range(30))
        await app.push_screen(Ask("seg-engine sweep", "KEY=VALUES", "optimizer.lr=0.1", refusal))
        await settled(pilot)
        assert "optimizer.lr=0.1" in screen_text(app)
        assert "key 0: " in screen_text(app)
        assert "KEY=VALUES" not in screen_text(app)
        await pilot.press(*["pagedown"] * 3)
        await settled(pilot)
        assert "KEY=VALUES" in screen_text(app)


@pytest.mark.parametrize("size", [(60, 15), (80, 24)], ids=["60x15", "80x24"])
async def test_what_is_chosen_is_in_sight_however_much_there_is(
    workspace: Workspace, size: tuple[int, int]
) -> None:
    names = [f"choice {place}" for place in range(30)]
    async with opened(workspace, size) as (app, pilot):
        for screen in (
            Pick("Sort by", [(name, name) for name in names]),
            Menu("Views", [("", name, name) for name in names]),
        ):
            await app.push_screen(screen)
            await pilot.press("end")
            await settled(pilot)
            assert "choice 29" in screen_text(app)
            await pilot.press("escape")


async def test_a_question_about_many_runs_is_scrolled_by_keys(workspace: Workspace) -> None:
    async with opened(workspace, size=(80, 24)) as (app, pilot):
        needed = ", ".join(f"run number {place}" for place in range(90))
        await app.push_screen(Confirm("Permanently delete this run?", ["aaaa0000"], needed))
        await settled(pilot)
        assert "run number 89" not in screen_text(app)
        await pilot.press("end")
        await settled(pilot)
        assert "run number 89" in screen_text(app)


async def test_opening_starts_no_agent_and_says_that_runs_wait_for_one(
    workspace: Workspace, no_agent: list[Workspace]
) -> None:
    app = SegTui(workspace)
    async with app.run_test(size=(140, 40)) as pilot:
        await until(pilot, lambda: app.snapshot.unattended == 1, "the run that waits")
        bar = app.screen.query_one(TitleBar)
        await until(
            pilot, lambda: "1 queued, no agent running: A starts one" in str(bar.render()), "the title"
        )
        assert no_agent == []
        await pilot.press("A")
        await told(app, pilot, "an agent was started")
    assert no_agent == [workspace]
    assert not (workspace.root / "agents").exists()


async def test_runs_that_an_agent_of_another_machine_holds_back_do_not_wait_for_nobody(
    workspace: Workspace, no_agent: list[Workspace]
) -> None:
    with workspace.open_store() as store:
        store.agents.say(AgentState(replace(identify(), host="elsewhere"), "quiet hours until 07:00"))
    app = SegTui(workspace)
    async with app.run_test(size=(140, 40)) as pilot:
        await until(pilot, lambda: app.snapshot.holding, "what the agent says")
        assert not app.snapshot.has_agent
        await settled(pilot)
        assert "1 queued · 6 runs" in screen_text(app)


async def test_runs_behind_a_stopped_one_wait_for_no_agent(workspace: Workspace) -> None:
    with workspace.open_store() as store:
        store.lifecycle.set_status("dddd0000", "stopped", "stopped")
    add(workspace, "dddd0001", None, after="dddd0000")
    app = SegTui(workspace)
    async with app.run_test(size=(140, 40)) as pilot:
        await until(pilot, lambda: not app.snapshot.has_agent, "a look for an agent")
        await settled(pilot)
        assert "1 queued · 7 runs" in screen_text(app)
        assert "queued" not in goes_on(app.snapshot)


async def test_what_is_queued_where_no_agent_can_be_started_is_told_to_be(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(workspace: Workspace) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(workspace.root / "agents"))

    monkeypatch.setattr("engine.agent.presence.ensure_agent", refused)
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "bbbb0000", "r")
        await told(app, pilot, "too-big: queued; resumes from the last checkpoint\nit waits for an agent")
        with workspace.open_store() as store:
            store.queue.set_place("dddd0000", paused=True)
        app.act(set_place, ["dddd0000"], None, False)
        await told(app, pilot, "lr-0.1: not paused any more\nit waits for an agent")
        (workspace.root / "demo-data").mkdir()
        demo = make_demo(workspace, app.store.get(), lambda done, total: None, lambda: False)
        assert status(workspace, demo) == "queued"


async def test_runs_that_are_gone_are_told_where_a_later_one_cannot_be_deleted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete(workspace: Workspace, store: Store, row: RunRow) -> None:
        if row.id == "aaaa0001":
            raise Refused(["aaaa0001: was started just now and is kept"])
        deleted(workspace, store, row)

    deleted = deleting.delete
    monkeypatch.setattr(deleting, "delete", delete)
    async with opened(workspace) as (app, pilot):
        app.act(actions.delete, ["aaaa0000", "aaaa0001", "aaaa0002"])
        await told(app, pilot, "1 of 3 runs: deleted; aaaa0001: was started just now and is kept")
    assert {path.name for path in workspace.runs.iterdir()} >= {"aaaa0001", "aaaa0002"}
    assert not (workspace.runs / "aaaa0000").exists()


async def test_the_menu_renames_moves_protects_and_archives_and_z_takes_it_back(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        for letter, words in (("r", "the good one"), ("m", "new")):
            await press_on(app, pilot, "aaaa0001", "x")
            await until(pilot, lambda: isinstance(app.screen, Menu), "the menu")
            await pilot.press(letter)
            await until(pilot, lambda: isinstance(app.screen, Ask), "the question")
            app.screen.query_one(Input).value = words
            await pilot.press("enter")
            await told(app, pilot, words)
        await press_on(app, pilot, "aaaa0001", "space", "x", "k")
        await told(app, pilot, "the good one: protected from deletion; z undoes it")
        await until(pilot, lambda: app.snapshot.runs["aaaa0001"].protected)
        await pilot.press("d")
        await told(app, pilot, "aaaa0001: is protected")
        await press_on(app, pilot, "aaaa0002", "space", "x", "a")
        await until(pilot, lambda: len(app.screen.query_one(RunTable).runs.ordered) == 4, "both are hidden")
        assert "2 archived" in str(app.screen.query_one(TitleBar).render())
        await pilot.press("x", "h")
        await until(pilot, lambda: len(app.screen.query_one(RunTable).runs.ordered) == 6, "shown when asked")
        for undone in ("archive of 2 runs", "protection of the good one", "experiment of the", "name of"):
            await pilot.press("z")
            await told(app, pilot, f"undone: {undone}")
        await pilot.press("z")
        await told(app, pilot, "there is nothing to undo")
    with workspace.open_store() as store:
        row = store.run("aaaa0001")
    assert (row.name, row.experiment, row.archived, row.protected) == ("unet-seed1", "paper", False, False)


async def test_commands_of_the_engine_are_asked_for_in_its_words_and_what_was_typed_comes_back(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        asked.append(command[command.index("--workspace") + 2 :])
        if "aaaa0002" in command:
            return subprocess.CompletedProcess(command, 2, "", "error: data.root: no such folder\n")
        told = '{"event":"queued","run":"ffff0000","name":"unet-seed1-val-input"}\n'
        return subprocess.CompletedProcess(command, 0, told, "")

    monkeypatch.setattr("seg_tui.commands.subprocess.run", run)
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "aaaa0001", "space")
        await press_on(app, pilot, "aaaa0002", "space", "x", "e")
        await until(pilot, lambda: isinstance(app.screen, Ask), "the question")
        app.screen.query_one(Input).value = "--split val --at input"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.query(".problem"), "given back")
        problem = str(app.screen.query_one(".problem").render())
        assert "1 of 2 runs: queued; aaaa0002: data.root: no such folder" in problem
        assert app.screen.query_one(Input).value == "--split val --at input"
        assert list(app.drafts) == [("evaluate", ("aaaa0002",))], (
            "only the run that is left is asked for again"
        )
    assert asked[0] == ["evaluate", "aaaa0001", "--split", "val", "--at", "input", "--queue", "--json"]


async def test_each_command_in_the_menu_gets_the_run_and_what_was_typed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        asked.append(command[command.index("--workspace") + 2 :])
        told = f'{{"event":"queued","run":"ffff0000","name":"queued by {asked[-1][0]}"}}\n'
        noted = "agent 7 starts them\nnote: the data has its own classes\n"
        return subprocess.CompletedProcess(command, 0, told, noted)

    monkeypatch.setattr("seg_tui.commands.subprocess.run", run)
    async with opened(workspace) as (app, pilot):
        for letter, name, usual, typed in (
            ("o", "ood", "--pseudo void", "--ood-data '~/far away'"),
            ("b", "robustness", "--split val", "--split test"),
            ("i", "predict", "", "a.png --out predicted"),
            ("w", "sweep", "", "optimizer.lr=0.1,0.01 --yes"),
        ):
            await press_on(app, pilot, "aaaa0001", "x")
            await until(pilot, lambda: isinstance(app.screen, Menu), "the menu")
            await pilot.press(letter)
            await until(pilot, lambda: isinstance(app.screen, Ask), "the question")
            assert f"seg-engine {name}" in screen_text(app)
            assert app.screen.query_one(Input).value == usual
            app.screen.query_one(Input).value = typed
            await pilot.press("enter")
            await told(app, pilot, f"queued: queued by {name}\nnote: the data has its own classes")
    assert asked == [
        ["ood", "aaaa0001", "--ood-data", str(Path("~/far away").expanduser()), "--queue", "--json"],
        ["robustness", "aaaa0001", "--split", "test", "--queue", "--json"],
        ["predict", "aaaa0001", "a.png", "--out", "predicted", "--queue", "--json"],
        ["sweep", "aaaa0001", "optimizer.lr=0.1,0.01", "--yes", "--json"],
    ]


async def test_commands_from_the_menu_know_the_plugins_of_the_dashboard(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.plugins._plugins", {})
    plugin = tmp_path / "own.py"
    plugin.write_text("# it brings nothing\n")
    load_plugin(plugin)
    asked: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        asked.append(command[command.index("--workspace") + 2 :])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("seg_tui.commands.subprocess.run", run)
    with workspace.open_store() as store:
        ask_engine(workspace, store, ["aaaa0001"], "sweep", "model.name=own seed=1,2")
    assert asked == [
        ["--plugin", str(plugin), "sweep", "aaaa0001", "model.name=own", "seed=1,2", "--json"],
    ]


async def test_of_marked_runs_those_that_wait_get_the_priority(
    workspace: Workspace, no_agent: list[Workspace]
) -> None:
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "aaaa0001", "space")
        await press_on(app, pilot, "dddd0000", "space", "x")
        await until(pilot, lambda: isinstance(app.screen, Menu), "the menu")
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, Ask), "the question")
        app.screen.query_one(Input).value = "5"
        await pilot.press("enter")
        await told(app, pilot, "lr-0.1: priority 5")
    with workspace.open_store() as store:
        assert store.run("dddd0000").priority == 5


async def test_of_marked_runs_those_that_have_ended_are_archived(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "cccc0000", "a", "x")
        await until(pilot, lambda: isinstance(app.screen, Menu), "the menu")
        await pilot.press("a")
        await told(app, pilot, "4 runs: archived, which hides it; z undoes it")
        left = {"cccc0000", "dddd0000"}
        await until(pilot, lambda: {run.id for run in app.snapshot.runs.values() if not run.archived} == left)


async def test_the_menu_pauses_continues_and_reprioritises_what_waits(
    workspace: Workspace, no_agent: list[Workspace]
) -> None:
    async with opened(workspace) as (app, pilot):
        for letter, words, paused in (("p", "paused; it keeps its place", True), ("c", "not paused", False)):
            await press_on(app, pilot, "dddd0000", "x")
            await until(pilot, lambda: isinstance(app.screen, Menu), "the menu")
            await pilot.press(letter)
            await told(app, pilot, f"lr-0.1: {words}")
            await until(pilot, lambda: app.snapshot.runs["dddd0000"].paused is paused, words)  # noqa: B023
        assert no_agent == [workspace], "what may start again wants an agent"
        await press_on(app, pilot, "dddd0000", "x", "y")
        await until(pilot, lambda: isinstance(app.screen, Ask), "the question")
        assert app.screen.query_one(Input).value == "0"
        for typed, problem in (
            ("high", "'high' is no whole number"),
            ("9999999999", "9999999999 is not allowed"),
        ):
            app.screen.query_one(Input).value = typed
            await pilot.press("enter")
            await until(pilot, lambda: problem in screen_text(app), problem)  # noqa: B023
            assert app.screen.query_one(Input).value == typed, "it can be edited"
        app.screen.query_one(Input).value = "5"
        await pilot.press("enter")
        await told(app, pilot, "lr-0.1: priority 5")
    with workspace.open_store() as store:
        assert (store.run("dddd0000").priority, store.run("dddd0000").paused) == (5, False)


async def test_what_takes_longer_than_a_moment_turns_a_spinner(workspace: Workspace) -> None:
    may_end = threading.Event()

    def slow(*_: object) -> str:
        may_end.wait(60)
        return "it is done"

    app = SegTui(workspace, look_after=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.snapshot.at > 0)
        bar = app.screen.query_one(TitleBar)
        app.act(slow)
        await until(pilot, lambda: any(turn in str(bar.render()) for turn in SPINNER), "the spinner")
        may_end.set()
        await until(pilot, lambda: not any(turn in str(bar.render()) for turn in SPINNER), "its end")
        await told(app, pilot, "it is done")


async def test_a_run_that_ends_is_told_once_with_bell_and_notification(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(SegTui, "ring", lambda app, sequences: rung.append(sequences))
    async with opened(workspace) as (app, pilot):
        with workspace.open_store() as store:
            store.lifecycle.set_status("cccc0000", "failed", "diverged", "the loss became nan")
            dice = store.run("cccc0000").best_dice
        told_as = f"lr-0.01 failed (diverged): best Dice {dice:.4f} @ 12"
        await told(app, pilot, told_as)
        changed = app.snapshot.runs["cccc0000"].changed
        with workspace.open_store() as store:
            store.lifecycle.update_card("cccc0000", note="why?")
        await until(pilot, lambda: app.snapshot.runs["cccc0000"].changed > changed)
    (sequences,) = rung
    assert sequences.startswith("\x07\x1b]")
    assert told_as in sequences


async def test_a_run_that_begins_and_ends_between_two_looks_is_told_and_one_that_leaves_the_queue_is_not(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(SegTui, "ring", lambda app, sequences: rung.append(sequences))
    add(workspace, "dddd0001", None, name="not wanted")
    async with opened(workspace) as (app, pilot):
        now = dict(app.snapshot.runs)
        now["dddd0000"] = now["dddd0000"]._replace(status="failed", cause="exception", attempt=1)
        now["dddd0001"] = now["dddd0001"]._replace(status="stopped", cause="stopped")
        app.post_message(SnapshotTaken(replace(app.snapshot, runs=now)))
        await told(app, pilot, "lr-0.1 failed (exception)")
    assert len(rung) == 1
    assert not any("not wanted" in line for line in notices(app))


async def test_words_for_a_run_that_is_gone_are_refused_and_told_at_the_end(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        for key, words in (("t", "night"), ("o", "a thought")):
            run_id = {"t": "aaaa0000", "o": "aaaa0001"}[key]
            await press_on(app, pilot, run_id, key)
            await until(pilot, lambda: isinstance(app.screen, Ask), "the question")
            with workspace.open_store() as store:
                store.lifecycle.delete(run_id)
            app.live.nudge()
            await until(pilot, lambda run_id=run_id: run_id not in app.snapshot.runs, "the news")
            app.screen.query_one(Input).value = words
            await pilot.press("enter")
            await told(app, pilot, run_id)
            assert not isinstance(app.screen, Ask), "there is nothing to ask for"
        assert app.drafts == {("tag", ("aaaa0000",)): "night", ("note", ("aaaa0001",)): "a thought"}


async def test_what_is_done_when_the_dashboard_was_left_is_told_at_the_end(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow(workspace: Workspace, store: Store) -> str:
        begun.set()
        may_end.wait(30)
        raise StoreError("aaaa0000: has no checkpoint")

    async def leave(pilot: Pilot[None]) -> None:
        app.act(slow, draft=draft)
        await until(pilot, begun.is_set, "the action")
        app.exit()

    app = make_app(workspace)
    draft = ("evaluate", ("aaaa0000",))
    app.drafts[draft] = "--split val"
    await app.run_async(headless=True, auto_pilot=leave)
    assert "what was asked for last is being finished" in capsys.readouterr().err
    may_end.set()
    await asyncio.get_running_loop().shutdown_default_executor()  # as the end of `run` does
    monkeypatch.setattr(app, "run", lambda: None)
    monkeypatch.setattr("seg_tui.program.open_dashboard", lambda workspace, demo: app)
    monkeypatch.setattr("sys.argv", ["seg-tui", str(workspace.root)])
    main()
    told = ["aaaa0000: has no checkpoint", "the evaluate of aaaa0000 was not done: '--split val'"]
    assert capsys.readouterr().err.splitlines()[:2] == told


async def test_words_typed_while_older_ones_are_kept_are_not_forgotten(
    workspace: Workspace,
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def slow(workspace: Workspace, store: Store) -> str:
        begun.set()
        goes_on.wait(30)
        return "kept"

    async with opened(workspace) as (app, pilot):
        draft = ("note", ("aaaa0000",))
        app.drafts[draft] = "older"
        app.act(slow, draft=draft)
        await until(pilot, begun.is_set, "the action")
        app.drafts[draft] = "newer"
        goes_on.set()
        await told(app, pilot, "kept")
        assert app.drafts == {draft: "newer"}


async def test_what_was_changed_before_a_change_broke_off_is_undone(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: list[str] = []

    def breaks_off(workspace: Workspace, store: Store, run_id: str, tags: tuple[str, ...]) -> bool:
        if changed and "x" in tags:
            raise StoreError("the disk is full")
        changed.append(run_id)
        return set_tags(workspace, store, run_id, tags)

    monkeypatch.setattr("engine.requests.lifecycle.set_tags", breaks_off)
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "aaaa0000", "space")
        await press_on(app, pilot, "aaaa0001", "space", "t", "x", "enter")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.query(".problem"), "it is back")
        problem = str(app.screen.query_one(".problem").render())
        assert "1 of 2 runs: x; aaaa000" in problem
        assert "the disk is full; z undoes it" in problem
        await pilot.press("escape", "z")
        await told(app, pilot, "undone: tags of 1 of 2 runs")
    with workspace.open_store() as store:
        assert [store.run(run_id).tags for run_id in ("aaaa0000", "aaaa0001")] == [(), ("night",)]


async def test_tags_that_come_back_for_some_of_the_runs_take_no_others_away(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both runs share no tag, so none of theirs stood in the question."""
    refused: list[str] = []

    def once_refused(workspace: Workspace, store: Store, run_id: str, tags: tuple[str, ...]) -> bool:
        if run_id == "aaaa0002" and not refused:
            refused.append(run_id)
            raise StoreError("the disk is full")
        return set_tags(workspace, store, run_id, tags)

    monkeypatch.setattr("engine.requests.lifecycle.set_tags", once_refused)
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "aaaa0000", "space")
        await press_on(app, pilot, "aaaa0002", "space", "t", "x", "enter")
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.query(".problem"), "it is back")
        assert "Tags of unet-seed2" in screen_text(app)
        await pilot.press("enter")
        await told(app, pilot, "unet-seed2: x")
    with workspace.open_store() as store:
        assert [store.run(run_id).tags for run_id in ("aaaa0000", "aaaa0002")] == [("x",), ("night", "x")]


async def test_changes_are_undone_one_after_the_other_however_fast_the_keys_come(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(workspace: Workspace, store: Store, run_id: str, note: str) -> bool:
        time.sleep(0.3 if note == "one" else 0.0)
        return set_note(workspace, store, run_id, note)

    async with opened(workspace) as (app, pilot):
        for note in ("one", "two"):
            app.act(changes.set_note, ["aaaa0000"], note)
            await settled(pilot)
        monkeypatch.setattr("engine.requests.lifecycle.set_note", slow)
        type_at_once(app, "zz")
        await until(pilot, lambda: sum("undone: note" in line for line in notices(app)) == 2, "both")
        assert not any("since" in line for line in notices(app))
        with workspace.open_store() as store:
            assert store.run("aaaa0000").note == ""
            app.act(changes.set_note, ["aaaa0000"], "three")
            await settled(pilot)
            store.lifecycle.update_card("aaaa0000", note="somebody else's")
        await pilot.press("z")
        await told(app, pilot, "not undone: note of unet-seed0; it changed since")


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_note_that_is_read_late_gets_what_was_typed_for_it_unless_escape_is_pressed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    async with opened(workspace) as (app, pilot):
        read, goes_on = app.store.get, threading.Event()

        def slow(make: bool = False) -> Store:
            goes_on.wait(30)
            return read(make)

        monkeypatch.setattr(app.store, "get", slow)
        await press_on(app, pilot, "aaaa0000", "o", "t")
        if leaves:
            await pilot.press("escape")
        goes_on.set()
        await settled(pilot)
        await pilot.press("t", *"ab")
        await until(pilot, lambda: isinstance(app.screen, Ask), "the question")
        assert ("Tags of" in screen_text(app)) is leaves
        assert app.screen.query_one(Input).value == ("ab" if leaves else "ttab")


async def test_keys_for_one_run_or_few_say_so_when_more_are_marked(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seg_tui.acting.MOST_COMPARED", 2)
    async with opened(workspace) as (app, pilot):
        await pilot.press("a")
        for key, line in (
            ("l", "log is of one run"),
            ("f", "folder is of one run"),
            ("p", "at most 2 can be"),
        ):
            await pilot.press(key)
            assert line in notices(app)[-1]
        assert len(app.screen_stack) == 2, "nothing has opened"


@pytest.mark.parametrize(("keys", "twice"), [("x", "m"), ("S", "enter"), ("d", "y"), ("t", "enter")])
async def test_an_answer_that_is_pressed_twice_takes_no_other_screen_away(
    workspace: Workspace, keys: str, twice: str
) -> None:
    async with opened(workspace) as (app, pilot):
        await press_on(app, pilot, "aaaa0000", keys)
        await until(pilot, lambda: len(app.screen_stack) == 3, "the question")
        dashboard = app.screen_stack[1]
        for _ in range(2):  # both before the first is answered
            app.post_message(Key(twice, twice if len(twice) == 1 else None))
        await settled(pilot)
        assert app.screen_stack[1] is dashboard
        assert isinstance(app.screen, Ask) is (keys == "x")
