"""The run directory `runs/<id>/`: everything one run is and leaves behind.

A worker knows this folder and nothing else, so it can be copied to another machine, run there and
be brought home.
"""

from __future__ import annotations

import os
import secrets
import shutil
import string
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.access import owner_of_path, user_name, why_unwritable
from engine.files import read_json, write_json
from engine.memory import oom_killed_since, oom_kills
from engine.processes import ProcessIdentity

if TYPE_CHECKING:
    from engine.config import RunConfig

RUN_VARIABLE = "SEG_RUN_FOLDER"
"""The variable that names a worker's run folder, and by which its children are known when they outlive it."""

LARGEST_FILE = 64 << 20
"""Bytes that a card or a config may have; those of a study have some thousand."""

ID_LENGTH = 8
ID_ALPHABET = string.ascii_lowercase + string.digits

MOST_PRIORITY = 2**31 - 1
"""A place in the queue is a whole number from -MOST_PRIORITY to this: the column of a server has 32 bits."""


def new_run_id() -> str:
    """Eight characters of `[a-z0-9]`: 2.8e12 ids, so that machines need not agree on them."""
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))


class RunDirError(Exception):
    """A run directory that cannot be used; the message is one line."""


@dataclass(frozen=True)
class RunCard:
    """What people call a run and want of it: all that is not the config. Times are UTC seconds.

    `queued_for` is the attempt that it was last queued for, 0 when it was started past the queue or taken out
    of it; `queued_at` says when, None for `created`.
    """

    id: str
    name: str
    experiment: str
    created: float
    tags: tuple[str, ...] = ()
    note: str = ""
    priority: int = 0
    paused: bool = False
    after: str = ""
    queued_for: int = 1
    queued_at: float | None = None


@dataclass(frozen=True)
class ExitRecord:
    """How an attempt ended, as the worker itself saw it."""

    attempt: int
    status: str
    cause: str
    message: str
    time: float


@dataclass(frozen=True)
class RunDir:
    """Names the files of one run directory, and reads and writes the small ones."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def config_file(self) -> Path:
        return self.path / "config.json"

    @property
    def card_file(self) -> Path:
        return self.path / "run.json"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def samples(self) -> Path:
        return self.path / "system.jsonl"

    @property
    def split_file(self) -> Path:
        """Which samples the run trained on and held out."""
        return self.path / "split.json"

    @property
    def proc_file(self) -> Path:
        return self.path / "proc.json"

    @property
    def exit_file(self) -> Path:
        return self.path / "exit.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def gallery(self) -> Path:
        return self.path / "gallery"

    @property
    def outputs(self) -> Path:
        return self.path / "outputs"

    def create(self, card: RunCard, config: RunConfig) -> None:
        """Make the folder with its card and its frozen config, or nothing.

        Raises FileExistsError if it exists, OSError when the disk refuses it.
        """
        self.path.mkdir(parents=True)
        try:
            for folder in (self.checkpoints, self.gallery, self.outputs):
                folder.mkdir()
            write_json(self.config_file, config.model_dump(mode="json"))
            self.write_card(card)
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    @property
    def owner(self) -> str:
        """Whose run it is by its folder, "" where that belongs to the user of this process, or is missing."""
        uid = owner_of_path(self.path)
        return "" if uid in (None, os.geteuid()) else user_name(uid)

    def why_unwritable(self) -> str:
        """Why this user cannot work on the run, in words that say whose it is; "" when that is possible."""
        folders = (self.path, self.checkpoints, self.gallery, self.outputs)
        for place in (*folders, self.journal, self.log, self.samples):
            if why := why_unwritable(place):
                return why
        return ""

    def write_card(self, card: RunCard) -> None:
        write_json(self.card_file, asdict(card))

    def read_card(self) -> RunCard:
        """Raises RunDirError when the folder has no readable card."""
        value = self._read_json(self.card_file)
        try:
            return RunCard(
                id=str(value["id"]),
                name=str(value["name"]),
                experiment=str(value["experiment"]),
                created=float(value["created"]),
                tags=tuple(str(tag) for tag in value.get("tags", ())),
                note=str(value.get("note", "")),
                priority=int(value.get("priority", 0)),
                paused=bool(value.get("paused", False)),
                after=str(value.get("after", "")),
                queued_for=int(value.get("queued_for", 1)),
                queued_at=float(value["queued_at"]) if value.get("queued_at") is not None else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunDirError(f"{self.card_file}: is not a run's card: {error!r}") from error

    def read_config(self) -> RunConfig:
        """Raises RunDirError when the folder has no readable config."""
        from engine.config import RunConfig  # making its models takes longer than listing a thousand runs

        value = self._read_json(self.config_file)
        try:
            return RunConfig.model_validate(value)
        except ValueError as error:
            raise RunDirError(f"{self.config_file}: is not a config this version reads: {error}") from error

    def write_proc(self, process: ProcessIdentity, attempt: int) -> None:
        """Say which process works on which attempt, and how often the kernel has killed for memory so far."""
        write_json(self.proc_file, {**process.as_json(), "attempt": attempt, "oom_kills": oom_kills()})

    def read_proc(self) -> ProcessIdentity | None:
        """The process of the latest attempt; None when no worker has come up yet, or none is named rightly.

        A hint: the file is open to whoever may write in the folder. `engine.agent.workers` says which process
        really is a worker of the run.
        """
        try:
            return ProcessIdentity.from_json(self._proc())
        except ValueError:
            return None

    def proc_fault(self) -> str:
        """What is wrong with proc.json, in one line; "" when nothing is, or there is none."""
        try:
            ProcessIdentity.from_json(read_json(self.proc_file))
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"{self.proc_file}: cannot be read: {error.strerror}"
        except ValueError as error:
            return f"{self.proc_file}: {error}"
        return ""

    def read_proc_attempt(self) -> int:
        """The attempt whose worker came up last, 0 when none did."""
        attempt = self._proc().get("attempt")
        return attempt if type(attempt) is int else 0

    def met_oom_killer(self) -> bool:
        """Whether the kernel has killed for want of memory since the latest worker came up, where it did."""
        before = self._proc().get("oom_kills")
        return isinstance(before, dict) and oom_killed_since(before)

    def _proc(self) -> dict[str, Any]:
        try:
            value = read_json(self.proc_file)
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def beat(self) -> None:
        """Say that the worker is alive: the modification time of proc.json is the heartbeat."""
        os.utime(self.proc_file)

    def last_beat(self) -> float | None:
        """UTC seconds of the last heartbeat, None before the first."""
        try:
            return self.proc_file.stat().st_mtime
        except OSError:
            return None

    def write_exit(self, attempt: int, status: str, cause: str, message: str = "") -> None:
        write_json(self.exit_file, asdict(ExitRecord(attempt, status, cause, message, time.time())))

    def read_exit(self) -> ExitRecord | None:
        """What the worker has left of its end; None when it has left nothing, or nothing that can be
        meant."""
        try:
            record = ExitRecord(**read_json(self.exit_file))
        except (OSError, ValueError, TypeError):
            return None
        texts = (record.status, record.cause, record.message)
        valid = type(record.attempt) is int and all(isinstance(text, str) for text in texts)
        return record if valid and isinstance(record.time, (int, float)) else None

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            value = read_json(path, LARGEST_FILE)
        except OSError as error:
            raise RunDirError(f"{path}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise RunDirError(f"{path}: is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise RunDirError(f"{path}: holds no JSON object")
        return value
