"""`seg-engine watch` and `seg-engine logs`: follow a run that somebody else looks after.

Whoever may only look sees its end once they have put it into the database.
"""

from __future__ import annotations

import sys
import time
from codecs import getincrementaldecoder

from engine.agent.ingest import is_settled, refresh
from engine.cli.console import notices
from engine.cli.reading import open_existing
from engine.cli.run import EXIT_BY_STATUS, choose_display
from engine.run.directory import RunDirError
from engine.run.freed import when_freed
from engine.run.journal import read_events
from engine.store.agent_rows import reasons_of
from engine.typed import typed
from engine.workspace import Workspace

POLL_SECONDS = 0.2
REFRESH_SECONDS = 1.0

INTERRUPTED = 130


def watch(workspace: Workspace, prefix: str, as_json: bool) -> int:
    """Show a run from its first event to its end, as `run` does; returns the same exit status.

    Ctrl-C ends the looking, not the run.
    """
    with open_existing(workspace) as store:
        run = workspace.run_dir(store.resolve(prefix))
        row, offset, refreshed = store.run(run.id), 0, time.monotonic()
        if row.status == "queued":
            waits = reasons_of(store.agents.living(), str(row.config["device"]))
            notices.say("; ".join(["it is queued", *waits]))
        display = choose_display(as_json, row, run.read_config())
        try:
            with display:
                while True:
                    ended = is_settled(store.run(run.id))  # looked up first: all its events are there by now
                    events, offset = read_events(run.journal, offset)
                    display.show(events)
                    if ended and not events:
                        break
                    if not store.read_only and time.monotonic() - refreshed > REFRESH_SECONDS:
                        refresh(store, [run])
                        refreshed = time.monotonic()
                    if not events:
                        time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            goes_on = "waits in the queue" if store.run(run.id).status == "queued" else "goes on"
            notices.say(f"{run.id} {goes_on}; `{typed('stop', run.id)}` stops it")
            return INTERRUPTED
        row = store.run(run.id)
        display.ended(row, store, run)
        return EXIT_BY_STATUS.get(row.status, 1)


def logs(workspace: Workspace, prefix: str, follow: bool, lines: int) -> int:
    """Print what the worker printed, the last `lines` of it (0: all), and with `follow` what comes until the
    run ends."""
    with open_existing(workspace) as store:
        run = workspace.run_dir(store.resolve(prefix))
        if not run.log.exists():
            if freed := when_freed(run, run.log.name):
                raise RunDirError(f"{run.log}: `seg-engine clean` removed it on {freed}")
            if not follow or store.run(run.id).ended:
                raise RunDirError(f"{run.log}: does not exist yet; the run was never started")
            notices.say("it is queued")
        offset, refreshed, first = 0, time.monotonic(), True
        decoder = getincrementaldecoder("utf-8")("replace")  # a look may end within a character
        try:
            while True:
                ended = is_settled(store.run(run.id))
                if run.log.exists():
                    with open(run.log, "rb") as log:
                        log.seek(offset)
                        text = log.read()
                    offset += len(text)
                    if first and lines:
                        text = b"".join(text.splitlines(keepends=True)[-lines:])
                    first = False
                    sys.stdout.write(decoder.decode(text, final=ended or not follow))
                    sys.stdout.flush()
                if ended or not follow:
                    return 0
                if not store.read_only and time.monotonic() - refreshed > REFRESH_SECONDS:
                    refresh(store, [run])
                    refreshed = time.monotonic()
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            return INTERRUPTED
