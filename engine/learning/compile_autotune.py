"""Whether torch.compile pays: measured on the run's own steps, kept only when it does.

Compiling takes a minute or more and makes the steps that follow somewhat faster. Nobody knows by how much
before it was measured, so `auto` measures: it times a few steps as they are, compiles, times a few more, and
keeps what saves time within what is left of the run. On the CPU `auto` leaves it: it gains little there and
the choice of kernels, hence the last bits, would depend on a measurement.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

WARM_STEPS = 3
TIMED_STEPS = 5
WORTH_SECONDS = 300.0
"""With less than this left of the run, autotuning does not compile."""
WORTH_SHARE = 0.02
"""A gain below this share is noise."""


@dataclass(frozen=True)
class CompileDecision:
    """Whether the compiled network is kept. Step times are medians in seconds, 0 where none were measured."""

    kept: bool
    reason: str
    compile_seconds: float = 0.0
    plain_step_seconds: float = 0.0
    compiled_step_seconds: float = 0.0


@dataclass
class CompileAutotune:
    """Chooses between a network and its compiled self while the steps go on.

    `mode` is `runtime.compile`. Call the network through `forward`, for batches of the full size, and
    `step_done` after each step. `on_decision` is called once, with the decision. `graphs` says whether the
    compiled network may be replayed as CUDA graphs of its own: not where a step passes through it several
    times before its gradients are used, as a graph that is replayed overwrites the outputs of its last
    replay, and not within a graph of the whole step. `on_change` is called when another network takes over.
    """

    model: nn.Module
    device: torch.device
    mode: str
    on_decision: Callable[[CompileDecision], None]
    graphs: bool = True
    on_change: Callable[[], None] = lambda: None
    decision: CompileDecision | None = field(default=None, init=False)
    _network: Callable[..., Any] = field(init=False)
    _plain: list[float] = field(default_factory=list, init=False)
    _compiled: list[float] = field(default_factory=list, init=False)
    _settling: list[float] = field(default_factory=list, init=False)
    _clock: float = field(default=0.0, init=False)
    _proven: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._network = self.model
        self._clock = time.perf_counter()
        if self.mode == "on":
            self.settle(kept=True, reason="runtime.compile=on")
        elif self.mode == "off" or self.device.type == "cpu":
            self.settle(
                kept=False,
                reason="runtime.compile=off, or auto on the CPU or with runtime.deterministic=true",
            )

    def settle(self, kept: bool, reason: str) -> None:
        """Decide without measuring."""
        self._network = self._compile() if kept else self.model
        self.decision = CompileDecision(kept, reason)

    def forward(self, *given: Tensor) -> Any:
        """The outputs for a batch of the network of the moment; one that fails to compile is given up."""
        try:
            return self._network(*given)
        except Exception as error:
            if not self.give_up(error):
                raise
            return self.forward(*given)

    def use_graphs(self) -> None:
        """Let the compiled network have CUDA graphs of its own from here on."""
        if not self.graphs and self.is_compiled:
            self._network, self._proven = compiled(self.model, self.device, graphs=True), False
        self.graphs = True

    @property
    def is_compiled(self) -> bool:
        """Whether the compiled network is in use."""
        return self._network is not self.model

    @property
    def is_on_trial(self) -> bool:
        """Whether the compiled network is in use and not yet kept."""
        return self.is_compiled and self.decision is None

    @property
    def is_unproven(self) -> bool:
        """Whether a compiled network is in use that has not done a whole step yet, backward pass included."""
        return self.is_compiled and not self._proven

    def give_up(self, error: BaseException) -> bool:
        """Go back to the plain network because of an error; False where it is not compiling that fails.

        Compiling needs memory of its own, which counts against it while it is measured. Once it is in use,
        too little memory is the run's own trouble.
        """
        if not self.is_compiled:
            return False
        if isinstance(error, torch.OutOfMemoryError):
            if self.decision is not None:
                return False
            self._decide(False, "there is too little memory for it")
        else:
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._decide(False, f"torch.compile failed: {line}")
        return True

    def step_done(self, steps_left: int, settling: bool = False) -> None:
        """Count a step of the run; `steps_left` are still to come. Steps that are `settling`, as the graph of
        the whole step is not there yet, only count towards what compiling costs."""
        self._proven = self.is_compiled
        if self.decision is not None:
            return
        seconds = self._lap()
        if settling:
            if self.is_compiled:
                self._settling.append(seconds)
        elif not self.is_compiled:
            self._plain.append(seconds)
            if len(self._plain) == WARM_STEPS + TIMED_STEPS:
                self._start(steps_left)
        else:
            self._compiled.append(seconds)
            if len(self._compiled) == WARM_STEPS + TIMED_STEPS:
                self._judge(steps_left)

    def _start(self, steps_left: int) -> None:
        left = steps_left * self._plain_median()
        if left < WORTH_SECONDS:
            self._decide(False, f"only {left:.0f} s are left of the run")
            return
        self._network = self._compile()
        self.on_change()

    def _compile(self) -> Callable[..., Any]:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # blocks of the steps so far would lie idle beside those of the graphs
        return compiled(self.model, self.device, self.graphs)

    def _judge(self, steps_left: int) -> None:
        plain, fast = self._plain_median(), self._compiled_median()
        if fast > (1 - WORTH_SHARE) * plain:
            self._decide(False, "it is not faster")
        elif (plain - fast) * steps_left < self._cost():
            self._decide(True, "it is faster, though it will not earn back its start")
        else:
            self._decide(True, "it pays within the run")

    def _decide(self, kept: bool, reason: str) -> None:
        if not kept and self.is_compiled:
            self._network = self.model
            self.on_change()
            torch.compiler.reset()  # it would keep the memory of its graphs
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        self.decision = CompileDecision(
            kept=kept,
            reason=reason,
            compile_seconds=round(self._cost(), 3),
            plain_step_seconds=round(self._plain_median(), 6),
            compiled_step_seconds=round(self._compiled_median(), 6),
        )
        self.on_decision(self.decision)

    def _cost(self) -> float:
        """Seconds that the first compiled steps took beyond what they take later."""
        first = self._settling + self._compiled[:WARM_STEPS]
        return max(0.0, sum(first) - len(first) * self._compiled_median())

    def _plain_median(self) -> float:
        return statistics.median(self._plain[WARM_STEPS:] or [0.0])

    def _compiled_median(self) -> float:
        return statistics.median(self._compiled[WARM_STEPS:] or [0.0])

    def _lap(self) -> float:
        """Seconds since the last lap, the device's work included."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        return seconds


def compiled(model: nn.Module, device: torch.device, graphs: bool = True) -> Callable[..., Any]:
    """`model` through torch.compile; on CUDA its steps are replayed as CUDA graphs, as shapes are fixed."""
    mode = "reduce-overhead" if device.type == "cuda" and graphs else "default"
    network: Callable[..., Any] = torch.compile(model, mode=mode, dynamic=False)
    return network
