"""The one-launch step of optimizers against torch's own in float64, on the CPU: see `kernel_cases.py`."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import nn, optim
from torch.nn.utils import clip_grad_norm_

from engine.optimizers import one_launch

SHAPES = [(5, 3, 3, 3), (7,), (1,), (2, 6, 1, 1), (70,)]
CASES = [
    # kind, its keys, what clips
    ("SGD", {"weight_decay": 0.1}, None),
    ("SGD", {"momentum": 0.9}, (0.5, 2.0)),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, (0.5, 1.0)),
    ("Adam", {"weight_decay": 0.1, "eps": 1e-3}, (0.3, math.inf)),
    ("AdamW", {"weight_decay": 0.2, "betas": (0.8, 0.99)}, (1e3, 2.0)),
    ("AdamW", {"weight_decay": 0.2, "betas": (0.0, 0.9)}, (0.7, 2.0)),
]
STEPS = 3


def check(kind: str, keys: dict[str, Any], clip: tuple[float, float] | None) -> None:
    ours = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    ours[0].data = ours[0].data.contiguous(memory_format=torch.channels_last)
    right = [nn.Parameter(each.detach().double()) for each in ours]
    made: Any = getattr(one_launch, f"OneLaunch{kind}")(groups(ours), lr=0.1, **keys)
    torchs = getattr(optim, kind)(groups(right), lr=0.1, **keys)
    seen = count_launches(made)
    for step in range(STEPS):
        rate = 0.1 / (step + 1)
        for mine, other, factor in zip(made.param_groups, torchs.param_groups, (1, 0.5), strict=True):
            mine["lr"] = other["lr"] = rate * factor
            if step == 2:
                mine["lr"] = torch.tensor(rate * factor)  # as a graph of the step has it
        for parameter, other in zip(ours, right, strict=True):
            parameter.grad = torch.randn_like(parameter)
            other.grad = parameter.grad.double()
        if clip is not None:
            made.clip_next(*clip)
            clip_grad_norm_(right, *clip)
        made.step()
        torchs.step()
    needs_state = kind != "SGD" or "momentum" in keys
    assert seen == [len(SHAPES)] * (STEPS - needs_state), "the first step is torch's"
    for parameter, other in zip(ours, right, strict=True):
        torch.testing.assert_close(parameter.double(), other, rtol=1e-5, atol=1e-5)
        for name, value in torchs.state[other].items():
            torch.testing.assert_close(
                made.state[parameter][name].double(), value.double(), rtol=1e-5, atol=1e-5
            )


def groups(parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
    return [{"params": parameters[:2]}, {"params": parameters[2:], "weight_decay": 0.0}]


def count_launches(optimizer: Any) -> list[int]:
    """Gets an entry with every step that the kernel takes."""
    seen: list[int] = []
    launch = optimizer._launch

    def counted(rows: list[Any], *rest: Any) -> None:
        seen.append(len(rows))
        launch(rows, *rest)

    optimizer._launch = counted
    return seen


def check_what_is_no_number(order: float) -> None:
    """A gradient that is no number makes all weights that, as torch does."""
    parameters = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(4))]
    made = one_launch.OneLaunchSGD(parameters, lr=0.1)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    assert parameters[0].grad is not None
    parameters[0].grad[1] = math.nan
    made.clip_next(1.0, order)
    made.step()
    assert all(each.isnan().all() for each in parameters)


def check_other_orders() -> None:
    """Of a gradient in another order of memory torch takes the step, clipped all the same."""
    parameter = nn.Parameter(torch.zeros(2, 3, 4, 5))
    made = one_launch.OneLaunchSGD([parameter], lr=1.0)
    parameter.grad = torch.ones(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    made.clip_next(1.0, 2.0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made.step()
        made.clip_next(1.0, 2.0)
        made.step()
    assert len(said) == 1
    torch.testing.assert_close(parameter.norm(), torch.tensor(2.0), rtol=1e-4, atol=0)


def check_all() -> None:
    torch.manual_seed(0)
    one_launch.has_kernels = lambda device: True
    one_launch.TILE, one_launch.TILES, one_launch.PARTS = 32, 2, 4
    for case in CASES:
        check(*case)
    for order in (1.0, 2.0, math.inf):
        check_what_is_no_number(order)
    check_other_orders()
