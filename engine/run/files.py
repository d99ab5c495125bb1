"""Making files. All are made here, or by `open`, with the mode 0666 less the umask, and in the group of a
folder with the setgid bit: whoever shares a workspace decides with these two who may write what.

Files that are replaced are either whole or not there: written to a temporary name, synced, renamed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from engine.host.access import REFUSALS
from engine.host.input_files import open_regular

TEMPORARY_SUFFIX = ".tmp"

FILE_MODE = 0o666
"""Of new files, before the umask takes its part."""

LOCK_POLL_SECONDS = 0.05

LONGEST_NAME = 255
"""Bytes of a file's name, on every usual file system."""


def absolute(path: str | Path) -> Path:
    """What a person typed as a path that means the same from every folder, "~" written out.

    Links stay as they are, unless the path goes up by "..": then what it means today is kept. Raises
    FileNotFoundError for a user there is not.
    """
    whole = expanded(Path(path)).absolute()
    return whole.resolve() if ".." in whole.parts else whole


def fitting_name(name: str, most: int = LONGEST_NAME) -> str:
    """The name of a file that has at most so many bytes: of one that has more a digest and the end."""
    encoded = name.encode()
    if len(encoded) <= most:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    end = encoded[len(digest) + 2 - most :].decode(errors="ignore")
    return f"{digest}__{end}"


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a file cannot grow."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for binary writing; it becomes `path` when the block ends well.

    A crash at any byte leaves the old file or the new one, never a mixture. When the block raises, the
    temporary is removed and `path` is untouched. It is a new file: nobody can have put a link there.
    """
    token = f"{os.getpid()}.{secrets.token_hex(3)}"
    temporary = path.with_name(f".{path.name[:40]}.{token}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        # Told by the name that people know; that a disk is full has no name at all.
        is_full = isinstance(error, OSError) and error.filename is None and error.errno in FULL
        if isinstance(error, OSError) and (is_full or error.filename == str(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def expanded(path: Path) -> Path:
    """The path with a leading `~` or `~user` resolved. Raises FileNotFoundError for a user that is not there
    or has no home."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        own = path.parts[0] == "~"
        reason = "no home is known; set HOME" if own else "no such user; a folder of that name is ./~name"
        raise FileNotFoundError(errno.ENOENT, reason, str(path)) from error


def behind_links(path: Path) -> Path:
    """The file itself, where `path` is a link to it: what is kept beside a file is beside that."""
    return path.resolve() if path.is_symlink() else path


def is_same_folder(one: Path, other: Path) -> bool:
    """Whether two paths lead to one folder, by links or otherwise; of folders that are not there, whether the
    paths are equal."""
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False


def with_tilde(path: Path) -> str:
    """A path as people write it: `~` for their home."""
    home = Path(os.path.expanduser("~"))
    return str("~" / path.relative_to(home)) if path.is_relative_to(home) else str(path)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems refuse to sync folders; the rename itself has happened
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` with `value` as indented JSON."""
    with replacing(path) as stream:
        stream.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def read_json(path: Path, limit: int = 1 << 20) -> Any:
    """The JSON value of a small file that others may have written.

    Raises OSError when it cannot be read or is not a regular file, ValueError when it is not JSON, nested too
    deep or larger than `limit` bytes.
    """
    with open_regular(path) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"is larger than {limit} bytes")
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("is nested too deep") from None


def sweep_temporaries(folder: Path) -> list[Path]:
    """Remove what a killed writer left behind in `folder`; returns what was removed."""
    removed = []
    for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            path.unlink()
            removed.append(path)
    return removed


def move_files(source: Path, target: Path) -> None:
    """Move the files of a folder into another on the same file system, in the place of those that are called
    alike there; the last name first, as FILE needs FILE.data."""
    for path in sorted(source.iterdir(), reverse=True):
        os.replace(path, target / path.name)


def as_new(path: Path) -> None:
    """Give a file or folder that was copied from elsewhere the modes and the group that new ones get there,
    with all that is in it.

    Times stay. Links are left alone. Raises OSError.
    """
    probe = path.with_name(f".{secrets.token_hex(6)}{TEMPORARY_SUFFIX}")
    probe.mkdir()
    try:
        of_folders = probe.stat()
        (probe / "file").touch(FILE_MODE)
        of_files = (probe / "file").stat()
        (probe / "file").unlink()
    finally:
        probe.rmdir()
    for place, folders, files in os.walk(path, topdown=False):
        for name, wanted in [(name, of_files) for name in files] + [(name, of_folders) for name in folders]:
            _take_over(Path(place) / name, wanted)
    _take_over(path, of_folders if path.is_dir() else of_files)


def _take_over(path: Path, wanted: os.stat_result) -> None:
    if path.is_symlink():
        return
    if path.stat().st_gid != wanted.st_gid:
        os.chown(path, -1, wanted.st_gid)
    path.chmod(stat.S_IMODE(wanted.st_mode))  # last: a change of the group takes the setgid bit away


def open_shared(path: str | Path, flags: int) -> int:
    """Open a file that several users write, made where it is missing; for `open(..., opener=open_shared)`.

    A file that is there is opened without O_CREAT, which Linux refuses for somebody else's file in a folder
    with the sticky bit (fs.protected_regular).
    """
    made_by_another = 0
    while True:
        try:
            return os.open(path, flags & ~(os.O_CREAT | os.O_EXCL))
        except FileNotFoundError:
            if made_by_another > 1:  # a link that leads nowhere is there and is not
                raise
        try:
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, FILE_MODE)
        except FileExistsError:
            made_by_another += 1


class FileLock:
    """A lock that all processes of a machine agree on, by the name of a file. The kernel lets go of it when
    its holder ends, however that happens. The file stays: without it two could hold the lock at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self, timeout: float = 0.0) -> bool:
        """Take it, waiting for others at most `timeout` s; False when one of them still has it.

        Raises OSError when the file can neither be made nor opened.
        """
        descriptor = self._open()
        deadline = time.monotonic() + timeout
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        os.close(descriptor)
                        return False
                    time.sleep(LOCK_POLL_SECONDS)
                else:
                    self._descriptor = descriptor
                    return True
        except BaseException:
            os.close(descriptor)
            raise

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        try:
            return open_shared(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in REFUSALS or not self.path.exists():
                raise
            # Made by somebody whose umask lets nobody else write; a lock needs no more than to read.
            return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def lock_if_free(path: Path) -> Iterator[bool]:
    """Hold a FileLock if nobody else does; says whether it is held."""
    lock = FileLock(path)
    held = lock.acquire()
    try:
        yield held
    finally:
        lock.release()
