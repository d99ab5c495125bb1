"""A whole training step as one CUDA graph: the host launches it at once instead of each kernel by itself.

A small network's step is over on the device before the host has launched the next one. A graph removes that
limit. It holds what a step does on the device, from the augmented batch to the new weights; the batch and the
learning rate are copied into memory that the graph reads. A replay runs the kernels of a plain step, so
results are the same.

Where the device is the limit a graph gains nothing and its memory is lost to others, so `auto` measures: it
times a few plain steps, captures one, times a few replays and keeps the graph if it is faster.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

WARM_STEPS = 3
"""Plain steps before a capture: they make the optimizer's state and choose cuDNN's algorithms, which a
capture cannot do."""
TIMED_STEPS = 5
WORTH_SHARE = 0.02
"""A gain below this share is noise."""

Work = Callable[[Tensor, Tensor], Tensor]
"""What a step does with augmented images [b, H, W, 3] and targets [b, ...]; gives the sums of its loss."""


@dataclass(frozen=True)
class GraphDecision:
    """Whether the graph is kept. Step times are medians in seconds, 0 where none were measured."""

    kept: bool
    reason: str
    failed: bool = False
    """Whether a capture was tried and failed."""
    plain_step_seconds: float = 0.0
    graph_step_seconds: float = 0.0


@dataclass
class StepGraph:
    """Takes full steps plainly or by replaying a graph of them.

    `mode` is `runtime.graph`. `refusal` says why there can be none, and is empty otherwise. `on_decision` is
    called once, with the decision, except where nobody asked for a graph: with `off`, and with `auto` on the
    CPU. `blame` is asked about a capture that failed; where it returns True it has changed the step, and the
    graph starts anew. `captured` is called after one that did not, before its first replay.
    """

    device: torch.device
    mode: str
    refusal: str
    on_decision: Callable[[GraphDecision], None]
    blame: Callable[[BaseException], bool] = lambda error: False
    captured: Callable[[], None] = lambda: None
    decision: GraphDecision | None = field(default=None, init=False)
    held_bytes: int = field(default=0, init=False)
    """Most bytes that were allocated when the graph was captured; a replay allocates nothing."""
    _graph: torch.cuda.CUDAGraph | None = field(default=None, init=False)
    _static: tuple[Tensor, Tensor, Tensor] | None = field(default=None, init=False)
    """The images and targets that the graph reads, and the sums that it writes."""
    _plain_steps: int = field(default=0, init=False)
    _plain: list[float] = field(default_factory=list, init=False)
    _replayed: list[float] = field(default_factory=list, init=False)
    _clock: float = field(default_factory=time.perf_counter, init=False)

    def __post_init__(self) -> None:
        if self.mode == "off":
            self.decision = GraphDecision(False, "runtime.graph=off")
        elif self.refusal:
            self.decision = GraphDecision(False, self.refusal)
            if self.mode == "on" or self.device.type == "cuda":
                self.on_decision(self.decision)

    @property
    def is_settling(self) -> bool:
        """Whether the steps of the moment are not yet those that the run will take."""
        return self.decision is None or (self.decision.kept and self._graph is None)

    @property
    def may_be_used(self) -> bool:
        """Whether steps are or will be replayed."""
        return self.decision is None or self.decision.kept

    @property
    def is_held(self) -> bool:
        """Whether there is a captured graph at the moment."""
        return self._graph is not None

    def step(self, work: Work, pixels: Tensor, targets: Tensor) -> Tensor:
        """Do `work` on a full batch, plainly or by a replay.

        The sums that it returns are overwritten by the next step. Raises what `work` raises, of a plain step.
        """
        if self._graph is None and self._is_due() and not self._capture(work, pixels, targets):
            return self.step(work, pixels, targets)
        if self._graph is None or self._static is None:
            self._plain_steps += 1
            return work(pixels, targets)
        images, wanted, sums = self._static
        images.copy_(pixels)
        wanted.copy_(targets)
        self._graph.replay()
        return sums

    def step_done(self, full: bool) -> None:
        """Count a step of the run; `full` is one that went through `step`."""
        if self.decision is not None or not full:
            self._clock = time.perf_counter()
            return
        seconds = self._lap()
        laps = self._plain if self._graph is None else self._replayed
        laps.append(seconds)
        if len(self._replayed) == WARM_STEPS + TIMED_STEPS:
            self._judge()

    def restart(self) -> None:
        """Forget the graph, as the step is another one from here on, which is captured once it has run."""
        self._release()
        self._plain_steps = 0
        self._plain.clear()
        self._replayed.clear()

    def _is_due(self) -> bool:
        if not self.may_be_used:
            return False
        timed = 0 if self.mode == "on" or self.decision is not None else TIMED_STEPS
        return self._plain_steps >= WARM_STEPS + timed

    def _capture(self, work: Work, pixels: Tensor, targets: Tensor) -> bool:
        """Capture the step, which runs nothing; False where that failed and plain steps go on."""
        images, wanted = torch.empty_like(pixels), torch.empty_like(targets)
        with torch.cuda.device(self.device):
            torch.cuda.empty_cache()
            before, current = torch.cuda.memory_reserved(), torch.cuda.current_stream()
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            try:
                graph = torch.cuda.CUDAGraph()
                # A thread that loads data may pin memory meanwhile.
                with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                    sums = work(images, wanted)
            except Exception as error:
                torch.cuda.set_stream(current)  # a capture that was broken off leaves its own
                self._failed(error)
                return False
            self.held_bytes = torch.cuda.max_memory_allocated()
            pool, free = torch.cuda.memory_reserved() - before, torch.cuda.mem_get_info()[0]
        if free < pool:
            # Its memory is its own: what is not replayed needs as much again.
            self._decide(False, "there is too little memory for the steps beside it")
            return False
        self.captured()
        self._graph, self._static = graph, (images, wanted, sums)
        if self.mode == "on" and self.decision is None:
            self._decide(True, "runtime.graph=on")
        return True

    def _failed(self, error: BaseException) -> None:
        while error.__context__ is not None:  # ending a broken capture fails, too
            error = error.__context__
        if self.blame(error):
            self.restart()
        elif isinstance(error, torch.OutOfMemoryError):
            self._decide(False, "there is too little memory for it", failed=True)
        else:
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._decide(False, f"the step cannot be captured: {line}", failed=True)

    def _judge(self) -> None:
        plain, replayed = _median(self._plain), _median(self._replayed)
        if replayed > (1 - WORTH_SHARE) * plain:
            self._decide(False, "it is not faster")
        else:
            self._decide(True, "it is faster")

    def _decide(self, kept: bool, reason: str, failed: bool = False) -> None:
        if not kept:
            self._release()
        self.decision = GraphDecision(
            kept, reason, failed, round(_median(self._plain), 6), round(_median(self._replayed), 6)
        )
        self.on_decision(self.decision)

    def _release(self) -> None:
        self._graph = self._static = None
        self.held_bytes = 0
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _lap(self) -> float:
        """Seconds since the last lap, the device's work included."""
        torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        return seconds


def _median(laps: list[float]) -> float:
    return statistics.median(laps[WARM_STEPS:] or [0.0])
