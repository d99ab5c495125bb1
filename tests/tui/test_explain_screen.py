"""What made it better: from marked runs to keys by importance, the score against one, and all of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from engine.workspace import Workspace
from seg_tui.app import SegTui
from seg_tui.explain.reading import Explained
from seg_tui.screens.explain import ExplainScreen
from seg_tui.widgets.run_table import RunTable
from tests.tui.conftest import opened, screen_text, settled, until
from tests.tui.made_up_workspace import add, broken_journal, learning_journal
from tests.tui.snapshots import app_at


@pytest.fixture
def sweep(empty_workspace: Workspace) -> Workspace:
    """Twelve runs in which the rate matters more than the optimizer, and one that failed."""
    grid = product((0.001, 0.01, 0.1), ("adamw", "sgd"), (0, 1))
    for number, (rate, optimizer, seed) in enumerate(grid):
        best = 0.7 - 20 * (rate - 0.01) ** 2 - 0.05 * (optimizer == "sgd") + 0.01 * seed
        journal = learning_journal(best, epochs=3, seed=number)
        journal.finish(3)
        values = {"optimizer.lr": rate, "optimizer.name": optimizer, "seed": seed}
        add(empty_workspace, f"aaaa{number:04d}", journal, values, name=f"run{number}", experiment="grid")
    add(empty_workspace, "bbbb0000", broken_journal(), name="broken", experiment="grid")
    return empty_workspace


def why(app: SegTui) -> ExplainScreen:
    assert isinstance(app.screen, ExplainScreen)
    return app.screen


def line_below(text: str, head: str) -> str:
    lines = text.splitlines()
    return lines[next(place for place, line in enumerate(lines) if head in line) + 1]


@pytest.mark.asyncio
async def test_one_sees_which_key_mattered_and_how(sweep: Workspace) -> None:
    async with opened(sweep, (120, 40)) as (app, pilot):
        await pilot.press("W")
        await until(pilot, lambda: isinstance(app.screen, ExplainScreen) and why(app).explanation)
        await settled(pilot)
        text = screen_text(app)
        assert "best Dice of 12 runs, 6 configs" in text
        assert "left out: broken" in text
        assert text.index("optimizer.lr") < text.index("optimizer.name") < text.index("(seed)")
        assert "best Dice against optimizer.lr (log)" in text
        assert text.count("★") == 2  # of the legend and of the best config

        await pilot.press("down")
        await settled(pilot)
        text = screen_text(app)
        assert "best Dice against optimizer.name" in text
        assert any("sgd" in line and "adamw" in line for line in text.splitlines())

        await pilot.press("2")
        await settled(pilot)
        assert "each line is a config" in screen_text(app)
        assert any("optimizer.name" in line and "best Dice" in line for line in screen_text(app).splitlines())
        await pilot.press("3")
        await settled(pilot)
        assert "aaaa0004" in line_below(screen_text(app), "best Dice  seeds")  # rate 0.01, adamw
        await pilot.press("4")
        await settled(pilot)
        assert "no latency measured yet" in screen_text(app)

        await pilot.press("m", "1")
        await until(pilot, lambda: "mIoU of 12 runs" in screen_text(app))
        assert why(app).query_one(OptionList).highlighted == 1
        await pilot.press("c")
        await settled(pilot)
        assert "compare 4 runs" in screen_text(app)


@pytest.mark.asyncio
async def test_runs_that_cannot_be_explained_say_why(workspace: Workspace) -> None:
    async with opened(workspace, (80, 24)) as (app, pilot):
        app.go_to.explanation(["aaaa0000", "bbbb0000", "dddd0000"])
        await until(pilot, lambda: "explaining takes 3 runs" in screen_text(app))
        assert "too-big" in screen_text(app)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_it_looks_as_agreed(snap_compare: object, sweep: Workspace, size: tuple[int, int]) -> None:
    async def show(pilot: Pilot[None]) -> None:
        await pilot.press("W")
        await until(pilot, lambda: isinstance(app.screen, ExplainScreen) and why(app).explanation)
        await settled(pilot)

    app, before = app_at(sweep, show)
    assert snap_compare(app, terminal_size=size, run_before=before)  # type: ignore[operator]


@pytest.mark.asyncio
async def test_a_group_is_explained_and_the_cursor_stays_on_its_key(sweep: Workspace) -> None:
    async with opened(sweep, (120, 40)) as (app, pilot):
        await pilot.press("g", "home", "W")
        await until(pilot, lambda: isinstance(app.screen, ExplainScreen) and why(app).explanation)
        await settled(pilot)
        assert "best Dice of 12 runs" in screen_text(app)
        explanation = why(app).explanation
        assert explanation is not None
        turned = replace(explanation, factors=explanation.factors[::-1])
        why(app).post_message(Explained(turned, None))
        await settled(pilot)
        assert "best Dice against optimizer.lr" in screen_text(app)
        assert why(app).query_one(OptionList).highlighted == len(turned.factors) - 1


@pytest.mark.asyncio
async def test_archived_runs_of_an_experiment_count_while_they_are_shown(workspace: Workspace) -> None:
    with workspace.open_store() as store:
        store.lifecycle.archive("aaaa0001", True)
    async with opened(workspace, (80, 24)) as (app, pilot):
        app.screen.query_one(RunTable).put_cursor("aaaa0000")
        await pilot.press("W")
        await until(pilot, lambda: isinstance(app.screen, ExplainScreen))
        assert set(why(app).run_ids) == {"aaaa0000", "aaaa0002"}
        await pilot.press("escape", "x", "h", "W")
        await until(pilot, lambda: isinstance(app.screen, ExplainScreen))
        assert set(why(app).run_ids) == {"aaaa0000", "aaaa0001", "aaaa0002"}
