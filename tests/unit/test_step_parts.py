"""Steps with too few images for batch norm are refused before a run exists; what is advised instead works."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn

from engine.config.fields import option
from engine.config.keys import ConfigError, with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.config.step_parts import (
    enough_by_section,
    parts_of_batch,
    refuse_too_small_parts,
    smallest_part,
)
from engine.learning.distributed import Group
from engine.learning.enough_images import enough_by_network, is_lack_of_images
from engine.learning.flops import flops_per_sample
from engine.models import ModelSection
from engine.models.builtin import MODELS
from engine.models.contract import SegmentationNetwork
from engine.models.registry import build_model
from engine.requests.checking import what_the_check_depends_on
from engine.requests.configs import check_steps
from engine.training.objectives import Denoising
from engine.training.probes import fit
from engine.training.step import micro_batches


class Pooling(SegmentationNetwork):
    """Adds to each pixel what batch norm makes of the whole image, as image pooling of DeepLabV3 does."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.encode = nn.Conv2d(3, 4, 3, padding=1)
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.head = nn.Conv2d(4, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        encoded = self.encode(images)
        logits: Tensor = self.head(encoded + self.image(encoded))
        return logits

    def bottleneck(self) -> nn.Module:
        return self.encode


class PoolingConfig(ModelSection):
    """Says nothing of its batch norm: the worker has to find out."""

    name: Literal["pooling"] = option("pooling", "Architecture")
    stride: ClassVar[int] = 1

    def build(self, inputs: int, outputs: int) -> SegmentationNetwork:
        return Pooling(outputs)


def config_of(**values: object) -> RunConfig:
    base = {"data.size": "16x16", "model.width": 2}
    return with_values(get_recipe("quick"), base | {key.replace("__", "."): v for key, v in values.items()})


@pytest.fixture
def pooling() -> Iterator[None]:
    """Makes the pooling network known for as long as a test."""
    MODELS.register(PoolingConfig)
    yield
    del MODELS._sections["pooling"], MODELS._origins["pooling"]
    MODELS._changed()


def pooling_config(**values: object) -> RunConfig:
    base = with_values(RunConfig(), {"model.name": "pooling"})
    return with_values(base, {key.replace("__", "."): value for key, value in values.items()})


@pytest.mark.parametrize("micro_batch", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize(("images", "batch_size"), [(1, 4), (6, 5), (7, 4), (8, 4), (10, 3), (11, 8)])
def test_the_smallest_part_is_what_the_loop_computes(
    images: int, batch_size: int, ranks: int, micro_batch: int
) -> None:
    computed = set()
    for rank in range(ranks):
        order, own_size = Group(rank, ranks).share_of(torch.arange(images), batch_size)
        for own in order.split(own_size):
            parts = micro_batches(own, own.float(), micro_batch, Denoising(1.0))
            computed |= {len(part) for part, _, _, _ in parts}
    config = config_of(batch_size=max(batch_size, ranks), devices=ranks, runtime__micro_batch=micro_batch)
    assert smallest_part(config, images, ranks) == min(computed)


def test_parts_of_full_batches_are_known_without_the_number_of_images() -> None:
    assert parts_of_batch(8, 0, 1) == {8}
    assert parts_of_batch(8, 3, 1) == {3, 2}
    assert parts_of_batch(3, 0, 2) == {2, 1}
    assert smallest_part(config_of(batch_size=8, runtime__micro_batch=3), None, 1) == 2


@pytest.mark.parametrize("name", sorted(MODELS.sections()))
@pytest.mark.parametrize("times", [(1, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("images", [1, 2])
def test_a_section_says_of_its_norm_layers_what_the_network_does(
    name: str, times: tuple[int, int], images: int
) -> None:
    least = max(16, MODELS.sections()[name]().least_side())
    size = "x".join(str(each * least) for each in times)
    config = with_values(RunConfig(), {"model.name": name, "data.size": size})
    key = "backbone" if name == "vltseg" else config.model.breadth_key
    small = {"resnet38": "1/8", "street_net": 4, "vltseg": "eva02_tiny_patch14"}.get(name, 2)
    config = with_values(config, {f"model.{key}": small} if key else {})
    network = build_model(config.model, 3).train()
    trains = True
    try:
        network(torch.zeros(images, 3, *config.data.size))
    except ValueError as error:
        trains = not is_lack_of_images(error)
    assert enough_by_section(config, images) == trains
    assert enough_by_network(3)(config, images) == trains


REFUSED = [
    ({"batch_size": 5}, 6, "data.size=32x32 or batch_size=6 works"),
    ({"batch_size": 1}, 6, "data.size=32x32 or batch_size=2 works"),
    ({"batch_size": 4, "runtime.micro_batch": 1}, 8, "or batch_size=3 or"),
    ({"batch_size": 4, "runtime.micro_batch": 3}, 8, "runtime.micro_batch=0 works"),
    ({"batch_size": 2, "devices": 2}, 8, "devices=1 works"),
    ({"batch_size": 64}, 1, "data.size=32x32 works"),
]


@pytest.mark.parametrize(("values", "images", "help_"), REFUSED)
def test_too_few_images_a_part_are_refused_with_what_helps(
    values: dict[str, object], images: int, help_: str
) -> None:
    config = with_values(config_of(), values)
    with pytest.raises(ConfigError) as refusal:
        check_steps(config, images)
    (line,) = refusal.value.problems
    assert line.startswith("data.size: at 16x16 one image gives a norm layer of unet one value, and training")
    assert f"({images} training image" in line
    changes = re.findall(
        r"(data\.size|batch_size|runtime\.micro_batch|devices)=(\w+)", line.rpartition("; ")[2]
    )
    assert changes
    for key, value in changes:
        check_steps(with_values(config, {key: value}), images)


@pytest.mark.parametrize(
    ("values", "images"),
    [
        ({"batch_size": 5}, 7),
        ({"batch_size": 5, "data.size": "16x32"}, 6),
        ({"batch_size": 1, "model.name": "modern_unet"}, 6),
    ],
)
def test_steps_that_work_are_let_be(values: dict[str, object], images: int) -> None:
    base = with_values(RunConfig(), {"data.size": "16x16"})
    check_steps(with_values(base, values), images)


def test_what_never_works_is_refused_before_the_images_are_counted() -> None:
    with pytest.raises(ConfigError, match="one value"):
        check_steps(config_of(batch_size=1))
    check_steps(config_of(batch_size=5))


@pytest.mark.usefixtures("pooling")
def test_a_network_that_pools_to_one_pixel_is_asked_itself() -> None:
    config = pooling_config(data__size="64x64", batch_size=5)
    check_steps(config, 6)  # the section does not say
    enough = enough_by_network(3)
    with pytest.raises(ConfigError) as refusal:
        refuse_too_small_parts(config, 6, 1, enough)
    assert str(refusal.value).endswith("batch_size=5); batch_size=6 works")  # no size would help
    refuse_too_small_parts(pooling_config(batch_size=6), 6, 1, enough)
    with pytest.raises(ConfigError, match=r"more training images are needed$"):
        refuse_too_small_parts(pooling_config(batch_size=6), 1, 1, enough)


def test_arithmetic_is_counted_where_one_image_cannot_train() -> None:
    small, large = (flops_per_sample(config_of(data__size=size), 3) for size in ("16x16", "32x32"))
    assert large == 4 * small


@pytest.mark.parametrize(
    ("fits", "values", "images", "told"),
    [
        (4, {}, 9, "batch_size=3 fits"),  # parts of 4 leave 1 of 9
        (4, {}, 10, "batch_size=4 fits; or runtime.micro_batch=4 validation.batch_size=4, which keeps 8"),
        (2, {}, 9, "a smaller data.size or model.width needs less"),
        (
            1,
            {"data.size": "32x32"},
            9,
            "batch_size=1 fits; or runtime.micro_batch=1",
        ),
        (0, {}, 9, "not even two images a step fits; a smaller data.size or model.width needs less"),
        (0, {"data.size": "32x32"}, 9, "not even one image a step fits; a smaller data.size or model.width"),
    ],
)
def test_advice_after_out_of_memory_is_a_step_that_the_network_can_do(
    fits: int,
    values: dict[str, object],
    images: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout=json.dumps({"size": fits, "keeps_batch": True}))
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: answer)
    config = with_values(config_of(batch_size=8), values)
    advice = fit.advise(Path("config.json"), config, classes=3, images=images, data_bytes=0)
    assert advice.startswith(told)


def test_a_schedule_in_iterations_is_judged_as_soon_as_the_images_are_counted() -> None:
    config = with_values(RunConfig(epochs=2, batch_size=4), {"schedule.warmup_iterations": 10})
    check_steps(config)
    check_steps(config, 21)  # six steps an epoch
    with pytest.raises(ConfigError, match=r"^schedule.warmup_iterations: 10 leaves nothing of 10 iterations"):
        check_steps(config, 20)


@pytest.mark.parametrize(
    ("values", "is_another"),
    [
        ({"optimizer.lr": 0.5}, False),
        ({"epochs": 3}, False),
        ({"schedule.warmup_iterations": 10}, True),
        ({"budget.images": 9}, True),
        ({"batch_norm": "frozen"}, True),
        ({"executor": "slurm", "slurm.nodes": 2}, True),
        ({"task": "pretrain"}, True),
        ({"pretrain.epochs": 3}, False),
        ({"pretrain.epochs": 3, "schedule.warmup_iterations": 9}, True),
    ],
)
def test_runs_are_checked_together_where_nothing_that_is_checked_differs(
    values: dict[str, object], is_another: bool
) -> None:
    kept = {"pretrain.epochs": 5, "schedule.warmup_iterations": 9}
    base = with_values(RunConfig(), {key: value for key, value in kept.items() if key in values})
    apart = what_the_check_depends_on(base) != what_the_check_depends_on(with_values(base, values))
    assert apart == is_another
