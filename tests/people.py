"""Programs run by other users of this machine: scratch user ids that need no entry anywhere, in one group."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import engine

GROUP = 54000
"""The group that the people of a test share."""

NEEDED = tuple(
    dict.fromkeys(
        Path(path).resolve() for path in (sys.base_prefix, sys.prefix, Path(engine.__file__).parents[1])
    )
)
"""What somebody must be able to read in order to run this Python with this checkout."""

LOCALE = {name: value for name, value in os.environ.items() if name.startswith(("LANG", "LC_"))}
"""As these tests have it: with another one Python would have to be started anew."""

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Person:
    """A user of the machine, without a home and without a name."""

    uid: int
    group: int = GROUP
    umask: int = 0o002

    @property
    def name(self) -> str:
        return f"user {self.uid}"

    def command(self, *words: str | Path, before: str = "") -> list[str]:
        """A command line that runs `words` as this person, after root has done `before` in a mount namespace
        of the command's own."""
        identity = ["setpriv", f"--reuid={self.uid}", f"--regid={self.group}", f"--groups={self.group}"]
        program = shlex.join([*identity, *map(str, words)])
        return ["unshare", "-m", "sh", "-ec", f"{_way_in()}{before}\numask {self.umask:03o}; exec {program}"]

    def run(self, *words: str | Path, before: str = "", **variables: str) -> Done:
        """Run a program as this person, who has no home, to its end."""
        environment = {"PATH": os.environ["PATH"], **LOCALE, **variables}
        command = self.command(*words, before=before)
        return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=300)

    def seg(self, workspace: Path, words: str, before: str = "", **variables: str) -> Done:
        """A command of seg-engine in a workspace."""
        program = "from engine.cli.main import main; main()"
        place = ["--workspace", str(workspace)]
        words_of_it = [sys.executable, "-P", "-c", program, *place, *shlex.split(words)]
        return self.run(*words_of_it, before=before, **variables)


ALICE, BOB = Person(54001), Person(54002)
CAROL = Person(54003, group=54003)
"""Alice and Bob are of one group, Carol is not."""


def _way_in() -> str:
    """Shell commands, for a mount namespace, that let others reach what is NEEDED: a checkout or Python below
    somebody's closed home is not theirs to enter otherwise."""
    closed = {_closed_above(path) for path in NEEDED} - {None}
    steps = ["mount -t tmpfs none /mnt"] if closed else []
    for number, folder in enumerate(sorted(closed, key=str)):
        below = [path for path in NEEDED if path.is_relative_to(str(folder))]
        stash = f"/mnt/{number}"
        steps.append(f"mkdir -p {stash}; mount --rbind {shlex.quote(str(folder))} {stash}")
        steps.append(f"mount -t tmpfs -o mode=755 none {shlex.quote(str(folder))}")
        for path in below:
            inside = shlex.quote(f"{stash}/{path.relative_to(str(folder))}")
            place = shlex.quote(str(path))
            steps.append(f"mkdir -p {place}; mount --rbind {inside} {place}")
    return "".join(f"{step}; " for step in steps)


def _closed_above(path: Path) -> Path | None:
    """The uppermost folder on the way to a path that others may not enter."""
    return next((p for p in reversed(path.parents) if not p.stat().st_mode & 0o001), None)


def need_people() -> None:
    """Skip the test where this process cannot be other people."""
    if os.geteuid() != 0:
        pytest.skip("only root can run programs as other users")
    if not shutil.which("setpriv") or not shutil.which("unshare"):
        pytest.skip("setpriv and unshare (util-linux) run programs as other users")
    done = ALICE.run(sys.executable, "-P", "-c", "import engine.cli.main")
    if done.returncode != 0:
        pytest.skip(f"another user cannot run this Python with this checkout: {done.stderr.strip()[-200:]}")


@contextmanager
def common_ground() -> Iterator[Path]:
    """A new folder that everybody may enter and only root may write; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="people-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def give(folder: Path, person: Person, file_mode: int = 0o644, folder_mode: int = 0o755) -> None:
    """Make a folder, with all that is in it, somebody's."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, person.uid, person.group)
        path.chmod(folder_mode if path.is_dir() else file_mode)
