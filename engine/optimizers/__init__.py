"""Optimizers: the base of their config sections and the registry of them. Torch-free: front ends read it.

An optimizer is a section with its keys, whose `build` makes it of groups of parameters.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ConfigDict

from engine.components.origin import ComponentError
from engine.components.sections import Registry
from engine.config.fields import Section, option

if TYPE_CHECKING:
    from torch.optim import Optimizer


class OptimizerSection(Section):
    """The keys that every optimizer has, and how it is built.

    A subclass has a field `name: Literal["mine"] = option("mine", "Optimizer")`, further fields for its own
    keys, and `build`; `@optimizers.register` makes it known. Its module must not import torch; `build` does.
    """

    asks_host_in_fp16: ClassVar[bool] = False
    """Whether a step with `precision=fp16` waits for the device, which those of torch do that are not fused;
    such a step is no CUDA graph."""

    name: str
    lr: float = option(0.001, "Peak learning rate", gt=0, le=100)
    weight_decay: float = option(
        0.0,
        "Weight decay of every parameter with two or more dimensions: not of biases and norms",
        ge=0,
        le=10,
    )
    clip_norm: float = option(0.0, "Largest norm of the gradient; 0: no clipping", ge=0, le=1_000_000)
    clip_type: Literal["l2", "l1", "inf"] = option(
        "l2",
        "The norm that optimizer.clip_norm bounds, of all gradients together; inf: their largest value",
        of="clip_norm",
    )
    encoder_lr_factor: float = option(
        1.0, "Learning rate of the network's encoder over optimizer.lr; 0 freezes it", ge=0, le=1000
    )
    freeze_encoder: int = option(
        0,
        "Iterations at the start in which the network's encoder does not learn",
        unit="iterations",
        ge=0,
        le=1_000_000_000,
    )
    head_lr_factor: float = option(
        1.0, "Learning rate of the network's head over optimizer.lr; 0 freezes it", ge=0, le=1000
    )
    bias_lr_factor: float = option(
        1.0,
        "Learning rate of the biases of convolutions and linear layers over that of their weights, as in "
        "Caffe; shifts of norms are not biases",
        ge=0,
        le=1000,
    )
    layer_decay: float = option(
        1.0,
        "Learning rate of each layer of the encoder over that of the next: below 1, early layers change less",
        gt=0,
        le=1,
    )

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        """The optimizer of parameter groups, as torch's own optimizers take them.

        Each group has `params`, their `names`, `weight_decay` and `lr_factor`. The optimizer must keep the
        groups and their order: before each step, the `lr` of a group is set to that of the schedule times its
        `lr_factor`, or to 0 in its first `frozen_iterations`, if it has any. Checkpoints hold its
        `state_dict()`: numbers, text, lists, dicts and tensors only.
        """
        raise NotImplementedError(f"{type(self).__name__} has no build()")


class UnknownOptimizer(OptimizerSection):
    """The keys of an optimizer that is not registered here, as a run has them on its record."""

    model_config = ConfigDict(extra="allow")

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        raise ComponentError(f"optimizer.name={self.name}: no such optimizer here")


OPTIMIZERS: Registry[OptimizerSection] = Registry(
    "optimizer",
    "seg_engine.optimizers",
    OptimizerSection,
    default="sgd",
    unknown=UnknownOptimizer,
    needs=("build",),
)
"""Every optimizer by the value of `optimizer.name`."""

CLIP_TYPES = {"l2": 2.0, "l1": 1.0, "inf": math.inf}
"""The order of each norm of `optimizer.clip_type`."""

register = OPTIMIZERS.register


def refuse_idle_factors(section: OptimizerSection, network: str, has_encoder: bool) -> None:
    """Raise ComponentError for a factor on parts that a network does not name: it would silently do nothing.
    `network` is what the network is called."""
    for key, idle in (("encoder_lr_factor", 1), ("freeze_encoder", 0), ("layer_decay", 1)):
        value = getattr(section, key)
        if value != idle and not has_encoder:
            raise ComponentError(
                f"optimizer.{key}: {value:g} has no effect, as {network} has no encoder_names; "
                f"it must be {idle}"
            )
