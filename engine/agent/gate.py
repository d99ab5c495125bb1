"""Whether a run may start on a device of this machine now: what others do there, and the hour.

A device is looked at only while a run waits for it and something is asked, in `seg.toml` or by the options of
`seg-engine agent`. Two agents that wait for one device must not both find it idle, as it takes seconds
until the driver shows a new worker. So a device is claimed on this machine before the last look, and until
its worker is seen there.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from engine.agent.settings import Settings
from engine.agent.workers import folder_of
from engine.config.agent import AgentConfig
from engine.host.claims import claim
from engine.host.cuda_driver import device_uuids
from engine.host.load import Nvml
from engine.host.occupancy import (
    GIB,
    MPS_SERVER,
    DeviceState,
    Held,
    Holder,
    gib,
    sorted_holders,
    who_holds,
)
from engine.host.patience import Patience

LOOK_SECONDS = 2.0
"""How often a device is looked at that was found taken."""

STARTING_SECONDS = 120.0
"""How long a worker may take until it is seen on its device."""

ANSWER_SECONDS = 2.0
"""How long a driver may take to answer. One whose device hangs must not keep the agent from other work."""

NO_ANSWER = "its driver does not answer"
ASKS = "agent.free_memory and agent.wait_for_idle"

Say = Callable[[str], None]


@dataclass
class _Starting:
    """The claim of a device for runs whose workers are coming up, since a monotonic time."""

    claim: socket.socket
    runs: set[str]
    since: float


class Gate:
    """Says of each slot whether it is closed; `why` and `states` say for what reason. `runs` is the folder of
    the workspace's runs."""

    def __init__(
        self,
        runs: Path,
        slots: Collection[str],
        settings: Settings,
        say: Say,
        uuids: Callable[[], tuple[str, ...]] = device_uuids,
        nvml: Callable[[], Nvml] = lambda: Nvml(()),
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.settings = settings
        self._runs, self._say, self._make_nvml, self._now = runs, say, nvml, now
        self._gpus = [slot for slot in slots if slot != "cpu"]
        self._uuids = dict(zip(self._gpus, uuids() if self._gpus else (), strict=False))
        self._nvml: Nvml | None = None
        self._patience: Patience[Held | None] = Patience(ANSWER_SECONDS)
        self._answered: set[str] = set()
        self.said: set[str] = set()
        self._looks: dict[str, tuple[float, DeviceState]] = {}
        self._wanted: set[str] = set()
        self._claims: dict[str, socket.socket] = {}
        self._starting: dict[str, _Starting] = {}
        self._why = ""

    # ------------------------------------------------------------------ a step of the agent

    def begin(self, at_work: Collection[str]) -> None:
        """A new step; `at_work` are the runs of this workspace that have not ended."""
        self._wanted.clear()
        if self.settings.refresh():
            self._looks.clear()
            self._say_what_cannot_be()
        quiet_until = self._config.quiet.until(self._now())
        self._why = f"quiet hours until {quiet_until}" if quiet_until else ""
        if self.settings.fault:
            self._why = self._of_fault
        for slot in list(self._starting):
            self._give_back_if_seen(slot, at_work)

    @property
    def asks(self) -> bool:
        """Whether a slot may be closed at all now."""
        return bool(self._why) or self._config.asks_of_gpus

    def is_closed(self, slot: str, own: Collection[str]) -> bool:
        """Whether no run may start in a slot that a run waits for. `own` are the runs of this workspace that
        are at work there."""
        self._wanted.add(slot)
        if self._why:
            return True
        if slot == "cpu" or not self._config.asks_of_gpus:
            return False
        seen = self._looks.get(slot)
        if seen is not None and time.monotonic() - seen[0] < LOOK_SECONDS:
            return True
        state = self._look(slot, own) or self._claim(slot) or self._look(slot, own)
        if state is None:
            self._looks.pop(slot, None)
            return False
        self._looks[slot] = time.monotonic(), state
        self._give_back(slot)
        return True

    def started(self, slots: Collection[str], run_id: str) -> None:
        """A worker was started in these slots. Without one's own wish the claim is for others' sake."""
        for slot in slots:
            if slot not in self._uuids:
                continue
            held = self._claims.pop(slot, None)
            if slot in self._starting:
                self._starting[slot].runs.add(run_id)
            elif held := held or claim(self._uuids[slot]):
                self._starting[slot] = _Starting(held, {run_id}, time.monotonic())

    def end(self) -> None:
        """The step is over: what was claimed and not used is given back."""
        for slot in list(self._claims):
            self._give_back(slot)

    @property
    def why(self) -> str:
        """Why all slots are closed to a run that waits; "" when they are not."""
        return self._why if self._wanted else ""

    @property
    def states(self) -> tuple[DeviceState, ...]:
        """The closed devices that a run waits for."""
        wanted = sorted(self._wanted & self._looks.keys(), key=lambda slot: (len(slot), slot))
        return () if self._why else tuple(self._looks[slot][1] for slot in wanted)

    # ------------------------------------------------------------------ looking

    @property
    def _config(self) -> AgentConfig:
        return self.settings.config

    def _held(self, slot: str) -> Held | None:
        """None where the driver tells nothing. Raises TimeoutError where it does not answer."""
        if slot not in self._uuids:
            return None
        held = self._patience.ask(lambda: self._ask(self._uuids[slot]))
        if held is not None:
            self._answered.add(slot)
        return held

    def _ask(self, uuid: str) -> Held | None:
        if self._nvml is None:
            self._nvml = self._make_nvml()
        return self._nvml.held(uuid)

    def _look(self, slot: str, own: Collection[str]) -> DeviceState | None:
        """Why no run may start on a GPU; None when one may."""
        try:
            held = self._held(slot)
        except TimeoutError:
            return DeviceState(slot, NO_ANSWER)
        if held is not None:
            return judge(slot, held, self._config, *self._told_apart(held, own))
        if slot in self._answered:
            return DeviceState(slot, NO_ANSWER)
        self._say_once(f"{ASKS} have no effect on {slot}: its driver does not tell who is there (NVML)")
        return None

    def _told_apart(self, held: Held, own: Collection[str]) -> tuple[dict[str, int], tuple[Holder, ...]]:
        """Bytes by run of those of `own`, and the processes of others."""
        mine = dict.fromkeys(own, 0)
        others = []
        for pid, count in held.computing.items():
            folder = folder_of(pid)
            if folder is not None and folder.name in mine and self._is_here(folder):
                mine[folder.name] += count or 0
                continue
            name = f"run {folder.name} of {folder.parent.parent}" if folder is not None else ""
            holder = Holder.of(pid, count, name)
            if not holder.program.startswith(MPS_SERVER):
                others.append(holder)
        return mine, sorted_holders(others)

    def _is_here(self, folder: Path) -> bool:
        try:
            return folder.is_absolute() and folder.parent.samefile(self._runs)
        except (OSError, ValueError):
            return False

    def _say_what_cannot_be(self) -> None:
        """Tell of what is wrong with settings that were read just now."""
        self.said.discard(self._of_fault)
        if self.settings.fault:
            self._say_once(self._of_fault)
        elif self._config.asks_of_gpus and not self._gpus:
            self._say_once(f"{ASKS} have no effect: there is no GPU here")
        for slot, most in self.too_small().items():
            self._say_once(f"{slot}: {too_small(most, self._config)}")

    @property
    def _of_fault(self) -> str:
        return f"no run starts until this is corrected: {self.settings.fault}"

    def too_small(self) -> dict[str, int]:
        """The GPUs that can never have as much free memory as is asked for, and the bytes they have."""
        if not self._config.free_memory:
            return {}
        totals = {}
        for slot in self._gpus:
            with contextlib.suppress(TimeoutError):
                if (held := self._held(slot)) is not None:
                    totals[slot] = held.total
        return {slot: most for slot, most in totals.items() if most < self._config.free_memory * GIB}

    def _say_once(self, line: str) -> None:
        """`said` has what the log has been told of by this gate."""
        if line not in self.said:
            self.said.add(line)
            self._say(line)

    # ------------------------------------------------------------------ claims

    def _claim(self, slot: str) -> DeviceState | None:
        """Keep other agents of this machine from a GPU; says so when one of them has it."""
        if slot not in self._uuids or slot in self._claims or slot in self._starting:
            return None
        held = claim(self._uuids[slot])
        if held is None:
            return DeviceState(slot, "another agent is starting a run there")
        self._claims[slot] = held
        return None

    def _give_back(self, slot: str) -> None:
        if slot in self._claims:
            self._claims.pop(slot).close()

    def _give_back_if_seen(self, slot: str, at_work: Collection[str]) -> None:
        starting, now = self._starting[slot], time.monotonic()
        starting.runs &= set(at_work)
        if self._config.asks_of_gpus and starting.runs:
            with contextlib.suppress(TimeoutError):
                held = self._held(slot)
                pids = held.computing if held is not None else ()
                starting.runs -= {folder.name for pid in pids if (folder := folder_of(pid))}
        if not starting.runs or now - starting.since > STARTING_SECONDS:
            starting.claim.close()
            del self._starting[slot]


def judge(
    slot: str, held: Held, config: AgentConfig, mine: Mapping[str, int], others: tuple[Holder, ...]
) -> DeviceState | None:
    """Why no run may start on a device of which so much is held; None when one may.

    `mine` has the bytes that each run of this workspace holds there. It is reckoned to take at least as much
    as is asked for each, as it may just be starting. With such a run there, memory that nobody in sight holds
    may be its own, as in a container.
    """
    asked = config.free_memory * GIB
    kept = sum(max(0.0, asked - count) for count in mine.values())
    free = max(0.0, held.free - kept)
    taken = bool(others) or (not mine and held.unnamed > 0)
    why = ""
    if asked > held.total:
        why = too_small(held.total, config)
    elif config.wait_for_idle and taken:
        why = who_holds(held, others)
    elif free < asked:
        beside = f" beside {', '.join(sorted(mine))}" if kept else ""
        why = (
            f"{gib(free)} of {gib(held.total)} GiB are free{beside}, agent.free_memory asks for {gib(asked)}"
        )
        why += f"; {who_holds(held, others)}" if taken else ""
    return DeviceState(slot, why, held.total, held.free, held.utilisation, others) if why else None


def too_small(total: int, config: AgentConfig) -> str:
    return f"has {gib(total)} GiB in all, and agent.free_memory asks for {gib(config.free_memory * GIB)}"
