"""Whether the agent starts a run where others are: on a machine of two made-up GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from engine.agent.agent import Agent
from engine.agent.bulletin import Bulletin
from engine.agent.gate import Gate, judge
from engine.agent.settings import Settings
from engine.config.agent import AgentConfig, AgentConfigError, agent_config, load_agent_config
from engine.config.run_config import RunConfig
from engine.host.claims import claim
from engine.host.occupancy import GIB, DeviceState, Held, Holder
from engine.host.patience import Patience
from engine.host.processes import identify
from engine.run.directory import RunCard, RunDir
from engine.store import AgentState, Store
from engine.store.agent_rows import reasons_of
from engine.workspace import Workspace
from tests.conftest import NewDatabase

SLOTS = ("cuda:0", "cuda:1", "cpu")
ANNA, BEN = Holder(4711, 60 * GIB, "anna", "python"), Holder(5, GIB, "ben", "julia")


class Driver:
    """Stands for NVML: what is held of each GPU by its name, None where it does not answer."""

    def __init__(self, **held: Held | None) -> None:
        self.gpus = held
        self.looks = 0

    def held(self, uuid: str) -> Held | None:
        self.looks += 1
        return self.gpus.get(uuid)


def free(total: int = 80, **pids: int) -> Held:
    """A GPU of so many GiB; of `pids`, such as p7=3, process 7 holds 3 GiB."""
    held = {int(pid[1:]): count * GIB for pid, count in pids.items()}
    return Held(total * GIB, total * GIB - sum(held.values()), 0, held)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def names() -> tuple[str, str]:
    """UUIDs of the GPUs, which are this test's own: claims hold for the whole machine."""
    return f"gpu_a_{os.getpid()}", f"gpu_b_{os.getpid()}"


class Box:
    """A gate on a machine of two GPUs."""

    def __init__(self, folder: Path, driver: Driver, said: list[str], uuids: tuple[str, ...]) -> None:
        self.file, self.driver, self.clock = folder / "agent.toml", driver, datetime(2026, 11, 23, 12)
        settings = Settings(folder, {})
        self.gate = Gate(
            folder / "runs",
            SLOTS,
            settings,
            said.append,
            uuids=lambda: uuids,
            nvml=lambda: driver,  # type: ignore[arg-type,return-value]
            now=lambda: self.clock,
        )

    def ask(self, text: str) -> None:
        self.file.write_text(f"[agent]\n{text}\n")

    def step(self, *own: str) -> list[bool]:
        """Which slots are closed to a run that waits; `own` are at work in the first."""
        self.gate.begin(own)
        self.gate._looks.clear()  # as if two seconds had passed
        closed = [
            self.gate.asks and self.gate.is_closed(slot, own if slot == SLOTS[0] else ()) for slot in SLOTS
        ]
        self.gate.end()
        return closed


@pytest.fixture
def driver(names: tuple[str, str]) -> Driver:
    return Driver(**dict.fromkeys(names, free()))


@pytest.fixture
def box(tmp_path: Path, driver: Driver, said: list[str], names: tuple[str, str]) -> Box:
    return Box(tmp_path, driver, said, names)


def test_without_settings_no_device_is_looked_at(box: Box, driver: Driver) -> None:
    assert box.step() == [False, False, False]
    assert driver.looks == 0


def test_a_device_where_somebody_is_stays_closed_until_they_leave(
    box: Box, driver: Driver, names: tuple[str, str]
) -> None:
    box.ask("wait_for_idle = true")
    # Its command line is not there yet while it starts.
    code = "print('here', flush=True); input()"
    sleeper = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert sleeper.stdout is not None
        assert sleeper.stdout.readline() == "here\n"
        driver.gpus[names[0]] = free(**{f"p{sleeper.pid}": 61})
        assert box.step() == [True, False, False]
        (state,) = box.gate.states
        program = Path(sys.executable).name
        user = Holder.of(os.getpid(), 0).user
        assert str(state) == f"cuda:0: 61 of 80 GiB held by {user} ({program}, pid {sleeper.pid})"
    finally:
        sleeper.communicate("\n")
    driver.gpus[names[0]] = free()
    assert box.step() == [False, False, False]
    assert box.gate.states == ()


def test_the_runs_of_this_workspace_are_no_strangers_and_those_of_another_are(
    box: Box, driver: Driver, names: tuple[str, str], tmp_path: Path
) -> None:
    box.ask("wait_for_idle = true")
    code = "input()"
    started = []
    for workspace, run_id in ((tmp_path, "aaaa0000"), (tmp_path / "other", "bbbb0000")):
        folder = workspace / "runs" / run_id
        folder.mkdir(parents=True)
        environment = {**os.environ, "SEG_RUN_FOLDER": str(folder)}
        command = [sys.executable, "-c", code]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, env=environment))
    own, other = started
    try:
        driver.gpus[names[0]] = free(**{f"p{own.pid}": 30})
        assert box.step("aaaa0000") == [False, False, False]
        # One that is not at work there by the database is what a worker has left behind.
        assert box.step() == [True, False, False]
        assert f"(run aaaa0000 of {tmp_path}, pid {own.pid})" in str(box.gate.states[0])
        driver.gpus[names[0]] = free(**{f"p{own.pid}": 30, f"p{other.pid}": 30})
        assert box.step("aaaa0000") == [True, False, False]
        assert f"(run bbbb0000 of {tmp_path / 'other'}, pid {other.pid})" in str(box.gate.states[0])
    finally:
        for process in started:
            process.communicate(b"\n")


def test_a_process_may_call_itself_anything(
    box: Box, driver: Driver, names: tuple[str, str], tmp_path: Path
) -> None:
    box.ask("wait_for_idle = true")
    odd = b"/\xff\n\x1b[31m' OR 1"
    stranger = subprocess.Popen([odd, "-c", "input()"], executable=sys.executable, stdin=subprocess.PIPE)
    try:
        driver.gpus[names[0]] = free(**{f"p{stranger.pid}": 61})
        assert box.step() == [True, False, False]
        with Store(f"sqlite:///{tmp_path / 'experiments.db'}") as store:
            state = AgentState(identify(), devices=box.gate.states)
            store.agents.say(state)
            assert store.agents.living() == [state]
        assert "(\\xff\n\x1b[31m' OR 1, pid" in str(box.gate.states[0]), "made safe where it is shown"
    finally:
        stranger.communicate(b"\n")


@pytest.mark.parametrize(
    ("asked", "held", "mine", "others", "why"),
    [
        ({"wait_for_idle": True}, free(), {}, (), None),
        (
            {"wait_for_idle": True},
            free(p4711=60, p5=1),
            {},
            (ANNA, BEN),
            "61 of 80 GiB held by anna (python, pid 4711) and 1 other",
        ),
        ({"free_memory": 20.0}, free(p4711=60), {}, (ANNA,), None),
        (
            {"free_memory": 20.5},
            free(p4711=60),
            {},
            (ANNA,),
            "20 of 80 GiB are free, agent.free_memory asks for 20.5; "
            "60 of 80 GiB held by anna (python, pid 4711)",
        ),
        # Each run of one's own is reckoned to need as much as is asked for, or what it holds if that is more.
        ({"free_memory": 40.0}, free(p1=2), {"aaaa0000": 2 * GIB}, (), None),
        (
            {"free_memory": 50.0},
            free(p1=2),
            {"aaaa0000": 2 * GIB},
            (),
            "30 of 80 GiB are free beside aaaa0000, agent.free_memory asks for 50",
        ),
        ({"free_memory": 20.0}, free(p1=60), {"aaaa0000": 60 * GIB}, (), None),
        ({"free_memory": 80.0}, free(24), {}, (), "has 24 GiB in all, and agent.free_memory asks for 80"),
        # Memory of nobody in sight: another container's, unless a run of one's own is there.
        (
            {"wait_for_idle": True},
            Held(80 * GIB, 50 * GIB),
            {},
            (),
            "30 of 80 GiB held by processes that cannot be seen from here",
        ),
        ({"wait_for_idle": True}, Held(80 * GIB, 79.5 * GIB), {}, (), None),
        ({"wait_for_idle": True}, Held(80 * GIB, 50 * GIB), {"aaaa0000": 0}, (), None),
        ({"wait_for_idle": True}, Held(80 * GIB, 50 * GIB, drawing={9: None}), {}, (), None),
        (
            {"wait_for_idle": True},
            Held(80 * GIB, 20 * GIB, computing={4711: None}),
            {},
            (Holder(4711, None),),
            "60 of 80 GiB held by process 4711, which cannot be seen from here",
        ),
    ],
)
def test_a_device_is_judged_by_what_is_asked_of_it(
    asked: dict[str, Any], held: Held, mine: dict[str, int], others: tuple[Holder, ...], why: str | None
) -> None:
    state = judge("cuda:0", held, AgentConfig(**asked), mine, others)
    assert (state.waits if state else None) == why


def test_of_two_agents_that_wait_for_a_device_only_one_starts_a_run_there(
    box: Box, driver: Driver, tmp_path: Path, names: tuple[str, str]
) -> None:
    (tmp_path / "other").mkdir()
    neighbour = Box(tmp_path / "other", driver, [], names)
    box.ask("wait_for_idle = true")
    neighbour.ask("wait_for_idle = true")
    box.gate.begin(())
    assert not box.gate.is_closed("cuda:0", ())
    box.gate.started(["cuda:0"], "aaaa0000")
    box.gate.end()
    assert neighbour.step() == [True, False, False]
    assert str(neighbour.gate.states[0]) == "cuda:0: another agent is starting a run there"
    assert box.step("aaaa0000") == [False, False, False], "it is one's own"
    box.gate.begin([])  # the run has ended
    assert neighbour.step() == [False, False, False]


def test_a_claim_ends_with_its_process() -> None:
    name = f"test-{os.getpid()}"
    code = f"from engine.host.claims import claim\nheld = claim({name!r})\nprint(held is not None)\ninput()"
    holder = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    assert claim(name) is None
    holder.kill()
    holder.communicate()
    held = claim(name)
    assert held is not None
    held.close()


def test_a_driver_that_tells_nothing_blocks_nothing_and_is_told_of_once(
    box: Box, driver: Driver, said: list[str], names: tuple[str, str]
) -> None:
    box.ask("wait_for_idle = true")
    driver.gpus[names[1]] = None
    assert box.step() == box.step() == [False, False, False]
    assert said == [
        "agent.free_memory and agent.wait_for_idle have no effect on cuda:1: its driver does not tell who is "
        "there (NVML)"
    ]
    driver.gpus[names[0]] = None  # it did tell before
    assert box.step() == [True, False, False]
    assert str(box.gate.states[0]) == "cuda:0: its driver does not answer"


def test_a_driver_that_hangs_closes_its_gpus_and_not_the_agent(
    box: Box, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box.gate, "_patience", Patience(0.05))
    box.ask("wait_for_idle = true")
    hangs = threading.Event()
    monkeypatch.setattr(driver, "held", lambda uuid: hangs.wait() and free())
    assert box.step() == [True, True, False]
    assert [str(state) for state in box.gate.states] == [
        f"cuda:{index}: its driver does not answer" for index in (0, 1)
    ]
    hangs.set()
    box.gate._patience = Patience(60)
    assert box.step() == [False, False, False]


def test_without_a_gpu_it_is_said_once_that_nothing_can_be_asked_of_one(
    tmp_path: Path, said: list[str]
) -> None:
    (tmp_path / "agent.toml").write_text("[agent]\nfree_memory = 20")
    gate = Gate(tmp_path, ("cpu",), Settings(tmp_path, {}), said.append, uuids=lambda: ())
    for _ in range(2):
        gate.begin(())
        assert not gate.is_closed("cpu", ())
    assert said == ["agent.free_memory and agent.wait_for_idle have no effect: there is no GPU here"]


def test_memory_that_can_never_be_free_is_told_of_at_once(
    box: Box, driver: Driver, said: list[str], names: tuple[str, str]
) -> None:
    driver.gpus[names[1]] = free(24)
    box.ask("free_memory = 30")
    assert box.step() == [False, True, False]
    assert said == ["cuda:1: has 24 GiB in all, and agent.free_memory asks for 30"]


def test_in_quiet_hours_all_slots_are_closed(box: Box) -> None:
    box.ask('quiet_hours = "22:00-07:00"')
    assert box.step() == [False, False, False]
    box.clock = datetime(2026, 11, 23, 22)
    assert box.step() == [True, True, True]
    assert (box.gate.why, box.gate.states) == ("quiet hours until 07:00", ())
    box.clock = datetime(2026, 11, 24, 7)
    assert box.step() == [False, False, False]


def test_settings_are_read_again_when_they_change_and_faulty_ones_close_everything(
    box: Box, said: list[str]
) -> None:
    assert box.step() == [False, False, False]
    box.ask("wait_for_idel = true")
    assert box.step() == [True, True, True]
    why = f"{box.file}:2: agent.wait_for_idel: no such key; did you mean agent.wait_for_idle?"
    assert box.gate.why == f"no run starts until this is corrected: {why}"
    assert said == [f"no run starts until this is corrected: {why}"]
    box.file.unlink()
    assert box.step() == [False, False, False]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "free_memory = -1",
            "agent.free_memory: -1 is not allowed; it must be a number of GiB from 0 to 10000",
        ),
        ("free_memory = true", "agent.free_memory: True is not allowed; it must be a number of GiB"),
        ('free_memory = "80GB"', "agent.free_memory: '80GB' is not allowed; it must be a number of GiB"),
        ("free_memory = nan", "agent.free_memory: nan is not allowed; it must be a number of GiB"),
        ("wait_for_idle = 1", "agent.wait_for_idle: 1 is not allowed; it must be true or false"),
        ("quiet_hours = 22", "agent.quiet_hours: 22 is not allowed; it must be HH:MM-HH:MM"),
        ('quiet_hours = "night"', "agent.quiet_hours: 'night' is not allowed; it must be HH:MM-HH:MM"),
        ("[other]", "other: must be a key in the section [agent]"),
        ("free_memory = ", "is not valid TOML"),
        ("", "is a broken link to "),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_what_can(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(f"[agent]\n{text}\n")
    if not text:
        file.unlink()
        file.symlink_to(tmp_path / "gone")
    with pytest.raises(AgentConfigError) as raised:
        load_agent_config(tmp_path, {})
    assert str(raised.value).startswith(f"{file}:")
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_option_has_its_way_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("[agent]\nfree_memory = 20\nwait_for_idle = true\n")
    config = load_agent_config(tmp_path, {"wait_for_idle": False})
    assert config == AgentConfig(free_memory=20.0)
    with pytest.raises(AgentConfigError, match=r"agent\.quiet_hours: '9-5' is not allowed"):
        agent_config({"quiet_hours": "9-5"})


# ---------------------------------------------------------------------- what front ends read


def test_what_an_agent_says_is_read_by_others_until_it_leaves(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    with Store(new_database(tmp_path)) as store:
        me = identify()
        told: list[str] = []
        bulletin = Bulletin(store, me, told.append)
        bulletin.tell(AgentState(me))
        assert store.agents.living() == []
        device = DeviceState("cuda:0", "61 of 80 GiB held by anna", 80, 19, 97, (ANNA,))
        busy = AgentState(me, devices=(device,))
        bulletin.tell(busy)
        assert store.agents.living() == [busy]
        assert reasons_of(store.agents.living(), "cuda") == ["cuda:0: 61 of 80 GiB held by anna"]
        assert reasons_of(store.agents.living(), "cuda:1") == reasons_of(store.agents.living(), "cpu") == []
        # Numbers alone are not written each time.
        more = replace(device, waits="62 of 80 GiB held by anna", free=18)
        bulletin.tell(AgentState(me, devices=(more,)))
        assert store.agents.living() == [busy]
        quiet = AgentState(me, "quiet hours until 07:00")
        bulletin.tell(quiet)
        assert store.agents.living() == [quiet]
        assert told == ["quiet hours until 07:00"]
        bulletin.withdraw()
        assert store.agents.living() == []


def test_an_agent_that_died_says_nothing_and_one_elsewhere_is_believed_for_a_while(
    new_database: NewDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = identify()
    dead = type(me)(me.host, me.pid, me.start_time + 1, me.boot_id)
    far = type(me)(f"{me.host}-2", 1, 1, "another boot")
    with Store(new_database(tmp_path)) as store:
        store.agents.say(AgentState(dead, "quiet hours until 07:00"))
        assert store.agents.living() == []
        store.agents.say(AgentState(far, "quiet hours until 07:00"))
        assert reasons_of(store.agents.living()) == ["quiet hours until 07:00"]
        store.agents.say(AgentState(me, "quiet hours until 08:00"))
        assert reasons_of(store.agents.living()) == [
            f"{me.host}: quiet hours until 08:00",
            f"{far.host}: quiet hours until 07:00",
        ]
        monkeypatch.setattr("engine.store.agents.TRUST_SECONDS", 0.0)
        assert reasons_of(store.agents.living()) == ["quiet hours until 08:00"]


# ---------------------------------------------------------------------- the agent


def test_a_run_on_two_gpus_waits_until_nobody_is_at_either(
    box: Box, driver: Driver, names: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    box.ask("wait_for_idle = true")
    started: list[tuple[str, str | None]] = []

    def start(run: RunDir, cache: Path, visible: str | None, cores: int) -> subprocess.Popen[bytes]:
        started.append((run.id, visible))
        return subprocess.Popen([sys.executable, "-c", ""])

    monkeypatch.setattr("engine.agent.agent.start_worker", start)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("engine.agent.gate.LOOK_SECONDS", 0.0)
    driver.gpus[names[1]] = free(p4194000=61)
    with workspace.open_store() as store:
        agent = Agent(store, workspace, dict.fromkeys(SLOTS, 1), lambda line: None, gate=box.gate)
        run = workspace.run_dir("aaaa0000")
        card = RunCard(run.id, "wide", "tests", 1.0)
        run.create(card, RunConfig(device="cuda", devices="2"))
        store.lifecycle.create(card, RunConfig(device="cuda", devices="2"))
        agent.step()
        assert started == []
        assert reasons_of(store.agents.living(), "cuda") == [
            "cuda:1: 61 of 80 GiB held by process 4194000, which cannot be seen from here"
        ]
        held = claim(names[0])  # while it waits for the other, it keeps nobody from this one
        assert held is not None
        held.close()
        driver.gpus[names[1]] = free()
        agent.step()
        assert started == [("aaaa0000", "0,1")]
        assert store.agents.living() == []
        assert claim(names[0]) is claim(names[1]) is None
