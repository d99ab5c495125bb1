"""Losses that rank the pixels of a part: OHEM and Lovasz. They sort and mask: shapes are fixed and the
host never waits."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.classes import VOID
from engine.losses.functions import OfPart, pixel_entropy, truth_of, wide


class Ohem(OfPart):
    """The mean cross-entropy of the hardest pixels of a part.

    Wu et al., "Bridging Category-level and Instance-level Semantic Image Segmentation", 2016, after
    Shrivastava et al., CVPR 2016. Hard is a pixel whose true class has a probability below `threshold`. Where
    fewer than `min_kept` are, the `min_kept` of the lowest probability are kept, with all that are as hard as
    the last of them: all, where no more are valid.
    """

    def __init__(self, threshold: float, min_kept: int) -> None:
        self.min_kept = min_kept
        # The largest number below: what is kept is then one comparison, on a GPU one kernel less.
        self._below = {
            dtype: float(torch.tensor(threshold, dtype=dtype).nextafter(torch.zeros((), dtype=dtype)))
            for dtype in (torch.float32, torch.float64)
        }

    def of_part(self, logits: Tensor, labels: Tensor) -> Tensor:
        entropy, valid = pixel_entropy(logits, labels), labels != VOID
        probability = torch.where(valid, torch.exp(-entropy.detach()), 2)
        kept = (probability <= self._limit(probability.flatten())) & valid
        return (entropy * kept).sum() / kept.sum().clamp(min=1)

    def _limit(self, probability: Tensor) -> Tensor | float:
        """Up to it, pixels are kept; void ones have a probability of 2 and so come last."""
        below = self._below[probability.dtype]
        if self.min_kept == 0:
            return below
        if self.min_kept >= len(probability):
            return 2.0
        if probability.is_cuda:  # whose kthvalue has no deterministic form
            least = probability.sort().values[self.min_kept - 1]
        else:
            least = probability.kthvalue(self.min_kept).values
        return least.clamp(min=below)


class Lovasz(OfPart):
    """The Lovasz extension of the Jaccard loss of the softmax, mean over the classes present.

    Berman et al., "The Lovasz-Softmax loss", CVPR 2018. Present in a part or, with `per_image`, in an image;
    the loss is then the mean over the part's images that have a valid pixel.
    """

    def __init__(self, per_image: bool) -> None:
        self.per_image = per_image

    def of_part(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = wide(logits)
        probability = logits.softmax(dim=1)
        valid, truth = truth_of(labels, logits.shape[1])
        rows = len(labels) if self.per_image else 1
        valid = valid.view(rows, -1)
        losses, present = [], []
        for of_class, is_class in zip(
            probability.unbind(1), truth.unbind(1), strict=True
        ):  # a sort's memory each
            is_class = is_class.reshape(rows, -1)
            errors = (is_class.to(logits.dtype) - of_class.reshape(rows, -1)).abs() * valid
            losses.append((errors * _slopes(errors.detach(), is_class, valid)).sum(1))
            present.append(is_class.any(1))
        there = torch.stack(present, 1).to(logits.dtype)  # [rows, C]
        of_rows = (torch.stack(losses, 1) * there).sum(1) / there.sum(1).clamp(min=1)
        counted = valid.any(1).to(logits.dtype)
        return (of_rows * counted).sum() / counted.sum().clamp(min=1)


def _slopes(errors: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """The gradient of the Lovasz extension for errors [rows, N]: by how much the Jaccard loss grows when the
    pixel joins those of larger errors. Void pixels come last."""
    order = torch.where(valid, errors, -1).argsort(dim=1, descending=True, stable=True)
    hits = truth.gather(1, order)
    # Whole numbers: sums of floating-point ones have no deterministic kernel on CUDA.
    found = hits.int().cumsum(1)
    passed = torch.arange(1, hits.shape[1] + 1, device=errors.device)
    total = found[:, -1:]
    union = (total + passed - found).clamp(min=1).to(errors.dtype)
    # A pixel of the class leaves the intersection, another one joins the union. Of millions of pixels, the
    # difference of two Jaccard losses would have a digit or none left in float32.
    joins = (total - found).to(errors.dtype) / (union * (union - 1).clamp(min=1))
    steps = torch.where(hits, 1 / union, joins)
    # By the inverse of the order, as scattering has no deterministic kernel either.
    return steps.gather(1, order.argsort(dim=1))
