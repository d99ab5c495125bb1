"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import Optimizer

from engine.config.run_config import OptimizerConfig, RunConfig


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> Optimizer:
    """The optimizer of a config over all parameters; norms and biases are spared the weight decay."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    # Fused: one kernel walks all tensors, where a loop over tensors would start hundreds.
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def learning_rate(config: RunConfig, step: int, steps_per_epoch: int) -> float:
    """The learning rate of optimizer step `step` (from 0) of the whole run: warm-up, then the schedule.

    A pure function of the step, so that a resumed run needs no schedule state.
    """
    warmup = config.schedule.warmup_epochs * steps_per_epoch
    if step < warmup:
        return config.optimizer.lr * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, config.epochs * steps_per_epoch - warmup)  # [0, 1)
    shapes = {
        "constant": 1.0,
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
        "poly": math.pow(1 - done, 0.9),
    }
    return config.optimizer.lr * shapes[config.schedule.name]
