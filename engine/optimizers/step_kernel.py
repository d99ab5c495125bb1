"""The step of SGD, Adam and AdamW over all parameters, clipping included, as one Triton kernel; `one_launch`
calls it.

Torch launches one kernel, of Adam two, for every 36 tensors or so of each group, more where they are large,
and clips by a dozen others. Here a table in the device's memory says where all tensors are. An item of work
is a part of a tensor. Sums are added up in the order of the items, so bits repeat.
`# fmt: skip` keeps the many arguments of a kernel in rows: places in memory, sizes, constants.
"""

from __future__ import annotations

import triton
import triton.language as tl

from engine.models.cooperative import wait_for_all

COLUMNS = tl.constexpr(8)
"""Of the table of tensors, int64: the addresses of parameter, gradient, up to two states and the number of
steps, float32 each, that of the learning rate, the number of values, and the group."""
CONSTANTS = tl.constexpr(4)
"""Of a group, float64: weight decay, beta1 or momentum, beta2, eps."""


@triton.jit  # type: ignore[untyped-decorator]
def step_kernel(  # type: ignore[no-untyped-def]
    table, groups, items, sums, tensors, count, limit, gate,
    KIND: tl.constexpr, MOMENTUM: tl.constexpr, NESTEROV: tl.constexpr, CLIP: tl.constexpr,
    SIZE: tl.constexpr, TILES: tl.constexpr, PARTS: tl.constexpr, PASS: tl.constexpr,
):  # fmt: skip
    """`items` is int32 [count, 2]: a tensor's row in `table`, and which part of it, of SIZE * TILES values.
    CLIP is the norm that `limit` bounds: 0 none, 1 L1, 2 L2, 3 the largest value."""
    first, step = tl.program_id(0), tl.num_programs(0)
    if CLIP > 0:
        if PASS == 0 or PASS == 1:
            for item in range(first, count, step):
                _norm_of_part(item, table, items, sums, CLIP, SIZE, TILES)
        if PASS == 0:
            wait_for_all(gate)
    if PASS == 0 or PASS == 2:
        factor = 1.0
        if CLIP > 0:
            factor = _factor(sums, count, limit, CLIP, PARTS)
        for item in range(first, count, step):
            _update_part(item, table, groups, items, factor, KIND, MOMENTUM, NESTEROV, SIZE, TILES)
    if KIND != "sgd":
        if PASS == 0:
            wait_for_all(gate)  # all have read which step this is
        if PASS == 0 or PASS == 3:
            for tensor in range(first, tensors, step):
                done = _address(table + tensor * COLUMNS + 4)
                tl.store(done, tl.load(done) + 1)


@triton.jit
def _address(place):  # type: ignore[no-untyped-def]
    return tl.load(place).to(tl.pointer_type(tl.float32))


@triton.jit  # type: ignore[untyped-decorator]
def _norm_of_part(  # type: ignore[no-untyped-def]
    item, table, items, sums,
    CLIP: tl.constexpr, SIZE: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """What the norm of a part of the gradient adds up, or its largest value, float64; NaN stays NaN."""
    row = table + tl.load(items + item * 2) * COLUMNS
    gradient, values = _address(row + 1), tl.load(row + 6)
    begin = tl.load(items + item * 2 + 1).to(tl.int64) * (SIZE * TILES)
    total = tl.zeros([SIZE], tl.float32)
    unknown = tl.zeros([SIZE], tl.int32)
    for tile in range(TILES):
        place = begin + tile * SIZE + tl.arange(0, SIZE)
        value = tl.abs(tl.load(gradient + place, mask=place < values, other=0.0))
        if CLIP == 3:
            total = tl.where(value > total, value, total)
            unknown += (value != value).to(tl.int32)
        else:
            total += value * value if CLIP == 2 else value
    if CLIP == 3:
        largest = tl.max(total, 0).to(tl.float64)
        tl.store(sums + item, tl.where(tl.sum(unknown, 0) > 0, float("nan"), largest))
    else:
        tl.store(sums + item, tl.sum(total.to(tl.float64), 0))


@triton.jit  # type: ignore[untyped-decorator]
def _factor(sums, count, limit, CLIP: tl.constexpr, PARTS: tl.constexpr):  # type: ignore[no-untyped-def]
    """What clipping multiplies the gradient by, as `torch.nn.utils.clip_grad_norm_` has it."""
    total = tl.zeros([PARTS], tl.float64)
    unknown = tl.zeros([PARTS], tl.int32)
    for start in range(0, count, PARTS):
        item = start + tl.arange(0, PARTS)
        value = tl.load(sums + item, mask=item < count, other=0.0)
        if CLIP == 3:
            total = tl.where(value > total, value, total)
            unknown += (value != value).to(tl.int32)
        else:
            total += value
    if CLIP == 3:
        norm = tl.where(tl.sum(unknown, 0) > 0, float("nan"), tl.max(total, 0))
    else:
        norm = tl.sqrt(tl.sum(total, 0)) if CLIP == 2 else tl.sum(total, 0)
    factor = limit / (norm + 1e-6)
    return tl.where(factor > 1, 1.0, factor).to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def _update_part(  # type: ignore[no-untyped-def]
    item, table, groups, items, factor,
    KIND: tl.constexpr, MOMENTUM: tl.constexpr, NESTEROV: tl.constexpr,
    SIZE: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    row = table + tl.load(items + item * 2) * COLUMNS
    parameter, gradient = _address(row), _address(row + 1)
    first, second = _address(row + 2), _address(row + 3)
    rate, values = tl.load(_address(row + 5)).to(tl.float64), tl.load(row + 6)
    group = groups + tl.load(row + 7) * CONSTANTS
    decay, beta = tl.load(group), tl.load(group + 1)
    second_beta, eps = tl.load(group + 2), tl.load(group + 3).to(tl.float32)
    shrink, size = (rate * decay).to(tl.float32), rate.to(tl.float32)
    root = 1.0
    if KIND != "sgd":
        number = tl.load(_address(row + 4)).to(tl.float64) + 1
        size = (rate / (1 - tl.exp(number * tl.log(beta)))).to(tl.float32)
        root = tl.sqrt(1 - tl.exp(number * tl.log(second_beta))).to(tl.float32)
    begin = tl.load(items + item * 2 + 1).to(tl.int64) * (SIZE * TILES)
    for tile in range(TILES):
        place = begin + tile * SIZE + tl.arange(0, SIZE)
        inside = place < values
        weight = tl.load(parameter + place, mask=inside, other=0.0)
        grad = tl.load(gradient + place, mask=inside, other=0.0) * factor
        if KIND == "adamw":
            weight -= shrink * weight
        else:
            grad += decay.to(tl.float32) * weight
        if KIND == "sgd":
            move = grad
            if MOMENTUM:
                mean = tl.load(first + place, mask=inside, other=0.0) * beta.to(tl.float32) + grad
                tl.store(first + place, mean, mask=inside)
                move = grad + beta.to(tl.float32) * mean if NESTEROV else mean
        else:
            mean = tl.load(first + place, mask=inside, other=0.0)
            mean += (grad - mean) * (1 - beta).to(tl.float32)
            square = tl.load(second + place, mask=inside, other=0.0)
            square += (grad * grad - square) * (1 - second_beta).to(tl.float32)
            tl.store(first + place, mean, mask=inside)
            tl.store(second + place, square, mask=inside)
            move = mean / (tl.sqrt(square) / root + eps)
        tl.store(parameter + place, weight - size * move, mask=inside)
