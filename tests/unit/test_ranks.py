"""How ranks share a batch, and how a cluster says what they may use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

from engine.augment.builtin import AUGMENTATIONS
from engine.augment.functions import Draws, build_augmentations
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.host.processes import available_cores
from engine.learning.distributed import Group
from engine.requests import configs


@pytest.mark.parametrize(("images", "batch_size", "ranks"), [(7, 4, 2), (9, 4, 3), (5, 4, 4), (16, 8, 3)])
def test_ranks_share_every_batch_and_no_image_twice(images: int, batch_size: int, ranks: int) -> None:
    order = torch.randperm(images, generator=torch.Generator().manual_seed(1))
    shares = [Group(rank, ranks).share_of(order, batch_size) for rank in range(ranks)]
    for step, batch in enumerate(torch.split(order, batch_size)):
        seen: list[int] = []
        for rank, (own, size) in enumerate(shares):
            part = own[step * size : (step + 1) * size]
            first, count = Group(rank, ranks).place(len(batch))
            assert len(part) == max(1, count)  # who has none works on one that counts for nothing
            seen += part[:count].tolist()
            assert part[:count].tolist() == batch[first : first + count].tolist()
        assert seen == batch.tolist()


def test_ranks_score_whole_batches_in_turn() -> None:
    order = torch.arange(10)
    shares = [Group(rank, 3).batches_of(order, 4) for rank in range(3)]
    assert [share.tolist() for share in shares] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert Group(2, 3).batches_of(order[:4], 4).tolist() == []


@pytest.mark.parametrize(("images", "ranks"), [(8, 2), (7, 2), (1, 2), (2, 3), (5, 4)])
def test_ranks_bring_each_other_the_whole_batch(
    images: int, ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = torch.arange(images * 6, dtype=torch.uint8).view(images, 2, 3)
    order = torch.arange(images)
    shares = [Group(rank, ranks).share_of(order, images)[0] for rank in range(ranks)]
    sent: list[torch.Tensor] = []
    for sending in (True, False):

        def gather(out: torch.Tensor, own: torch.Tensor, sending: bool = sending) -> None:
            if sending:
                sent.append(own)
            else:
                out.copy_(torch.cat(sent))

        monkeypatch.setattr(distributed, "all_gather_into_tensor", gather)
        got = [Group(rank, ranks).whole_batch(whole[share], images) for rank, share in enumerate(shares)]
    assert all(torch.equal(each, whole) for each in got)


def test_an_image_is_changed_alike_whoever_works_on_it() -> None:
    config = AUGMENTATIONS.new(flip=0.5, scale_min=0.5, scale_max=2, brightness=0.3)
    images = torch.randint(0, 256, (5, 16, 16, 3), dtype=torch.uint8)
    labels = torch.randint(0, 4, (5, 16, 16), dtype=torch.uint8)

    def draws(whole: int = 0, first: int = 0) -> Draws:
        return Draws(torch.Generator().manual_seed(7), whole, first)

    augment = build_augmentations(config)
    pixels, ids = augment(images, labels, draws())
    for first, end in ((0, 3), (3, 5)):
        part_pixels, part_ids = build_augmentations(config)(
            images[first:end], labels[first:end], draws(5, first)
        )
        assert torch.equal(part_pixels, pixels[first:end])
        assert torch.equal(part_ids, ids[first:end])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"devices": 3, "batch_size": 2}, "devices: 3 cannot share a batch of 2 images"),
        ({"devices": 2, "device": "cuda:1"}, "devices: 2 cannot all be cuda:1"),
        ({"devices": 0}, "devices: '0' is not allowed; it must be auto or a whole number >= 1"),
        ({"devices": "auto", "runtime.compile": "on"}, "runtime.compile: on works with devices=1 only"),
        ({"devices": 4, "executor": "slurm", "slurm.gpus": 2}, "devices: 4 are more than slurm.gpus=2"),
        ({"device": "cuda", "executor": "slurm"}, "slurm.gpus: 0 does not work with device=cuda"),
        ({"slurm.time": "soon"}, "slurm.time: 'soon' is not allowed"),
        ({"slurm.partition": "a; rm"}, "slurm.partition: 'a; rm' is not allowed"),
    ],
)
def test_what_cannot_be_shared_is_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        with_values(RunConfig(), values)
    assert told in str(refusal.value)


def test_more_gpus_than_are_here_are_refused_where_the_run_is_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configs, "cuda_devices", lambda: 2)
    configs.check_hardware(with_values(RunConfig(), {"devices": 2}))
    with pytest.raises(ConfigError, match=r"devices: 4 are asked for; this machine has 2 CUDA devices$"):
        configs.check_hardware(with_values(RunConfig(), {"devices": 4}))
    monkeypatch.setattr(configs, "cuda_devices", lambda: 1)
    with pytest.raises(ConfigError, match=r"this machine has 1 CUDA device$"):
        configs.check_hardware(with_values(RunConfig(), {"devices": 2}))
    monkeypatch.setattr(configs, "cuda_devices", lambda: 2)
    elsewhere = with_values(RunConfig(), {"devices": 4, "executor": "slurm", "slurm.gpus": 4})
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    configs.check_hardware(elsewhere)
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(ConfigError, match="executor: slurm needs a machine with Slurm's commands"):
        configs.check_hardware(elsewhere)


def test_cores_are_those_that_slurm_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    everything = available_cores()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert available_cores() == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "100")
    assert available_cores() == everything


@pytest.fixture
def one_rank(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    store = distributed.FileStore(str(tmp_path / "store"), 1)  # type: ignore[no-untyped-call]
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("one_rank")
def test_ranks_share_gradients_where_they_lie_and_no_statistics() -> None:
    norms = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network = Group(0, 2).share_gradients(norms)
    network(torch.ones(2, 3, 8, 8)).sum().backward()
    gradients = [each.grad for each in norms.parameters()]
    assert all(each is not None and each._base is not None for each in gradients), "views of the buckets"
    assert not network.will_sync_module_buffers()

    norms.register_buffer("code_book", torch.zeros(3))  # whatever else it is, training may read it
    assert Group(0, 2).share_gradients(norms).will_sync_module_buffers()
