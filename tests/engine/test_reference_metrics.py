"""Our scores against those of cityscapesScripts, scikit-learn and torchmetrics on the same images.

Each case of `reference_metrics` is a folder of ground truth and predictions as Cityscapes label
ids, with `expected.json` made by running the other packages on them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engine.classes import CITYSCAPES
from engine.metrics.confusion import ConfusionSum, confusion_per_image
from engine.metrics.scores import Scores, scores_from_confusion

CLASSES = len(CITYSCAPES)
WITHIN = 1e-9
WITHIN_FLOAT32 = 1e-6
"""torchmetrics computes in float32."""


@dataclass(frozen=True)
class Case:
    expected: dict[str, Any]
    confusions: np.ndarray
    """[N, C, C+1], an image each."""
    scores: Scores
    """Of all images, from the same path as a training run's."""


def read_train_ids(path: Path) -> torch.Tensor:
    """A label-id PNG as uint8 train ids [1, H, W]."""
    lookup = np.full(256, 254, dtype=np.uint8)  # 254: an unknown id, which the metrics refuse
    for source, train_id in CITYSCAPES.train_ids().items():
        lookup[source] = train_id
    return torch.from_numpy(lookup[np.asarray(Image.open(path))])[None]


@pytest.fixture(scope="module", params=["tiny4x4", "absent", "perfect", "shift5", "all_void"])
def case(request: pytest.FixtureRequest, shared_data: Path) -> Case:
    folder = shared_data / "reference_metrics"
    expected = json.loads((folder / request.param / "expected.json").read_text(encoding="utf-8"))
    total = ConfusionSum(CLASSES)
    confusions = []
    for truth_path, prediction_path in expected["pairs"]:
        truth, prediction = read_train_ids(folder / truth_path), read_train_ids(folder / prediction_path)
        total.update(prediction, truth)
        confusions.append(confusion_per_image(prediction.long(), truth, CLASSES)[0].numpy())
    return Case(expected, np.stack(confusions), total.compute())


def by_train_id(named: dict[str, Any]) -> list[Any]:
    return [named[name] for name in CITYSCAPES.names]


def assert_equal(ours: Any, theirs: list[Any], within: float) -> None:
    """The same scores, undefined in the same places."""
    assert [value is None for value in ours] == [value is None for value in theirs]
    assert [v for v in ours if v is not None] == pytest.approx(
        [v for v in theirs if v is not None], abs=within
    )


def test_confusion_matrix(case: Case) -> None:
    pooled = case.confusions.sum(axis=0)
    assert pooled.tolist() == case.expected["confusion_trainid_19x20"]
    for index, counts in enumerate(by_train_id(case.expected["derived"]["counts"])):
        tp = pooled[index, index]
        assert (tp, pooled[:, index].sum() - tp, pooled[index].sum() - tp) == (
            counts["tp"],
            counts["fp"],
            counts["fn"],
        )


def test_both_ways_to_the_scores_agree(case: Case) -> None:
    from_counts = scores_from_confusion(case.confusions.sum(axis=0), dice_image=case.scores.dice_image)
    assert from_counts == case.scores


def test_official_cityscapes_scores(case: Case) -> None:
    official = case.expected["official"]
    assert_equal([case.scores.miou], [official["mean_iou"]], WITHIN)
    assert_equal(case.scores.class_iou, by_train_id(official["class_iou"]), WITHIN)

    # The official matrix is over all 34 label ids; folded to train ids it is ours, void rows apart.
    ids = [c.ids[0] for c in CITYSCAPES.classes]
    matrix = np.array(official["confMatrix_34x34_rows_gt"])
    folded = np.column_stack([matrix[ids][:, ids], np.delete(matrix[ids], ids, axis=1).sum(axis=1)])
    assert folded.tolist() == case.confusions.sum(axis=0).tolist()


def test_derived_scores(case: Case) -> None:
    derived = case.expected["derived"]
    scores = case.scores
    assert_equal(scores.class_iou, by_train_id(derived["iou"]), WITHIN)
    assert_equal(scores.class_dice, by_train_id(derived["dice"]), WITHIN)
    assert_equal(
        [scores.miou, scores.dice, scores.pixel_accuracy],
        [derived["mean_iou"], derived["mean_dice"], derived["pixel_accuracy"]],
        WITHIN,
    )
    assert scores.valid_pixels == derived["valid_pixels"]


def test_scores_of_each_image(case: Case) -> None:
    assert len(case.confusions) == len(case.expected["per_image"])
    for confusion, expected in zip(case.confusions, case.expected["per_image"], strict=True):
        scores = scores_from_confusion(confusion)
        assert_equal(
            [scores.miou, scores.dice, scores.pixel_accuracy],
            [expected["mean_iou"], expected["mean_dice"], expected["pixel_accuracy"]],
            WITHIN,
        )
        assert scores.valid_pixels == expected["valid_pixels"]


def test_mean_over_images(case: Case) -> None:
    assert_equal([case.scores.dice_image], [case.expected["mean_over_images"]["mean_dice"]], WITHIN)


def test_scikit_learn_scores(case: Case) -> None:
    sklearn = case.expected["sklearn"]
    if sklearn is None:  # it refuses to score nothing
        assert case.scores.valid_pixels == 0
        return

    # scikit-learn was told to score 0 where there is nothing to divide by.
    iou = [value or 0.0 for value in case.scores.class_iou]
    dice = [value or 0.0 for value in case.scores.class_dice]
    assert iou == pytest.approx(sklearn["jaccard_zero_division_0"], abs=WITHIN)
    assert dice == pytest.approx(sklearn["f1_zero_division_0"], abs=WITHIN)
    assert sum(iou) / CLASSES == pytest.approx(sklearn["jaccard_macro"], abs=WITHIN)
    assert sum(dice) / CLASSES == pytest.approx(sklearn["f1_macro"], abs=WITHIN)


def test_torchmetrics_scores(case: Case) -> None:
    # torchmetrics has no void: these are its scores of the valid pixels alone.
    torchmetrics = case.expected["torchmetrics"]
    assert_equal(case.scores.class_dice, torchmetrics["dice_global_none_masked"], WITHIN_FLOAT32)
    iou = [-1.0 if value is None else value for value in case.scores.class_iou]
    expected_iou = torchmetrics["iou_per_class_masked_all_pixels_as_one_image"]
    assert iou == pytest.approx(expected_iou, abs=WITHIN_FLOAT32)

    # Its sample-wise Dice is the mean over the images that have the class.
    per_image = [scores_from_confusion(confusion).class_dice for confusion in case.confusions]
    means = []
    for values in zip(*per_image, strict=True):
        defined = [value for value in values if value is not None]
        means.append(sum(defined) / len(defined) if defined else None)
    assert_equal(means, torchmetrics["dice_samplewise_none_masked"], WITHIN_FLOAT32)
