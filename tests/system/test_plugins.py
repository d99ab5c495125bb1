"""Components from a single file, `--plugin FILE.py`, as docs/extending.md shows them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY

SMALL = ("device=cpu", "epochs=2", "batch_size=2", "data.size=32x32", "runtime.threads=1", "gallery.every=0")
OWN = (
    *("model.name=two_layers", "loss.poly1=0.5", "augment.grey=0.5", "optimizer.name=lion"),
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


def own_metric(workspace: Path) -> list[tuple[object, ...]]:
    """What the metric of docs/extending.md gave the run `mine`: epochs, its own result, an evaluation."""
    shown = json.loads(seg(workspace, "show", "mine", "--json").stdout)
    return [(row["measured"], row["at"], row["epoch"], row["value"]) for row in shown["metrics"]]


@pytest.fixture(scope="module")
def painted(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes of `street` as the layout of docs/extending.md has them."""
    root = tmp_path_factory.mktemp("painted")
    for folder in ("photos", "painted"):
        (root / folder).mkdir()
    table = np.zeros((256, 3), np.uint8)
    table[[7, 26, 23]] = (128, 64, 128), (64, 0, 128), (128, 128, 128)
    for image in sorted(street.glob("leftImg8bit/*/*/*.png")):
        name = image.stem.removesuffix("_leftImg8bit")
        label = street / "gtFine" / image.parent.relative_to(street / "leftImg8bit")
        ids = np.asarray(Image.open(label / f"{name}_gtFine_labelIds.png"))
        shutil.copy(image, root / "photos" / f"{name}.png")
        Image.fromarray(table[ids]).save(root / "painted" / f"{name}_L.png")
    held_out = [image.stem for image in sorted((root / "photos").iterdir())[:2]]
    (root / "val.txt").write_text("\n".join(held_out))
    return root


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text("\n\n".join(examples()))
    return file


def test_each_example_is_short_enough_to_copy() -> None:
    assert len(examples()) == 8
    assert all(len(example.splitlines()) < 40 for example in examples())


def test_a_plugin_trains_resumes_and_is_evaluated_and_outlives_its_file(
    tmp_path: Path, plugin: Path, painted: Path
) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    own = ("--plugin", str(plugin))
    found = json.loads(seg(workspace, "data", "check", str(painted), *own, "--json").stdout)
    assert (found["layout"], found["faults"], found["splits"]) == ("painted", [], {"train": 8, "val": 2})
    assert set(found["class_shares"]) == {"road", "car", "sky"}
    seg(workspace, "run", "quick", *own, *OWN, *SMALL, "--data", str(painted), "--name", "mine")
    seg(workspace, "evaluate", "mine", "device=cpu", "--name", "scored")
    seg(workspace, "rerun", "mine", "epochs=1", "--name", "again")
    assert listed(workspace)["mine"]["best_dice"] is not None
    measured = own_metric(workspace)
    place = [(kind, at, epoch) for kind, at, epoch, _ in measured]
    assert place[:2] == [("epoch", "input", 1), ("epoch", "input", 2)]
    assert {place[2][:2], place[3][:2]} == {("result", "input"), ("result", "original")}
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
    seg(workspace, "db", "check")
    for command in (("show", "mine"), ("compare", "mine", "again", "--format", "csv")):
        assert "weighted_iou" in seg(workspace, *command).stdout
    gone = f"error: {plugin}: the plugin that the run was made with is not there; "
    gone += f"if it has moved, `ln -s NEW {plugin}` leads to it\n"
    assert seg(workspace, "evaluate", "mine", "device=cpu", status=2).stderr == gone
    assert seg(workspace, "rerun", "mine", status=2).stderr == gone
    before = listed(workspace)
    (workspace / "experiments.db").unlink()
    seg(workspace, "db", "rebuild")
    assert listed(workspace).keys() == before.keys()
    assert own_metric(workspace) == measured


def test_a_task_of_a_plugin_learns_and_its_run_outlives_it(
    tmp_path: Path, plugin: Path, street: Path
) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    own = ("--plugin", str(plugin), "task=brightness")
    done = seg(workspace, "run", "quick", *own, *SMALL, "--data", str(street), "--name", "mine").stdout
    assert "lowest validation loss" in done
    refused = seg(workspace, "evaluate", "mine", status=2).stderr
    assert "is of the task brightness, not train" in refused

    plugin.unlink()
    before = listed(workspace)["mine"]
    assert before["task"] == "brightness"
    assert before["best_val_loss"] is not None
    (workspace / "experiments.db").unlink()
    seg(workspace, "db", "rebuild")
    assert listed(workspace)["mine"] | {"claimed_by": None} == before | {"claimed_by": None}
    assert "task brightness" in seg(workspace, "show", "mine").stdout
    assert "mine" in seg(workspace, "runs", "task=brightness").stdout
    wrong = seg(workspace, "run", "quick", "task=brightness", "--data", str(street), status=2).stderr
    assert wrong.startswith("error: task: 'brightness' is not allowed; it must be one of train | pretrain")


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
    broken = "    def values_per_channel(self, *size):\n        return self.no_such_key\n\n"
    file.write_text(text.replace(check, broken + check))
    told = seg(workspace, "run", "quick", *own, *SMALL, "--data", str(street), status=70).stderr.splitlines()
    assert "Traceback (most recent call last):" in told
    assert told[-1].startswith(f"error: {file}:")
    assert told[-1].endswith(": this is a fault of the plugin, not of seg-engine")


def test_a_broken_schedule_is_refused_before_there_is_a_run(tmp_path: Path, street: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(examples()[4].replace("return self.drop", "return -self.drop"))
    own = ("--plugin", str(file), "schedule.name=steps")
    refused = seg(tmp_path, "run", "quick", *own, *SMALL, "--data", str(street), status=2).stderr
    assert re.fullmatch(
        r"error: schedule\.name=steps .*: shape\(0, [.\d]+\) is -1\.0; .* number from 0\n", refused
    )
    assert not (tmp_path / "experiments.db").exists()


def test_a_plugin_with_a_fault_in_its_network_is_named_on_the_record(tmp_path: Path, street: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(examples()[0].replace("network.head = nn", "network.classify = nn"))
    own = ("--plugin", str(file), "model.name=two_layers")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    failed = seg(workspace, "run", "quick", *own, *SMALL, "--data", str(street), status=1)
    assert "model.name=two_layers" in failed.stdout + failed.stderr
    assert "head_names has 'head', which no part of the network is called" in failed.stdout + failed.stderr
