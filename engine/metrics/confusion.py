"""Confusion matrices on the device that made the prediction, without waiting for it.

A training loop that reads a number from the GPU after each batch leaves the GPU idle while Python
catches up. So nothing here but `ConfusionSum.compute` moves a value to the host on an accelerator.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.classes import VOID
from engine.metrics.scores import MetricsError, Scores, scores_from_confusion

LABEL_DTYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)

DICE_UNIT = 2.0**-40
"""`ConfusionSum` holds the sum of the images' Dice in whole multiples of this (about 1e-12)."""


def confusion_per_image(prediction: Tensor, target: Tensor, classes: int) -> Tensor:
    """Count, for each image, how often each class was predicted as each other.

    `prediction` and `target` are [B, H, W], of train ids 0..C-1 or `VOID`, as uint8, int16, int32
    or int64 on one device. Returns int64 [B, C, C+1] on that device: rows are the ground truth,
    columns the prediction, the last column the pixels predicted as void. Pixels whose ground truth
    is void are left out.

    A label that is neither a train id nor `VOID` raises MetricsError on the CPU. On an accelerator
    the error would have to wait for the device: such a pixel is then in no count, and
    `ConfusionSum.compute`, which waits anyway, raises. Raises MetricsError for wrong shapes, too.

    On the CPU uint8 is the fastest type for `prediction`: `logits.max(1).indices.to(torch.uint8)`.
    """
    confusion, unknown = _count(prediction, target, classes)
    if confusion.device.type == "cpu":
        _refuse_unknown(int(unknown), classes)
    return confusion


class ConfusionSum:
    """The counts of a split, batch after batch, in constant memory and without waiting for the device.

        total = ConfusionSum(len(class_set), device)
        for images, target in batches:
            total.update(model(images).argmax(1), target)
        scores = total.compute()

    `state` is all that is kept: one int64 vector, which may be summed. With several processes,
    `torch.distributed.all_reduce(total.state)` gives each process the counts of the whole split.
    As it holds whole numbers only, the scores are equal to the last bit however the split was cut
    into batches and shared among processes.
    """

    def __init__(self, classes: int, device: torch.device | str = "cpu") -> None:
        self.classes = classes
        cells = classes * (classes + 1)
        self.state = torch.zeros(cells + 3, dtype=torch.int64, device=device)
        # A view: the other three are the total of the images' Dice, of how many images, and unknown pixels.
        self._confusion = self.state[:cells].view(classes, classes + 1)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch; arguments and errors as for `confusion_per_image`."""
        confusion, unknown = _count(prediction, target, self.classes)
        if confusion.device.type == "cpu":
            _refuse_unknown(int(unknown), self.classes)
        dice, has_dice = _mean_dice_per_image(confusion)
        scalars = dice.round().to(torch.int64).sum(), has_dice.sum(), unknown
        self.state += torch.cat([confusion.sum(0).flatten(), *(each.view(1) for each in scalars)])

    def merge(self, other: ConfusionSum) -> None:
        """Add the counts of `other`, which may lie on another device."""
        if other.classes != self.classes:
            raise MetricsError(f"cannot add counts of {other.classes} classes to those of {self.classes}")
        self.state += other.state.to(self.state.device)

    def matrix(self) -> Tensor:
        """The pooled counts so far, int64 [C, C+1], on the device."""
        return self._confusion.clone()

    def compute(self) -> Scores:
        """The scores of everything added so far; waits for the device once.

        Raises MetricsError when a label was neither a train id nor void.
        """
        state = self.state.cpu()
        dice_total, dice_images, unknown = state[-3:].tolist()
        _refuse_unknown(unknown, self.classes)
        confusion = state[:-3].view(self.classes, self.classes + 1).numpy()
        dice_image = dice_total * DICE_UNIT / dice_images if dice_images else None
        return scores_from_confusion(confusion, dice_image=dice_image)


def _count(prediction: Tensor, target: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """The confusion [B, C, C+1] and the number of pixels with an unknown label, both int64."""
    _check_arguments(prediction, target, classes)
    count_pairs = _count_by_bincount if prediction.device.type == "cpu" else _count_by_scatter
    table = count_pairs(_codes(target, classes), _codes(prediction, classes), classes + 2)
    classes_only = table[:, 1:-1]
    confusion = torch.cat([classes_only[:, :, 1:-1], classes_only[:, :, :1]], dim=2)
    unknown = target.numel() - table[:, :-1, :-1].sum()
    return confusion, unknown


def _codes(labels: Tensor, classes: int) -> Tensor:
    """Labels as the rows or columns of a table: void 0, the classes 1..C, anything else C+1."""
    if labels.dtype == torch.uint8:
        # Void is 255, and 255 + 1 is 0 in 8 bits: two vectorised passes over bytes and no branch,
        # tens of times faster on the CPU than comparing and selecting. With 255 classes every
        # value is known.
        return (labels + 1).clamp_(max=min(classes + 1, 255))
    if labels.device.type == "cpu":
        # Narrowing would fold 256 onto 0 unseen, so look first; that costs about a quarter of a
        # millisecond for a million labels.
        lowest, highest = (int(extreme) for extreme in labels.aminmax())
        if lowest < 0 or highest > VOID:
            found = lowest if lowest < 0 else highest
            raise MetricsError(f"found the label {found}: {_allowed_labels(classes)}")
        return _codes(labels.to(torch.uint8), classes)
    return _codes_by_comparison(labels, classes)


def _codes_by_comparison(labels: Tensor, classes: int) -> Tensor:
    is_class = (labels >= 0) & (labels < classes)
    return torch.where(is_class, labels + 1, torch.where(labels == VOID, 0, classes + 1))


def _count_by_bincount(rows: Tensor, columns: Tensor, codes: int) -> Tensor:
    """How often each image has each pair of codes, [B, H, W] below `codes`: int64 [B, codes, codes]."""
    batch = len(rows)
    cells = batch * codes * codes
    # Most of the time goes into writing and reading the index: the narrower, the faster.
    index_dtype = torch.int16 if cells < 2**15 else torch.int32
    index = rows.to(index_dtype).mul_(codes).add_(columns.to(index_dtype))
    if batch > 1:
        first_cells = torch.arange(batch, dtype=index_dtype).mul_(codes * codes)
        index.add_(first_cells.view(batch, 1, 1))
    return torch.bincount(index.flatten(), minlength=cells).view(batch, codes, codes)


def _count_by_scatter(rows: Tensor, columns: Tensor, codes: int) -> Tensor:
    """The same on an accelerator, where each operation is a launch. torch.bincount reads the smallest and
    largest value back to the host on CUDA, even with minlength. The order of the additions is not fixed here,
    but their sum is: they are integers."""
    index = torch.add(columns, rows.long(), alpha=codes).flatten(1)  # int64, which alone scatter_add_ takes
    one = torch.ones(1, dtype=torch.int64, device=index.device)
    table = torch.zeros(len(index), codes * codes, dtype=torch.int64, device=index.device)
    return table.scatter_add_(1, index, one.expand(index.shape)).view(-1, codes, codes)


def _mean_dice_per_image(confusion: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over classes of each image's Dice in units of `DICE_UNIT`, float64 [B], and 1 where it is
    defined, int64 [B]; both are 0 where no class is present.

    The same definition as in `scores`, here because it is needed for each image, on the device.
    """
    correct = confusion.diagonal(dim1=1, dim2=2)
    size = confusion.sum(2) + confusion[:, :, :-1].sum(1)
    # The unit is a power of two: no bit of the Dice depends on when it is divided by.
    dice = correct.double() * (2 / DICE_UNIT) / size.clamp(min=1)
    class_count = size.clamp(max=1).sum(1)
    return dice.sum(1) / class_count.clamp(min=1), class_count.clamp(max=1)


def _check_arguments(prediction: Tensor, target: Tensor, classes: int) -> None:
    if not 1 <= classes <= VOID:
        raise MetricsError(f"the number of classes must be from 1 to {VOID}, got {classes}")
    if prediction.ndim != 3 or prediction.shape != target.shape or not prediction.numel():
        raise MetricsError(
            "prediction and target must both be [B, H, W] and not empty,"
            f" got {list(prediction.shape)} and {list(target.shape)}"
        )
    if prediction.device != target.device:
        raise MetricsError(f"prediction is on {prediction.device} and target on {target.device}")
    for name, labels in (("prediction", prediction), ("target", target)):
        if labels.dtype not in LABEL_DTYPES:
            allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in LABEL_DTYPES)
            raise MetricsError(f"{name} must hold train ids as one of {allowed}, got {labels.dtype}")


def _refuse_unknown(pixels: int, classes: int) -> None:
    if pixels:
        raise MetricsError(f"labels out of range, number of pixels: {pixels}: {_allowed_labels(classes)}")


def _allowed_labels(classes: int) -> str:
    return f"a label is a train id 0..{classes - 1}, or {VOID} for void"
