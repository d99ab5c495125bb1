"""The database under real processes: many open it at once, ingesters are killed, readers read meanwhile."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.run.directory import RunDir
from engine.store import Store
from tests.conftest import NewDatabase
from tests.engine.made_up_runs import (
    MadeUpJournal,
    epoch_event,
    everything,
    make_run_dir,
    progress,
    result_event,
)
from tests.warm import OF_A_TEST

OPENER = (
    OF_A_TEST
    + """
import sys, time
from engine.config.run_config import RunConfig
from engine.run.directory import RunCard, new_run_id
from engine.store import Store, migrate, sqlite
sqlite.migrate = migrate.migrate  # as everybody makes a database
print("ready", flush=True)
for line in sys.stdin:
    with Store(line.strip()) as store:
        store.lifecycle.create(RunCard(new_run_id(), "run", "same for all", time.time()), RunConfig())
    print("done", flush=True)
"""
)

INGESTER = (
    OF_A_TEST
    + """
import os, sys
from pathlib import Path
from engine.run.journal import read_events
from engine.store import IngestConflict, Store

url, run_id, journal, limit = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])

def ingest():
    with Store(url) as store:
        while True:
            offset = store.run(run_id).journal_offset
            events, end = read_events(journal, offset, limit)
            if not events:
                return
            try:
                store.journals.ingest(run_id, events, end, offset)
            except IngestConflict:
                print("conflict", flush=True)
            else:
                print("folded", flush=True)

print("ready", flush=True)
while sys.stdin.readline():  # a line starts an ingester, a fork that opens its own connections
    child = os.fork()
    if child == 0:
        ingest()
        os._exit(0)
    print(child, flush=True)
    end = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    print("left" if end.si_code == os.CLD_EXITED else "killed", end.si_status, flush=True)
    sys.stdin.readline()  # the child stays a zombie until then, so that its pid is no other's
    os.waitpid(child, 0)
"""
)


class Program:
    """A Python program in a process of its own that is spoken to by lines."""

    def __init__(self, source: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", source, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self, line: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    """Programs that are ended when the test is over."""
    started: list[Program] = []
    yield started
    for program in started:
        program.end()


def long_journal(events: int) -> MadeUpJournal:
    """A run of about that many events that crashes half-way and is resumed five epochs back."""
    rng = random.Random(events)
    journal = MadeUpJournal()
    journal.begin()
    epoch = 0
    while len(journal.events) < events - 2:
        epoch += 1
        for step in range(1, 5):
            journal.add(progress(epoch, "train", step))
        journal.add(epoch_event(epoch, "train", rng.random()))
        journal.add(progress(epoch, "val"))
        journal.add(epoch_event(epoch, "val", rng.random()))
        if journal.attempt == 1 and len(journal.events) > events // 2:
            epoch -= 5
            journal.begin(resumed_from_epoch=epoch)
    journal.add(result_event(epoch, 0.5))
    journal.finish(epoch)
    return journal


Rows = dict[str, list[tuple[object, ...]]]


def run_with_journal(folder: Path, new_database: NewDatabase, events: int) -> tuple[str, RunDir, Rows]:
    """A database that knows a run but nothing of its journal, the run, and all rows that there should be."""
    run = make_run_dir(folder / "runs", "aaaaaaaa", long_journal(events))
    with Store(f"sqlite:///{folder / 'wanted.db'}") as store:
        store.journals.import_run(run)
        wanted = everything(store)
    url = new_database(folder)
    with Store(url) as store:
        store.lifecycle.create(run.read_card(), run.read_config())
    return url, run, wanted


def rows_of(url: str) -> Rows:
    """All rows, of a database that finds itself sound."""
    with Store(url) as store:
        assert store.checks.faults() == []
        return everything(store)


def test_eight_processes_that_open_a_new_workspace_make_one_database(
    tmp_path: Path, new_empty_database: NewDatabase, programs: list[Program]
) -> None:
    programs += [Program(OPENER) for _ in range(8)]
    assert [program.hear() for program in programs] == ["ready"] * 8
    for trial in range(4):
        folder = tmp_path / str(trial)
        folder.mkdir()
        url = new_empty_database(folder)
        for program in programs:
            program.say(url)
        assert [program.hear() for program in programs] == ["done"] * 8
        rows = rows_of(url)
        assert (len(rows["runs"]), len(rows["experiments"])) == (8, 1)
        with Store(url) as store, store.database.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM alembic_version").scalar() == 1


def test_a_killed_ingester_neither_loses_nor_doubles_an_event(
    tmp_path: Path, new_database: NewDatabase, programs: list[Program]
) -> None:
    url, run, wanted = run_with_journal(tmp_path, new_database, events=2_500)
    ingester = Program(INGESTER, url, run.id, run.journal, 1 << 12)
    programs.append(ingester)
    assert ingester.hear() == "ready"

    rng = random.Random(16)
    kills = 0
    for transactions in iter(lambda: rng.randrange(9), None):
        ingester.say("start")
        pid = int(ingester.hear())
        line = "folded"
        for _ in range(transactions):
            line = ingester.hear()
            if line != "folded":
                break
        if line == "folded":
            time.sleep(rng.uniform(0, 0.008))  # the moment is to fall anywhere within a transaction
            os.kill(pid, signal.SIGKILL)
            while line == "folded":
                line = ingester.hear()
        ingester.say("heard of its end")
        if line == "left 0":
            break
        assert line == "killed 9"
        kills += 1
    assert kills >= 20
    assert rows_of(url) == wanted


def test_three_ingesters_of_one_journal_do_the_work_of_one(
    tmp_path: Path, new_database: NewDatabase, programs: list[Program]
) -> None:
    url, run, wanted = run_with_journal(tmp_path, new_database, events=1_500)
    programs += [Program(INGESTER, url, run.id, run.journal, 1 << 12) for _ in range(3)]
    assert [program.hear() for program in programs] == ["ready"] * 3
    for program in programs:
        program.say("start")
    lines = []
    for program in programs:
        int(program.hear())
        heard = list(iter(program.hear, "left 0"))
        lines += heard
    assert set(lines) <= {"folded", "conflict"}
    assert rows_of(url) == wanted


def test_readers_see_whole_transactions_while_a_writer_writes(
    tmp_path: Path, new_database: NewDatabase, programs: list[Program]
) -> None:
    url, run, _ = run_with_journal(tmp_path, new_database, events=4_000)
    ingester = Program(INGESTER, url, run.id, run.journal, 1 << 13)
    programs.append(ingester)
    assert ingester.hear() == "ready"
    ingester.say("start")
    seen = set()
    with Store(url, timeout=0.5) as store:
        while True:
            with store.database.read() as connection:
                row = connection.exec_driver_sql(
                    """
                    SELECT status, journal_seq, best_dice, epoch,
                        (SELECT max(dice) FROM epochs WHERE run_id = id AND split = 'val'),
                        (SELECT coalesce(max(epoch), 0) FROM epochs WHERE run_id = id),
                        (SELECT coalesce(max(seq), -1) FROM events WHERE run_id = id)
                    FROM runs
                    """
                ).one()
            status, seq, best_dice, epoch, best_of_rows, last_epoch, last_event = row
            assert best_dice == best_of_rows
            assert epoch == last_epoch
            assert last_event <= seq
            seen.add(seq)
            assert len(store.runs(["status!=lost"])) == 1
            if status == "finished":
                break
    assert len(seen) > 5
