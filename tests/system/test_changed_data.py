"""The data set changes under a run: the run keeps its split and its class set, and says what has changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.data.membership import Membership
from engine.run.directory import RunDir
from engine.run.events import Data, Failed, Warned
from engine.run.journal import read_all
from engine.workspace import Workspace
from tests.engine.test_frozen_classes import SWAPPED
from tests.engine.test_membership import CLASSES, add
from tests.system.conftest import seg, work

ADDED = ("img010", "img011", "img012")

MakeRun = Callable[[RunConfig], RunDir]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    add(root, *(f"img{i:03d}" for i in range(10)))
    (root / "classes.toml").write_text(CLASSES)
    return root


@pytest.fixture
def config(tiny: RunConfig, root: Path) -> RunConfig:
    """One epoch, by the rule whose boundary moves when images are added."""
    return with_values(
        tiny,
        {
            "data.root": str(root),
            "data.size": "32x32",
            "data.split_rule": "rank",
            "epochs": 1,
            "data.val_fraction": 0.2,
            "gallery.every": 0,
            "device": "cpu",
        },
    )


def go_on(run: RunDir) -> int:
    """Another epoch."""
    table = json.loads(run.config_file.read_text())
    run.config_file.write_text(json.dumps({**table, "epochs": table["epochs"] + 1}))
    return work(run)


def warnings(run: RunDir) -> list[str]:
    return [event.message for event in read_all(run.journal) if isinstance(event, Warned)]


def test_a_resumed_run_of_two_ranks_keeps_its_split_and_says_once_what_came(
    new_run: MakeRun, config: RunConfig, root: Path
) -> None:
    run = new_run(with_values(config, {"devices": 2}))
    assert work(run) == 0
    member = Membership.read(run.split_file)
    assert member is not None
    assert (len(member.train), len(member.val)) == (8, 2)
    add(root, *ADDED)
    assert go_on(run) == 0
    assert len([w for w in warnings(run) if "3 samples (img010, img011, img012) added to" in w]) == 1
    opened = [event for event in read_all(run.journal) if isinstance(event, Data)]
    assert [(event.train_images, event.val_images) for event in opened] == [(8, 2)] * 2
    assert Membership.read(run.split_file) == member


def test_a_run_of_an_earlier_version_is_refused_when_its_data_has_changed(
    new_run: MakeRun, config: RunConfig, root: Path
) -> None:
    run = new_run(config)
    assert work(run) == 0
    run.split_file.unlink()  # that version wrote none
    add(root, *ADDED)
    assert go_on(run) == 1
    (failed,) = [event for event in read_all(run.journal) if isinstance(event, Failed)]
    assert "8 + 2 training and validation images then, 10 + 3 now" in failed.message
    assert not run.split_file.exists()
    for name in ADDED:
        for folder in ("images", "labels"):
            (root / folder / f"{name}.png").unlink()
    assert go_on(run) == 0
    assert run.split_file.exists()


def test_whoever_looks_at_a_network_sees_its_own_split_and_classes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "ws")
    for name, text in (("here", CLASSES), ("there", SWAPPED)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "my.toml").write_text(text)
    monkeypatch.chdir(tmp_path / "here")
    fast = ("device=cpu", "runtime.threads=1")
    changes = ("data.size=32x32", "model.width=2", "epochs=1", "batch_size=2", "gallery.every=0")
    changes = (
        *changes,
        "data.split_rule=rank",
        "data.classes=my.toml",
        "--data",
        "../data",
        "--name",
        "base",
    )
    done = seg(workspace, "run", "quick", *fast, *changes)
    assert done.returncode == 0, done.stderr
    add(root, *ADDED)
    shutil.rmtree(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "there")

    done = seg(workspace, "evaluate", "base", *fast)
    assert done.returncode == 0, done.stderr
    assert "note: 3 samples (img010, img011, img012) added to" in done.stdout + done.stderr
    (source,) = (run for run in map(RunDir, workspace.runs.iterdir()) if run.read_card().name == "base")
    member = Membership.read(source.split_file)
    assert member is not None
    images = json.loads(seg(workspace, "images", "base", "--json").stdout)
    assert {image["image"] for image in images} == set(member.val)

    shutil.copy(root / "images" / "img000.png", tmp_path / "picture.png")
    done = seg(workspace, "predict", "base", str(tmp_path / "picture.png"), "--ids", "raw", "--set", fast[0])
    assert done.returncode == 0, done.stderr
    (made,) = (run for run in map(RunDir, workspace.runs.iterdir()) if "predict" in run.read_card().name)
    predicted = made.read_config().predict
    assert predicted is not None
    assert predicted.values == (1, 2)
