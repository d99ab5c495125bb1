"""Class maps at the size of an image, against an independent computation in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.data.decode import resize_labels
from engine.learning import class_maps
from engine.learning.class_maps import class_map, largest_class

SIZES = [((8, 12), (37, 50)), ((16, 16), (16, 16)), ((20, 30), (9, 11)), ((5, 7), (5, 21)), ((1, 1), (6, 4))]


def random_logits(size: tuple[int, int], classes: int = 5) -> torch.Tensor:
    return torch.randn(1, classes, *size, generator=torch.Generator().manual_seed(0))


def bilinear(logits: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Pixel by pixel: the four neighbours of each target centre, weighted by the distance to the others."""
    classes, height, width = logits.shape
    resized = np.zeros((classes, *size))
    for i in range(size[0]):
        for j in range(size[1]):
            y = min(max((i + 0.5) * height / size[0] - 0.5, 0), height - 1)
            x = min(max((j + 0.5) * width / size[1] - 0.5, 0), width - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            above = logits[:, top, left] * (1 - (x - left)) + logits[:, top, right] * (x - left)
            below = logits[:, bottom, left] * (1 - (x - left)) + logits[:, bottom, right] * (x - left)
            resized[:, i, j] = above * (1 - (y - top)) + below * (y - top)
    return resized


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_largest_class_is_that_of_argmax_with_ties_and_without_numbers(
    dtype: torch.dtype, order: torch.memory_format
) -> None:
    logits = (4 * random_logits((64, 64))).round().to(dtype).contiguous(memory_format=order)
    logits[:, 3, ::5] = torch.nan
    assert (logits.diff(dim=1) == 0).any()
    assert torch.equal(largest_class(logits), logits.argmax(1).to(torch.uint8))


@pytest.mark.parametrize("band_values", [2**24, 200])
@pytest.mark.parametrize(("given", "wanted"), SIZES)
def test_logits_are_resized_before_the_argmax(
    given: tuple[int, int], wanted: tuple[int, int], band_values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_maps, "BAND_VALUES", band_values)  # 200: bands of a few rows
    logits = random_logits(given)
    predicted = class_map(logits, wanted, "bilinear-logits")
    assert (predicted.dtype, tuple(predicted.shape)) == (torch.uint8, wanted)
    expected = bilinear(logits[0].double().numpy(), wanted).argmax(axis=0)
    assert predicted.numpy().tolist() == expected.tolist()


@pytest.mark.parametrize(("given", "wanted"), SIZES)
def test_nearest_moves_classes_as_labels_are_moved(given: tuple[int, int], wanted: tuple[int, int]) -> None:
    logits = random_logits(given)
    expected = resize_labels(logits[0].numpy().argmax(axis=0).astype(np.uint8), wanted)
    assert class_map(logits, wanted, "nearest").numpy().tolist() == expected.tolist()


def test_the_two_ways_differ() -> None:
    logits = random_logits((8, 12))
    assert (class_map(logits, (37, 50), "nearest") != class_map(logits, (37, 50), "bilinear-logits")).any()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_layout_in_memory_does_not_matter(layout: torch.memory_format) -> None:
    logits = random_logits((8, 12))
    plain = class_map(logits, (16, 24), "bilinear-logits")
    assert torch.equal(class_map(logits.contiguous(memory_format=layout), (16, 24), "bilinear-logits"), plain)
