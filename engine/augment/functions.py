"""Random changes of training images, as tensor operations on a whole batch on its own device.

What is random is drawn from a CPU generator whatever the device, so that the CPU and every GPU draw the
same and a resumed run repeats what the unbroken one would have drawn. Nothing waits for the device: what
depends on pixels is decided there, by masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.augment import AUGMENTATIONS, AugmentSection
from engine.augment.draws import Change, Draws
from engine.augment.geometry import Window
from engine.components.origin import BUILT_IN, ComponentError

__all__ = ["Augmentations", "Change", "Draws", "build_augmentations"]


@dataclass(frozen=True)
class Augmentations:
    """Changes, one after the other."""

    changes: tuple[Change, ...]

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        for change in self.changes:
            images, labels = change(images, labels, draws)
        return images, labels

    @property
    def cut(self) -> Window | None:
        """The crop, where it may be cut out before the pixels come here: it is the first change, and its
        place does not depend on them."""
        first = self.changes[0] if self.changes else None
        return first if isinstance(first, Window) and first.is_cut else None


@dataclass(frozen=True)
class FromOutside:
    """A change of a plugin or a package. What it returns is looked at, as another shape or type would fail
    later, or train on other pixels than are meant: it raises ComponentError."""

    name: str
    change: Change

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        samples = len(images)
        returned: object = self.change(images, labels, draws)
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise ComponentError(f"augmentation {self.name}: must return images and labels")
        images, labels = returned
        if not (
            images.dtype == labels.dtype == torch.uint8
            and images.shape == (*labels.shape, 3)
            and (labels.ndim, len(labels)) == (3, samples)
        ):
            told = [f"{str(each.dtype).removeprefix('torch.')} {list(each.shape)}" for each in returned]
            raise ComponentError(
                f"augmentation {self.name}: returns images {told[0]} and labels {told[1]}; they must be "
                f"uint8 [{samples}, H, W, 3] and uint8 [{samples}, H, W]"
            )
        return images, labels


def build_augmentations(section: AugmentSection) -> Augmentations:
    """All changes that a config asks for."""
    built = [(part, part.build(section)) for part in AUGMENTATIONS.parts().values()]
    return Augmentations(
        tuple(
            change if part.origin == BUILT_IN else FromOutside(part.name, change)
            for part, change in built
            if change is not None
        )
    )
