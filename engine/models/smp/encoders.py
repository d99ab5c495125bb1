"""The encoders of segmentation_models_pytorch and timm, as `make_encoders` has tried them. Torch-free.

The list is made with the versions that it names; another version may have others.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from engine.models.pretrained import IMAGENET
from engine.models.sizes import at_size

FILE = Path(__file__).with_name("encoders.json")

FLOPS_SIZE = (256, 512)
"""Height and width of the image whose arithmetic the list has."""

POOLED = -1
"""The `norm` of an encoder that pools to one pixel before a batch norm, whatever the image's size."""


@dataclass(frozen=True)
class Encoder:
    """One encoder. `channels` are those of its maps at strides 1, 2, 4, 8, 16 and 32, 0 where it has none; of
    one that only DPT can use, those of the blocks it takes.

    `gflops` are those of one image of FLOPS_SIZE, a multiply-add as two. `multiple` is what the sides of an
    image must divide by; `norm` the stride of the smallest map that a batch norm sees, 0 without any;
    `dilates` the output strides it can be dilated to, `fine` those of them that take sides that divide by the
    output stride alone. `dpt` is what the sides must divide by with DPT, 0 where DPT cannot use it. `weights`
    are those that are downloaded by name, the usual ones first, each with its licence, "" where the source
    states none; `normalisations` those of them that want images normalised otherwise than ImageNet's, by the
    names of NORMALISATIONS. `options` and `dpt_options` are what timm needs to take images of any size.
    """

    name: str
    params: int
    gflops: float
    channels: tuple[int, ...]
    multiple: int = 32
    norm: int = 0
    dilates: tuple[int, ...] = ()
    fine: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    dpt: int = 0
    dpt_options: Mapping[str, Any] = field(default_factory=dict)
    dpt_no_prefix: bool = False
    no_depth_3: bool = False
    only_dpt: bool = False
    weights: Mapping[str, str] = field(default_factory=dict)
    normalisations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_of_timm(self) -> bool:
        return self.name.startswith("tu-")

    @property
    def licences(self) -> tuple[str, ...]:
        """The licences of its weights, each once."""
        return tuple(dict.fromkeys(self.weights.values()))

    @property
    def strides(self) -> tuple[int, ...]:
        """Those of the maps that it has; of one for DPT alone, none is fixed."""
        if self.only_dpt:
            return ()
        return tuple(2**level for level, channels in enumerate(self.channels) if level and channels)


@cache
def encoders() -> Mapping[str, Encoder]:
    """Every encoder by name."""
    return {name: _encoder(name, entry) for name, entry in _content()["encoders"].items()}


def _encoder(name: str, entry: dict[str, Any]) -> Encoder:
    """An encoder from its line of the list, where tuples are lists."""
    fields: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Encoder(name=name, **fields)


def normalisation_of(encoder: str, weights: str) -> str:
    """How the weights of an encoder want images normalised, a name of NORMALISATIONS; as ImageNet's where
    that is not known, as of a file."""
    about = encoders().get(encoder)
    return IMAGENET if about is None else about.normalisations.get(weights, IMAGENET)


def with_former_normalisation(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The model section of a run or a checkpoint. Without the key `normalisation` it is of a version that
    gave all weights images normalised as ImageNet's."""
    unlike = normalisation_of(str(stored.get("encoder")), str(stored.get("weights"))) != IMAGENET
    return {"normalisation": IMAGENET, **stored} if unlike else dict(stored)


@cache
def made_with() -> Mapping[str, str]:
    """The versions of the packages that the list was made with."""
    return dict(_content()["made_with"])


def told(name: str) -> str:
    """The size of an encoder and the licences of its weights, in a line; "" of a wrong name."""
    encoder = encoders().get(name)
    if encoder is None:
        return ""
    first = [f"{tag} ({licence or 'licence not stated'})" for tag, licence in encoder.weights.items()][:2]
    more = len(encoder.weights) - len(first)
    weights = ", ".join(first) + (f" and {more} more" if more else "")
    return f"{encoder.params:,} parameters, {at_size(encoder.gflops)}; weights: {weights or 'none'}"


def encoder_names() -> tuple[str, ...]:
    return tuple(encoders())


def names_with(part: str) -> list[str]:
    """The encoders whose names contain a word."""
    return [name for name in encoder_names() if part.lower() in name.lower()]


def near_names(name: str, count: int = 3) -> list[str]:
    """The encoders whose names are nearest to one that there is not."""
    names = encoder_names()
    plain = name.lower().replace("-", "_").removeprefix("tu_").removeprefix("timm_")
    spelled = {known.lower().replace("-", "_").removeprefix("tu_"): known for known in reversed(names)}
    if plain in spelled:
        return [spelled[plain]]
    return [spelled[near] for near in difflib.get_close_matches(plain, list(spelled), n=count, cutoff=0.6)]


@cache
def _content() -> Any:
    return json.loads(FILE.read_text(encoding="utf-8"))
