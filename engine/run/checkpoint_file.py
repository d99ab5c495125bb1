"""Whether a checkpoint's bytes are those that were written, told without torch."""

from __future__ import annotations

import errno
import hashlib
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from engine.errors import EngineError
from engine.host.input_files import open_regular


class CheckpointError(EngineError):
    """A checkpoint that cannot be written or used; the message is one line that names the file."""


class DamagedCheckpoint(CheckpointError):
    """Its bytes are not those that were written."""


def verify_checkpoint(path: Path) -> None:
    """Compare every record of the file with its checksum.

    `torch.load` itself does not: a flipped bit comes back as another weight. 124 MB take 0.04 s.
    """
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
            changed = next(filter(_is_odd, archive.infolist()), None) or archive.testzip()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: does not exist") from error
    except OSError as error:
        # A bad sector, or an offset that points out of the file; not one that could not be opened.
        if error.filename is None and error.errno in (errno.EIO, errno.EINVAL):
            raise DamagedCheckpoint(f"{path}: is damaged: {error.strerror}") from error
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, struct.error) as error:
        raise DamagedCheckpoint(f"{path}: is damaged: {first_line(error)}") from error
    if isinstance(changed, zipfile.ZipInfo):
        raise DamagedCheckpoint(f"{path}: is damaged: the entry of {changed.filename} was changed")
    if changed is not None:
        raise DamagedCheckpoint(f"{path}: is damaged: the checksum of {changed} does not match")


def _is_odd(entry: zipfile.ZipInfo) -> bool:
    """Whether the table of contents, which has no checksum, says what torch never writes.

    Its records are neither compressed nor folders, and for a "folder" torch returns memory as it finds it.
    """
    return entry.file_size != entry.compress_size or entry.external_attr != 0


def sha256_of(path: Path) -> str:
    """The SHA-256 of a checkpoint's file. Raises OSError."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def other_classes(known: Sequence[str], wanted: Sequence[str], whose: str = "the run") -> str:
    """In what a network that knows some classes is not one of the `wanted`, which are those of `whose`."""
    return (
        f"knows the {len(known)} classes {', '.join(known)}; {whose}'s {len(wanted)} are {', '.join(wanted)}"
    )
