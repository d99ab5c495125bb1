"""Scoring a split at the input size with the network as it stands.

Several ranks take whole batches in turn. Each is then computed as one process alone would compute it, counts
are whole numbers and the sums of the loss are added up in the order of the batches: the scores of the same
weights are the same to the last bit on any number of ranks (on a GPU with runtime.deterministic).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from engine.config.run_config import RunConfig
from engine.data.batches import Batches
from engine.learning.compile_autotune import CompileAutotune
from engine.learning.compiled_passes import CompiledPasses, LogitsOf
from engine.learning.distributed import Group
from engine.learning.hardware import Hardware
from engine.learning.windows import Windows
from engine.metrics.recorded import wants_images
from engine.models.contract import outputs_of
from engine.run.events import Progress
from engine.training.begin import Learning, record_compile_decision
from engine.training.graph_rules import compile_mode
from engine.training.meter import EpochMeter
from engine.training.objectives import Objective
from engine.training.rng import ScoringNoise
from engine.training.state import TrainState
from engine.worker.job import Job


@torch.inference_mode()
def score_split(
    job: Job,
    model: nn.Module,
    objective: Objective,
    batches: Batches,
    images: int,
    classes: int,
    hardware: Hardware,
    epoch: int,
    passes: CompiledPasses | None = None,
) -> EpochMeter:
    """Pass `images` images through `model` in evaluation mode; returns the counts of all ranks together.
    Raises StopRequested between two batches.

    `passes` take full batches through the same model, compiled where that pays: in turns in which each rank
    has one. What is random in the targets belongs to the image: it is the same each time and in any batch.
    """
    group, batch_size = job.group, job.config.validation_batch
    steps = -(-images // batch_size)
    windows = Windows.of(job.config.windowed)
    model.eval()
    apart = images if wants_images() else 0
    meter = EpochMeter(classes, hardware.device, objective, batches=steps, images_apart=apart)
    arriving = iter(batches(group.batches_of(torch.arange(images), batch_size), batch_size))
    for turn in range(0, steps, group.count):
        step = turn + group.rank
        full = (turn + group.count) * batch_size <= images

        def forward(part: Tensor, full: bool = full) -> Tensor:
            return outputs_of(model, part).logits if passes is None else passes.logits(part, full)

        if step < steps:
            batch = next(arriving)
            meter.data_arrived()
            noise = ScoringNoise(job.config.seed, step * batch_size)
            targets = objective.targets(batch.images, batch.labels, noise)
            with hardware.autocast():
                inputs = objective.inputs(batch.images, targets)
                logits = windows.logits(forward, inputs)
            meter.add(objective.sums(logits, targets), logits, targets, batch=step, first=step * batch_size)
        if passes is not None and full:
            passes.batch_done()
        if job.progress_is_due():
            job.report(
                Progress(
                    phase="val",
                    epoch=epoch,
                    step=min(turn + group.count, steps),
                    steps=steps,
                    images_per_second=round(meter.images_per_second * group.count, 3),
                )
            )
        job.check_stop()
    return meter.over(group)


def validation_passes(job: Job, learning: Learning) -> CompiledPasses:
    """What takes the validation batches of a run through its network, as `runtime.compile` says. It has no
    CUDA graphs, whose memory would lie beside that of training."""
    state, group = learning.state, job.group
    autotune = CompileAutotune(
        LogitsOf(state.model),
        learning.hardware.device,
        compile_mode(job.config),
        partial(record_compile_decision, job, of="validation"),
        graphs=False,
        group=group,
    )
    return CompiledPasses(autotune, 0)


def batches_left(config: RunConfig, state: TrainState, images: int, group: Group) -> int:
    """How many full batches each rank has yet to score in a run, the validation after the epoch of the moment
    included."""
    passes = 1 + state.length.epochs_left(state.epoch, state.step) / config.validation.every
    networks = 1 if state.average is None else 2
    return round(passes * networks * (images // (config.validation_batch * group.count)))
