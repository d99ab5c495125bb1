"""Gather into a folder what a machine without internet needs beside its own PyTorch.

    python -m offline.gather FOLDER --python 3.12 [--torch 2.11.0] [--arch x86_64]

pip resolves the dependencies as on the other machine. Empty packages stand for torch, torchvision and triton,
which are there already, so nothing is fetched that only they need. FOLDER then has all other wheels, that of
this project, its source with tests and benchmarks, and install.py, which is run on the other machine.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
INSTALLER = Path(__file__).with_name("install.py")

THERE = ("torch", "torchvision", "triton")
"""What the other machine has, with all that it needs itself (nvidia-*-cu13, cuda-*, sympy and so on)."""

EXTRAS = ("dev", "postgres")
"""The extras that are gathered beside the plain dependencies: the tests and the driver of PostgreSQL."""

OLDEST_GLIBC, NEWEST_GLIBC = 17, 28
"""The 2.N of the C libraries whose wheels are taken: 2.28 is that of RHEL 8 and everything newer."""


class CannotGather(Exception):
    """The message is one line that says what would be right."""


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m offline.gather", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, help="made if it is missing; wheels in it are replaced")
    parser.add_argument("--python", default=f"{sys.version_info[0]}.{sys.version_info[1]}", metavar="3.N")
    parser.add_argument("--torch", default="", metavar="VERSION", help="its torch (default: the oldest)")
    parser.add_argument("--arch", default="x86_64", choices=("x86_64", "aarch64"))
    given = parser.parse_args(words)
    try:
        gather(given.folder, given.python, given.torch, given.arch)
    except (CannotGather, OSError) as error:
        told = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        print(f"offline.gather: {told}", file=sys.stderr)
        return 2
    return 0


def gather(folder: Path, python: str, torch: str = "", arch: str = "x86_64") -> None:
    """Fill `folder` for a machine of that Python, torch ("": the oldest that the project takes) and
    architecture. Raises CannotGather and OSError, and then leaves what is in the folder as it was."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stand_ins = _versions_there(project, torch)
    _refuse_python(project, python)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="seg-wheels-") as scratch:
        stubs, found = Path(scratch, "stubs"), Path(scratch, "found")
        stubs.mkdir()
        found.mkdir()
        for name, version in stand_ins.items():
            _write_stub(stubs, name, version)
        source = _pack_source(found, project["version"])
        _build_project(source, found, Path(scratch))
        _download(_wanted(project), python, arch, stubs, found)
        for stub in stubs.iterdir():
            (found / stub.name).unlink(missing_ok=True)
        shutil.copy(INSTALLER, found)
        for old in folder.glob("*.whl"):
            old.unlink()
        for file in found.iterdir():
            shutil.copy(file, folder)
    wheels = list(folder.glob("*.whl"))
    size = sum(wheel.stat().st_size for wheel in wheels) / 1e6
    print(f"{folder}: {len(wheels)} wheels, {size:.0f} MB, for Python {python} on {arch}")
    print(f"copy the folder to the other machine and run there: python3 {folder.name}/{INSTALLER.name} ENV")


def _versions_there(project: dict[str, Any], torch: str) -> dict[str, str]:
    """What the empty packages are called. Raises CannotGather for a torch that is too old."""
    oldest = {name: _lower_bound(project["dependencies"], name) for name in THERE}
    if torch and not re.fullmatch(r"\d+(\.\d+)+", torch):
        raise CannotGather(f"--torch {torch}: must be a version such as {oldest['torch']}.0")
    if torch and _numbers(torch) < _numbers(oldest["torch"]):
        raise CannotGather(f"--torch {torch}: is too old; the project needs {oldest['torch']} or newer")
    return oldest | ({"torch": torch} if torch else {})


def _refuse_python(project: dict[str, Any], python: str) -> None:
    """pip judges conditions such as `python_version < "3.12"` for the Python that it runs with. An older one
    gathers what only older ones need beside the rest; a newer one would leave out what is needed."""
    oldest = str(project["requires-python"]).removeprefix(">=")
    if not re.fullmatch(r"3\.\d+", python):
        raise CannotGather(f"--python {python}: must be a version such as {oldest}")
    if _numbers(python) < _numbers(oldest):
        raise CannotGather(f"--python {python}: is too old; the project needs {oldest} or newer")
    if _numbers(python) < sys.version_info[:2]:
        this = f"{sys.version_info[0]}.{sys.version_info[1]}"
        why = f"Python {this} cannot gather for an older one"
        raise CannotGather(f"--python {python}: {why}; run this with Python {python}")


def _wanted(project: dict[str, Any]) -> list[str]:
    """All requirements but those that are there."""
    extras = [requirement for extra in EXTRAS for requirement in project["optional-dependencies"][extra]]
    wanted = [*project["dependencies"], *extras]
    return [requirement for requirement in wanted if _name(requirement) not in THERE]


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower()


def _lower_bound(requirements: Sequence[str], name: str) -> str:
    """The oldest version that is taken of a package; "1" where nothing is said."""
    bounds = [requirement.partition(">=")[2] for requirement in requirements if _name(requirement) == name]
    return bounds[0] if bounds and bounds[0] else "1"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _write_stub(folder: Path, name: str, version: str) -> None:
    """An empty wheel of a package, which needs nothing. Its local version is preferred to the true one."""
    version = f"{version}+there"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: stub\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(text)}\n")
            wheel.writestr(path, text)
        wheel.writestr(f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]))


def _pack_source(folder: Path, version: str) -> Path:
    """The files that git knows, as they are now: tests and benchmarks are no part of the wheel."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise CannotGather(f"{ROOT}: is no git checkout, which says what belongs to the project") from None
    archive = folder / "seg-engine-source.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        for name in sorted(listed.decode().split("\0")):
            if name and (ROOT / name).is_file():
                packed.add(ROOT / name, f"seg-engine-{version}/{name}")
    return archive


def _build_project(source: Path, folder: Path, scratch: Path) -> None:
    with tarfile.open(source) as packed:
        packed.extractall(scratch, filter="data")
    tree = next(scratch.glob("seg-engine-*"))
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(tree))


def _download(wanted: Sequence[str], python: str, arch: str, stubs: Path, folder: Path) -> None:
    platforms = [f"manylinux_2_{minor}_{arch}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)]
    constraints = stubs.parent / "constraints.txt"
    names = (stub.name.split("-")[:2] for stub in stubs.iterdir())
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in names))
    _pip(
        "download",
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={python}"),
        *(f"--platform={platform}" for platform in [*platforms, f"manylinux2014_{arch}"]),
        *("--find-links", str(stubs), "--constraint", str(constraints), "--dest", str(folder)),
        *wanted,
    )


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        # The first is the cause; those behind it say what became of that.
        lines = [line.partition("ERROR: ")[2] for line in done.stderr.splitlines() if "ERROR: " in line]
        said = (lines or done.stderr.splitlines() or ["no reason given"])[0]
        raise CannotGather(f"`pip {words[0]}` failed: {said}")


if __name__ == "__main__":
    sys.exit(main())
