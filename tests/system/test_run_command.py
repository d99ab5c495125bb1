"""`seg-engine run` as a person meets it: from the command to the database, with Ctrl-C and worse."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.host.processes import is_alive
from engine.run.directory import RunDir
from engine.run.events import Warned
from engine.run.journal import read_all

TINY = (
    "data.size=32x32",
    "data.val_fraction=0.25",
    "model.width=4",
    "batch_size=2",
    "epochs=3",
    "gallery.every=3",
    "gallery.images=2",
    "checkpoint.seconds=0",
    "runtime.threads=1",
)
WAIT_SECONDS = 120

Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """Starts `seg-engine` in an empty workspace, in a process group of its own as a shell would."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", "from engine.cli.main import main; main()", *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "SEG_WORKSPACE": str(tmp_path)},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def done(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=WAIT_SECONDS)
    return process.returncode, out, err


def read_until(process: subprocess.Popen[str], event: str) -> dict[str, object]:
    """Read `--json` lines until one of that event."""
    assert process.stdout is not None
    for line in process.stdout:
        value: dict[str, object] = json.loads(line)
        if value["event"] == event:
            return value
    pytest.fail(f"the command ended without a {event} event: {process.stderr and process.stderr.read()}")


def only_run(workspace: Path) -> RunDir:
    (folder,) = (workspace / "runs").iterdir()
    return RunDir(folder)


def query(workspace: Path, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(workspace / "experiments.db") as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.cold
def test_one_command_leaves_every_epoch_in_the_database(
    command: Command, street: Path, tmp_path: Path
) -> None:
    status, out, err = done(
        command(
            *(
                "run",
                "quick",
                *TINY,
                "--data",
                str(street),
                "--name",
                "first",
                "--experiment",
                "e",
                "--tag",
                "t",
            ),
            *("--on-end", 'echo "$SEG_RUN $SEG_STATUS $SEG_BEST_DICE" >> told'),
        )
    )
    assert status == 0, err
    assert "by class" in out
    assert "picture.png" in out
    assert [line for line in out.splitlines() if line.startswith("   3/3")]
    assert query(tmp_path, "SELECT name, experiment, status, cause, tags FROM leaderboard") == [
        ("first", "e", "finished", "completed", "t")
    ]
    rows = query(tmp_path, "SELECT epoch, split FROM epoch_scores ORDER BY epoch, split")
    assert rows == [(epoch, split) for epoch in (1, 2, 3) for split in ("train", "val")]
    (best,) = query(tmp_path, "SELECT best_dice FROM leaderboard")
    (highest,) = query(tmp_path, "SELECT max(dice) FROM epoch_scores WHERE split = 'val'")
    assert best == highest
    told = (tmp_path / "told").read_text()
    assert told == f"{only_run(tmp_path).id} finished {best[0]}\n"
    assert (only_run(tmp_path).outputs / "picture.png").exists()


def test_json_is_one_event_a_line_and_nothing_else(command: Command, street: Path) -> None:
    status, out, err = done(command("run", "quick", *TINY, "--data", str(street), "--json"))
    assert status == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert (lines[0]["event"], lines[-1]["event"], lines[-1]["status"]) == ("created", "ended", "finished")
    assert sum(line["event"] == "epoch" for line in lines) == 6
    assert lines[-1]["run"] == lines[0]["run"]


def test_ctrl_c_stops_with_a_checkpoint_and_resume_finishes(
    command: Command, street: Path, tmp_path: Path
) -> None:
    process = command("run", "quick", *TINY, "epochs=30", "--data", str(street), "--json")
    read_until(process, "epoch")
    process.send_signal(signal.SIGINT)
    status, out, err = done(process)
    assert status == 3, err
    assert json.loads(out.splitlines()[-1])["status"] == "stopped"
    run = only_run(tmp_path)
    assert (run.checkpoints / "last.pt").exists()
    assert query(tmp_path, "SELECT status, cause FROM leaderboard") == [("stopped", "stopped")]

    status, out, err = done(command("resume", run.id))
    assert status == 0, err
    assert "resumed after epoch" in out
    assert query(tmp_path, "SELECT status, attempt, epoch FROM leaderboard") == [("finished", 2, 30)]
    assert query(tmp_path, "SELECT count(*), count(DISTINCT epoch) FROM epoch_scores") == [(60, 30)]


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_run_whose_reader_leaves_goes_on_and_its_end_is_told(
    command: Command, street: Path, tmp_path: Path, form: tuple[str, ...]
) -> None:
    """As in `seg-engine run ... | head -1`."""
    arguments = ("run", "quick", *TINY, "device=cpu", "--data", str(street), *form)
    process = command(*arguments, "--on-end", "touch told")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=WAIT_SECONDS) == 0
    assert "Broken pipe" not in process.stderr.read()
    assert query(tmp_path, "SELECT status, epoch FROM runs") == [("finished", 3)]
    assert (tmp_path / "told").exists()


def test_ctrl_c_tells_how_to_go_on(command: Command, street: Path, tmp_path: Path) -> None:
    process = command("run", "quick", *TINY, "epochs=200", "--data", str(street))
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("   1/200"):
            break
    process.send_signal(signal.SIGINT)
    status, out, err = done(process)
    assert status == 3
    assert "Ctrl-C again kills" in err
    assert f"seg-engine resume {only_run(tmp_path).id}" in out


def test_a_second_ctrl_c_kills_and_the_database_says_so(
    command: Command, street: Path, tmp_path: Path
) -> None:
    process = command("run", "quick", *TINY, "epochs=200", "--data", str(street), "--json")
    started = read_until(process, "started")
    pid = started["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGSTOP)  # a worker that hears no signal cannot stop politely
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + WAIT_SECONDS
    while query(tmp_path, "SELECT status FROM leaderboard") != [("stopping",)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    status, out, _ = done(process)
    assert status == 1
    assert (json.loads(out.splitlines()[-1])["status"], json.loads(out.splitlines()[-1])["cause"]) == (
        "failed",
        "killed",
    )
    run = only_run(tmp_path)
    process_of_worker = run.read_proc()
    assert process_of_worker is not None
    assert is_alive(process_of_worker) is False
    # It was no other signal, and no want of memory.
    message = json.loads(out.splitlines()[-1])["message"]
    assert message.startswith("killed by a second Ctrl-C or SIGTERM")
    assert query(tmp_path, "SELECT message FROM leaderboard") == [(message,)]
    assert "killed by a second" in done(command("show", run.id))[1]


def test_a_run_outlives_its_command_and_is_found_finished(
    command: Command, street: Path, tmp_path: Path
) -> None:
    process = command("run", "quick", *TINY, "--data", str(street), "--json")
    read_until(process, "started")
    process.kill()
    process.wait()
    run = only_run(tmp_path)
    deadline = time.monotonic() + WAIT_SECONDS
    while run.read_exit() is None:
        assert time.monotonic() < deadline, run.log.read_text()
        time.sleep(0.05)
    status, out, err = done(command("runs", "--json"))
    assert status == 0, err
    (row,) = json.loads(out)
    assert (row["status"], row["epoch"]) == ("finished", 3)
    kept = [event for event in read_all(run.journal) if event.event != "progress"]
    assert query(tmp_path, "SELECT count(*) FROM events") == [(len(kept),)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "quick"), "data.root: is not set; --data FOLDER"),
        (("run", "quick", "--data", "nowhere"), "nowhere"),
        (("run", "quik", "--data", "."), "did you mean quick?"),
        (("run", "quick", "epochs=0", "lr=1", "--data", "."), "lr: no such key; did you mean optimizer.lr?"),
        (("run", "quick", "epochs=none", "--data", "."), "epochs: 'none' is not allowed"),
        (("run", "quick", "device=cuda:63", "--data", "."), "device: cuda:63 is not here"),
        (("run", "quick", "precision=fp16", "device=cpu", "--data", "."), "precision: fp16 needs CUDA"),
        (("run", "missing.toml", "--data", "."), "missing.toml: there is no such file"),
        (("resume", "abcdefgh"), "no runs here yet"),
    ],
)
def test_bad_input_is_one_line_and_makes_nothing(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    status, out, err = done(command(*arguments))
    assert status == 2
    assert out == ""
    assert says in err
    assert all(line.startswith("error: ") for line in err.splitlines())
    assert list(tmp_path.iterdir()) == []


def test_bad_data_is_refused_before_a_run_exists(command: Command, street: Path, tmp_path: Path) -> None:
    data = tmp_path.parent / f"{tmp_path.name}-data"
    shutil.copytree(street, data)
    victim = sorted(data.rglob("*_leftImg8bit.png"))[0]
    victim.write_bytes(victim.read_bytes()[:300])
    status, _, err = done(command("run", "quick", *TINY, "--data", str(data)))
    assert status == 2
    assert victim.name in err
    assert f"seg-engine data check {data}" in err
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "experiments.db").exists()

    status, _, err = done(command("run", "quick", *TINY, "--data", str(data), "--skip-bad"))
    assert status == 0, err
    (payload,) = query(tmp_path, "SELECT payload FROM events WHERE event = 'data'")
    assert victim.name in json.loads(str(payload[0]))["skipped"][0]


def test_what_is_to_know_about_the_data_is_told_once_and_stays_on_the_record(
    command: Command, tmp_path: Path, street: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(street, data)
    of_train, of_val = (
        sorted((data / "leftImg8bit" / split).rglob("*.png"))[0] for split in ("train", "val")
    )
    for image in (of_train, of_val):
        image.write_bytes(b"no image")
    for image, words in (
        (of_train, ("run", "quick", *TINY, "--data", str(data))),
        (of_val, ("evaluate", "quick", "runtime.threads=1", "data.split=official")),
    ):
        before = set((tmp_path / "runs").glob("*"))
        process = command(*words, "data.skip_bad=true")
        told = "".join(process.communicate(timeout=WAIT_SECONDS))
        assert process.returncode == 0, told
        (path,) = set((tmp_path / "runs").glob("*")) - before
        recorded = [event.message for event in read_all(RunDir(path).journal) if isinstance(event, Warned)]
        assert any("1 faulty image or label left out" in message for message in recorded)
        assert any(image.name in message for message in recorded)
        assert [told.count(message) for message in recorded] == [1] * len(recorded), told
        shown = command("show", path.name).communicate(timeout=WAIT_SECONDS)[0]
        assert all(" ".join(message.split()[:6]) in " ".join(shown.split()) for message in recorded)
