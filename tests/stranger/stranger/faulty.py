"""A network that fails where its key says, and a loss that fails; the lines are marked."""

from typing import Literal

from engine import losses, models
from engine.components import Section, option


@models.register
class Faulty(models.ModelSection):
    """A convolution, or an error."""

    name: Literal["faulty"] = option("faulty", "Architecture")
    fault: Literal["none", "build", "shape", "step"] = option("none", "Where it fails")

    def build(self, inputs, outputs):
        from torch import nn

        from engine.models.contract import SegmentationNetwork

        class Network(SegmentationNetwork):
            def __init__(network):
                super().__init__()
                network.head = nn.Conv2d(inputs, outputs, 1)

            def forward(network, images):
                if self.fault == "shape":
                    raise ValueError("fault at shape")  # fault: shape
                if self.fault == "step" and not images.is_meta:
                    raise ValueError("fault at step")  # fault: step
                return network.head(images)

            def bottleneck(network):
                return network.head

        if self.fault == "build":
            raise ValueError("fault at build")  # fault: build
        return Network()


class FaultyLossKeys(Section):
    faulty_loss: float = option(0.0, "Weight of a loss that fails", ge=0, le=1)


@losses.register(FaultyLossKeys)
def faulty_loss(keys, classes):
    class Loss:
        terms = 2

        def sums(self, logits, labels):
            raise ValueError("fault at loss")  # fault: loss

        def value(self, sums):
            return sums[1] / sums[0]

    return Loss()
