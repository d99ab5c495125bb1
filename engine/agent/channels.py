"""The ways to tell people: a webhook, the local sendmail, a command. Each returns "", or a line on why it
could not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from email.message import EmailMessage
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from engine.agent.message import EndMessage

ANSWER_SECONDS = 10.0
"""How long a server may take to answer."""

AGAIN_SECONDS = (2.0, 15.0)
"""When a server is tried again that could not be reached. One that was reached and does not answer is not: it
may have understood, and nobody is to be told twice."""

MAIL_SECONDS = 60.0
COMMAND_SECONDS = 3600.0


def post(url: str, message: EndMessage) -> str:
    """POST the message as JSON. Redirections are not followed."""
    body = json.dumps(message.record).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "seg-engine"}
    request = urllib.request.Request(url, body, headers, method="POST")
    where = urlsplit(url).hostname or ""
    for wait in (*AGAIN_SECONDS, None):
        try:
            with _OPENER.open(request, timeout=ANSWER_SECONDS):
                return ""
        except urllib.error.HTTPError as error:
            return f"{where}: answered {error.code} {error.reason}"
        except (OSError, HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(reason, TimeoutError):
                return f"{where}: no answer within {ANSWER_SECONDS:g} s"
            if wait is None or not isinstance(reason, ConnectionRefusedError):
                return f"{where}: {reason}"
        time.sleep(wait)
    raise AssertionError("the last try returns")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, which tells nobody anything."""

    def redirect_request(
        self,
        request: urllib.request.Request,
        stream: IO[bytes],
        code: int,
        message: str,
        headers: HTTPMessage,
        url: str,
    ) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def mail(addresses: str, message: EndMessage) -> str:
    """Hand a mail to the local sendmail."""
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/lib"])
    sendmail = shutil.which("sendmail", path=folders)
    if sendmail is None:
        return "there is no sendmail on this machine"
    letter = EmailMessage()
    letter["To"] = addresses
    letter["Subject"] = f"seg-engine: {message.text}"[:200]
    lines = [f"{name}: {value}" for name, value in message.record.items() if value not in ("", None)]
    letter.set_content("\n".join([message.text, "", *lines, ""]))
    try:
        done = subprocess.run(
            [sendmail, "-t", "-i"],
            input=letter.as_bytes(),
            capture_output=True,
            timeout=MAIL_SECONDS,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return f"sendmail did not end within {MAIL_SECONDS:g} s"
    except OSError as error:
        return f"sendmail: {error.strerror}"
    return _failure("sendmail", done.returncode, done.stderr)


def command(line: str, message: EndMessage, folder: str) -> str:
    """Run a shell command in a folder; SEG_* variables say what has ended."""
    if not Path(folder).is_dir():
        return f"the command cannot be started: {folder} is gone"
    with tempfile.TemporaryFile() as said:  # not a pipe: the command may outlive whoever started it
        process = subprocess.Popen(
            ["/bin/sh", "-c", line],
            cwd=folder,
            env={**os.environ, **message.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        return _ended(process, said)


def _ended(process: subprocess.Popen[bytes], said: IO[bytes]) -> str:
    """Wait for a command to end; returns what `command` does."""
    try:
        status = process.wait(COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the session that it leads, which nobody else is in
        process.wait()
        return f"the command did not end within {COMMAND_SECONDS:g} s and was killed"
    said.seek(0)
    return _failure("the command", status, said.read())


def _failure(what: str, status: int, said: bytes) -> str:
    if status == 0:
        return ""
    lines = said.decode(errors="replace").strip().splitlines()
    return f"{what} ended with exit status {status}" + (f": {lines[-1]}" if lines else "")
