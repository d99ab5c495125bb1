"""Random changes of training images, as tensor operations on a whole batch on its own device.

What is random is drawn from a CPU generator whatever the device, so that the CPU and every GPU draw the
same and a resumed run repeats what the unbroken one would have drawn. Nothing waits for the device: what
depends on pixels is decided there, by masks.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from engine.augment import AUGMENTATIONS, AugmentSection
from engine.augment.draws import Change, Draws
from engine.augment.geometry import Window

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


def build_augmentations(section: AugmentSection) -> Augmentations:
    """All changes that a config asks for."""
    built = [part.build(section) for part in AUGMENTATIONS.parts().values()]
    return Augmentations(tuple(change for change in built if change is not None))
