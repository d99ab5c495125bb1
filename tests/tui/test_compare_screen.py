"""The compare screen: runs over each other, against a baseline, folded, exported."""

from __future__ import annotations

import contextlib
import csv
import threading
from collections.abc import AsyncIterator, Sequence

import pytest
from textual.pilot import Pilot
from textual.widgets import TabbedContent, TabPane
from textual.worker import Worker, get_current_worker

from engine.report.compare import compare
from engine.report.compared_runs import compared_run
from engine.workspace import Workspace
from seg_tui.app import SegTui
from seg_tui.compare.choice import Choice
from seg_tui.compare.reading import Compared, compare_runs
from seg_tui.screens.compare import CompareScreen
from seg_tui.screens.dashboard import Dashboard
from seg_tui.widgets.chart import Chart
from tests.engine.made_up_runs import (
    detection_config,
    detection_journal,
    evaluation_config,
    evaluation_journal,
    generalise_config,
    generalise_journal,
    latency_config,
    latency_journal,
    latency_result,
    make_run_dir,
    refined_journal,
)
from tests.tui.conftest import opened, screen_text, settled, until
from tests.tui.made_up_workspace import NOW, add, learning_journal
from tests.tui.snapshots import app_at

SEEDS = ("aaaa0000", "aaaa0001", "aaaa0002")


@pytest.fixture
def compared(workspace: Workspace) -> Workspace:
    """The made-up runs, and one with another optimizer."""
    journal = learning_journal(0.66, seed=9)
    journal.finish(30)
    changes: dict[str, object] = {"optimizer.name": "adamw", "optimizer.lr": 0.05, "seed": 0}
    add(workspace, "eeee0000", journal, changes, name="unet-adamw", experiment="paper")
    return workspace


@contextlib.asynccontextmanager
async def comparing(
    workspace: Workspace, ids: Sequence[str], size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[SegTui, Pilot[None], CompareScreen]]:
    async with opened(workspace, size) as (app, pilot):
        app.go_to.comparison(ids)
        await until(
            pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen.comparison is not None
        )
        await settled(pilot)
        assert isinstance(app.screen, CompareScreen)
        yield app, pilot, app.screen


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await settled(pilot)


def names(screen: CompareScreen) -> list[str]:
    return [curve.name for curve in screen.query_one(Chart).curves if not curve.behind]


def row(app: SegTui, title: str) -> list[str]:
    """The cells of a line of the table that begins with `title`."""
    line = next(line for line in inside(app) if line.startswith(title))
    return line.removeprefix(title).split()


def inside(app: SegTui) -> list[str]:
    """The lines of the screen without the frames of the panes."""
    return [line.strip(" │") for line in screen_text(app).splitlines()]


@pytest.mark.asyncio
async def test_every_number_is_held_to_the_baseline_and_b_pins_another(compared: Workspace) -> None:
    async with comparing(compared, ("aaaa0000", "eeee0000")) as (app, pilot, screen):
        assert names(screen) == ["A unet-seed0", "B unet-adamw"]
        own, other = (run.row.best_dice for run in screen.runs)
        assert row(app, "best Dice") == [f"{own:.4f}", f"{other:.4f}", f"{other - own:+.4f}"]
        assert row(app, "run")[1] == "baseline"
        await press(pilot, "b")
        assert row(app, "best Dice") == [f"{own:.4f}", f"{own - other:+.4f}", f"{other:.4f}"]
        assert "baseline B unet-adamw" in screen_text(app)
        await press(pilot, "b")
        assert "baseline A unet-seed0" in screen_text(app)


@pytest.mark.asyncio
async def test_what_is_not_measured_yet_is_told_in_lines_that_fit(compared: Workspace) -> None:
    async with comparing(compared, ("aaaa0000", "eeee0000"), (80, 24)) as (app, pilot, _):
        for key, end in (
            ("4", "that of a run"),
            ("5", "does that"),
            ("6", "measures them"),
            ("7", "does that"),
        ):
            await press(pilot, key)
            assert end in " ".join(" ".join(inside(app)).split())


@pytest.mark.asyncio
async def test_seeds_fold_into_mean_and_deviation(compared: Workspace) -> None:
    async with comparing(compared, (*SEEDS, "eeee0000")) as (app, pilot, screen):
        assert len(names(screen)) == 4
        await press(pilot, "f")
        assert [name.split(",")[-1].strip() for name in names(screen)] == ["3 seeds", "B unet-adamw"]
        best = [run.row.best_dice for run in screen.runs[:3]]
        assert f"{sum(best) / 3:.4f} ± " in screen_text(app)
        assert row(app, "seeds") == ["3", "1"]
        chart = screen.query_one(Chart)
        assert sum(curve.behind for curve in chart.curves) == 3
        first = [chart.curves[place].at(10) for place in range(4)]
        assert first[0] == pytest.approx(sum(first[1:]) / 3)
        await press(pilot, "T")
        assert [name[-6:] for name in names(screen)[:3]] == ["seed 0", "seed 1", "seed 2"]
        await press(pilot, "T", "f")
        assert len(names(screen)) == 4


@pytest.mark.asyncio
async def test_a_seed_that_was_run_twice_counts_once(compared: Workspace) -> None:
    journal = learning_journal(0.9, seed=4)
    journal.finish(30)
    add(compared, "ffff0000", journal, {"seed": 2}, name="unet-again", experiment="paper")
    async with comparing(compared, (*SEEDS, "ffff0000")) as (_app, pilot, screen):
        await press(pilot, "f")
        chart = screen.query_one(Chart)
        mean, *each = (curve.at(10) for curve in chart.curves)
        assert len(each) == 4
        assert mean == pytest.approx((each[0] + each[1] + (each[2] + each[3]) / 2) / 3)
        for tab in screen.query(TabPane):  # each shows a single entry, too
            screen.query_one(TabbedContent).active = str(tab.id)
            await settled(pilot)


@pytest.mark.asyncio
async def test_the_curves_can_be_of_any_metric_and_split(compared: Workspace) -> None:
    async with comparing(compared, ("aaaa0000", "eeee0000")) as (app, pilot, screen):
        chart = screen.query_one(Chart)
        titles = []
        for key in ("m", "m", "m", "m", "M", "T"):
            titles.append(chart.title)
            await press(pilot, key)
        assert titles == ["Dice val", "loss val", "mIoU val", "learning rate", "Dice val", "Dice train"]
        assert [line for line in inside(app) if line.startswith("time")]


@pytest.mark.asyncio
async def test_classes_come_with_the_biggest_loss_first_and_only_differing_keys_are_told(
    compared: Workspace,
) -> None:
    async with comparing(compared, ("eeee0000", "aaaa0002")) as (app, pilot, _):
        await press(pilot, "2")
        text = screen_text(app)
        assert "largest drop from A first" in text
        assert row(app, "road")[2].startswith("-")
        await press(pilot, "v")
        assert row(app, "optimizer.name") == ["adamw", "sgd"]
        assert row(app, "seed") == ["0", "2"]
        assert "epochs " not in screen_text(app).split("Config")[-1]


@pytest.mark.asyncio
async def test_published_rows_are_shown_on_request_and_never_as_runs(compared: Workspace) -> None:
    async with comparing(compared, ("aaaa0000", "eeee0000")) as (app, pilot, screen):
        assert "Published" not in screen_text(app)
        await press(pilot, "P")
        assert screen.query_one(TabbedContent).active == "published"
        text = screen_text(app)
        assert "published by the study, not measured here" in text
        assert "0.68704" in text
        assert len(screen.comparison.entries) == 2
        await press(pilot, "P")
        assert "0.68704" not in screen_text(app)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("downs", "suffix", "inside"),
    [(0, ".csv", b"best_dice"), (1, ".md", b"| best Dice |"), (2, ".tex", b"\\toprule"), (3, ".png", b"PNG")],
)
async def test_what_is_seen_is_exported_and_the_path_is_told(
    compared: Workspace, downs: int, suffix: str, inside: bytes
) -> None:
    async with comparing(compared, ("aaaa0000", "eeee0000")) as (app, pilot, _):
        await press(pilot, "b", "x", *["down"] * downs, "enter")
        await until(pilot, lambda: list((compared.root / "exports").glob("*")))
        await settled(pilot)
        (path,) = (compared.root / "exports").iterdir()
        assert path.suffix == suffix
        assert path.name.startswith("compare-aaaa0000-eeee0000-")
        assert inside in path.read_bytes()
        assert [notice.message for notice in app._notifications] == [f"exported: {path}"]
        if suffix == ".csv":
            rows = list(csv.DictReader(path.read_text().splitlines()))
            assert [line["baseline"] for line in rows] == ["0", "1"]


@pytest.mark.asyncio
async def test_an_export_that_cannot_be_written_says_why(compared: Workspace) -> None:
    (compared.root / "exports").write_text("in the way")
    async with comparing(compared, ("aaaa0000", "eeee0000")) as (app, pilot, screen):
        await press(pilot, "x", "enter")
        await until(pilot, lambda: any("cannot be written" in n.message for n in app._notifications))
        assert app.screen is screen


@pytest.mark.asyncio
async def test_a_metric_that_no_figure_draws_is_refused_not_replaced(compared: Workspace) -> None:
    async with comparing(compared, ("aaaa0000", "eeee0000")) as (app, pilot, _):
        await press(pilot, "m", "m", "m", "x", "down", "down", "down", "enter")
        await until(pilot, lambda: any("lr: is nothing a curve" in n.message for n in app._notifications))
        assert not list((compared.root / "exports").glob("*.png"))


@pytest.mark.asyncio
async def test_a_compared_run_that_goes_is_left_out_and_runs_that_learn_are_followed(
    compared: Workspace,
) -> None:
    async with comparing(compared, (*SEEDS, "cccc0000")) as (app, pilot, screen):
        with compared.open_store() as store:
            store.lifecycle.delete("aaaa0001")
        app.live.nudge()
        await until(pilot, lambda: len(names(screen)) == 3)
        assert "D" not in [name.split()[0] for name in names(screen)]
        learning_journal(0.5, 13).write(compared.run_dir("cccc0000").journal)
        with compared.open_store() as store:
            store.journals.import_run(compared.run_dir("cccc0000"))
        app.live.nudge()
        await until(pilot, lambda: len(screen.query_one(Chart).curves[-1].x) == 13)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, Dashboard))


@pytest.mark.asyncio
async def test_runs_without_scores_are_compared_too(compared: Workspace) -> None:
    async with comparing(compared, ("dddd0000", "bbbb0000"), (80, 24)) as (app, pilot, _):
        assert "these runs have not finished an epoch yet" in screen_text(app)
        assert "is queued" in screen_text(app)
        await press(pilot, "2")
        assert "no scores by class" in screen_text(app)


@pytest.mark.asyncio
async def test_runs_that_score_another_network_take_no_room_in_the_legend(compared: Workspace) -> None:
    journal = evaluation_journal("aaaa0000", {"one": 0.5})
    run = make_run_dir(compared.runs, "eval0000", journal, evaluation_config("aaaa0000"), name="scored")
    with compared.open_store() as store:
        store.journals.import_run(run)
    async with comparing(compared, ("aaaa0000", "eval0000")) as (app, _, screen):
        assert names(screen) == ["A unet-seed0"]
        assert "eval0000" in screen_text(app), "its numbers are in the table"


def test_what_is_compared_and_exported_is_what_the_command_line_compares(compared: Workspace) -> None:
    for run_id, dice in (("eval0000", 0.5), ("eval0001", 0.7)):
        journal = evaluation_journal("aaaa0000", {"one": dice})
        run = make_run_dir(compared.runs, run_id, journal, evaluation_config("aaaa0000"))
        with compared.open_store() as store:
            store.journals.import_run(run)
    with compared.open_store() as store:
        for ids in (("aaaa0000", "eeee0000"), ("eval0000", "eval0001")):
            found = compare_runs(lambda: store, ids, (), Choice())
            assert isinstance(found, Compared)
            assert any(metric.name.startswith("dice: ") for metric in found.comparison.metrics), ids
            assert found.comparison.classes, ids
            again = compare_runs(lambda: store, ids, found.runs, Choice())
            assert isinstance(again, Compared)
            asked = compare([compared_run(store, run_id) for run_id in ids])
            assert found.comparison == again.comparison == asked


@pytest.mark.asyncio
async def test_marked_runs_are_compared_from_the_dashboard(compared: Workspace) -> None:
    async with opened(compared) as (app, pilot):
        await pilot.press("a", "c")
        await until(
            pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen.comparison is not None
        )
        assert len(app.screen.runs) == 7


@pytest.mark.asyncio
async def test_speed_is_drawn_with_the_front_and_what_is_left_out_is_named(compared: Workspace) -> None:
    async with comparing(compared, (*SEEDS, "eeee0000"), (80, 40)) as (app, pilot, _):
        await press(pilot, "4")
        assert "no latency measured yet; `seg-engine bench RUN --latency`" in screen_text(app)
        await pilot.press("escape")
        for source, seconds in zip(SEEDS, (0.05, 0.02, 0.3), strict=True):
            time_network(compared, source, seconds)
        app.go_to.comparison((*SEEDS, "eeee0000"))
        await until(pilot, lambda: "Speed" in screen_text(app))
        await press(pilot, "4")
        await until(pilot, lambda: "frames/s" in screen_text(app))
        assert "D unet-adamw: no latency measured" in screen_text(app)
        assert "protocol engine, torch fp32, each at its input size, A CPU, 2 threads" in screen_text(app)


@pytest.mark.asyncio
async def test_environments_are_told_for_each_run_that_was_scored_there(compared: Workspace) -> None:
    async with comparing(compared, ("aaaa0000", "eeee0000")) as (app, pilot, _):
        await press(pilot, "5")
        assert "scored in no other environment yet; `seg-engine generalise RUN" in screen_text(app)
        await pilot.press("escape")
        score_elsewhere(compared, "eeee0000")
        app.go_to.comparison(("aaaa0000", "eeee0000"))
        await until(pilot, lambda: "Environments" in screen_text(app))
        await press(pilot, "5")
        await until(pilot, lambda: "town" in screen_text(app))
        assert row(app, "town") == ["B", "3", "0.5000", "-0.3000", "0.2500", "-0.1500"]


@pytest.mark.asyncio
async def test_what_networks_do_not_know_is_told_for_each_run_that_was_asked(compared: Workspace) -> None:
    async with comparing(compared, ("aaaa0000", "eeee0000")) as (app, pilot, _):
        await press(pilot, "6")
        assert "no out-of-distribution scores yet; `seg-engine ood RUN --ood-data DIR`" in screen_text(app)
        await pilot.press("escape")
        find_out_of_distribution(compared, "eeee0000")
        app.go_to.comparison(("aaaa0000", "eeee0000"))
        await until(pilot, lambda: "OOD" in screen_text(app))
        await press(pilot, "6")
        await until(pilot, lambda: "AUROC" in screen_text(app))
        line = next(line for line in inside(app) if " energy " in line)
        assert line.split()[1:] == ["pixel", "energy", "B", "0.8000", "0.4000", "0.6000"]


@pytest.mark.asyncio
async def test_crfs_are_told_with_the_scores_without_them(compared: Workspace) -> None:
    async with comparing(compared, ("aaaa0000", "eeee0000")) as (app, pilot, _):
        await press(pilot, "7")
        assert "scored with no CRF yet; `seg-engine evaluate RUN --crf`" in screen_text(app)
        await pilot.press("escape")
        refine(compared, "aaaa0000")
        app.go_to.comparison(("aaaa0000", "eeee0000"))
        await until(pilot, lambda: "CRF" in screen_text(app))
        await press(pilot, "7")
        await until(pilot, lambda: "with and without a CRF" in screen_text(app))
        assert row(app, "val at original, 3 images")[:4] == ["A", "0.6000", "0.6000", "+0.0000"]
        assert row(app, "car") == ["0.2500", "0.1111", "-0.1389"]


def find_out_of_distribution(workspace: Workspace, source: str) -> None:
    """A run that measured what another's network does not know."""
    run = make_run_dir(
        workspace.runs, f"77{source[2:]}", detection_journal(), detection_config(source), created=NOW
    )
    with workspace.open_store() as store:
        store.journals.import_run(run)


def refine(workspace: Workspace, source: str) -> None:
    """A run that scored another's network with a CRF and without."""
    before = {"road": 0.8, "person": 0.6, "car": 0.4}
    journal = refined_journal(source, before, {**before, "road": 0.9, "person": 0.7, "car": 0.2})
    run = make_run_dir(workspace.runs, f"66{source[2:]}", journal, evaluation_config(source), created=NOW)
    with workspace.open_store() as store:
        store.journals.import_run(run)


def score_elsewhere(workspace: Workspace, source: str) -> None:
    """A run that scored another's network in other environments."""
    made = generalise_journal(), generalise_config(source)
    run = make_run_dir(workspace.runs, f"88{source[2:]}", *made, created=NOW)
    with workspace.open_store() as store:
        store.journals.import_run(run)


def time_network(workspace: Workspace, source: str, seconds: float) -> None:
    """A run that measured the latency of another's network."""
    journal = latency_journal(source, latency_result(seconds=seconds))
    run = make_run_dir(workspace.runs, f"99{source[2:]}", journal, latency_config(source), created=NOW)
    with workspace.open_store() as store:
        store.journals.import_run(run)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize(
    ("ids", "keys"),
    [
        ((*SEEDS, "eeee0000"), ()),
        ((*SEEDS, "eeee0000"), ("f", "b")),
        ((*SEEDS, "eeee0000"), ("2",)),
        ((*SEEDS, "eeee0000"), ("3",)),
        ((*SEEDS, "eeee0000"), ("4",)),
        ((*SEEDS, "eeee0000"), ("5",)),
        ((*SEEDS, "eeee0000"), ("6",)),
        ((*SEEDS, "eeee0000"), ("7",)),
        ((*SEEDS, "eeee0000"), ("P",)),
        ((*SEEDS, "eeee0000", *(f"ffff00{number:02d}" for number in range(8))), ()),
        (("dddd0000", "bbbb0000"), ()),
    ],
    ids=[
        "curves",
        "folded",
        "classes",
        "config",
        "speed",
        "environments",
        "ood",
        "crf",
        "published",
        "twelve",
        "empty",
    ],
)
def test_snapshot(
    snap_compare: object,
    compared: Workspace,
    size: tuple[int, int],
    ids: tuple[str, ...],
    keys: tuple[str, ...],
) -> None:
    for number, run_id in enumerate(run_id for run_id in ids if run_id.startswith("ffff")):
        journal = learning_journal(0.3 + 0.04 * number, seed=number)
        add(compared, run_id, journal, {"optimizer.lr": 0.02 * (number + 1)}, name=f"unet-with-lr-{number}")

    if keys == ("4",):
        for source, seconds in zip(ids[:3], (0.05, 0.02, 0.3), strict=True):
            time_network(compared, source, seconds)

    if keys == ("5",):
        for source in ("aaaa0000", "eeee0000"):
            score_elsewhere(compared, source)

    if keys == ("6",):
        for source in ("aaaa0000", "eeee0000"):
            find_out_of_distribution(compared, source)

    if keys == ("7",):
        refine(compared, "aaaa0000")

    async def show(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, SegTui)
        app.go_to.comparison(ids)
        await until(
            pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen.comparison is not None
        )
        await press(pilot, *keys)

    app, before = app_at(compared, show)
    assert snap_compare(app, terminal_size=size, run_before=before)  # type: ignore[operator]


@pytest.mark.asyncio
async def test_runs_that_are_gone_close_no_screen_that_lies_over_the_comparison(compared: Workspace) -> None:
    async with comparing(compared, ("aaaa0000", "eeee0000")) as (app, pilot, _):
        await press(pilot, "question_mark")
        help_screen = app.screen
        with compared.open_store() as store:
            store.lifecycle.delete("aaaa0000")
            store.lifecycle.delete("eeee0000")
        app.live.nudge()
        await until(pilot, lambda: "eeee0000" not in app.snapshot.runs, "the news")
        await settled(pilot)
        assert app.screen is help_screen
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, Dashboard), "the dashboard")


@pytest.mark.asyncio
async def test_a_slow_comparison_does_not_replace_what_is_wanted_since(
    compared: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def slow(store: object, run_ids: object, before: object, choice: Choice) -> object:
        if choice.fold_seeds:
            begun.set()
            goes_on.wait(30)
        return compare_runs(store, run_ids, before, choice)  # type: ignore[arg-type]

    class Noted:
        def __init__(self) -> None:
            self._worker = get_current_worker()

        @property
        def is_cancelled(self) -> bool:
            ended.append(self._worker)
            return self._worker.is_cancelled

    ended: list[Worker[object]] = []
    monkeypatch.setattr("seg_tui.screens.compare.compare_runs", slow)
    monkeypatch.setattr("seg_tui.screens.compare.get_current_worker", Noted)
    async with comparing(compared, SEEDS) as (_, pilot, screen):
        await pilot.press("f")
        await until(pilot, begun.is_set, "the slow one")
        await pilot.press("f")
        await until(pilot, lambda: len(ended) == 2, "what is wanted")
        goes_on.set()
        await until(pilot, lambda: len(ended) == 3, "what was wanted")
        assert screen.comparison is not None
        assert len(screen.comparison.entries) == 3
