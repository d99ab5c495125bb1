"""Layers that torch has, in a form that is faster."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.models.compiling import constant_result

LEAST_CAPABILITY = 7, 0
"""Of a GPU, for Triton's kernels."""


class TransposedConvolution(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d`, its bias added in a step of its own: the same parameters, rounding apart the same
    result.

    On the CPU torch (seen in 2.14) leaves the gradient of that bias to oneDNN, which for channels_last takes
    340 ms where a sum takes 30 (bf16, [64, 64, 128, 128], two cores), and those of input and weights 45. On
    CUDA torch itself takes the two steps.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None:
            raise ValueError("output_size: give the layer an output_padding instead")
        raised = self.plain(input)
        return raised if self.bias is None else with_bias(raised, self.bias, has_gaps=True)

    def plain(self, input: Tensor) -> Tensor:
        """Without its bias."""
        raised: Tensor = functional.conv_transpose2d(
            input,
            self.weight,
            None,
            self.stride,
            self.padding,  # type: ignore[arg-type]
            self.output_padding,
            self.groups,
            self.dilation,
        )
        return raised


def with_bias(map: Tensor, bias: Tensor, has_gaps: bool = False) -> Tensor:
    """A map [B, C, H, W] and a bias [C]; on a GPU one kernel makes the gradient of both. `has_gaps` says that
    the result becomes a part of a concatenation."""
    if not kernels_serve(map):
        return map + bias.to(map.dtype)[:, None, None]
    added: Tensor = _added()(map, None, bias, None, 1, has_gaps)[0]
    return added


def convolve(layer: nn.Module, input: Tensor) -> Tensor:
    """What a layer makes of its input; of a plain convolution the bias is added by `with_bias`."""
    if type(layer) is not nn.Conv2d or layer.bias is None or layer._forward_hooks or not kernels_serve(input):
        result: Tensor = layer(input)
        return result
    return with_bias(without_bias(layer, input), layer.bias)


def without_bias(layer: nn.Conv2d, input: Tensor) -> Tensor:
    """What a convolution makes of its input before it adds its bias."""
    plain: Tensor = layer._conv_forward(input, layer.weight, None)
    return plain


class Sum(NamedTuple):
    """A map that is still to be added up, a + b + bias + second_bias, by whoever reads it first."""

    a: Tensor
    b: Tensor | None
    bias: Tensor
    second_bias: Tensor | None = None

    def added(self, readers: int) -> tuple[Tensor, ...]:
        """The map, for each of one or two that read it."""
        maps: tuple[Tensor, ...] = _added()(*self, readers, False)
        return maps


def _added() -> Any:
    from engine.models.added import Added

    return Added.apply


class BatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d`, the same to the last bit, whose network counts its batches: see `count_batch`."""

    momentum: float
    num_batches_tracked: Tensor

    def forward(self, input: Tensor) -> Tensor:
        statistics, scale = (self.running_mean, self.running_var), (self.weight, self.bias)
        return functional.batch_norm(input, *statistics, *scale, self.training, self.momentum, self.eps)


def count_batch(norms: Iterable[BatchNorm]) -> None:
    """Count a batch in those that are training: on a GPU one launch, where each would need one."""
    counters = [norm.num_batches_tracked for norm in norms if norm.training]
    if counters:
        torch._foreach_add_(counters, 1)


class MaxPool(nn.MaxPool2d):
    """`nn.MaxPool2d` with square windows, the same to the last bit. On a GPU, for channels_last maps, it
    keeps a byte for each maximum where torch keeps eight."""

    kernel_size: int
    stride: int
    padding: int

    def forward(self, input: Tensor) -> Tensor:
        pooled: Tensor
        if input.is_cuda and input.stride(1) == 1:  # with gaps, as of a transformer without its class token
            input = input.contiguous(memory_format=torch.channels_last)
        if kernels_serve(input):
            window = [self.kernel_size, self.stride, self.padding]
            pooled = torch.ops.seg_engine.max_pool(input, window, self.ceil_mode)[0]
        else:
            pooled = super().forward(input)
        return pooled


Batches = list[tuple[BatchNorm, Tensor]]
"""Norms with the mean and unbiased variance of the batch that each has seen, float32 [2, C]."""


def norm_relu(norm: nn.Module, input: Tensor, batches: Batches) -> Tensor:
    """ReLU of a norm of [B, C, H, W]. On a GPU, for channels_last maps, it is one kernel; what it leaves to
    do for the running statistics is added to `batches`: see `take_statistics`."""
    if not batch_kernels_serve(norm, input):
        return functional.relu(norm(input))
    return _batch_norm_relu(norm, input, batches, pool=False)[0]


def norm_relu_pool(
    norm: nn.Module, input: Tensor, pool: nn.Module, batches: Batches
) -> tuple[Tensor, Tensor]:
    """`norm_relu` and its 2x2 max-pooling, [B, C, H, W] and [B, C, H/2, W/2], by the same kernel."""
    if not batch_kernels_serve(norm, input) or any(side % 2 for side in input.shape[2:]):
        normed = norm_relu(norm, input, batches)
        return normed, pool(normed)
    return _batch_norm_relu(norm, input, batches, pool=True)


def take_statistics(norms: Iterable[BatchNorm], batches: Batches) -> None:
    """Count a batch in those norms that are training, and take its statistics into the running ones, all at
    once."""
    if not batches or not torch.compiler.is_compiling():
        count_batch(norms)
        _lerp_statistics(batches)
        return
    # Compiled, one kernel does both, as copies may be of several types.
    counters = [norm.num_batches_tracked for norm in norms if norm.training]
    running = [each for norm, _ in batches for each in (norm.running_mean, norm.running_var)]
    known = [each for each in running if each is not None]
    seen = [(each, norm.momentum) for norm, batch in batches for each in batch.unbind()]
    moved = [torch.lerp(each, new, momentum) for each, (new, momentum) in zip(known, seen, strict=True)]
    torch._foreach_copy_([*counters, *known], [*(counter + 1 for counter in counters), *moved])


def _lerp_statistics(batches: Batches) -> None:
    for momentum in {norm.momentum for norm, _ in batches}:
        those = [(norm, batch) for norm, batch in batches if norm.momentum == momentum]
        running = [each for norm, _ in those for each in (norm.running_mean, norm.running_var)]
        known = [each for each in running if each is not None]
        torch._foreach_lerp_(known, [each for _, batch in those for each in batch.unbind()], momentum)


def batch_kernels_serve(norm: nn.Module, map: Tensor) -> bool:
    """Whether the kernels of `batch_norm_relu` can take a map: that of a plain norm in training, not of one
    that shares its statistics with other ranks or counts those of earlier batches."""
    return (
        type(norm) is BatchNorm
        and norm.training
        and norm.affine
        and norm.running_mean is not None
        and norm.running_mean.dtype == norm.weight.dtype == torch.float32
        and "forward" not in vars(norm)
        and not norm._forward_hooks
        and kernels_serve(map)
    )


def _batch_norm_relu(norm: nn.Module, input: Tensor, batches: Batches, pool: bool) -> tuple[Tensor, Tensor]:
    assert isinstance(norm, BatchNorm)
    normed, pooled, _, batch = torch.ops.seg_engine.batch_norm_relu(
        input, norm.weight, norm.bias, norm.eps, pool
    )
    batches.append((norm, batch))
    return normed, pooled


def with_dense_gradient(map: Tensor) -> Tensor:
    """A map to be concatenated with others, by `DenseGradient` where it has a gradient: TorchScript, for one,
    cannot hold a function of our own."""
    result: Tensor = DenseGradient.apply(map) if map.requires_grad else map
    return result


class DenseGradient(torch.autograd.Function):
    """Its input, whose gradient comes without gaps in memory, as that of one part of `torch.cat` does not.

    The two layers that a map has come from, a convolution and that of its shortcut, would each copy it.
    """

    @staticmethod
    def forward(ctx: Any, map: Tensor) -> Tensor:
        return map.view_as(map)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clone()  # dense, in the order of memory that the gradient has


def bilinear(map: Tensor, size: Sequence[int]) -> Tensor:
    """A map [B, C, h, w] at `size` (height, width), by bilinear interpolation, corners not aligned.

    On the CPU torch (seen in 2.14) takes two to nine times as long for a gradient in another order of memory
    than channels_last, as that of a part of `torch.cat` or of a loss is.
    """
    resized = functional.interpolate(map, tuple(size), mode="bilinear", align_corners=False)
    if map.is_cuda or not resized.requires_grad or not map.is_contiguous(memory_format=torch.channels_last):
        return resized
    laid_out: Tensor = ChannelsLastGradient.apply(resized)
    return laid_out


class ChannelsLastGradient(torch.autograd.Function):
    """Its input, whose gradient comes in channels_last memory."""

    @staticmethod
    def forward(ctx: Any, map: Tensor) -> Tensor:
        return map.view_as(map)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous(memory_format=torch.channels_last)


class GroupNormGelu(nn.GroupNorm):
    """GELU of `nn.GroupNorm`: the same parameters, rounding apart the same result.

    On a GPU, for channels_last maps, it takes the kernels of `norm_gelu`, in the type of the map.
    """

    def forward(self, input: Tensor) -> Tensor:
        if kernels_serve(input):
            return self._by_kernels(input, None)
        return functional.gelu(super().forward(input))

    def after(self, convolution: nn.Conv2d, input: Tensor) -> Tensor:
        """That of a convolution's result. The kernels add its bias, which saves two passes over the map."""
        if convolution.bias is None or not kernels_serve(input):
            return self.forward(convolution(input))
        return self._by_kernels(without_bias(convolution, input), convolution.bias)

    def joined(self, map: Sum, skip: Tensor | None, readers: int) -> tuple[Tensor, ...]:
        """That of a map with the channels of `skip` behind its own, and this map for each of up to two that
        read it, all by one kernel: where `kernels_serve`."""
        from engine.models.norm_gelu import Join

        given = map.a, map.b, skip, map.bias, map.second_bias
        own = self.weight, self.bias, self.num_groups, self.eps
        made: tuple[Tensor, ...] = Join.apply(*given, *own, readers)
        return made

    def _by_kernels(self, input: Tensor, bias: Tensor | None) -> Tensor:
        given = input, self.weight, self.bias, bias, self.num_groups, self.eps
        normed: Tensor = torch.ops.seg_engine.norm_gelu(*given)[0]
        return normed


def kernels_serve(map: Tensor) -> bool:
    """Whether kernels of Triton can take a map [B, C, H, W]."""
    return (
        map.is_cuda
        and map.numel() > 0
        and map.is_contiguous(memory_format=torch.channels_last)
        and _has_kernels(map.device.index)
    )


def has_kernels(device: torch.device) -> bool:
    """Whether Triton works on a device, of which a warning says once what is amiss."""
    return device.type == "cuda" and device.index is not None and _has_kernels(device.index)


@constant_result
def _has_kernels(gpu: int) -> bool:
    return _load_kernels(gpu)  # torch.compile would look into a cache, not at its result


@cache
def _load_kernels(gpu: int) -> bool:
    """Make the kernels known as operators of torch, where Triton, which comes with torch for CUDA on Linux,
    works for this GPU; whether it does. A warning says what Triton lacks, such as a C compiler."""
    if torch.cuda.get_device_capability(gpu) < LEAST_CAPABILITY or importlib.util.find_spec("triton") is None:
        return False
    try:
        import triton

        triton.runtime.driver.active.utils  # noqa: B018  # compiled at its first use
        importlib.import_module("engine.models.norm_gelu")
        importlib.import_module("engine.models.batch_norm_relu")
        importlib.import_module("engine.models.max_pool")
        importlib.import_module("engine.models.cooperative").prepare(gpu)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(
            f"norms are slower and take more memory: Triton does not work here: {reason}", stacklevel=2
        )
        return False
    return True
