"""A run is made again on "another machine", from its bundle, and its scores are the same to the bit."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

from engine.config.files import to_toml
from engine.config.run_config import RunConfig
from engine.run.environment import read_environments
from engine.workspace import Workspace
from tests.system.conftest import seg


def test_a_bundle_reproduces_a_run_elsewhere_and_a_broken_promise_ends_with_1(
    workspace: Workspace, tiny: RunConfig, tmp_path: Path, street: Path
) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(to_toml(tiny.model_copy(update={"epochs": 2, "device": "cpu"})))
    workspace.root.mkdir()
    assert seg(workspace, "run", str(config), "--name", "first").returncode == 0
    (run,) = workspace.runs.iterdir()
    environment = read_environments(workspace.run_dir(run.name))[1]
    assert environment.device == "cpu"
    assert environment.packages["torch"]
    assert all((environment.engine_sha256, environment.data_sha256, environment.split_sha256))
    bundle = tmp_path / "first.zip"
    assert seg(workspace, "reproduce", "first", "--bundle", str(bundle)).returncode == 0

    shutil.copytree(street, tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    elsewhere = Workspace(tmp_path / "elsewhere")
    again = seg(elsewhere, "reproduce", str(bundle), "--data", str(tmp_path / "moved"))
    assert again.returncode == 0, again.stderr
    assert (
        f"reproduces  {run.name}  first\nequal to the bit (as promised); 2 of 2 epochs compared"
        in again.stdout
    )

    forged = tmp_path / "forged.zip"
    with zipfile.ZipFile(bundle) as whole, zipfile.ZipFile(forged, "w") as other:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "scores.json":
                scores = json.loads(content)
                scores[-1]["scores"]["loss"] += 1e-9
                content = json.dumps(scores).encode()
            other.writestr(name, content)
    broken = seg(elsewhere, "reproduce", str(forged), "--data", str(tmp_path / "moved"), "--json")
    assert broken.returncode == 1
    told = json.loads(broken.stdout.splitlines()[-1])
    assert (told["event"], told["broken"], told["promised"]) == ("reproduction", True, True)
    assert 0 < told["largest"] < 1e-8
