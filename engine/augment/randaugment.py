"""RandAugment (Cubuk et al. 2020) on a batch: for each sample a few operations, drawn from OPERATIONS."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.augment.colour import luma, to_bytes
from engine.augment.counts import value_counts
from engine.augment.draws import Draws
from engine.augment.geometry import positions, sample_images, sample_labels
from engine.learning.transfers import to_device

OPERATIONS = ("autocontrast", "equalize", "rotate", "saturation", "contrast", "brightness", "sharpness")
"""The set of RegSeg (Gao 2021): operations that leave a street scene one."""

MOST_DEGREES, MOST_FACTOR = 30.0, 0.9
"""What a magnitude of 1 turns by, and what it adds to or takes from a factor of 1."""


@dataclass(frozen=True)
class RandAugment:
    """`operations` different ones of OPERATIONS for each sample, in a drawn order, each at `magnitude` from 0
    to 1 and in a drawn direction."""

    operations: int
    magnitude: float

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        order = draws.of(len(OPERATIONS), len(images)).argsort(dim=0)
        signs = torch.where(draws.of(self.operations, len(images)) < 0.5, -1.0, 1.0)
        for which, level in zip(order[: self.operations], signs * self.magnitude, strict=True):
            images, labels = self._once(images, labels, which, level)
        return images, labels

    def _once(self, images: Tensor, labels: Tensor, which: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """One operation for each sample: `which` [B] and how much, `level` [B] from -1 to 1, on the CPU.
        What no sample has drawn is left out."""
        is_op = {name: which == number for number, name in enumerate(OPERATIONS)}
        wanted = {name: bool(mask.any()) for name, mask in is_op.items()}  # known on the host
        there = to_device(torch.stack([*is_op.values()]), images.device)
        chosen = dict(zip(OPERATIONS, there[..., None, None, None], strict=True))  # bool [B, 1, 1, 1]
        changed = images
        blends: dict[str, Callable[[Tensor], Tensor]] = {
            "brightness": torch.zeros_like,
            "saturation": luma,
            "contrast": lambda pixels: luma(pixels).mean(dim=(1, 2), keepdim=True),
            "sharpness": smoothed,
        }
        if any(wanted[name] for name in blends):
            pixels = images.float()
            plain = pixels
            for name, degenerate in blends.items():
                if wanted[name]:
                    plain = torch.where(chosen[name], degenerate(pixels), plain)
            factor = to_device(1 + MOST_FACTOR * level, images.device)[:, None, None, None]
            # Where nothing was chosen both are the same, whatever the factor.
            changed = to_bytes(plain + (pixels - plain) * factor)
        for name, remap in (("autocontrast", autocontrast), ("equalize", equalize)):
            if wanted[name]:
                changed = torch.where(chosen[name], remap(images), changed)
        if wanted["rotate"]:
            angle = torch.where(is_op["rotate"], level * math.radians(MOST_DEGREES), 0.0)
            changed, labels = turned(changed, labels, angle)
        return changed, labels


def smoothed(pixels: Tensor) -> Tensor:
    """Float pixels [B, H, W, 3] as Pillow's SMOOTH filter leaves them; the border stays."""
    planes = pixels.movedim(-1, 1)
    around = functional.avg_pool2d(planes, 3, stride=1, divisor_override=13)
    inner = around + planes[..., 1:-1, 1:-1] * (4 / 13)  # the middle counts five times
    height, width = planes.shape[2:]
    padded = functional.pad(inner, (1, 1, 1, 1))
    y, x = torch.arange(height, device=pixels.device), torch.arange(width, device=pixels.device)
    is_inner = ((y > 0) & (y < height - 1))[:, None] & ((x > 0) & (x < width - 1))
    return torch.where(is_inner, padded, planes).movedim(1, -1)


def autocontrast(images: Tensor) -> Tensor:
    """Each colour of uint8 [B, H, W, 3] stretched to 0 to 255; one that is constant stays."""
    pixels = images.flatten(1, 2).float()
    least, most = pixels.amin(1, keepdim=True), pixels.amax(1, keepdim=True)
    stretched = (pixels - least) * (255 / (most - least).clamp(min=1))
    return to_bytes(torch.where(most > least, stretched, pixels)).view_as(images)


def equalize(images: Tensor) -> Tensor:
    """Each colour of uint8 [B, H, W, 3] with its histogram made even, as Pillow does it."""
    planes = images.movedim(-1, 1).flatten(0, 1)  # [B * 3, H, W]
    counts = value_counts(planes)
    above = counts.cumsum(1)
    last = counts.gather(1, planes.flatten(1).amax(1, keepdim=True).long())
    step = (above[:, -1:] - last) // 255
    table = ((step // 2 + above - counts) // step.clamp(min=1)).clamp(0, 255)
    table = torch.where(step > 0, table, torch.arange(256, device=images.device))
    even = table.gather(1, planes.flatten(1).long()).to(torch.uint8)
    return even.view(len(images), 3, *images.shape[1:3]).movedim(1, -1)


def turned(images: Tensor, labels: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Images and labels turned about their middle by angles [B] in radians, given on the CPU."""
    height, width = labels.shape[1:]
    theta = torch.zeros(len(angle), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = angle.cos()
    theta[:, 0, 1], theta[:, 1, 0] = -angle.sin() * (height / width), angle.sin() * (width / height)
    grid = positions(to_device(theta, images.device), height, width)
    return sample_images(images, grid), sample_labels(labels, grid)
