"""The SHA-256 of each archive at its first download, as its publisher states none.

They are kept for a person, in `$XDG_DATA_HOME/seg-engine/checksums.json` (`~/.local/share` where that is not
set): whoever downloads again, to whatever folder, gets the same bytes or is told.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from engine.data.faults import DataError
from engine.data.published.download import sha256_of
from engine.run.files import read_json, write_json


def checksum_file() -> Path:
    """Raises DataError for a person without a home."""
    given = os.environ.get("XDG_DATA_HOME", "")
    home = given if given.startswith("/") else os.path.expanduser("~/.local/share")
    if not home.startswith("/"):
        raise DataError("no home folder is known to keep checksums in; set HOME or XDG_DATA_HOME")
    return Path(home, "seg-engine", "checksums.json")


def verify(key: str, path: Path) -> str:
    """The SHA-256 of a downloaded file. Raises DataError, and removes the file, when an earlier download of
    this archive had another one."""
    digest = sha256_of(path)
    known = _recorded(checksum_file()).get(key, digest)
    if known != digest:
        path.unlink()
        raise DataError(
            f"{key}: has SHA-256 {digest}, the first download had {known}; it was removed; if the publisher "
            f"has changed the file, remove its line from {checksum_file()}"
        )
    return digest


def record(key: str, digest: str) -> None:
    """Keep the checksum of an archive that proved to be whole."""
    path = checksum_file()
    known = _recorded(path)
    if key not in known:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, known | {key: digest})


def _recorded(path: Path) -> dict[str, Any]:
    try:
        told = read_json(path)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{path}: {error}; repair it, or remove it to forget all checksums") from error
    if not isinstance(told, dict):
        raise DataError(f"{path}: must hold an object; repair it, or remove it to forget all checksums")
    return told
