"""Files that people name or that others may have put there: opened when they are regular files, read whole
when they have a size that makes sense.

A FIFO, a socket or a device is refused before it is opened, as reading one may never end. TOML is read here,
and nowhere else: a byte order mark is no part of it, and nesting has a limit.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from engine.errors import EngineError

MOST_BYTES = 1 << 30
"""Of an image or a label."""

MOST_TOML_BYTES = 1 << 20

MOST_NESTED = 32
"""Levels of tables and lists in a TOML file; a config has three."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

_LONG_KEY = re.compile(r"""(?:\.[ \t]*(?:[\w-]{1,4096}|"[^"\n]{0,4096}"|'[^'\n]{0,4096}')[ \t]*){32}""")
"""A dotted key of too many parts, which `tomllib` takes minutes for."""


class InputFileError(EngineError, ValueError):
    """A file that cannot be used. `problem` says why without naming it; the message names it, too."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{shown(path)}: {problem}")
        self.path, self.problem = path, problem


def shown(path: str | os.PathLike[str]) -> str:
    """A path as text that every file and terminal takes: bytes that are not UTF-8 are written as \\xdf."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def version_of(path: Path) -> tuple[int, ...] | None:
    """Differs between two versions of a file, also where one has taken the other's place; None where there is
    none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def is_text(name: str) -> bool:
    """Whether a name can be stored: one that is not UTF-8 reaches Python with surrogates, which JSON and
    databases refuse."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_irregular(path: Path) -> int:
    """Raise InputFileError unless `path` is a regular file or a link to one; returns its size in bytes."""
    try:
        status = os.stat(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path.is_symlink():
            raise InputFileError(path, f"is a broken link to {shown(os.readlink(path))}") from error
        if isinstance(error, FileNotFoundError):
            raise InputFileError(path, "there is no such file") from error
        raise InputFileError(path, f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # a name with a null byte
        raise InputFileError(path, "there is no such file") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputFileError(path, _irregular(status.st_mode))
    return status.st_size


def _irregular(mode: int) -> str:
    kind = next((f" but {name}" for is_kind, name in _KINDS if is_kind(mode)), "")
    return f"is not a regular file{kind}"


def open_regular(path: Path) -> BinaryIO:
    """Open a file for binary reading. Raises OSError also for what is not a regular file: a FIFO would block,
    a device may never end."""
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        # Between the look and the opening it may have become a FIFO: without O_NONBLOCK that would wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
    raise OSError(errno.EINVAL, _irregular(mode), str(path))


def read_regular(path: Path, most: int = MOST_BYTES) -> bytes:
    """All bytes of a regular file. Raises InputFileError; never waits for a FIFO or a device."""
    size = refuse_irregular(path)
    if size > most:
        raise InputFileError(path, f"has {size:,} bytes; at most {most:,} are read")
    try:
        with open_regular(path) as stream:
            # Python makes room for as much as is asked for before it reads.
            return stream.read(size)
    except OSError as error:
        raise InputFileError(path, f"cannot be read: {error.strerror}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, with or without a byte order mark. Raises InputFileError."""
    return read_toml_with_lines(path)[0]


def read_toml_with_lines(path: Path) -> tuple[dict[str, Any], Callable[[tuple[str, ...]], int]]:
    """The tables of a TOML file as `read_toml` gives them, and on which line a table or a key begins."""
    content = read_regular(path, MOST_TOML_BYTES)
    try:
        text = content.decode("utf-8-sig")
        return parse_toml(text), partial(_line_of, text)
    except UnicodeDecodeError as error:
        raise InputFileError(path, "is not valid UTF-8 text, as TOML must be") from error
    except tomllib.TOMLDecodeError as error:
        raise InputFileError(path, f"is not valid TOML: {error}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises TOMLDecodeError, also for one that is nested too deeply."""
    too_deep = f"it is nested more than {MOST_NESTED} levels deep"
    if _LONG_KEY.search(text):
        raise tomllib.TOMLDecodeError(too_deep)
    try:
        table = tomllib.loads(text)
    except RecursionError as error:
        raise tomllib.TOMLDecodeError(too_deep) from error
    if _depth(table) > MOST_NESTED:
        raise tomllib.TOMLDecodeError(too_deep)
    return table


def _line_of(text: str, name: tuple[str, ...]) -> int:
    """The line, from 1, on which the table or the key `name` begins in a valid TOML text; 0 where it is not
    there. Of a table that begins more than once, the first."""
    header: list[str] = []
    begun, statement = 1, ""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        begun, statement = (begun, f"{statement}{line}\n") if statement else (number, f"{line}\n")
        try:
            found = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # of a statement of several lines, this is not the last
        if statement.lstrip().startswith("["):
            header = _only_path(found)
        for path in _paths(found):
            whole = tuple(path if statement.lstrip().startswith("[") else [*header, *path])
            if whole == name:
                return begun
        statement = ""
    return 0


def _only_path(table: Any) -> list[str]:
    """The name in a table's head."""
    path = []
    while table:
        name, table = next(iter(table.items()))
        path.append(name)
        table = table[0] if isinstance(table, list) else table
    return path


def _paths(table: Mapping[str, Any]) -> Iterator[list[str]]:
    """The names of all tables and keys in a table."""
    for name, value in table.items():
        yield [name]
        if isinstance(value, Mapping):
            yield from ([name, *rest] for rest in _paths(value))


def _depth(table: object) -> int:
    """Levels of tables and lists, looked for no deeper than the limit."""
    level, depth = [table], 0
    while level and depth <= MOST_NESTED:
        inner: list[object] = []
        for value in level:
            if isinstance(value, Mapping):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
        level, depth = [v for v in inner if isinstance(v, Mapping | list)], depth + 1
    return depth
