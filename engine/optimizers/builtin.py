"""The optimizers that seg-engine has, and what installed packages add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from engine.config.fields import option
from engine.optimizers import OPTIMIZERS, OptimizerSection, register

if TYPE_CHECKING:
    from torch.optim import SGD, AdamW

__all__ = ["OPTIMIZERS", "AdamWConfig", "OptimizerSection", "SGDConfig"]

# Fused: one kernel walks all tensors, where a loop over tensors would start hundreds.


@register
class SGDConfig(OptimizerSection):
    """Stochastic gradient descent, with or without momentum."""

    name: Literal["sgd"] = option("sgd", "Optimizer")
    momentum: float = option(0.0, "Momentum", ge=0, lt=1)

    def build(self, groups: list[dict[str, Any]]) -> SGD:
        import torch

        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, fused=True)


@register
class AdamWConfig(OptimizerSection):
    """AdamW (Loshchilov and Hutter 2019) with betas of 0.9 and 0.999."""

    former_keys: ClassVar[tuple[str, ...]] = ("momentum",)
    name: Literal["adamw"] = option("adamw", "Optimizer")

    def build(self, groups: list[dict[str, Any]]) -> AdamW:
        import torch

        return torch.optim.AdamW(groups, lr=self.lr, fused=True)


OPTIMIZERS.load_installed()
