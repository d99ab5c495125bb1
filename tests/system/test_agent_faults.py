"""A fleet of real runs while agents, workers and readers are killed at random: nothing is lost or doubled.

SEG_KILLS says how many kills (SEG_KILLS=200 takes minutes), SEG_PAUSE how many seconds lie between two at
most, SEG_SEED which schedule; they are printed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import torch

from engine.agent.check import check as compare
from engine.agent.executors.local import is_held
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.host.processes import ProcessIdentity, is_alive
from engine.requests.lifecycle import stop
from engine.run.directory import RunCard, RunDir, new_run_id
from engine.run.journal import read_all
from engine.store import Store
from engine.workspace import Workspace

KILLS = int(os.environ.get("SEG_KILLS", "12"))
SEED = int(os.environ.get("SEG_SEED", str(random.SystemRandom().randrange(10**6))))
PAUSE = float(os.environ.get("SEG_PAUSE", "1.0"))
RUNS = 3
SLOTS = 2
WAIT_SECONDS = 240 + (10 + PAUSE) * KILLS


class Fleet:
    """The processes that the schedule starts and kills."""

    def __init__(self, workspace: Workspace, store: Store, runs: list[RunDir]) -> None:
        self.workspace, self.store, self.runs = workspace, store, runs
        self.kills: Counter[str] = Counter()
        self.agent = self.start("agent", "--slots", str(SLOTS))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with open(self.workspace.root / "said.txt", "ab") as said:
            return subprocess.Popen(
                [
                    *(sys.executable, "-c", "from engine.cli.main import main; main()"),
                    *("--workspace", str(self.workspace.root), *arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )

    def workers(self) -> list[ProcessIdentity]:
        processes = [run.read_proc() for run in self.runs]
        return [process for process in processes if process is not None and is_alive(process)]

    def kill_agent(self) -> None:
        self.agent.kill()
        self.agent.wait()
        self.kills["agent"] += 1
        self.agent = self.start("agent", "--slots", str(SLOTS))

    def kill_reader(self, after: float) -> None:
        reader = self.start("runs", "--json")
        time.sleep(after)
        reader.kill()
        reader.wait()
        self.kills["reader"] += 1

    def kill_worker(self, chance: random.Random) -> None:
        workers = self.workers()
        if workers:
            number = chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGUSR2))
            os.kill(chance.choice(workers).pid, number)
            self.kills["worker" if number == signal.SIGKILL else "preempted"] += 1

    def queue_the_fallen(self) -> None:
        for run in self.runs:
            if self.store.run(run.id).status in ("failed", "lost", "stopped") and not is_held(run):
                self.store.lifecycle.set_status(run.id, "queued", expect=("failed", "lost", "stopped"))


def test_nothing_is_lost_or_doubled_under_random_kills(workspace: Workspace, tiny: RunConfig) -> None:
    print(f"SEG_SEED={SEED} SEG_KILLS={KILLS} SEG_PAUSE={PAUSE:g}")
    chance = random.Random(SEED)
    workspace.root.mkdir()
    with workspace.open_store() as store:
        runs = queue_runs(workspace, store, with_values(tiny, {"epochs": 20000, "device": "cpu"}))
        fleet = Fleet(workspace, store, runs)
        deadline = time.monotonic() + WAIT_SECONDS
        try:
            while fleet.kills.total() < KILLS:
                assert time.monotonic() < deadline, (workspace.root / "said.txt").read_text()
                match chance.randrange(4):
                    case 0:
                        fleet.kill_agent()
                    case 1:
                        fleet.kill_worker(chance)
                    case _:
                        fleet.kill_reader(chance.uniform(0.0, 0.6))
                time.sleep(chance.uniform(0.0, PAUSE))
                fleet.queue_the_fallen()
            stop(workspace, store, [row for row in store.runs() if not row.ended or row.cause == "preempted"])
            # The last word is written before the process is gone.
            while any(is_held(run) or not store.run(run.id).ended for run in runs):
                assert time.monotonic() < deadline, (workspace.root / "said.txt").read_text()
                time.sleep(0.1)
        finally:
            fleet.agent.terminate()
            fleet.agent.wait()
            for process in fleet.workers():
                os.killpg(process.pid, signal.SIGKILL)
        events = sum(check(store, run) for run in runs)
        print(f"{fleet.kills.total()} kills {dict(fleet.kills)}, {events} events, none lost, none doubled")
        left = compare(store, workspace).differences
        assert not left, left


def queue_runs(workspace: Workspace, store: Store, config: RunConfig) -> list[RunDir]:
    runs = [workspace.run_dir(new_run_id()) for _ in range(RUNS)]
    for run in runs:
        card = RunCard(run.id, "a test", "fleet", time.time())
        run.create(card, config)
        store.lifecycle.create(card, config)
    return runs


def check(store: Store, run: RunDir) -> int:
    """Compare a run's journal with the database and load each of its files; returns its events."""
    row = store.run(run.id)
    journal = read_all(run.journal)
    assert [event.seq for event in journal] == list(range(len(journal)))
    kept = [event for event in journal if event.event != "progress"]
    assert [event.seq for event in store.results.events(run.id)] == [event.seq for event in kept]
    assert row.journal_offset == run.journal.stat().st_size if journal else row.journal_offset == 0
    assert row.status in ("stopped", "failed")
    process = run.read_proc()
    assert process is None or not is_alive(process)
    for split in ("train", "val"):
        epochs = [epoch.epoch for epoch in store.results.epochs(run.id, split)]
        assert epochs == list(range(1, len(epochs) + 1))
    for path in run.checkpoints.glob("*.pt"):
        torch.load(path, map_location="cpu", weights_only=True)
    for path in (run.config_file, run.card_file):
        json.loads(path.read_bytes())
    return len(journal)
