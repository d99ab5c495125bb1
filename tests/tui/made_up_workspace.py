"""Workspaces full of runs that never ran, for tests of the dashboard."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.run.events import Failed
from engine.workspace import Workspace
from tests.engine.made_up_runs import MadeUpJournal, finished_journal, make_run_dir, progress

NOW = 100_000.0
"""The time at which made-up runs are looked at, UTC seconds."""

TRACEBACK = """Traceback (most recent call last):
  File "engine/training/train.py", line 120, in train
    loss.backward()
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"""


def learning_journal(best: float, epochs: int = 30, seed: int = 0) -> MadeUpJournal:
    """A curve that rises towards `best`, with a little noise."""
    chance = random.Random(seed)
    journal = MadeUpJournal(NOW - 5000.0)
    journal.begin()
    for epoch in range(1, epochs + 1):
        dice = best * (1 - 0.9**epoch) * (1 + chance.uniform(-0.03, 0.03))
        journal.epoch(epoch, min(1.0, dice * 1.04), dice)
    return journal


def running_journal(best: float = 0.5, epochs: int = 12, seed: int = 0) -> MadeUpJournal:
    journal = learning_journal(best, epochs, seed)
    journal.add(progress(epochs + 1, "train", step=4))
    return journal


def broken_journal() -> MadeUpJournal:
    journal = MadeUpJournal(NOW - 4000.0)
    journal.begin()
    journal.add(
        Failed(cause="out_of_memory", message="CUDA memory ran out; batch_size=16 fits", traceback=TRACEBACK)
    )
    return journal


def add(
    workspace: Workspace,
    run_id: str,
    journal: MadeUpJournal | None = None,
    changes: dict[str, object] | None = None,
    status: str = "",
    log: str = "",
    **card: object,
) -> str:
    """One run with its folder and its rows. `status` is set afterwards, as an agent or a person would."""
    values: dict[str, object] = {"epochs": 30, "recipe": "quick"} | (changes or {})
    config = with_values(RunConfig(), values)
    run = make_run_dir(workspace.runs, run_id, journal, config, **({"created": NOW - 6000.0} | card))
    if log:
        run.log.write_text(log)
    with workspace.open_store() as store:
        store.journals.import_run(run)
        if status:
            store.lifecycle.set_status(run_id, status)
    return run_id


def some_runs(workspace: Workspace) -> None:
    """Six runs, of every kind that looks different: finished, seeds, running, queued, failed, stopped."""
    for seed, best in ((0, 0.61), (1, 0.63), (2, 0.58)):
        journal = learning_journal(best, seed=seed)
        journal.finish(30)
        add(
            workspace,
            f"aaaa000{seed}",
            journal,
            {"seed": seed},
            name=f"unet-seed{seed}",
            experiment="paper",
            tags=("night",) if seed else (),
            log="".join(f"epoch {epoch} done\n" for epoch in range(1, 31)),
        )
    add(workspace, "bbbb0000", broken_journal(), {"batch_size": 128}, name="too-big", experiment="sizes")
    add(
        workspace,
        "cccc0000",
        running_journal(),
        {"optimizer.lr": 0.01},
        status="running",
        name="lr-0.01",
        experiment="lr",
        created=NOW - 300.0,
        log="reading the data\nepoch 12 done\n",
    )
    add(
        workspace, "dddd0000", None, {"optimizer.lr": 0.1}, name="lr-0.1", experiment="lr", created=NOW - 60.0
    )


def many_runs(workspace: Workspace, count: int, active: int = 0) -> None:
    """`count` finished runs as rows only, made by copying one; the newest `active` of them are running."""
    add(workspace, "zz000000", finished_journal(), name="first", experiment="many")
    path = workspace.database
    with sqlite3.connect(path) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
        copied = ", ".join(f'"{name}"' for name in names)
        (template,) = connection.execute(f"SELECT {copied} FROM runs").fetchall()
        chance = random.Random(7)
        rows = []
        for number in range(1, count):
            row = dict(zip(names, template, strict=True))
            dice = round(chance.uniform(0.1, 0.8), 4)
            row |= {
                "id": f"m{number:07d}",
                "name": f"sweep-{number // 4:04d}-seed{number % 4}",
                "seed": number % 4,
                "variant": f"v{number // 4}",
                "created_at": NOW - 10.0 * (count - number),
                "best_dice": dice,
                "last_dice": dice - 0.01,
                "changed": number + 1000,
                "status": "running" if number >= count - active else "finished",
            }
            rows.append(tuple(row[name] for name in names))
        marks = ", ".join("?" for _ in names)
        connection.executemany(f"INSERT INTO runs ({copied}) VALUES ({marks})", rows)


def workspace_in(folder: Path) -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    return Workspace(folder)
