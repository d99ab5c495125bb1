"""Downloads over HTTP that survive a broken connection and a killed program.

What has arrived is in `NAME.part`, what is known of the whole in `NAME.part.json`. A download goes on where
it ended by a range request (RFC 9110, section 14), provided that the server still has the same file; where it
cannot say so, or ignores the range, the download begins anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.data.faults import DataError
from engine.run.files import read_json, write_json

Report = Callable[[int, int | None], None]
"""Takes the bytes that are here and those of the whole file, None where the server does not say."""

TIMEOUT = 30.0
"""Seconds of silence after which a connection counts as broken."""

TRIES = 6
"""Connections in a row that bring nothing new before it is given up."""

_BLOCK = 1 << 16
_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers that may be others a moment later."""


class DownloadError(DataError):
    """A download that failed; the message is one line."""


class _Partial:
    """The part of a file that is here. `validator` is the server's name for this version of the file."""

    def __init__(self, target: Path, url: str) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._facts = target.with_name(f"{target.name}.part.json")
        self._url = url
        self.validator, self.total = "", None
        with contextlib.suppress(OSError, ValueError):
            told = read_json(self._facts)
            if isinstance(told, dict) and told.get("url") == url:
                self.validator, self.total = str(told["validator"]), told["total"]
        if not self.validator:
            self.restart("", None)

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def is_whole(self) -> bool:
        return self.total is not None and self.size == self.total

    def restart(self, validator: str, total: int | None) -> None:
        self.path.write_bytes(b"")
        self.validator, self.total = validator, total
        write_json(self._facts, {"url": self._url, "validator": validator, "total": total})

    def become(self, target: Path) -> None:
        os.replace(self.path, target)
        self._facts.unlink(missing_ok=True)


def download(
    url: str,
    target: Path,
    report: Report,
    tell: Callable[[str], None],
    timeout: float = TIMEOUT,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Fetch `url` to `target`, which is there once it is whole. `tell` gets a line when a connection
    broke and the download goes on. Raises DownloadError."""
    part = _Partial(target, url)
    furthest, failures = part.size, 0
    while True:
        try:
            _fetch(url, part, report, timeout)
            break
        except _Broken as error:
            failures = 0 if part.size > furthest else failures + 1
            furthest = max(furthest, part.size)
            if failures >= TRIES:
                raise DownloadError(
                    f"{url}: {error}, {TRIES} times in a row; run the command again to go on"
                ) from error
            seconds = min(2.0**failures, 30.0)
            tell(f"{url}: {error}; trying again in {seconds:.0f} s")
            wait(seconds)
    part.become(target)


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _Broken(Exception):
    """A connection that did not bring the whole file; another may."""


def _fetch(url: str, part: _Partial, report: Report, timeout: float) -> None:
    """Bring the rest of a file by one connection. Raises _Broken, and DownloadError where no other would
    do."""
    if part.is_whole:
        return
    begin = part.size if part.validator else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "seg-engine"}
    if begin:
        headers |= {"Range": f"bytes={begin}-", "If-Range": part.validator}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
            _begin(url, part, answer, begin)
            _receive(part, answer, report)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # what is here is longer than the file there
            part.restart("", None)
            raise _Broken("the file there has changed") from error
        said = f"the server answers {error.code} {error.reason}"
        if error.code in _PASSING:
            raise _Broken(said) from error
        raise DownloadError(
            f"{url}: {said}; if the file has moved, --mirror URL names another place"
        ) from error
    except urllib.error.URLError as error:
        raise _Broken(f"cannot be reached: {_words(error.reason)}") from error
    except TimeoutError as error:
        raise _Broken(f"no answer for {timeout:.0f} s after {part.size:,} bytes") from error
    except (ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
        raise _Broken(f"the connection broke after {part.size:,} bytes") from error
    if part.total is not None and part.size != part.total:
        raise _Broken(f"the connection ended after {part.size:,} of {part.total:,} bytes")


def _begin(url: str, part: _Partial, answer: Any, begin: int) -> None:
    """Decide by the head of an answer whether its body goes on with what is here, or begins anew."""
    if answer.status == 206:
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if told is None or int(told[1]) != begin or int(told[2]) != part.total:
            part.restart("", None)
            raise _Broken("the server sent another part than was asked for")
    else:
        length = answer.headers.get("Content-Length", "")
        etag = answer.headers.get("ETag", "")
        strong = etag if not etag.startswith("W/") else ""
        validator = strong or answer.headers.get("Last-Modified", "")
        part.restart(validator, int(length) if length.isdecimal() else None)
    missing, free = (part.total or 0) - part.size, shutil.disk_usage(part.path.parent).free
    if missing > free:
        raise DownloadError(f"{url}: needs {missing:,} bytes more, and {part.path.parent} has {free:,} free")


def _receive(part: _Partial, answer: Any, report: Report) -> None:
    with part.path.open("ab") as stream:
        here = stream.tell()
        report(here, part.total)
        while block := answer.read1(_BLOCK):
            stream.write(block)
            here += len(block)
            report(here, part.total)
        if part.total is not None and here > part.total:
            part.restart("", None)
            raise _Broken("the server sent more than it had announced")


def _words(reason: object) -> str:
    return (reason.strerror if isinstance(reason, OSError) else "") or str(reason)
