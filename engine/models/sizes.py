"""How large each architecture is, as `make_sizes` has counted it. Torch-free: front ends read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("sizes.json")

CLASSES = 19
SIZE = (256, 512)
"""Height and width of the image whose arithmetic is counted."""


@dataclass(frozen=True)
class ModelSize:
    """Parameters of a network for CLASSES classes, and the arithmetic of a forward pass of one image of
    SIZE, a multiply-add as two FLOPs."""

    params: int
    gflops: float


@cache
def sizes() -> Mapping[str, ModelSize]:
    """The sizes of the built-in architectures at their defaults, by the name under which they are listed."""
    return {name: ModelSize(*counted) for name, counted in json.loads(FILE.read_text("utf-8")).items()}


def told(name: str) -> str:
    """The size of an architecture by the name under which it is listed, in words; "" where it is not."""
    known = sizes().get(name)
    if known is None:
        return ""
    return f"{known.params:,} parameters for {CLASSES} classes, {at_size(known.gflops)}"


def at_size(gflops: float) -> str:
    """The arithmetic of one image of SIZE, in words."""
    return f"{gflops:g} GFLOPs at {'x'.join(map(str, SIZE))}"
