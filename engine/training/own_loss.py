"""The loss that a network brings itself, within a step."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.learning.distributed import Group
from engine.learning.image_numbers import ImageNumbers
from engine.models.contract import OwnLoss
from engine.training.rng import own_loss_generator


class OwnTerm:
    """A network's own loss of the global batch, part by part: of ranks and of micro-batches, which add up to
    the loss of the whole. `images` is the most that a device has of a batch."""

    def __init__(self, loss: OwnLoss, images: int, device: torch.device) -> None:
        self._loss = loss
        self._numbers = ImageNumbers(loss.numbers, images, device)
        self._counted = torch.zeros(0)
        self._counts = True

    def begin(
        self, where: tuple[int, int, int], images: int, first: int, targets: Tensor, group: Group
    ) -> None:
        """Draw what is random in a step, `where` being seed, epoch and step, and count what this device's
        images from `first` on have to teach, of the global batch of `images`."""
        self._numbers.draw(own_loss_generator(*where), images, first, len(targets))
        self._counts = group.place(images)[1] > 0
        own = self._loss.count(targets if self._counts else targets[:0])
        # Gradients are the mean of the ranks', so what a rank learns is compared with the mean of counts.
        self._counted = group.total(own) / group.count

    def of_part(self, own: tuple[Tensor, ...], targets: Tensor, start: int) -> Tensor:
        """What the part from this device's image `start` on adds to the loss, a float64 scalar."""
        numbers = self._numbers.of(start, len(targets))
        value = self._loss.value(own, targets, numbers, self._counted).double()
        return value if self._counts else 0 * value
