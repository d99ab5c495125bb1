"""Changes that recolour pixels and leave labels alone, and cutout, which takes pixels away."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.augment.draws import Draws
from engine.classes import VOID
from engine.learning.constants import constant
from engine.learning.transfers import to_device

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in perceived brightness (ITU-R BT.601)."""


def luma(pixels: Tensor) -> Tensor:
    """Perceived brightness [B, H, W, 1] of float pixels [B, H, W, 3]."""
    weights: Tensor = constant(LUMA, pixels.device)
    return (pixels * weights).sum(-1, keepdim=True)


def to_bytes(pixels: Tensor) -> Tensor:
    """Float pixels as the nearest of 0 to 255."""
    return torch.round(pixels).clamp_(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class ColourJitter:
    """Scale brightness, saturation about grey and contrast about the mean, each by a factor of its own, then
    turn the hue."""

    brightness: float
    contrast: float
    saturation: float
    hue: float = 0.0

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        strengths = torch.tensor([self.brightness, self.contrast, self.saturation])
        factors = 1 + (2 * draws.of(3, len(images)) - 1) * strengths[:, None]
        if self.hue:
            turns = (2 * draws.of(1, len(images)) - 1) * self.hue
            factors = torch.cat([factors, turns])
        factors = to_device(factors, images.device)
        brightness, contrast, saturation, *turns_there = factors[..., None, None, None]
        pixels = images.float() * brightness
        grey = luma(pixels)
        pixels = grey + (pixels - grey) * saturation
        mean = grey.mean(dim=(1, 2), keepdim=True)
        pixels = mean + (pixels - mean) * contrast
        for turn in turns_there:
            pixels = turn_hue(pixels.clamp(0, 255), turn)
        return to_bytes(pixels), labels


def turn_hue(pixels: Tensor, turns: Tensor) -> Tensor:
    """Float pixels [B, H, W, 3] with their hue moved by `turns` of the colour circle; value and saturation
    (of HSV) stay."""
    red, green, blue = pixels.unbind(-1)
    value, least = pixels.amax(-1), pixels.amin(-1)
    chroma = value - least
    safe = chroma.clamp(min=1e-6)
    sextant = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    # Of the three colours, each falls from the value to the least over two sextants of the circle.
    offsets = constant((5.0, 3.0, 1.0), pixels.device)
    place = (offsets + sextant.unsqueeze(-1) + 6 * turns).remainder(6)
    fall = torch.minimum(place, 4 - place).clamp(0, 1)
    return value.unsqueeze(-1) - chroma.unsqueeze(-1) * fall


@dataclass(frozen=True)
class Grayscale:
    """Without colour, with this probability."""

    probability: float

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        chosen = to_device(draws.of(len(images)) < self.probability, images.device)
        grey = to_bytes(luma(images.float())).expand_as(images)
        return torch.where(chosen[:, None, None, None], grey, images), labels


@dataclass(frozen=True)
class Blur:
    """Gaussian blur with this probability; its standard deviation is uniform from LEAST_SIGMA to `sigma`
    pixels."""

    probability: float
    sigma: float

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        drawn = draws.of(2, len(images))
        least = min(LEAST_SIGMA, self.sigma)
        sigmas = least + (self.sigma - least) * drawn[1]
        kernels = gaussian_kernels(sigmas, self._radius(images))
        # One kernel of a single 1 in the middle leaves a sample as it is.
        still = torch.zeros_like(kernels[0])
        still[len(still) // 2] = 1
        kernels = torch.where((drawn[0] < self.probability)[:, None], kernels, still)
        return to_bytes(blurred(images, to_device(kernels, images.device))), labels

    def _radius(self, images: Tensor) -> int:
        """Three standard deviations, within the image, whose border is mirrored."""
        return max(1, min(math.ceil(3 * self.sigma), *(side - 1 for side in images.shape[1:3])))


LEAST_SIGMA = 0.1
"""Smallest standard deviation of a blur in pixels, as in SimCLR (Chen et al. 2020)."""


def gaussian_kernels(sigmas: Tensor, radius: int) -> Tensor:
    """Weights [B, 2 * radius + 1] of Gaussians of `sigmas` [B], which add up to 1."""
    offsets = torch.arange(-radius, radius + 1, device=sigmas.device)
    weights = torch.exp(-0.5 * (offsets / sigmas[:, None]) ** 2)
    return weights / weights.sum(1, keepdim=True)


def blurred(images: Tensor, kernels: Tensor) -> Tensor:
    """uint8 [B, H, W, 3], each filtered along both axes with its row of `kernels` [B, 2 r + 1]: float32."""
    count, height, width, channels = images.shape
    radius = kernels.shape[1] // 2
    # Samples and colours become the channels of one image, each of which has a kernel of its own.
    planes = images.movedim(-1, 1).reshape(1, count * channels, height, width).float()
    planes = functional.pad(planes, (radius, radius, radius, radius), mode="reflect")
    rows = kernels.repeat_interleave(channels, dim=0, output_size=count * channels)[:, None, None, :]
    planes = functional.conv2d(planes, rows, groups=count * channels)
    planes = functional.conv2d(planes, rows.transpose(2, 3), groups=count * channels)
    return planes.view(count, channels, height, width).movedim(1, -1)


@dataclass(frozen=True)
class RandConv:
    """A random convolution with this probability, mixed with the image by a random share (Xu et al., "Robust
    and Generalizable Visual Representation Learning via Random Convolutions", ICLR 2021).

    Kernels of 1, 3, 5 or 7 pixels, whose weights are normal with a variance of 1 over their number, change
    colours and textures and keep shapes. Pixels are taken about the middle grey, where the paper's are
    normalised, and what leaves 0 to 255 is cut off.
    """

    probability: float

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        chance, size, share = draws.of(3, len(images))
        kernels = random_kernels(size, draws.of(9 * LARGEST_KERNEL**2, len(images)))
        kept = to_device(torch.where(chance < self.probability, share, 1.0), images.device)
        pixels = images.movedim(-1, 1).float() - MIDDLE_GREY  # [B, 3, H, W]
        mixed = torch.lerp(
            convolved(pixels, to_device(kernels, images.device)), pixels, kept[:, None, None, None]
        )
        return to_bytes(mixed.movedim(1, -1) + MIDDLE_GREY), labels


LARGEST_KERNEL = 7
MIDDLE_GREY = 127.5


def random_kernels(sizes: Tensor, uniform: Tensor) -> Tensor:
    """Convolutions [B, 3, 3, k, k], k = LARGEST_KERNEL, of uniform numbers: `sizes` [B] choose 1, 3, 5 or 7
    pixels, beyond which weights are 0, and `uniform` [9 k k, B] become the weights."""
    reach = LARGEST_KERNEL // 2
    radii = (sizes * (reach + 1)).long().clamp(max=reach)  # [B], from 0
    normal = math.sqrt(2) * torch.erfinv((2 * uniform - 1).clamp(-0.999999, 0.999999))
    within = torch.arange(-reach, reach + 1).abs() <= radii[:, None]  # [B, k]
    deviation = 1 / (math.sqrt(3) * (2 * radii + 1))
    shape = len(sizes), 3, 3, LARGEST_KERNEL, LARGEST_KERNEL
    weights = normal.T.reshape(shape) * deviation[:, None, None, None, None]
    return weights * (within[:, :, None] & within[:, None, :])[:, None, None]


def convolved(pixels: Tensor, kernels: Tensor) -> Tensor:
    """Pixels float32 [B, 3, H, W], each by its own of `kernels` [B, 3, 3, k, k]; the border is mirrored."""
    count, channels, height, width = pixels.shape
    reach = kernels.shape[-1] // 2
    planes = functional.pad(pixels, (reach, reach, reach, reach), mode="reflect")
    planes = planes.reshape(1, count * channels, *planes.shape[2:])
    made = functional.conv2d(planes, kernels.flatten(0, 1), groups=count)
    return made.view(count, channels, height, width)


@dataclass(frozen=True)
class Cutout:
    """A black rectangle at a random place, with this probability (DeVries & Taylor 2017): its centre lies
    anywhere in the image and its sides are `size` of the image's, so that it may reach over the border. Its
    labels become void, or stay."""

    probability: float
    size: float
    keeps_labels: bool = False

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        chance, down, right = draws.of(3, len(images))
        half = torch.where(chance < self.probability, self.size / 2, -1.0)  # negative: nothing lies within
        box = torch.stack([down - half, down + half, right - half, right + half])
        hole = within(to_device(box, images.device), labels.shape[1], labels.shape[2])
        images = torch.where(hole.unsqueeze(-1), 0, images)
        return images, labels if self.keeps_labels else torch.where(hole, VOID, labels)


def within(box: Tensor, height: int, width: int) -> Tensor:
    """Which pixels have their centre in a box of each sample, bool [B, height, width]: `box` [4, B] is its
    top, bottom, left and right as shares of height and width."""
    top, bottom, left, right = box
    y = (torch.arange(height, device=box.device) + 0.5) / height
    x = (torch.arange(width, device=box.device) + 0.5) / width
    rows = (y >= top[:, None]) & (y < bottom[:, None])
    columns = (x >= left[:, None]) & (x < right[:, None])
    inside: Tensor = rows[:, :, None] & columns[:, None, :]
    return inside
