"""Per-image confusions in a file, and what a paired bootstrap makes of two of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.metrics.bootstrap import MEASURES, paired_differences
from engine.metrics.image_confusions import ImageConfusions, load_image_confusions
from engine.metrics.scores import MetricsError, scores_from_confusion

CLASSES = ("road", "person", "car")


def made_up(seed: int, images: int = 12, correct: int = 50) -> ImageConfusions:
    generator = np.random.default_rng(seed)
    kept = ImageConfusions(CLASSES, "abc")
    for index in range(images):
        matrix = generator.integers(0, 20, (3, 4)) * generator.integers(0, 2, (3, 4))
        matrix[np.arange(3), np.arange(3)] += generator.integers(0, correct, 3)
        kept.add(f"city/{index:02d}", matrix)
    return kept


def test_a_file_gives_back_every_matrix(tmp_path: Path) -> None:
    kept = made_up(0)
    empty = np.zeros((3, 4), dtype=np.int64)
    assert kept.add("city/void", empty).dice is None
    kept.save(tmp_path / "confusions.npz")
    loaded = load_image_confusions(tmp_path / "confusions.npz")
    assert (loaded.names, loaded.classes, loaded.checkpoint) == (kept.names, kept.classes, "abc")
    for position in range(len(kept)):
        assert loaded.matrix(position).tolist() == kept.matrix(position).tolist()
    assert loaded.pooled().tolist() == sum(kept.matrix(i) for i in range(len(kept))).tolist()
    assert loaded.scores() == kept.scores()


def test_an_empty_file_can_be_gone_on_with(tmp_path: Path) -> None:
    ImageConfusions(CLASSES).save(tmp_path / "confusions.npz")
    loaded = load_image_confusions(tmp_path / "confusions.npz")
    assert len(loaded) == 0
    assert loaded.scores().dice is None


def test_the_image_dice_leaves_images_without_labels_out() -> None:
    kept = ImageConfusions(CLASSES)
    kept.add("a", np.array([[10, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
    kept.add("b", np.zeros((3, 4), dtype=np.int64))
    kept.add("c", np.array([[0, 10, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
    assert kept.scores().dice_image == pytest.approx(0.5)


@pytest.mark.parametrize("damage", ["cut", "text", "none"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "confusions.npz"
    if damage != "none":
        made_up(0).save(path)
        path.write_bytes(path.read_bytes()[:200] if damage == "cut" else b"no archive")
    with pytest.raises(MetricsError, match=r"confusions.npz: (is damaged|does not exist)"):
        load_image_confusions(path)


def test_a_network_does_not_differ_from_itself() -> None:
    for found in paired_differences(made_up(1), made_up(1), draws=50):
        assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)


def test_differences_are_those_of_the_scores_whatever_the_order() -> None:
    ours, baseline = made_up(1), made_up(2)
    reversed_baseline = ImageConfusions(CLASSES)
    for position in reversed(range(len(baseline))):
        reversed_baseline.add(baseline.names[position], baseline.matrix(position))
    found = paired_differences(ours, reversed_baseline, draws=100)
    assert [one.measure for one in found] == list(MEASURES)
    for one in found:
        own, other = getattr(ours.scores(), one.measure), getattr(baseline.scores(), one.measure)
        assert (one.value, one.baseline) == (pytest.approx(own), pytest.approx(other))
        assert one.difference == pytest.approx(own - other)
    assert found == paired_differences(ours, baseline, draws=100)


def test_the_interval_is_that_of_a_bootstrap_done_image_by_image() -> None:
    ours, baseline, draws = made_up(3, images=6), made_up(4, images=6), 400
    generator = np.random.default_rng(7)
    drawn: dict[str, list[float]] = {"dice": [], "dice_image": []}
    for counts in generator.multinomial(6, np.full(6, 1 / 6), size=draws):
        chosen = np.repeat(np.arange(6), counts)
        sides = []
        for evaluation in (ours, baseline):
            matrices = [evaluation.matrix(position) for position in chosen]
            pooled = scores_from_confusion(sum(matrices)).dice
            sides.append((pooled, np.mean([scores_from_confusion(m).dice for m in matrices])))
        drawn["dice"].append(sides[0][0] - sides[1][0])
        drawn["dice_image"].append(sides[0][1] - sides[1][1])
    found = {one.measure: one for one in paired_differences(ours, baseline, seed=7, draws=draws)}
    for measure, values in drawn.items():
        assert (found[measure].low, found[measure].high) == pytest.approx(np.percentile(values, [2.5, 97.5]))


def test_a_clear_winner_has_an_interval_above_zero() -> None:
    found = paired_differences(made_up(1, 40, correct=400), made_up(2, 40, correct=20), draws=500)
    assert all(one.low is not None and one.low > 0 for one in found)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(MetricsError, match="differ in 1 images, city/11 for one"):
        paired_differences(made_up(1, 12), made_up(1, 11))
    with pytest.raises(MetricsError, match="different classes"):
        paired_differences(made_up(1), ImageConfusions(("a",)))
