"""Who owns a file, who may write it, and how to say so: for workspaces that several people share."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from pathlib import Path

from engine.errors import EngineError

REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Error numbers that mean: this user may not, or nobody may."""


class NotYours(EngineError):
    """A file or folder that this user may not write; the message is one line."""


def user_name(uid: int | None = None) -> str:
    """The name of a user (default: the one whose rights this process has); a number where it has none."""
    uid = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def owner_of_path(path: Path) -> int | None:
    """The user id of whoever owns a file or folder, None where it cannot be looked at."""
    try:
        return path.stat().st_uid
    except OSError:
        return None


def described(path: Path) -> str:
    """Owner, group and mode of a file or folder in words; "" where it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return ""
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return f"belongs to {user_name(status.st_uid)} (group {group}, mode {stat.filemode(status.st_mode)})"


def why_unwritable(path: Path) -> str:
    """Why this user cannot write a file, or make files in a folder: whose it is, and its mode.

    "" when it can be written, also where it is missing.
    """
    if not path.exists() or os.access(path, os.W_OK | (os.X_OK if path.is_dir() else 0)):
        return ""
    try:
        read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        read_only = False
    if read_only:
        return f"{path} is on a file system that is mounted read-only"
    return f"{path} {described(path)}; {user_name()} may not write to it"


def why_unreadable(path: Path) -> str:
    """Why this user cannot read a file or list a folder; "" when it can be read, also where it is missing."""
    for folder in reversed(path.absolute().parents):
        if not os.access(folder, os.X_OK) and folder.exists():
            return f"{folder} {described(folder)}; {user_name()} may not enter it"
    if not path.exists() or os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        return ""
    return f"{path} {described(path)}; {user_name()} may not read it"


def refuse_unwritable(path: Path, instead: str) -> None:
    """Raises NotYours when this user cannot make the file or folder `path`; `instead` says what helps."""
    place = next(place for place in (path, *path.absolute().parents) if place.exists())
    if why := why_unwritable(place):
        raise NotYours(f"{path}: cannot be written: {why}; {instead}")


def why_irremovable(folder: Path) -> str:
    """Why this user cannot remove a folder with all that is in it; "" when it can go, or is missing."""
    if why := why_unwritable(folder.parent):
        return why
    above, me = folder.parent.stat(), os.geteuid()
    if above.st_mode & stat.S_ISVTX and me not in (0, above.st_uid, owner_of_path(folder)):
        return f"{folder} {described(folder)}; in {folder.parent}, users may remove only their own files"
    if folder.is_symlink():
        return ""
    unlisted: list[OSError] = []  # which os.walk itself passes over
    for place, folders, files in os.walk(folder, onerror=unlisted.append):
        if (folders or files) and (why := why_unwritable(Path(place))):
            return why
    refused = next((error for error in unlisted if error.errno in REFUSALS), None)
    return explain(refused) if refused is not None else ""


def reason(error: OSError) -> str:
    """What the operating system says; where rights were missing, also whose the file is."""
    words = error.strerror or str(error)
    if not error.filename or error.errno not in REFUSALS:
        return words
    path = Path(os.fsdecode(error.filename)).absolute()
    why = why_unreadable(path) or why_unwritable(path) or why_unwritable(path.parent)
    return f"{words}; {why}" if why else words


def explain(error: OSError) -> str:
    """One line about an error of the operating system: the file, and the reason."""
    return f"{os.fsdecode(error.filename)}: {reason(error)}" if error.filename else reason(error)
