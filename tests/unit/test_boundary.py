"""Boundary IoU, boundary F and trimaps, against the shared reference case and slow computations."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.classes import VOID
from engine.metrics.boundary import BoundaryCounter, BoundaryScores
from engine.metrics.scores import MetricsError

Labels = NDArray[np.uint8]


def scored(prediction: Labels, truth: Labels, classes: int, ratio: float = 0.02) -> BoundaryScores:
    counter = BoundaryCounter(classes, ratio)
    counter.add(prediction, truth)
    return counter.scores()


def test_the_reference_case_is_met(shared_data: Path) -> None:
    case = np.load(shared_data / "reference_systems" / "crf_case.npz")
    prediction, truth = case["probs"].argmax(axis=0).astype(np.uint8), case["true"].astype(np.uint8)
    counter = BoundaryCounter(5)
    counter.add(prediction, truth)
    assert counter.counts["intersection"].tolist() == [54, 37, 28, 23, 32]
    assert counter.counts["union"].tolist() == [195, 216, 177, 146, 173]
    scores = counter.scores()
    assert scores.iou == pytest.approx(0.189783, abs=5e-7)
    assert scores.f[1] == pytest.approx(0.366634, abs=5e-7)


@pytest.mark.parametrize("void_share", [0.0, 0.2])
@pytest.mark.parametrize("ratio", [0.02, 0.2])
def test_it_is_what_the_definitions_say_pixel_by_pixel(void_share: float, ratio: float) -> None:
    draw = np.random.default_rng(3)
    blocks = draw.integers(0, 4, (2, 5, 6), dtype=np.uint8)
    prediction, truth = np.kron(blocks, np.ones((1, 4, 4), np.uint8))[:, :17, :23]
    truth[draw.random(truth.shape) < void_share] = VOID
    scores = scored(prediction, truth, 4, ratio)
    for cls in range(4):
        assert scores.class_iou[cls] == slow_iou(prediction, truth, cls, ratio)
        for radius in (1, 3, 5):
            assert scores.class_f[radius][cls] == pytest.approx(slow_f(prediction, truth, cls, radius))
            assert scores.class_trimap_iou[radius][cls] == slow_trimap(prediction, truth, cls, radius)


def slow_iou(prediction: Labels, truth: Labels, cls: int, ratio: float) -> float | None:
    distance = max(1, round(ratio * float(np.hypot(*truth.shape))))
    known = truth != VOID

    def band(labels: Labels) -> set[tuple[int, int]]:
        found = set()
        for y, x in product(*map(range, labels.shape)):
            if not known[y, x] or labels[y, x] != cls:
                continue
            for v, u in product(range(y - distance, y + distance + 1), range(x - distance, x + distance + 1)):
                inside = 0 <= v < labels.shape[0] and 0 <= u < labels.shape[1]
                if not inside or (known[v, u] and labels[v, u] != cls):
                    found.add((y, x))
        return found

    ours, theirs = band(prediction), band(truth)
    return len(ours & theirs) / len(ours | theirs) if ours | theirs else None


def slow_f(prediction: Labels, truth: Labels, cls: int, radius: int) -> float | None:
    known = truth != VOID

    def outline(labels: Labels) -> list[tuple[int, int]]:
        rows, columns = labels.shape
        return [
            (y, x)
            for y, x in product(range(rows), range(columns))
            if any(
                y + v < rows
                and x + u < columns
                and known[y, x]
                and known[y + v, x + u]
                and (labels[y, x] == cls) != (labels[y + v, x + u] == cls)
                for v, u in ((0, 1), (1, 0), (1, 1))
            )
        ]

    def met(ours: list[tuple[int, int]], theirs: list[tuple[int, int]]) -> float:
        near = sum(any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in theirs) for y, x in ours)
        return near / len(ours) if ours else 0.0

    ours, theirs = outline(prediction), outline(truth)
    if not ours and not theirs:
        return None
    precision, recall = met(ours, theirs), met(theirs, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def slow_trimap(prediction: Labels, truth: Labels, cls: int, radius: int) -> float | None:
    hits = either = 0
    for y, x in product(*map(range, truth.shape)):
        around = truth[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        if truth[y, x] == VOID or len(set(around.ravel().tolist()) - {VOID}) < 2:
            continue
        hits += truth[y, x] == prediction[y, x] == cls
        either += cls in (truth[y, x], prediction[y, x])
    return hits / either if either else None


def test_counts_of_images_of_any_size_add_up() -> None:
    draw = np.random.default_rng(0)
    together, apart = BoundaryCounter(3), []
    for size in ((8, 9), (20, 5)):
        prediction, truth = draw.integers(0, 3, (2, *size), dtype=np.uint8)
        together.add(prediction, truth)
        apart.append(BoundaryCounter(3))
        apart[-1].add(prediction, truth)
    for name, counts in together.counts.items():
        assert (counts == sum(each.counts[name] for each in apart)).all()


def test_more_classes_than_bits_are_counted_alike() -> None:
    draw = np.random.default_rng(1)
    prediction, truth = draw.integers(0, 3, (2, 30, 30), dtype=np.uint8)
    few, many = scored(prediction, truth, 3), scored(prediction + np.uint8(63), truth + np.uint8(63), 70)
    assert many.class_f[3][63:66] == few.class_f[3]
    assert many.class_iou[63:66] == few.class_iou
    assert many.f == few.f


def test_what_is_predicted_in_void_is_no_matter() -> None:
    truth = np.zeros((12, 12), np.uint8)
    truth[:, 6:] = 1
    truth[:4] = VOID
    other = truth.copy()
    other[:4] = np.arange(12, dtype=np.uint8) % 2
    assert scored(other, truth, 2) == scored(truth, truth, 2)
    assert scored(truth, truth, 2).f[1] == 1


def test_an_image_of_one_class_has_no_outline_but_its_border() -> None:
    plain = np.zeros((9, 9), np.uint8)
    scores = scored(plain, plain, 2)
    assert scores.class_iou == (1.0, None)
    assert scores.f == {1: None, 3: None, 5: None}
    assert scores.trimap_iou[5] is None


@pytest.mark.parametrize(
    ("prediction", "truth", "problem"),
    [
        (np.zeros((2, 2), np.int64), np.zeros((2, 2), np.uint8), "prediction is int64"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 2), np.uint8), r"prediction is uint8 \[2, 3\]"),
        (np.full((2, 2), 2, np.uint8), np.zeros((2, 2), np.uint8), "found the label 2"),
    ],
)
def test_what_are_no_labels_is_refused(prediction: Labels, truth: Labels, problem: str) -> None:
    with pytest.raises(MetricsError, match=problem):
        scored(prediction, truth, 2)
