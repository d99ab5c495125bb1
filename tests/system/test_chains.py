"""Pre-training and the training that starts from it, as people start them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.agent.presence import Presence
from engine.config.files import to_toml
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.run.directory import RunDir
from engine.run.events import Failed, Taught, WarmStart
from engine.run.journal import read_all
from engine.workspace import Workspace
from tests.system.conftest import start_worker, wait_for_event, work
from tests.system.test_worker import MakeRun, curve, digest

SEG_ENGINE = (sys.executable, "-c", "from engine.cli.main import main; main()")


@pytest.fixture
def workspace(workspace: Workspace) -> Iterator[Workspace]:
    """An empty one, whose agent, started by whatever is queued, ends with the test."""
    workspace.root.mkdir()
    yield workspace
    agent = Presence.of(workspace).living()
    if agent is not None:
        os.kill(agent.pid, signal.SIGTERM)


def seg(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*SEG_ENGINE, "--workspace", str(workspace.root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def recipe(folder: Path, config: RunConfig) -> str:
    path = folder / "chain.toml"
    path.write_text(to_toml(config))
    return str(path)


def test_a_chain_in_the_foreground(workspace: Workspace, tiny: RunConfig, tmp_path: Path) -> None:
    config = with_values(tiny, {"pretrain.epochs": 2, "epochs": 1})
    done = seg(workspace, "run", recipe(tmp_path, config), "--name", "pair", "--json")
    assert done.returncode == 0, done.stderr
    assert "two runs: 2 epochs of pre-training, then 1 of training, 3 in all" in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    first, second = (line["run"] for line in lines if line["event"] == "created")
    ends = [line for line in lines if line["event"] == "ended"]
    assert [line["status"] for line in ends] == ["finished", "finished"]
    assert ends[0]["best_dice"] is None
    assert ends[0]["best_val_loss"] > 0
    start = next(line for line in lines if line["event"] == "warm_start")
    best = torch.load(workspace.run_dir(first).checkpoints / "best.pt", weights_only=True)
    assert start["source"] == str(workspace.run_dir(first).checkpoints / "best.pt")
    assert (start["epoch"], start["new"]) == (best["epoch"], ["head.weight", "head.bias"])
    shown = seg(workspace, "show", second).stdout
    assert f"from    weights loaded from {start['source']}, epoch {best['epoch']}: " in shown
    page = seg(workspace, "show", first).stdout
    assert "task pretrain" in page
    assert "lowest validation loss" in page


def test_a_chain_that_is_stopped_says_how_to_go_on(
    workspace: Workspace, tiny: RunConfig, tmp_path: Path
) -> None:
    config = with_values(tiny, {"pretrain.epochs": 500, "epochs": 1, "checkpoint.seconds": 30})
    process = subprocess.Popen(
        [*SEG_ENGINE, "--workspace", str(workspace.root), "run", recipe(tmp_path, config), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = ""
    for line in process.stdout:
        event = json.loads(line)
        first = first or event["run"]
        if event["event"] == "epoch":
            process.send_signal(signal.SIGINT)
            break
    _, told = process.communicate(timeout=120)
    assert process.returncode == 3
    assert f"then:    repeat the command with init.weights={first} to train" in told
    assert [row["id"] for row in json.loads(seg(workspace, "runs", "--json").stdout)] == [first]


def test_a_warm_start_happens_once(new_run: MakeRun, tiny: RunConfig) -> None:
    source = new_run(with_values(tiny, {"task": "pretrain", "epochs": 1}))
    assert work(source) == 0, source.log.read_text()
    config = with_values(tiny, {"init.weights": f"../{source.id}/checkpoints/best.pt", "data.size": "48x64"})
    whole, broken, cold = new_run(config), new_run(config), new_run(with_values(config, {"init.weights": ""}))
    assert work(whole) == 0, whole.log.read_text()
    worker = start_worker(broken)
    wait_for_event(broken, worker, lambda event: event.event == "epoch")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=120) == 3, broken.log.read_text()
    assert work(broken) == 0, broken.log.read_text()
    assert work(cold) == 0, cold.log.read_text()
    assert digest(broken.checkpoints / "last.pt") == digest(whole.checkpoints / "last.pt")
    assert curve(broken) == curve(whole)
    assert curve(cold) != curve(whole)
    starts = [event for event in read_all(broken.journal) if isinstance(event, WarmStart)]
    assert len(starts) == 1


def test_a_stopped_student_goes_on_with_the_same_teacher_or_not_at_all(
    new_run: MakeRun, tiny: RunConfig
) -> None:
    teacher = new_run(with_values(tiny, {"epochs": 1, "seed": 3}))
    assert work(teacher) == 0, teacher.log.read_text()
    path = teacher.checkpoints / "best.pt"
    config = with_values(tiny, {"distill.from": f"../{teacher.id}/checkpoints/best.pt"})
    whole, broken = new_run(config), new_run(config)
    assert work(whole) == 0, whole.log.read_text()
    worker = start_worker(broken)
    wait_for_event(broken, worker, lambda event: event.event == "epoch")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=120) == 3, broken.log.read_text()

    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    torch.save(torch.load(path, weights_only=True) | {"epoch": 9}, path)
    assert work(broken) == 1
    failed = read_all(broken.journal)[-1]
    assert isinstance(failed, Failed)
    assert f"has changed since it began to teach this run: its SHA-256 was {sha256[:12]}" in failed.message

    path.write_bytes(content)
    assert work(broken) == 0, broken.log.read_text()
    assert digest(broken.checkpoints / "last.pt") == digest(whole.checkpoints / "last.pt")
    told = [event for event in read_all(broken.journal) if isinstance(event, Taught)]
    assert [(event.source, event.sha256, event.epoch) for event in told] == [(str(path), sha256, 1)]


def test_a_source_that_is_gone_fails_the_run_in_words(new_run: MakeRun, tiny: RunConfig) -> None:
    run: RunDir = new_run(with_values(tiny, {"init.weights": "../zzzzzzzz/checkpoints/best.pt"}))
    assert work(run) == 1
    failed = read_all(run.journal)[-1]
    assert isinstance(failed, Failed)
    assert failed.message.endswith("zzzzzzzz/checkpoints/best.pt: does not exist")


def test_a_chain_in_the_queue(workspace: Workspace, tiny: RunConfig, tmp_path: Path) -> None:
    config = with_values(tiny, {"pretrain.epochs": 1, "epochs": 1, "gallery.every": 0})
    queued = seg(workspace, "run", recipe(tmp_path, config), "--name", "pair", "--queue", "--json")
    assert queued.returncode == 0, queued.stderr
    cards = [json.loads(line) for line in queued.stdout.splitlines()]
    assert [card["name"] for card in cards] == ["pair pretrain", "pair"]
    watched = seg(workspace, "watch", cards[1]["run"], "--json")
    assert watched.returncode == 0, watched.stderr
    rows = {row["id"]: row for row in json.loads(seg(workspace, "runs", "--json").stdout)}
    first, second = (rows[card["run"]] for card in cards)
    assert (first["status"], second["status"]) == ("finished", "finished")
    assert second["after"] == first["id"]
    assert second["started_at"] >= first["ended_at"]
