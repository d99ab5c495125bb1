"""AUROC, AP and FPR95: against scikit-learn's numbers, against their definitions, and within their bounds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.metrics.detection import Detection, ScoreCounter, accepting_threshold, detection
from engine.metrics.scores import MetricsError

WITHIN = 1e-9
CASES = (
    "gaussian",
    "gaussian_ties",
    "gaussian_with_ignore",
    "all_equal",
    "perfect",
    "boundary_19_of_20",
    "no_ood",
)


def measured(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    limit: int = 10**6,
    bins: int = 2**20,
    parts: int = 1,
) -> Detection:
    counter = ScoreCounter(limit, bins)
    for some, which in zip(np.array_split(scores, parts), np.array_split(positive, parts), strict=True):
        counter.add(some, which)
    return detection(counter.groups())


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_those_of_scikit_learn(case: str, shared_data: Path) -> None:
    folder = shared_data / "reference_metrics" / "ood"
    expected = json.loads((folder / "expected.json").read_text())["cases"][case]
    arrays = np.load(folder / f"{case}.npz")
    valid = arrays["labels"] != 255
    found = measured(arrays["scores"][valid], arrays["labels"][valid] == 1)
    assert (found.positives, found.negatives) == (expected["n_ood"], expected["n_id"])
    reference = expected["sklearn"]
    if not found.positives:
        # scikit-learn says 0 for AP and FPR; there is nothing to be found, so nothing is said here.
        assert (found.auroc, found.average_precision, found.fpr95) == (None, None, None)
        return
    assert found.auroc == pytest.approx(reference["auroc"], abs=WITHIN)
    assert found.average_precision == pytest.approx(reference["average_precision"], abs=WITHIN)
    assert found.fpr95 == pytest.approx(reference["fpr95_first_threshold"], abs=WITHIN)
    assert found.error == 0


def by_definition(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Threshold by threshold, and pair by pair."""
    above = scores[positive][:, None] - scores[~positive][None, :]
    auroc = ((above > 0) + 0.5 * (above == 0)).mean()
    average_precision, before, fpr95 = 0.0, 0.0, None
    for threshold in np.unique(scores)[::-1]:
        taken = scores >= threshold
        recall = (taken & positive).sum() / positive.sum()
        average_precision += (recall - before) * (taken & positive).sum() / taken.sum()
        if fpr95 is None and recall >= 0.95:
            fpr95 = (taken & ~positive).sum() / (~positive).sum()
        before = recall
    assert fpr95 is not None
    return float(auroc), float(average_precision), float(fpr95)


few_values = st.lists(
    st.tuples(st.floats(-50, 50, width=32) | st.integers(-3, 3).map(float), st.booleans()),
    min_size=2,
    max_size=60,
).filter(lambda pairs: len({positive for _, positive in pairs}) == 2)


@settings(max_examples=150, deadline=None)
@given(few_values, st.sampled_from([4, 16, 256]), st.integers(1, 5))
def test_a_histogram_is_never_wrong_by_more_than_it_says(
    pairs: list[tuple[float, bool]], bins: int, parts: int
) -> None:
    scores, positive = (np.array(column) for column in zip(*pairs, strict=True))
    auroc, average_precision, fpr95 = by_definition(scores, positive)
    exact = measured(scores, positive, parts=parts)
    assert (exact.auroc, exact.average_precision, exact.fpr95) == pytest.approx(
        (auroc, average_precision, fpr95)
    )
    binned = measured(scores, positive, limit=0, bins=bins, parts=parts)
    assert (binned.positives, binned.negatives) == (positive.sum(), (~positive).sum())
    assert abs((binned.auroc or 0) - auroc) <= binned.error + 1e-12
    assert abs((binned.average_precision or 0) - average_precision) <= binned.error + 1e-12
    assert abs((binned.fpr95 or 0) - fpr95) <= binned.error + 1e-12


def test_a_histogram_of_many_scores_is_nearly_exact_and_small() -> None:
    generator = np.random.default_rng(0)
    positive = generator.random(200_000) < 0.1
    scores = (generator.normal(size=200_000) + positive).astype(np.float32)
    exact, binned = measured(scores, positive), measured(scores, positive, limit=1000, parts=50)
    assert 0 < binned.error < 1e-4
    assert binned.auroc == pytest.approx(exact.auroc, abs=binned.error)
    counter = ScoreCounter(limit=1000)
    for part in np.array_split(scores, 50):
        counter.add(part, False)
    assert not counter.exact
    assert not counter._kept  # the scores themselves are gone


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("limit", [0, 100])
def test_without_one_of_the_classes_nothing_is_defined(positive: bool, limit: int) -> None:
    found = measured(np.array([1.0, 2.0]), np.array([positive, positive]), limit)
    assert (found.auroc, found.average_precision, found.fpr95, found.best_f1_threshold) == (None,) * 4


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("limit", [0, 100])
def test_a_score_that_is_no_number_is_refused_and_nothing_of_it_counted(strange: float, limit: int) -> None:
    counter = ScoreCounter(limit)
    with pytest.raises(MetricsError, match="1 scores are not finite numbers"):
        counter.add(np.array([0.5, strange]), True)
    assert len(counter) == 0


def test_scores_of_any_size_find_room() -> None:
    counter = ScoreCounter(limit=0, bins=64)
    for value in (0.0, 1e-30, 1.0, -3e38, 3e38, 0.0):
        counter.add(np.array([value], dtype=np.float32), value > 0)
    groups = counter.groups()
    assert (groups.positives.sum(), groups.negatives.sum()) == (3, 3)
    assert len(groups.positives) <= 64


def test_a_threshold_accepts_the_share_that_was_asked_for() -> None:
    scores = np.arange(1.0, 21.0)
    assert accepting_threshold(scores, 0.95) == 19  # 19 of 20, which floating point makes 18.999...
    assert accepting_threshold(np.array([7.0]), 0.95) == 7
    exact, binned = ScoreCounter(), ScoreCounter(limit=0)
    for counter in (exact, binned):
        counter.add(scores, False)
    assert exact.accepting_threshold(0.95) == 19
    assert 19 <= binned.accepting_threshold(0.95) < 19.001
    assert exact.quantiles(np.array([0.0, 0.5, 1.0])).tolist() == [1, 10, 20]
    with pytest.raises(MetricsError, match="no score"):
        ScoreCounter().accepting_threshold(0.95)


@pytest.mark.parametrize("limit", [0, 100])
def test_above_the_threshold_of_the_best_f1_lies_what_makes_it_best(limit: int) -> None:
    scores = np.array([5.0, 4.0, 3.0, 2.0, 1.0], dtype=np.float32)
    found = measured(scores, np.array([True, True, False, True, False]), limit)
    assert (scores > found.best_f1_threshold).tolist() == [True, True, True, True, False]
    everything = measured(scores, np.array([False, False, False, False, True]), limit)
    assert (scores > everything.best_f1_threshold).all()
