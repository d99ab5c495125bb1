"""Changes that move pixels: scale, rotation and crop in one resampling, and mirror images.

Images are sampled bilinearly, labels from the nearest pixel of the same positions, so that no class is
invented. What lies outside of the image is black and void.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.augment.counts import class_counts
from engine.augment.draws import Draws
from engine.classes import VOID
from engine.learning.transfers import to_device

TRIES = 10
"""Crops of which the first is taken that no class fills, as in mmsegmentation."""

PROBE = 64
"""Rows and columns of the pixels by which a crop is judged."""


@dataclass(frozen=True)
class Mirror:
    """A left-right mirror image, with this probability."""

    probability: float

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        chosen = draws.of(len(images)) < self.probability  # [B]
        chosen = to_device(chosen, images.device)
        images = torch.where(chosen[:, None, None, None], images.flip(2), images)
        return images, torch.where(chosen[:, None, None], labels.flip(2), labels)


@dataclass(frozen=True)
class Window:
    """What a sample shows is a window onto its image: scaled, turned and moved, each by a draw of its own.

    `crop` is the size (height, width) of the window; None: that of the image. The scale is log-uniform from
    `smallest` to `largest`, the angle uniform up to `degrees` either way, the place uniform over all that
    have the window within the image or, where it is larger, the image within the window. With a focus, the
    window contains it. A window of which one class fills `most` or more of the labelled pixels is drawn
    again, TRIES times in all.
    """

    smallest: float = 1.0
    largest: float = 1.0
    degrees: float = 0.0
    crop: tuple[int, int] | None = None
    most: float = 1.0

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        size = (labels.shape[1], labels.shape[2])
        if draws.are_cropped:
            self._windows(len(images), size, draws)  # what comes next draws what it would draw after a crop
            return images, labels
        window = self._windows(len(images), size, draws)  # [tries, B, 2, 3]
        window = to_device(window, images.device)
        chosen = window[0] if len(window) == 1 else self._best(window, labels)
        height, width = self.crop or size
        if self._keeps_pixels:
            return _cut(images, labels, chosen, (height, width))
        grid = positions(chosen, height, width)
        shrunk = pixels_for_one(chosen, size, (height, width)) if self._halvings else None
        return sample_images(images, grid, shrunk, self._halvings), sample_labels(labels, grid)

    @property
    def is_cut(self) -> bool:
        """Whether the window shows pixels of the image as they are, at a place that draws alone decide."""
        return self.crop is not None and self._keeps_pixels and self.most >= 1

    def corners(self, count: int, size: tuple[int, int], draws: Draws) -> Tensor:
        """Where windows that are cut out of images of `size` (height, width) begin: (y, x) of their first
        pixels, int64 [count, 2] on the CPU."""
        (window,) = self._windows(count, size, draws)
        return torch.stack(_first_pixels(window, size), dim=1)

    @property
    def _halvings(self) -> int:
        """How often an image is halved for the smallest scale."""
        return max(0, math.ceil(-math.log2(self.smallest)) - 1)

    @property
    def _keeps_pixels(self) -> bool:
        """Whether a window shows pixels as they are."""
        return self.smallest == self.largest == 1 and self.degrees == 0

    def _windows(self, count: int, size: tuple[int, int], draws: Draws) -> Tensor:
        """The windows to choose from, on the CPU: matrices [tries, count, 2, 3] from positions (x, y, 1) in a
        window to those in the image, both from -1 to 1."""
        tries = TRIES if self.most < 1 else 1
        drawn = draws.of(1 + 2 * tries, count)
        angle = torch.zeros(count)
        if self.degrees:
            angle = (2 * draws.of(count) - 1) * math.radians(self.degrees)
        # Log-uniform: halving is as likely as doubling.
        scale = self.smallest * (self.largest / self.smallest) ** drawn[0]
        (height, width), (rows, columns) = size, self.crop or size
        half = torch.stack([columns / width / scale, rows / height / scale])  # [2, count]: x, y
        theta = torch.zeros(tries, count, 2, 3)
        cosine, sine = angle.cos(), angle.sin()
        theta[:, :, 0, 0], theta[:, :, 1, 1] = cosine * half[0], cosine * half[1]
        # Pixels are square: a turn mixes x and y in pixels, not in shares of width and height.
        theta[:, :, 0, 1] = -sine * half[1] * (height / width)
        theta[:, :, 1, 0] = sine * half[0] * (width / height)
        place = 2 * drawn[1:].view(tries, 2, count) - 1
        shift = place * (1 - half).abs()
        if draws.focus is not None:
            shift = _towards(draws.focus, theta[..., :2], place, half, shift)
        if self._keeps_pixels:
            shift = _whole_pixels(shift, half, size)
        theta[..., 2] = shift.transpose(1, 2)
        return theta

    def _best(self, windows: Tensor, labels: Tensor) -> Tensor:
        """The first window of each sample, [B, 2, 3], that no class fills; where there is none, the last."""
        tries, count = windows.shape[:2]
        by_sample = windows.transpose(0, 1)  # [B, tries, 2, 3]
        # All windows of a sample are one tall grid on its labels.
        grid = positions(by_sample.flatten(0, 1), PROBE, PROBE).view(count, tries * PROBE, PROBE, 2)
        probes = sample_labels(labels, grid).view(count * tries, PROBE, PROBE)
        counts = class_counts(probes).view(count, tries, VOID)
        fine = counts.amax(-1) < self.most * counts.sum(-1)  # [B, tries]
        fine = torch.cat([fine[:, :-1], torch.ones_like(fine[:, :1])], dim=1)
        first = fine.to(torch.uint8).argmax(1)
        return by_sample.gather(1, first.view(count, 1, 1, 1).expand(count, 1, 2, 3)).squeeze(1)


def _towards(focus: Tensor, turn: Tensor, place: Tensor, half: Tensor, shift: Tensor) -> Tensor:
    """Centres (x, y) of windows [tries, 2, B] that show the points `focus` [B, 2], samples without a point
    those of `shift`. `turn` [tries, B, 2, 2] leads from positions in a window to those in the image; `place`
    is where a window has its point, from -1 to 1. The windows stay within their images where they fit."""
    point = 2 * focus.T.flip(0) - 1  # [2, B]: x, y
    offset = (turn * place.transpose(1, 2).unsqueeze(2)).sum(-1).transpose(1, 2)
    room = (1 - half).clamp(min=0)
    near = torch.minimum(torch.maximum(point - offset, -room), room)
    return torch.where((half < 1) & ~point.isnan(), near, shift)


def _whole_pixels(shift: Tensor, half: Tensor, size: tuple[int, int]) -> Tensor:
    """The nearest centres of windows whose first pixel is one of the image's, [tries, 2, B]."""
    sides = torch.tensor([size[1], size[0]], dtype=shift.dtype).view(2, 1)  # x, y
    first = ((shift - half + 1) * sides / 2).round()
    return first * 2 / sides + half - 1


def _cut(images: Tensor, labels: Tensor, window: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The pixels of windows [B, 2, 3] that begin at whole pixels."""
    rows = torch.arange(size[0], device=labels.device)
    columns = torch.arange(size[1], device=labels.device)
    top, left = _first_pixels(window, (labels.shape[1], labels.shape[2]))
    sample = torch.arange(len(labels), device=labels.device)[:, None, None]
    at = sample, (top[:, None] + rows)[:, :, None], (left[:, None] + columns)[:, None, :]
    return images[at], labels[at]


def _first_pixels(window: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Top and left, int64 [B] each, of windows [B, 2, 3] that begin at whole pixels of images of `size`."""
    height, width = size
    top = ((window[:, 1, 2] - window[:, 1, 1] + 1) * (height / 2)).round().long()
    left = ((window[:, 0, 2] - window[:, 0, 0] + 1) * (width / 2)).round().long()
    return top, left


def positions(theta: Tensor, height: int, width: int) -> Tensor:
    """Where pixels of height x width lie in their images, [B, height, width, 2] as `grid_sample` takes them.

    In float32 throughout: torch's `affine_grid` is a matrix product, which TF32 would round to parts of a
    pixel.
    """
    x = (2 * torch.arange(width, device=theta.device) + 1) / width - 1
    y = (2 * torch.arange(height, device=theta.device) + 1) / height - 1
    theta = theta[:, None, None]  # [B, 1, 1, 2, 3]
    return theta[..., 0] * x[None, None, :, None] + theta[..., 1] * y[None, :, None, None] + theta[..., 2]


def pixels_for_one(theta: Tensor, size: tuple[int, int], window: tuple[int, int]) -> Tensor:
    """How many pixels of the image one of the window stands for along a side, [B]; 2 at half the scale."""
    area = theta[:, 0, 0] * theta[:, 1, 1] - theta[:, 0, 1] * theta[:, 1, 0]
    return (area * (size[0] * size[1] / (window[0] * window[1]))).sqrt()


def sample_images(images: Tensor, grid: Tensor, shrunk: Tensor | None = None, halvings: int = 0) -> Tensor:
    """uint8 [B, H, W, 3] at the positions [B, h, w, 2]: uint8 [B, h, w, 3], black outside.

    Bilinear sampling leaves out pixels where one stands for more than two of a side, `shrunk` [B]. Such a
    sample is taken from its image at half the size, a quarter and so on, `halvings` in all.
    """
    pixels = images.movedim(-1, 1).float()
    sampled = functional.grid_sample(pixels, grid, mode="bilinear", align_corners=False)
    for halving in range(1, halvings + 1):
        assert shrunk is not None
        smaller = [-(-side // 2) for side in pixels.shape[2:]]
        pixels = functional.interpolate(pixels, size=smaller, mode="area")
        coarse = functional.grid_sample(pixels, grid, mode="bilinear", align_corners=False)
        sampled = torch.where((shrunk > 2**halving)[:, None, None, None], coarse, sampled)
    return sampled.round_().clamp_(0, 255).to(torch.uint8).movedim(1, -1)


def sample_labels(labels: Tensor, grid: Tensor) -> Tensor:
    """uint8 [B, H, W] at the positions [B, h, w, 2]: uint8 [B, h, w], void outside."""
    # Outside is 0 in the sampled tensor: with ids one higher, that is void once they are lowered again. In 8
    # bits, void and one is 0.
    ids = (labels + 1).float().unsqueeze(1)
    ids = functional.grid_sample(ids, grid, mode="nearest", align_corners=False).squeeze(1)
    return ids.to(torch.uint8) - 1
