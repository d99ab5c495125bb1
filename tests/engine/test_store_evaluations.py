"""Evaluations in the database: scores of a run by another, and of every image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.requests.derive import find_baseline
from engine.requests.refusals import Refused
from engine.run.event import MetricScore
from engine.run.events import AnyEvent, Epoch
from engine.run.scoring_events import Result
from engine.store import Store, StoreError
from tests.conftest import NewDatabase
from tests.engine.made_up_runs import (
    MadeUpJournal,
    add_run,
    evaluating,
    evaluation_config,
    evaluation_journal,
    finished_journal,
    image_event,
    ingest,
)

SOURCE, EVALUATION = "aaaaaaaa", "eeeeeeee"
DICES = {"city/a": 0.4, "city/b": None, "city/c": 0.2}


@pytest.fixture
def store(tmp_path: Path, new_database: NewDatabase) -> Iterator[Store]:
    with Store(new_database(tmp_path), timeout=5.0) as opened:
        add_run(opened, SOURCE)
        ingest(opened, SOURCE, finished_journal().events)
        add_run(opened, EVALUATION, evaluation_config(SOURCE))
        yield opened


def test_the_source_lists_what_others_scored_of_it(store: Store) -> None:
    ingest(store, EVALUATION, evaluation_journal(SOURCE, DICES).events)
    (own,) = store.results.evaluations(SOURCE)
    (made,) = store.results.evaluations_of(SOURCE)
    assert store.results.evaluations(EVALUATION) == [made]
    assert (own.run_id, own.source, own.at) == (SOURCE, "", "input")
    assert (made.run_id, made.source, made.at) == (EVALUATION, SOURCE, "original")
    assert (made.label_resize, made.parameters, made.frames_per_second) == (
        "bilinear-logits",
        31_000_000,
        50.0,
    )
    assert store.results.evaluations_of(EVALUATION) == []


def test_an_evaluation_is_no_best_run(store: Store) -> None:
    ingest(store, EVALUATION, evaluation_journal(SOURCE, {"a": 0.99}).events)
    row = store.run(EVALUATION)
    assert (row.task, row.source, row.status) == ("evaluate", SOURCE, "finished")
    assert (row.best_dice, row.last_dice) == (None, 0.99)
    assert [run.id for run in store.leaderboard()] == [SOURCE]
    assert store.experiments()[0].best_dice == 0.6


def test_a_run_is_the_baseline_by_its_best_checkpoint_and_an_evaluation_by_its_own(store: Store) -> None:
    wanted = evaluation_config("bbbbbbbb")
    last = add_run(store, "ffffffff", evaluation_config(SOURCE))
    of_last = evaluation_journal(SOURCE, {"a": 0.7}, begins=9000.0).events
    path = f"../{SOURCE}/checkpoints/last.pt"
    ingest(
        store,
        last,
        [e.model_copy(update={"checkpoint": path}) if isinstance(e, Result) else e for e in of_last],
    )
    with pytest.raises(Refused, match=f"--baseline {SOURCE}: has no evaluation of this kind"):
        find_baseline(store, SOURCE, wanted)
    ingest(store, EVALUATION, evaluation_journal(SOURCE, {"a": 0.3}).events)
    assert find_baseline(store, SOURCE, wanted).run_id == EVALUATION
    assert find_baseline(store, last, wanted).run_id == last


def test_a_metric_of_a_run_is_that_of_the_newest_evaluation_of_its_network(store: Store) -> None:
    def found(run_id: str) -> tuple[object, ...]:
        return store.values(["metric.recall", "metric.recall.car", "evaluate.dice"], [run_id])[run_id]

    def with_recall(event: AnyEvent, recall: float) -> AnyEvent:
        score = MetricScore(name="recall", value=recall, classes={"car": recall / 2})
        return event.model_copy(update={"metrics": [score]}) if isinstance(event, Epoch | Result) else event

    trained = add_run(store, "bbbbbbbb")
    ingest(store, trained, [with_recall(event, 0.8) for event in finished_journal().events])
    own = found(trained)
    assert own[:2] == (0.8, 0.4)
    evaluation = add_run(store, "ffffffff", evaluation_config(trained))
    scored = evaluation_journal(trained, {"a": 0.3}).events
    ingest(store, evaluation, [with_recall(event, 0.5) for event in scored])
    assert found(trained) == found(evaluation) == (0.5, 0.25, 0.3)


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("dice", "cab"),
        ("-dice", "acb"),
        ("image", "abc"),
        ("-image", "cba"),
        ("class:car", "acb"),
        ("-class:car", "cab"),
        ("-valid_pixels", "acb"),
    ],
)
def test_images_come_worst_first_or_as_asked(store: Store, sort: str, names: str) -> None:
    ingest(store, EVALUATION, evaluation_journal(SOURCE, DICES).events)
    assert "".join(row.image[-1] for row in store.results.image_scores(EVALUATION, sort)) == names
    assert len(store.results.image_scores(EVALUATION, sort, limit=2)) == 2


def test_an_order_that_does_not_exist_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="colour: images have image, dice"):
        store.results.image_scores(EVALUATION, "colour")


def test_the_attempt_that_goes_on_keeps_what_is_scored(store: Store) -> None:
    journal = MadeUpJournal()
    journal.begin()
    journal.add(evaluating(SOURCE, 3))
    journal.add(image_event("a", 0.1))
    journal.add(image_event("b", 0.2))
    journal.begin()
    journal.add(evaluating(SOURCE, 3, done=1))
    journal.add(image_event("b", 0.25))
    journal.add(image_event("c", 0.3))
    ingest(store, EVALUATION, journal.events)
    assert [(r.image, r.dice) for r in store.results.image_scores(EVALUATION)] == [
        ("a", 0.1),
        ("b", 0.25),
        ("c", 0.3),
    ]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_attempt_that_begins_anew_keeps_none(store: Store, at_once: bool) -> None:
    journal = MadeUpJournal()
    journal.begin()
    journal.add(evaluating(SOURCE, 2))
    journal.add(image_event("a", 0.1))
    journal.begin()
    journal.add(evaluating(SOURCE, 2))
    journal.add(image_event("b", 0.2))
    for events in [journal.events] if at_once else [[event] for event in journal.events]:
        ingest(store, EVALUATION, events)
    assert [row.image for row in store.results.image_scores(EVALUATION)] == ["b"]


def test_deleting_an_evaluation_takes_its_images_along(store: Store) -> None:
    ingest(store, EVALUATION, evaluation_journal(SOURCE, DICES).events)
    store.lifecycle.delete(EVALUATION)
    assert store.results.evaluations_of(SOURCE) == []
    with store.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM images").scalar() == 0
