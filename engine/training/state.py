"""All that changes while a run trains."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from engine.augment.functions import Augmentations, build_augmentations
from engine.config.own_losses import refuse_own_loss_without_classes
from engine.config.run_config import RunConfig
from engine.config.step_parts import largest_part
from engine.learning.activation_checkpointing import checkpoint_activations
from engine.learning.batch_norm import SharedStatistics, set_training_mode, settle_batch_norm
from engine.learning.compile_autotune import CompileAutotune, CompileDecision
from engine.learning.distributed import ALONE, Group
from engine.learning.dropout import Dropouts
from engine.learning.hardware import Hardware
from engine.learning.mixstyle import MixStyle
from engine.learning.step_graph import GraphDecision, StepGraph, Work
from engine.learning.weight_average import WeightAverage
from engine.learning.weight_casts import CastAtOnce
from engine.metrics.confusion import ConfusionSum
from engine.metrics.scores import Scores
from engine.models.contract import SegmentationNetwork
from engine.models.registry import build_model
from engine.optimizers.builtin import OPTIMIZERS
from engine.optimizers.groups import build_optimizer, keep_learning_rate_on, keep_learning_rate_on_host
from engine.optimizers.one_launch import OneLaunch
from engine.run.events import Epoch
from engine.schedules import check_schedule
from engine.training.distillation import Teacher
from engine.training.early_stop import EarlyStop
from engine.training.graph_rules import (
    compile_mode,
    compile_refusal,
    graph_refusal,
    keeps_learning_rate_on_device,
)
from engine.training.length import Length, length_of
from engine.training.meter import EpochMeter
from engine.training.objectives import Objective, Part, WithLoss, build_objective, output_channels
from engine.training.own_loss import OwnTerm


@dataclass
class Best:
    """The best validation epoch so far: that of the highest Dice or, without classes, of the lowest loss.

    `weights` is None once they are in best.pt.
    """

    epoch: int
    dice: float | None
    confusion: Tensor | None
    loss: float | None = None
    weights: dict[str, Tensor] | None = None
    average: dict[str, Any] | None = None
    """What a checkpoint has of the average of weights, if there is one."""
    length: dict[str, float] | None = None
    """What a checkpoint has of the length of the run by then."""

    @classmethod
    def of(cls, event: Epoch, meter: EpochMeter) -> Best:
        confusion = None if meter.confusion is None else meter.confusion.state.clone()
        return cls(event.epoch, event.dice, confusion, event.loss)

    @property
    def score(self) -> float | None:
        """Higher is better; None where it is not defined."""
        if self.confusion is not None:
            return self.dice
        return None if self.loss is None else -self.loss

    def beats(self, other: Best | None) -> bool:
        if self.score is None:
            return False
        return other is None or other.score is None or self.score > other.score

    def read(self, classes: int) -> tuple[list[list[int]], Scores]:
        """The confusion matrix [C][C + 1] of that epoch, and its scores."""
        assert self.confusion is not None
        total = ConfusionSum(classes)
        total.state.copy_(self.confusion)
        return total.matrix().tolist(), total.compute()


@dataclass
class TrainState:
    """`epoch` epochs are complete; `step` of `steps` steps of the next are done and counted in `meter`.

    `network` is what trains: the model between what it is shown and its loss, and for a `group` of ranks
    what shares its gradients with the others.
    """

    config: RunConfig
    classes: list[str]
    model: SegmentationNetwork
    network: nn.Module
    optimizer: Optimizer
    scaler: GradScaler
    hardware: Hardware
    augment: Augmentations
    objective: Objective
    meter: EpochMeter
    autotune: CompileAutotune
    graph: StepGraph
    statistics: SharedStatistics
    dropouts: Dropouts
    early_stop: EarlyStop
    length: Length
    group: Group = ALONE
    average: WeightAverage | None = None
    teacher: Teacher | None = None
    own_term: OwnTerm | None = None
    """The loss that the network brings itself, if it brings one."""
    styles: MixStyle | None = None
    epoch: int = 0
    step: int = 0
    steps: int = 0
    lr: float = 0.0
    """The learning rate of the last step."""
    best: Best | None = None
    val_dice: float | None = None
    """Validation Dice of the last epoch that was scored."""
    saved_at: float = field(default_factory=time.monotonic)
    _epochs_begun: float = field(default_factory=time.monotonic)
    _epochs_here: int = 0
    _full_pass: int = 0
    _full_batch: int = 0
    _full_step: bool = False
    _settling: bool = False

    def begin_epoch(self, images: int) -> None:
        """Be ready for the steps of an epoch of `images` images, or of what a budget has left of it."""
        self.length.images = images
        self.steps = math.ceil(self.length.images_after(self.epoch) / self.config.batch_size)
        self._full_batch = min(self.config.batch_size, images)
        self._full_pass = largest_part(self.config, max(1, self.group.place(self._full_batch)[1]))
        set_training_mode(self.model, self.config.batch_norm)

    @property
    def is_proving(self) -> bool:
        """Whether the step is the first full one of a compiled network. All ranks say the same."""
        return self._full_step and self.autotune.is_unproven

    def take_step(self, work: Work, pixels: Tensor, targets: Tensor, images: int) -> Tensor:
        """Do what a step on a global batch of `images` does on the device, `work`, by itself or as a part of
        a CUDA graph; returns what it returns. Only full batches are captured: a graph has one shape."""
        self._full_step = images == self._full_batch
        self._settling = self.graph.is_settling
        if self._full_step:
            return self.graph.step(work, pixels, targets)
        counted = work(pixels, targets)
        if self.graph.is_held:
            self.optimizer.zero_grad(set_to_none=True)  # the graph has gradients of its own
        return counted

    def step_done(self) -> None:
        self.step += 1
        self.meter.held_bytes = self.graph.held_bytes
        self.graph.step_done(self._full_step)
        self.length.step_done()
        left = self.length.steps_left(self.epoch, self.step)
        self.autotune.step_done(left, self._settling or self.graph.is_settling, self._full_step)

    def capture_failed(self, error: BaseException) -> bool:
        """Be as before a capture of the step that broke off with `error`, of which nothing was run. Whether
        another step may do better: a compiled network on trial is given up first."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.scaler.is_enabled():
            self.scaler._per_optimizer_states.clear()  # it notes on the host how far a step has come
        return self.autotune.is_on_trial and self.autotune.give_up(error)

    def averaged(self) -> dict[str, Any] | None:
        """What a checkpoint has of the average of weights."""
        if self.average is None:
            return None
        return {**self.average.state(), "use": self.config.ema.use}

    def validated_weights(self, use: str = "") -> AbstractContextManager[None]:
        """Within it the model has the weights that `use` says, "average" or "raw"; "": those of `ema.use`."""
        average = self.average if (use or self.config.ema.use) == "average" else None
        return nullcontext() if average is None else average.shown()

    def forward(self, pixels: Tensor, targets: Tensor) -> Part:
        """A part of a batch, pixels uint8 [B, H, W, 3], through the network and its loss. Only full passes
        are compiled, as compiling serves one shape, and none before a full step has proven that it works."""
        full = len(pixels) == self._full_pass and (self._full_step or not self.autotune.is_unproven)
        made: Part = (self.autotune.forward if full else self.autotune.model)(pixels, targets)
        return made

    def taught(self, pixels: Tensor, targets: Tensor) -> Tensor | None:
        """What the teacher makes of a batch, logits [B, C, H, W], if there is one."""
        return None if self.teacher is None else self.teacher.logits(self.objective.inputs(pixels, targets))

    def gradients_stay_here(self) -> AbstractContextManager[object]:
        """While more is to be added to a step's gradient, the ranks need not share it."""
        network = self.network
        return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()

    def finish_epoch(self) -> None:
        self.epoch += 1
        self.step = 0
        self.meter.restart()
        self._epochs_here += 1

    def save_is_due(self, seconds: float) -> bool:
        return time.monotonic() - self.saved_at >= seconds

    def is_over(self) -> bool:
        """Whether the run has come to its end: what is left of an epoch is only to be validated."""
        return self.step == 0 and self.is_over_after(self.epoch)

    def is_over_after(self, epoch: int) -> bool:
        """Whether `epoch` complete epochs are all, as the run is no longer or `early_stop` ends it."""
        return self.length.is_over(epoch) or self.early_stop.is_due(epoch)

    def eta(self) -> float | None:
        """Seconds to the end of the run: where it has none of its own, by this attempt's epochs, before its
        first by the rate so far."""
        if (seconds := self.length.seconds_left()) is not None:
            return round(seconds, 1)
        left = self.length.epochs_left(self.epoch, self.step)
        if self._epochs_here:
            done = self._epochs_here + self.step / self.length.steps
            return round(left * (time.monotonic() - self._epochs_begun) / done, 1)
        rate = self.meter.images_per_second
        return round(left * self.length.images / rate, 1) if rate > 0 else None


def new_state(
    config: RunConfig,
    hardware: Hardware,
    classes: list[str],
    on_decision: Callable[[CompileDecision], None] = lambda decision: None,
    group: Group = ALONE,
    on_graph: Callable[[GraphDecision], None] = lambda decision: None,
    teacher: Teacher | None = None,
) -> TrainState:
    """The state before the first step: weights drawn from the config's seed, the same on every rank.

    `on_decision` hears whether torch.compile is worth it, once that has been measured, and `on_graph` whether
    a CUDA graph of the step is.
    """
    check_schedule(config)
    ema = config.ema
    torch.manual_seed(config.seed)
    model = build_model(config.model, output_channels(config, len(classes))).to(hardware.device)
    if config.runtime.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if config.runtime.recompute:
        checkpoint_activations(model)
    statistics = settle_batch_norm(model, config.batch_norm, group)
    dropouts = Dropouts(model, config.batch_size, hardware.device)
    objective = build_objective(config, len(classes))
    at_once = hardware.device.type == "cuda" and hardware.precision != "fp32"
    casting = at_once and _casts_at_once(config, group)
    own_term, weight = None, 1.0
    if model.own_loss is not None:
        refuse_own_loss_without_classes(config)
        own_term = OwnTerm(model.own_loss, config.batch_size, hardware.device)
        weight = config.loss.beside_own
    trained = CastAtOnce(model, hardware.dtype, model.convolves_images) if casting else model
    meter = EpochMeter(len(classes), hardware.device, objective)
    # Of several ranks one may have no image, and its step counts for nothing.
    tally = meter.tally() if group.count == 1 else None
    network = group.share_gradients(WithLoss(trained, objective, weight, teacher is not None, tally))
    optimizer = build_optimizer(config.optimizer, model)
    if keeps_learning_rate_on_device(config, hardware):
        keep_learning_rate_on(optimizer, hardware.device)
    refusal = graph_refusal(config, hardware, group, teacher, model.own_loss is not None)
    graph = StepGraph(hardware.device, config.runtime.graph, refusal, on_graph)
    autotune = CompileAutotune(
        network,
        hardware.device,
        compile_mode(config),
        on_decision,
        graphs=not graph.may_be_used and passes_once(config) and group.count == 1,
        on_change=graph.restart,
        group=group,
        refusal=compile_refusal(config, group),
    )
    state = TrainState(
        config=config,
        classes=classes,
        model=model,
        network=network,
        optimizer=optimizer,
        # fp16 gradients underflow without scaling; bf16 has the range of fp32 and needs none.
        scaler=GradScaler(hardware.device.type, enabled=hardware.precision == "fp16"),
        hardware=hardware,
        augment=build_augmentations(config.augment),
        objective=objective,
        meter=meter,
        autotune=autotune,
        graph=graph,
        statistics=statistics,
        dropouts=dropouts,
        early_stop=EarlyStop(config.early_stop),
        length=length_of(config, group),
        group=group,
        average=WeightAverage(model, ema.decay, ema.warmup) if ema.decay else None,
        teacher=teacher,
        own_term=own_term,
        styles=mixed_styles(config, model, hardware, group),
    )
    graph.on_decision, graph.blame = partial(graph_decided, state, on_graph), state.capture_failed
    if isinstance(optimizer, OneLaunch):
        graph.captured = optimizer.captured
    return state


def mixed_styles(
    config: RunConfig, model: SegmentationNetwork, hardware: Hardware, group: Group
) -> MixStyle | None:
    """What mixes styles of features, if `augment.mixstyle` asks for it. Raises ComponentError."""
    keys, part = config.augment, config.runtime.micro_batch
    if keys.mixstyle == 0:
        return None
    drawn = keys.mixstyle, keys.mixstyle_alpha, keys.mixstyle_numbers
    return MixStyle(model, *drawn, config.batch_size, part, hardware.device, group)


def passes_once(config: RunConfig) -> bool:
    """Whether a step passes through the network once, without micro-batches."""
    return config.runtime.micro_batch in (0, config.batch_size)


def graph_decided(
    state: TrainState, on_graph: Callable[[GraphDecision], None], decision: GraphDecision
) -> None:
    """Without a graph of the step, the compiled network may have its own: there, or when it comes."""
    on_graph(decision)
    if not decision.kept and not OPTIMIZERS.is_built_in(state.config.optimizer.name):
        keep_learning_rate_on_host(state.optimizer)  # one that computes with a number would wait for it
    if (
        not decision.kept
        and state.group.count == 1
        and passes_once(state.config)
        and (decision.failed or not state.autotune.is_compiled)
    ):
        state.autotune.use_graphs()


def _casts_at_once(config: RunConfig, group: Group) -> bool:
    """Whether a step may cast all weights at once: not where ranks share each gradient once it is known, and
    not where blocks are computed again when the weights of the pass are gone."""
    return group.count == 1 and not config.runtime.recompute
