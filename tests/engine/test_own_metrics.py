"""Metrics as components: what they may give, what becomes of it, and what is said of one that fails."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine import metrics
from engine.classes import ClassInfo, ClassSet
from engine.components.origin import ComponentError
from engine.metrics.builtin import METRICS
from engine.metrics.image_confusions import ImageConfusions
from engine.metrics.recorded import RecordedMetrics
from engine.plugins import load_plugin
from engine.report.compare import compare
from engine.report.compare_formats import comparison_text
from engine.report.compare_records import comparison_csv
from engine.report.measures import ComparedRun, Evaluation
from engine.run.event import MetricScore
from engine.run.events import Epoch
from engine.run.scoring_events import Result
from engine.store import Store
from tests.conftest import NewDatabase
from tests.engine.made_up_runs import (
    MadeUpJournal,
    add_run,
    epoch_event,
    evaluation_config,
    evaluation_journal,
    finished_journal,
    ingest,
)

TWO = ClassSet("two", (ClassInfo("a", (0, 0, 0), (0,)), ClassInfo("b", (1, 1, 1), (1,))))
COUNTS = np.array([[6, 2, 0], [1, 3, 0]], np.int64)


@pytest.fixture(autouse=True)
def _of_this_test_alone() -> Iterator[None]:
    named, origins = dict(METRICS._named), dict(METRICS._origins)
    yield
    METRICS._named, METRICS._origins = named, origins


def measured(compute: Callable[..., object], **about: object) -> tuple[list[MetricScore], list[str]]:
    """What a metric gives for COUNTS, and what is said."""
    compute.__doc__ = "A metric."
    metrics.register(**about)(compute)  # type: ignore[arg-type]
    lines: list[str] = []
    recorded = RecordedMetrics(TWO, lines.append)
    images = [COUNTS, 2 * COUNTS]
    recorded.of(COUNTS, images)  # a complaint is made once
    return [score for score in recorded.of(COUNTS, images) if score.name == compute.__name__], lines


def test_a_number_a_number_per_class_and_numbers_of_images() -> None:
    def errors(confusion: np.ndarray, classes: ClassSet) -> int:
        return int(confusion.sum() - confusion.diagonal().sum())

    (found,), said = measured(errors, better="lower", high=None, unit="pixels")
    assert (found.value, found.better, found.low, found.high, found.unit) == (3, "lower", 0, None, "pixels")

    def recall(confusion: np.ndarray, classes: ClassSet) -> np.ndarray:
        return np.array([confusion[0, 0] / confusion[0].sum(), np.nan])

    (found,), said = measured(recall)
    assert (found.value, found.classes, said) == (0.75, {"a": 0.75, "b": None}, [])

    def images(confusions: list[np.ndarray], classes: ClassSet) -> int:
        return sum(int(one.sum()) for one in confusions)

    (found,), said = measured(images, high=None, per_image=True)
    assert found.value == 36


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        (2.5, "gave 2.5, which is outside of 0.0 to 1.0"),
        (float("inf"), "gave inf, which is outside of 0.0 to 1.0"),
        ([0.1], "gave 1 numbers for 2 classes"),
        (object(), "which is not a number"),
        ("abc", "gave 3 numbers for 2 classes"),
    ],
)
def test_what_is_no_number_is_left_out_and_told_once(gives: object, says: str) -> None:
    def wrong(confusion: np.ndarray, classes: ClassSet) -> object:
        return gives

    found, said = measured(wrong)
    assert found == []
    (line,) = said
    assert line.startswith("metric wrong: ")
    assert line.endswith(f"{says}; it is left out")


def test_undefined_numbers_are_kept_as_such_and_a_metric_cannot_change_what_others_see() -> None:
    def spoils(confusion: np.ndarray, classes: ClassSet) -> float:
        confusion[:] = 0
        return float("nan")

    (found,), said = measured(spoils)
    assert (found.value, said, COUNTS.sum()) == (None, [], 12)


def test_an_error_names_the_plugins_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.plugins._plugins", {})  # no other test's configs are to name the file
    (tmp_path / "mine.py").write_text(
        "from engine import metrics\n@metrics.register()\ndef broken(confusion, classes):\n"
        "    'Divides by nothing.'\n    return 1 // 0\n"
    )
    load_plugin(tmp_path / "mine.py")
    lines: list[str] = []
    assert RecordedMetrics(TWO, lines.append).of(COUNTS) == []
    (line,) = lines
    assert line.startswith(f"metric broken: {tmp_path / 'mine.py'}:5: ZeroDivisionError")


def test_a_metric_needs_a_docstring_and_a_name_of_its_own() -> None:
    def nameless(confusion: np.ndarray, classes: ClassSet) -> float:
        return 0.0

    with pytest.raises(ComponentError, match="nameless: needs a docstring"):
        metrics.register()(nameless)
    nameless.__doc__ = "It."
    with pytest.raises(ComponentError, match="low must be below high"):
        metrics.register(low=1, high=0)(nameless)


def test_the_confusions_of_images_are_a_sequence() -> None:
    kept = ImageConfusions(("a", "b"))
    kept.add("one", COUNTS)
    kept.add("two", 2 * COUNTS)
    matrices = kept.matrices()
    assert [int(one.sum()) for one in matrices] == [12, 24]
    assert (matrices[-1] == 2 * COUNTS).all()
    assert len(matrices[1:]) == 1
    with pytest.raises(IndexError):
        matrices[2]


SOURCE, EVALUATION = "aaaaaaaa", "eeeeeeee"


def fwiou(value: float | None, **classes: float | None) -> list[MetricScore]:
    return [MetricScore(name="fwiou", value=value, classes=classes, low=0, high=1, better="higher")]


def journal_with_metrics() -> MadeUpJournal:
    journal = finished_journal()
    journal.events = [
        event.model_copy(update={"metrics": fwiou(event.epoch / 10, car=0.5, road=None)})
        if isinstance(event, Epoch) and event.split == "val"
        else event
        for event in journal.events
    ]
    return journal


@pytest.fixture
def store(tmp_path: Path, new_database: NewDatabase) -> Iterator[Store]:
    with Store(new_database(tmp_path), timeout=5.0) as opened:
        add_run(opened, SOURCE)
        ingest(opened, SOURCE, journal_with_metrics().events)
        add_run(opened, EVALUATION, evaluation_config(SOURCE))
        events = [
            event.model_copy(update={"metrics": fwiou(0.77)}) if isinstance(event, Result) else event
            for event in evaluation_journal(SOURCE, {"x": 0.5}).events
        ]
        ingest(opened, EVALUATION, events)
        yield opened


def test_numbers_of_epochs_and_results_are_stored_and_compared(store: Store) -> None:
    row, rows = store.run(SOURCE), store.results.metrics(SOURCE)
    of_epochs = {one.epoch: one.value for one in rows if one.measured == "epoch" and not one.class_name}
    assert of_epochs[1] == 0.1
    assert {one.class_name: one.value for one in rows if one.epoch == 1} == {
        "": 0.1,
        "car": 0.5,
        "road": None,
    }
    (scored,) = [one for one in rows if one.measured == "result"]
    assert (scored.run_id, scored.source, scored.at, scored.value) == (EVALUATION, SOURCE, "original", 0.77)
    assert not any("metrics" in event.payload for event in store.results.events(SOURCE))

    evaluation = Evaluation(store.results.evaluations_of(SOURCE)[0], external=False)
    run = ComparedRun(row, store.results.epochs(SOURCE), [evaluation], metrics=rows)
    comparison = compare([run])
    values = comparison.entries[0].values
    assert values["metric:fwiou"].mean == of_epochs[row.best_epoch or 0]
    assert values[f"metric:fwiou: {evaluation.kind}"].mean == 0.77
    (line,) = csv.DictReader(io.StringIO(comparison_csv(comparison)))
    assert float(line["metric:fwiou"]) == values["metric:fwiou"].mean
    assert "fwiou" in comparison_text(comparison, None).plain


def test_a_metric_without_bounds_is_told_with_its_unit(store: Store) -> None:
    rows = [replace(one, high=None, unit="px", value=1234.5) for one in store.results.metrics(SOURCE)]
    comparison = compare([ComparedRun(store.run(SOURCE), store.results.epochs(SOURCE), metrics=rows)])
    assert "1234.5 px" in comparison_text(comparison, None).plain


def test_epochs_that_are_done_again_leave_no_numbers_of_the_first_time(store: Store) -> None:
    add_run(store, "rrrrrrrr")
    journal = MadeUpJournal()
    journal.begin()
    for epoch in (1, 2):
        journal.add(epoch_event(epoch, "val", 0.5).model_copy(update={"metrics": fwiou(0.1 * epoch)}))
    journal.begin(resumed_from_epoch=1)
    journal.add(epoch_event(2, "val", 0.5))
    ingest(store, "rrrrrrrr", journal.events)
    assert [(one.epoch, one.value) for one in store.results.metrics("rrrrrrrr")] == [(1, 0.1)]
