"""Random changes of training images, as tensor operations on a whole batch on its own device.

What is random is drawn from a CPU generator whatever the device, so that the CPU and every GPU draw the
same and a resumed run repeats what the unbroken one would have drawn. Nothing waits for the device: what
depends on pixels is decided there, by masks.
"""

from __future__ import annotations

from torch import Tensor

from engine.augment import AUGMENTATIONS, AugmentSection
from engine.augment.draws import Change, Draws

__all__ = ["Change", "Draws", "build_augmentations"]


def build_augmentations(section: AugmentSection) -> Change:
    """All changes that a config asks for, one after the other."""
    built = [part.build(section) for part in AUGMENTATIONS.parts().values()]
    changes = [change for change in built if change is not None]

    def augment(images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        for change in changes:
            images, labels = change(images, labels, draws)
        return images, labels

    return augment
