"""A package of a stranger, who knows docs/extending.md alone, is used like the engine's own components.

Its sources are in tests/stranger; pip installs them into a folder apart, and whoever has that on PYTHONPATH
has the package.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import warm
from tests.conftest import REPOSITORY

SOURCES = REPOSITORY / "tests" / "stranger"
SMALL = ("device=cpu", "batch_size=2", "data.size=32x32", "runtime.threads=1", "gallery.every=0")
OWN = (
    *("model.name=strided", "loss.lenient=0.5", "augment.erase=0.5"),
    *("optimizer.name=rms", "schedule.name=ramp", "optimizer.lr=0.001"),
)
EPOCHS = 60
"""So many that Ctrl-C after the first comes in time."""
GONE = "model.name=strided: no such model here; it may come from a package"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed the package."""
    folder = tmp_path_factory.mktemp("site")
    copied = shutil.copytree(SOURCES, folder / "sources")
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    pip = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "installed")]
    subprocess.run([*pip, str(copied)], check=True, timeout=120)
    return folder / "installed"


@dataclass(frozen=True)
class Lab:
    """A workspace, and those who have the package installed."""

    workspace: Path
    site: Path
    stand_by: warm.StandBy
    """Where the package is installed."""

    def start(self, *arguments: str, installed: bool = True) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from engine.cli.main import main; main()"]
        with self.stand_by.in_charge() if installed else nullcontext():
            return subprocess.Popen(
                [*command, "--workspace", str(self.workspace), *arguments],
                env=self.environment(installed),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def seg(self, *arguments: str, installed: bool = True, status: int = 0) -> str:
        """What a command prints; on stderr when it is refused."""
        process = self.start(*arguments, installed=installed)
        out, err = process.communicate(timeout=120)
        assert process.returncode == status, out + err
        return err if status == 2 else out

    def runs(self, installed: bool = True) -> dict[str, dict[str, Any]]:
        return {run["name"]: run for run in json.loads(self.seg("runs", "--json", installed=installed))}

    def environment(self, installed: bool) -> dict[str, str]:
        return {**os.environ, **(path_with(self.site) if installed else {})}


def path_with(site: Path) -> dict[str, str]:
    """The variable that makes Python find what is installed there."""
    path = [str(site), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, site: Path, street: Path) -> Iterator[Lab]:
    """With the run `mine`, stopped by Ctrl-C after its first epoch, and the run `usual` of built-in parts."""
    lab = Lab(tmp_path_factory.mktemp("lab"), site, warm.StandBy(path_with(site)))
    about = ("run", "quick", *SMALL, "--data", str(street), "--experiment", "both")
    process = lab.start(*about, *OWN, f"epochs={EPOCHS}", "checkpoint.seconds=0", "--name", "mine", "--json")
    assert process.stdout is not None
    assert any(json.loads(line)["event"] == "epoch" for line in process.stdout)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 3, out + err
    lab.seg(*about, "epochs=2", "model.width=4", "--name", "usual")
    yield lab
    lab.stand_by.end()


@pytest.fixture(scope="module")
def finished(lab: Lab) -> Lab:
    """The same once `mine` is resumed, and evaluated as `scored`."""
    refused = lab.seg("resume", "mine", installed=False, status=2)
    assert refused.startswith(f"error: {GONE}")
    assert refused.count("\n") == 1
    assert "resumed after epoch" in lab.seg("resume", "mine")
    lab.seg("evaluate", "mine", "device=cpu", "--name", "scored")
    return lab


def test_its_components_are_listed_with_their_origin(lab: Lab) -> None:
    found = json.loads(lab.seg("components", "--json"))
    own = {one["name"] for one in found if one["origin"] == "stranger 1.2"}
    assert own >= {"strided", "lenient", "erase", "rms", "ramp", "side_by_side", "worst_accuracy", "missed"}
    (problem,) = [one["problem"] for one in found if one["problem"]]
    place = lab.site / "stranger" / "broken.py"
    assert problem == f"stranger 1.2: {place}:3: ModuleNotFoundError: No module named 'no_such_module'"
    assert "loss.lenient_beta" in lab.seg("config", "loss")


def test_its_layout_is_recognised(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (32, 32), (90, 90, 90)).save(tmp_path / "scans" / f"{name}.png")
        Image.fromarray(np.eye(32, dtype=np.uint8)).save(tmp_path / "scans" / f"{name}.mask.png")
    found = json.loads(lab.seg("data", "check", str(tmp_path), "--json"))
    assert (found["layout"], found["splits"], found["faults"]) == ("side_by_side", {"train": 2}, [])
    assert found["class_shares"]["bone"] == 1 / 32


def test_it_is_stopped_resumed_and_evaluated(finished: Lab) -> None:
    runs = finished.runs()
    assert (runs["mine"]["status"], runs["mine"]["attempt"], runs["mine"]["epoch"]) == ("finished", 2, EPOCHS)
    assert runs["mine"]["best_dice"] > 0
    assert runs["scored"]["status"] == "finished"


def test_it_is_compared_and_reported(finished: Lab, tmp_path: Path) -> None:
    compared = finished.seg("compare", "mine", "usual")
    for part in (
        "strided",
        "loss.lenient",
        "augment.erase",
        "model.channels",
        "optimizer.smoothing",
        "schedule.end",
    ):
        assert part in compared
    numbers = finished.seg("compare", "mine", "usual", "--format", "csv").splitlines()[0]
    assert {"metric:worst_accuracy", "metric:missed"} <= set(numbers.split(","))
    finished.seg("report", "both", "--out", str(tmp_path / "report"))
    report = (tmp_path / "report" / "report.md").read_text()
    for part in ("strided", "lenient", "missed"):
        assert part in report


def test_the_form_offers_it_and_queues_it(finished: Lab, street: Path) -> None:
    command = [sys.executable, str(SOURCES / "open_form.py"), str(finished.workspace), str(street)]
    done = subprocess.run(
        command, env=finished.environment(True), cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert "strided" in said["model.name"].split()
    assert said["model.channels"].startswith("True")
    assert said["loss.lenient_beta"].startswith("True")
    assert said["problems"] == "{}"
    queued = finished.runs()["from the form"]
    folder = finished.workspace / "runs" / str(queued["id"])
    config = json.loads((folder / "config.json").read_text())
    assert queued["status"] == "queued"
    assert config["model"]["name"] == "strided"
    assert (config["loss"]["lenient"], config["augment"]["erase"]) == (0.5, 0.25)


def test_its_runs_outlive_it(finished: Lab) -> None:
    assert {"mine", "usual", "scored"} <= finished.runs(installed=False).keys()
    for words in (("show", "mine"), ("compare", "mine", "usual")):
        told = finished.seg(*words, installed=False)
        assert "strided" in told
        assert "worst_accuracy" in told
    finished.seg("report", "both", installed=False)
    for words in (("evaluate", "mine", "device=cpu"), ("rerun", "mine")):
        missing = finished.seg(*words, installed=False, status=2)
        assert missing.startswith(f"error: {GONE}")
        assert missing.count("\n") == 1


FAULTS = {
    "build": ("model.name=faulty", "model.fault=build"),
    "shape": ("model.name=faulty", "model.fault=shape"),
    "step": ("model.name=faulty", "model.fault=step"),
    "loss": ("loss.faulty_loss=1", "model.width=4"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_it_is_on_the_record_with_its_line(lab: Lab, street: Path, fault: str) -> None:
    about = ("run", "quick", *SMALL, "epochs=1", "--data", str(street), "--name", f"fault {fault}")
    lab.seg(*about, *FAULTS[fault], status=1)
    file = lab.site / "stranger" / "faulty.py"
    lines = file.read_text().splitlines()
    (number,) = [n for n, line in enumerate(lines, 1) if re.search(f"# fault: {fault}$", line)]
    message = lab.runs()[f"fault {fault}"]["message"]
    assert f"{file}:{number}: " in message
    assert f"fault at {fault}" in message
