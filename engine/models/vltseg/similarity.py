"""Logits as similarities to embeddings of the classes' names."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

TEMPERATURE = 0.07
"""Of similarities: where the learned one begins (Radford et al. 2021), and of DenseCLIP's auxiliary loss."""


class Similarity(nn.Module):
    """Features [B, channels, h, w] -> the cosine of each to each class's embedding, over a learned
    temperature: logits [B, classes, h, w].

    `embeddings` [classes, size] are not learned; a run puts them there, a checkpoint has them.
    """

    embeddings: Tensor

    def __init__(self, channels: int, classes: int, size: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, size, 1)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))
        self.register_buffer("embeddings", functional.normalize(torch.randn(classes, size), dim=1))

    def forward(self, features: Tensor) -> Tensor:
        return self.scores(self.project(features)) * self.scale.exp()

    def scores(self, features: Tensor) -> Tensor:
        """The cosines, float32, of features [B, size, h, w]."""
        directions = functional.normalize(features.float(), dim=1)
        return functional.conv2d(directions, functional.normalize(self.embeddings, dim=1)[:, :, None, None])
