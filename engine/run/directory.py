"""The run directory `runs/<id>/`: everything one run is and leaves behind.

A worker knows this folder and nothing else, so it can be copied to another machine, run there and
be brought home.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import string
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from engine.errors import EngineError
from engine.host.access import owner_of_path, user_name, why_unwritable
from engine.host.input_files import open_regular
from engine.host.oom import oom_killed_since, oom_kills
from engine.host.processes import ProcessIdentity
from engine.run.bounds import (
    MAX_FILE,
    Attempt,
    Name,
    Note,
    OptionalRunId,
    RunId,
    Signed,
    Tag,
    Time,
    Whole,
    without_nul,
)
from engine.run.files import read_json, write_json

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig

RUN_VARIABLE = "SEG_RUN_FOLDER"
"""The variable that names a worker's run folder, and by which its children are known when they outlive it."""

ID_LENGTH = 8
ID_ALPHABET = string.ascii_lowercase + string.digits

MAKING = ".making-"
"""What the name of a folder begins with that is not whole yet."""


def new_run_id() -> str:
    """Eight characters of `[a-z0-9]`: 2.8e12 ids, so that machines need not agree on them."""
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))


class RunDirError(EngineError):
    """A run directory that cannot be used; the message is one line."""


@dataclass(frozen=True)
class RunCard:
    """What people call a run and want of it: all that is not the config. Times are UTC seconds.

    `queued_for` is the attempt that it was last queued for, 0 when it was started past the queue or taken out
    of it; `queued_at` says when, None for `created`. Lists leave out a run that is `archived`; one that is
    `protected` is never deleted. `trial` is the number of a trial of a search, from 0; None for other runs.
    """

    id: RunId
    name: Name
    experiment: Name
    created: Time
    tags: tuple[Tag, ...] = ()
    note: Note = ""
    priority: Signed = 0
    paused: bool = False
    after: OptionalRunId = ""
    queued_for: Attempt = 1
    queued_at: Time | None = None
    archived: bool = False
    protected: bool = False
    trial: Whole | None = None


@dataclass(frozen=True)
class ExitRecord:
    """How an attempt ended, as the worker itself saw it."""

    attempt: Attempt
    status: Name
    cause: Name
    message: str
    time: Time


@cache
def _reader(kind: type[Any]) -> TypeAdapter[Any]:
    """Made when first used: listing runs reads neither card nor end."""
    return TypeAdapter(kind)


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
    def environment_file(self) -> Path:
        """What each attempt was computed with."""
        return self.path / "environment.json"

    @property
    def origin_file(self) -> Path:
        """What is known of the run that this one makes again."""
        return self.path / "reproduces.json"

    @property
    def class_pixels_file(self) -> Path:
        """Of how many pixels of the training images each class is, where the loss weighs classes."""
        return self.path / "class_pixels.json"

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
    def event_files(self) -> Path:
        """For TensorBoard."""
        return self.path / "tensorboard"

    @property
    def outputs(self) -> Path:
        return self.path / "outputs"

    def create(self, card: RunCard, config: RunConfig, files: Mapping[str, bytes] | None = None) -> None:
        """Make the folder with its card, its frozen config and other `files` by name, or nothing.

        Raises FileExistsError if it exists, OSError when the disk refuses it, RunDirError for a card that
        would not be read again.
        """
        refuse_unreadable(card)
        if os.path.lexists(self.path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.path))
        # Whoever looks at the folders of runs meanwhile, or after a crash, sees none that is half made. Nor
        # does what a crash has left stand in the way of a run of the same id that is made once more.
        fresh = RunDir(self.path.with_name(f"{MAKING}{self.id}.{secrets.token_hex(3)}"))
        fresh.path.mkdir(parents=True)
        try:
            for folder in (fresh.checkpoints, fresh.gallery, fresh.outputs):
                folder.mkdir()
            write_json(fresh.config_file, config.model_dump(mode="json"))
            for name, content in (files or {}).items():
                (fresh.path / name).write_bytes(content)
            fresh.write_card(card)
            fresh.path.rename(self.path)
        except BaseException:
            shutil.rmtree(fresh.path, ignore_errors=True)
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
        content, _ = _read_object(self.card_file)
        try:
            card: RunCard = _reader(RunCard).validate_json(content, strict=True)
            return card
        except ValidationError as error:
            raise RunDirError(f"{self.card_file}: is not a run's card: {_told(error)}") from error

    def read_config(self) -> RunConfig:
        """Raises RunDirError when the folder has no readable config."""
        from engine.config.files import config_from_json  # takes longer than listing all runs
        from engine.config.keys import ConfigError  # takes longer than listing all runs

        content, _ = _read_object(self.config_file)
        try:
            return config_from_json(content)
        except ConfigError as error:
            more = f"; and {len(error.problems) - 1} more problems" if len(error.problems) > 1 else ""
            told = f"{_shortened(error.problems[0])}{more}"
            raise RunDirError(
                f"{self.config_file}: is not a valid config for this version: {told}"
            ) from error

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
            return _read_object(self.proc_file)[1]
        except RunDirError:
            return {}

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
        """The worker's own last word, None when there is none that can be read."""
        try:
            told: ExitRecord = _reader(ExitRecord).validate_json(_read_object(self.exit_file)[0], strict=True)
            return told
        except (RunDirError, ValidationError):
            return None


def refuse_unreadable(card: RunCard) -> None:
    """Raises RunDirError for a card that `RunDir.read_card` would refuse."""
    for key, value in asdict(card).items():
        try:
            "".join(value if isinstance(value, str | tuple) else ()).encode()
        except UnicodeEncodeError as error:
            raise RunDirError(f"{key}: {value!a} is no text: it is not UTF-8") from error
    try:
        _reader(RunCard).validate_json(json.dumps(asdict(card)), strict=True)
    except ValidationError as error:
        raise RunDirError(_told(error)) from error


def _told(error: ValidationError) -> str:
    """What is wrong first, in a line."""
    problem = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{key} is missing"
    return f"{key}{key and ': '}{_shortened(problem['msg'])}"


def is_run_folder(path: Path) -> bool:
    """Whether something in `runs/` is a run, or would like to be: a folder that is not hidden, or a link,
    which may lead to a disk that is not there now."""
    return not path.name.startswith(".") and (path.is_dir() or path.is_symlink())


def _read_object(path: Path) -> tuple[bytes, dict[str, Any]]:
    """A small JSON file of a run, as text without NUL and as the object it is.

    Raises RunDirError for all that is no whole JSON object: nested without end, with a key that is there
    twice, with numbers that JSON does not have or longer than any.
    """
    try:
        with open_regular(path) as stream:
            content = stream.read(MAX_FILE + 1)
    except OSError as error:
        folder = path.parent
        if folder.is_symlink() and not folder.exists():
            raise RunDirError(f"{folder}: is a link to {os.readlink(folder)}, where no folder is") from error
        raise RunDirError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE:
        raise RunDirError(f"{path}: is larger than {MAX_FILE} bytes")
    content = without_nul(content)
    try:
        value = json.loads(content.decode(), object_pairs_hook=_once_each, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise RunDirError(f"{path}: is not JSON: it is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise RunDirError(f"{path}: is not JSON that this program reads: it is nested too deeply") from error
    except ValueError as error:
        raise RunDirError(f"{path}: is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RunDirError(f"{path}: is not a JSON object")
    return content, value


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {_shortened(twice)!r} is there twice")
    return value


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is not a number")


def _shortened(text: str) -> str:
    """As much of a text as a line can show."""
    return text if len(text) <= 300 else f"{text[:300]}…"
