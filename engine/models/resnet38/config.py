"""The keys of ResNet-38."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator

from engine.config.fields import WHOLE, option
from engine.models import ModelSection, register

if TYPE_CHECKING:
    from engine.models.resnet38.network import ResNet38


WIDTHS = (1.0, 0.5, 0.25, 0.125)


def _fraction(value: Any) -> Any:
    """Accept "1/4" beside 0.25."""
    halves = re.fullmatch(r"\s*1\s*/\s*([1248])\s*", value) if isinstance(value, str) else None
    return 1 / int(halves[1]) if halves else value


def _is_width(value: float) -> float:
    if value not in WIDTHS:
        raise ValueError("no such width")
    return value


BLOCKS = {38: (3, 3, 6, 3, 1, 1), 20: (1, 1, 1, 3, 1, 1), 16: (1, 1, 1, 1, 1, 1)}
"""Residual blocks of levels 2 to 7 by `layers`, which count a classifier's last one."""


@register
class ResNet38Config(ModelSection):
    """ResNet-38 (Wu, Shen and van den Hengel 2016): wide residual blocks, at an eighth of the size."""

    stride: ClassVar[int] = 8
    breadth_key: ClassVar[str] = "width"
    has_encoder: ClassVar[bool] = True
    has_blocks: ClassVar[bool] = True
    has_batch_norm: ClassVar[bool] = True

    name: Literal["resnet38"] = option("resnet38", "Architecture")
    variant: Literal["a1", "a2"] = option(
        "a1", "How maps get smaller. a1: strided convolutions; a2: max pooling first"
    )
    layers: Annotated[Literal[38, 20, 16], WHOLE] = option(
        38, "Layers with weights; 20 and 16 have one block in most or all levels"
    )
    width: Annotated[float, BeforeValidator(_fraction), AfterValidator(_is_width)] = option(
        1.0, "Channels of each layer over those of the paper", form="1, 1/2, 1/4 or 1/8"
    )

    @property
    def blocks(self) -> tuple[int, ...]:
        """How many residual blocks levels 2 to 7 have."""
        return BLOCKS[self.layers]

    def values_per_channel(self, height: int, width: int) -> int:
        return (height // self.stride) * (width // self.stride)

    def build(self, inputs: int, outputs: int) -> ResNet38:
        from engine.models.resnet38.network import ResNet38

        return ResNet38(inputs, outputs, self.variant, self.blocks, Fraction(self.width))
