"""Instances of critical classes: recall by size and distance to the road, and Cityscapes' iIoU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.classes import CITYSCAPES, VOID
from engine.data.catalog import DataError, Sample
from engine.data.instance_ids import read_instance_ids
from engine.metrics.instances import AVERAGE_SIZES, InstanceCounter
from engine.metrics.recorded import RecordedMetrics
from engine.metrics.scores import MetricsError

CLASSES = ("road", "sidewalk", "person", "rider")
ROAD, SIDEWALK, PERSON, RIDER = range(4)


def street() -> NDArray[np.uint8]:
    """240x400: sidewalk above row 100, road below, and five people."""
    truth = np.full((240, 400), SIDEWALK, np.uint8)
    truth[100:] = ROAD
    truth[150:190, 10:30] = PERSON  # 800 pixels on the road
    truth[40:80, 50:90] = PERSON  # 1600 pixels, 21 above the road
    truth[0:20, 350:370] = PERSON  # 400 pixels, 81 above it
    truth[110:230, 100:200] = RIDER  # 12000 pixels on the road
    truth[189, 30] = PERSON  # touches the first by an edge
    return truth


def values(counter: InstanceCounter) -> dict[str, float | None]:
    scores: dict[str, float | None] = {}
    for metric in counter.metrics():
        scores[metric.name] = metric.value
        scores |= {f"{name}.{metric.name}": value for name, value in metric.classes.items()}
    return scores


def test_recall_is_told_by_size_and_distance_to_the_road() -> None:
    truth = street()
    prediction = truth.copy()
    prediction[150:170, 10:30] = ROAD  # 401 of 801 pixels are left: found
    prediction[40:61, 50:90] = SIDEWALK  # 760 of 1600: missed
    counter = InstanceCounter(CLASSES, ("person", "rider"))
    counter.add(prediction, truth)
    found = values(counter)
    assert found["person.instances"] == 3
    assert found["person.instance_recall"] == pytest.approx(2 / 3)
    assert found["person.instance_pixel_recall"] == pytest.approx((401 + 760 + 400) / (801 + 1600 + 400))
    assert (found["person.instances_small"], found["person.instance_recall_small"]) == (2, 1.0)
    assert (found["person.instances_medium"], found["person.instance_recall_medium"]) == (1, 0.0)
    assert found["person.instance_recall_large"] is None
    assert found["rider.instances_large"] == 1
    assert (found["person.instances_on_road"], found["rider.instances_on_road"]) == (1, 1)
    assert (found["person.instances_near_road"], found["person.instance_recall_near_road"]) == (1, 0.0)
    assert (found["person.instances_far_from_road"], found["person.instance_recall_far_from_road"]) == (1, 1)
    assert found["instances"] == 4
    assert found["instance_recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert "iiou" not in found, "there are no instance ids"


def test_sizes_and_distances_are_those_of_the_original_image() -> None:
    truth = street()
    whole, half = (InstanceCounter(CLASSES, ("person", "rider")) for _ in range(2))
    whole.add(truth, truth)
    half.add(truth[::2, ::2], truth[::2, ::2], None, 4.0)
    assert values(half) == values(whole)


def test_without_a_road_there_are_no_distances() -> None:
    counter = InstanceCounter(("ground", "person"), ("person",))
    counter.add(np.ones((4, 4), np.uint8), np.ones((4, 4), np.uint8))
    assert not any("road" in name for name in values(counter))


def test_images_counted_apart_add_up_to_all_of_them() -> None:
    draw = np.random.default_rng(0)
    images = [np.kron(draw.integers(0, 4, (6, 8), dtype=np.uint8), np.ones((9, 7), np.uint8)) for _ in "abc"]
    together = InstanceCounter(CLASSES, ("person", "rider"))
    merged = InstanceCounter(CLASSES, ("person", "rider"))
    for image in images:
        together.add(np.roll(image, 3, axis=1), image)
        apart = InstanceCounter(CLASSES, ("person", "rider"))
        apart.add(np.roll(image, 3, axis=1), image)
        merged.merge(apart)
    assert values(merged) == values(together)


def with_ids(truth: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Two people who touch, a group of people and a car's worth of void."""
    ids = np.full(truth.shape, 7, np.uint16)
    ids[150:190, 10:20], ids[150:190, 20:30] = 24000, 24001
    ids[40:80, 50:90] = 24  # a group: people without instances
    ids[0:20, 350:370] = 24002
    ids[110:230, 100:200] = 25000
    return ids


def by_definition(
    prediction: NDArray[np.uint8], truth: NDArray[np.uint8], ids: NDArray[np.uint16], class_id: int
) -> float:
    """iIoU of one class, instance by instance, in the words of cityscapesScripts."""
    true = missed = 0.0
    for one in np.unique(ids[ids > 1000]):
        mask = ids == one
        if truth[mask][0] == class_id:
            weight = AVERAGE_SIZES[CLASSES[class_id]] / mask.sum()
            true += weight * np.count_nonzero(prediction[mask] == class_id)
            missed += weight * np.count_nonzero(prediction[mask] != class_id)
    false = np.count_nonzero((prediction == class_id) & (truth != class_id) & (truth != VOID))
    return float(true / (true + false + missed))


def test_instance_ids_tell_people_apart_and_give_iiou() -> None:
    truth, draw = street(), np.random.default_rng(1)
    truth[189, 30] = ROAD
    ids = with_ids(truth)
    truth[:30, :30], ids[:30, :30] = VOID, 29
    noise = draw.random(truth.shape) < 0.3
    prediction = np.where(noise, draw.integers(0, 4, truth.shape, dtype=np.uint8), truth)
    prediction[prediction == VOID] = PERSON
    counter = InstanceCounter(CLASSES, ("person",))
    counter.add(prediction, truth, ids)
    found = values(counter)
    assert found["person.instances"] == 3, "not the group, which has no number of its own"
    for class_id in (PERSON, RIDER):
        assert found[f"{CLASSES[class_id]}.iiou"] == pytest.approx(
            by_definition(prediction, truth, ids, class_id), abs=1e-12
        )


def test_iiou_needs_instance_ids_of_every_image() -> None:
    truth = street()
    counter = InstanceCounter(CLASSES, ("person",))
    counter.add(truth, truth, with_ids(truth))
    assert values(counter)["iiou"] == 1.0
    counter.add(truth, truth)
    assert "iiou" not in values(counter)


def test_other_shapes_are_refused() -> None:
    counter = InstanceCounter(CLASSES, ("person",))
    with pytest.raises(MetricsError, match=r"the instance ids: \[3, 3\] is not \[240, 400\]"):
        counter.add(street(), street(), np.zeros((3, 3), np.uint16))


def test_instance_ids_lie_beside_labels_of_cityscapes(tmp_path: Path) -> None:
    label = tmp_path / "a_gtFine_labelIds.png"
    sample = Sample("a", tmp_path / "a.png", label)
    assert read_instance_ids(sample, (2, 3)) is None
    ids = np.array([[7, 24000, 24001], [7, 25000, 26012]], np.uint16)
    Image.fromarray(ids).save(tmp_path / "a_gtFine_instanceIds.png")
    assert np.array_equal(read_instance_ids(sample, (2, 3)), ids)
    with pytest.raises(DataError, match="is 2x3, but the labels beside it are 4x6"):
        read_instance_ids(sample, (4, 6))


def test_classes_are_critical_for_one_evaluation() -> None:
    confusion = np.eye(19, 20, dtype=np.int64)
    confusion[CITYSCAPES.names.index("car"), 0] = 3
    for names, found in ((("car", "road"), 0.25), (("road",), 1.0), ((), None)):
        marked = CITYSCAPES.marked(names)
        assert set(marked.critical) == set(names)
        values = [metric.value for metric in RecordedMetrics(marked, print).of(confusion)]
        assert values == ([] if found is None else [found])


def test_cityscapes_people_are_critical_and_stay_so() -> None:
    assert CITYSCAPES.critical == ("person", "rider")
    assert CITYSCAPES.as_train_ids().critical == ("person", "rider")
    assert CITYSCAPES.without(["rider"]).critical == ("person",)
