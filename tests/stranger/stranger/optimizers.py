"""RMSprop as torch has it."""

from typing import Literal

from engine import optimizers
from engine.components import option


@optimizers.register
class RmsConfig(optimizers.OptimizerSection):
    """RMSprop: each weight's step over the root of its mean squared gradient."""

    name: Literal["rms"] = option("rms", "Optimizer")
    smoothing: float = option(0.9, "Share of the old mean square in the new", ge=0, lt=1)

    def build(self, groups):
        from torch.optim import RMSprop

        return RMSprop(groups, lr=self.lr, alpha=self.smoothing)
