"""The dashboard, driven by keys: what is shown, and what stays where it is."""

from __future__ import annotations

import pytest

from engine.workspace import Workspace
from seg_tui.screens.dashboard import Dashboard
from seg_tui.widgets.run_table import RunTable
from tests.engine.made_up_runs import finished_journal
from tests.tui.conftest import opened, screen_text, settled, until
from tests.tui.made_up_workspace import add, many_runs


def names(table: RunTable) -> list[str]:
    return [line.run.name if line.run else line.group.label for line in table.lines if line.run or line.group]


# ---------------------------------------------------------------------- order


async def test_running_and_waiting_runs_come_first_then_the_best(workspace: Workspace) -> None:
    async with opened(workspace) as (app, _):
        assert isinstance(app.screen, Dashboard)
        assert names(app.screen.table)[:2] == ["lr-0.01", "lr-0.1"]
        assert names(app.screen.table)[2:] == ["unet-seed1", "unet-seed0", "unet-seed2", "too-big"]
        text = screen_text(app)
        assert "0.3589 @  12" in text
        assert "failed: out_o" in text
        assert "1 running · 1 queued · 6 runs" in text


async def test_the_column_to_sort_by_is_picked_inverted_and_clicked(workspace: Workspace) -> None:
    async with opened(workspace, (200, 40)) as (app, pilot):
        app.change_settings(active_first=False)
        table = app.screen.query_one(RunTable)
        await pilot.press("S", "home", "down", "enter")
        await pilot.pause()
        by_name = ["lr-0.01", "lr-0.1", "too-big", "unet-seed0", "unet-seed1", "unet-seed2"]
        assert names(table) == by_name
        await pilot.press("i")
        assert names(table) == by_name[::-1]
        await pilot.press(">")
        assert table.order.column == "experiment"
        head = screen_text(app).splitlines()[1]
        await pilot.click(RunTable, offset=(head.index("last Dice"), 0))
        await pilot.pause()
        assert (table.order.column, table.order.falling) == ("last", True)
        assert names(table)[0] == "unet-seed1"
        assert "last Dice▼" in screen_text(app)


# ---------------------------------------------------------------------- the selection is sacred


async def test_the_cursor_stays_on_its_run_while_others_come_go_and_change_places(
    workspace: Workspace,
) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        table.put_cursor("aaaa0000")
        before = names(table).index("unet-seed0")

        add(workspace, "eeee0000", finished_journal(), name="newcomer")
        with workspace.open_store() as store:
            store.delete_run("aaaa0001")
        app.live.nudge()
        await until(pilot, lambda: "eeee0000" in app.snapshot.runs and "aaaa0001" not in app.snapshot.runs)
        assert table.cursor_run.id == "aaaa0000"

        await pilot.press("i")
        assert names(table).index("unet-seed0") != before
        assert table.cursor_run.id == "aaaa0000"


async def test_the_cursor_stays_at_its_height_of_the_screen(empty_workspace: Workspace) -> None:
    many_runs(empty_workspace, 300)
    async with opened(empty_workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        await pilot.press(*["pagedown"] * 3, *["up"] * 5)
        run_id, height = table.cursor_run.id, table._cursor - table.scroll_offset.y
        for number in range(7):
            add(empty_workspace, f"eeee000{number}", name=f"newcomer {number}")
        app.live.nudge()
        await until(pilot, lambda: len(app.snapshot.runs) == 307)
        assert (table.cursor_run.id, table._cursor - table.scroll_offset.y) == (run_id, height)
        assert names(table)[0].startswith("newcomer")


async def test_only_when_its_own_run_is_gone_the_cursor_goes_to_the_neighbour(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        table.put_cursor("aaaa0000")
        with workspace.open_store() as store:
            store.delete_run("aaaa0000")
        app.live.nudge()
        await until(pilot, lambda: "aaaa0000" not in app.snapshot.runs)
        assert table.cursor_run.id == "aaaa0002"


async def test_marks_stay_on_their_runs_and_the_title_counts_them(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        table.put_cursor("aaaa0001")
        await pilot.press("space", "space", "i", "S", "end", "enter")
        assert {run.id for run in table.targets()} == {"aaaa0001", "aaaa0000"}
        assert "2 marked" in screen_text(app)
        await pilot.press("slash", *"lr-", "enter")
        await until(pilot, lambda: len(table.shown) == 2)
        assert "2 marked, 2 of them hidden" in screen_text(app)
        await pilot.press("a")
        assert len(table.targets()) == 4
        await pilot.press("u")
        assert [run.name for run in table.targets()] == [table.cursor_run.name]


async def test_following_goes_to_the_newest_run_until_the_cursor_is_moved(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        await pilot.press("F")
        assert table.cursor_run.name == "lr-0.1"
        add(workspace, "eeee0000", name="newest", created=99_999.0)
        app.live.nudge()
        await until(pilot, lambda: table.cursor_run.name == "newest")
        await pilot.press("end")
        assert not table.following


# ---------------------------------------------------------------------- filter and groups


async def test_a_filter_narrows_the_table_and_the_cursor_comes_back_to_its_run(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        table.put_cursor("aaaa0002")
        await pilot.press("slash", *"tag:night dice>0.6")
        await until(pilot, lambda: names(table) == ["unet-seed1"])
        assert "1 of 6 runs" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: len(table.shown) == 6)
        assert table.cursor_run.id == "aaaa0002"


async def test_a_wrong_filter_is_refused_in_place_and_the_table_stays(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        await pilot.press("slash", *"optimizer.lr=0.1")
        await until(pilot, lambda: names(table) == ["lr-0.1"])
        for _ in range(len("optimizer.lr=0.1")):
            await pilot.press("backspace")
        await pilot.press(*"modle.name=unet")
        await until(pilot, lambda: "did you mean model.name?" in screen_text(app))
        assert len(table.shown) > 0


async def test_a_filter_is_kept_while_runs_come(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        await pilot.press("slash", *"unet-", "enter")
        await until(pilot, lambda: len(table.shown) == 3)
        add(workspace, "eeee0000", name="unet-new")
        add(workspace, "eeee0001", name="other")
        app.live.nudge()
        await until(pilot, lambda: "eeee0001" in app.snapshot.runs and len(table.shown) == 4)
        assert "other" not in names(table)
        assert "4 of 8 runs" in screen_text(app)


async def test_runs_equal_but_for_the_seed_fold_into_a_mean(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        await pilot.press("g", "g")
        assert "by all but the seed" in screen_text(app)
        group = next(line.group for line in table.lines if line.group and len(line.group.runs) == 3)
        best = [run.best_dice for run in group.runs]
        mean = sum(best) / 3
        deviation = (sum((value - mean) ** 2 for value in best) / 2) ** 0.5
        line = next(line for line in screen_text(app).splitlines() if "▾ unet" in line)
        assert f"{mean:.4f} ± {deviation:.4f}" in line
        assert "n = 3" in line

        table.put_cursor("aaaa0000")
        await pilot.press("left")
        assert table.cursor_line.key == group.key
        assert "▸ unet" in screen_text(app)
        assert "unet-seed1" not in names(table)
        await pilot.press("space")
        assert {run.id for run in table.targets()} == {"aaaa0000", "aaaa0001", "aaaa0002"}
        table.put_cursor(group.key)
        await pilot.press("enter")
        assert "unet-seed1" in names(table)


async def test_grouped_by_experiment_the_cursor_is_still_on_its_run(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        table.put_cursor("bbbb0000")
        await pilot.press("g")
        assert table.cursor_run.id == "bbbb0000"
        assert [line.group.label for line in table.lines if line.group] == ["lr", "paper", "sizes"]


# ---------------------------------------------------------------------- the run under the cursor


async def test_the_pane_tells_of_the_run_under_the_cursor(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        table.put_cursor("aaaa0001")
        await until(pilot, lambda: "unet-seed1  aaaa0001  finished" in screen_text(app))
        text = screen_text(app)
        assert "val 0.6031  train 0.6273" in text
        assert "epoch 30 done" in text
        assert "#night" in text
        await pilot.press("v", "v", "v")
        await until(pilot, lambda: "optimizer.lr" in screen_text(app))


async def test_a_failed_run_shows_its_traceback_first(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        app.screen.query_one(RunTable).put_cursor("bbbb0000")
        await until(pilot, lambda: "why it failed" in screen_text(app))
        assert "torch.OutOfMemoryError" in screen_text(app)
        assert "CUDA memory ran out; batch_size=16 fits" in screen_text(app)


async def test_a_running_run_whose_worker_is_gone_says_so(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        app.screen.query_one(RunTable).put_cursor("cccc0000")
        await until(pilot, lambda: "pid 4001 on box: is gone" in screen_text(app))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_pane_can_be_hidden_and_stays_so(workspace: Workspace, size: tuple[int, int]) -> None:
    async with opened(workspace, size) as (app, pilot):
        assert "overview" in screen_text(app)
        await pilot.press("V")
        await until(pilot, lambda: "overview" not in screen_text(app))
        await settled(pilot)
    async with opened(workspace, size) as (app, _):
        assert "overview" not in screen_text(app)


async def test_a_narrow_table_leaves_out_what_matters_least(workspace: Workspace) -> None:
    async with opened(workspace, (80, 24)) as (app, _):
        titles = app.screen.query_one(RunTable).column_titles
        assert titles == ["status", "name", "progress", "best Dice @ epoch", "epoch"]
        assert all(len(line) <= 80 for line in screen_text(app).splitlines())
    async with opened(workspace, (230, 40)) as (app, _):
        assert len(app.screen.query_one(RunTable).column_titles) == 12
