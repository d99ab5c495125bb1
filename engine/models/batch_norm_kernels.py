"""Triton kernels of batch norm followed by ReLU and, on demand, 2x2 max-pooling; called by `batch_norm_relu`.

A map is rows of C channels in memory. The first pass, forward and backward, takes the rows of a strip of
channels in parts and writes sums of each; the second one adds those up and does the rest. With pooling a unit
is the four rows of a window in the order in which torch compares them, otherwise a row.
`# fmt: skip` keeps the many arguments of a kernel in rows: places in memory, sizes, constants.
"""

from __future__ import annotations

import triton
import triton.language as tl

from engine.models.cooperative import wait_for_all


@triton.jit  # type: ignore[untyped-decorator]
def forward_kernel(  # type: ignore[no-untyped-def]
    x, weight, offset, moments, y, pooled, kept, fresh,
    rows, channels, units, width, per_part, units_per_part, parts, strips, eps, gate,
    CORNERS: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr, STRIP: tl.constexpr, PARTS: tl.constexpr,
    PASS: tl.constexpr,
):  # fmt: skip
    """ReLU of the normed map and the largest of each window; mean and inverse deviation of each channel and,
    for the running statistics, mean and unbiased variance, each float32 [2, C]."""
    first, step = tl.program_id(0), tl.num_programs(0)
    if PASS != 2:
        for item in range(first, strips * parts, step):
            _moments_of_part(item // strips, item % strips, x, moments, rows, channels, per_part, ROWS, STRIP)
    if PASS == 0:
        wait_for_all(gate)
    if PASS != 1:
        for item in range(first, strips * parts, step):
            _apply_to_part(
                item // strips, item % strips, x, weight, offset, moments, y, pooled, kept, fresh,
                rows, channels, units, width, per_part, units_per_part, parts, eps,
                CORNERS, UNITS, STRIP, PARTS,
            )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _moments_of_part(  # type: ignore[no-untyped-def]
    part, strip, x, moments, rows, channels, per_part, ROWS: tl.constexpr, STRIP: tl.constexpr
):
    """Mean and sum of squared differences of each channel of a part, [parts, 2, C], by Welford's method."""
    channel = strip * STRIP + tl.arange(0, STRIP)
    inside = channel < channels
    first, last = part * per_part, tl.minimum((part + 1) * per_part, rows)
    mean = tl.zeros([ROWS, STRIP], tl.float32)
    squares = tl.zeros([ROWS, STRIP], tl.float32)
    count = tl.zeros([ROWS], tl.float32)
    for start in range(first, last, ROWS):
        row = start + tl.arange(0, ROWS)
        valid = (row < last)[:, None] & inside[None, :]
        place = row.to(tl.int64)[:, None] * channels + channel[None, :]
        value = tl.load(x + place, mask=valid, other=0.0).to(tl.float32)
        count += (row < last).to(tl.float32)
        away = tl.where(valid, value - mean, 0.0)
        mean += away * (1 / tl.maximum(count, 1.0))[:, None]
        squares += away * tl.where(valid, value - mean, 0.0)
    total = tl.maximum(last - first, 1).to(tl.float32)
    whole = tl.sum(mean * count[:, None], 0) / total
    apart = mean - whole[None, :]
    spread = tl.sum(squares + count[:, None] * apart * apart, 0)
    place = part * 2 * channels + channel
    tl.store(moments + place, whole, mask=inside)
    tl.store(moments + place + channels, spread, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _moments(  # type: ignore[no-untyped-def]
    moments, channel, inside, rows, channels, per_part, parts, PARTS: tl.constexpr
):
    """Mean and biased variance of a strip of channels, from those of all parts.

    Means are taken relative to that of the first part, which is close to all of them.
    """
    shift = tl.load(moments + channel, mask=inside, other=0.0)
    moved = tl.zeros_like(shift)
    squares = tl.zeros_like(shift)
    for start in range(0, parts, PARTS):
        part = start + tl.arange(0, PARTS)
        valid = (part < parts)[:, None] & inside[None, :]
        place = (part * 2 * channels)[:, None] + channel[None, :]
        count = tl.maximum(tl.minimum((part + 1) * per_part, rows) - part * per_part, 0).to(tl.float32)
        away = tl.load(moments + place, mask=valid, other=0.0) - shift[None, :]
        away = tl.where(valid, away, 0.0)
        moved += tl.sum(count[:, None] * away, 0)
        spread = tl.load(moments + place + channels, mask=valid, other=0.0)
        squares += tl.sum(spread + count[:, None] * away * away, 0)
    moved = moved / rows
    return shift + moved, tl.maximum(squares / rows - moved * moved, 0.0)


@triton.jit  # type: ignore[untyped-decorator]
def _row(unit, corner, width, CORNERS: tl.constexpr):  # type: ignore[no-untyped-def]
    """The row of a corner of a unit; `width` is that of the map. Heights and widths are even."""
    if CORNERS == 1:
        return unit.to(tl.int64)
    half = width // 2
    line = (unit // half).to(tl.int64) * 2 + corner // 2
    return line * width + unit % half * 2 + corner % 2


@triton.jit  # type: ignore[untyped-decorator]
def _apply_to_part(  # type: ignore[no-untyped-def]
    part, strip, x, weight, offset, moments, y, pooled, kept, fresh,
    rows, channels, units, width, per_part, units_per_part, parts, eps,
    CORNERS: tl.constexpr, UNITS: tl.constexpr, STRIP: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    channel = strip * STRIP + tl.arange(0, STRIP)
    inside = channel < channels
    mean, variance = _moments(moments, channel, inside, rows, channels, per_part, parts, PARTS)
    inverse = 1 / tl.sqrt(variance + eps)
    if part == 0:
        tl.store(kept + channel, mean, mask=inside)
        tl.store(kept + channels + channel, inverse, mask=inside)
        tl.store(fresh + channel, mean, mask=inside)
        unbiased = variance * (rows / tl.maximum(rows - 1, 1).to(tl.float32))
        tl.store(fresh + channels + channel, unbiased, mask=inside)
    scale = inverse * tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    move = tl.load(offset + channel, mask=inside, other=0.0).to(tl.float32)
    first, last = part * units_per_part, tl.minimum((part + 1) * units_per_part, units)
    # From the last to the first: what the first pass has read last is still in the cache.
    tiles = (last - first + UNITS - 1) // UNITS
    for tile in range(tiles):
        unit = first + (tiles - 1 - tile) * UNITS + tl.arange(0, UNITS)
        valid = (unit < last)[:, None] & inside[None, :]
        largest = tl.full([UNITS, STRIP], -1.0, tl.float32)
        for corner in tl.static_range(CORNERS):
            place = _row(unit, corner, width, CORNERS)[:, None] * channels + channel[None, :]
            value = tl.load(x + place, mask=valid, other=0.0).to(tl.float32)
            out = _relu((value - mean[None, :]) * scale[None, :] + move[None, :]).to(y.dtype.element_ty)
            tl.store(y + place, out, mask=valid)
            out = out.to(tl.float32)
            largest = tl.where((out > largest) | (out != out), out, largest)
        if CORNERS == 4:
            place = unit.to(tl.int64)[:, None] * channels + channel[None, :]
            tl.store(pooled + place, largest.to(y.dtype.element_ty), mask=valid)


@triton.jit
def _relu(value):  # type: ignore[no-untyped-def]
    return tl.where(value <= 0, 0.0, value)  # what is no number stays none


@triton.jit  # type: ignore[untyped-decorator]
def backward_kernel(  # type: ignore[no-untyped-def]
    dy, d_pooled, x, weight, offset, kept, sums, dx, d_weight, d_offset,
    rows, channels, row_of_dy, units, width, units_per_part, parts, strips, gate,
    HAS_DY: tl.constexpr, CORNERS: tl.constexpr, UNITS: tl.constexpr, STRIP: tl.constexpr,
    PARTS: tl.constexpr, PASS: tl.constexpr,
):  # fmt: skip
    """The gradients of the map and of the parameters. `row_of_dy` is how far apart the rows of dy are."""
    first, step = tl.program_id(0), tl.num_programs(0)
    for now in tl.static_range(1, 3):
        if PASS == 0 and now == 2:
            wait_for_all(gate)
        if PASS == 0 or now == PASS:
            for item in range(first, strips * parts, step):
                _backward_of_part(
                    item // strips, item % strips, dy, d_pooled, x, weight, offset, kept, sums, dx,
                    d_weight, d_offset, rows, channels, row_of_dy, units, width, units_per_part, parts,
                    HAS_DY, CORNERS, UNITS, STRIP, PARTS, now,
                )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _backward_of_part(  # type: ignore[no-untyped-def]
    part, strip, dy, d_pooled, x, weight, offset, kept, sums, dx, d_weight, d_offset,
    rows, channels, row_of_dy, units, width, units_per_part, parts,
    HAS_DY: tl.constexpr, CORNERS: tl.constexpr, UNITS: tl.constexpr, STRIP: tl.constexpr,
    PARTS: tl.constexpr, NOW: tl.constexpr,
):  # fmt: skip
    """First the sums of a part, [parts, 2, C], of the gradient and of it times the normed value; then dx."""
    channel = strip * STRIP + tl.arange(0, STRIP)
    inside = channel < channels
    mean = tl.load(kept + channel, mask=inside, other=0.0)
    inverse = tl.load(kept + channels + channel, mask=inside, other=0.0)
    scale = inverse * tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    move = tl.load(offset + channel, mask=inside, other=0.0).to(tl.float32)
    plain = tl.zeros([STRIP], tl.float32)
    product = tl.zeros([STRIP], tl.float32)
    if NOW == 2:
        for start in range(0, parts, PARTS):
            each = start + tl.arange(0, PARTS)
            valid = (each < parts)[:, None] & inside[None, :]
            place = (each * 2 * channels)[:, None] + channel[None, :]
            plain += tl.sum(tl.load(sums + place, mask=valid, other=0.0), 0)
            product += tl.sum(tl.load(sums + place + channels, mask=valid, other=0.0), 0)
        if part == 0:
            tl.store(d_offset + channel, plain, mask=inside)
            tl.store(d_weight + channel, product, mask=inside)
        plain, product = plain / rows, product / rows * inverse
    first, last = part * units_per_part, tl.minimum((part + 1) * units_per_part, units)
    tiles = (last - first + UNITS - 1) // UNITS
    sum_plain = tl.zeros([UNITS, STRIP], tl.float32)
    sum_product = tl.zeros([UNITS, STRIP], tl.float32)
    for tile in range(tiles):
        unit = first + (tile if NOW == 1 else tiles - 1 - tile) * UNITS + tl.arange(0, UNITS)
        valid = (unit < last)[:, None] & inside[None, :]
        winner = tl.zeros([UNITS, STRIP], tl.int8)
        of_window = tl.zeros([UNITS, STRIP], tl.float32)
        if CORNERS == 4:
            # Which corner was the largest, by the values that forward has compared.
            largest = tl.full([UNITS, STRIP], -1.0, tl.float32)
            for corner in tl.static_range(CORNERS):
                place = _row(unit, corner, width, CORNERS)[:, None] * channels + channel[None, :]
                value = tl.load(x + place, mask=valid, other=0.0).to(tl.float32)
                out = _relu((value - mean[None, :]) * scale[None, :] + move[None, :])
                out = out.to(x.dtype.element_ty).to(tl.float32)
                better = (out > largest) | (out != out)
                largest = tl.where(better, out, largest)
                winner = tl.where(better, corner, winner).to(tl.int8)
            place = unit.to(tl.int64)[:, None] * channels + channel[None, :]
            of_window = tl.load(d_pooled + place, mask=valid, other=0.0).to(tl.float32)
        for corner in tl.static_range(CORNERS):
            row = _row(unit, corner, width, CORNERS)
            place = row[:, None] * channels + channel[None, :]
            away = tl.load(x + place, mask=valid, other=0.0).to(tl.float32) - mean[None, :]
            grad = tl.zeros([UNITS, STRIP], tl.float32)
            if HAS_DY:
                at = row[:, None] * row_of_dy + channel[None, :]
                grad = tl.load(dy + at, mask=valid, other=0.0).to(tl.float32)
            if CORNERS == 4:
                grad += tl.where(winner == corner, of_window, 0.0)
            grad = tl.where(away * scale[None, :] + move[None, :] > 0, grad, 0.0)
            if NOW == 1:
                sum_plain += grad
                sum_product += tl.where(valid, grad * away, 0.0)
            else:
                out = scale[None, :] * (grad - plain[None, :] - away * product[None, :])
                tl.store(dx + place, out.to(dx.dtype.element_ty), mask=valid)
    if NOW == 1:
        place = part * 2 * channels + channel
        tl.store(sums + place, tl.sum(sum_plain, 0), mask=inside)
        tl.store(sums + place + channels, tl.sum(sum_product, 0) * inverse, mask=inside)
