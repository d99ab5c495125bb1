"""Component-level F1 and risk-coverage, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from engine.metrics.components import THRESHOLDS, ComponentCounter
from engine.metrics.risk_coverage import risk_coverage


def grid(*rows: str) -> np.ndarray:
    """`.` in-distribution, `#` out, `x` ignored."""
    return np.array([[{".": 0, "#": 1, "x": 255}[cell] for cell in row] for row in rows], dtype=np.uint8)


def counted(mask: np.ndarray, predicted: np.ndarray, *sizes: int) -> ComponentCounter:
    counter = ComponentCounter(*(sizes or (0, 0)))
    counter.add(predicted == 1, mask)
    return counter


def test_two_objects_found_by_one_blob_are_both_found() -> None:
    mask = grid("##..##", "##..##")
    counter = counted(mask, grid("######", "######"))
    # Of each: 4 pixels shared, 12 in the blob, 4 of which are the other's: 4 / (12 - 4) = 0.5.
    at = list(np.round(THRESHOLDS, 2))
    assert counter.found[at.index(0.5)] == 2
    assert (counter.found[at.index(0.55)], counter.missed[at.index(0.55)]) == (0, 2)
    # The blob lies on objects with 8 of its 12 pixels, so from 0.7 on it is a false alarm.
    assert [int(counter.false[at.index(t)]) for t in (0.65, 0.7)] == [0, 1]
    f1 = [1.0] * 6 + [0.0] * 5
    assert counter.f1 == pytest.approx(np.mean(f1))


def test_components_touch_at_corners() -> None:
    counter = counted(grid("#.", ".#"), grid("#.", ".#"))
    assert (counter.found[0], counter.missed[0], counter.f1) == (1, 0, 1.0)


def test_what_is_ignored_or_small_does_not_count() -> None:
    mask = grid("##..xx", "##..xx", "......", "#.....")
    predicted = grid("##..##", "##..##", "......", "....#.")
    counter = counted(mask, predicted, 3, 2)
    # The blob on ignored pixels, the single predicted pixel and the single true one are all left out.
    assert (counter.found[0], counter.missed[0], counter.false[0], counter.f1) == (1, 0, 0, 1.0)


def test_counts_of_images_add_up_and_nothing_to_count_is_undefined() -> None:
    counter = ComponentCounter(0, 0)
    assert counter.f1 is None
    empty = grid("...")
    counter.add(empty == 1, empty)
    assert counter.f1 is None
    counter.add(grid("#..") == 1, grid("#.."))
    counter.add(grid("..#") == 1, grid("#.."))
    assert (counter.found[0], counter.missed[0], counter.false[0]) == (1, 1, 1)
    assert counter.f1 == pytest.approx(0.5)


def test_risk_coverage_accepts_the_lowest_scores_first() -> None:
    curve = risk_coverage([0.3, 0.1, 0.2, 0.4], [0.5, 0.9, 0.7, 0.1])
    assert curve is not None
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert curve.dice == pytest.approx([0.9, 0.8, 0.7, 0.55])
    assert curve.area == pytest.approx(1 - (0.9 + 0.8 + 0.7 + 0.55) / 4)


def test_tied_images_are_accepted_together() -> None:
    one, other = risk_coverage([1, 1, 2], [0.2, 0.4, 0.9]), risk_coverage([1, 1, 2], [0.4, 0.2, 0.9])
    assert one is not None
    assert other is not None
    assert one.dice.tolist() == other.dice.tolist() == pytest.approx([0.3, 0.3, 0.5])
    assert risk_coverage([], []) is None
