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

from engine.learning.distributed import ALONE, Group, made_inside

WARM_STEPS = 3
TIMED_STEPS = 5
WORTH_SECONDS = 300.0
"""With less than this left of the run, autotuning does not compile."""
WORTH_SHARE = 0.02
"""A gain below this share is noise."""
MOST_ARGUMENTS = "combo_kernel_max_num_args", 500
"""Of a kernel that does many small things at once, such as to cast all weights: torch stops at 250, a launch
has room for 4096 bytes."""


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
    `refusal` says why there can be no compiled network, and is empty otherwise. The ranks of a `group` decide
    together: each passes the same full batches and calls `prove`, and no network is kept that one of them
    finds no faster.
    """

    model: nn.Module
    device: torch.device
    mode: str
    on_decision: Callable[[CompileDecision], None]
    graphs: bool = True
    on_change: Callable[[], None] = lambda: None
    group: Group = ALONE
    refusal: str = ""
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
        if self.mode == "off" or (self.mode == "auto" and self.device.type == "cpu"):
            self.settle(
                kept=False,
                reason="runtime.compile=off, or auto on the CPU or with runtime.deterministic=true",
            )
        elif self.refusal:
            self._decide(kept=False, reason=self.refusal)
        elif self.mode == "on":
            self.settle(kept=True, reason="runtime.compile=on")

    def settle(self, kept: bool, reason: str) -> None:
        """Decide without measuring."""
        self._network = self._compile() if kept else self.model
        self.decision = CompileDecision(kept, reason)

    def go_on(self, kept: bool) -> None:
        """Decide as the attempt before did, except for what cannot be compiled where the run goes on, such as
        on the CPU or on several devices."""
        ruled_out = self.decision is not None and not self.decision.kept
        if not (kept and ruled_out):
            self.settle(kept, "as in the attempt before")

    def forward(self, *given: Tensor) -> Any:
        """The outputs for a batch of the network of the moment; one that fails to compile is given up, by
        several ranks together in `prove`."""
        try:
            return self._network(*given)
        except Exception as error:
            if self.group.count > 1 or not self.give_up(error):
                raise
            return self.forward(*given)

    def prove(self, passes: Callable[[], object]) -> None:
        """Have the ranks of a group find out whether the compiled network is able to do `passes`, in which
        they must exchange nothing: if it fails on one of them, all go back to the plain one."""
        reason = ""
        try:
            passes()
        except Exception as error:
            reason = self._reason_against(error)
            if not reason:
                raise
        if reason := self.group.first_word(reason):
            self._decide(False, reason)
        self._proven = self.is_compiled

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
        if reason := self._reason_against(error):
            self._decide(False, reason)
        return bool(reason)

    def _reason_against(self, error: BaseException) -> str:
        """Why an error ends the use of the compiled network; empty where it does not."""
        if not self.is_compiled:
            return ""
        if isinstance(error, torch.OutOfMemoryError):
            return "there is too little memory for it" if self.decision is None else ""
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"torch.compile failed: {line}"

    def start_clock(self) -> None:
        """Time the next step from here on."""
        self._clock = time.perf_counter()

    def step_done(self, steps_left: int, settling: bool = False, full: bool = True) -> None:
        """Count a step of the run; `steps_left` are still to come. Steps that are `settling`, as the graph of
        the whole step is not there yet, only count towards what compiling costs. A smaller batch than a
        `full` one says nothing."""
        if full:
            self._proven = self.is_compiled
        if self.decision is not None:
            return
        if not full:
            self.start_clock()
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
        if self._any_finds(left < WORTH_SECONDS):
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
        if self._any_finds(fast > (1 - WORTH_SHARE) * plain):
            self._decide(False, "it is not faster")
        elif (plain - fast) * steps_left < self._cost():
            self._decide(True, "it is faster, though it will not earn back its start")
        else:
            self._decide(True, "it pays within the run")

    def _any_finds(self, told: bool) -> bool:
        """Whether something is so for any rank: they take the same steps, and time them by clocks of their
        own."""
        return bool(self.group.largest(int(told)))

    def _decide(self, kept: bool, reason: str) -> None:
        if not kept and self.is_compiled:
            self._network = self.model
            self.on_change()
            if self.graphs:
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
    """`model` through torch.compile; on CUDA its steps are replayed as CUDA graphs, as shapes are fixed. What
    shares gradients among ranks stays as it is, around it: torch divides the compiled network by its buckets,
    so that gradients are on their way while others are computed."""
    mode = "reduce-overhead" if device.type == "cuda" and graphs else "default"
    options = _options(mode) if device.type == "cuda" else None
    if options is None:
        return made_inside(model, lambda network: torch.compile(network, mode=mode, dynamic=False))
    return made_inside(model, lambda network: torch.compile(network, options=options, dynamic=False))


def _options(mode: str) -> dict[str, Any] | None:
    """The options of a mode of torch.compile with `MOST_ARGUMENTS`; None where torch has no such option."""
    import torch._inductor

    if MOST_ARGUMENTS[0] not in torch._inductor.list_options():
        return None
    name, most = MOST_ARGUMENTS
    return {**torch._inductor.list_mode_options(mode, dynamic=False), name: most}
