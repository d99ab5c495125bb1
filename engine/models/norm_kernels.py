"""Triton kernels of group norm followed by GELU; `norm_gelu` calls them.

The first pass, forward and backward, takes the rows of a group in parts and writes sums of each. The second
one adds those up and does the rest. So bits repeat.
`# fmt: skip` keeps the many arguments of a kernel in rows: places in memory, sizes, constants.
"""

from __future__ import annotations

import triton
import triton.language as tl

from engine.models.cooperative import wait_for_all


@triton.jit  # type: ignore[untyped-decorator]
def forward_kernel(  # type: ignore[no-untyped-def]
    x, bias, weight, offset, moments, y, mean_out, rstd_out,
    rows, per_part, parts, channels, groups, width, blocks, image_groups, eps, gate,
    HAS_BIAS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr, PASS: tl.constexpr,
):  # fmt: skip
    """GELU of the normed map, and the mean and inverse deviation of each group, float32 [B * G]."""
    first, step = tl.program_id(0), tl.num_programs(0)
    if PASS != 2:
        for item in range(first, parts * image_groups, step):
            _moments_of_part(
                item % parts, item // parts, x, bias, moments,
                rows, per_part, parts, channels, groups, width, HAS_BIAS, ROWS, WIDTH,
            )  # fmt: skip
    if PASS == 0:
        wait_for_all(gate)
    if PASS != 1:
        for item in range(first, blocks * image_groups, step):
            _apply_to_block(
                item % blocks, item // blocks, x, bias, weight, offset, moments, y, mean_out, rstd_out,
                rows, per_part, parts, channels, groups, width, eps, HAS_BIAS, ROWS, WIDTH, PARTS,
            )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _moments_of_part(  # type: ignore[no-untyped-def]
    part, image_group, x, bias, moments, rows, per_part, parts, channels, groups, width,
    HAS_BIAS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Mean and sum of squared differences of each part of a group, [B * G, parts, 2], by Welford's method."""
    image, group = (image_group // groups).to(tl.int64), image_group % groups
    column = tl.arange(0, WIDTH)
    inside = column < width
    channel = group * width + column
    shift = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32) if HAS_BIAS else 0.0
    first, last = part * per_part, tl.minimum((part + 1) * per_part, rows)
    mean = tl.zeros([ROWS, WIDTH], tl.float32)
    squares = tl.zeros([ROWS, WIDTH], tl.float32)
    count = tl.zeros([ROWS], tl.float32)
    for start in range(first, last, ROWS):
        row = start + tl.arange(0, ROWS)
        valid = (row < last)[:, None] & inside[None, :]
        place = (image * rows + row)[:, None] * channels + channel[None, :]
        value = tl.load(x + place, mask=valid, other=0.0).to(tl.float32) + shift
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
def _apply_to_block(  # type: ignore[no-untyped-def]
    block, image_group, x, bias, weight, offset, moments, y, mean_out, rstd_out,
    rows, per_part, parts, channels, groups, width, eps,
    HAS_BIAS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    image, group = (image_group // groups).to(tl.int64), image_group % groups
    part = tl.arange(0, PARTS)
    place = (image_group * parts + part) * 2
    means = tl.load(moments + place, mask=part < parts, other=0.0)
    squares = tl.load(moments + place + 1, mask=part < parts, other=0.0)
    counts = tl.maximum(tl.minimum((part + 1) * per_part, rows) - part * per_part, 0).to(tl.float32) * width
    counts = tl.where(part < parts, counts, 0.0)
    total = rows * 1.0 * width
    mean = tl.sum(means * counts, 0) / total
    variance = tl.sum(squares + counts * (means - mean) * (means - mean), 0) / total
    rstd = 1 / tl.sqrt(variance + eps)
    if block == 0:
        tl.store(mean_out + image_group, mean)
        tl.store(rstd_out + image_group, rstd)

    column = tl.arange(0, WIDTH)
    inside = column < width
    channel = group * width + column
    shift = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32) if HAS_BIAS else 0.0
    scale = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    move = tl.load(offset + channel, mask=inside, other=0.0).to(tl.float32)
    row = block * ROWS + tl.arange(0, ROWS)
    valid = (row < rows)[:, None] & inside[None, :]
    place = (image * rows + row)[:, None] * channels + channel[None, :]
    value = tl.load(x + place, mask=valid, other=0.0).to(tl.float32) + shift
    normed = (value - mean) * rstd * scale + move
    out = 0.5 * normed * (1 + tl.erf(normed * 0.7071067811865476))
    tl.store(y + place, out.to(y.dtype.element_ty), mask=valid)


@triton.jit
def _gradient_of_normed(grad, value, scale, move):  # type: ignore[no-untyped-def]
    """The gradient before GELU, of that after it; `value` is normed, not yet scaled and moved."""
    z = value * scale + move
    density = 0.3989422804014327 * tl.exp(-0.5 * z * z)
    return grad * (0.5 * (1 + tl.erf(z * 0.7071067811865476)) + z * density)


@triton.jit  # type: ignore[untyped-decorator]
def _sums_of_part(  # type: ignore[no-untyped-def]
    part, image_group, dy, x, bias, weight, offset, mean, rstd, by_channel, by_group,
    rows, per_part, parts, channels, groups, width,
    HAS_BIAS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Sums of each part: of the gradient, of it times the normed value and of the normed value by channel,
    [B, parts, 3, C]; of the first two times the weight by group, [B * G, parts, 2]."""
    image, group = (image_group // groups).to(tl.int64), image_group % groups
    column = tl.arange(0, WIDTH)
    inside = column < width
    channel = group * width + column
    shift = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32) if HAS_BIAS else 0.0
    scale = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    move = tl.load(offset + channel, mask=inside, other=0.0).to(tl.float32)
    middle, inverse = tl.load(mean + image_group), tl.load(rstd + image_group)
    first, last = part * per_part, tl.minimum((part + 1) * per_part, rows)
    plain = tl.zeros([ROWS, WIDTH], tl.float32)
    product = tl.zeros([ROWS, WIDTH], tl.float32)
    normed = tl.zeros([ROWS, WIDTH], tl.float32)
    for start in range(first, last, ROWS):
        row = start + tl.arange(0, ROWS)
        valid = (row < last)[:, None] & inside[None, :]
        place = (image * rows + row)[:, None] * channels + channel[None, :]
        value = tl.load(x + place, mask=valid, other=0.0).to(tl.float32) + shift
        value = tl.where(valid, (value - middle) * inverse, 0.0)
        grad = tl.load(dy + place, mask=valid, other=0.0).to(tl.float32)
        grad = _gradient_of_normed(grad, value, scale, move)
        plain += grad
        product += grad * value
        if HAS_BIAS:
            normed += value
    plain, product = tl.sum(plain, 0), tl.sum(product, 0)
    place = (image * parts + part) * 3 * channels + channel
    tl.store(by_channel + place, plain, mask=inside)
    tl.store(by_channel + place + channels, product, mask=inside)
    if HAS_BIAS:
        tl.store(by_channel + place + 2 * channels, tl.sum(normed, 0), mask=inside)
    place = (image_group * parts + part) * 2
    tl.store(by_group + place, tl.sum(plain * scale, 0))
    tl.store(by_group + place + 1, tl.sum(product * scale, 0))


@triton.jit  # type: ignore[untyped-decorator]
def backward_kernel(  # type: ignore[no-untyped-def]
    dy, x, bias, weight, offset, mean, rstd, by_channel, by_group, dx, d_weight, d_offset, d_bias,
    images, rows, per_part, parts, channels, groups, width, blocks, strips, gate,
    HAS_BIAS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr,
    STRIP: tl.constexpr, PASS: tl.constexpr,
):  # fmt: skip
    """The gradient of the map, and those of the parameters, a program for each strip of channels."""
    first, step = tl.program_id(0), tl.num_programs(0)
    if PASS != 2:
        for item in range(first, parts * images * groups, step):
            _sums_of_part(
                item % parts, item // parts, dy, x, bias, weight, offset, mean, rstd, by_channel, by_group,
                rows, per_part, parts, channels, groups, width, HAS_BIAS, ROWS, WIDTH,
            )  # fmt: skip
    if PASS == 0:
        wait_for_all(gate)
    if PASS != 1:
        for strip in range(first, strips, step):
            _gradients_of_strip(
                strip, weight, rstd, by_channel, by_group, d_weight, d_offset, d_bias,
                images, rows, parts, channels, groups, width, HAS_BIAS, PARTS, STRIP,
            )  # fmt: skip
        # The programs that had no strip begin.
        for item in range((first + step - strips % step) % step, blocks * images * groups, step):
            _gradient_of_block(
                item % blocks, item // blocks, dy, x, bias, weight, offset, mean, rstd, by_group, dx,
                rows, parts, channels, groups, width, HAS_BIAS, ROWS, WIDTH, PARTS,
            )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _gradient_of_block(  # type: ignore[no-untyped-def]
    block, image_group, dy, x, bias, weight, offset, mean, rstd, by_group, dx,
    rows, parts, channels, groups, width,
    HAS_BIAS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    image, group = (image_group // groups).to(tl.int64), image_group % groups
    count = rows * 1.0 * width
    part = tl.arange(0, PARTS)
    place = (image_group * parts + part) * 2
    plain = tl.sum(tl.load(by_group + place, mask=part < parts, other=0.0), 0) / count
    product = tl.sum(tl.load(by_group + place + 1, mask=part < parts, other=0.0), 0) / count
    column = tl.arange(0, WIDTH)
    inside = column < width
    channel = group * width + column
    shift = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32) if HAS_BIAS else 0.0
    scale = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    move = tl.load(offset + channel, mask=inside, other=0.0).to(tl.float32)
    middle, inverse = tl.load(mean + image_group), tl.load(rstd + image_group)
    row = block * ROWS + tl.arange(0, ROWS)
    valid = (row < rows)[:, None] & inside[None, :]
    place = (image * rows + row)[:, None] * channels + channel[None, :]
    value = (tl.load(x + place, mask=valid, other=0.0).to(tl.float32) + shift - middle) * inverse
    grad = tl.load(dy + place, mask=valid, other=0.0).to(tl.float32)
    grad = _gradient_of_normed(grad, value, scale, move)
    out = inverse * (grad * scale - plain - value * product)
    tl.store(dx + place, out.to(dx.dtype.element_ty), mask=valid)


@triton.jit  # type: ignore[untyped-decorator]
def _gradients_of_strip(  # type: ignore[no-untyped-def]
    strip, weight, rstd, by_channel, by_group, d_weight, d_offset, d_bias,
    images, rows, parts, channels, groups, width,
    HAS_BIAS: tl.constexpr, PARTS: tl.constexpr, STRIP: tl.constexpr,
):  # fmt: skip
    count = rows * 1.0 * width
    part = tl.arange(0, PARTS)
    channel = strip * STRIP + tl.arange(0, STRIP)
    inside = channel < channels
    group = channel // width
    valid = (part < parts)[:, None] & inside[None, :]
    scale = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    of_weight = tl.zeros([STRIP], tl.float32)
    of_offset = tl.zeros([STRIP], tl.float32)
    of_bias = tl.zeros([STRIP], tl.float32)
    for image in range(images):
        place = ((image * parts + part) * 3 * channels)[:, None] + channel[None, :]
        plain = tl.sum(tl.load(by_channel + place, mask=valid, other=0.0), 0)
        of_offset += plain
        of_weight += tl.sum(tl.load(by_channel + place + channels, mask=valid, other=0.0), 0)
        if HAS_BIAS:
            # That of the bias is the sum of the map's gradient over an image.
            normed = tl.sum(tl.load(by_channel + place + 2 * channels, mask=valid, other=0.0), 0)
            at = ((image * groups + group)[None, :] * parts + part[:, None]) * 2
            mean_plain = tl.sum(tl.load(by_group + at, mask=valid, other=0.0), 0) / count
            mean_product = tl.sum(tl.load(by_group + at + 1, mask=valid, other=0.0), 0) / count
            inverse = tl.load(rstd + image * groups + group, mask=inside, other=0.0)
            of_bias += inverse * (plain * scale - rows * mean_plain - normed * mean_product)
    tl.store(d_weight + channel, of_weight, mask=inside)
    tl.store(d_offset + channel, of_offset, mask=inside)
    if HAS_BIAS:
        tl.store(d_bias + channel, of_bias.to(d_bias.dtype.element_ty), mask=inside)
