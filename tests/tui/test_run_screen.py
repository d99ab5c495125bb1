"""The run screen: everything of one run, live."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import asdict

import pytest
from textual.pilot import Pilot
from textual.widgets import Static, TabbedContent

from engine.host.load import Gpu
from engine.requests.reproducing import files_again, first_of
from engine.run.events import Checkpoint, Failed, Warned
from engine.run.telemetry import Sample
from engine.store import EventRow
from engine.workspace import Workspace
from seg_tui.app import SegTui
from seg_tui.run_text import MOST_FILES, FileEntry, events_text, files_text
from seg_tui.screens.dashboard import Dashboard
from seg_tui.screens.launch import LaunchScreen
from seg_tui.screens.run import TABS, RunScreen
from seg_tui.widgets.chart import Chart
from seg_tui.widgets.class_table import ClassTable
from seg_tui.widgets.text_pane import TextPane
from tests.engine.made_up_runs import MadeUpJournal, epoch_event
from tests.tui.conftest import notices, opened, screen_text, settled, until
from tests.tui.made_up_gallery import add_detection, add_evaluation, add_with_gallery
from tests.tui.made_up_workspace import NOW, add, broken_journal, learning_journal, running_journal

FINISHED, FAILED, RUNNING, QUEUED = "aaaa0000", "bbbb0000", "cccc0000", "dddd0000"
EVALUATION, DETECTION = "eval0001", "deed0001"


@contextlib.asynccontextmanager
async def run_screen(
    workspace: Workspace, run_id: str, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[SegTui, Pilot[None], RunScreen]]:
    async with opened(workspace, size) as (app, pilot):
        app.go_to.run(run_id)
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.detail is not None)
        await settled(pilot)
        assert isinstance(app.screen, RunScreen)
        yield app, pilot, app.screen


def tab(screen: RunScreen) -> str:
    return screen.query_one(TabbedContent).active


async def to_tab(pilot: Pilot[None], screen: RunScreen, name: str) -> None:
    screen.action_to_tab(name)
    await settled(pilot)


@pytest.mark.asyncio
async def test_a_finished_run_opens_at_its_curves_and_says_how_it_fared(workspace: Workspace) -> None:
    async with run_screen(workspace, FINISHED) as (app, _, screen):
        assert tab(screen) == "curves"
        text = screen_text(app)
        assert "unet-seed0" in text
        assert "finished" in text
        assert f"best Dice {screen.detail.row.best_dice:.4f} @ {screen.detail.row.best_epoch}" in text
        for title in ("Dice", "loss", "mIoU", "learning rate"):
            assert title in text
        assert "Failure" not in text


@pytest.mark.asyncio
async def test_of_a_run_whose_folder_is_not_here_that_is_said(workspace: Workspace) -> None:
    """As of one of another workspace in a database on a server."""
    folder = workspace.run_dir(FINISHED).path
    async with run_screen(workspace, FINISHED) as (app, pilot, screen):
        await to_tab(pilot, screen, "log")
        assert "epoch 30 done" in screen_text(app)
        away = folder.rename(folder.with_name("away"))
        gone = f"{folder} is not on this machine"
        await until(pilot, lambda: gone in " ".join(screen_text(app).split()), "the log's state")
        away.rename(folder)
        await until(pilot, lambda: gone not in " ".join(screen_text(app).split()), "that it is back")
        folder.rename(away)
        await pilot.press("f")
        await until(pilot, lambda: f"{folder}\nnot on this machine; path copied" in notices(app)[-1])
        await pilot.press("p")
        gone = f"folder {folder} is not on this machine, nor are its predictions"
        await until(pilot, lambda: gone in " ".join(screen_text(app).split()), "why there are none")
        await pilot.press("escape", "escape")
        screen_below = app.screen
        assert isinstance(screen_below, Dashboard)
        screen_below.table.put_cursor(FINISHED)
        await until(pilot, lambda: "the run's folder is not on this machine" in screen_text(app), "the pane")


@pytest.mark.asyncio
async def test_what_a_command_measures_stands_below_it_where_there_is_no_room_beside_it(
    workspace: Workspace,
) -> None:
    async with run_screen(workspace, FINISHED, (80, 24)) as (_, pilot, screen):
        await to_tab(pilot, screen, "results")
        told = str(screen.query_one("#results-text Static", Static).render())
        assert f"evaluate {FINISHED}\n    scores of a split, image by image\n" in told


@pytest.mark.asyncio
async def test_a_failed_run_opens_at_its_traceback(workspace: Workspace) -> None:
    async with run_screen(workspace, FAILED) as (app, _, screen):
        assert tab(screen) == "failure"
        text = screen_text(app)
        assert "out_of_memory: CUDA memory ran out; batch_size=16 fits" in text
        assert "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB" in text


@pytest.mark.asyncio
async def test_the_whole_message_of_a_failure_is_seen_on_a_small_screen(workspace: Workspace) -> None:
    message = "the loss is NaN at step 1200 of epoch 31; a lower learning rate helps: optimizer.lr=0.0001"
    journal = MadeUpJournal(NOW - 4000.0)
    journal.begin()
    journal.add(Failed(cause="diverged", message=message, traceback=""))
    add(workspace, "eeee0000", journal, name="too fast")
    async with run_screen(workspace, "eeee0000", (80, 24)) as (app, _, _):
        assert f"diverged: {message}" in " ".join(screen_text(app).split())


@pytest.mark.asyncio
async def test_a_long_note_takes_six_lines_and_says_that_it_goes_on(workspace: Workspace) -> None:
    add(workspace, "eeee0000", broken_journal(), name="noted", note="why it was made. " * 60)
    async with run_screen(workspace, "eeee0000", (80, 24)) as (app, _, _):
        lines = screen_text(app).splitlines()
        assert lines[3].startswith(" note: why it was made.")
        assert lines[6].rstrip().endswith("…")
        assert lines[7].startswith(" Curves")


@pytest.mark.asyncio
async def test_escape_is_among_the_keys_of_a_log(workspace: Workspace) -> None:
    async with run_screen(workspace, FINISHED) as (app, pilot, screen):
        await to_tab(pilot, screen, "log")
        await until(pilot, lambda: "esc back" in screen_text(app))
        await pilot.press("slash")
        await until(pilot, lambda: "esc close search" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "esc back" in screen_text(app))


@pytest.mark.asyncio
async def test_a_long_traceback_opens_at_its_last_line(workspace: Workspace) -> None:
    journal = MadeUpJournal(NOW - 4000.0)
    journal.begin()
    calls = "".join(f'  File "a.py", line {line}, in call\n    call({line})\n' for line in range(60))
    traceback = f"Traceback (most recent call last):\n{calls}ValueError: the very end"
    journal.add(Failed(cause="exception", message="the very end", traceback=traceback))
    add(workspace, "eeee0000", journal, name="deep")
    async with run_screen(workspace, "eeee0000") as (app, pilot, _):
        await until(pilot, lambda: "ValueError: the very end" in screen_text(app))
        await pilot.press("home")
        await until(pilot, lambda: "Traceback (most recent call last):" in screen_text(app))
        assert "ValueError: the very end" not in screen_text(app)


@pytest.mark.asyncio
async def test_a_run_that_was_never_started_says_so_in_every_tab(workspace: Workspace) -> None:
    async with run_screen(workspace, QUEUED) as (app, pilot, screen):
        told = {
            "curves": "no epoch has finished yet",
            "classes": "no epoch has been scored yet",
            "events": "no worker has reported anything yet",
            "log": "the log is empty",
            "config": "model.name",
            "files": "config.json",
            "system": "made ",
            "results": "this network has not been evaluated yet",
            "load": "no samples yet",
        }
        for name, words in told.items():
            await to_tab(pilot, screen, name)
            await until(pilot, lambda words=words: words in screen_text(app), words)


@pytest.mark.asyncio
async def test_a_run_that_was_made_again_says_how_far_its_scores_differ(workspace: Workspace) -> None:
    with workspace.open_store() as store:
        known = files_again(first_of(workspace, store, store.run(FINISHED)))
    add(workspace, "again000", learning_journal(0.5), name="unet-seed0 again")
    run = workspace.run_dir("again000")
    run.origin_file.write_bytes(known["reproduces.json"])
    async with run_screen(workspace, "again000") as (app, pilot, screen):
        told = f"reproduces {FINISHED} unet-seed0: largest difference"
        await until(pilot, lambda: told in screen_text(app))
        await to_tab(pilot, screen, "results")
        await until(pilot, lambda: "Δ dice" in screen_text(app))
        assert "what it was computed with was not kept" in screen_text(app)
    run.origin_file.write_text("{")
    async with run_screen(workspace, "again000") as (app, pilot, screen):
        await until(pilot, lambda: " reproduces.json: cannot be read" in screen_text(app))


@pytest.mark.asyncio
async def test_a_new_epoch_arrives_without_a_key_and_the_tab_stays(workspace: Workspace) -> None:
    async with run_screen(workspace, RUNNING) as (app, pilot, screen):
        await to_tab(pilot, screen, "classes")
        assert "epoch 12  val" in screen_text(app)
        journal = running_journal(0.5, 13)
        journal.write(workspace.run_dir(RUNNING).journal)
        with workspace.open_store() as store:
            store.journals.import_run(workspace.run_dir(RUNNING))
        app.live.nudge()
        await until(pilot, lambda: "epoch 13  val" in screen_text(app))
        assert tab(screen) == "classes"


@pytest.mark.asyncio
async def test_what_did_not_change_is_not_drawn_again(workspace: Workspace) -> None:
    async with run_screen(workspace, RUNNING) as (_, pilot, screen):
        drawn = {chart: chart.draws for chart in screen.query("#curves Chart").results(Chart)}
        assert len(drawn) == 4
        screen.read()
        await settled(pilot)
        assert {chart: chart.draws for chart in drawn} == drawn
        await to_tab(pilot, screen, "config")
        pane = screen.query_one("#config-text", TextPane)
        updates = pane.updates
        screen.read()
        await settled(pilot)
        assert pane.updates == updates


@pytest.mark.asyncio
async def test_an_evaluation_shows_its_classes_and_its_images_the_worst_first(workspace: Workspace) -> None:
    add_evaluation(workspace, "eval0001", name="scored")
    async with run_screen(workspace, "eval0001") as (app, pilot, screen):
        assert tab(screen) == "classes"
        assert "0.4000" in next(line for line in screen_text(app).splitlines() if " road " in line)
        await pilot.press("2")
        assert tab(screen) == "images"
        lines = [line.strip("│").split() for line in screen_text(app).splitlines() if " val/" in line]
        assert [(name, dice) for name, dice, *_ in lines] == [
            ("val/a/two", "0.2000"),
            ("val/a/one", "0.4000"),
            ("val/b/three", "0.6000"),
        ]
        assert "Curves" not in screen_text(app)


@pytest.mark.asyncio
async def test_heartbeat_and_progress_are_told_apart(workspace: Workspace) -> None:
    async with run_screen(workspace, RUNNING) as (app, _, _):
        text = screen_text(app)
        assert "running  epoch 12/30, train step 4/10" in text
        assert "process 4001 on box" in text
        assert "progress " in text
        assert "left" in text


@pytest.mark.asyncio
async def test_one_cursor_reads_all_charts_off_and_time_takes_the_place_of_epochs(
    workspace: Workspace,
) -> None:
    async with run_screen(workspace, FINISHED) as (app, pilot, screen):
        await pilot.press("left", "left", "w")
        charts = list(screen.query("#curves Chart").results(Chart))
        assert {chart.cursor for chart in charts} == {29}
        assert {chart.smoothing for chart in charts} == {0.6}
        assert screen_text(app).count("@ 29") >= 4
        await pilot.press("T")
        assert {chart.cursor for chart in charts} == {None}
        assert "time" in screen_text(app)
        await pilot.press("enter")
        assert [chart.display for chart in charts] == [True, False, False, False]
        await pilot.press("enter")
        assert all(chart.display for chart in charts)


@pytest.mark.asyncio
async def test_classes_are_sorted_and_shown_over_the_epochs(empty_workspace: Workspace) -> None:
    journal = MadeUpJournal(NOW - 900.0)
    journal.begin()
    for epoch in (1, 2, 3):
        dice = {"road": 0.3 * epoch, "person": 0.5 - 0.1 * epoch, "car": None if epoch == 1 else 0.4}
        journal.add(epoch_event(epoch, "val", 0.4, dice))
    journal.finish(3)
    add(empty_workspace, "eeee0000", journal, name="classy")
    async with run_screen(empty_workspace, "eeee0000") as (app, pilot, screen):
        await pilot.press("2")
        assert tab(screen) == "classes"

        def order() -> list[str]:
            lines = screen_text(app).splitlines()
            return [name for line in lines for name in ("road", "person", "car") if f" {name} " in line]

        assert order() == ["road", "person", "car"]
        assert "+0.6000" in screen_text(app)
        assert "-0.2000" in screen_text(app)
        await pilot.press("S")
        assert order() == ["person", "car", "road"]
        await pilot.press("S")
        assert order() == ["road", "car", "person"]
        await pilot.press("e")
        text = screen_text(app)
        assert "@1" in text
        assert "@2" in text
        assert "0.6000" in text
        assert screen.query_one(ClassTable).over_epochs


@pytest.mark.asyncio
async def test_events_tell_attempts_warnings_and_the_last_of_the_checkpoints(
    empty_workspace: Workspace,
) -> None:
    journal = learning_journal(0.5, 2)
    for epoch in (1, 2):
        journal.add(Checkpoint(kind="last", epoch=epoch, path="checkpoints/last.pt", dice=0.1 * epoch))
    journal.add(Warned(message="an image\nhas no label"))
    journal.begin(resumed_from_epoch=2)
    journal.finish(2)
    add(empty_workspace, "eeee0000", journal, name="eventful")
    async with run_screen(empty_workspace, "eeee0000") as (app, pilot, screen):
        await to_tab(pilot, screen, "events")
        text = screen_text(app)
        assert "process 4002 on box, Some CPU, fp32, resumes after epoch 2" in text
        assert "an image has no label" in text
        assert "last of epoch 2, Dice 0.2000" in text
        assert "last of epoch 1" not in text


@pytest.mark.asyncio
async def test_config_marks_what_the_recipe_has_otherwise(workspace: Workspace) -> None:
    async with run_screen(workspace, FAILED) as (app, pilot, screen):
        await to_tab(pilot, screen, "config")
        line = next(line for line in screen_text(app).splitlines() if " batch_size " in line)
        assert "●" in line
        assert "128 images" in line
        seed = next(
            line for line in screen_text(app).splitlines() if " seed " in line and "Random seed of" in line
        )
        assert "●" not in seed


@pytest.mark.asyncio
async def test_numbers_and_v_go_through_the_tabs_and_escape_leaves(workspace: Workspace) -> None:
    async with run_screen(workspace, FINISHED, (80, 24)) as (app, pilot, screen):
        shown = [name for name in TABS if name not in ("failure", "images")]
        for place, name in enumerate(shown, start=1):
            await pilot.press(str(place))
            assert tab(screen) == name
        await pilot.press("v")
        assert tab(screen) == "curves"
        await pilot.press("l")
        assert tab(screen) == "log"
        await pilot.press("slash", "q", "escape")
        assert app.screen is screen
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, Dashboard))


@pytest.mark.asyncio
async def test_a_run_that_is_deleted_elsewhere_closes_its_screen(workspace: Workspace) -> None:
    async with run_screen(workspace, FINISHED) as (app, pilot, _):
        with workspace.open_store() as store:
            store.lifecycle.delete(FINISHED)
        app.live.nudge()
        await until(pilot, lambda: isinstance(app.screen, Dashboard))


@pytest.mark.asyncio
async def test_a_run_that_is_deleted_elsewhere_takes_no_form_along(workspace: Workspace) -> None:
    async with run_screen(workspace, FINISHED) as (app, pilot, _):
        await pilot.press("R")
        await until(
            pilot, lambda: isinstance(app.screen, LaunchScreen) and app.screen.form.rows(), "the form"
        )
        form = app.screen
        assert isinstance(form, LaunchScreen)
        await settled(pilot)
        form.form.rows()["name"].editor.value = "mine"
        with workspace.open_store() as store:
            store.lifecycle.delete(FINISHED)
        app.live.nudge()
        await until(pilot, lambda: FINISHED not in app.snapshot.runs, "the news")
        await settled(pilot)
        assert app.screen is form
        await pilot.press("escape", "y")
        await until(pilot, lambda: isinstance(app.screen, Dashboard), "the dashboard")
        assert "unet-seed0 no longer exists" in notices(app)


@pytest.mark.asyncio
async def test_the_log_has_what_came_before_it_was_opened_and_after_the_end(workspace: Workspace) -> None:
    async with run_screen(workspace, RUNNING) as (app, pilot, screen):
        log = workspace.run_dir(RUNNING).log
        with open(log, "a") as stream:
            stream.write("the last epoch\n")
        with workspace.open_store() as store:
            store.lifecycle.set_status(RUNNING, "finished")
        app.live.nudge()
        await until(pilot, lambda: screen.detail is not None and screen.detail.row.ended, "the end")
        await pilot.press("l")
        await until(pilot, lambda: "the last epoch" in screen_text(app), "what came before")
        with open(log, "a") as stream:
            stream.write("the last words\n")
        await until(pilot, lambda: "the last words" in screen_text(app), "what comes after")


@pytest.mark.asyncio
async def test_a_tag_is_given_from_here(workspace: Workspace) -> None:
    async with run_screen(workspace, FINISHED) as (app, pilot, screen):
        await pilot.press("t", *"keep", "enter")
        await until(pilot, lambda: "tags keep" in screen_text(app))
        assert screen.detail.row.tags == ("keep",)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize(
    ("run_id", "keys"),
    [
        (FINISHED, ()),
        (FINISHED, ("2",)),
        (FINISHED, ("l", "slash", *"epoch 1", "enter")),
        (FINISHED, ("6",)),
        (FINISHED, ("9",)),
        (FAILED, ()),
        (QUEUED, ()),
        (EVALUATION, ()),
        (EVALUATION, ("2",)),
        (DETECTION, ()),
    ],
    ids=[
        *("curves", "classes", "log-searched", "config", "load", "failed", "no-epoch-yet"),
        *("evaluation", "evaluation-images", "detection"),
    ],
)
def test_snapshot(
    snap_compare: object, workspace: Workspace, size: tuple[int, int], run_id: str, keys: tuple[str, ...]
) -> None:
    from tests.tui.snapshots import app_at

    if run_id == EVALUATION:
        add_evaluation(workspace, EVALUATION, name="unet-val-original")
    elif run_id == DETECTION:
        add_detection(workspace, DETECTION)
    lines = [sample(NOW + 60 * n, 1, 1.5 + n % 3 / 4, 340.0 + n % 7, 355.0 + n % 5) for n in range(40)]
    workspace.run_dir(FINISHED).samples.write_text("\n".join(lines) + "\n")

    async def show(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, SegTui)
        app.go_to.run(run_id)
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.detail is not None)
        await settled(pilot)
        await pilot.press(*keys)
        await settled(pilot)

    app, before = app_at(workspace, show)
    assert snap_compare(app, terminal_size=size, run_before=before)  # type: ignore[operator]


def sample(t: float, attempt: int, cores: float, *watts: float) -> str:
    gpus = [Gpu(index, "H100", 90 - index, each, 40 << 30, 80 << 30, 61) for index, each in enumerate(watts)]
    return json.dumps(asdict(Sample(t, attempt, cores, 3 << 30, tuple(gpus))))


@pytest.mark.asyncio
async def test_load_draws_what_the_run_used_over_the_time_it_was_at_work(workspace: Workspace) -> None:
    lines = [sample(NOW, 1, 1.5, 350.0, 410.0), sample(NOW + 60, 1, 1.75, 355.0, 420.0)]
    # A worker was killed as it wrote; two days later the run went on.
    lines += ['{"t":17', sample(NOW + 172_800, 2, 1.25, 300.0, 310.0)]
    workspace.run_dir(FINISHED).samples.write_text("\n".join(lines) + "\n")
    async with run_screen(workspace, FINISHED) as (app, pilot, screen):
        await to_tab(pilot, screen, "load")
        await until(pilot, lambda: "GPU power, W" in screen_text(app), "charts of the GPUs")
        cores, watts = (screen.query_one(f"#load-{name}", Chart) for name in ("cores", "watts"))
        assert [curve.name for curve in watts.curves] == ["GPU 0", "GPU 1"]
        assert list(cores.curves[0].x) == [0, 60, 61, 62], "two days without the run take no room"
        assert list(cores.curves[0].y) == [1.5, 1.75, None, 1.25]
        assert list(watts.curves[1].y) == [410.0, 420.0, None, 310.0]


@pytest.mark.asyncio
async def test_load_of_a_run_without_gpus_has_no_charts_of_them(workspace: Workspace) -> None:
    workspace.run_dir(FINISHED).samples.write_text(sample(NOW, 1, 1.5) + "\n")
    async with run_screen(workspace, FINISHED) as (app, pilot, screen):
        await to_tab(pilot, screen, "load")
        await until(pilot, lambda: "1.50" in screen_text(app))
        assert "memory, GiB" in screen_text(app)
        assert "GPU" not in screen_text(app)


@pytest.mark.asyncio
async def test_results_are_those_of_the_run_and_of_whoever_looked_at_it(workspace: Workspace) -> None:
    source = add_with_gallery(workspace, "gal00001")
    detection = add_detection(workspace, DETECTION)
    async with run_screen(workspace, detection) as (app, pilot, screen):
        assert tab(screen) == "results"
        await until(pilot, lambda: "AUROC" in screen_text(app))
        assert "Curves" not in screen_text(app)
    async with run_screen(workspace, source) as (app, pilot, screen):
        await to_tab(pilot, screen, "results")
        await until(pilot, lambda: f"by run {detection}" in screen_text(app))


@pytest.mark.asyncio
async def test_what_others_measure_meanwhile_is_among_the_results(workspace: Workspace) -> None:
    source = add_with_gallery(workspace, "gal00001")
    async with run_screen(workspace, source) as (app, pilot, screen):
        await to_tab(pilot, screen, "results")
        assert "by run" not in screen_text(app)
        detection = add_detection(workspace, DETECTION)
        app.live.nudge()
        await until(pilot, lambda: f"by run {detection}" in screen_text(app))


def test_one_thing_is_told_in_the_singular(workspace: Workspace) -> None:
    told = files_text(workspace.root, (FileEntry("run.json", 10, NOW),), 80).plain
    assert "10 B in 1 file\n" in told
    row = EventRow(1, NOW, 1, "gallery", {"samples": ["a"], "epoch": 3})
    assert "1 prediction of epoch 3" in events_text([row], 80).plain


def test_the_size_of_some_files_is_not_told_as_that_of_all(workspace: Workspace) -> None:
    files = tuple(FileEntry(f"{n:04}", 1024, NOW) for n in range(MOST_FILES))
    assert "500 KiB in the first 500 files; others are not" in files_text(workspace.root, files, 80).plain
