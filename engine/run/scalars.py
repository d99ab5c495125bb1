"""The numbers of an epoch by name, as other programs plot them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

MEASURES = ("loss", "dice", "dice_image", "miou", "pixel_accuracy")


class EpochScores(Protocol):
    """An `Epoch` event of a journal, or a row of the database that was made of one."""

    @property
    def split(self) -> str: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def dice(self) -> float | None: ...
    @property
    def dice_image(self) -> float | None: ...
    @property
    def miou(self) -> float | None: ...
    @property
    def pixel_accuracy(self) -> float | None: ...
    @property
    def lr(self) -> float | None: ...
    @property
    def images_per_second(self) -> float | None: ...
    @property
    def class_dice(self) -> Mapping[str, float | None]: ...
    @property
    def class_iou(self) -> Mapping[str, float | None]: ...


def scalars(epoch: EpochScores) -> Iterator[tuple[str, float]]:
    """`dice/val`, `class_iou/val/road` and so on with their values; what has no value is left out."""
    split = epoch.split
    named: dict[str, float | None] = {f"{name}/{split}": getattr(epoch, name) for name in MEASURES}
    named[f"images_per_second/{split}"] = epoch.images_per_second
    if split == "train":
        named["lr"] = epoch.lr
    for kind, scores in (("class_dice", epoch.class_dice), ("class_iou", epoch.class_iou)):
        named |= {f"{kind}/{split}/{name}": value for name, value in scores.items()}
    return ((name, value) for name, value in named.items() if value is not None)
