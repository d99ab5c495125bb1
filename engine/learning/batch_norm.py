"""Where batch norm takes its statistics from in training: `batch_norm` of a run's config, for any network.

Statistics of all ranks are those of Peng et al., "MegDet", CVPR 2018. Torch has a layer for them, on GPUs
alone, which makes the host wait in each pass; here they are a function that replaces that of the layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from engine.components.origin import ComponentError
from engine.config.run_config import FROZEN_NORMS
from engine.learning.distributed import Group
from engine.models.layers import BatchNorm


@dataclass
class SharedStatistics:
    """What the layers of a network share: the ranks, and whether this rank's images count in this step."""

    group: Group
    counts: bool = True


def batch_norms(model: nn.Module) -> Iterator[_BatchNorm]:
    """The batch norms of a network that keep statistics of earlier batches."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            yield module


def settle_batch_norm(model: nn.Module, mode: str, group: Group) -> SharedStatistics:
    """Have the batch norms of a new network as `batch_norm=mode` says. The names of its weights stay.

    Raises ComponentError where the network has none, or has some of a kind that cannot be shared.
    """
    shared = SharedStatistics(group)
    norms = list(batch_norms(model))
    if mode != "local" and not norms:
        raise ComponentError(
            f"batch_norm: {mode} has no effect, as {type(model).__name__} has none; it must be local"
        )
    if mode == "frozen":
        for norm in norms:
            norm.requires_grad_(False)
    if mode == "sync" and group.count > 1:
        for norm in norms:
            _share(norm, shared)
    return shared


def set_training_mode(model: nn.Module, mode: str) -> None:
    """`model.train()`, with frozen batch norms as in evaluation: their statistics are used and stay."""
    model.train()
    if mode in FROZEN_NORMS:
        for norm in batch_norms(model):
            norm.eval()


_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, BatchNorm)


def _share(norm: _BatchNorm, shared: SharedStatistics) -> None:
    """Replace a layer's `forward` by one whose statistics are those of all ranks."""
    kind, act = type(norm), nn.Sequential()
    if hasattr(norm, "drop") and hasattr(norm, "act"):  # timm's, which an activation follows
        act = nn.Sequential(norm.drop, norm.act)  # type: ignore[arg-type]
    elif kind not in _PLAIN:
        raise ComponentError(
            f"batch_norm: sync cannot share the statistics of a {kind.__module__}.{kind.__name__}"
        )
    object.__setattr__(norm, "forward", partial(_forward, norm, type(norm).forward, act, shared))


def _forward(norm: _BatchNorm, plain: Any, act: nn.Module, shared: SharedStatistics, input: Tensor) -> Tensor:
    if not norm.training:
        result: Tensor = plain(norm, input)
        return result
    assert norm.running_mean is not None
    assert norm.running_var is not None
    momentum = norm.momentum
    # The network of a `BatchNorm` counts its batches.
    if norm.num_batches_tracked is not None and not isinstance(norm, BatchNorm):
        norm.num_batches_tracked.add_(1)
        momentum = 1 / float(norm.num_batches_tracked) if momentum is None else momentum
    normed, mean, var, count = _Shared.apply(input, norm.weight, norm.bias, norm.eps, shared)
    with torch.no_grad():
        unbiased = var * (count / (count - 1).clamp(min=1))
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum or 0.0)
        norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), momentum or 0.0)
    done: Tensor = act(normed)
    return done


class _Shared(torch.autograd.Function):
    """Batch norm by the statistics of all ranks' images [b, C, ...], and these: mean and variance float32 [C]
    and the number of values of a channel, float32 []."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        shared: SharedStatistics,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        group, channels = shared.group, input.shape[1]
        dense = input if input.is_contiguous(memory_format=torch.channels_last) else input.contiguous()
        wide = torch.promote_types(input.dtype, torch.float32)
        mean, var = _moments(dense, eps, wide)
        values = float(shared.counts) * input.numel() / channels
        # Each rank fills a row of its own, so that a sum gathers them.
        rows = torch.zeros(group.count, 2 * channels + 1, dtype=mean.dtype, device=input.device)
        rows[group.rank] = torch.cat([mean, var, mean.new_full((1,), values)])
        group.total(rows)
        means, variances, counts = rows[:, :channels], rows[:, channels:-1], rows[:, -1:]
        count = counts.sum()
        mean = (means * counts).sum(0) / count
        var = ((variances + (means - mean).square()) * counts).sum(0) / count
        invstd = torch.rsqrt(var + eps)
        ctx.save_for_backward(dense, weight, mean, invstd, count)
        ctx.shared, ctx.counted = shared, shared.counts
        ctx.mark_non_differentiable(mean, var, count)
        return _normed(dense, weight, bias, mean, invstd, eps), mean, var, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *of_statistics: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, mean, invstd, count = ctx.saved_tensors
        if input.is_contiguous(memory_format=torch.channels_last):
            gradient = gradient.contiguous(memory_format=torch.channels_last)
        else:
            gradient = gradient.contiguous()
        of_sum, of_product, of_weight, of_bias = _reduced(gradient, input, mean, invstd, weight)
        if not ctx.counted:
            of_sum, of_product = torch.zeros_like(of_sum), torch.zeros_like(of_product)
        both = ctx.shared.group.total(torch.stack([of_sum, of_product]))
        if not ctx.counted:
            both = torch.zeros_like(both)
        of_input = _input_gradient(gradient, input, mean, invstd, weight, both[0], both[1], count)
        return (
            of_input,
            None if weight is None else of_weight,
            None if weight is None else of_bias,
            None,
            None,
        )


def _axes(map: Tensor) -> list[int]:
    return [axis for axis in range(map.ndim) if axis != 1]


def _rows(of_channels: Tensor, like: Tensor) -> Tensor:
    return of_channels.view(1, -1, *[1] * (like.ndim - 2))


def _moments(input: Tensor, eps: float, wide: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel, at least float32 [C]."""
    if input.is_cuda:
        mean, invstd = torch.batch_norm_stats(input, eps)
        return mean, invstd.pow(-2) - eps
    var, mean = torch.var_mean(input.to(wide), dim=_axes(input), correction=0)
    return mean, var


def _normed(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, invstd: Tensor, eps: float
) -> Tensor:
    if input.is_cuda:
        return torch.batch_norm_elemt(input, weight, bias, mean, invstd, eps)
    scale = invstd if weight is None else invstd * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return (input.to(mean.dtype) * _rows(scale, input) + _rows(shift, input)).to(input.dtype)


def _reduced(
    gradient: Tensor, input: Tensor, mean: Tensor, invstd: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums over this rank: of the gradient, of its product with the deviation from the mean, and the
    gradients of weight and bias; each [C]."""
    if input.is_cuda:
        sums: tuple[Tensor, Tensor, Tensor, Tensor] = torch.batch_norm_backward_reduce(
            gradient, input, mean, invstd, weight, True, weight is not None, weight is not None
        )
        return sums
    wide = gradient.to(mean.dtype)
    of_sum = wide.sum(_axes(input))
    of_product = (wide * (input.to(mean.dtype) - _rows(mean, input))).sum(_axes(input))
    return of_sum, of_product, of_product * invstd, of_sum


def _input_gradient(
    gradient: Tensor,
    input: Tensor,
    mean: Tensor,
    invstd: Tensor,
    weight: Tensor | None,
    of_sum: Tensor,
    of_product: Tensor,
    count: Tensor,
) -> Tensor:
    if input.is_cuda:
        counts = count.to(torch.int32).view(1)
        result: Tensor = torch.batch_norm_backward_elemt(
            gradient, input, mean, invstd, weight, of_sum, of_product, counts
        )
        return result
    scale = invstd if weight is None else invstd * weight
    deviation = (input.to(mean.dtype) - _rows(mean, input)) * _rows(
        invstd.square() * of_product / count, input
    )
    return ((gradient - _rows(of_sum / count, input) - deviation) * _rows(scale, input)).to(gradient.dtype)
