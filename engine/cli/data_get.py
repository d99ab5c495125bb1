"""`seg-engine data get NAME DIR`: from an address on the web to a data set that passes `data check`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import typer

from engine.cli.console import download_bar, notices, output, progress_bar
from engine.cli.data import check
from engine.config.keys import ConfigError
from engine.data.faults import DataError
from engine.data.published.checksums import checksum_file, record, verify
from engine.data.published.download import download
from engine.data.published.sources import RECORD, SOURCES, Archive, Source
from engine.data.published.unpack import unpack
from engine.host.access import refuse_unwritable
from engine.run.files import absolute, write_json

SCRATCH = ".download"
"""Of a data set's folder: what is not whole yet."""


def get(name: str, root: Path, accepted: bool, mirror: str) -> int:
    """Fetch, unpack and check a data set; returns the status of the check. What is there already is checked
    only. Raises ConfigError, DataError and NotYours, one line each."""
    source, root = SOURCES[name], absolute(root)
    if mirror and not mirror.startswith(("http://", "https://")):
        raise ConfigError([f"--mirror {mirror}: must begin with http:// or https://"])
    if (root / RECORD).is_file():
        output.say(f"{root}: already fetched, see {RECORD}")
        return check(root, source.layout, "auto", as_json=False)
    unpacked, command = root / SCRATCH / "unpacked", ""
    is_whole = (unpacked / RECORD).is_file()  # and was to be moved to its place
    if not is_whole:
        _refuse_occupied(source, root)
        refuse_unwritable(root, "name a folder of your own")
        command = _downloader(name, source)
        _accept(name, source, accepted)
    with _scratch(root) as scratch:
        if not is_whole:
            _fetch_all(name, source, command, mirror, scratch, unpacked)
        for path in sorted(unpacked.iterdir(), key=lambda path: path.name == RECORD):
            path.rename(root / path.name)
        shutil.rmtree(scratch)
    return check(root, source.layout, "auto", as_json=False)


def _fetch_all(name: str, source: Source, command: str, mirror: str, scratch: Path, unpacked: Path) -> None:
    """Fetch and unpack a data set into a new folder `unpacked`, where the record of it comes last: with it
    all is whole. `command` is that of `_downloader`."""
    if command:
        _fetch_by_account(command, source, scratch)
        fetched = [{"name": archive.name, "by": source.downloader} for archive in source.archives]
    else:
        fetched = [_fetch(name, archive, mirror, scratch) for archive in source.archives]
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    for archive in source.archives:
        with progress_bar(f"unpacking {archive.name}") as report:
            unpack(scratch / archive.name, unpacked, archive.place, report)
    for told in fetched:
        if "sha256" in told:
            record(f"{name}/{told['name']}", told["sha256"])
    kept: dict[str, object] = {"data set": name, "page": source.page, "licence": list(source.licence)}
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_json(unpacked / RECORD, kept | {"archives": fetched, "fetched": when})


def _refuse_occupied(source: Source, root: Path) -> None:
    taken = [folder for folder in source.folders if os.path.lexists(root / folder)]
    if taken:
        raise DataError(
            f"{root / taken[0]}: already exists and was not fetched by this command; name another folder"
        )


def _accept(name: str, source: Source, accepted: bool) -> None:
    """Show the licence; go on when it is accepted. Raises ConfigError where nobody can be asked."""
    for line in source.licence:
        notices.say(line)
    notices.say(f"page: {source.page}")
    if accepted:
        return
    if not sys.stdin.isatty():
        raise ConfigError([f"data get {name}: read {source.page}, then add --accept-licence"])
    typer.confirm("accept these terms?", abort=True, err=True)


@contextlib.contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    """The folder for what is not whole, for one process at a time."""
    scratch = root / SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)
    with (scratch / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{root}: another `data get` is at work in it") from None
        yield scratch


def _fetch(name: str, archive: Archive, mirror: str, scratch: Path) -> dict[str, str]:
    """Download an archive unless it is here; what is to be told of it."""
    checksum_file()  # before hours of downloading, whether it can be kept
    url = f"{mirror.rstrip('/')}/{archive.name}" if mirror else archive.url
    target = scratch / archive.name
    if not target.exists():
        notices.say(f"downloading {url}")
        with download_bar(archive.name) as report:
            download(url, target, report, notices.say)
    digest = verify(f"{name}/{archive.name}", target)
    if not zipfile.is_zipfile(target):
        target.unlink()
        raise DataError(f"{url}: the server sent something that is no zip file; it was removed")
    return {"name": archive.name, "url": url, "sha256": digest}


def _downloader(name: str, source: Source) -> str:
    """The path of the official downloader, "" where none is needed. Raises ConfigError without it."""
    if not source.downloader:
        return ""
    places = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    found = shutil.which(source.downloader, path=places)
    if found is None:
        how = "`pip install cityscapesScripts` installs it, and it asks for your account"
        raise ConfigError([f"data get {name}: needs {source.downloader}; {how}"])
    return found


def _fetch_by_account(command: str, source: Source, scratch: Path) -> None:
    """Have the official downloader fetch what is missing; it asks for the account and checks what it gets.
    Raises DataError."""
    for archive in source.archives:
        target = scratch / archive.name
        if zipfile.is_zipfile(target):
            continue
        resume = ["--resume"] if target.exists() else []
        done = subprocess.run([command, *resume, "--destination_path", str(scratch), archive.name])
        if done.returncode:
            if zipfile.is_zipfile(target):  # whole, and not what it should be
                target.unlink()
            raise DataError(
                f"{archive.name}: {source.downloader} ended with exit status {done.returncode}, see above; "
                "run the command again to go on"
            )
