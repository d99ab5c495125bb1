"""The kernels of the loss and of the meter against torch's operators, on the CPU: see `kernel_cases.py`."""

from __future__ import annotations

import torch

from engine.classes import VOID
from engine.learning.class_maps import largest_class
from engine.losses import pixel_kernels
from engine.losses.functions import CrossEntropy
from engine.metrics.confusion import ConfusionSum
from engine.training import count_kernel
from tests.unit.norm_cases import close, nhwc

CASES = [
    # images, classes, height, width, type, logits of a tile
    (2, 5, 4, 6, torch.float32, 64),
    (3, 19, 5, 7, torch.bfloat16, 256),
    (1, 1, 1, 2, torch.float32, 4096),
]


def check_loss(
    images: int, classes: int, height: int, width: int, dtype: torch.dtype, tile: int, all_void: bool
) -> None:
    pixel_kernels.TILE = tile
    logits = nhwc(torch.randn(images, classes, height, width) * 8).to(dtype)
    labels = torch.randint(0, classes, (images, height, width), dtype=torch.uint8)
    labels[torch.rand(labels.shape) < 0.2] = VOID
    if all_void:
        labels.fill_(VOID)
    d_sums, d_mean = torch.randn(2, dtype=torch.float64), torch.randn((), dtype=torch.float64)

    sums, mean = pixel_kernels.forward(logits, labels)
    found = pixel_kernels.backward(d_sums, d_mean, sums, logits, labels)

    given = logits.double().requires_grad_()
    loss = CrossEntropy()
    right = loss.sums(given, labels)
    value = loss.value(right)
    torch.autograd.backward((right, value), (d_sums, d_mean))
    torch.testing.assert_close(sums, right.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mean, value.detach(), rtol=1e-5, atol=1e-6)
    assert found.dtype == dtype
    close(found, given.grad, 1e-5 if dtype == torch.float32 else 1e-2)


def check_counts(
    images: int, classes: int, height: int, width: int, dtype: torch.dtype, tile: int, unknown: bool
) -> None:
    count_kernel.TILE = tile
    logits = nhwc(torch.randn(images, classes, height, width)).to(dtype).round(decimals=0)  # some are equal
    labels = torch.randint(0, classes, (images, height, width), dtype=torch.uint8)
    labels[0, 0] = VOID
    right, ours, with_loss = (ConfusionSum(classes) for _ in range(3))
    sums, sums_with_loss = torch.ones(2, 2, dtype=torch.float64)
    pixel_kernels.TILE = tile
    of_batch, mean = pixel_kernels.forward(logits, labels)
    for _ in range(2):
        right.update(largest_class(logits), labels)
        count_kernel.count(logits, labels, torch.tensor([2.0, 3.0]).double(), ours.state, sums)
        both = count_kernel.cross_entropy_and_count(logits, labels, with_loss.state, sums_with_loss)
        assert torch.equal(both[0], of_batch)
        assert torch.equal(both[1], mean)
    assert torch.equal(ours.state, right.state)
    assert torch.equal(with_loss.state, right.state)
    assert sums.tolist() == [5, 7]
    assert torch.equal(sums_with_loss, 1 + of_batch + of_batch)
    if unknown:
        labels[0, -1, :2] = classes
        count_kernel.count(logits, labels, sums, ours.state, sums)
        assert ours.state[-1] == 2


def check_all() -> None:
    torch.manual_seed(0)
    for number, case in enumerate(CASES):
        check_loss(*case, all_void=number == 2)
        check_counts(*case, unknown=number == 0)
