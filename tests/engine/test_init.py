"""`seg-engine init`: a project folder whose files work as they are, and that never overwrites any."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.config.agent import AgentConfig, load_agent_config
from engine.config.notify import NotifyConfig, load_notify_config
from engine.config.run_defaults import RunDefaults, load_run_defaults
from engine.exits import BAD_USE
from engine.requests.new_project import IGNORED
from engine.workspace import WORKSPACE_VARIABLE
from tests.conftest import REPOSITORY
from tests.engine.conftest import Command

NAMES = ["seg.toml", ".gitignore", "plugin.py", "submit.sh"]

BUILD = """
import sys, torch
from pathlib import Path
from engine.plugins import load_plugin
load_plugin(Path(sys.argv[1]))
from engine.config.recipes import get_recipe
from engine.config.keys import with_values
from engine.models.registry import build_model
config = with_values(get_recipe("quick"), {"model.name": "my_network"})
print(tuple(build_model(config.model, 19)(torch.zeros(1, 3, 32, 64)).shape))
"""


def test_git_leaves_out_each_folder_that_is_made_in_a_workspace() -> None:
    sources = (path.read_text() for path in (REPOSITORY / "engine").rglob("*.py"))
    folders = {name for text in sources for name in re.findall(r'(?:workspace|self)\.root / "(\w+)"', text)}
    shared = {"views"}  # which people keep for others
    assert folders > shared
    assert {f"/{name}/" for name in folders - shared} <= set(IGNORED.splitlines())


def test_a_project_is_made_once_and_what_is_there_stays(seg: Command, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "project"
    made = seg(f"init {folder}")
    assert made.status == 0
    assert made.out.splitlines() == [f"made  {folder}/{name}" for name in NAMES]
    assert f"    cd {folder}\n    export SEG_WORKSPACE={folder}\n    seg-engine data synthesize" in made.err
    (folder / "seg.toml").write_text("# mine")
    (folder / "plugin.py").unlink()
    (folder / "plugin.py").symlink_to(tmp_path / "nowhere")
    (folder / "submit.sh").unlink()
    again = seg(f"init {folder} --json").json
    assert [Path(name).name for name in again["made"]] == ["submit.sh"]
    assert (folder / "seg.toml").read_text() == "# mine"
    assert not (tmp_path / "nowhere").exists()
    refused = seg(f"init {folder}/seg.toml")
    assert refused.status == BAD_USE
    assert refused.err == f"error: {folder}/seg.toml: is not a folder; name one, or a new one\n"


def test_the_settings_say_the_defaults_whether_they_are_commented_out_or_not(
    seg: Command, tmp_path: Path
) -> None:
    seg(f"init {tmp_path}")
    file = tmp_path / "seg.toml"
    as_it_is = file.read_text()
    for text in (
        as_it_is,
        "\n".join(line.removeprefix("# ") if " = " in line else line for line in as_it_is.split("\n")),
    ):
        file.write_text(text)
        assert load_run_defaults(tmp_path) == RunDefaults()
        assert load_agent_config(tmp_path, {}) == AgentConfig()
        assert load_notify_config(tmp_path) == NotifyConfig()
    assert text.count("\n") == as_it_is.count("\n")
    assert "\nslots = 1\n" in text


def test_the_network_and_the_job_of_a_project_work(
    seg: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seg(f"init {tmp_path}")
    monkeypatch.delenv(WORKSPACE_VARIABLE)
    built = subprocess.run(
        [sys.executable, "-P", "-c", BUILD, str(tmp_path / "plugin.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (built.stdout, built.stderr) == ("(1, 19, 32, 64)\n", "")
    (tmp_path / "seg.toml").write_text("[run]\ndata = 'scenes'\n")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    (tmp_path / "scenes").mkdir()
    job = subprocess.run(
        ["sh", str(tmp_path / "submit.sh"), "slurm.dry_run=true", "slurm.gpus=2"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, "PATH": path},
    )
    assert job.stderr == ""
    assert "#SBATCH --gres=gpu:2" in job.stdout
    assert f"{tmp_path}/runs/" in job.stdout
    assert not (tmp_path / "runs").exists()
