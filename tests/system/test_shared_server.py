"""Two people's workspaces, agents and screens on one server, which goes away while their runs go on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from textual.message import Message

from engine.agent.workers import kill_worker
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.requests.queueing import make_run
from engine.run.directory import RunCard, RunDir, new_run_id
from engine.run.journal import read_all
from engine.store import Store, StoreError
from engine.workspace import DATABASE_VARIABLE, Workspace
from seg_tui.live import Live, SnapshotTaken, StoreRecovered, StoreTroubled
from tests.postgres import Server
from tests.system.conftest import WAIT_SECONDS, seg, wait_for


@pytest.fixture
def people(tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Workspace]]:
    """Two workspaces on one new database; the workers that a failed test leaves are ended."""
    url = postgres.new_url(empty=True)
    monkeypatch.setenv(DATABASE_VARIABLE, url)
    both = [Workspace(tmp_path / name) for name in ("ana", "ben")]
    for workspace in both:
        workspace.root.mkdir()
    yield both
    for workspace in both:
        for folder in workspace.runs.iterdir() if workspace.runs.is_dir() else ():
            worker = RunDir(folder).read_proc()
            if worker is not None:
                kill_worker(RunDir(folder))
    postgres.drop(url)


def start_agent(workspace: Workspace) -> subprocess.Popen[bytes]:
    command = "from engine.cli.main import main; main()"
    with open(workspace.root / "agent.out", "ab") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-c", command, "--workspace", str(workspace.root)),
                *("agent", "--idle-exit", "2"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def test_runs_of_two_people_end_once_each_though_their_server_was_away(
    people: list[Workspace], postgres: Server, tiny: RunConfig
) -> None:
    config = with_values(tiny, {"device": "cpu", "epochs": 4})
    runs: dict[str, Workspace] = {}
    said: list[Message] = []
    live = Live(people[0], said.append, interval=0.05, look_after=False)
    with ExitStack() as stack:
        ana, ben = [stack.enter_context(workspace.open_store()) for workspace in people]
        for workspace, store in zip(people, (ana, ben), strict=True):
            for number in range(2):
                card = RunCard(new_run_id(), f"{workspace.root.name} {number}", "shared", time.time())
                make_run(workspace, store, card, config)
                runs[card.id] = workspace
        live.start()
        stack.callback(live.stop)
        agents = [start_agent(workspace) for workspace in people]
        for agent in agents:
            stack.callback(agent.kill)
        wait_for(lambda: {run.workspace for run in ana.runs(["epoch>=1"])} == names(people), people[0])

        postgres.stop()
        try:
            with pytest.raises(StoreError, match=r"cannot be reached .* runs go on"):
                ben.runs()
            assert "its server cannot be reached" in seg(people[1], "runs").stderr
            wait_for(lambda: [m for m in said if isinstance(m, StoreTroubled)], people[0])
            for workspace in people:
                log = workspace.root / "agent.out"
                wait_for(lambda log=log: "trouble: postgresql://" in log.read_text(), workspace)  # type: ignore[misc]
        finally:
            postgres.start()

        assert [agent.wait(timeout=WAIT_SECONDS) for agent in agents] == [0, 0]
        wait_for(lambda: [m for m in said if isinstance(m, StoreRecovered)], people[0])
        check_ends(ana, runs)

        def all_seen() -> bool:
            shown = [m.snapshot for m in said if isinstance(m, SnapshotTaken)][-1].runs
            return {run.id: run.status for run in shown.values()} == dict.fromkeys(runs, "finished")

        wait_for(all_seen, people[0])  # one person's screen shows both people's runs


def names(people: list[Workspace]) -> set[str]:
    return {workspace.identity() for workspace in people}


def check_ends(store: Store, runs: dict[str, Workspace]) -> None:
    for row in store.runs():
        workspace = runs[row.id]
        assert (row.status, row.epoch, row.attempt) == ("finished", 4, 1)
        assert row.workspace == workspace.identity()
        curve = [(epoch.epoch, epoch.split) for epoch in store.results.epochs(row.id)]
        assert curve == [(epoch, split) for epoch in range(1, 5) for split in ("train", "val")]
        told = [e.seq for e in read_all(workspace.run_dir(row.id).journal) if e.event != "progress"]
        assert [event.seq for event in store.results.events(row.id)] == told
        others = next(other for other in runs.values() if other != workspace)
        assert not others.run_dir(row.id).path.exists()
