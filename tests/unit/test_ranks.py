"""How ranks share a batch, and how a cluster says what they may use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from engine.augment.builtin import AUGMENTATIONS
from engine.augment.functions import Draws, build_augmentations
from engine.cli import doctor
from engine.config.keys import ConfigError, with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.config.slurm import SlurmConfig
from engine.host.processes import CORES_VARIABLE, available_cores
from engine.learning.compile_autotune import TIMED_STEPS, WARM_STEPS, CompileAutotune, CompileDecision
from engine.learning.compiled_passes import CompiledPasses, LogitsOf
from engine.learning.distributed import Group, made_inside, sharing_nothing
from engine.learning.hardware import choose_hardware
from engine.requests import configs
from engine.training.probes.steps import random_batch
from engine.training.state import TrainState, new_state
from engine.training.step import training_step
from engine.workspace import Workspace

STEPS = WARM_STEPS + TIMED_STEPS
"""Those before and those after compiling that are timed."""


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
        (
            {"devices": "auto", "runtime.compile": "on", "batch_norm": "sync"},
            "runtime.compile: on works with batch_norm=sync on one device;",
        ),
        (
            {"devices": 2, "runtime.compile": "on", "augment.mixstyle": 0.5},
            "runtime.compile: on works with augment.mixstyle on one device;",
        ),
        ({"devices": 4, "executor": "slurm", "slurm.gpus": 2}, "devices: 4 are more than slurm.gpus=2"),
        ({"device": "cuda", "executor": "slurm"}, "slurm.gpus: 0 does not work with device=cuda"),
        ({"slurm.nodes": 2}, "slurm.nodes: 2 needs executor=slurm; it must be 1"),
        (
            {"slurm.nodes": 2, "executor": "slurm", "devices": 3, "batch_size": 4},
            "devices: 3 on each of 2 nodes cannot share a batch of 4 images",
        ),
        ({"slurm.time": "soon"}, "slurm.time: 'soon' is not allowed"),
        ({"executor": "slurm", "slurm.time": "2"}, "slurm.time: 2 is too short for slurm.signal_seconds=120"),
        ({"executor": "slurm", "slurm.time": "2:59"}, "slurm.time: 2:59 is too short"),
        ({"slurm.partition": "a; rm"}, "slurm.partition: 'a; rm' is not allowed"),
        *(
            (
                {"executor": "slurm", "slurm.extra": f"--qos=high {option}"},
                f"slurm.extra: {word} is for the agent",
            )
            for option, word in (("-J mine", "-J"), ("--job-name=mine", "--job-name=mine"), ("-M a,b", "-M"))
        ),
        ({"executor": "slurm", "slurm.extra": "--comment='one"}, "slurm.extra: --comment='one: No closing"),
    ],
)
def test_what_cannot_be_shared_is_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        with_values(RunConfig(), values)
    assert told in str(refusal.value)


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        *(("", 0), ("0", 0), ("90", 5400), ("5:30", 330), ("1:00:30", 3630)),
        *(("1-12", 129_600), ("0-0:30", 1800), ("2-0:00:01", 172_801)),
    ],
)
def test_the_time_of_a_job_is_read_as_slurm_reads_it(time: str, seconds: int) -> None:
    about = SlurmConfig(time=time)
    assert about.seconds == seconds
    assert about.problem(True, "cpu", "1") == ""


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


def test_fp16_is_refused_where_there_is_no_cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    config = with_values(RunConfig(), {"precision": "fp16", "device": "auto"})
    monkeypatch.setattr(configs, "cuda_devices", lambda: 1)
    configs.check_hardware(config)
    monkeypatch.setattr(configs, "cuda_devices", lambda: 0)
    with pytest.raises(ConfigError, match="precision: fp16 needs CUDA, and this machine has no CUDA device"):
        configs.check_hardware(config)
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    configs.check_hardware(with_values(config, {"executor": "slurm"}))


def test_cores_are_those_that_slurm_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    everything = available_cores()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert available_cores() == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "100")
    assert available_cores() == everything


@pytest.mark.parametrize(
    ("files", "cores", "granted"),
    [
        ({"user.slice/user-7.slice/cpu.max": "250000 100000"}, 2, "2.5"),
        (
            {"user.slice/cpu.max": "300000 100000", "user.slice/user-7.slice/a.scope/cpu.max": "max 100000"},
            *(3, "3"),
        ),
        ({"cpu.max": "400000 100000", "user.slice/user-7.slice/a.scope/cpu.max": "50000 100000"}, 1, "0.5"),
        ({"user.slice/user-8.slice/cpu.max": "100000 100000"}, 8, ""),
    ],
)
def test_cores_are_those_that_the_cgroups_around_grant(
    files: dict[str, str], cores: int, granted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {Path("/sys/fs/cgroup", name): f"{text}\n" for name, text in files.items()}
    told[Path("/proc/self/cgroup")] = "0::/user.slice/user-7.slice/a.scope\n"

    def read(path: Path) -> str:
        if path not in told:
            raise FileNotFoundError
        return told[path]

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.delenv(CORES_VARIABLE, raising=False)
    assert available_cores() == cores
    told = next(doctor._processor(Workspace(tmp_path))).found
    limit = f"its cgroup grants time for {granted}, and a run takes {cores} by itself"
    assert told.endswith(limit if granted else "may be used")


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


@pytest.mark.usefixtures("one_rank")
def test_a_compiled_network_shares_the_gradients_of_the_plain_one() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3))
    network = Group(0, 2).share_gradients(plain)
    assert isinstance(network, DistributedDataParallel)
    shared: list[int] = []

    def counting(state: object, bucket: distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
        shared.append(bucket.index())
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    counting.__annotations__.clear()  # which torch would read as types
    network.register_comm_hook(None, counting)  # type: ignore[no-untyped-call]
    compiled = made_inside(network, lambda inside: torch.compile(inside, backend="aot_eager"))
    images, found = torch.randn(2, 3, 8, 8), []
    for forward in (network, compiled):
        network.zero_grad()
        forward(images).square().sum().backward()
        found.append([each.grad.clone() for each in plain.parameters() if each.grad is not None])
    assert len(found[0]) == len(list(plain.parameters()))
    for of_plain, of_compiled in zip(*found, strict=True):
        torch.testing.assert_close(of_compiled, of_plain)
    assert shared == [0, 0]
    with sharing_nothing(network):
        compiled(images).sum().backward()
    assert shared == [0, 0]
    compiled(images).sum().backward()
    assert shared == [0, 0, 0]


@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize("fails", ["nowhere", "here", "elsewhere"])
def test_ranks_use_a_compiled_network_all_or_none(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class OneOfTwo(Group):
        """Whose other rank does the same, unless the compiled network fails there."""

        def first_word(self, own: str) -> str:
            return own or ("torch.compile failed: elsewhere" if fails == "elsewhere" else "")

        def total(self, tensor: torch.Tensor) -> torch.Tensor:
            return tensor

    def compiled(network: nn.Module, *about: object) -> nn.Module:
        def forward(*given: torch.Tensor) -> torch.Tensor:
            passes.append(1)
            if fails == "here":
                raise RuntimeError("no compiler")
            return network(*given)

        return forward

    monkeypatch.setattr("engine.learning.compile_autotune.compiled", compiled)
    values = {"device": "cpu", "batch_size": 4, "data.size": "32x64", "precision": "fp32"}
    config = with_values(get_recipe("quick"), values)
    hardware = choose_hardware(config)
    decisions: list[CompileDecision] = []
    passes: list[int] = []

    def trained(mode: str) -> TrainState:
        group, changed = OneOfTwo(0, 2), with_values(config, {"runtime.compile": mode})
        state = new_state(changed, hardware, ["road", "sky"], decisions.append, group)
        state.begin_epoch(8)
        torch.manual_seed(1)
        batch = random_batch(changed, hardware, 2, 2)
        training_step(state, batch, 4, group)
        training_step(state, batch, 4, group)
        return state

    plain, with_compiled = trained("off"), trained("on")
    for left, right in zip(
        plain.model.state_dict().values(), with_compiled.model.state_dict().values(), strict=True
    ):
        assert torch.equal(left, right), "a pass that only tries counts for nothing"
    assert plain.meter.matrix().tolist() == with_compiled.meter.matrix().tolist()
    assert with_compiled.autotune.is_compiled == (fails == "nowhere")
    told = {"nowhere": [], "here": ["no compiler"], "elsewhere": ["elsewhere"]}[fails]
    assert [decision.reason for decision in decisions] == [f"torch.compile failed: {each}" for each in told]
    assert len(passes) == (3 if fails == "nowhere" else 1)


@pytest.mark.parametrize("fails", [False, True])
def test_ranks_validate_with_a_compiled_network_all_or_none(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OneOfTwo(Group):
        def first_word(self, own: str) -> str:
            return own or ("torch.compile failed: elsewhere" if fails else "")

        def largest(self, number: int) -> int:
            return number

    times = iter([1.0] * STEPS + [0.5] * STEPS)
    monkeypatch.setattr(CompileAutotune, "_lap", lambda autotune: next(times))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr("engine.learning.compile_autotune.compiled", lambda *about: lambda images: 2 * images)
    decisions: list[CompileDecision] = []
    autotune = CompileAutotune(
        LogitsOf(nn.Identity()),
        torch.device("cuda"),
        "auto",
        decisions.append,
        graphs=False,
        group=OneOfTwo(1, 2),
    )
    passes, batch = CompiledPasses(autotune, 10_000), torch.ones(2, 3, 4, 4)
    for _ in range(2 * STEPS):
        passes.logits(batch)
        passes.batch_done()
    assert float(passes.logits(batch).mean()) == (1 if fails else 2)
    assert float(passes.logits(batch, full=False).mean()) == 1
    (decision,) = decisions
    assert decision.kept is not fails
    assert decision.reason == ("torch.compile failed: elsewhere" if fails else "it pays within the run")
