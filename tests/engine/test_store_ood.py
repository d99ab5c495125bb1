"""Out-of-distribution results and robustness in the database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.run.events import Finished
from engine.store import Store
from tests.engine.made_up_runs import (
    add_run,
    detecting,
    detection_config,
    detection_journal,
    everything,
    finished_journal,
    ingest,
    ood_event,
    open_store,
    robustness_config,
    robustness_journal,
)

SOURCE, DETECTION, ROBUSTNESS = "aaaaaaaa", "dddddddd", "rrrrrrrr"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        add_run(opened, SOURCE)
        ingest(opened, SOURCE, finished_journal().events)
        add_run(opened, DETECTION, detection_config(SOURCE))
        add_run(opened, ROBUSTNESS, robustness_config(SOURCE))
        yield opened


def test_the_source_knows_what_others_found_out_about_its_network(store: Store) -> None:
    ingest(store, DETECTION, detection_journal().events)
    ingest(store, ROBUSTNESS, robustness_journal().events)
    found = store.results.ood_results(SOURCE)
    assert found == store.results.ood_results(DETECTION)
    assert [(row.run_id, row.source, row.level, row.score) for row in found] == [
        (DETECTION, SOURCE, "pixel", "msp"),
        (DETECTION, SOURCE, "pixel", "energy"),
        (DETECTION, SOURCE, "image", "knn"),
    ]
    assert (found[0].auroc, found[2].auroc, found[2].risk_coverage) == (0.7, None, [[0.5, 0.7], [1.0, 0.6]])
    (first, *_) = store.results.ood_images(DETECTION)
    assert (first.image, first.origin, first.out, first.dice) == ("a", "in", False, 0.6)
    assert (first.scores, first.include) == ({"energy": 0.5, "knn": 0.1}, {"energy": True, "knn": True})
    rows = store.results.corruptions(SOURCE)
    assert [(row.corruption, row.strength, row.dice) for row in rows][:2] == [
        ("clean", 0, 0.8),
        ("noise", 1, 0.7),
    ]
    assert store.results.ood_images(SOURCE) == []
    assert [run.id for run in store.leaderboard()] == [SOURCE]


def test_an_attempt_that_judges_anew_replaces_what_the_one_before_said(store: Store) -> None:
    first = detection_journal(images={"a": 0.5, "b": 2.0})
    first.events = [event for event in first.events if not isinstance(event, Finished)]
    ingest(store, DETECTION, first.events)
    first.begin()
    first.add(detecting())
    first.add(ood_event("pixel", "msp", 0.9))
    first.finish(0)
    ingest(store, DETECTION, first.events)
    assert [(row.score, row.auroc) for row in store.results.ood_results(DETECTION)] == [("msp", 0.9)]
    assert store.results.ood_images(DETECTION) == []


def test_a_deleted_run_leaves_nothing(store: Store) -> None:
    for run_id, journal in ((DETECTION, detection_journal()), (ROBUSTNESS, robustness_journal())):
        ingest(store, run_id, journal.events)
        store.lifecycle.delete(run_id)
    left = everything(store)
    assert not any(left[table] for table in ("ood_results", "ood_images", "corruptions"))
