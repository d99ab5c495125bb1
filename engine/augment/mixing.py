"""Changes that put parts of other samples of the global batch into a sample, images and labels alike.

Partners are drawn from the global batch. With several ranks, each gets the samples of the others for it, so
that a run mixes the same samples on any number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.augment.colour import within
from engine.augment.counts import VALUES, class_counts, thinned
from engine.augment.draws import Draws
from engine.classes import VOID
from engine.learning.transfers import to_device


@dataclass(frozen=True)
class CutMix:
    """With this probability a sample gets a rectangle of its partner (Yun et al. 2019), in labels as well
    (French et al. 2020). Its share of the image is uniform from 0 to 1, its sides are in the proportion of
    the image's, its centre lies anywhere; what reaches over the border is lost."""

    probability: float

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        chance, who, share, down, right = draws.of(5, len(images))
        half = torch.where(chance < self.probability, share.sqrt() / 2, -1.0)
        box = torch.stack([down - half, down + half, right - half, right + half])
        mask = within(to_device(box, images.device), labels.shape[1], labels.shape[2])
        others = _partners(images, labels, draws, who)
        return _pasted(images, labels, *others, mask)


@dataclass(frozen=True)
class ClassMix:
    """With this probability a sample gets all pixels of half of its partner's classes, chosen at random
    (Olsson et al. 2021); of an odd number, the smaller half."""

    probability: float

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        chance, who = draws.of(2, len(images))
        rank = draws.of(VOID, len(images)).T  # [B, 255]
        mixes = (chance < self.probability).float()[:, None]
        drawn = to_device(torch.cat([rank, mixes], 1), images.device)
        rank, mixes = drawn[:, :VOID], drawn[:, VOID:]
        others = _partners(images, labels, draws, who)
        there = class_counts(others[1]) > 0  # of every pixel: a thin class has its turn, too
        # How many of the classes that are there come before a class in the drawn order.
        before = ((rank[:, None, :] < rank[:, :, None]) & there[:, None, :]).sum(-1)
        chosen = there & (before < there.sum(1, keepdim=True) // 2) & (mixes > 0)
        return _pasted(images, labels, *others, _of_classes(others[1], chosen))


@dataclass(frozen=True)
class CopyPaste:
    """With this probability a sample gets small things of its partner (Ghiasi et al. 2021), for class maps
    class by class: each class that covers at most `area` of the partner's pixels is pasted with a
    probability of 1/2, at its place."""

    probability: float
    area: float

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        chance, who = draws.of(2, len(images))
        taken = (draws.of(VOID, len(images)).T < 0.5) & (chance < self.probability)[:, None]  # [B, 255]
        taken = to_device(taken, images.device)
        others = _partners(images, labels, draws, who)
        seen = thinned(others[1])
        chosen = taken & (class_counts(seen) <= self.area * seen[0].numel())
        return _pasted(images, labels, *others, _of_classes(others[1], chosen))


@dataclass(frozen=True)
class Mosaic:
    """With this probability a sample becomes a mosaic of itself and three partners (Bochkovskiy et al. 2020,
    YOLOv4): four images meet at a point in the middle half of the image, each a piece cut out of its sample
    at a random place, unscaled."""

    probability: float

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        count, (height, width) = len(images), labels.shape[1:]
        chance, down, right = draws.of(3, count)
        partners = draws.partners(draws.of(3, count))  # [3, B]
        places = draws.of(2, 4, count)
        own = torch.arange(draws.first, draws.first + count)
        sources = torch.cat([own[None], partners])  # [4, B]: top left, top right, bottom left, bottom right
        middle = torch.stack([(down / 2 + 0.25) * height, (right / 2 + 0.25) * width]).round().long()
        # A sample that is left as it is has its first piece over all of it; so has one without partners.
        is_mixed = (chance < self.probability) & ((draws.whole or count) > 1)
        middle = torch.where(is_mixed, middle, torch.tensor([[height], [width]]))
        bottom, side = torch.tensor([0, 0, 1, 1])[:, None], torch.tensor([0, 1, 0, 1])[:, None]
        # A piece as high as the part above the middle may begin so far down, one below it as far up.
        y = _start(places[0], middle[0], bottom, height)
        x = _start(places[1], middle[1], side, width)
        plan = to_device(torch.stack([sources, y, x]), images.device)  # [3, 4, B]
        middle = to_device(middle, images.device)

        rows = torch.arange(height, device=images.device)[None, :, None]
        columns = torch.arange(width, device=images.device)[None, None, :]
        piece = 2 * (rows >= middle[0][:, None, None]) + (columns >= middle[1][:, None, None])  # [B, H, W]
        sample = torch.arange(count, device=images.device)[:, None, None]
        source, y, x = (part.T[sample, piece] for part in plan)
        all_images, all_labels = draws.whole_batch(images, labels)
        at = source, rows + y, columns + x
        return all_images[at], all_labels[at]


def _start(place: Tensor, middle: Tensor, is_after: Tensor, side: int) -> Tensor:
    """What is added to a pixel's row (or column) to get that of its source, int64 [4, B]: pieces before the
    middle may begin anywhere from 0 to side - middle, those after it from there back to 0."""
    room = torch.where(is_after == 1, middle, side - middle)
    offset = (place * (room + 1)).long().minimum(room)
    return torch.where(is_after == 1, -offset, offset)


def _partners(images: Tensor, labels: Tensor, draws: Draws, who: Tensor) -> tuple[Tensor, Tensor]:
    """The partner of each sample, by uniform numbers [B]: its image and labels."""
    chosen = to_device(draws.partners(who), images.device)
    all_images, all_labels = draws.whole_batch(images, labels)
    return all_images.index_select(0, chosen), all_labels.index_select(0, chosen)


def _of_classes(labels: Tensor, chosen: Tensor) -> Tensor:
    """Which pixels are of the chosen classes, bool [B, H, W]; `chosen` is bool [B, 255]."""
    table = functional.pad(chosen, (0, VALUES - VOID))  # void never is
    return table.gather(1, labels.flatten(1).long()).view_as(labels)


def _pasted(
    images: Tensor, labels: Tensor, other_images: Tensor, other_labels: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    images = torch.where(mask.unsqueeze(-1), other_images, images)
    return images, torch.where(mask, other_labels, labels)
