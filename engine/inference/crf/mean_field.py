"""The fully connected CRF of Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with
Gaussian Edge Potentials" (NIPS 2011), solved by mean field.

Q = softmax(log p); then, each iteration, E = log p + sum of w_k D_k^-1/2 K_k D_k^-1/2 Q and Q = softmax(E).
The Gaussian kernel K_1 is over the position, the bilateral K_2 over position and colour. The compatibility is
Potts; a pixel is its own neighbour, as in the authors' code."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.config.crf import CrfParameters
from engine.inference.crf.lattice import Filter, points_at_once


class DenseCrf:
    """A CRF of certain parameters. Keeps the lattice of positions from image to image of one size."""

    def __init__(self, parameters: CrfParameters) -> None:
        self.parameters = parameters
        self._positions: tuple[tuple[int, int, torch.device], Filter] | None = None

    @torch.inference_mode()
    def refined(self, image: Tensor, log_probs: Tensor) -> Tensor:
        """The class probabilities of each pixel after mean field, float32 [H, W, C].

        `image` is uint8 [H, W, 3], `log_probs` float32 [H, W, C] the logarithm of the probabilities before. A
        constant for all classes of a pixel makes no difference. Raises CrfError.
        """
        height, width, classes = log_probs.shape
        unary = log_probs.reshape(-1, classes)
        kernels = self._kernels(image)
        beliefs = unary.softmax(1)
        step = points_at_once(unary.device, len(unary))
        for _ in range(self.parameters.iterations):
            blurred = [(weight, kernel, kernel.blurred(beliefs)) for weight, kernel in kernels]
            for first in range(0, len(unary), step):
                some = slice(first, first + step)
                energy = unary[some]
                for weight, kernel, values in blurred:
                    energy = energy.add(kernel.sliced(values, some), alpha=weight)
                torch.softmax(energy, 1, out=beliefs[some])
        return beliefs.view(height, width, classes)

    def _kernels(self, image: Tensor) -> list[tuple[float, Filter]]:
        """The kernels whose weight is not 0."""
        about, kernels = self.parameters, []
        if about.gaussian_weight:
            kernels.append((about.gaussian_weight, self._gaussian(image)))
        if about.bilateral_weight:
            kernels.append((about.bilateral_weight, Filter(bilateral_features(about, image))))
        return kernels

    def _gaussian(self, image: Tensor) -> Filter:
        key = (image.shape[0], image.shape[1], image.device)
        if self._positions is None or self._positions[0] != key:
            self._positions = (key, Filter(gaussian_features(self.parameters, image)))
        return self._positions[1]


def gaussian_features(about: CrfParameters, image: Tensor) -> Tensor:
    """x and y of each pixel in standard deviations, float32 [2, H * W]."""
    return _places(image, about.gaussian_sigma)


def bilateral_features(about: CrfParameters, image: Tensor) -> Tensor:
    """x, y, red, green and blue of each pixel in standard deviations, float32 [5, H * W]."""
    colors = image.reshape(-1, 3).T / about.bilateral_sigma_rgb
    return torch.cat([_places(image, about.bilateral_sigma_xy), colors])


def _places(image: Tensor, sigma: float) -> Tensor:
    """x and y of each pixel over `sigma`, float32 [2, H * W]."""
    height, width = image.shape[:2]
    x = torch.arange(width, dtype=torch.float32, device=image.device) / sigma
    y = torch.arange(height, dtype=torch.float32, device=image.device) / sigma
    return torch.stack([x.repeat(height), y.repeat_interleave(width)])
