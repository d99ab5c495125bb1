"""Runs of every task show what they are for: in the table, in the pane, on their own screen."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from engine.store import StoreError
from engine.workspace import Workspace
from seg_tui.screens.dashboard import Dashboard
from seg_tui.screens.run import RunScreen
from tests.engine.made_up_runs import (
    evaluation_config,
    make_run_dir,
    refined_journal,
    robustness_config,
    robustness_journal,
)
from tests.tui.conftest import opened, run_lines, screen_text, settled, until

GOLDEN = Path(__file__).parent.parent / "golden" / "v0.1.tar.xz"
FOUND = {
    "scored": "Dice 0.4441",
    "detected": "AUROC 0.3543 energy",
    "shaken": "0.3080 @ strength 5",
    "trained-predict": "4 images",
    "chain pretrain": "loss 1.0738 @   2",
    "trained": "0.4441 @   4",
}


@pytest.fixture
def of_every_task(tmp_path: Path) -> Workspace:
    """Real runs of all tasks, made by the first version."""
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(tmp_path, filter="data")
    return Workspace(tmp_path)


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_table_has_each_result(of_every_task: Workspace, size: tuple[int, int]) -> None:
    async with opened(of_every_task, size) as (app, _):
        lines = run_lines(app)
        for name, found in FOUND.items():
            line = next(line for line in lines if f" {name} " in line)
            assert found in line
            assert "0/4 " not in line
        assert " task " in lines[0]
        assert "robustness" in next(line for line in lines if " shaken " in line)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "in_pane", "on_screen"),
    [
        ("scored", ["mean Dice 0.4441", "mIoU 0.3365", "sky"], "mean Dice 0.4441"),
        ("detected", ["AUROC 0.3543 energy", "mahalanobis"], "AUROC 0.3543 energy"),
        ("shaken", ["Dice 0.3080 at strength 5", "fog"], "Dice 0.3080 at strength 5"),
        ("trained-predict", ["4 images", "/golden/predicted"], "4/4 images"),
        ("chain pretrain", ["loss", "1.0738"], "lowest validation loss 1.0738 @ 2"),
    ],
)
async def test_pane_and_screen_show_the_result_and_no_empty_chart(
    of_every_task: Workspace, name: str, in_pane: list[str], on_screen: str
) -> None:
    async with opened(of_every_task, (160, 50)) as (app, pilot):
        dashboard = app.screen
        assert isinstance(dashboard, Dashboard)
        run = next(run for run in app.snapshot.runs.values() if run.name == name)
        dashboard.table.put_cursor(run.id)
        await until(pilot, lambda: all(text in screen_text(app) for text in in_pane), name)
        assert "no epoch has finished yet" not in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: on_screen in screen_text(app), name)
        while True:
            assert "no epoch has finished yet" not in screen_text(app)
            await pilot.press("v")
            await settled(pilot)
            if app.screen.tab == app.screen._shown_tabs()[0]:
                break


@pytest.mark.asyncio
async def test_evaluations_are_compared_by_their_numbers_without_an_empty_chart(
    of_every_task: Workspace,
) -> None:
    async with opened(of_every_task, (160, 50)) as (app, pilot):
        app.go_to.comparison(["h4kaq0rc", "m6yk6wot"])
        await until(pilot, lambda: "0.4496" in screen_text(app))
        assert "no epoch" not in screen_text(app)
        assert "has no scores" not in screen_text(app)


def test_runs_are_filtered_and_sorted_by_what_was_measured_of_their_networks(
    of_every_task: Workspace,
) -> None:
    with of_every_task.open_store() as store:
        names = {run.id: run.name for run in store.changes().runs}

        def found(term: str) -> set[str]:
            return {names[run_id] for run_id in store.run_ids([term])}

        assert found("ood.auroc>0") == found("ood.energy.auroc>0") == {"detected", "trained"}
        assert found("robustness.dice>0") == found("robustness.fog>=0") == {"shaken", "trained"}
        assert {"scored", "scored-flip", "trained"} <= found("evaluate.dice>0")
        assert "trained" not in found("evaluate.dice.sky>1e-9 and not iou.sky>0")
        (trained,) = store.run_ids(["name=trained"])
        values = store.values(["evaluate.dice", "robustness.dice", "metric.boundary_iou"], [trained])
        assert [value and round(value, 4) for value in values[trained]] == [0.4496, 0.308, None]
        assert names[store.run_ids(["task=train"], "-evaluate.dice")[0]] == "trained"
        with pytest.raises(StoreError, match=r"ood.auroc>2: matches nothing, as ood.auroc is from 0 to 1"):
            found("ood.auroc>2")


@pytest.mark.asyncio
async def test_a_group_of_evaluations_has_the_mean_of_theirs(of_every_task: Workspace) -> None:
    async with opened(of_every_task, (200, 60)) as (app, pilot):
        await pilot.press("slash", *"task=evaluate", "enter")
        await until(pilot, lambda: len(app.screen.table.runs.ordered) == 2)
        await pilot.press("g")
        await settled(pilot)
        assert "Dice 0.4469 ± 0.0039" in screen_text(app)


@pytest.mark.asyncio
async def test_the_pane_shows_what_there_is_before_the_number_is_known(workspace: Workspace) -> None:
    journal = robustness_journal()  # to strength 2
    journal.events.pop()
    run = make_run_dir(workspace.runs, "eeee2222", journal, robustness_config("aaaa0000"), name="shaking")
    with workspace.open_store() as store:
        store.journals.import_run(run)
    async with opened(workspace, (160, 50)) as (app, pilot):
        assert isinstance(app.screen, Dashboard)
        app.screen.table.put_cursor("eeee2222")
        await until(pilot, lambda: "noise 2" in screen_text(app), "the pane")
        shown = " ".join(screen_text(app).replace("│", " ").split())
        for line in ("Dice strongest so far", "none 0.8000", "noise 2 0.5000", "fog 2 0.3000"):
            assert line in shown
        assert ", -" not in shown, "how much there is to do is not known"


@pytest.mark.asyncio
async def test_an_evaluation_with_a_crf_shows_what_it_gave_each_class_and_what_it_took(
    workspace: Workspace,
) -> None:
    """In the pane and on the screens of the evaluation and of the run whose network it is of."""
    before, after = {"road": 0.8, "person": 0.6, "car": 0.4}, {"road": 0.9, "person": 0.7, "car": 0.2}
    journal = refined_journal("aaaa0000", before, after)
    run = make_run_dir(workspace.runs, "eeee1111", journal, evaluation_config("aaaa0000"), name="refined")
    with workspace.open_store() as store:
        store.journals.import_run(run)
    async with opened(workspace, (160, 50)) as (app, pilot):
        dashboard = app.screen
        assert isinstance(dashboard, Dashboard)
        dashboard.table.put_cursor("eeee1111")
        told = "mIoU 0.4286 before the CRF, 0.4286 after", "CRF 0.50 s an image"
        await until(pilot, lambda: all(words in screen_text(app) for words in told), "the pane")
        for run_id in ("eeee1111", "aaaa0000"):
            app.go_to.run(run_id)
            await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.detail is not None)
            assert isinstance(app.screen, RunScreen)
            app.screen.action_to_tab("results")
            await until(pilot, lambda: "before CRF" in screen_text(app), run_id)
            lines = [line.replace("│", " ").split()[-4:] for line in screen_text(app).splitlines()]
            assert ["car", "0.2500", "0.1111", "-0.1389"] in lines
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, Dashboard))
