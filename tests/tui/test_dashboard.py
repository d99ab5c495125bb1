"""The dashboard, driven by keys: what is shown, what stays where it is, and what happens to runs."""

from __future__ import annotations

import pytest

from engine.workspace import Workspace
from seg_tui.screens.dashboard import Dashboard
from seg_tui.widgets.bars import title_text
from seg_tui.widgets.run_table import RunTable
from tests.engine.made_up_runs import finished_journal
from tests.tui.conftest import opened, screen_text, settled, until
from tests.tui.made_up_workspace import add


def names(table: RunTable) -> list[str]:
    return [line.run.name if line.run else line.group.label for line in table.lines if line.run or line.group]


@pytest.mark.asyncio
async def test_running_and_waiting_runs_come_first_then_the_best(workspace: Workspace) -> None:
    async with opened(workspace) as (app, _):
        assert isinstance(app.screen, Dashboard)
        assert names(app.screen.table)[:2] == ["lr-0.01", "lr-0.1"]
        assert names(app.screen.table)[2:] == ["unet-seed1", "unet-seed0", "unet-seed2", "too-big"]
        text = screen_text(app)
        assert "0.3589 @  12" in text
        assert "failed: out_o" in text
        assert "1 running · 1 queued · 6 runs" in text


@pytest.mark.asyncio
async def test_the_cursor_stays_on_its_run_while_others_come_go_and_change_places(
    workspace: Workspace,
) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        table.put_cursor("aaaa0000")
        at = table.lines.index(table.cursor_line)

        add(workspace, "eeee0000", finished_journal(), name="newcomer")
        with workspace.open_store() as store:
            store.delete_run("aaaa0001")
        app.live.nudge()
        await until(pilot, lambda: "eeee0000" in app.snapshot.runs and "aaaa0001" not in app.snapshot.runs)
        assert table.cursor_run.id == "aaaa0000"

        await pilot.press("i")
        assert table.cursor_run.id == "aaaa0000"
        assert table.lines.index(table.cursor_line) != at


@pytest.mark.asyncio
async def test_only_when_its_own_run_is_gone_the_cursor_goes_to_the_neighbour(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        table.put_cursor("aaaa0000")
        with workspace.open_store() as store:
            store.delete_run("aaaa0000")
        app.live.nudge()
        await until(pilot, lambda: "aaaa0000" not in app.snapshot.runs)
        assert table.cursor_run.id == "aaaa0002"


@pytest.mark.asyncio
async def test_a_filter_narrows_the_table_and_says_how_far(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        table = app.screen.query_one(RunTable)
        table.put_cursor("aaaa0002")
        await pilot.press("slash", *"tag:night dice>0.6")
        await until(pilot, lambda: len(table.shown) == 1)
        await settled(pilot)
        assert names(table) == ["unet-seed1"]
        assert "1 of 6 runs" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: len(table.shown) == 6)
        assert table.cursor_run.id == "aaaa0002"


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
