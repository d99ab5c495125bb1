"""The dashboard, driven by keys: what is shown, what stays where it is, and what happens to runs."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev

import pytest
from rich.cells import cell_len
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.widgets import Input

from engine.host.load import Gpu, Load, LoadReader
from engine.host.occupancy import DeviceState
from engine.host.processes import identify
from engine.report.waiting import in_line, waits_of, why_it_waits
from engine.requests.views import View, find_view, named_views
from engine.store import AgentState, StoreError
from engine.store.results import Results
from engine.workspace import Workspace
from seg_tui.live import Live
from seg_tui.run_order import Line, Order
from seg_tui.screens.dashboard import Dashboard
from seg_tui.screens.dialogs import Menu
from seg_tui.widgets.bars import title_text
from seg_tui.widgets.meters import held_by, load_text
from seg_tui.widgets.run_lines import run_cells
from seg_tui.widgets.run_pane import RunPane
from seg_tui.widgets.run_table import RunTable
from tests.engine.made_up_runs import finished_journal
from tests.tui.conftest import (
    WAIT_SECONDS,
    make_app,
    notices,
    opened,
    run_lines,
    screen_text,
    settled,
    type_at_once,
    until,
)
from tests.tui.made_up_workspace import NOW, add, learning_journal


def names(table: RunTable) -> list[str]:
    return [
        line.run.name if line.run else line.group.label for line in table.runs.lines if line.run or line.group
    ]


@pytest.mark.asyncio
async def test_running_and_waiting_runs_come_first_then_the_best(workspace: Workspace) -> None:
    async with opened(workspace) as (app, _):
        assert isinstance(app.screen, Dashboard)
        assert names(app.screen.table)[:2] == ["lr-0.01", "lr-0.1"]
        assert names(app.screen.table)[2:] == ["unet-seed1", "unet-seed0", "unet-seed2", "too-big"]
        text = screen_text(app)
        assert "0.3589 @  12" in text
        assert "failed: memory" in text
        assert "1 running · 1 queued · 6 runs" in text


@pytest.mark.asyncio
async def test_the_start_styles_the_dashboard_anew_no_more_often_than_textual(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Textual styles a screen anew when it comes up. A class of the dashboard that changes meanwhile would do
    so again, which takes a tenth of the start."""
    styled: Counter[str] = Counter()
    usual = Stylesheet.update_nodes

    def noting(sheet: Stylesheet, nodes: Iterable[DOMNode], animate: bool = False) -> None:
        noted = list(nodes)
        styled.update(node.id for node in noted if node.id in ("empty", "filter-label"))
        usual(sheet, noted, animate=animate)

    monkeypatch.setattr(Stylesheet, "update_nodes", noting)
    async with opened(workspace, (120, 40)) as (app, _):
        assert "0.3589 @  12" in screen_text(app)
    assert styled == {"empty": 1, "filter-label": 1}


@pytest.mark.asyncio
async def test_what_was_read_by_the_first_frame_is_in_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_at_once(live: Live) -> None:
        monkeypatch.setattr(live, "_post", lambda message: None)
        live._look()

    monkeypatch.setattr(Live, "start", read_at_once)
    app = make_app(workspace)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert "0.3589 @  12" in screen_text(app)


@pytest.mark.asyncio
async def test_trials_have_their_number_what_became_of_them_and_the_best_so_far(workspace: Workspace) -> None:
    async with opened(workspace) as (app, _):
        assert "trial" not in app.screen.query_one(RunTable).columns.titles
    for number, tags in enumerate((("best",), (), ("pruned",))):
        run_id = f"ffff000{number}"
        about = {"name": f"tune trial {number}", "experiment": "tune", "tags": tags, "trial": number}
        add(workspace, run_id, finished_journal(), {"batch_size": number + 1}, **about)
    async with opened(workspace, (120, 40)) as (app, pilot):
        lines = screen_text(app)
        assert re.search(r"tune trial 0 +0 best", lines)
        assert re.search(r"tune trial 1 +1 ", lines)
        assert re.search(r"tune trial 2 +2 pruned", lines)
        app.screen.query_one(RunTable).put_cursor("ffff0002")
        said = "trial 2 of tune; best so far: 0 (best"
        await until(pilot, lambda: said in screen_text(app), "the best trial so far")


@pytest.mark.asyncio
async def test_a_line_tells_a_run_from_its_siblings_how_it_learned_and_when_it_may_begin(
    workspace: Workspace,
) -> None:
    for number, size in enumerate((8, 16)):
        journal = finished_journal()
        add(
            workspace,
            f"ffff000{number}",
            journal,
            {"batch_size": size},
            name="ab"[number],
            experiment="sizes",
        )
    add(workspace, "gggg0000", name="behind", experiment="paper", after="cccc0000", created=NOW - 50)
    async with opened(workspace, (200, 60)) as (app, pilot):
        await until(pilot, lambda: "batch_size=8" in screen_text(app), "what was read of the visible lines")
        lines = {name: line for line in run_lines(app) for name in line.split()[1:4]}
        assert "differs in" in screen_text(app)
        assert "batch_size=16" in lines["b"]
        assert "seed=2" in lines["unet-seed2"]
        assert "quick" not in lines["unet-seed2"]
        assert re.search("▁[▂-█]{7} +6m33s", lines["unet-seed1"]), "its curve and what it took"
        assert "1m00s" in lines["lr-0.01"], "what is left"
        assert "running 41%" in lines["lr-0.01"], "how far it is, also where there is no room for the bar"
        assert "queued #1" in lines["lr-0.1"]
        assert "in ~1m00s" in lines["lr-0.1"]
        assert "after lr-0.01" in lines["behind"]
        runs, here = app.snapshot.runs, app.snapshot.workspace
        assert waits_of(runs, here, has_agent=False)["dddd0000"].brief == "no agent"
        closed = [AgentState(identify(), "quiet hours until 07:00")]
        assert waits_of(runs, here, True, closed)["dddd0000"].brief == "quiet hours until 07:00"
        hour = waits_of(runs, here, typical=lambda run: 3600.0)
        assert [hour[run_id].seconds for run_id in ("dddd0000", "gggg0000")] == [60.0, 3660.0]


@pytest.mark.asyncio
async def test_where_what_differs_is_cut_the_seed_is_still_seen(workspace: Workspace) -> None:
    classes = "all-that-is-seen-in-the-streets-of-all-the-towns-that-were-driven-through.toml"
    for number in range(4):
        add(
            workspace,
            f"ffff000{number}",
            finished_journal(),
            {"data.classes": classes if number < 2 else "cityscapes", "seed": number % 2},
            name="abcd"[number],
            experiment="labels",
        )
    async with opened(workspace, (80, 24)) as (app, pilot):
        await until(pilot, lambda: "seed=1" in screen_text(app), "what was read of the visible lines")
        lines = {name: line for line in run_lines(app) for name in line.split()[1:4]}
        assert re.search(r" \S+… seed=0 ", lines["a"])
        assert re.search(r" \S+… seed=1 ", lines["b"])


@pytest.mark.asyncio
async def test_the_cursor_stays_on_its_run_while_others_come_go_and_change_places(
    workspace: Workspace,
) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        table.put_cursor("aaaa0000")
        at = table.runs.lines.index(table.runs.cursor_line)

        add(workspace, "eeee0000", finished_journal(), name="newcomer")
        with workspace.open_store() as store:
            store.lifecycle.delete("aaaa0001")
        app.live.nudge()
        await until(pilot, lambda: "eeee0000" in app.snapshot.runs and "aaaa0001" not in app.snapshot.runs)
        assert table.runs.cursor_run.id == "aaaa0000"

        await pilot.press("i")
        assert table.runs.cursor_run.id == "aaaa0000"
        assert table.runs.lines.index(table.runs.cursor_line) != at


@pytest.mark.asyncio
async def test_only_when_its_own_run_is_gone_the_cursor_goes_to_the_neighbour(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        table.put_cursor("aaaa0000")
        with workspace.open_store() as store:
            store.lifecycle.delete("aaaa0000")
        app.live.nudge()
        await until(pilot, lambda: "aaaa0000" not in app.snapshot.runs)
        assert table.runs.cursor_run.id == "aaaa0002"


@pytest.mark.asyncio
async def test_a_filter_narrows_the_table_and_says_how_far(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        table.put_cursor("aaaa0002")
        await pilot.press("slash", *"tag:night dice>0.6")
        await until(pilot, lambda: len(table.runs.ordered) == 1)
        await settled(pilot)
        assert names(table) == ["unet-seed1"]
        assert "1 of 6 runs" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: len(table.runs.ordered) == 6)
        assert table.runs.cursor_run.id == "aaaa0002"
        await pilot.press("slash", *"evaluation.every=1")
        await until(pilot, lambda: "evaluation.every is now" in screen_text(app))


@pytest.mark.asyncio
async def test_what_is_wrong_with_a_filter_is_told_in_full_and_moves_nothing(workspace: Workspace) -> None:
    async with opened(workspace, (80, 24)) as (app, pilot):
        table = app.screen.query_one(RunTable)
        await pilot.press("slash")
        await settled(pilot)
        place = table.region
        await pilot.press(*"dicce>0.6")
        await until(pilot, lambda: "nor a config key; did you mean dice?" in screen_text(app))
        assert table.region == place
        await pilot.press("enter")
        await until(pilot, lambda: table.has_focus)
        assert table.region == place
        assert "status" in run_lines(app)[1], "nothing lies over the table any more"
        assert "dicce: is neither a field of a run" in screen_text(app)


@pytest.mark.asyncio
async def test_columns_are_chosen_sorted_by_and_kept_as_a_view(workspace: Workspace, tmp_path: Path) -> None:
    async with opened(workspace, (160, 50)) as (app, pilot):
        table = app.screen.table
        await pilot.press("f4", *"name optimizer.lrr", "enter")
        await until(pilot, lambda: "did you mean optimizer.lr?" in screen_text(app))
        await pilot.press("end", "backspace", *" best dice.road duration tags", "enter")
        await until(pilot, lambda: "night" in screen_text(app), "the values of the columns")
        head, *lines = run_lines(app)
        assert head.split()[:3] == ["name", "optimizer.lr", "best"]
        line = next(line for line in lines if " unet-seed1 " in line)
        assert line.split()[1] == "0.001"
        assert "6m33s" in line
        table.change(lambda runs: runs.sort_by("optimizer.lr"))
        await pilot.press("slash", *"not status=failed or tag:night", "enter", "g")
        await until(pilot, lambda: len(table.runs.ordered) == 5)
        shown = [run.name for run in table.runs.ordered]
        await pilot.press("f3", "s", *"by rate", "enter")
        await until(pilot, lambda: isinstance(app.screen, Dashboard))
        await pilot.press("f3", "u")
        await until(pilot, lambda: len(table.runs.ordered) == 6)
        assert not table.runs.grouping
    kept = tmp_path / "config" / "seg-engine" / "views" / "by rate.toml"
    view = find_view(workspace, "by rate")
    assert view == View(
        ("name", "optimizer.lr", "best", "dice.road", "duration", "tags"),
        "not status=failed or tag:night",
        "optimizer.lr",
        "experiment",
    )
    shared = workspace.root / "views"
    shared.mkdir()
    kept.rename(shared / "default.toml")
    async with opened(workspace, (120, 40)) as (app, pilot):
        table = app.screen.table
        await until(pilot, lambda: [run.name for run in table.runs.ordered] == shown, "the default view")
        assert "view default" in screen_text(app)
        (shared / "wrong.toml").write_text('sort = "dcie"')
        await pilot.press("f3")
        await until(pilot, lambda: "did you mean dice?" in screen_text(app), "what is wrong with the other")


@pytest.mark.asyncio
async def test_a_query_that_is_typed_at_once_is_no_keys_of_the_table(workspace: Workspace) -> None:
    async with opened(workspace, (120, 40)) as (app, pilot):
        type_at_once(app, "/status=queued")
        await until(pilot, lambda: "1 of 6 runs" in screen_text(app), "the query")
        assert app.screen.filter.query_text == "status=queued"
        await pilot.press("/")
        assert app.screen.filter.query_text == "status=queued/", "there it is a letter"
    with workspace.open_store() as store:
        assert store.run("cccc0000").status == "running", "s has stopped nothing"


@pytest.mark.asyncio
async def test_chosen_columns_without_room_are_named(workspace: Workspace) -> None:
    async with opened(workspace, (120, 40)) as (app, pilot):
        table = app.screen.table
        await pilot.press("f4", *"status name optimizer.lr optimizer.name best seed duration", "enter")
        await until(pilot, lambda: notices(app), "the notice")
        assert notices(app) == ["no room here for seed, duration; V hides the side pane"]
        assert table.columns.left_out == ("seed", "duration")
        await pilot.press("V")
        await settled(pilot)
        assert table.columns.left_out == ()


@pytest.mark.asyncio
async def test_the_statuses_of_a_group_are_cut_at_a_word(workspace: Workspace) -> None:
    async with opened(workspace, (80, 24)) as (app, pilot):
        await pilot.press("g")
        await settled(pilot)
        line = next(line for line in run_lines(app) if "▾ lr" in line)
        assert line.split("▾")[0].strip() == "1 running of 2"
    async with opened(workspace, (160, 40)) as (app, pilot):
        await pilot.press("g")
        await settled(pilot)
        assert "1 running, 1 queued" in screen_text(app)


@pytest.mark.asyncio
async def test_a_seed_that_was_run_again_counts_once_in_its_group(workspace: Workspace) -> None:
    again, stopped = learning_journal(0.9, seed=4), learning_journal(0.1, seed=5)
    again.finish(30)
    add(workspace, "eeee0000", again, {"seed": 2}, name="unet-seed2-again", experiment="paper")
    add(workspace, "eeee0001", stopped, {"seed": 2}, "stopped", name="unet-seed2-try", experiment="paper")
    async with opened(workspace, (160, 40)) as (app, pilot):
        await pilot.press("g")
        await settled(pilot)
        best = {run.name: run.best_dice for run in app.snapshot.runs.values()}
        twice = (best["unet-seed2"] + best["unet-seed2-again"]) / 2
        seeds = [best["unet-seed0"], best["unet-seed1"], twice]
        line = next(line for line in run_lines(app) if "▾ paper" in line)
        assert f"{mean(seeds):.4f} ± {stdev(seeds):.4f}" in line
        assert "n = 3" in line
        assert "(n=" not in line


@pytest.mark.asyncio
async def test_a_config_that_is_longer_than_the_pane_says_so(workspace: Workspace) -> None:
    async with opened(workspace, (80, 24)) as (app, pilot):
        await pilot.press("v", "v", "v")
        await settled(pilot)
        lines = screen_text(app).splitlines()
        assert any(line.split() == ["recipe", "quick"] for line in lines)
        assert any("more: enter opens the run" in line for line in lines)


@pytest.mark.asyncio
async def test_the_head_points_in_the_direction_of_the_order(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        assert "best Dice @ epoch▼" in screen_text(app)
        await pilot.press("i")
        await settled(pilot)
        assert "best Dice @ epoch▲" in screen_text(app)


@pytest.mark.parametrize(
    ("width", "right", "line"),
    [
        (34, "6 runs", "seg-tui /home/me/paper      6 runs"),
        (24, "6 runs", "seg-tui …e/paper  6 runs"),
        (24, "9 marked · 1 running · 6 runs", "seg-tui 9 marked · 1 ru…"),
    ],
)
def test_the_title_is_cut_with_a_sign_and_ends_at_the_edge(width: int, right: str, line: str) -> None:
    assert title_text("/home/me/paper", right, width).plain == line


SWEEP = [(lr, seed) for lr in ("0.01", "0.1", "0.001") for seed in (0, 1, 2)]


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_runs_of_a_sweep_are_told_apart_at_every_width(
    workspace: Workspace, size: tuple[int, int]
) -> None:
    for number, (lr, seed) in enumerate(SWEEP):
        name = f"cityscapes-unet lr={lr} seed={seed} batch_size=64"
        add(workspace, f"eeee000{number}", finished_journal(), name=name, experiment="a long experiment")
    async with opened(workspace, size) as (app, _):
        table = app.screen.query_one(RunTable)
        lines = {line.key: line for line in table.runs.lines}
        names = {run_cell(table, lines[f"eeee000{number}"], "name") for number in range(len(SWEEP))}
        assert len(names) == len(SWEEP)
        failed = {run_cell(table, line, "status") for line in table.runs.lines if line.run.status == "failed"}
        assert failed <= {"failed: out_of_memory", "failed: memory"}, "the cause is a whole word"
        assert failed
        if size[0] == 200:
            assert "cityscapes-unet lr=0.01 seed=2 batch_size=64" in screen_text(app)
            assert "failed: out_of_memory" in screen_text(app)


def run_cell(table: RunTable, line: Line, key: str) -> str:
    """What the table shows of a run in a column, as wide as that is."""
    cells = run_cells(line, table.columns.widths, table.columns.seen, table.columns._names)
    (text, width) = next(
        (cell[0], width)
        for cell, (column, width) in zip(cells, table.columns.widths, strict=True)
        if column.key == key
    )
    assert cell_len(text) <= width
    return text


@pytest.mark.asyncio
async def test_waiting_runs_stand_in_the_order_in_which_they_start(empty_workspace: Workspace) -> None:
    workspace = empty_workspace
    for number, name in enumerate(("first", "second", "urgent", "held", "behind-second")):
        add(workspace, f"aaaa000{number}", name=name, created=NOW - 100 + number)
    with workspace.open_store() as store:
        store.queue.set_place("aaaa0002", priority=5)
        store.queue.set_place("aaaa0003", paused=True, priority=9)
        waiting = [row.name for row in store.queue.waiting() if not row.paused]
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        assert names(table) == ["urgent", "first", "second", "behind-second", "held"]
        assert names(table)[:-1] == waiting
        line = next(line for line in screen_text(app).splitlines() if "behind-second" in line)
        assert "queued #4" in line
        with workspace.open_store() as store:
            store.queue.set_place("aaaa0001", priority=7)
        app.live.nudge()
        await until(pilot, lambda: names(table)[0] == "second")


def test_a_run_starts_behind_the_one_that_it_comes_after(empty_workspace: Workspace) -> None:
    for number, after in enumerate(("aaaa0002", "", "", "aaaa0000")):
        add(empty_workspace, f"aaaa000{number}", name=str(number), created=NOW - 100 + number, after=after)
    with empty_workspace.open_store() as store:
        line = in_line(store.changes().runs)
    assert [run.name for run in line] == ["1", "2", "0", "3"]


@pytest.mark.asyncio
async def test_the_pane_says_why_a_run_waits(workspace: Workspace) -> None:
    add(workspace, "eeee0000", name="later", after="cccc0000", created=NOW - 50)
    add(workspace, "eeee0001", name="held", created=NOW - 40)
    with workspace.open_store() as store:
        store.queue.set_place("eeee0001", paused=True)
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        for run_id, why in (
            ("eeee0000", "waits for lr-0.01 (cccc0000): running"),
            ("eeee0001", "paused: `seg-engine queue unpause"),
            ("dddd0000", "no agent is running on this machine"),
        ):
            table.put_cursor(run_id)
            await until(pilot, lambda why=why: why in screen_text(app), why)
    with workspace.open_store() as store:
        runs = {run.id: run for run in store.changes().runs}
        why = why_it_waits(store.run("dddd0000"), runs, store.workspace, has_agent=True)
        assert why == "place 1 of 2 in line, cpu is busy with lr-0.01; may begin in about 1m00s"
        taken = (
            DeviceState("cuda:0", "61.2 of 80 GiB held by anna (python, pid 4711)"),
            DeviceState("cpu", "x"),
        )
        for state, cause in (
            (AgentState(identify(), devices=taken), f"cpu is busy with lr-0.01; {taken[0]}; {taken[1]}"),
            (
                AgentState(identify(), "quiet hours until 07:00"),
                "cpu is busy with lr-0.01; quiet hours until 07:00",
            ),
        ):
            row = store.run("dddd0000")
            why = why_it_waits(row, runs, store.workspace, has_agent=True, holding=[state])
            assert why == f"place 1 of 2 in line, {cause}"
            row.stored_config["device"] = "cuda:1"
            why = why_it_waits(row, runs, store.workspace, has_agent=False, holding=[state])
            ends = "the agent is about to start it" if not state.closed else state.closed
            assert why == f"place 1 of 2 in line, {ends}"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("unet dice>0.99", "No run matches dice>0.99."),
        ("nothing-like-it", "No run matches nothing-like-it."),
        (
            "status=finished dice<0.5 seed=0",
            "None of the 3 runs that match status=finished matches dice<0.5.",
        ),
    ],
)
async def test_an_empty_table_says_which_term_emptied_it(workspace: Workspace, query: str, why: str) -> None:
    async with opened(workspace) as (app, pilot):
        await pilot.press("slash", *query, "enter")
        await until(pilot, lambda: why in screen_text(app))
        assert "escape clears the filter" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen.table.runs.ordered) == 6)
        assert why not in screen_text(app)


@pytest.mark.asyncio
async def test_a_table_of_archived_runs_alone_says_so(workspace: Workspace) -> None:
    with workspace.open_store() as store:
        for run_id in ("cccc0000", "dddd0000"):
            store.lifecycle.delete(run_id)
        for run_id in ("aaaa0000", "aaaa0001"):
            store.lifecycle.archive(run_id, True)
    async with opened(workspace) as (app, pilot):
        await pilot.press("slash", *"name~seed[01]", "enter")
        await until(pilot, lambda: "All runs that match are archived." in screen_text(app))
        assert "2 of 4 runs, 2 of them archived" in screen_text(app)
        await pilot.press("x", "h")
        await until(pilot, lambda: "unet-seed1" in screen_text(app))
        await pilot.press("x", "h", "escape")
        with workspace.open_store() as store:
            for run_id in ("aaaa0002", "bbbb0000"):
                store.lifecycle.archive(run_id, True)
        app.live.nudge()
        await until(pilot, lambda: "All runs are archived." in screen_text(app))


@pytest.mark.asyncio
async def test_the_pane_that_a_view_brings_back_is_hidden_again(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        for key, hidden in (("V", True), ("v", False), ("V", True), ("V", False)):
            await pilot.press(key)
            assert app.screen.query_one(RunPane).display is not hidden
            assert app.settings.pane is not hidden


@pytest.mark.asyncio
async def test_a_long_text_is_asked_about_from_its_beginning(workspace: Workspace) -> None:
    async with opened(workspace, (80, 24)) as (app, pilot):
        await pilot.press("f4")
        await until(pilot, lambda: "status name trial" in screen_text(app), "its beginning")
        await pilot.press("end", *" seed")
        assert app.screen.query_one(Input).value.endswith(" device seed")
        assert app.screen.query_one(Input).value.startswith("status name")


@pytest.mark.asyncio
async def test_a_view_keeps_its_column_of_the_order_and_no_filter_that_is_wrong(workspace: Workspace) -> None:
    async with opened(workspace, (160, 50)) as (app, pilot):
        table = app.screen.table
        for column in ("epoch", "progress"):
            table.change(lambda runs, column=column: runs.order_by(Order(column, falling=False)))
            await pilot.press("f3", "s", *f"by {column}", "enter")
            assert find_view(workspace, f"by {column}").sort == column
            await pilot.press("f3", "u")
            app.screen._views._take(f"by {column}", str(named_views(workspace)[f"by {column}"]))
            assert (table.runs.order.column, table.runs.order.falling) == (column, False)
        await pilot.press("slash", *"(dice>1", "enter", "f3", "s", *"wrong", "enter")
        await until(pilot, lambda: "not done: filter: " in screen_text(app), "the refusal")
    assert "wrong" not in named_views(workspace)


@pytest.mark.asyncio
async def test_of_many_views_a_blank_takes_none(workspace: Workspace) -> None:
    (workspace.root / "views").mkdir()
    for number in range(12):
        (workspace.root / "views" / f"v{number:02}.toml").write_text('sort = "name"')
    async with opened(workspace) as (app, pilot):
        await pilot.press("f3", "space")
        await pilot.pause()
        assert isinstance(app.screen, Menu)


@pytest.mark.asyncio
async def test_curves_of_lines_come_after_a_database_that_could_not_be_asked(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    curves, refused = Results.dice_curves, []

    def locked(self: Results, ids: Sequence[str]) -> dict[str, list[float | None]]:
        refused.append(ids)
        raise StoreError("another program has locked the database")

    monkeypatch.setattr(Results, "dice_curves", locked)
    async with opened(workspace) as (app, pilot):
        await until(pilot, lambda: refused, "the refusal")
        monkeypatch.setattr(Results, "dice_curves", curves)
        await until(pilot, lambda: "▁" in screen_text(app), "the curves")


def test_a_device_is_held_by_whom_it_was_given_to_on_this_machine(workspace: Workspace) -> None:
    claim = {"host": "box", "slot": "cuda:2,cuda:3"}
    with sqlite3.connect(workspace.database) as connection:
        connection.execute("UPDATE runs SET claimed_by = ?", (json.dumps(claim),))
    with workspace.open_store() as store:
        runs = {run.id: run for run in store.changes().runs}
    running = runs["cccc0000"]
    assert (running.slot, runs["aaaa0000"].slot, runs["dddd0000"].slot) == ("cuda:2,cuda:3", "", "")
    elsewhere = running._replace(id="cccc0001", host="other")
    alone = running._replace(id="cccc0002", slot="", device="cuda:0")
    in_slurms_queue = running._replace(id="cccc0003", status="starting", host="", slot="slurm", device="")
    holders = held_by({run.id: run for run in (running, elsewhere, alone, in_slurms_queue)}, "box")
    assert holders == {"cuda:2": [running], "cuda:3": [running], "cuda:0": [alone]}


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(("count", "lines"), [(1, 1), (4, 4), (8, 4), (16, 4)])
def test_each_of_many_gpus_is_seen_with_the_run_that_has_it(
    workspace: Workspace, width: int, count: int, lines: int
) -> None:
    with workspace.open_store() as store:
        run = next(run for run in store.changes().runs if run.id == "cccc0000")
    gpus = tuple(Gpu(i, "H100", 37, 300.0, 6 * 2**30, 80 * 2**30, 60) for i in range(count))
    load = Load(gpus, cpu=0.4, cores=8, memory_used=1, memory_total=2)
    text = load_text(load, {f"cuda:{count - 1}": [run]}, width).plain
    shown = text.splitlines()
    assert len(shown) == lines
    assert all(len(line) <= width for line in shown) or count <= 4
    assert all(f"cuda:{i} " in text for i in range(count))
    held = next(line for line in shown if f"cuda:{count - 1} " in line)
    assert held.partition(f"cuda:{count - 1} ")[2].split()[-1][:4] in ("lr-0", "lr…", "l…")


@pytest.mark.asyncio
async def test_runs_that_come_into_an_empty_table_are_gone_through_with_keys(
    empty_workspace: Workspace,
) -> None:
    add(empty_workspace, "aaaa0000", finished_journal(), name="first")
    async with opened(empty_workspace) as (app, pilot):
        with empty_workspace.open_store() as store:
            store.lifecycle.delete("aaaa0000")
        app.live.nudge()
        await until(pilot, lambda: "No runs yet" in screen_text(app), "the empty table")
        for number in (1, 2):
            add(empty_workspace, f"bbbb000{number}", finished_journal(), name=f"later-{number}")
        app.live.nudge()
        await until(pilot, lambda: len(app.screen.table.runs.lines) == 2, "the runs")
        await pilot.press("down")
        assert app.screen.table.runs.cursor == 1


@pytest.mark.asyncio
async def test_a_curve_is_read_again_whenever_its_run_has_changed(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        curves = app.screen.query_one(RunTable).columns.seen.curves
        await until(pilot, lambda: curves.get("aaaa0000"), "the first")
        for note in ("one", "two", "three"):
            changed = app.snapshot.runs["aaaa0000"].changed
            with workspace.open_store() as store:
                store.lifecycle.update_card("aaaa0000", note=note)
            app.live.nudge()
            await until(
                pilot, lambda changed=changed: app.snapshot.runs["aaaa0000"].changed > changed, "the change"
            )
            await until(pilot, lambda: curves.get("aaaa0000"), f"the curve after {note}")


@pytest.mark.asyncio
async def test_a_driver_that_does_not_answer_is_asked_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    asked: list[LoadReader] = []
    ticks: list[None] = []
    load = Load(gpus=(), cpu=0.5, cores=8, memory_used=0, memory_total=1)

    def hangs(reader: LoadReader) -> Load:
        asked.append(reader)
        begun.set()
        goes_on.wait(WAIT_SECONDS)
        return load

    monkeypatch.setattr(LoadReader, "read", hangs)
    monkeypatch.setattr("seg_tui.widgets.meters.READ_SECONDS", 0.01)
    app = make_app(workspace)
    async with app.run_test(size=(120, 40)) as pilot:
        try:
            await until(pilot, begun.is_set, "the first look")
            app.set_interval(0.01, lambda: ticks.append(None))
            await until(pilot, lambda: len(ticks) > 20, "more of its turns")
            assert len(asked) == 1
        finally:
            goes_on.set()
        await until(pilot, lambda: len(asked) > 1, "the next look")
