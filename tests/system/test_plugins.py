"""Components from a single file, `--plugin FILE.py`, as docs/extending.md shows them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SMALL = ("device=cpu", "epochs=2", "batch_size=2", "data.size=32x32", "runtime.threads=1", "gallery.every=0")
OWN = (
    *("model.name=two_layers", "loss.focal=0.5", "augment.grey=0.5", "optimizer.name=lion"),
    *("optimizer.encoder_lr_factor=0.5", "schedule.name=steps", "schedule.every=1"),
)


def examples() -> list[str]:
    """The Python of docs/extending.md, as it is written there."""
    page = (REPOSITORY / "docs" / "extending.md").read_text()
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def seg(workspace: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from engine.cli.main import main; main()"]
    done = subprocess.run(
        [*command, "--workspace", str(workspace), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def listed(workspace: Path) -> dict[str, dict[str, object]]:
    return {run["name"]: run for run in json.loads(seg(workspace, "runs", "--json").stdout)}


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text("\n\n".join(examples()))
    return file


def test_each_example_is_short_enough_to_copy() -> None:
    assert len(examples()) == 5
    assert all(len(example.splitlines()) < 40 for example in examples())


def test_a_plugin_trains_resumes_and_is_evaluated_and_outlives_its_file(
    tmp_path: Path, plugin: Path, street: Path
) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    own = ("--plugin", str(plugin))
    seg(workspace, "run", "quick", *own, *OWN, *SMALL, "--data", str(street), "--name", "mine")
    seg(workspace, "evaluate", "mine", "device=cpu", "--name", "scored")
    seg(workspace, "rerun", "mine", "epochs=1", "--name", "again")
    assert listed(workspace)["mine"]["best_dice"] is not None
    folder = workspace / "runs" / str(listed(workspace)["mine"]["id"])
    config = json.loads((folder / "config.json").read_text())
    assert [file["path"] for file in config["plugins"]] == [str(plugin)]

    plugin.write_text(plugin.read_text() + "\n# a change\n")
    changed = f"{plugin}: the plugin has changed since the run was made"
    new = seg(workspace, "rerun", "mine", "epochs=1", "--name", "new")
    assert changed not in new.stdout + new.stderr
    scored = seg(workspace, "evaluate", "again", "device=cpu")
    assert changed in scored.stdout + scored.stderr

    plugin.unlink()
    for command in (("runs",), ("show", "mine"), ("compare", "mine", "again"), ("db", "check")):
        seg(workspace, *command)
    gone = f"error: {plugin}: the plugin that the run was made with is not there\n"
    assert seg(workspace, "evaluate", "mine", "device=cpu", status=2).stderr == gone
    assert seg(workspace, "rerun", "mine", status=2).stderr == gone
    before = listed(workspace)
    (workspace / "experiments.db").unlink()
    seg(workspace, "db", "rebuild")
    assert listed(workspace).keys() == before.keys()


@pytest.mark.parametrize("place", ["before", "after"])
def test_an_error_in_a_plugin_is_one_line_with_its_place(tmp_path: Path, place: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text("x = 1\nraise ValueError('of my own')\n")
    option = ["--plugin", str(file)]
    words = [*option, "config"] if place == "before" else ["config", *option]
    assert seg(tmp_path, *words, status=2).stderr == f"error: {file}:2: ValueError: of my own\n"


def test_a_fault_of_a_plugin_is_told_with_its_place_and_as_its_own(tmp_path: Path, street: Path) -> None:
    file = tmp_path / "mine.py"
    line = "        return Network()"
    text = examples()[0].replace(line, "        return Network().missing")
    place = f"{file}:{text[: text.index('.missing')].count(chr(10)) + 1}"
    file.write_text(text)
    own = ("--plugin", str(file), "model.name=two_layers")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    failed = seg(workspace, "run", "quick", *own, *SMALL, "--data", str(street), status=1)
    theirs = f"{place}: this is a fault of the plugin, not of seg-engine"
    assert f"AttributeError: 'Network' object has no attribute 'missing'; {theirs}" in (
        failed.stdout + failed.stderr
    )

    # Not only in the worker: a check of a key, too, may fail where the command line asks it.
    check = "    def build(self, inputs, outputs):"
    broken = "    def values_per_channel(self, *size):\n        return self.missing\n\n"
    file.write_text(text.replace(check, broken + check))
    told = seg(workspace, "run", "quick", *own, *SMALL, "--data", str(street), status=70).stderr.splitlines()
    assert "Traceback (most recent call last):" in told
    assert told[-1].startswith(f"error: {file}:")
    assert told[-1].endswith(": this is a fault of the plugin, not of seg-engine")


def test_a_plugin_with_a_fault_in_its_network_is_named_on_the_record(tmp_path: Path, street: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(examples()[0].replace("network.head = nn", "network.classify = nn"))
    own = ("--plugin", str(file), "model.name=two_layers")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    failed = seg(workspace, "run", "quick", *own, *SMALL, "--data", str(street), status=1)
    assert "model.name=two_layers" in failed.stdout + failed.stderr
    assert "head_names has 'head', which no part of the network is called" in failed.stdout + failed.stderr
