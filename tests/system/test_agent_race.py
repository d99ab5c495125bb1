"""Eight processes claim from one queue: nothing is taken twice, and nothing is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from engine.config.run_config import RunConfig
from engine.host.processes import identify
from engine.run.directory import RunCard
from engine.store import Store
from engine.store.schema import runs
from tests.conftest import NewDatabase
from tests.warm import OF_A_TEST

CLAIMERS = 8
RUNS = {"sqlite": 600, "postgresql": 160}

# The claimers are forks of one process that has no connection yet; each tells its pid and the runs it got.
CLAIMER = (
    OF_A_TEST
    + """
import multiprocessing, os, sys
from engine.host.processes import identify
from engine.store import Store

url, count = sys.argv[1], int(sys.argv[2])
fork = multiprocessing.get_context("fork")
together, one_at_a_time = fork.Barrier(count), fork.Lock()

def claim():
    with Store(url, timeout=120) as store:
        me, taken = identify(), []
        together.wait()
        while (row := store.queue.claim_next(me, "cpu", ("auto", "cpu"))) is not None:
            taken.append(row.id)
    with one_at_a_time:
        print(os.getpid(), *taken, flush=True)

claimers = [fork.Process(target=claim) for _ in range(count)]
for claimer in claimers:
    claimer.start()
for claimer in claimers:
    claimer.join()
sys.exit(any(claimer.exitcode != 0 for claimer in claimers))
"""
)


def fill_queue(store: Store, count: int) -> list[str]:
    """A long queue, made of one run's row; returns the ids, the first to be claimed first."""
    store.lifecycle.create(RunCard("000000000", "one", "race", 1.0), RunConfig(), status="finished")
    with store.database.write() as connection:
        row = dict(connection.execute(sa.select(runs)).mappings().one())
        ids = [f"run{i:05d}" for i in range(count)]
        queued = [row | {"id": run_id, "status": "queued", "queued_at": i} for i, run_id in enumerate(ids)]
        connection.execute(runs.insert(), queued)
    return ids


def test_of_eight_claimers_no_two_get_the_same_run(tmp_path: Path, new_database: NewDatabase) -> None:
    url = new_database(tmp_path)
    with Store(url) as store:
        ids = fill_queue(store, RUNS[url.partition(":")[0]])
        command = [sys.executable, "-c", CLAIMER, url, str(CLAIMERS)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=240)
        assert done.returncode == 0
        by_pid = {int(pid): own for pid, *own in map(str.split, done.stdout.splitlines())}
        assert len(by_pid) == CLAIMERS
        taken = by_pid.values()
        assert sorted(run_id for own in taken for run_id in own) == ids
        assert all(own == sorted(own) for own in taken)  # each got the oldest that was left
        assert store.queue.claim_next(identify(), "cpu", ("auto", "cpu")) is None
        owners = {row.id: row.claimed_by for row in store.queue.active()}
        for pid, own in by_pid.items():
            for run_id in own:
                owner = owners[run_id]
                assert owner is not None
                assert owner["pid"] == pid
