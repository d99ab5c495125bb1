"""Unpacking zip files that come from elsewhere: nothing is written outside the folder, no link is made."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from engine.data.faults import DataError
from engine.data.published.sources import Place
from engine.host.input_files import shown


def unpack(archive: Path, folder: Path, place: Place, report: Callable[[int, int], None]) -> None:
    """Unpack what `place` puts somewhere; `report` takes the files done and all. The archive is judged as a
    whole before its first file is written. Raises DataError."""
    try:
        with zipfile.ZipFile(archive) as content:
            members = [member for member in content.infolist() if not member.is_dir()]
            for member in members:
                _refuse_unsafe(archive, member)
            chosen = [(member, target) for member in members if (target := place(member.filename))]
            if not chosen:
                raise DataError(f"{archive.name}: holds none of the data set's files")
            needed, free = sum(member.file_size for member, _ in chosen), shutil.disk_usage(folder).free
            if needed > free:
                raise DataError(
                    f"{archive.name}: unpacked it takes {needed:,} bytes, {folder} has {free:,} free"
                )
            for done, (member, target) in enumerate(chosen, start=1):
                (folder / target).parent.mkdir(parents=True, exist_ok=True)
                with content.open(member) as source, (folder / target).open("wb") as stream:
                    shutil.copyfileobj(source, stream)
                report(done, len(chosen))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive.name}: is no intact zip file: {error}") from error


def _refuse_unsafe(archive: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        problem = "would be written outside the folder"
    elif (kind := stat.S_IFMT(member.external_attr >> 16)) and not stat.S_ISREG(kind):
        problem = "is a link" if stat.S_ISLNK(kind) else "is not a regular file"
    else:
        return
    raise DataError(f"{archive.name}: {shown(name)} {problem}; nothing was unpacked")
