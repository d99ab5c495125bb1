"""How the dashboard feels: `python -m benchmarks.tui [--small]`.

The real program in a pseudoterminal of 120x40: seconds from the start of the process until the runs are on
the screen; from a key until what it changes is there, while four runs stream; processor time and memory; and
from a worker's writing of an epoch until its Dice is on the screen, by way of a real agent. The workers are
stood in for (`benchmarks.tui_workers`), so that nothing trains meanwhile. `--small` takes half a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.leaderboard import multiply, one_epoch
from benchmarks.terminal import Terminal
from engine.config.run_config import RunConfig
from engine.host.processes import python_command, python_environment
from engine.run.directory import RunCard
from engine.workspace import Workspace

SIZE = (120, 40)
STREAMING = 4
EPOCH_SECONDS = 2.0
EPOCHS_KEPT = 10
DASHBOARD = "from seg_tui.start import main; main()"
# Where Python is told not to keep what it compiles, as in containers, every start would compile anew.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "TERM": "xterm-256color",
    "COLORTERM": "truecolor",
}
ENVIRONMENT.pop("NO_COLOR", None)


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    few: int
    many: int
    table: int
    starts: int
    keys: int
    idle_seconds: float


FULL = Plan(few=1000, many=10_000, table=2000, starts=5, keys=100, idle_seconds=30.0)
SMALL = Plan(few=200, many=1000, table=500, starts=1, keys=15, idle_seconds=6.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="fewer runs, less time")
    plan = SMALL if parser.parse_args().small else FULL
    print(f"seg-tui at {SIZE[0]}x{SIZE[1]}, {os.cpu_count()} cores\n", flush=True)
    print(f"{'':52}{'median':>9}{'95th':>9}{'wanted':>10}")
    with tempfile.TemporaryDirectory() as folder:
        floor = measure_floor(plan.starts)
        for runs, wanted in ((plan.few, 1.4), (plan.many, 2.2)):
            shown = measure_start(fill(Path(folder) / f"runs-{runs}", runs), runs, plan.starts)
            tell(f"{runs:,} runs: that over the first line", [shown / floor], wanted)
        measure_streaming(fill(Path(folder) / "streaming", plan.table), plan)


def fill(folder: Path, runs: int) -> Workspace:
    """A workspace whose runs have ended, `unet-00000` the best of them; rows only, but for that no folder."""
    folder.mkdir()
    workspace = Workspace(folder)
    config = RunConfig(recipe="paper-unet", epochs=200)
    now = time.time()
    with workspace.open_store() as store:
        store.lifecycle.create(RunCard("model001", "model", "sweep 0", now), config)
        store.journals.ingest("model001", one_epoch(), 1, 0)
    with sqlite3.connect(workspace.database) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        ids = [f"r{number:07d}" for number in range(runs)]
        connection.executemany(
            "INSERT INTO experiments VALUES (?, ?, 1e9)", ((i, f"sweep {i}") for i in range(2, 51))
        )
        multiply(
            connection,
            "runs",
            (
                {
                    "id": run_id, "name": f"unet-{number:05d}", "experiment_id": 1 + number % 50,
                    "seed": number % 4, "variant": f"v{number // 4}", "created_at": now - 600 * number,
                    "status": ("finished", "finished", "failed", "stopped")[number % 4],
                    "cause": ("completed", "completed", "exception", "stopped")[number % 4],
                    "best_dice": 0.95 - 0.4 * number / runs, "last_dice": 0.9 - 0.4 * number / runs,
                    "epoch": 200, "changed": number + 1,
                }
                for number, run_id in enumerate(ids)
            ),
        )  # fmt: skip
        multiply(
            connection,
            "epochs",
            (
                {"run_id": run_id, "split": split, "epoch": epoch, "dice": epoch / 20}
                for run_id in ids
                for epoch in range(1, EPOCHS_KEPT + 1)
                for split in ("train", "val")
            ),
        )
        for table, column in (("epochs", "run_id"), ("events", "run_id"), ("runs", "id")):
            connection.execute(f"DELETE FROM {table} WHERE {column} = 'model001'")
    return workspace


def dashboard(workspace: Workspace) -> Terminal:
    return Terminal([sys.executable, "-c", DASHBOARD, "-w", str(workspace.root)], SIZE, ENVIRONMENT)


def measure_floor(starts: int) -> float:
    """What no dashboard on these two libraries can do without; the median of its seconds."""
    seconds = []
    for counted in (False, *[True] * starts):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import textual.app, sqlalchemy"], check=True, env=ENVIRONMENT)
        if counted:
            seconds.append(time.perf_counter() - begun)
    tell("Python with Textual and SQLAlchemy, no more, s", seconds)
    return statistics.median(seconds)


def measure_start(workspace: Workspace, runs: int, starts: int) -> float:
    """The whole program, its start included; once without being counted, so that its files are cached.
    Returns the median of the seconds until the runs are on the screen."""
    seconds, frames, memory = [], [], []
    for counted in (False, *[True] * starts):
        with dashboard(workspace) as terminal:
            frame = terminal.wait_for("seg-tui") - terminal.begun
            terminal.wait_for(f"{runs:,} runs")
            shown = terminal.wait_for("unet-00000") - terminal.begun
            terminal.pump_for(1.0)
            for key in ("\x1b[F", "i", "g", "g", "\x1b[H"):
                terminal.press(key)
                terminal.pump_for(0.5)
            if counted:
                seconds.append(shown)
                frames.append(frame)
                memory.append(terminal.resident_bytes() / 1e6)
    tell(f"{runs:,} runs: start to first frame, s", frames)
    tell(f"{runs:,} runs: memory after paging, sorting, grouping, MB", memory, 150)
    tell(f"{runs:,} runs: start to runs on the screen, s", seconds)
    return statistics.median(seconds)


def measure_streaming(workspace: Workspace, plan: Plan) -> None:
    """Keys, then rest, beside an agent and runs that stream."""
    with streaming(workspace) as epochs, dashboard(workspace) as terminal:
        terminal.wait_for("unet-00000")
        terminal.pump_for(3.0)
        print(f"\nwith {plan.table:,} runs, {STREAMING} of them streaming")
        measure_keys(terminal, plan)
        terminal.press("\x1b[H")
        terminal.pump_for(3.0)
        before, since = terminal.cpu_seconds(), time.time()
        size = len(terminal.written)
        terminal.pump_for(plan.idle_seconds)
        share = 100 * (terminal.cpu_seconds() - before) / (time.time() - since)
        tell("processor while nobody types, % of a core", [share], 10)
        tell("written to the terminal, KB/s", [(len(terminal.written) - size) / plan.idle_seconds / 1e3])
        tell("memory, MB", [terminal.resident_bytes() / 1e6], 150)
        delays = []
        for line in epochs():
            at, dice = line.split()
            seen = terminal.first_seen(f"{dice} @")
            if seen is not None and since < float(at) < time.time() - 5:
                delays.append(seen - float(at))
        tell(f"a worker's epoch to the screen, s ({len(delays)} epochs)", delays, 1.0)


def measure_keys(terminal: Terminal, plan: Plan) -> None:
    """Milliseconds from a key to the bytes that show what it did."""
    # Runs that stream change places, and the cursor goes with its run: down to the best ended one.
    start = len(terminal.written)
    while b"r0000000" not in terminal.written[start:]:
        terminal.press("\x1b[B")
        terminal.pump_for(0.5)
    moves = [answer(terminal, "\x1b[B", f"unet-{place:05d}") for place in range(1, plan.keys + 1)]
    tell("down to the next run on the screen, ms", moves, 30, 60)
    pages = []
    for number in range(plan.keys // 4):
        key = "\x1b[6~" if number % 2 == 0 else "\x1b[5~"
        pages.append(answer(terminal, key, "unet-"))
    tell("page up or down to the page on the screen, ms", pages, 30, 60)
    turns = []
    for number in range(plan.keys // 4):
        turns.append(answer(terminal, "i", "best Dice @ epoch" + "▲▼"[number % 2]))
    tell("sort the other way round to the table, ms", turns, 30, 60)
    if plan.keys // 4 % 2:
        answer(terminal, "i", "▼")


def answer(terminal: Terminal, key: str, text: str) -> float:
    """Milliseconds until a text comes after a key."""
    terminal.pump_for(0.21)  # no multiple of the times at which runs are looked at
    start = len(terminal.written)
    at = terminal.press(key)
    return 1000 * (terminal.wait_for(text, start) - at)


@contextlib.contextmanager
def streaming(workspace: Workspace) -> Iterator[Callable[[], list[str]]]:
    """Runs that stream and the agent that folds them; gives what reads the lines about epochs so far."""
    command = [sys.executable, "-m", "benchmarks.tui_workers", str(workspace.root)]
    told = workspace.root / "told"
    with open(told, "wb") as stream:
        workers = subprocess.Popen([*command, str(STREAMING), str(EPOCH_SECONDS)], stdout=stream)
    agent = None
    try:
        deadline = time.monotonic() + 60
        while "ready" not in told.read_text():
            if time.monotonic() > deadline or workers.poll() is not None:
                raise RuntimeError("the workers did not come up")
            time.sleep(0.05)
        agent = subprocess.Popen(
            python_command("engine.agent", str(workspace.root)),
            env=python_environment(),
            stdout=subprocess.DEVNULL,
        )
        yield lambda: told.read_text().splitlines()[1:]
    finally:
        for process in (agent, workers):
            if process is not None:
                process.terminate()
                process.wait()


def tell(what: str, values: list[float], wanted: float | None = None, high: float | None = None) -> None:
    """A line of the table; the median must be below `wanted`, the 95th percentile below `high`."""
    median = statistics.median(values)
    top = statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else median
    missed = (wanted is not None and median >= wanted) or (high is not None and top >= high)
    limit = "" if wanted is None else f"< {wanted:g}" + ("" if high is None else f", {high:g}")
    print(
        f"{what:52}{_figure(median):>9}{_figure(top) if len(values) > 1 else '':>9}{limit:>10}"
        + ("  MISSED" if missed else ""),
        flush=True,
    )


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


if __name__ == "__main__":
    main()
