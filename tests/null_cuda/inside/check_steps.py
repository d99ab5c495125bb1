"""Training steps and validation of every recipe on a CUDA device: what they launch, wait for and hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import null_cuda
from engine.augment.builtin import AUGMENTATIONS, AugmentSection
from engine.config.keys import with_values
from engine.config.recipes import RECIPES, get_recipe
from engine.inference.ood.score_set import ScoreSet
from engine.inference.ood.scores import sum_by_class
from engine.learning.checkpoint import random_state, restore_random_state, save_checkpoint
from engine.learning.hardware import choose_hardware, settle_arithmetic
from engine.learning.step_graph import TIMED_STEPS, WARM_STEPS, GraphDecision, StepGraph
from engine.run.directory import RunDir
from engine.training import step
from engine.training.probes import fit
from engine.training.probes.steps import random_batch
from engine.training.saving import find_resumption, restore, save
from engine.training.state import TrainState, new_state
from engine.worker.job import Job
from tests.null_cuda.counts import Counts, kernels

LIMITS = {
    "paper-unet": (140, 2.6),
    "paper-modern-unet": (350, 15.8),
    "paper-modern-unet-pt": (690, 15.8),
    "deeplab": (285, 2.0),
    "resnet38": (700, 7.9),
    "street": (650, 2.6),
    "street-fast": (690, 0.5),
    "street-max": (860, 3.7),
    "vltseg": (9470, 18.5),
    "vltseg-tiny": (1610, 0.4),
    "quick": (350, 0.2),
    "quick-modern": (355, 0.3),
}
"""Most kernels, copies and fills of one eager step, and most GiB of its memory beside the data."""

MOST_COMPILED = {"paper-unet": 120, "paper-modern-unet": 109}
"""Most kernels of a compiled step, by the nodes of its graph; of the latter beside its convolutions."""

AUGMENTED = [
    "augment.crop=64x96",
    "augment.scale_min=0.4",
    "augment.scale_max=2",
    "augment.rotate=10",
    "augment.cat_max_ratio=0.75",
    "augment.mosaic=0.5",
    "augment.copy_paste=0.5",
    "augment.classmix=0.5",
    "augment.cutmix=0.5",
    "augment.randaugment=2",
    "augment.brightness=0.2",
    "augment.contrast=0.2",
    "augment.saturation=0.2",
    "augment.hue=0.1",
    "augment.grayscale=0.2",
    "augment.blur=0.5",
    "augment.randconv=0.5",
    "augment.cutout=0.5",
    "augment.mixstyle=0.5",
]
"""Every augmentation there is."""
EVERYTHING = [*AUGMENTED, "optimizer.clip_norm=1"]
MOST_AUGMENTATION = 440
"""Most kernels, copies and fills of all of them together; a little less if no sample draws an operation."""
EVERY_LOSS = [
    "loss.class_weights=enet",
    *(f"loss.{name}=0.5" for name in ("ohem", "dice", "jaccard", "tversky", "focal", "lovasz", "boundary")),
]
OTHER_WAYS = [
    *("optimizer.name=rmsprop", "optimizer.momentum=0.9", "optimizer.clip_norm=1", "optimizer.clip_type=inf"),
    *("batch_norm=frozen_statistics", "ema.decay=0.999", "model.deep_supervision=2"),
]
WAITS = {"vltseg": 3}
"""How often the host waits in a step of a network whose loss asks it, to match."""
PLAIN = {"runtime.compile": "off", "runtime.graph": "off"}


@pytest.fixture(autouse=True, scope="module")
def no_drawn_weights() -> Iterator[None]:
    """Weights are whatever their memory holds: nothing is computed with them, and drawing those of a large
    network takes longer than all its steps."""

    def on_device_alone(draw: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda tensor, *of, **more: draw(tensor, *of, **more) if tensor.is_cuda else tensor

    with pytest.MonkeyPatch.context() as patch:
        for name in ("uniform_", "normal_", "erfinv_"):
            patch.setattr(torch.Tensor, name, on_device_alone(getattr(torch.Tensor, name)))
        yield


def measure(recipe: str, mode: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """`benchmarks.null_cuda.measure` of the shortest epochs in which a step is steady, without times."""
    return null_cuda.measure(recipe, mode, changes, steps_of_epoch=3, roofline=False)


def test_every_recipe_has_a_limit() -> None:
    assert set(LIMITS) == set(RECIPES)


@pytest.mark.parametrize("recipe", list(LIMITS))
def test_a_step_waits_for_nothing_and_keeps_to_its_limit(recipe: str) -> None:
    row = measure(recipe, PLAIN, [])
    work, memory = LIMITS[recipe]
    assert row["step"]["wait"] == WAITS.get(recipe, 0)
    assert row["device_work"] <= work
    assert row["peak_gib"] <= memory


def test_mask2former_with_mixed_styles_has_deterministic_kernels_and_no_graph() -> None:
    changes = ["model.head=mask2former", "augment.mixstyle=0.5", "runtime.deterministic=true"]
    row = measure("vltseg-tiny", {"runtime.compile": "off", "runtime.graph": "on"}, changes)
    assert (row["step"]["graph_launch"], row["step"]["wait"]) == (0, WAITS["vltseg"])
    assert row["device_work"] <= 4000
    assert row["peak_gib"] <= 0.6


@pytest.mark.parametrize(
    "changes",
    [EVERYTHING, ["loss.dice=0.5"], ["runtime.micro_batch=4"], ["precision=fp16"], EVERY_LOSS + OTHER_WAYS],
)
def test_no_option_makes_a_step_wait(changes: Sequence[str]) -> None:
    assert measure("quick", PLAIN, list(changes))["step"]["wait"] == 0


def test_all_augmentations_together_keep_to_their_limit() -> None:
    known = {f"augment.{key}" for key in AugmentSection.model_fields} | {
        f"augment.{key}" for part in AUGMENTATIONS.parts().values() for key in part.keys.model_fields
    }
    of_others = {"augment.copy_paste_area", "augment.randaugment_magnitude", "augment.blur_sigma"}
    of_others |= {"augment.cutout_size", "augment.cutout_labels"}
    of_others |= {"augment.mixstyle_alpha", "augment.mixstyle_layers"}
    on = {change.partition("=")[0] for change in AUGMENTED} | {"augment.flip"}  # which quick has
    assert on == known - of_others
    row = measure("quick", {"runtime.compile": "off", "runtime.graph": "on"}, AUGMENTED)
    assert (row["step"]["graph_launch"], row["step"]["wait"]) == (1, 0)
    assert row["step"]["host_launch"] <= MOST_AUGMENTATION


@pytest.mark.parametrize(
    ("size", "most", "network"),
    [
        (64, 900, ["smp", "decoder=DeepLabV3Plus", "encoder=tu-mobilenetv4_conv_small", "aux=true"]),
        (128, 650, ["smp", "decoder=PAN", "encoder=resnet18"]),
        (64, 360, ["smp", "decoder=PSPNet", "encoder=resnet18"]),
        (64, 1200, ["smp", "decoder=Segformer", "encoder=mit_b0"]),
        (64, 900, ["torchvision", "architecture=lraspp_mobilenet_v3_large"]),
    ],
)
def test_networks_of_others_wait_for_nothing_and_reach_the_graph(
    size: int, most: int, network: Sequence[str]
) -> None:
    changes = [f"data.size={size}x{size}", *(f"model.{key}" for key in [f"name={network[0]}", *network[1:]])]
    row = measure("quick", {"runtime.compile": "off", "runtime.graph": "on"}, changes)
    assert (row["step"]["graph_launch"], row["step"]["wait"]) == (1, 0)
    assert row["device_work"] <= most
    assert row["validation_waits"] == 0


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("quick", ["data.size=32x64", "model.name=deeplab_largefov", "model.width=2"]),
        ("quick", ["data.size=32x64", "model.name=resnet38", "model.variant=a2", "model.layers=16"]),
        ("quick", ["data.size=32x64", "model.name=street_net", "model.encoder=resnet18"]),
        ("vltseg-tiny", ["data.size=28x56"]),
    ],
)
def test_max_pooling_keeps_no_index_of_eight_bytes(recipe: str, changes: Sequence[str]) -> None:
    before = kernels()
    measure(recipe, PLAIN, ["batch_size=2", *changes])
    names = kernels() - before
    assert not [name for name in names if "max_pool" in name], "torch's own"
    assert names["pool_forward_kernel"] >= names["pool_backward_kernel"] > 0


def test_quick_takes_one_launch_of_a_graph_a_step_by_default() -> None:
    row = measure("quick", {}, [])
    assert (row["step"]["graph_launch"], row["step"]["wait"]) == (1, 0)
    assert row["step"]["host_launch"] <= 12, "the batch, its augmentation, the learning rate and the graph"
    assert row["step"]["graph_node"] > 100
    assert row["device_work"] <= LIMITS["quick"][0]


@pytest.mark.parametrize(
    "changes",
    [
        ["precision=fp16", "optimizer.clip_norm=1", "runtime.micro_batch=4"],
        [*EVERY_LOSS, *OTHER_WAYS, "loss.lovasz_per_image=true"],
    ],
)
def test_the_graph_of_a_step_holds_all_that_a_step_may_do(changes: Sequence[str]) -> None:
    row = measure("quick", {"runtime.compile": "off", "runtime.graph": "on"}, list(changes))
    assert (row["step"]["graph_launch"], row["step"]["wait"]) == (1, 0)


@pytest.mark.parametrize(("recipe", "most"), list(MOST_COMPILED.items()))
def test_a_compiled_step_keeps_to_its_limit(recipe: str, most: int) -> None:
    small = (
        ["model.width=4", "data.size=32x32"]
        if recipe == "paper-unet"
        else ["model.hidden=8", "data.size=32x32"]
    )
    row = measure(recipe, {"runtime.compile": "on", "runtime.graph": "on"}, ["batch_size=2", *small])
    assert row["compiled"], "the compiled network was given up"
    assert (row["step"]["graph_launch"], row["step"]["wait"]) == (1, 0)
    beside = row["step"]["cudnn"] if recipe == "paper-modern-unet" else 0
    assert row["step"]["graph_node"] - beside <= most


def test_a_teacher_is_part_of_the_graph_and_waits_for_nothing(tmp_path: Path) -> None:
    config = get_recipe("quick-modern")
    hardware = choose_hardware(with_values(config, {"device": "cpu"}))
    teacher = new_state(config, hardware, [str(index) for index in range(19)])
    identity = {"model_config": config.model.model_dump(mode="json"), "classes": teacher.classes}
    save_checkpoint(tmp_path / "best.pt", {**identity, "epoch": 1, "model": teacher.model.state_dict()})
    changes = [f"distill.from={tmp_path}/best.pt", "distill.temperature=2"]
    for graph in ("off", "on"):
        row = measure("quick", {"runtime.compile": "off", "runtime.graph": graph}, changes)
        assert (row["step"]["graph_launch"], row["step"]["wait"]) == (int(graph == "on"), 0)
    alone = measure("quick", {"runtime.compile": "off", "runtime.graph": "on"}, [])
    assert row["step"]["graph_node"] > 2 * alone["step"]["graph_node"], "both networks"


def test_micro_batches_train_compiled() -> None:
    # Passes of 8 images, as above: what was compiled for them is found again.
    changes = ["batch_size=16", "runtime.micro_batch=8"]
    row = measure("quick", {"runtime.compile": "on", "runtime.graph": "off"}, changes)
    assert row["compiled"], row
    assert row["step"]["graph_launch"] == 0, "a graph would overwrite the outputs of the part before"


def test_a_compiled_step_alone_is_one_launch_of_a_graph_forward_and_one_back() -> None:
    row = measure("quick", {"runtime.compile": "on", "runtime.graph": "off"}, [])
    assert row["step"]["graph_launch"] == 2
    assert row["step"]["wait"] == 0


def small_state(**changes: Any) -> tuple[TrainState, list[GraphDecision]]:
    """A tiny run with `runtime.graph=on` at the first step of an epoch of many, and what it decides."""
    small = {"model.width": 2, "data.size": "32x64", "batch_size": 4, "runtime.compile": "off"}
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    config = with_values(get_recipe("quick"), {**small, "runtime.graph": "on", **changes})
    hardware = choose_hardware(config)
    settle_arithmetic(config, hardware)
    decisions: list[GraphDecision] = []
    state = new_state(config, hardware, ["road", "sky"], on_graph=decisions.append)
    state.begin_epoch(1000)
    return state, decisions


def take_steps(state: TrainState, count: int = 1, images: int = 4) -> Counts:
    """What so many steps of batches of `images` images launch."""
    batch = random_batch(state.config, state.hardware, 2, images)
    before = Counts.now()
    for _ in range(count):
        step.training_step(state, batch, images)
    return Counts.now() - before


def test_a_batch_of_another_size_is_no_replay() -> None:
    state, decisions = small_state()
    assert take_steps(state, WARM_STEPS).graph_launch == 0
    assert take_steps(state).graph_launch == 1
    memory = torch.cuda.memory_allocated()
    assert take_steps(state, images=3).graph_launch == 0
    assert torch.cuda.memory_allocated() <= memory, "gradients of a plain step stay beside those of the graph"
    assert take_steps(state, 2).graph_launch == 2
    assert state.meter.images == 4 * (WARM_STEPS + 3) + 3
    assert state.meter.peak_memory() >= state.graph.held_bytes > 0
    assert [(decision.kept, decision.reason) for decision in decisions] == [(True, "runtime.graph=on")]


def test_epochs_count_into_the_memory_that_the_graph_adds_to() -> None:
    state, _ = small_state()
    take_steps(state, WARM_STEPS + 1)
    counts = state.meter
    state.finish_epoch()
    assert state.meter is counts
    assert (counts.images, counts.loss()) == (0, None)


def test_a_step_that_cannot_be_captured_is_taken_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    really = step.apply_gradients

    def waits_for_the_host(state: TrainState) -> None:
        if torch.cuda.is_current_stream_capturing():
            next(state.model.parameters()).sum().item()
        really(state)

    monkeypatch.setattr(step, "apply_gradients", waits_for_the_host)
    state, decisions = small_state(precision="fp16", optimizer__clip_norm=1.0)
    stream = torch.cuda.current_stream()
    assert take_steps(state, WARM_STEPS + 2).graph_launch == 0
    (decision,) = decisions
    assert (decision.kept, decision.failed) == (False, True)
    assert "operation not permitted when stream is capturing" in decision.reason
    assert state.meter.images == 4 * (WARM_STEPS + 2), "the capture counts for nothing"
    assert torch.cuda.current_stream() == stream
    assert all(torch.isfinite(each).all() for each in state.model.parameters())


def test_too_little_memory_for_a_graph_leaves_steps_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *device: (0, 1))
    state, decisions = small_state()
    assert take_steps(state, WARM_STEPS + 2).graph_launch == 0
    assert [decision.reason for decision in decisions] == [
        "there is too little memory for the steps beside it"
    ]

    def too_large(state: TrainState, *rest: Any) -> Any:
        if torch.cuda.is_current_stream_capturing():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return really(state, *rest)

    really = step.add_gradients
    monkeypatch.setattr(step, "add_gradients", too_large)
    state, decisions = small_state()
    assert take_steps(state, WARM_STEPS + 2).graph_launch == 0
    assert [decision.reason for decision in decisions] == ["there is too little memory for it"]


@pytest.mark.parametrize(("replay", "kept"), [(0.5, True), (0.99, False)])
def test_auto_keeps_a_graph_that_is_faster(
    replay: float, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = WARM_STEPS + TIMED_STEPS
    times = iter([1.0] * steps + [replay] * steps)
    monkeypatch.setattr(StepGraph, "_lap", lambda graph: next(times))
    state, decisions = small_state(runtime__graph="auto")
    take_steps(state, 2 * steps)
    assert [decision.kept for decision in decisions] == [kept]
    assert take_steps(state).graph_launch == kept


def test_a_run_with_a_graph_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    state, _ = small_state()
    take_steps(state, WARM_STEPS + 2)
    job = Job(RunDir(tmp_path), state.config, None, tmp_path)
    job.run.checkpoints.mkdir()
    save(job, state)
    resumption = find_resumption(job.run.checkpoints)
    assert resumption.content is not None
    rates = [group["lr"] for group in resumption.content["optimizer"]["param_groups"]]
    assert all(isinstance(rate, float) for rate in rates), "as it always was, for any device"
    resumed, _ = small_state()
    restore(job, resumed, resumption)
    assert resumed.step == WARM_STEPS + 2
    assert take_steps(resumed, WARM_STEPS).graph_launch == 0
    assert take_steps(resumed).graph_launch == 1


def test_deterministic_training_has_kernels(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: torch.use_deterministic_algorithms(False))
    changes = ["runtime.deterministic=true", "loss.dice=0.5", *EVERYTHING]
    row = measure("quick", {"runtime.compile": "off"}, changes)
    most = LIMITS["quick"][0] + MOST_AUGMENTATION + 50  # the Dice loss
    assert 0 < row["device_work"] < most, "memory that is written anyway is not filled"
    row = measure("quick", {"runtime.compile": "off"}, [*changes, *EVERY_LOSS, *OTHER_WAYS])
    assert row["step"]["wait"] == 0
    assert not row["graph"], "what a measurement decides does not repeat"
    classes, values = torch.zeros(8, dtype=torch.long, device="cuda"), torch.zeros(8, device="cuda").double()
    assert sum_by_class(classes, values, 3).shape == (3,)


def test_a_run_goes_on_where_there_are_fewer_gpus() -> None:
    assert torch.cuda.device_count() == 2
    saved: dict[str, Any] = random_state()
    assert len(saved["cuda"]) == 2
    restore_random_state({**saved, "cuda": [*saved["cuda"], saved["cuda"][0]]})
    restore_random_state({**saved, "cuda": saved["cuda"][:1]})


def test_an_fp16_run_goes_on_with_its_scaling_where_there_are_fewer_gpus(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: torch.use_deterministic_algorithms(False))
    kind: dict[str, Any] = {"precision": "fp16", "optimizer__clip_norm": 1.0, "runtime__deterministic": True}
    state, _ = small_state(**kind)
    take_steps(state, 2)
    job = Job(RunDir(tmp_path), state.config, None, tmp_path)
    job.run.checkpoints.mkdir()
    save(job, state)
    resumption = find_resumption(job.run.checkpoints)
    assert resumption.content is not None
    # The scale is computed on the device, so the file says 0 here; and its run saw one GPU more.
    scaling = {**resumption.content["scaler"], "scale": 1024.0, "_growth_tracker": 7}
    random = resumption.content["random"]
    random = {**random, "cuda": [*random["cuda"], random["cuda"][0]]}
    save_checkpoint(resumption.path, {**resumption.content, "scaler": scaling, "random": random})

    resumed, _ = small_state(**kind)
    restore(job, resumed, find_resumption(job.run.checkpoints))
    assert resumed.step == 2
    assert resumed.scaler.state_dict() == scaling
    assert resumed.scaler.scale(torch.zeros(1, device="cuda")).device.type == "cuda"
    assert take_steps(resumed, WARM_STEPS + 1).graph_launch == 1
    replayed = take_steps(resumed)
    assert (replayed.graph_launch, replayed.wait) == (1, 0)


def test_scores_of_an_image_take_few_launches_and_come_back_at_once() -> None:
    scores, logits = ScoreSet(19), torch.zeros(1, 19, 256, 512, device="cuda")
    scores.fit(logits, torch.zeros(3))
    scores.maps(logits, (1024, 2048))  # uploads the moments once
    torch.cuda.reset_peak_memory_stats()
    before, held = Counts.now(), torch.cuda.memory_allocated()
    scores.maps(logits, (1024, 2048))
    seen = Counts.now() - before
    assert seen.host_launch <= 80
    assert seen.download == 1
    assert torch.cuda.max_memory_allocated() - held < 2**30


@pytest.mark.parametrize(("precision", "tf32"), [("auto", True), ("fp32", False)])
def test_inductor_can_read_whether_tf32_is_allowed(precision: str, tf32: bool) -> None:
    small_state(precision=precision)
    assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
    assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32 is tf32


def test_a_batch_that_fits_is_looked_for_on_the_device_of_the_rank_that_asks() -> None:
    state, _ = small_state()
    weights = sum(each.nbytes for each in state.model.parameters())
    del state
    peaks = []
    for ranks in (1, 2):
        torch.cuda.reset_peak_memory_stats(0)
        torch.cuda.reset_peak_memory_stats(1)
        before = torch.cuda.memory_allocated(0)
        with_one = {"model.width": 2, "data.size": "32x64", "batch_size": 4}
        fit._steps(with_values(get_recipe("quick"), with_one), 3, 2, 4, 0, fit.Among(1, ranks))
        assert torch.cuda.max_memory_allocated(0) <= before
        peaks.append(torch.cuda.max_memory_allocated(1))
    assert peaks[1] - peaks[0] >= weights, "the buckets of gradients"
