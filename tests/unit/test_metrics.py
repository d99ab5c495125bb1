"""Confusion matrices and scores, against counts made by hand and by a plain loop."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from engine.metrics import confusion as confusion_module
from engine.metrics.confusion import ConfusionSum, confusion_per_image
from engine.metrics.scores import MetricsError, Scores, scores_from_confusion

VOID = 255
INTEGER_DTYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)

# Three classes, one image. Row 1 of the truth is half void; class 2 is predicted and not in truth.
TRUTH = torch.tensor([[[0, 0, 0, 0], [1, 1, VOID, VOID]]], dtype=torch.uint8)
PREDICTION = torch.tensor([[[0, 0, 1, VOID], [1, 2, 0, VOID]]], dtype=torch.uint8)
COUNTS = [[2, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]]


def counted_slowly(prediction: Tensor, target: Tensor, classes: int) -> list[list[list[int]]]:
    images = []
    for predicted, truth in zip(prediction.flatten(1).tolist(), target.flatten(1).tolist(), strict=True):
        counts = [[0] * (classes + 1) for _ in range(classes)]
        for p, t in zip(predicted, truth, strict=True):
            if t != VOID:
                counts[t][classes if p == VOID else p] += 1
        images.append(counts)
    return images


def scored_slowly(images: list[list[list[int]]]) -> dict[str, float | None]:
    """Dice, image Dice, mIoU and accuracy from their textbook definitions."""

    def mean(values: list[float]) -> float | None:
        return sum(values) / len(values) if values else None

    def over_classes(counts: list[list[int]], weight: int) -> float | None:
        values = []
        for c in range(len(counts)):
            tp = counts[c][c]
            fn = sum(counts[c]) - tp
            fp = sum(row[c] for row in counts) - tp
            if tp + fp + fn:
                values.append(weight * tp / (weight * tp + fp + fn))
        return mean(values)

    pooled = np.sum(images, axis=0).tolist()
    valid = sum(map(sum, pooled))
    dices = [over_classes(counts, 2) for counts in images]
    return {
        "dice": over_classes(pooled, 2),
        "dice_image": mean([dice for dice in dices if dice is not None]),
        "miou": over_classes(pooled, 1),
        "pixel_accuracy": sum(pooled[c][c] for c in range(len(pooled))) / valid if valid else None,
    }


def random_labels(shape: tuple[int, int, int], classes: int, seed: int) -> Tensor:
    labels = torch.randint(0, classes + 1, shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(labels == classes, VOID, labels)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    classes = draw(st.integers(1, 6) | st.sampled_from([19, 254, 255]))
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    # Few values an example, so that classes really are absent, repeated or all void.
    values = st.sampled_from([0, classes - 1, classes // 2, VOID])
    size = shape[0] * shape[1] * shape[2]
    prediction = draw(st.lists(values, min_size=size, max_size=size))
    target = draw(st.lists(values, min_size=size, max_size=size))
    dtype = draw(st.sampled_from(INTEGER_DTYPES))
    return (
        torch.tensor(prediction, dtype=dtype).view(shape),
        torch.tensor(target, dtype=torch.uint8).view(shape),
        classes,
    )


def test_counts_of_a_case_checked_by_hand() -> None:
    counts = confusion_per_image(PREDICTION, TRUTH, 3)
    assert counts.dtype == torch.int64
    assert counts.tolist() == [COUNTS]


def test_scores_of_a_case_checked_by_hand() -> None:
    scores = scores_from_confusion(np.array(COUNTS))
    # Class 0: TP 2, FN 2, FP 0. Class 1: TP 1, FN 1, FP 1. Class 2: FP 1.
    assert scores.class_dice == pytest.approx((4 / 6, 2 / 4, 0.0), abs=1e-15)
    assert scores.class_iou == pytest.approx((2 / 4, 1 / 3, 0.0), abs=1e-15)
    assert scores.dice == pytest.approx((4 / 6 + 2 / 4) / 3, abs=1e-15)
    assert scores.miou == pytest.approx((2 / 4 + 1 / 3) / 3, abs=1e-15)
    assert scores.pixel_accuracy == 3 / 6
    assert scores.valid_pixels == 6
    assert scores.dice_image is None


@given(batches())
@settings(deadline=None, max_examples=150)
def test_counts_and_scores_equal_a_plain_loop(batch: tuple[Tensor, Tensor, int]) -> None:
    prediction, target, classes = batch
    expected = counted_slowly(prediction, target, classes)
    assert confusion_per_image(prediction, target, classes).tolist() == expected

    total = ConfusionSum(classes)
    total.update(prediction, target)
    scores = total.compute()
    for name, value in scored_slowly(expected).items():
        assert getattr(scores, name) == pytest.approx(value, abs=1e-11), name


@pytest.mark.parametrize("classes", [3, 19, 255])
def test_accelerator_path_counts_the_same(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    prediction = random_labels((4, 9, 7), classes, seed=1)
    target = random_labels((4, 9, 7), classes, seed=2)
    expected = counted_slowly(prediction, target, classes)

    codes = confusion_module._codes_by_comparison(prediction, classes)
    assert torch.equal(codes, confusion_module._codes(prediction, classes).long())
    # Bytes, whose product with the number of codes does not fit into one, and wider codes.
    for pair in ((codes.byte(), codes.flip(0).byte()), (codes, codes.flip(0))):
        by_scatter = confusion_module._count_by_scatter(*pair, classes + 2)
        assert torch.equal(by_scatter, confusion_module._count_by_bincount(*pair, classes + 2))

    monkeypatch.setattr(confusion_module, "_count_by_bincount", confusion_module._count_by_scatter)
    monkeypatch.setattr(confusion_module, "_codes", confusion_module._codes_by_comparison)
    assert confusion_per_image(prediction, target.to(torch.uint8), classes).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_an_update_on_an_accelerator_reads_nothing_back(dtype: torch.dtype) -> None:
    # Fake tensors have a device and a shape and no values: whatever needs one raises.
    with FakeTensorMode():
        prediction = torch.zeros(2, 8, 8, dtype=dtype, device="cuda")
        target = torch.zeros(2, 8, 8, dtype=torch.uint8, device="cuda")
        total = ConfusionSum(19, "cuda")
        total.update(prediction, target)
        assert total.state.device.type == "cuda"
        assert confusion_per_image(prediction, target, 19).shape == (2, 19, 20)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_cuda_equals_cpu_without_synchronising(dtype: torch.dtype) -> None:
    prediction = random_labels((3, 64, 48), 19, seed=4).to(dtype)
    target = random_labels((3, 64, 48), 19, seed=5).to(torch.uint8)
    on_cpu, on_cuda = ConfusionSum(19), ConfusionSum(19, "cuda")
    on_cpu.update(prediction, target)
    prediction_cuda, target_cuda = prediction.cuda(), target.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        on_cuda.update(prediction_cuda, target_cuda)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(on_cuda.state.cpu(), on_cpu.state)


@pytest.mark.parametrize("sizes", [(12,), (5, 7), (1,) * 12, (11, 1)])
def test_scores_do_not_depend_on_the_batches(sizes: tuple[int, ...]) -> None:
    prediction = random_labels((12, 6, 5), 4, seed=6)
    target = random_labels((12, 6, 5), 4, seed=7)
    whole = ConfusionSum(4)
    whole.update(prediction, target)
    parts = ConfusionSum(4)
    for batch in zip(prediction.split(list(sizes)), target.split(list(sizes)), strict=True):
        parts.update(*batch)
    assert parts.compute() == whole.compute()


def test_merged_and_summed_states_equal_one_sum() -> None:
    prediction = random_labels((9, 6, 5), 4, seed=8)
    target = random_labels((9, 6, 5), 4, seed=9)
    whole, first, second = ConfusionSum(4), ConfusionSum(4), ConfusionSum(4)
    whole.update(prediction, target)
    first.update(prediction[:2], target[:2])
    second.update(prediction[2:], target[2:])

    reduced = ConfusionSum(4)
    reduced.state.copy_(first.state + second.state)  # what torch.distributed.all_reduce does
    assert reduced.compute() == whole.compute()
    first.merge(second)
    assert first.compute() == whole.compute()
    with pytest.raises(MetricsError, match="5 classes to those of 4"):
        whole.merge(ConfusionSum(5))


def test_nothing_valid_is_undefined_not_zero() -> None:
    everything_void = torch.full((2, 3, 3), VOID, dtype=torch.uint8)
    total = ConfusionSum(2)
    total.update(torch.zeros(2, 3, 3, dtype=torch.uint8), everything_void)
    undefined = Scores(None, None, None, None, (None, None), (None, None), 0)
    assert total.compute() == undefined == ConfusionSum(2).compute()
    assert "NaN" not in json.dumps(asdict(undefined))


def test_an_image_without_valid_pixels_is_left_out_of_dice_image() -> None:
    total = ConfusionSum(3)
    total.update(PREDICTION, TRUTH)
    alone = total.compute()
    total.update(PREDICTION, torch.full_like(TRUTH, VOID))
    assert total.compute() == alone
    assert alone.dice_image == pytest.approx(alone.dice, abs=1e-12)


def test_pooled_and_image_dice_differ_where_images_differ() -> None:
    # Image 1: one class, all right. Image 2: the other class, all missed for the first.
    target = torch.tensor([[[0, 0, 0, 0]], [[1, 1, 1, 1]]], dtype=torch.uint8)
    prediction = torch.zeros_like(target)
    total = ConfusionSum(2)
    total.update(prediction, target)
    scores = total.compute()
    assert scores.dice_image == 0.5  # (1 + 0) / 2: in image 2 both classes score 0
    assert scores.dice == pytest.approx((8 / 12 + 0) / 2)


def test_void_prediction_is_wrong_and_no_class_gets_it() -> None:
    target = torch.zeros(1, 2, 2, dtype=torch.uint8)
    prediction = torch.tensor([[[0, 0], [0, VOID]]])
    assert confusion_per_image(prediction, target, 2).tolist() == [[[3, 0, 1], [0, 0, 0]]]
    total = ConfusionSum(2)
    total.update(prediction, target)
    scores = total.compute()
    assert scores.pixel_accuracy == 0.75
    assert scores.class_iou == (0.75, None)


def test_labels_need_not_be_contiguous() -> None:
    prediction = random_labels((6, 5, 4), 3, seed=10)
    target = random_labels((6, 5, 4), 3, seed=11)
    turned = confusion_per_image(prediction.permute(2, 0, 1), target.permute(2, 0, 1), 3)
    straight = confusion_per_image(
        prediction.permute(2, 0, 1).contiguous(), target.permute(2, 0, 1).contiguous(), 3
    )
    assert torch.equal(turned, straight)


@pytest.mark.parametrize("batch", [36, 37, 74, 75])
def test_large_batches_do_not_overflow_the_index(batch: int) -> None:
    # 19 classes fit a 16-bit index up to 74 images.
    prediction = random_labels((batch, 2, 3), 19, seed=batch)
    target = random_labels((batch, 2, 3), 19, seed=batch + 1)
    assert confusion_per_image(prediction, target, 19).tolist() == counted_slowly(prediction, target, 19)


def test_inputs_are_left_as_they_were() -> None:
    prediction, target = PREDICTION.clone(), TRUTH.clone()
    ConfusionSum(3).update(prediction, target)
    assert torch.equal(prediction, PREDICTION)
    assert torch.equal(target, TRUTH)


@pytest.mark.parametrize(
    ("label", "dtype"),
    [(3, torch.uint8), (254, torch.uint8), (3, torch.int64), (-1, torch.int64), (256, torch.int32)],
)
@pytest.mark.parametrize("where", ["prediction", "target"])
def test_unknown_labels_are_refused(label: int, dtype: torch.dtype, where: str) -> None:
    labels = {"prediction": PREDICTION.to(dtype), "target": TRUTH.to(dtype)}
    labels[where][0, 0, 0] = label
    with pytest.raises(MetricsError, match=r"train id 0\.\.2, or 255 for void"):
        confusion_per_image(**labels, classes=3)
    with pytest.raises(MetricsError):
        ConfusionSum(3).update(**labels)


def test_unknown_labels_on_an_accelerator_are_in_no_count_and_refused_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What an accelerator does, on the CPU: no look at the values until `compute`.
    monkeypatch.setattr(confusion_module, "_codes", confusion_module._codes_by_comparison)
    prediction = torch.tensor([[[0, 1, 2, -1, 256]]])
    target = torch.tensor([[[0, 1, 1, 1, 1]]])
    counts, unknown = confusion_module._count(prediction, target, 2)
    assert counts.tolist() == [[[1, 0, 0], [0, 1, 0]]]
    total = ConfusionSum(2)
    total.state[-1] += unknown
    with pytest.raises(MetricsError, match="pixels: 3"):
        total.compute()


@pytest.mark.parametrize(
    ("prediction", "target", "classes", "message"),
    [
        (PREDICTION, TRUTH[:, :1], 3, r"got \[1, 2, 4\] and \[1, 1, 4\]"),
        (PREDICTION[0], TRUTH[0], 3, r"\[B, H, W\]"),
        (PREDICTION[:0], TRUTH[:0], 3, "not empty"),
        (PREDICTION.float(), TRUTH, 3, "prediction must hold train ids as one of uint8"),
        (PREDICTION, TRUTH.bool(), 3, "target must hold"),
        (PREDICTION, TRUTH, 0, "from 1 to 255, got 0"),
        (PREDICTION, TRUTH, 256, "from 1 to 255, got 256"),
        (PREDICTION, TRUTH.to("meta"), 3, "cpu and target on meta"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(
    prediction: Tensor, target: Tensor, classes: int, message: str
) -> None:
    with pytest.raises(MetricsError, match=message):
        confusion_per_image(prediction, target, classes)


@pytest.mark.parametrize(
    ("confusion", "message"),
    [
        (np.zeros((3, 3), dtype=np.int64), r"\[C, C\+1\], got \[3, 3\]"),
        (np.zeros((2, 3)), "whole numbers, got float64"),
        (np.array([[1, -1]]), "counts >= 0, got -1"),
    ],
)
def test_a_matrix_that_is_no_confusion_is_refused(confusion: np.ndarray, message: str) -> None:
    with pytest.raises(MetricsError, match=message):
        scores_from_confusion(confusion)
