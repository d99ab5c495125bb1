"""The loss of Mask2Former (Cheng et al. 2022): queries are matched with the classes of an image, and each
learns its class and its mask at a few points.

An image has one mask of each class that is in it. Void pixels take no part, where the paper takes them for
background. The points at which queries are matched are the same for all layers of a step. Whether a point is
of a class is read off the pixel that it lies in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from engine.classes import VOID
from engine.models.hashed import hashed, uniform
from engine.models.vltseg.mask2former import masks_of

CLASS, MASK, DICE = 2.0, 5.0, 5.0
"""What the losses of the class and of the mask count, and as costs of the matching."""

NO_OBJECT = 0.1
"""What a query without a class counts in the loss of the class."""

OVERSAMPLED, UNCERTAIN = 3, 0.75
"""So many times the points are looked at, and those where the mask is the least certain become this share."""


class SetLoss:
    """Of `points` points of each mask, for queries before the first of the layers and after each: `layers` in
    all. `padded` says how large images are that the features show."""

    def __init__(self, points: int, layers: int, padded: Callable[[int, int], tuple[int, int]]) -> None:
        self.points, self.layers, self.padded = points, layers, padded
        self.numbers = 1 + layers

    def count(self, labels: Tensor) -> Tensor:
        """The masks, and the images that have any."""
        if not len(labels):
            return torch.zeros(2, dtype=torch.float64, device=labels.device)
        present = _present(labels)
        masks_and_images = torch.stack([present.sum(), present.any(1).sum()])
        return masks_and_images.double()

    def value(
        self, own: tuple[Tensor, ...], labels: Tensor, numbers: Sequence[Tensor], counted: Tensor
    ) -> Tensor:
        """`own` is logits of classes [L, B, Q, C + 1], embeddings [L, B, Q, D] and features [B, D, h, w]."""
        classes, embeddings, features = (each.float() for each in own)
        size = _extent(labels, self.padded)
        matched = self._match(classes, embeddings, features, labels, numbers[0], size)
        masks, images = counted
        queries = classes.shape[2]
        weight = masks + NO_OBJECT * (queries * images - masks)
        total: Tensor = CLASS * _class_loss(classes, matched) / weight.clamp(min=NO_OBJECT)
        if matched.ids.shape[1] == 0:  # each weight has a gradient all the same, as ranks share those of all
            return total + 0 * (embeddings.sum() + features.sum())
        for layer in range(self.layers):
            mask, dice = self._mask_losses(
                embeddings[layer], features, labels, matched, layer, numbers[1 + layer], size
            )
            total = total + (MASK * mask + DICE * dice) / masks.clamp(min=1)
        return total

    @torch.no_grad()
    def _match(
        self,
        classes: Tensor,
        embeddings: Tensor,
        features: Tensor,
        labels: Tensor,
        numbers: Tensor,
        size: tuple[float, float],
    ) -> Matched:
        """Which query of each layer has which class of an image, by the least sum of costs, which the
        host waits for once."""
        places = uniform(numbers, 2 * self.points).view(len(labels), self.points, 2)
        there, valid = _labels_at(labels, places)
        ids = torch.arange(classes.shape[-1] - 1, device=labels.device)
        truth = ((there[..., None] == ids) & valid[..., None]).float()  # [B, P, C]
        seen = valid[:, None].float()  # [B, 1, P]
        at_points = sampled(features, places * places.new_tensor(size))  # [B, D, P]
        shares = classes.softmax(-1)[..., :-1]  # [L, B, Q, C]
        costs = []
        for layer in range(self.layers):
            logits = torch.bmm(embeddings[layer], at_points)  # [B, Q, P]
            entropy = (functional.softplus(logits) * seen).sum(-1, keepdim=True) - torch.bmm(logits, truth)
            entropy = entropy / seen.sum(-1, keepdim=True).clamp(min=1)
            inside = logits.sigmoid() * seen
            both = torch.bmm(inside, truth)
            sums = inside.sum(-1, keepdim=True) + truth.sum(1, keepdim=True)
            costs.append(MASK * entropy + DICE * _one_less_dice(both, sums) - CLASS * shares[layer])
        present = _present(labels)[:, : classes.shape[-1] - 1]
        on_host = torch.cat([torch.stack(costs).flatten(), present.flatten().float()]).cpu().double().numpy()
        # Of a run that diverges, which is noticed elsewhere, any match will do.
        on_host = np.nan_to_num(on_host, nan=0.0, posinf=1e6, neginf=-1e6)
        cost = on_host[: -present.numel()].reshape(self.layers, *costs[0].shape)
        return matched_by(cost, on_host[-present.numel() :].reshape(present.shape) > 0, classes.device)

    def _mask_losses(
        self,
        embeddings: Tensor,
        features: Tensor,
        labels: Tensor,
        matched: Matched,
        layer: int,
        numbers: Tensor,
        size: tuple[float, float],
    ) -> tuple[Tensor, Tensor]:
        """The sums over an image's masks of binary cross-entropy and of soft Dice loss, []."""
        queries, ids, exists = matched.queries[layer], matched.ids, matched.exists  # each [B, K]
        theirs = embeddings.gather(1, queries[..., None].expand(-1, -1, embeddings.shape[-1]))
        masks = masks_of(theirs, features)  # [B, K, h, w]
        # A mask's points follow from image, layer and class, not from which other masks there are.
        own_numbers = hashed(numbers, matched.classes).gather(1, ids).flatten()
        places = self._places(masks.detach(), labels, own_numbers, size)  # [B, K, P, 2]
        logits = _sampled_each(masks, places * places.new_tensor(size))
        there, valid = _labels_at(labels, places.flatten(1, 2))
        truth = (there.view(logits.shape) == ids[..., None]).float()
        seen = valid.view(logits.shape).float()
        entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none") * seen
        entropy = entropy.sum(-1) / seen.sum(-1).clamp(min=1)  # [B, K]
        inside, truth = logits.sigmoid() * seen, truth * seen
        dice = _one_less_dice((inside * truth).sum(-1), inside.sum(-1) + truth.sum(-1))
        return (entropy * exists).sum(), (dice * exists).sum()

    @torch.no_grad()
    def _places(self, masks: Tensor, labels: Tensor, numbers: Tensor, size: tuple[float, float]) -> Tensor:
        """Where masks [B, K, h, w] are compared with the labels, [B, K, P, 2] from 0 to 1: most of it where
        they are the least certain, as in PointRend (Kirillov et al. 2020), the others anywhere."""
        count, most = masks.shape[:2]
        uncertain = int(UNCERTAIN * self.points)
        candidates = OVERSAMPLED * self.points
        drawn = uniform(numbers, 2 * (candidates + self.points - uncertain)).view(count, most, -1, 2)
        tried, others = drawn[:, :, :candidates], drawn[:, :, candidates:]
        certainty = _sampled_each(masks, tried * tried.new_tensor(size)).abs()
        _, valid = _labels_at(labels, tried.flatten(1, 2))
        certainty = torch.where(valid.view(certainty.shape), certainty, torch.inf)
        chosen = certainty.topk(uncertain, dim=-1, largest=False).indices
        return torch.cat([tried.gather(2, chosen[..., None].expand(-1, -1, -1, 2)), others], 2)


@dataclass(frozen=True)
class Matched:
    """The queries [L, B, K] that have the classes `ids` [B, K], int64, of each image. K is the most that an
    image has of the `classes`; for one with fewer, `exists` float32 [B, K] is 0 where there is no mask."""

    queries: Tensor
    ids: Tensor
    exists: Tensor
    classes: int


def matched_by(cost: np.ndarray, present: np.ndarray, device: torch.device) -> Matched:
    """The assignment of the least cost [L, B, Q, C] for the classes that are `present`, bool [B, C]."""
    layers, images, _, classes = cost.shape
    most = int(present.sum(1).max(initial=0))
    queries = np.zeros((layers, images, most), np.int64)
    ids, exists = np.zeros((images, most), np.int64), np.zeros((images, most), np.float32)
    for image in range(images):
        own = np.flatnonzero(present[image])
        ids[image, : len(own)], exists[image, : len(own)] = own, 1
        for layer in range(layers):
            rows, columns = linear_sum_assignment(cost[layer, image][:, own])
            queries[layer, image, columns] = rows
    there = [torch.from_numpy(each).to(device) for each in (queries, ids, exists)]
    return Matched(there[0], there[1], there[2], classes)


def _class_loss(classes: Tensor, matched: Matched) -> Tensor:
    """The sum over layers, images with masks, and queries of the weighted cross-entropy of the class."""
    entropy = -classes.log_softmax(-1)  # [L, B, Q, C + 1]
    exists = matched.exists.expand(matched.queries.shape)
    ids = matched.ids.expand(matched.queries.shape)
    # Each query has no object, but for those that have a class.
    nothing = NO_OBJECT * entropy[..., -1]
    rows = entropy.gather(2, matched.queries[..., None].expand(-1, -1, -1, entropy.shape[-1]))
    of_class = rows.gather(3, ids[..., None]).squeeze(3) - NO_OBJECT * rows[..., -1]
    has_masks = matched.exists.sum(1) > 0  # [B]
    return (nothing.sum(2) * has_masks).sum() + (of_class * exists).sum()


def _present(labels: Tensor) -> Tensor:
    """Which classes are in each image, bool [B, VOID]."""
    flat = labels.flatten(1).long()
    found = torch.zeros(len(labels), VOID + 1, dtype=torch.bool, device=labels.device)
    return found.scatter(1, flat, True)[:, :VOID]


def _extent(labels: Tensor, padded: Callable[[int, int], tuple[int, int]]) -> tuple[float, float]:
    """Height and width of an image as shares of what the features show, which is padded."""
    height, width = labels.shape[-2:]
    full = padded(height, width)
    return height / full[0], width / full[1]


def _labels_at(labels: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The label of the pixel that each of `places` [B, P, 2] lies in, and whether it is no void: [B, P]."""
    height, width = labels.shape[-2:]
    y, x = (places[..., 0] * height).long(), (places[..., 1] * width).long()
    index = y.clamp(max=height - 1) * width + x.clamp(max=width - 1)
    there = labels.flatten(1).gather(1, index)
    return there, there != VOID


def sampled(features: Tensor, places: Tensor) -> Tensor:
    """Features [B, D, h, w] at places [B, P, 2], which are shares of height and width, by bilinear
    interpolation: [B, D, P]. Torch's `grid_sample` has no deterministic gradient on CUDA; `gather` has one.
    """
    height, width = features.shape[-2:]
    y, x = places[..., 0] * height - 0.5, places[..., 1] * width - 0.5
    top, left = y.floor(), x.floor()
    down, right = y - top, x - left
    flat = features.flatten(2)
    total: Tensor | None = None
    for rows, row_share in ((top, 1 - down), (top + 1, down)):
        for columns, column_share in ((left, 1 - right), (left + 1, right)):
            index = rows.long().clamp(0, height - 1) * width + columns.long().clamp(0, width - 1)
            corner = flat.gather(2, index[:, None].expand(-1, flat.shape[1], -1))
            part = corner * (row_share * column_share)[:, None]
            total = part if total is None else total + part
    assert total is not None
    return total


def _sampled_each(masks: Tensor, places: Tensor) -> Tensor:
    """Masks [B, K, h, w], each at its own places [B, K, P, 2]: [B, K, P]."""
    made = sampled(masks.flatten(0, 1).unsqueeze(1), places.flatten(0, 1))
    return made.view(*masks.shape[:2], -1)


def _one_less_dice(both: Tensor, sums: Tensor) -> Tensor:
    """Soft Dice loss of what two masks share and of the sum of both, with 1 added as in the paper's code."""
    return 1 - (2 * both + 1) / (sums + 1)
