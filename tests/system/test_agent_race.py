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

CLAIMERS = 8
RUNS = {"sqlite": 5000, "postgresql": 500}

CLAIMER = """
import sys
from engine.host.processes import identify
from engine.store import Store

with Store(sys.argv[1], timeout=120) as store:
    me = identify()
    print("ready", flush=True)
    sys.stdin.readline()
    while (row := store.queue.claim_next(me, "cpu", ("auto", "cpu"))) is not None:
        print(row.id)
"""


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
        claimers = [
            subprocess.Popen(
                [sys.executable, "-c", CLAIMER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(CLAIMERS)
        ]
        for claimer in claimers:
            assert claimer.stdout is not None
            assert claimer.stdout.readline() == "ready\n"
        for claimer in claimers:
            assert claimer.stdin is not None
            claimer.stdin.write("go\n")
            claimer.stdin.flush()
        taken = [claimer.communicate(timeout=240)[0].split() for claimer in claimers]
        assert all(claimer.returncode == 0 for claimer in claimers)
        assert sorted(run_id for own in taken for run_id in own) == ids
        assert all(own == sorted(own) for own in taken)  # each got the oldest that was left
        assert store.queue.claim_next(identify(), "cpu", ("auto", "cpu")) is None
        owners = {row.id: row.claimed_by for row in store.queue.active()}
        by_pid = {claimer.pid: own for claimer, own in zip(claimers, taken, strict=True)}
        for pid, own in by_pid.items():
            for run_id in own:
                owner = owners[run_id]
                assert owner is not None
                assert owner["pid"] == pid
