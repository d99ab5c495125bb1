"""An image through a network in sliding windows: where they lie, how they add up, what they need."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from engine.config.keys import ConfigError, validate, with_values
from engine.config.run_config import RunConfig
from engine.config.windows import SlidingWindowKeys
from engine.exported.windows import windowed_logits
from engine.inference.network import Network
from engine.learning.flops import flops_per_image, flops_per_sample
from engine.learning.hardware import choose_hardware
from engine.learning.windows import WHOLE_IMAGES, Windows
from engine.models.registry import build_model


def shown(windows: Windows, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Top, left, height and width of what a network is shown of an image, in order."""
    grid = torch.stack(torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij"))
    found = []

    def look(part: Tensor) -> Tensor:
        top, left = (int(value) for value in part[0, :2, 0, 0])
        found.append((top, left, part.shape[2], part.shape[3]))
        return part

    windows.logits(look, torch.cat([grid, grid[:1]])[None].float())
    return found


def test_the_last_window_is_shifted_back_to_the_border() -> None:
    """As in mmsegmentation's slide_inference: max(0, side - window + stride - 1) // stride + 1 a side."""
    found = shown(Windows((4, 6), (3, 4)), (9, 15))
    assert sorted({(top, height) for top, _, height, _ in found}) == [(0, 4), (3, 4), (5, 4)]
    assert sorted({(left, width) for _, left, _, width in found}) == [(0, 6), (4, 6), (8, 6), (9, 6)]
    assert len(found) == Windows((4, 6), (3, 4)).count((9, 15)) == 12
    assert shown(Windows((4, 6), (4, 6)), (8, 12)) == [(0, 0, 4, 6), (0, 6, 4, 6), (4, 0, 4, 6), (4, 6, 4, 6)]


def test_a_window_is_no_larger_than_the_image() -> None:
    """Of an image that test-time augmentation has scaled down."""
    assert shown(Windows((16, 8), (10, 5)), (12, 10)) == [(0, 0, 12, 8), (0, 2, 12, 8)]


@pytest.mark.parametrize("size", [(32, 48), (37, 51), (33, 65)])
def test_logits_are_the_mean_over_all_windows_that_show_a_pixel(size: tuple[int, int]) -> None:
    """Against a sum and a count for each pixel, in float64."""
    windows = Windows((16, 32), (7, 9))
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    network = nn.Conv2d(3, 5, 3, padding=1)

    expected, count = np.zeros((2, 5, *size)), np.zeros(size)
    firsts = [
        [*range(0, side - window, stride), side - window]
        for side, window, stride in zip(size, (16, 32), (7, 9), strict=True)
    ]
    with torch.inference_mode():
        for top in firsts[0]:
            for left in firsts[1]:
                here = np.s_[..., top : top + 16, left : left + 32]
                expected[here] += network(images[here]).double().numpy()
                count[here] += 1
        found = windows.logits(network, images)
    assert found.dtype == torch.float32
    assert count.max() > 4
    np.testing.assert_allclose(found.numpy(), expected / count, atol=1e-5)


def test_windows_without_torch_are_those_of_torch() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    for windows in (WHOLE_IMAGES, Windows((16, 32), (7, 9)), Windows((64, 64), (43, 43))):
        right = windows.logits(lambda part: part * part.mean(), images)[0]
        found = windowed_logits(
            windows, lambda part: part.transpose(2, 0, 1) * np.float32(part.mean()), pixels
        )
        np.testing.assert_allclose(found, right.numpy(), rtol=1e-5)


@pytest.mark.parametrize("windows", [WHOLE_IMAGES, Windows((32, 64), (20, 43))])
def test_the_whole_image_is_what_the_network_makes_of_it(windows: Windows) -> None:
    """Bit for bit: also where the window is the image, the network sees it once."""
    network = nn.Conv2d(3, 5, 3, padding=1)
    images = torch.randn(1, 3, 32, 64)
    with torch.inference_mode():
        assert torch.equal(windows.logits(network, images), network(images))


def test_only_the_sum_outlives_a_window() -> None:
    """However many windows there are: those before are freed when the next is computed."""
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def forward(part: Tensor) -> Tensor:
        nonlocal most
        most = max(most, sum(one() is not None for one in alive))
        logits = part[:, :1] * 2
        alive.append(weakref.ref(logits))
        return logits

    images = torch.randn(1, 3, 64, 64)
    found = Windows((16, 16), (8, 8)).logits(forward, images)
    torch.testing.assert_close(found, images[:, :1] * 2)
    assert len(alive) == 49
    assert most <= 1


def network_of(config: RunConfig, windows: Windows, tta: str = "none") -> Network:
    hardware = choose_hardware(with_values(config, {"device": "cpu", "precision": "fp32"}))
    torch.manual_seed(0)
    model = build_model(config.model, 3).eval()
    return Network(model, ("a", "b", "c"), 1, "", config.data.size, tta, 16, 16, hardware, windows)


@pytest.mark.parametrize("tta", ["none", "flip,scales"])
def test_a_network_in_windows_of_its_whole_image_predicts_the_same(tta: str) -> None:
    config = with_values(RunConfig(), {"data.size": "64x96", "model.width": 4})
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))
    whole = network_of(config, WHOLE_IMAGES, tta)
    expected = whole.logits(whole.views(image))
    same = network_of(config, Windows((2000, 2000), (100, 100)), tta)
    assert torch.equal(same.logits(same.views(image)), expected)
    windowed = network_of(config, Windows((32, 64), (21, 43)), tta)
    found = windowed.logits(windowed.views(image))
    assert found.shape == expected.shape
    assert not torch.equal(found, expected)


def test_what_windows_cost_is_counted() -> None:
    config = with_values(RunConfig(), {"data.size": "64x96", "model.width": 4, "validation.window": "32x32"})
    assert config.windowed.window_stride == (21, 21)
    windows = 3 * 5
    assert Windows.of(config.windowed).count((64, 96)) == windows
    assert flops_per_image(config, 3) == windows * flops_per_sample(config, 3, (32, 32))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"validation.window": "40x64"},
            "validation.window: 40x64 does not suit unet, whose input sides must divide by 16",
        ),
        ({"validation.window": "128x64"}, "validation.window: 128x64 is larger than the images, 64x96"),
        (
            {"validation.window": "32x64", "validation.stride": "33x64"},
            "validation.stride: 33x64 leaves gaps",
        ),
        ({"validation.stride": "32x64"}, "validation.stride: 32x64 has no effect without a window"),
        ({"validation.window": "64"}, "validation.window: '64' is not allowed; it must be none or HEIGHT"),
    ],
)
def test_windows_that_cannot_be_are_refused_in_one_line(values: dict[str, str], says: str) -> None:
    base = with_values(RunConfig(), {"data.size": "64x96"})
    with pytest.raises(ConfigError) as refused:
        with_values(base, values)
    (line,) = refused.value.problems
    assert line.startswith(says)


def test_an_image_that_is_seen_in_windows_need_not_suit_the_network() -> None:
    values = {"data.size": "72x100", "augment.crop": "32x64"}
    with pytest.raises(ConfigError, match=r"^data\.size: "):
        with_values(RunConfig(), values)
    config = with_values(RunConfig(), values | {"validation.window": "32x64"})
    assert (config.train_size, config.scored_size) == ((32, 64), (32, 64))


def test_a_missing_key_means_whole_images() -> None:
    keys = SlidingWindowKeys()
    assert (keys.window_size, keys.window_stride) == (None, None)
    assert keys.window_fields == {"window_size": "", "window_stride": ""}
    section = {"source": "a", "checkpoint": "b"}
    config = validate({"task": "evaluate", "evaluate": section})
    assert config.scored_size == config.data.size
    windowed = validate({"task": "evaluate", "evaluate": section | {"window": "32x64"}})
    assert windowed.windowed.window_fields == {"window_size": "32x64", "window_stride": "21x43"}
