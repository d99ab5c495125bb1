"""Gathering wheels for a machine without internet, and installing them there beside its own torch."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from offline import gather

TORCH = """
__version__ = "2.12.0"
class cuda:
    is_available = staticmethod(lambda: True)
"""

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def wheel(folder: Path, name: str, needs: str = "") -> None:
    """An empty package that pip can install, in the place of a true one."""
    gather._write_stub(folder, name, "9.0")
    path = folder / f"{name}-9.0+there-py3-none-any.whl"
    with zipfile.ZipFile(path) as stub:
        files = {member: stub.read(member) for member in stub.namelist()}
    with zipfile.ZipFile(path, "w") as made:
        for member, content in files.items():
            more = f"Requires-Dist: {needs}\n".encode() if needs and member.endswith("METADATA") else b""
            made.writestr(member, content + more)


def torch_of_the_node(folder: Path) -> None:
    """A folder of packages with a torch in which nothing is."""
    for name in ("torch", "torchvision"):
        gather._write_stub(folder, name, "2.12.0")
        with zipfile.ZipFile(folder / f"{name}-2.12.0+there-py3-none-any.whl") as stub:
            stub.extractall(folder)
        (folder / f"{name}.py").write_text(TORCH)


def test_what_is_gathered_installs_beside_a_torch_that_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, folder, there = tmp_path / "index", tmp_path / "wheels", tmp_path / "there"
    index.mkdir()
    there.mkdir()
    torch_of_the_node(there)
    wheel(index, "torch", needs="nvidia-nothing")  # a newer one, which must not be taken
    wheel(index, "needs_torch", needs="torch>=2.0")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(index), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setattr(gather, "_wanted", lambda project: ["needs-torch"])
    monkeypatch.setattr(
        gather, "_build_project", lambda source, found, scratch: wheel(found, "seg_engine", "needs-torch")
    )
    gather.gather(folder, PYTHON)
    names = {path.name.split("-")[0] for path in folder.glob("*.whl")}
    assert names == {"seg_engine", "needs_torch"}
    assert (folder / "seg-engine-source.tar.gz").is_file()

    command = [sys.executable, str(folder / "install.py"), str(tmp_path / "env")]
    node = {**os.environ, "PYTHONPATH": str(there)}
    done = subprocess.run(command, capture_output=True, text=True, env=node)
    assert done.returncode == 0, done.stderr
    assert "seg-engine beside torch 2.12.0, which sees a GPU" in done.stdout
    # -P: a checkout that is installed in place has the metadata of a seg-engine too.
    inside = [str(tmp_path / "env/bin/python"), "-P", "-c", "from importlib.metadata import *; "]
    inside[-1] += "print(version('seg-engine'), version('needs-torch'), version('torch'))"
    told = subprocess.run(inside, capture_output=True, text=True, check=True).stdout
    assert told.split() == ["9.0+there", "9.0+there", "2.12.0+there"]


def test_what_is_there_is_not_gathered() -> None:
    project = {
        "dependencies": [
            "numpy>=2.0",
            "nvidia-ml-py>=12",
            "torch>=2.11",
            "torchvision>=0.26",
            "torch-other>=1",
        ],
        "optional-dependencies": {"dev": ["pytest>=8"], "postgres": ["psycopg[binary]>=3.2"]},
    }
    wanted = ["numpy>=2.0", "nvidia-ml-py>=12", "torch-other>=1", "pytest>=8", "psycopg[binary]>=3.2"]
    assert gather._wanted(project) == wanted


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--python", "3.9"), "--python 3.9: is too old; the project needs 3.11 or newer"),
        (("--python", "312"), "--python 312: must be a version such as 3.11"),
        (("--torch", "2.10"), "--torch 2.10: is too old; the project needs 2.11 or newer"),
        (("--torch", "new"), "--torch new: must be a version such as 2.11.0"),
    ],
)
def test_a_machine_that_is_too_old_is_refused(
    words: tuple[str, str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gather.main([str(tmp_path / "wheels"), *words]) == 2
    assert capsys.readouterr().err == f"offline.gather: {why}\n"
    assert not (tmp_path / "wheels").exists()
