"""How much several processes write to one database at once: journals folded, and runs claimed from a queue.

    python benchmarks/writers.py
    SEG_DATABASE_URL=... python benchmarks/writers.py --server      # a new database on a server
    python benchmarks/writers.py --writers 1 4 16

Each process folds a journal of its own in pieces as large as what a worker writes in a few seconds, one
transaction each, as an agent does for a run; then all claim from one queue until it is empty. The more of
them one database keeps up with, the more agents may share it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from benchmarks.ingest import write_journal
from engine.config.run_config import RunConfig
from engine.host.processes import identify
from engine.run.directory import RunCard, new_run_id
from engine.run.journal import read_events
from engine.store import Store
from engine.store.schema import runs
from engine.workspace import DATABASE_VARIABLE

EVENTS = 6_000
PIECE = 1 << 12
QUEUED = 2_000
TIMEOUT = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--server", action="store_true", help=f"use the one that {DATABASE_VARIABLE} names")
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--work", nargs=3, metavar=("WHAT", "URL", "JOURNAL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.server and DATABASE_VARIABLE not in os.environ:
        parser.error(f"--server: {DATABASE_VARIABLE} is not set; it names a new database on a server")
    if arguments.work:
        work(*arguments.work)
        return
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.jsonl"
        write_journal(journal, EVENTS)
        print(f"{EVENTS:,} events a writer, pieces of {PIECE >> 10} KiB; {QUEUED:,} runs in the queue\n")
        heads = ("pieces/s", "events/s", "median ms", "worst ms", "claims/s")
        print(f"{'writers':>8}{''.join(f'{head:>12}' for head in heads)}")
        for writers in arguments.writers:
            url = f"sqlite:///{folder}/{writers}.db"
            if arguments.server:
                url = os.environ[DATABASE_VARIABLE]
            taken, waits = together("fold", writers, url, journal)
            fill_queue(url)
            claiming, _ = together("claim", writers, url, journal)
            print(
                f"{writers:8}{len(waits) / taken:12,.0f}{writers * EVENTS / taken:12,.0f}"
                f"{statistics.median(waits):12.1f}{max(waits):12.1f}{QUEUED / claiming:12,.0f}"
            )


def together(what: str, writers: int, url: str, journal: Path) -> tuple[float, list[float]]:
    """Let that many processes do it at once; returns the seconds until the last was done, and how many
    milliseconds each transaction took."""
    command = [sys.executable, "-m", "benchmarks.writers", "--work", what, url, str(journal)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(writers)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()  # it is ready
    begun = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate()[0] for process in processes]
    taken = time.perf_counter() - begun
    if any(process.returncode for process in processes):
        sys.exit(f"a writer failed at {what}")
    return taken, [float(line) for text in told for line in text.split()]


def work(what: str, url: str, journal: str) -> None:
    with Store(url, TIMEOUT) as store:
        run_id = new_run_id()
        if what == "fold":
            store.lifecycle.create(RunCard(run_id, "writer", "writers", time.time()), RunConfig(), "running")
        print("ready", flush=True)
        sys.stdin.readline()
        waits = fold(store, run_id, Path(journal)) if what == "fold" else claim(store)
    print("\n".join(f"{1000 * wait:.3f}" for wait in waits))


def fold(store: Store, run_id: str, journal: Path) -> list[float]:
    waits: list[float] = []
    offset = 0
    while True:
        events, end = read_events(journal, offset, PIECE)
        if not events:
            return waits
        begun = time.perf_counter()
        store.journals.ingest(run_id, events, end, offset)
        waits.append(time.perf_counter() - begun)
        offset = end


def claim(store: Store) -> list[float]:
    waits: list[float] = []
    me = identify()
    while True:
        begun = time.perf_counter()
        if store.queue.claim_next(me, "cpu", ("auto", "cpu")) is None:
            return waits
        waits.append(time.perf_counter() - begun)


def fill_queue(url: str) -> None:
    """A queue made of one run's row."""
    with Store(url, TIMEOUT) as store:
        first = new_run_id()
        store.lifecycle.create(RunCard(first, "queued", "writers", time.time()), RunConfig())
        with store.database.write() as connection:
            row = dict(connection.execute(sa.select(runs).where(runs.c.id == first)).mappings().one())
            rest = [row | {"id": new_run_id(), "queued_at": row["queued_at"] + i} for i in range(1, QUEUED)]
            connection.execute(runs.insert(), rest)


if __name__ == "__main__":
    main()
