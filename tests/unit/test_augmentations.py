"""What augmentations do to images and labels, by numbers on small tensors."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor

from engine.augment.builtin import AUGMENTATIONS
from engine.augment.colour import blurred, convolved, gaussian_kernels, random_kernels, turn_hue
from engine.augment.functions import Draws, build_augmentations
from engine.augment.geometry import TRIES, Window
from engine.augment.randaugment import OPERATIONS, RandAugment, autocontrast, equalize, smoothed
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.learning.distributed import Group
from engine.training.rng import step_generator

EVERYTHING: dict[str, Any] = {
    "crop": "32x48",
    "scale_min": 0.5,
    "scale_max": 2.0,
    "rotate": 10.0,
    "cat_max_ratio": 0.75,
    "flip": 0.5,
    "mosaic": 0.5,
    "copy_paste": 0.5,
    "copy_paste_area": 0.3,
    "classmix": 0.5,
    "cutmix": 0.5,
    "randaugment": 2,
    "brightness": 0.2,
    "contrast": 0.2,
    "saturation": 0.2,
    "hue": 0.1,
    "grayscale": 0.3,
    "blur": 0.5,
    "randconv": 0.5,
    "cutout": 0.5,
}


def draws(step: int = 0, **about: Any) -> Draws:
    return Draws(step_generator(0, 0, step), **about)


def changed(images: Tensor, labels: Tensor, step: int = 0, **keys: Any) -> tuple[Tensor, Tensor]:
    return build_augmentations(AUGMENTATIONS.new(**keys))(images, labels, draws(step))


def patches(count: int = 8, side: int = 16) -> tuple[Tensor, Tensor]:
    """Images of large patches in which the colour says the class: 40 a class, 5 classes."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 5, (count, 4, 6), dtype=torch.uint8, generator=generator)
    labels = labels.repeat_interleave(side, 1).repeat_interleave(side, 2)
    return coloured(labels), labels


def coloured(labels: Tensor) -> Tensor:
    return (labels * 40 + 20)[..., None].expand(-1, -1, -1, 3).contiguous()


def marked(count: int = 6, height: int = 24, width: int = 32) -> tuple[Tensor, Tensor]:
    """Samples that tell of each pixel whose it is: in red, and in its label."""
    labels = torch.arange(count, dtype=torch.uint8)[:, None, None].expand(-1, height, width).contiguous()
    images = torch.zeros(count, height, width, 3, dtype=torch.uint8)
    images[..., 0] = labels
    images[..., 1], images[..., 2] = torch.arange(height)[:, None], torch.arange(width)
    return images, labels


def test_the_order_is_the_documented_one() -> None:
    geometry = ["window", "mirror"]
    mixing, colours = (
        ["mosaic", "copy_paste", "classmix", "cutmix"],
        ["randaugment", "colour", "grayscale", "blur", "randconv"],
    )
    own = [
        part.name
        for part in AUGMENTATIONS.parts().values()
        if AUGMENTATIONS.is_built_in(next(iter(part.keys.model_fields)))
    ]
    assert own == [*geometry, *mixing, *colours, "cutout"]


def test_a_crop_alone_shows_pixels_as_they_are() -> None:
    images, labels = marked()
    cut, ids = changed(images, labels, crop="16x16")
    assert cut.shape == (6, 16, 16, 3)
    corners = cut[:, 0, 0, 1:].int()
    for image, (top, left), whole, own in zip(cut, corners.tolist(), images, ids, strict=True):
        assert torch.equal(image, whole[top : top + 16, left : left + 16])
        assert len(own.unique()) == 1
    assert len({tuple(corner) for corner in corners.tolist()}) > 3, "each sample has a place of its own"


def test_crops_lie_anywhere_within_the_image() -> None:
    images, labels = marked(count=400, height=18, width=20)
    cut, _ = changed(images, labels, crop="16x16")
    assert set(cut[:, 0, 0, 1].tolist()) == {0, 1, 2}
    assert set(cut[:, 0, 0, 2].tolist()) == {0, 1, 2, 3, 4}


def test_a_scaled_crop_moves_labels_with_their_image() -> None:
    images, labels = patches()
    cut, ids = changed(images, labels, crop="32x32", scale_min=0.7, scale_max=1.5, rotate=20)
    assert cut.shape[:3] == ids.shape == (8, 32, 32)
    valid = ids != 255
    close = (cut[..., 0].int() - (ids.int() * 40 + 20)).abs() <= 1
    assert float(close[valid].float().mean()) > 0.7  # all but blended edges
    assert set(ids.unique().tolist()) <= {0, 1, 2, 3, 4, 255}


def test_scale_acts_as_a_resize_before_the_crop() -> None:
    """At scale 2 a crop shows half as much, each pixel twice as large."""
    labels = torch.arange(32, dtype=torch.uint8)[None, None].expand(1, 32, -1).contiguous()
    _, ids = changed(coloured(labels % 5), labels, crop="16x16", scale_min=2, scale_max=2)
    row = ids[0, 0].tolist()
    assert row[-1] - row[0] in (7, 8)
    assert sorted(row) == row


def test_a_small_scale_averages_pixels_instead_of_leaving_them_out() -> None:
    """Stripes of one pixel: at an eighth of the size they are grey, wherever the window begins."""
    images = torch.zeros(4, 64, 96, 3, dtype=torch.uint8)
    images[:, :, ::2] = 255
    labels = torch.zeros(4, 64, 96, dtype=torch.uint8)
    for scale in (0.45, 0.2, 0.125):
        small, ids = changed(images, labels, scale_min=scale, scale_max=scale)
        inside = ids == 0
        # The border of an image blends with what lies outside.
        inner = -torch.nn.functional.max_pool2d(-inside.float(), 3, 1, 1) > 0
        values = small[..., 0][inner].float()
        assert len(values) > 100
        assert float((values - 127.5).abs().max()) < 64
        assert float(values.mean()) == pytest.approx(127.5, abs=6)
    mixed, _ = changed(images, labels, scale_min=0.2, scale_max=2.0, flip=0.5)
    assert mixed.dtype == torch.uint8


def test_a_rotation_turns_by_its_angle_and_uncovers_void() -> None:
    labels = torch.zeros(1, 33, 33, dtype=torch.uint8)
    labels[0, 16, 16:] = 1  # a hand of a clock at three
    theta = Window(degrees=90)._windows(1, (33, 33), draws())
    angle = float(torch.atan2(theta[0, 0, 1, 0], theta[0, 0, 0, 0]))
    _, ids = Window(degrees=90)(coloured(labels), labels, draws())
    y, x = (ids[0] == 1).nonzero().float().mean(0).sub(16).tolist()
    assert (x, y) == pytest.approx((8 * np.cos(angle), -8 * np.sin(angle)), abs=0.6)
    assert int(ids[0, 0, 0]) == 255 or abs(angle) < 0.05
    wide = torch.zeros(1, 20, 60, dtype=torch.uint8)
    wide[0, 8:12, 28:32] = 1
    _, ids = Window(degrees=90)(coloured(wide), wide, draws())
    assert 12 <= int((ids == 1).sum()) <= 20, "a square stays one, whatever the image's proportion"


def test_a_crop_that_one_class_fills_is_drawn_again() -> None:
    """Half of each image is of one class: most windows are of it alone, and some are always to be found."""
    labels = torch.zeros(200, 32, 64, dtype=torch.uint8)
    labels[..., 40:] = 1
    labels[..., ::16, :4] = 255
    images = coloured(labels)

    def full(**keys: Any) -> float:
        _, ids = changed(images, labels, crop="16x16", **keys)
        ones, valid = (ids == 1).flatten(1).sum(1), (ids != 255).flatten(1).sum(1)
        share = torch.maximum(ones, valid - ones) / valid
        return float((share >= 0.75).float().mean())

    assert full() > 0.7
    # A window is fine with a chance of about 1 in 6.
    assert full(cat_max_ratio=0.75) == pytest.approx((1 - 8 / 49) ** TRIES, abs=0.12)


def test_a_focus_is_in_every_crop() -> None:
    images, labels = marked(count=300, height=40, width=60)
    focus = torch.rand(300, 2, generator=torch.Generator().manual_seed(1))
    focus[::2] = torch.nan
    for keys in (
        {"crop": "16x24"},
        {"crop": "16x24", "scale_min": 0.8, "scale_max": 2.0},
        {"scale_min": 2, "scale_max": 3},
    ):
        change = build_augmentations(AUGMENTATIONS.new(**keys))
        cut, _ = change(images, labels, draws(focus=focus))
        rows, columns = cut[..., 1].flatten(1).int(), cut[..., 2].flatten(1).int()
        point = focus[1::2] * torch.tensor([40, 60])
        for values, wanted in ((rows[1::2], point[:, 0]), (columns[1::2], point[:, 1])):
            assert bool(((values.amin(1) - 1 <= wanted) & (wanted <= values.amax(1) + 2)).all())
        free, _ = change(images, labels, draws())
        assert torch.equal(cut[::2], free[::2]), "who has no point is cropped as without any"


def test_a_turned_crop_contains_its_focus() -> None:
    labels = torch.zeros(100, 48, 48, dtype=torch.uint8)
    labels[:, 20:23, 25:28] = 1
    focus = torch.tensor([[21.5 / 48, 26.5 / 48]]).expand(100, 2)
    _, ids = build_augmentations(AUGMENTATIONS.new(crop="16x16", rotate=90))(
        coloured(labels), labels, draws(focus=focus)
    )
    assert bool((ids == 1).flatten(1).any(1).all())
    assert int((ids == 1).flatten(1).sum(1).min()) < 8, "also at the border of a crop"


def test_cutmix_pastes_a_rectangle_of_another_sample() -> None:
    images, labels = marked(count=64)
    mixed, ids = changed(images, labels, cutmix=1)
    assert torch.equal(mixed[..., 0], ids)
    assert torch.equal(mixed[..., 1:], images[..., 1:]), "at its place"
    shares = []
    for own, sample in enumerate(ids):
        others = set(sample.unique().tolist()) - {own}
        assert len(others) <= 1
        where = (sample != own).nonzero()
        shares.append(len(where) / sample.numel())
        if len(where):
            (top, left), (bottom, right) = where.amin(0).tolist(), where.amax(0).tolist()
            assert len(where) == (bottom - top + 1) * (right - left + 1)
    assert max(shares) > 0.4
    assert 0.15 < float(np.mean(shares)) < 0.45
    half, _ = changed(images, labels, cutmix=0.25)
    touched = (half[..., 0] != images[..., 0]).flatten(1).any(1).float().mean()
    assert 0.05 < float(touched) < 0.4


def test_classmix_pastes_half_of_the_classes_that_are_there() -> None:
    images, labels = patches(count=2)
    labels[1, :8] = 255
    mixed, ids = changed(images, labels, classmix=1)
    for own, other in ((0, 1), (1, 0)):
        there = set(labels[other].unique().tolist()) - {255}
        pasted = {c for c in there if bool((ids[own][labels[other] == c] == c).all())}
        moved = ids[own] != labels[own]
        from_other = set(labels[other][moved].tolist())
        assert from_other <= pasted
        assert 0 < len(from_other) <= len(there) // 2
        inside = torch.isin(labels[other], torch.tensor(sorted(from_other)))
        assert torch.equal(mixed[own][inside], images[other][inside])
        assert torch.equal(ids[own][~inside & ~moved], labels[own][~inside & ~moved])


def test_classmix_pastes_classes_of_few_pixels_of_large_images() -> None:
    labels = torch.zeros(2, 300, 300, dtype=torch.uint8)
    labels[:, 1::2] = 1  # no row of this class is among every second one
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 300, 300, 3), dtype=torch.uint8, generator=generator)
    mixed, ids = changed(images, labels, classmix=1)
    assert torch.equal(ids, labels)
    for own, other in ((0, 1), (1, 0)):
        pasted = labels[own][(mixed[own] != images[own]).any(-1)].unique().tolist()
        assert pasted in ([0], [1])
        assert torch.equal(mixed[own][labels[own] == pasted[0]], images[other][labels[own] == pasted[0]])


def test_copy_paste_takes_small_classes_alone() -> None:
    labels = torch.zeros(2, 40, 40, dtype=torch.uint8)
    labels[0, :4, :4], labels[0, 20:] = 1, 2
    images = coloured(labels)
    pasted = 0
    for step in range(20):
        mixed, ids = changed(images, labels, step, copy_paste=1, copy_paste_area=0.02)
        assert 2 not in ids[1]
        got = bool((ids[1, :4, :4] == 1).all())
        assert int((ids[1] == 1).sum()) == 16 * got
        assert torch.equal(mixed[1], torch.where((ids[1] == 1)[..., None], images[0], images[1]))
        pasted += got
    assert 4 <= pasted <= 16, "each class with a probability of 1/2"


def test_a_mosaic_has_four_pieces_that_meet_in_the_middle_half() -> None:
    images, labels = marked(count=40)
    mixed, ids = changed(images, labels, mosaic=1)
    assert torch.equal(mixed[..., 0], ids)
    for own, (image, sample) in enumerate(zip(mixed, ids, strict=True)):
        assert int(sample[0, 0]) == own
        corners = [sample[0, 0], sample[0, -1], sample[-1, 0], sample[-1, -1]]
        assert own not in [int(corner) for corner in corners[1:]]
        # Pieces are cut out unscaled: within one, rows and columns follow each other.
        steps = (image[1:, :, 1].int() - image[:-1, :, 1].int()) != 1
        seams = steps.all(1).nonzero().flatten() + 1
        assert all(6 <= int(seam) <= 18 for seam in seams)
    some, _ = changed(images, labels, mosaic=0.5)
    whole = (some == images).flatten(1).all(1).float().mean()
    assert 0.25 < float(whole) < 0.75


def test_cutout_blackens_and_unlabels_a_rectangle() -> None:
    images, labels = patches(count=40)
    holed, ids = changed(images, labels, cutout=1, cutout_size=0.5)
    hole = ids == 255
    assert torch.equal(hole, (holed == 0).all(-1))
    assert torch.equal(holed[~hole], images[~hole])
    shares = hole.flatten(1).float().mean(1)
    assert float(shares.max()) == pytest.approx(0.25, abs=0.02)
    assert 0.06 <= float(shares.min()) < 0.25, "its centre lies anywhere, so it may reach over the border"
    kept = changed(images, labels, cutout=1, cutout_size=0.5, cutout_labels="keep")
    assert torch.equal(kept[0], holed)
    assert torch.equal(kept[1], labels)


def test_hue_turns_as_colorsys_does() -> None:
    pixels = torch.randint(0, 256, (1, 8, 8, 3), generator=torch.Generator().manual_seed(0)).float()
    pixels[0, 0, :3] = torch.tensor([[0.0, 0, 0], [255, 255, 255], [9, 9, 9]])
    turned = turn_hue(pixels, torch.full((1, 1, 1), 0.3))
    for before, after in zip(pixels.flatten(0, 2), turned.flatten(0, 2), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before.div(255).tolist())
        expected = colorsys.hsv_to_rgb((hue + 0.3) % 1, saturation, value)
        assert after.div(255).tolist() == pytest.approx(expected, abs=1e-4)


def test_grey_images_have_no_colour_and_a_blur_keeps_the_mean() -> None:
    images = torch.randint(
        0, 256, (64, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    labels = torch.zeros(64, 16, 16, dtype=torch.uint8)
    grey, same = changed(images, labels, grayscale=0.5)
    assert same is labels
    is_grey = (grey == grey[..., :1]).flatten(1).all(1)
    assert 16 < int(is_grey.sum()) < 48
    assert torch.equal(grey[~is_grey], images[~is_grey])
    soft, _ = changed(images, labels, blur=0.5, blur_sigma=3)
    untouched = (soft == images).flatten(1).all(1)
    assert 16 < int(untouched.sum()) < 52
    contrast = soft.float().flatten(1).std(1) / images.float().flatten(1).std(1)
    assert float(contrast[~untouched].min()) < 0.2
    assert float((soft.float().mean((1, 2, 3)) - images.float().mean((1, 2, 3))).abs().max()) < 8


def test_a_blur_is_pillows() -> None:
    line = torch.zeros(1, 33, 33, 3, dtype=torch.uint8)
    line[:, 16, 16] = 255
    ours = blurred(line, gaussian_kernels(torch.tensor([1.5]), 5))[0, 16, :, 0]
    expected = torch.exp(-0.5 * ((torch.arange(33) - 16) / 1.5) ** 2)
    expected *= 255 / expected.sum() ** 2
    torch.testing.assert_close(ours, expected, atol=0.05, rtol=0)


def test_operations_of_randaugment_are_pillows() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(30, 200, (2, 20, 24, 3), dtype=torch.uint8, generator=generator)
    images[1] = images[1] // 64 * 20  # few values
    images[1, ..., 2] = 7
    for image, stretched, even, smooth in zip(
        images, autocontrast(images), equalize(images), smoothed(images.float()), strict=True
    ):
        picture = Image.fromarray(image.numpy())
        assert np.abs(np.asarray(ImageOps.autocontrast(picture)).astype(int) - stretched.numpy()).max() <= 1
        np.testing.assert_array_equal(np.asarray(ImageOps.equalize(picture)), even.numpy())
        expected = np.asarray(picture.filter(ImageFilter.SMOOTH)).astype(float)
        assert np.abs(expected - smooth.numpy()).max() <= 1


@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("saturation", ImageEnhance.Color),
        ("contrast", ImageEnhance.Contrast),
        ("brightness", ImageEnhance.Brightness),
        ("sharpness", ImageEnhance.Sharpness),
    ],
)
def test_blends_of_randaugment_are_pillows(name: str, enhance: Any) -> None:
    images = torch.randint(
        0, 256, (1, 20, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    labels = torch.zeros(1, 20, 24, dtype=torch.uint8)
    which = torch.tensor([OPERATIONS.index(name)])
    for level in (-0.5, 0.5):
        ours, same = RandAugment(1, 0.5)._once(images, labels, which, torch.tensor([level]))
        expected = np.asarray(enhance(Image.fromarray(images[0].numpy())).enhance(1 + 0.9 * level))
        assert np.abs(expected.astype(int) - ours[0].numpy()).max() <= 2
        assert same is labels


def test_randaugment_draws_for_each_sample_and_turns_labels() -> None:
    images, labels = (tensor[:1].repeat(60, *[1] * (tensor.ndim - 1)) for tensor in patches(1))
    mixed, ids = changed(images, labels, randaugment=1, randaugment_magnitude=0.5)
    kinds = {image.numpy().tobytes() for image in mixed}
    assert 8 <= len(kinds) <= 12, "five of the seven operations and two directions for most"
    turned = (ids == 255).flatten(1).any(1)
    assert 2 <= int(turned.sum()) <= 20
    assert torch.equal(ids[~turned], labels[~turned])


def test_all_together_are_the_same_on_any_number_of_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the ranks work one after the other, so each gets the whole batch as it was computed before."""
    images, labels = patches(count=5)
    augment = build_augmentations(AUGMENTATIONS.new(**EVERYTHING))
    seen: list[tuple[Tensor, Tensor]] = []
    gathered = Draws.whole_batch

    def remember(self: Draws, *batch: Tensor) -> tuple[Tensor, Tensor]:
        seen.append((batch[0], batch[1]))
        return gathered(self, *batch)

    monkeypatch.setattr(Draws, "whole_batch", remember)
    pixels, ids = augment(images, labels, draws())
    assert len(seen) == 4
    for first, end in ((0, 3), (3, 5)):
        turn = iter(seen)

        def bring(
            self: Draws, part: Tensor, part_labels: Tensor, turn: Iterator[tuple[Tensor, Tensor]] = turn
        ) -> tuple[Tensor, Tensor]:
            whole = next(turn)
            assert torch.equal(part, whole[0][self.first : self.first + len(part)])
            return whole

        monkeypatch.setattr(Draws, "whole_batch", bring)
        own_pixels, own_ids = augment(images[first:end], labels[first:end], draws(whole=5, first=first))
        assert torch.equal(own_pixels, pixels[first:end])
        assert torch.equal(own_ids, ids[first:end])


def test_a_batch_of_one_has_itself_for_a_partner() -> None:
    images, labels = patches(count=1)
    mixed, ids = changed(images, labels, mosaic=1, cutmix=1, classmix=1, copy_paste=1)
    assert torch.equal(mixed, images)
    assert torch.equal(ids, labels)


def test_partners_are_others_of_the_whole_batch() -> None:
    uniform = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    for first in (0, 4):
        found = draws(whole=8, first=first).partners(uniform)
        assert found.shape == (3, 4)
        assert bool((found != torch.arange(first, first + 4)).all())
        assert bool(((found >= 0) & (found < 8)).all())
    assert draws(whole=8).partners(torch.tensor([0.0, 1.0])).tolist() == [1, 0]
    assert draws(whole=8).group == Group()


def test_without_labels_nothing_that_needs_them_changes_anything() -> None:
    images, _ = patches(count=4)
    labels = torch.zeros(1, 1, 1, dtype=torch.uint8).expand(
        images.shape[:3]
    )  # as a cache without labels has them
    pixels, ids = changed(images, labels, classmix=1, copy_paste=1)
    assert torch.equal(pixels, images)
    assert not ids.any()
    pixels, ids = changed(images, labels, **EVERYTHING)
    assert pixels.shape == (4, 32, 48, 3)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"augment.crop": "512"}, "augment.crop: '512' is not allowed; it must be none or HEIGHTxWIDTH"),
        ({"augment.crop": "8x512"}, "augment.crop: 8x512 is not allowed; each side must be from 16 to 8192"),
        ({"augment.crop": "256x128"}, "augment.crop: 256x128 is larger than the images, 128x128"),
        (
            {"augment.crop": "72x64"},
            "augment.crop: 72x64 does not suit unet, whose input sides must divide by 16",
        ),
        ({"augment.cat_max_ratio": 0.75}, "augment.cat_max_ratio: there are no random crops to draw again"),
        ({"augment.scale_min": 2}, "augment.scale_min: 2 is above augment.scale_max, 1"),
        ({"augment.hue": 0.6}, "augment.hue: 0.6 is not allowed"),
        ({"augment.randaugment": 8}, "augment.randaugment: 8 is not allowed"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(values: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        with_values(RunConfig(), values)
    (problem,) = refusal.value.problems
    assert told in problem


def test_a_crop_is_what_training_sees_and_images_are_what_validation_does() -> None:
    plain = RunConfig()
    assert (plain.train_size, plain.train_size_key, plain.validation_batch) == ((128, 128), "data.size", 64)
    written = {"data.size": "1024x2048", "augment.crop": [512, 1024], "batch_size": 16}
    config = with_values(plain, written)
    assert config.augment.crop == "512x1024"
    assert (config.train_size, config.data.size, config.validation_batch) == ((512, 1024), (1024, 2048), 4)
    assert with_values(config, {"validation.batch_size": 9}).validation_batch == 9
    assert with_values(config, {"batch_size": 1}).validation_batch == 1


def test_kernels_of_randconv_have_four_sizes_and_the_variance_of_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = torch.arange(400) / 400
    kernels = random_kernels(sizes, torch.rand(9 * 49, 400, generator=generator))
    for quarter, size in enumerate((1, 3, 5, 7)):
        of_size = kernels[100 * quarter : 100 * (quarter + 1)]
        border = (7 - size) // 2
        inner = of_size[..., border : 7 - border, border : 7 - border]
        assert inner.count_nonzero() == inner.numel() == of_size.count_nonzero()
        assert inner.var().item() == pytest.approx(1 / (3 * size**2), rel=0.1)


def test_randconv_filters_each_sample_by_its_own_kernel_and_leaves_labels() -> None:
    pixels = torch.randn(3, 3, 12, 16)
    kernels = torch.randn(3, 3, 3, 7, 7)
    padded = torch.nn.functional.pad(pixels, (3, 3, 3, 3), mode="reflect")
    wanted = [torch.nn.functional.conv2d(each[None], own) for each, own in zip(padded, kernels, strict=True)]
    torch.testing.assert_close(convolved(pixels, kernels), torch.cat(wanted), atol=1e-4, rtol=1e-4)
    images, labels = patches()
    recoloured, same = changed(images, labels, randconv=1.0)
    assert torch.equal(same, labels)
    assert all(not torch.equal(new, old) for new, old in zip(recoloured, images, strict=True))
    kept, _ = changed(images, labels, randconv=0.3)
    assert 0 < sum(torch.equal(new, old) for new, old in zip(kept, images, strict=True)) < len(images)
