"""EVA-02 (Fang et al. 2023) as timm has it, for images of any size: the outputs of chosen blocks as maps.

Parameters: tiny 5,502,144, small 21,621,120, base_patch14 85,758,720, large_patch14 303,268,800 with timm's
last norm, which VLTSeg leaves out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import timm
import torch
from timm.layers.patch_embed import resample_patch_embed
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn
from torch.nn import functional

from engine.models.conversions import Conversion, Weights
from engine.models.vltseg.fixed import on_device, resampling

_BLOCK = re.compile(r"blocks\.(\d+)\.")

_RENAMED = (
    ("mlp.ffn_ln", "mlp.norm"),
    ("attn.inner_attn_ln", "attn.norm"),
    ("mlp.w12", "mlp.fc1"),
    ("mlp.w1", "mlp.fc1_g"),
    ("mlp.w2", "mlp.fc1_x"),
    ("mlp.w3", "mlp.fc2"),
)
"""What the makers of EVA-02 and EVA-CLIP call parts of a block, and what timm calls them."""


class Backbone(nn.Module):
    """Images [B, 3, H, W] -> one map [B, D, h, w] for each of `taken`, blocks counted from 0.

    h = ceil(H / patch) and w = ceil(W / patch): images are padded at the right and the lower border. Position
    embeddings are learned for a square grid and resampled for any other.
    """

    def __init__(self, name: str, taken: Sequence[int], drop_path: float, inputs: int) -> None:
        super().__init__()
        made: Any = timm.create_model(
            name, num_classes=0, drop_path_rate=drop_path, in_chans=inputs, dynamic_img_size=True
        )
        self.taken = tuple(taken)
        self.patch: int = made.patch_embed.patch_size[0]
        self.grid: tuple[int, int] = made.patch_embed.grid_size
        self.width: int = made.embed_dim
        self.patch_embed = nn.ModuleDict({"proj": made.patch_embed.proj})
        self.cls_token: nn.Parameter = made.cls_token
        self.pos_embed: nn.Parameter = made.pos_embed
        self.rope = made.rope
        self.blocks: nn.ModuleList = made.blocks[: max(taken) + 1]

    def forward(self, images: Tensor) -> list[Tensor]:
        height, width = images.shape[-2:]
        below, beside = self.padded(height, width)
        padded = functional.pad(images, (0, beside - width, 0, below - height))
        patches = self.patch_embed["proj"](padded)  # [B, D, h, w]
        h, w = patches.shape[-2:]
        tokens = torch.cat((self.cls_token.expand(len(images), -1, -1), patches.flatten(2).mT), 1)
        tokens = tokens + self._positions(h, w)  # [B, 1 + h w, D]
        rotation: Tensor = self.rope.get_embed(shape=(h, w))
        maps = []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, rope=rotation)
            if index in self.taken:
                maps.append(tokens[:, 1:].mT.unflatten(2, (h, w)))
        return maps

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of images once they are padded to whole patches."""
        return -(-height // self.patch) * self.patch, -(-width // self.patch) * self.patch

    def _positions(self, h: int, w: int) -> Tensor:
        """The position embeddings [1, 1 + h w, D] of a grid of h x w patches.

        Bicubic resampling is a matrix along each side. As two products, it has a deterministic gradient on
        CUDA, which torch's operator has not.
        """
        if (h, w) == self.grid:
            return self.pos_embed
        first, rest = self.pos_embed[:, :1], self.pos_embed[0, 1:]
        learned = rest.view(*self.grid, -1).movedim(-1, 0)  # [D, gh, gw]
        sides = zip(self.grid, (h, w), strict=True)
        down, across = (on_device(resampling, side, learned) for side in sides)
        resampled = down @ learned @ across.mT  # [D, h, w]
        return torch.cat((first, resampled.flatten(1).mT[None].to(first.dtype)), 1)

    def conversion(self) -> Conversion:
        """How to read the files of EVA-02 and EVA-CLIP, and of timm for another size of image or patch.

        Blocks beyond the last one that is taken have no place here.
        """
        own = {name: tuple(tensor.shape) for name, tensor in self.state_dict().items()}
        grid = list(self.grid)

        def convert(name: str, tensor: Tensor) -> Weights:
            if "rope" in name:
                return {}  # fixed, and made here
            if (block := _BLOCK.match(name)) and int(block[1]) >= len(self.blocks):
                return {}
            for theirs, ours in _RENAMED:
                name = name.replace(theirs, ours)
            for kind in "qv":
                if f"attn.{kind}_bias" in name and name not in own:
                    name = name.replace(f"{kind}_bias", f"{kind}_proj.bias")
            shape = own.get(name)
            if name == "patch_embed.proj.weight" and shape and _differ_in_sides(tensor, shape):
                tensor = resample_patch_embed(tensor, list(shape[2:]))
            if name == "pos_embed" and shape and _is_of_square(tensor, shape):
                tensor = resample_abs_pos_embed(tensor, grid)
            return {name: tensor}

        return Conversion("EVA-02", convert)


def _differ_in_sides(tensor: Tensor, shape: Sequence[int]) -> bool:
    return tensor.ndim == 4 and tensor.shape[:2] == shape[:2] and tensor.shape[2:] != shape[2:]


def _is_of_square(tensor: Tensor, shape: Sequence[int]) -> bool:
    """Whether position embeddings [1, 1 + n n, D] are of another grid than those of `shape`."""
    if tensor.ndim != 3 or tensor.shape[::2] != shape[::2] or tensor.shape == shape:
        return False
    return math.isqrt(tensor.shape[1] - 1) ** 2 == tensor.shape[1] - 1
