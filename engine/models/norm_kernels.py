"""Triton kernels of group norm followed by GELU; `norm_gelu` calls them.

The rows of a group are taken in parts. The first pass, forward and backward, writes sums of each part; the
second one adds those up and does the rest, from the last row to the first, as what was read last is still in
the cache. Backward, a third one adds up what concerns the parameters. So bits repeat.
`# fmt: skip` keeps the many arguments of a kernel in rows: places in memory, sizes, constants.
"""

from __future__ import annotations

import triton
import triton.language as tl

from engine.models.cooperative import wait_for_all


@triton.jit  # type: ignore[untyped-decorator]
def forward_kernel(  # type: ignore[no-untyped-def]
    a, b, skip, bias, second_bias, x, weight, offset, moments, y, mean_out, rstd_out,
    rows, per_part, parts, channels, left, groups, width, image_groups, eps, gate,
    JOIN: tl.constexpr, HAS_B: tl.constexpr, HAS_SKIP: tl.constexpr, BIASES: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr, PASS: tl.constexpr,
):  # fmt: skip
    """GELU of the normed map, and the mean and inverse deviation of each group, float32 [B * G].

    The map is x + bias or, with JOIN, what is first written to x: a + b + biases, which has `left` channels,
    and behind these those of skip.
    """
    first, step = tl.program_id(0), tl.num_programs(0)
    if PASS != 2:
        for item in range(first, parts * image_groups, step):
            _moments_of_part(
                item % parts, item // parts, a, b, skip, bias, second_bias, x, moments,
                rows, per_part, parts, channels, left, groups, width,
                JOIN, HAS_B, HAS_SKIP, BIASES, ROWS, WIDTH,
            )  # fmt: skip
    if PASS == 0:
        wait_for_all(gate)
    if PASS != 1:
        for item in range(first, parts * image_groups, step):
            _apply_to_part(
                item % parts, item // parts, bias, x, weight, offset, moments, y, mean_out, rstd_out,
                rows, per_part, parts, channels, groups, width, eps, JOIN, BIASES, ROWS, WIDTH, PARTS,
            )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _moments_of_part(  # type: ignore[no-untyped-def]
    part, image_group, a, b, skip, bias, second_bias, x, moments,
    rows, per_part, parts, channels, left, groups, width,
    JOIN: tl.constexpr, HAS_B: tl.constexpr, HAS_SKIP: tl.constexpr, BIASES: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Mean and sum of squared differences of each part of a group, [B * G, parts, 2], by Welford's method."""
    image, group = (image_group // groups).to(tl.int64), image_group % groups
    column = tl.arange(0, WIDTH)
    inside = column < width
    channel = group * width + column
    is_left = inside & (channel < left)
    shift = tl.zeros([WIDTH], tl.float32)
    if BIASES > 0:
        shift += tl.load(bias + channel, mask=is_left, other=0.0).to(tl.float32)
    if BIASES > 1:
        shift += tl.load(second_bias + channel, mask=is_left, other=0.0).to(tl.float32)
    first, last = part * per_part, tl.minimum((part + 1) * per_part, rows)
    mean = tl.zeros([ROWS, WIDTH], tl.float32)
    squares = tl.zeros([ROWS, WIDTH], tl.float32)
    count = tl.zeros([ROWS], tl.float32)
    for start in range(first, last, ROWS):
        row = start + tl.arange(0, ROWS)
        valid = (row < last)[:, None] & inside[None, :]
        place = (image * rows + row)[:, None] * channels + channel[None, :]
        if JOIN:
            here = valid & is_left[None, :]
            at = (image * rows + row)[:, None] * left + channel[None, :]
            value = tl.load(a + at, mask=here, other=0.0).to(tl.float32) + shift[None, :]
            if HAS_B:
                value += tl.load(b + at, mask=here, other=0.0).to(tl.float32)
            if HAS_SKIP:
                at = (image * rows + row)[:, None] * (channels - left) + (channel - left)[None, :]
                there = valid & (channel >= left)[None, :]
                value += tl.load(skip + at, mask=there, other=0.0).to(tl.float32)
            rounded = value.to(x.dtype.element_ty)
            tl.store(x + place, rounded, mask=valid)
            value = rounded.to(tl.float32)
        else:
            value = tl.load(x + place, mask=valid, other=0.0).to(tl.float32) + shift[None, :]
        count += (row < last).to(tl.float32)
        away = tl.where(valid, value - mean, 0.0)
        mean += away / tl.maximum(count, 1.0)[:, None]
        squares += away * tl.where(valid, value - mean, 0.0)
    total = (last - first).to(tl.float32) * width
    weight = tl.where(inside[None, :], count[:, None], 0.0)
    whole = tl.sum(tl.sum(mean * weight, 1), 0) / total
    spread = tl.sum(tl.sum(squares + weight * (mean - whole) * (mean - whole), 1), 0)
    place = (image_group * parts + part) * 2
    tl.store(moments + place, whole)
    tl.store(moments + place + 1, spread)


@triton.jit  # type: ignore[untyped-decorator]
def _apply_to_part(  # type: ignore[no-untyped-def]
    part, image_group, bias, x, weight, offset, moments, y, mean_out, rstd_out,
    rows, per_part, parts, channels, groups, width, eps,
    JOIN: tl.constexpr, BIASES: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    image, group = (image_group // groups).to(tl.int64), image_group % groups
    each = tl.arange(0, PARTS)
    of_part = (image_group * parts + each) * 2
    means = tl.load(moments + of_part, mask=each < parts, other=0.0)
    squares = tl.load(moments + of_part + 1, mask=each < parts, other=0.0)
    counts = tl.maximum(tl.minimum((each + 1) * per_part, rows) - each * per_part, 0).to(tl.float32) * width
    counts = tl.where(each < parts, counts, 0.0)
    total = rows * 1.0 * width
    mean = tl.sum(means * counts, 0) / total
    variance = tl.sum(squares + counts * (means - mean) * (means - mean), 0) / total
    rstd = 1 / tl.sqrt(variance + eps)
    if part == 0:
        tl.store(mean_out + image_group, mean)
        tl.store(rstd_out + image_group, rstd)

    column = tl.arange(0, WIDTH)
    inside = column < width
    channel = group * width + column
    shift = tl.zeros([WIDTH], tl.float32)
    if BIASES > 0 and not JOIN:
        shift += tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    scale = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    move = tl.load(offset + channel, mask=inside, other=0.0).to(tl.float32)
    first, last = part * per_part, tl.minimum((part + 1) * per_part, rows)
    tiles = (last - first + ROWS - 1) // ROWS
    for tile in range(tiles):
        row = first + (tiles - 1 - tile) * ROWS + tl.arange(0, ROWS)
        valid = (row < last)[:, None] & inside[None, :]
        place = (image * rows + row)[:, None] * channels + channel[None, :]
        value = tl.load(x + place, mask=valid, other=0.0).to(tl.float32) + shift[None, :]
        normed = (value - mean) * rstd * scale[None, :] + move[None, :]
        out = 0.5 * normed * (1 + tl.erf(normed * 0.7071067811865476))
        tl.store(y + place, out.to(y.dtype.element_ty), mask=valid)


@triton.jit
def _gradient_of_normed(grad, value, scale, move):  # type: ignore[no-untyped-def]
    """The gradient before GELU, of that after it; `value` is normed, not yet scaled and moved."""
    z = value * scale + move
    density = 0.3989422804014327 * tl.exp(-0.5 * z * z)
    return grad * (0.5 * (1 + tl.erf(z * 0.7071067811865476)) + z * density)


@triton.jit  # type: ignore[untyped-decorator]
def backward_kernel(  # type: ignore[no-untyped-def]
    dy, plain_grad, second_grad, x, bias, weight, offset, mean, rstd, by_channel, by_group,
    d_left, d_skip, d_weight, d_offset, d_bias,
    images, rows, per_part, parts, channels, left, groups, width, strips, row, second_row, gate,
    HAS_DY: tl.constexpr, GRADS: tl.constexpr, HAS_BIAS: tl.constexpr, WANTS_BIAS: tl.constexpr,
    HAS_SKIP: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr,
    STRIP: tl.constexpr, PASS: tl.constexpr,
):  # fmt: skip
    """The gradients of the map and of the parameters. `row` is how far apart the rows are of `plain_grad`, a
    gradient of the map itself, `second_row` that of another one."""
    first, step = tl.program_id(0), tl.num_programs(0)
    for now in tl.static_range(1, 3):
        if PASS == 0 and now == 2:
            wait_for_all(gate)
        if PASS == 0 or now == PASS:
            for item in range(first, parts * images * groups, step):
                _backward_of_part(
                    item % parts, item // parts, dy, plain_grad, second_grad, x, bias, weight, offset,
                    mean, rstd, by_channel, by_group, d_left, d_skip,
                    rows, per_part, parts, channels, left, groups, width, row, second_row,
                    HAS_DY, GRADS, HAS_BIAS, WANTS_BIAS, HAS_SKIP, ROWS, WIDTH, PARTS, now,
                )  # fmt: skip
    if PASS == 0:
        wait_for_all(gate)
    if PASS == 0 or PASS == 3:
        for strip in range(first, strips, step):
            _gradients_of_strip(
                strip, by_channel, d_weight, d_offset, d_bias, images * parts, channels, left,
                WANTS_BIAS, PARTS, STRIP,
            )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _backward_of_part(  # type: ignore[no-untyped-def]
    part, image_group, dy, plain_grad, second_grad, x, bias, weight, offset,
    mean, rstd, by_channel, by_group, d_left, d_skip,
    rows, per_part, parts, channels, left, groups, width, row_apart, second_row_apart,
    HAS_DY: tl.constexpr, GRADS: tl.constexpr, HAS_BIAS: tl.constexpr, WANTS_BIAS: tl.constexpr,
    HAS_SKIP: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr,
    NOW: tl.constexpr,
):  # fmt: skip
    """First the sums of a part: of the gradient before GELU and of it times the normed value, by channel,
    [B * parts, 3, C], and both times the weight by group, [B * G, parts, 2]. Then the gradient of the map,
    and its sum by channel, the third of those."""
    image, group = (image_group // groups).to(tl.int64), image_group % groups
    column = tl.arange(0, WIDTH)
    inside = column < width
    channel = group * width + column
    shift = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32) if HAS_BIAS else 0.0
    scale = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)[None, :]
    move = tl.load(offset + channel, mask=inside, other=0.0).to(tl.float32)[None, :]
    middle, inverse = tl.load(mean + image_group) - shift, tl.load(rstd + image_group)
    mean_plain, mean_product = 0.0, 0.0
    if NOW == 2:
        each = tl.arange(0, PARTS)
        of_group = (image_group * parts + each) * 2
        count = rows * 1.0 * width
        mean_plain = tl.sum(tl.load(by_group + of_group, mask=each < parts, other=0.0), 0) / count
        mean_product = tl.sum(tl.load(by_group + of_group + 1, mask=each < parts, other=0.0), 0) / count
    first, last = part * per_part, tl.minimum((part + 1) * per_part, rows)
    tiles = (last - first + ROWS - 1) // ROWS
    plain = tl.zeros([ROWS, WIDTH], tl.float32)
    product = tl.zeros([ROWS, WIDTH], tl.float32)
    for tile in range(tiles):
        row = first + (tile if NOW == 1 else tiles - 1 - tile) * ROWS + tl.arange(0, ROWS)
        valid = (row < last)[:, None] & inside[None, :]
        line = (image * rows + row)[:, None]
        place = line * channels + channel[None, :]
        value = tl.load(x + place, mask=valid, other=0.0).to(tl.float32)
        value = tl.where(valid, (value - middle) * inverse, 0.0)
        grad = tl.zeros([ROWS, WIDTH], tl.float32)
        if HAS_DY:
            grad = tl.load(dy + place, mask=valid, other=0.0).to(tl.float32)
            grad = _gradient_of_normed(grad, value, scale, move)
        if NOW == 1:
            plain += grad
            product += grad * value
        else:
            out = inverse * (grad * scale - mean_plain - value * mean_product)
            if GRADS > 0:
                at = line * row_apart + channel[None, :]
                out += tl.load(plain_grad + at, mask=valid, other=0.0).to(tl.float32)
            if GRADS > 1:
                at = line * second_row_apart + channel[None, :]
                out += tl.load(second_grad + at, mask=valid, other=0.0).to(tl.float32)
            rounded = out.to(d_left.dtype.element_ty)
            tl.store(d_left + line * left + channel[None, :], rounded, mask=valid & (channel < left)[None, :])
            if HAS_SKIP:
                at = line * (channels - left) + (channel - left)[None, :]
                tl.store(d_skip + at, rounded, mask=valid & (channel >= left)[None, :])
            if WANTS_BIAS:
                plain += tl.where(valid, out, 0.0)
    of_channel = by_channel + (image * parts + part) * 3 * channels + channel
    if NOW == 1:
        tl.store(of_channel, tl.sum(plain, 0), mask=inside)
        tl.store(of_channel + channels, tl.sum(product, 0), mask=inside)
        both = by_group + (image_group * parts + part) * 2
        tl.store(both, tl.sum(tl.sum(plain * scale, 1), 0))
        tl.store(both + 1, tl.sum(tl.sum(product * scale, 1), 0))
    elif WANTS_BIAS:
        tl.store(of_channel + 2 * channels, tl.sum(plain, 0), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _gradients_of_strip(  # type: ignore[no-untyped-def]
    strip, by_channel, d_weight, d_offset, d_bias, parts, channels, left,
    WANTS_BIAS: tl.constexpr, PARTS: tl.constexpr, STRIP: tl.constexpr,
):  # fmt: skip
    channel = strip * STRIP + tl.arange(0, STRIP)
    inside = channel < channels
    of_weight = tl.zeros([STRIP], tl.float32)
    of_offset = tl.zeros([STRIP], tl.float32)
    of_bias = tl.zeros([STRIP], tl.float32)
    for start in range(0, parts, PARTS):
        part = start + tl.arange(0, PARTS)
        valid = (part < parts)[:, None] & inside[None, :]
        place = (part * 3 * channels)[:, None] + channel[None, :]
        of_offset += tl.sum(tl.load(by_channel + place, mask=valid, other=0.0), 0)
        of_weight += tl.sum(tl.load(by_channel + place + channels, mask=valid, other=0.0), 0)
        if WANTS_BIAS:
            of_bias += tl.sum(tl.load(by_channel + place + 2 * channels, mask=valid, other=0.0), 0)
    tl.store(d_weight + channel, of_weight, mask=inside)
    tl.store(d_offset + channel, of_offset, mask=inside)
    if WANTS_BIAS:
        tl.store(d_bias + channel, of_bias.to(d_bias.dtype.element_ty), mask=inside & (channel < left))
