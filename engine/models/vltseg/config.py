"""The keys of VLTSeg: an EVA-02 vision transformer of timm, with a pyramid of maps and a head."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, model_validator

from engine.components.origin import ComponentError
from engine.components.stored import is_reading_stored
from engine.config.fields import option
from engine.models import ModelSection, register
from engine.models.pretrained import NONE, is_weights_file
from engine.models.sizes import told

if TYPE_CHECKING:
    from engine.models.vltseg.network import VLTSeg

NEEDS_EXTRA = "needs timm; `pip install 'seg-engine[zoo]'` installs it"

MAPS = 4
"""Maps of the pyramid, at strides of about 4, 8, 16 and 32 pixels."""


@dataclass(frozen=True)
class Backbone:
    """A vision transformer: its name in timm, its blocks, and those that the pyramid takes if none are named:
    for 24 blocks those of VLTSeg, for 12 those of BEiT (Bao et al. 2022) with UPerNet."""

    timm: str
    blocks: int
    taken: tuple[int, ...]


BACKBONES = {
    "eva02_tiny_patch14": Backbone("eva02_tiny_patch14_224", 12, (3, 5, 7, 11)),
    "eva02_small_patch14": Backbone("eva02_small_patch14_224", 12, (3, 5, 7, 11)),
    "eva02_base_patch14": Backbone("eva02_base_patch14_224", 12, (3, 5, 7, 11)),
    "eva02_base_patch16_clip": Backbone("eva02_base_patch16_clip_224", 12, (3, 5, 7, 11)),
    "eva02_large_patch14": Backbone("eva02_large_patch14_224", 24, (9, 14, 19, 23)),
    "eva02_large_patch14_clip": Backbone("eva02_large_patch14_clip_224", 24, (9, 14, 19, 23)),
}

BackboneName = Literal[
    "eva02_tiny_patch14",
    "eva02_small_patch14",
    "eva02_base_patch14",
    "eva02_base_patch16_clip",
    "eva02_large_patch14",
    "eva02_large_patch14_clip",
]


def _indices(value: Any) -> Any:
    """Accept a list of block numbers beside numbers joined by commas, and keep them joined."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or value == "":
        return value
    try:
        return ",".join(str(int(each)) for each in given)
    except (TypeError, ValueError):
        return value


def backbone_told(name: str) -> str:
    """The size of the network with a backbone and else as it is listed, in words."""
    return told(f"vltseg {name}")


@register
class VLTSegConfig(ModelSection):
    """VLTSeg (Huemmer et al. 2023): an EVA-02 vision transformer, its maps as a pyramid (extra `zoo`)."""

    has_encoder: ClassVar[bool] = True
    has_blocks: ClassVar[bool] = True
    has_batch_norm: ClassVar[bool] = False
    exports_any_size: ClassVar[bool] = False

    name: Literal["vltseg"] = option("vltseg", "Architecture")
    backbone: BackboneName = option(
        "eva02_large_patch14_clip",
        "Vision transformer of timm",
        told_by="engine.models.vltseg.config:backbone_told",
    )
    weights: str = option(
        NONE,
        "File of weights that a new network's backbone starts from; its makers' names or timm's",
        form="none or the path of a file",
        min_length=1,
    )
    blocks: Annotated[str, BeforeValidator(_indices)] = option(
        "",
        "The blocks, from 0, whose outputs become the maps at strides 4, 8, 16 and 32; empty: the usual ones",
        form="four rising numbers separated by commas, such as 3,5,7,11",
        commas=True,
    )
    drop_path: float = option(
        0.0,
        "Share of the images for which the backbone's last block is skipped; rises from 0 over all its "
        "blocks, also where model.blocks ends before",
        ge=0,
        lt=1,
    )
    head: Literal["fpn", "mask2former"] = option(
        "fpn",
        "What makes logits of the maps: a feature pyramid, or Mask2Former, which brings its own loss",
    )
    channels: int = option(256, "Channels of the head", ge=8, le=2048)
    queries: int = option(100, "Of mask2former: masks that an image is made of", ge=1, le=1000)
    decoder_layers: int = option(
        9, "Of mask2former: layers that refine the masks, each by the next of three maps", ge=3, le=24
    )
    points: int = option(
        12544, "Of mask2former: pixels at which a mask is compared with the labels", ge=16, le=1_000_000
    )
    text: str = option(
        "", "File of class embeddings that the logits are the similarity to; empty: an ordinary classifier"
    )
    text_size: int = option(
        0, "Length of the embeddings in model.text, as read when the run was created", ge=0, le=65536
    )

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if is_reading_stored():
            return self
        if self.weights != NONE and not is_weights_file(self.weights):
            raise ValueError(f"model.weights: {self.weights!r} is no file; none or the path of a file works")
        if problem := self._problem_with_blocks():
            raise ValueError(f"model.blocks: {problem}")
        if self.text_size and not self.text:
            raise ValueError("model.text_size: follows from model.text, which is not given; it must be 0")
        return self

    def _problem_with_blocks(self) -> str:
        if not self.blocks:
            return ""
        count = BACKBONES[self.backbone].blocks
        asked = f"it must be {MAPS} rising numbers from 0 to {count - 1}, such as {_joined(self._usual)}"
        try:
            taken = self.taken
        except ValueError:
            return f"{self.blocks!r} is not allowed; {asked}"
        is_rising = list(taken) == sorted(set(taken))
        fits = len(taken) == MAPS and is_rising and all(0 <= block < count for block in taken)
        return "" if fits else f"{self.blocks} is not allowed for {self.backbone}; {asked}"

    @property
    def _usual(self) -> tuple[int, ...]:
        return BACKBONES[self.backbone].taken

    @property
    def taken(self) -> tuple[int, ...]:
        """The blocks, from 0, whose outputs the pyramid takes."""
        return tuple(int(block) for block in self.blocks.split(",")) if self.blocks else self._usual

    def own_loss_key(self) -> str:
        return "model.head=mask2former" if self.head == "mask2former" else ""

    def embeddings_file(self) -> str:
        return self.text

    def missing(self) -> list[str]:
        return [] if find_spec("timm") is not None else [f"model.name=vltseg: {NEEDS_EXTRA}"]

    def weights_file(self) -> str:
        return "" if self.weights == NONE else self.weights

    def listed(self) -> list[tuple[str, ModelSection]]:
        base = type(self)()
        return [(f"vltseg {name}", base.model_copy(update={"backbone": name})) for name in BACKBONES]

    @classmethod
    def smaller(cls, size_key: str = "data.size") -> str:
        return f"a smaller {size_key} or model.backbone"

    def build(self, inputs: int, outputs: int) -> VLTSeg:
        for line in self.missing():
            raise ComponentError(line)
        from engine.models.vltseg.network import VLTSegPyramid, VLTSegQueries

        return (VLTSegPyramid if self.head == "fpn" else VLTSegQueries)(self, inputs, outputs)


def _joined(blocks: tuple[int, ...]) -> str:
    return ",".join(str(block) for block in blocks)
