"""The head of Cheng, Misra, Schwing, Kirillov, Girdhar: "Masked-attention Mask Transformer for Universal
Image Segmentation" (Mask2Former), CVPR 2022, arXiv 2112.01527.

Queries look at the maps of a pixel decoder by masked attention. Each ends up as a mask over the image and a
distribution over the classes and "no object".

The pixel decoder is a feature pyramid. The paper's has deformable attention, whose sampling has no
deterministic gradient on CUDA.

A mask is the product of a query's embedding with the features of a pixel. Resizing is linear, so where a mask
is wanted at another size the features are resized, once for all queries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.models.layers import bilinear
from engine.models.vltseg.fixed import on_device, sines
from engine.models.vltseg.pyramid import Laterals
from engine.models.vltseg.similarity import Similarity

LEVELS = 3
"""Maps that queries look at, in turn from the smallest on."""

GROWTH = 8
"""Hidden channels of a feed-forward layer for each channel: 2048 for the paper's 256."""

HEADS = 8
"""Of attention, or the most below that the channels divide by."""

AT_ONCE = 25
"""Queries whose masks of the image's full size exist at a time."""

LEAST_SCORE = 1e-6
"""Of a class at a pixel, so that its logarithm is finite."""


class MaskDecoder(nn.Module):
    """Maps of D channels at strides of about 4, 8, 16 and 32 -> queries [L, B, Q, channels] and embeddings of
    their masks [L, B, Q, channels], before the first layer and after each, L = `layers` + 1, and features
    [B, channels, h, w] of the first map's size."""

    def __init__(self, width: int, channels: int, queries: int, layers: int) -> None:
        super().__init__()
        self.pixels = Laterals(width, channels)
        self.features = nn.Conv2d(channels, channels, 3, padding=1)
        self.queries = nn.Parameter(torch.randn(queries, channels))
        self.places = nn.Parameter(torch.randn(queries, channels))
        self.levels = nn.Parameter(torch.randn(LEVELS, channels))
        self.layers = nn.ModuleList(DecoderLayer(channels) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)
        self.embed = nn.Sequential(
            nn.Linear(channels, channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
        )
        for parameter in (*self.layers.parameters(), *self.embed.parameters()):
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        first, *others = self.pixels(maps)
        features: Tensor = self.features(first)
        seen = [self._level(index, map, features) for index, map in enumerate(reversed(others))]
        # Copies, as torch's counter of FLOPs takes no parameter that is an input of a layer.
        queries, own_places = self.queries.repeat(len(first), 1, 1), self.places.clone()
        normed, embeddings = [self.norm(queries)], [self.embed(self.norm(queries))]
        for number, layer in enumerate(self.layers):
            tokens, places, small = seen[number % LEVELS]
            looks_at = looked_at(embeddings[-1], small)
            queries = layer(queries, own_places, tokens, places, looks_at)
            normed.append(self.norm(queries))
            embeddings.append(self.embed(normed[-1]))
        return torch.stack(normed), torch.stack(embeddings), features

    def _level(self, index: int, map: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A map as tokens [B, h w, D], their places [h w, D], and the features at its size, for masks."""
        places = on_device(sines, map.shape[1:], map)
        with torch.no_grad():
            small = bilinear(features, map.shape[-2:])
        return map.flatten(2).mT + self.levels[index], places, small


class DecoderLayer(nn.Module):
    """Queries [B, Q, D] look at what they have masked of a map, then at each other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cross, self.own = Attention(channels), Attention(channels)
        self.wide = nn.Linear(channels, GROWTH * channels)
        self.narrow = nn.Linear(GROWTH * channels, channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))

    def forward(
        self, queries: Tensor, own_places: Tensor, tokens: Tensor, places: Tensor, looks_at: Tensor
    ) -> Tensor:
        first, second, third = self.norms
        seen = self.cross(queries + own_places, tokens + places, tokens, looks_at)
        queries = first(queries + seen)
        placed = queries + own_places
        queries = second(queries + self.own(placed, placed, queries))
        result: Tensor = third(queries + self.narrow(functional.relu(self.wide(queries))))
        return result


class Attention(nn.Module):
    """Of queries [B, Q, D] to tokens [B, N, D], of several heads; `looks_at` is bool [B, Q, N]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = math.gcd(HEADS, channels)
        self.query, self.key = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.value, self.join = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, looks_at: Tensor | None = None
    ) -> Tensor:
        query, key, value = (
            layer(each).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, N, D / heads]
            for layer, each in ((self.query, queries), (self.key, keys), (self.value, values))
        )
        mask = None if looks_at is None else looks_at.unsqueeze(1)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        joined: Tensor = self.join(seen.transpose(1, 2).flatten(2))
        return joined


class QueryClasses(nn.Module):
    """Queries [..., Q, D] -> logits [..., Q, classes + 1], the last of which says "no object"."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classes = nn.Linear(channels, classes + 1)

    def forward(self, queries: Tensor) -> Tensor:
        logits: Tensor = self.classes(queries)
        return logits


class QuerySimilarity(nn.Module):
    """`QueryClasses` whose logits of classes are similarities to their embeddings."""

    def __init__(self, channels: int, classes: int, size: int) -> None:
        super().__init__()
        self.similarity = Similarity(channels, classes, size)
        self.nothing = nn.Linear(channels, 1)

    def forward(self, queries: Tensor) -> Tensor:
        rows = queries.flatten(0, -3) if queries.ndim > 3 else queries  # [N, Q, D]
        similar = self.similarity(rows.mT.unsqueeze(-1)).squeeze(-1).mT  # [N, Q, classes]
        logits = torch.cat((similar, self.nothing(rows).to(similar.dtype)), -1)
        return logits.view(*queries.shape[:-1], -1)


def looked_at(embeddings: Tensor, features: Tensor) -> Tensor:
    """Where queries may look, bool [B, Q, h w]: within the masks of their embeddings [B, Q, D] over features
    [B, D, h, w], and everywhere where a mask is empty."""
    with torch.no_grad():
        inside = masks_of(embeddings, features).flatten(2) > 0
        return inside | ~inside.any(-1, keepdim=True)


def masks_of(embeddings: Tensor, features: Tensor) -> Tensor:
    """Logits of masks [B, Q, h, w] of embeddings [B, Q, D] over features [B, D, h, w]."""
    made: Tensor = torch.bmm(embeddings, features.flatten(2)).view(
        *embeddings.shape[:2], *features.shape[-2:]
    )
    return made


def class_scores(classes: Tensor, masks: Tensor) -> Tensor:
    """[B, C, h, w] of logits of queries [B, Q, C + 1] and of their masks [B, Q, h, w]: the sum over queries
    of the probability of the class times that of the mask."""
    shares = classes.float().softmax(-1)[..., :-1]
    inside = _probabilities(masks).flatten(2).to(shares.dtype)
    scores: Tensor = torch.bmm(shares.mT, inside).view(len(masks), -1, *masks.shape[-2:])
    return scores


def _probabilities(masks: Tensor) -> Tensor:
    """Sigmoids. In an exported file by the exponential function: onnxruntime's sigmoid is off by as much as
    its value where that is about 1e-7, and logarithms of scores show it."""
    return 1 / (1 + (-masks).exp()) if torch.compiler.is_exporting() else masks.sigmoid()


def logits_of(scores: Tensor) -> Tensor:
    """Logits of scores of classes: their logarithm, float32. A softmax makes of it each class's part of the
    sum of scores, and the largest class stays. Where no query claims a pixel, all of them are low."""
    return scores.float().clamp(min=LEAST_SCORE).log()
