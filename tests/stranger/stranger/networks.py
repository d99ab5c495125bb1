"""A network of strided convolutions, whose torch part is a module of its own."""

from typing import ClassVar, Literal

from engine import models
from engine.components import option


@models.register
class Strided(models.ModelSection):
    """Two strided convolutions, dilated ones, and bilinear interpolation."""

    stride: ClassVar[int] = 4
    breadth_key: ClassVar[str] = "channels"
    name: Literal["strided"] = option("strided", "Architecture")
    channels: int = option(8, "Channels of the smallest map", ge=1, le=512)
    dilation: int = option(2, "Dilation of the last convolution", ge=1, le=16)

    def build(self, inputs, outputs):
        from stranger.layers import StridedNetwork

        return StridedNetwork(inputs, outputs, self.channels, self.dilation)
