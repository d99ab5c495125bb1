"""The optimizers that seg-engine has, and what installed packages add."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator

from engine.config.fields import option
from engine.optimizers import OPTIMIZERS, OptimizerSection, register

if TYPE_CHECKING:
    from torch.optim import SGD, Adam, AdamW, RMSprop

__all__ = ["OPTIMIZERS", "AdamConfig", "AdamWConfig", "OptimizerSection", "RMSpropConfig", "SGDConfig"]

# Fused: one kernel walks many tensors, where a loop over tensors would start hundreds. On a GPU our own walks
# all of them.


def _on_gpu(groups: list[dict[str, Any]]) -> bool:
    return all(parameter.is_cuda for group in groups for parameter in group["params"])


@register
class SGDConfig(OptimizerSection):
    """Stochastic gradient descent, with or without momentum."""

    name: Literal["sgd"] = option("sgd", "Optimizer")
    momentum: float = option(0.0, "Momentum", ge=0, lt=1)
    nesterov: bool = option(
        False, "Nesterov's momentum: the gradient counts once more in the step (Sutskever et al. 2013)"
    )

    @model_validator(mode="after")
    def _nesterov_has_a_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError(
                "optimizer.nesterov: true has no effect without optimizer.momentum, which must be above 0, "
                "such as 0.9"
            )
        return self

    def build(self, groups: list[dict[str, Any]]) -> SGD:
        from torch.optim import SGD

        from engine.optimizers.one_launch import OneLaunchSGD

        kind = OneLaunchSGD if _on_gpu(groups) else SGD
        return kind(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=True)


class AdamSection(OptimizerSection):
    """The keys that Adam and its relatives share."""

    beta1: float = option(0.9, "Share of the old mean of the gradients in the new one", ge=0, lt=1)
    beta2: float = option(0.999, "Share of the old mean of their squares in the new one", ge=0, lt=1)
    eps: float = option(1e-8, "Added to the root of the mean of the squares", gt=0, le=1)


@register
class AdamWConfig(AdamSection):
    """AdamW (Loshchilov and Hutter 2019): Adam, with weights that decay apart from the gradient."""

    former_keys: ClassVar[tuple[str, ...]] = ("momentum",)
    name: Literal["adamw"] = option("adamw", "Optimizer")

    def build(self, groups: list[dict[str, Any]]) -> AdamW:
        from torch.optim import AdamW

        from engine.optimizers.one_launch import OneLaunchAdamW

        kind = OneLaunchAdamW if _on_gpu(groups) else AdamW
        return kind(groups, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps, fused=True)


@register
class AdamConfig(AdamSection):
    """Adam (Kingma and Ba 2015); its weight decay is part of the gradient."""

    name: Literal["adam"] = option("adam", "Optimizer")

    def build(self, groups: list[dict[str, Any]]) -> Adam:
        from torch.optim import Adam

        from engine.optimizers.one_launch import OneLaunchAdam

        kind = OneLaunchAdam if _on_gpu(groups) else Adam
        return kind(groups, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps, fused=True)


@register
class RMSpropConfig(OptimizerSection):
    """RMSprop (Tieleman and Hinton 2012); its weight decay is part of the gradient."""

    asks_host_in_fp16: ClassVar[bool] = True
    name: Literal["rmsprop"] = option("rmsprop", "Optimizer")
    momentum: float = option(0.0, "Momentum", ge=0, lt=1)
    alpha: float = option(0.99, "Share of the old mean of squared gradients in the new one", ge=0, lt=1)
    eps: float = option(1e-8, "Added to the root of the mean of the squares", gt=0, le=1)

    def build(self, groups: list[dict[str, Any]]) -> RMSprop:
        import torch

        # Torch has no fused one; on a GPU, all tensors at once, and the learning rate stays there.
        made = partial(torch.optim.RMSprop, capturable=_on_gpu(groups))
        return made(groups, lr=self.lr, momentum=self.momentum, alpha=self.alpha, eps=self.eps)


OPTIMIZERS.load_installed()
