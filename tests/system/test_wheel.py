"""The wheel and the source archive: what is in them, and both programs from the wheel, installed elsewhere.

The environment borrows the packages of the one that runs the tests, as PyTorch is too large to be installed
for a test. The project itself is not borrowed, however it is installed there.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from offline import gather
from tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

UNMET = """
import importlib.metadata as metadata, sys
from packaging.requirements import Requirement
assert metadata.distribution("seg-engine").locate_file("").is_relative_to(sys.prefix)
for line in metadata.requires("seg-engine"):
    wanted = Requirement(line)
    if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in sys.argv[1:]):
        if metadata.version(wanted.name) not in wanted.specifier:
            print(wanted, "but there is", metadata.version(wanted.name))
"""

WHERE = """
import engine, seg_tui
print(engine.__path__[0], seg_tui.__path__[0], sep="\\n")
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archive of the checkout as it is, and the wheel made from that archive."""
    folder = tmp_path_factory.mktemp("built")
    packed = gather._pack_source(folder, PROJECT["version"])
    with tarfile.open(packed) as source:
        source.extractall(folder / "source", filter="data")
    packed.unlink()
    (tree,) = (folder / "source").iterdir()
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def wheel_in(folder: Path) -> Path:
    (wheel,) = folder.glob("seg_engine-*-py3-none-any.whl")
    return wheel


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and nothing else but what it borrows."""
    env = tmp_path_factory.mktemp("installed") / "env"
    venv.create(env, symlinks=True, with_pip=False)
    python = str(env / "bin/python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    install = [*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel_in(built))]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Python reads no further .pth files in a folder that a .pth file names: so nothing that is installed in
    # place there comes along.
    (packages,) = env.glob("lib/python3*/site-packages")
    lent = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "lent.pth").write_text("".join(f"{path}\n" for path in lent))
    return env


def run(environment: Path, *words: str, workspace: Path) -> str:
    """The output of a program of the environment, started as people start it, in an empty folder."""
    workspace.mkdir(exist_ok=True)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SEG_"))}
    command = [str(environment / "bin" / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=workspace, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout


def test_archive_and_wheel_have_every_file_as_it_is(built: Path) -> None:
    command = ["git", "-C", str(REPOSITORY), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(
        [*command, "engine", "seg_tui"], check=True, capture_output=True, text=True
    ).stdout
    files = {name: path.read_bytes() for name in listed.split() if (path := REPOSITORY / name).is_file()}
    with zipfile.ZipFile(wheel_in(built)) as wheel:
        inside = {name: wheel.read(name) for name in wheel.namelist()}
    info = {
        name.partition(".dist-info/")[2]: inside.pop(name) for name in list(inside) if ".dist-info/" in name
    }
    manuals = {
        name.partition(".data/data/")[2]: inside.pop(name) for name in list(inside) if ".data/" in name
    }
    assert manuals == {
        f"share/man/man1/{name}": (REPOSITORY / "docs/man" / name).read_bytes()
        for name in ("seg-engine.1", "seg-tui.1")
    }
    assert {"engine/py.typed", "seg_tui/py.typed"} <= inside.keys()
    assert inside.keys() == files.keys()
    assert inside == files
    assert info["licenses/LICENSE"] == (REPOSITORY / "LICENSE").read_bytes()
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert files.keys() | {"LICENSE", "README.md", "pyproject.toml"} <= names


def test_what_the_wheel_needs_is_there_and_it_is_what_is_imported(environment: Path, tmp_path: Path) -> None:
    from_wheel = run(environment, "python", "-c", WHERE, workspace=tmp_path / "w").splitlines()
    assert all(Path(path).is_relative_to(environment) for path in from_wheel), from_wheel
    # `postgres` and the like are part of `dev`.
    assert run(environment, "python", "-c", UNMET, "", "dev", workspace=tmp_path / "w") == ""


def test_a_run_from_the_wheel_is_in_both_programs(environment: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    assert PROJECT["version"] in run(environment, "seg-engine", "--version", workspace=workspace)
    synthesize = ("seg-engine", "data", "synthesize", "data", "--images", "8", "--size", "64x64")
    run(environment, *synthesize, workspace=workspace)
    tiny = ("epochs=1", "data.size=32x64", "model.width=4", "batch_size=2", "device=cpu", "gallery.every=0")
    train = ("seg-engine", "run", "quick", "--data", "data", "--name", "first")
    run(environment, *train, *tiny, workspace=workspace)
    (row,) = json.loads(run(environment, "seg-engine", "runs", "--json", workspace=workspace))
    assert (row["status"], row["epoch"]) == ("finished", 1)

    assert "unet" in run(environment, "seg-engine", "models", workspace=workspace)
    assert "first" in screen_of(environment, workspace)


def screen_of(environment: Path, workspace: Path) -> str:
    """What `seg-tui` writes to a terminal until it shows the run; it is left by its own key."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(workspace)
        program = str(environment / "bin/seg-tui")
        os.execve(program, [program], {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "HOME": "."})
    told = b""
    try:
        while b"first" not in told:
            told += os.read(terminal, 65536)
        os.write(terminal, b"q")
        while True:
            os.read(terminal, 65536)
    except OSError:  # the kernel says so when the program has ended
        pass
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", told.decode(errors="replace"))
