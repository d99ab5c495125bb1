"""How fast a full database answers: 10,000 runs of 200 epochs, training and validation, 19 classes.

    python benchmarks/leaderboard.py                                # 4 million epoch rows, about 6 GB of disk
    python benchmarks/leaderboard.py --runs 1000 --epochs 50
    python benchmarks/leaderboard.py --database full.db             # keeps it, and uses it again
    SEG_DATABASE_URL=... python benchmarks/leaderboard.py --server  # asks a server, after copying all to it

A run and its epochs are made by the engine once and then multiplied with other numbers. Each question is
asked many times; the table shows the median and the worst in milliseconds. The rows come as the objects
that the command line and the dashboard get, but where a view is named. The server's database is to be a new
one, or that of an earlier call, which is used again; its statistics are brought up to date first, which the
server does by itself within minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from engine.classes import CITYSCAPES
from engine.config.run_config import RunConfig
from engine.run.directory import ID_ALPHABET, ID_LENGTH, RunCard
from engine.run.events import Data, Epoch, Finished, Started
from engine.store import Store
from engine.store.copy import copy_runs
from engine.workspace import DATABASE_VARIABLE

ASKED = 30
"""Times that each question is asked."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=200, help="epochs a run")
    parser.add_argument("--database", type=Path, help="make the database here and keep it")
    parser.add_argument("--server", action="store_true", help=f"ask the one that {DATABASE_VARIABLE} names")
    arguments = parser.parse_args()
    if arguments.server and DATABASE_VARIABLE not in os.environ:
        parser.error(f"--server: {DATABASE_VARIABLE} is not set; it names a new database on a server")
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.database or Path(folder) / "experiments.db"
        url = os.environ[DATABASE_VARIABLE] if arguments.server else f"sqlite:///{path}"
        if not path.exists() and not (arguments.server and is_full(url)):
            begun = time.perf_counter()
            fill(path, arguments.runs, arguments.epochs)
            print(f"made in {time.perf_counter() - begun:.0f} s")
        if arguments.server:
            copy_to(url, path)
        ask_all(url)


def is_full(url: str) -> bool:
    with Store(url) as store:
        return bool(store.runs(limit=1))


def copy_to(url: str, path: Path) -> None:
    """Copy the file's runs to a server that has none yet."""
    if not is_full(url):
        begun = time.perf_counter()
        with Store(f"sqlite:///{path}") as file, Store(url) as server:
            rows = sum(copy_runs(file, server).values())
        taken = time.perf_counter() - begun
        print(f"copied to the server in {taken:.0f} s, {rows / taken:,.0f} rows/s")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")


def fill(path: Path, runs: int, epochs: int) -> None:
    """A database of that many runs, each with that many epochs of both splits."""
    rng = random.Random(0)
    ids = sorted("".join(rng.choices(ID_ALPHABET, k=ID_LENGTH)) for _ in range(runs))
    config = RunConfig(recipe="paper-unet", epochs=epochs)
    with Store(f"sqlite:///{path}") as store:
        store.lifecycle.create(RunCard("model001", "model", "experiment 0", 1e9, ("tag0",)), config)
        store.journals.ingest("model001", one_epoch(), 1, 0)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -200000")
        add = connection.executemany
        add("INSERT INTO experiments VALUES (?, ?, 1e9)", ((i, f"experiment {i}") for i in range(2, 51)))
        multiply(connection, "runs", varied_runs(ids, config, epochs, rng))
        add("INSERT INTO tags VALUES (?, ?)", ((run_id, f"tag{rng.randrange(20)}") for run_id in ids))
        multiply(connection, "epochs", varied_epochs(ids, epochs, rng))
        connection.execute("DELETE FROM runs WHERE id = 'model001'")
        for table in ("tags", "epochs", "events"):
            connection.execute(f"DELETE FROM {table} WHERE run_id = 'model001'")


def one_epoch() -> list[Any]:
    """The events of a run with one epoch."""
    names = list(CITYSCAPES.names)
    scores: dict[str, float | None] = dict.fromkeys(names, 0.5)
    epoch = Epoch(
        epoch=1, split="train", loss=0.5, dice=0.5, dice_image=0.5, miou=0.4, pixel_accuracy=0.9,
        class_dice=scores, class_iou=scores, lr=0.001, seconds=30.0, images_per_second=80.0, data_wait=0.01,
        peak_memory_bytes=10**9,
    )  # fmt: skip
    started = Started(
        host="box", pid=1, device="cuda:0", device_name="Some GPU", precision="bf16", threads=8, versions={},
        import_seconds=2.0,
    )  # fmt: skip
    colors = ["#{:02x}{:02x}{:02x}".format(*c.color) for c in CITYSCAPES.classes]
    data = Data(train_images=2380, val_images=595, classes=names, colors=colors, seconds=1.0, cache=[])
    events = [
        started,
        data,
        epoch,
        epoch.model_copy(update={"split": "val"}),
        Finished(epoch=1, seconds=60.0),
    ]
    return [e.model_copy(update={"seq": i, "t": 1e9 + i, "attempt": 1}) for i, e in enumerate(events)]


def multiply(connection: sqlite3.Connection, table: str, changes: Iterable[dict[str, Any]]) -> None:
    """Insert the table's first row again and again, with other values in some columns."""
    cursor = connection.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in cursor.description]
    model = dict(zip(names, cursor.fetchone(), strict=True))
    marks = ", ".join("?" * len(names))
    rows = (tuple((model | change).values()) for change in changes)
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def varied_runs(
    ids: list[str], config: RunConfig, epochs: int, rng: random.Random
) -> Iterator[dict[str, Any]]:
    plain = config.model_dump(mode="json")
    for number, run_id in enumerate(ids):
        plain["optimizer"]["lr"] = 10 ** rng.uniform(-4, -1)
        plain["seed"] = number
        status = rng.choices(("finished", "failed", "stopped"), (8, 1, 1))[0]
        best = rng.betavariate(5, 5)
        yield {
            "id": run_id, "experiment_id": rng.randint(1, 50), "name": f"unet lr {number % 100}",
            "status": status, "seed": number, "created_at": 1e9 + number * 60, "epoch": epochs,
            "best_dice": best, "best_epoch": rng.randint(1, epochs), "best_train_dice": best + 0.05,
            "last_dice": best - 0.01, "config": json.dumps(plain), "note": "",
        }  # fmt: skip


def varied_epochs(ids: list[str], epochs: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    scores = [json.dumps({name: rng.random() for name in CITYSCAPES.names}) for _ in range(100)]
    for run_id in ids:
        for epoch in range(1, epochs + 1):
            for split in ("train", "val"):
                yield {
                    "run_id": run_id, "split": split, "epoch": epoch, "dice": rng.random(),
                    "class_dice": scores[epoch % 100], "class_iou": scores[-epoch % 100],
                }  # fmt: skip


def connect(url: str) -> sqlite3.Connection | psycopg.Connection[Any]:
    """A connection of the kind that people who query the database themselves have."""
    if url.startswith("sqlite:///"):
        return sqlite3.connect(url.removeprefix("sqlite:///"))
    return psycopg.connect(url, autocommit=True)


def about(connection: sqlite3.Connection | psycopg.Connection[Any]) -> str:
    """Rows, size and version of a database."""
    count = "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM epochs)"
    if isinstance(connection, sqlite3.Connection):
        runs, epochs = connection.execute(count).fetchone()
        pages = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        (size,), version = connection.execute(pages).fetchone(), f"SQLite {sqlite3.sqlite_version}"
    else:
        ((runs, epochs),) = connection.execute(count).fetchall()
        ((size,),) = connection.execute("SELECT pg_database_size(current_database())").fetchall()
        version = f"PostgreSQL {connection.info.server_version // 10_000}"
    return f"{runs:,} runs, {epochs:,} epoch rows, {size / 1e9:.2f} GB, {version}"


def ask_all(url: str) -> None:
    """Ask every question and print how long the answers took."""
    with Store(url) as store, connect(url) as connection:
        print(f"{about(connection)}\n")
        latest = store.changes().latest
        run_id = store.leaderboard(limit=1)[0].id

        def view(query: str) -> Callable[[], int]:
            return lambda: len(connection.execute(query).fetchall())

        def reopen() -> int:
            Store(url).close()
            return 0

        questions: dict[str, Callable[[], int]] = {
            "first 100 of the leaderboard by best Dice": lambda: len(store.leaderboard(100)),
            "the same from the view `leaderboard`": view(
                "SELECT * FROM leaderboard ORDER BY best_dice DESC NULLS LAST LIMIT 100"
            ),
            "first 100 of one experiment": lambda: len(store.leaderboard(100, "experiment 7")),
            "the newest 100 runs": lambda: len(store.runs(limit=100)),
            "filter dice>0.8, 100 runs": lambda: len(store.runs(["dice>0.8"], limit=100)),
            "filter optimizer.lr>0.09 (in the config's JSON)": lambda: len(
                store.runs(["optimizer.lr>0.09"], limit=100)
            ),
            "filter tag:tag7 status=failed": lambda: len(
                store.runs(["tag:tag7", "status=failed"], limit=100)
            ),
            "all runs": lambda: len(store.runs()),
            "the dashboard's first look: all, narrow": lambda: len(store.changes().runs),
            "what changed since the last look: nothing": lambda: len(store.changes(latest).runs),
            "the curve of one run": lambda: len(store.results.epochs(run_id)),
            "class_scores of one run": view(f"SELECT * FROM class_scores WHERE run = '{run_id}'"),
            "a run by the beginning of its id": lambda: len([store.resolve(run_id[:6])]),
            "all experiments with their best": lambda: len(store.experiments()),
            "open the database": reopen,
        }
        print(f"{'':52}{'rows':>8}{'median ms':>12}{'worst ms':>12}")
        for title, question in questions.items():
            rows = question()
            taken = sorted(milliseconds(question) for _ in range(ASKED))
            print(f"{title:52}{rows:8,}{statistics.median(taken):12.2f}{taken[-1]:12.2f}")


def milliseconds(question: Callable[[], int]) -> float:
    begun = time.perf_counter()
    question()
    return (time.perf_counter() - begun) * 1000


if __name__ == "__main__":
    main()
