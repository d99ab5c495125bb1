"""`seg-engine tune` with real agents and workers: trials are ordinary runs, none is lost or made twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.agent.presence import Presence
from engine.config.keys import ConfigError
from engine.requests.tuning.space import parse_space
from engine.workspace import Workspace
from tests.system.conftest import seg, wait_for

pytest.importorskip("optuna", reason="comes with the extra tune")

TINY = (
    *("data.size=32x32", "data.val_fraction=0.25", "batch_size=4", "gallery.every=0", "runtime.threads=1"),
    *("device=cpu", "epochs=2"),
)
TRIALS = int(os.environ.get("SEG_TRIALS", "3"))
"""More take longer and find more."""
LONGEST = 120 + 30 * TRIALS
"""Seconds that a search may take on a busy machine."""
SPACE = ("optimizer.lr=1e-4..1e-1:log", "model.width=2,4")


def searched(street: Path, *options: str) -> list[str]:
    return ["tune", "quick", *SPACE, *TINY, "--data", str(street), *options]


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def agent_elsewhere(workspace: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    """An agent on what is another host by its name."""
    script = 'hostname elsewhere; exec "$@"'
    agent = subprocess.Popen(["unshare", "--uts", "sh", "-ec", script, "sh", *command(workspace), "agent"])
    try:
        yield agent
    finally:
        agent.kill()
        agent.wait()


def command(workspace: Workspace) -> list[str]:
    return [sys.executable, "-c", "from engine.cli.main import main; main()", "-w", str(workspace.root)]


@pytest.mark.timeout(2 * LONGEST)
def test_a_search_of_two_agents_survives_the_death_of_one_and_of_itself(
    workspace: Workspace, street: Path
) -> None:
    workspace.root.mkdir()
    words = searched(street, "--trials", str(TRIALS), "--json")
    with agent_elsewhere(workspace):
        heard, again = killed_and_begun_again(workspace, words)
    assert [each["event"] for each in heard] == ["started", "started"]
    assert again.returncode == 0, again.stderr
    best = events(again.stdout)[-1]
    with workspace.open_store() as store:
        rows = store.runs(experiment="tune", sort="-dice")
    assert sorted(row.trial for row in rows if row.trial is not None) == list(range(TRIALS))
    assert {row.name for row in rows} == {f"tune trial {number}" for number in range(TRIALS)}
    assert {row.status for row in rows} == {"finished"}
    assert [row.attempt for row in rows] == [1] * TRIALS
    assert "elsewhere" in {row.host for row in rows}
    (winner,) = best["trials"]  # type: ignore[misc]
    assert winner["scores"] == [rows[0].best_dice]
    config = next(row for row in rows if row.id == winner["run"]).config
    assert winner["params"]["optimizer.lr"] == config["optimizer"]["lr"]
    assert [row.id for row in rows if "best" in row.tags] == [winner["run"]]
    shown = seg(workspace, "show", winner["run"])
    assert f"trial {winner['trial']} of tune, the best so far" in shown.stdout

    done = seg(workspace, *words)  # nothing is left to do
    assert events(done.stdout) == [best]
    other = seg(workspace, *searched(street, "--trials", str(TRIALS), "--metric", "miou"))
    assert other.returncode == 2
    assert "was begun with another metrics" in other.stderr


def killed_and_begun_again(
    workspace: Workspace, words: list[str]
) -> tuple[list[dict[str, object]], subprocess.CompletedProcess[str]]:
    """Kill a search and the agent that it has started once trials are at work, then begin it again. Returns
    the first news of the first search, and the second as it ended."""
    first = subprocess.Popen([*command(workspace), *words], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    heard = [json.loads(first.stdout.readline()) for _ in range(2)]
    second = seg(workspace, *words)
    assert second.returncode == 2
    assert "another `seg-engine tune` is at work on it" in second.stderr
    agent = wait_for(lambda: Presence.of(workspace).living(), workspace)
    os.kill(agent.pid, signal.SIGKILL)
    first.kill()
    first.wait()
    return heard, seg(workspace, *words, timeout=LONGEST)


def test_bad_trials_are_pruned_and_several_objectives_have_a_front(
    workspace: Workspace, street: Path
) -> None:
    workspace.root.mkdir()
    words = [
        *("tune", "quick", "optimizer.lr=0.01,1e-9", *TINY, "epochs=80", "--data", str(street), "--json"),
        *("--parallel", "1", "--experiment", "pruned", "--sampler", "grid", "--pruner", "asha"),
    ]
    done = seg(workspace, *words)
    assert done.returncode == 0, done.stderr
    fates = {each["trial"]: each["event"] for each in events(done.stdout) if each["event"] != "best"}
    with workspace.open_store() as store:
        rows = {row.name: row for row in store.runs(experiment="pruned")}
    assert len(rows) == 2
    assert sorted(fates.values()) == ["finished", "pruned"]
    pruned = next(row for row in rows.values() if row.status == "stopped")
    assert pruned.tags == ("pruned",)
    assert "pruned" in seg(workspace, "runs", "trial>=0", "status=stopped").stdout
    assert 0 < pruned.epoch < 80

    both = seg(
        workspace,
        *(
            "tune",
            "quick",
            "model.width=2,4",
            *TINY,
            "--data",
            str(street),
            "--json",
            "--experiment",
            "front",
        ),
        *("--metric", "dice", "--metric", "latency", "--sampler", "grid", "--trials", "2"),
    )
    assert both.returncode == 0, both.stderr
    front = events(both.stdout)[-1]["trials"]
    assert 1 <= len(front) <= 2  # type: ignore[arg-type]
    with workspace.open_store() as store:
        speeds = {
            each.source: each.latency_seconds
            for row in store.runs(["task=evaluate"], experiment="front")
            for each in store.results.evaluations(row.id)
        }
    assert all(each["scores"][1] == speeds[each["run"]] for each in front)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        (["optimizer.lr=0.1..0.01"], "the lower end comes first"),
        (["optimizer.lr=low..1"], "is not a range"),
        (["optimizer.lr=0..1:log"], "must be above 0"),
        (["epochs=1.5..8"], "whole numbers at both ends"),
        (["data.root=1..2"], "is a range and the key is no number"),
        (["model.width=8..64:100"], "a step that does not fit"),
        (["model.width=8"], "nothing to tune"),
        (["optimiser.lr=1..2"], "no such key"),
    ],
)
def test_ranges_that_are_none_are_refused(typed: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse_space(typed)


def test_what_cannot_be_searched_is_one_line(workspace: Workspace, street: Path) -> None:
    workspace.root.mkdir()
    for words, problem in (
        (["--metric", "beauty"], "--metric beauty: must be one of dice, miou"),
        (["--metric", "dice", "--metric", "flops", "--pruner", "asha"], "works with one --metric"),
        (["--sampler", "grid"], "--sampler grid needs values or a step"),
        (["--metric", "flops", "--pruner", "median"], "flops is not told after each epoch"),
        (["optimizer.lr=-1,0.1"], "optimizer.lr"),
    ):
        refused = seg(workspace, *searched(street, *words))
        assert refused.returncode == 2, words
        assert problem in refused.stderr, refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    assert not (workspace.root / "experiments.db").exists()
