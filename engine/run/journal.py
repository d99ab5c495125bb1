"""The journal: a run's append-only event log, `runs/<id>/journal.jsonl`, one JSON object a line.

The worker alone writes it; everybody else reads. A last line without its newline is torn: readers leave it
alone and the next writer removes it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from pydantic import ConfigDict, TypeAdapter, ValidationError

from engine.errors import EngineError
from engine.host.input_files import open_regular
from engine.run.bounds import MAX_LINE, without_nul
from engine.run.crf_events import CrfResult, CrfTrial
from engine.run.event import Event
from engine.run.events import AnyEvent, Checkpoint, Epoch, Failed, Finished, Stopped
from engine.run.files import open_shared
from engine.run.latency_events import LatencyResult
from engine.run.scoring_events import CorruptionResult, EnvironmentResult, OodResult, Result

_PARSER: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent, config=ConfigDict(defer_build=True))

_DURABLE = (
    *(Epoch, Checkpoint, Result, OodResult, CorruptionResult, EnvironmentResult),
    *(CrfResult, CrfTrial, LatencyResult),
    *(Finished, Failed, Stopped),
)


class JournalError(EngineError):
    """A journal that is damaged before its last line; the message names file and byte."""


class JournalWriter:
    """Appends events. The only writer of its file.

    Opening it removes a torn last line and begins the run's next attempt. `attempt` names one that another
    process has begun, which then leaves the writing to this one.
    """

    def __init__(self, path: Path, attempt: int | None = None) -> None:
        self._path = path
        self._descriptor = open_shared(path, os.O_RDWR | os.O_CLOEXEC)
        last = self.catch_up()
        self.attempt = last.attempt + 1 if attempt is None else attempt

    def catch_up(self) -> Event:
        """Go on behind what another process has written; returns its last event."""
        self._end, last = _repair_tail(self._descriptor, self._path)
        self._seq = last.seq + 1
        return last

    def write(self, event: AnyEvent) -> None:
        """Append one event with its `seq`, `t` and `attempt`.

        Raises OSError when the disk refuses it; the file is then as it was before.
        """
        stamped = event.model_copy(
            update={"seq": self._seq, "t": round(time.time(), 3), "attempt": self.attempt}
        )
        line = stamped.model_dump_json().encode() + b"\n"
        try:
            written = os.pwrite(self._descriptor, line, self._end)
            if written != len(line):
                raise OSError(28, "No space left on device")
            if isinstance(event, _DURABLE):
                os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._end)
            raise
        self._end += len(line)
        self._seq += 1

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_events(path: Path, offset: int = 0, limit: int = 4 << 20) -> tuple[list[AnyEvent], int]:
    """The whole events from byte `offset` on, and the offset behind the last of them.

    Reads at most about `limit` bytes, so that a long journal is taken in pieces. A missing file has no
    events. Raises JournalError when a whole line is no event, or when the file is shorter than `offset`;
    OSError when it cannot be read or is not a regular file.
    """
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size < offset:
                raise JournalError(
                    f"{path}: has {size} bytes where {offset} had been read; it was truncated or replaced"
                )
            stream.seek(offset)
            chunk = stream.read(limit)
            if b"\n" not in chunk and len(chunk) == limit:
                chunk += stream.readline(MAX_LINE)
    except FileNotFoundError:
        return [], offset
    if b"\n" not in chunk and len(chunk) > MAX_LINE:
        raise JournalError(f"{path}: the line at byte {offset} is longer than any event, {MAX_LINE} bytes")
    whole, _, _ = chunk.rpartition(b"\n")
    if not whole:
        return [], offset
    events = []
    position = offset
    for line in whole.split(b"\n"):
        events.append(_event_in(line, f"{path}: the line at byte {position}"))
        position += len(line) + 1
    return events, position


def read_pieces(
    path: Path, offset: int = 0, limit: int = 4 << 20
) -> Iterator[tuple[int, list[AnyEvent], int]]:
    """The journal from byte `offset` to its end in pieces: where each begins, its events, where it ends.

    Raises JournalError and OSError as `read_events` does.
    """
    while True:
        events, end = read_events(path, offset, limit)
        if not events:
            return
        yield offset, events, end
        offset = end


def read_all(path: Path) -> list[AnyEvent]:
    """All whole events of a journal."""
    return [event for _, events, _ in read_pieces(path) for event in events]


def _event_in(line: bytes, where: str) -> AnyEvent:
    """The event that a line holds. Raises JournalError with `where` for one that no worker writes."""
    try:
        event = _PARSER.validate_json(without_nul(line), strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in problem["loc"][1:])
        raise JournalError(f"{where} is no event: {field and field + ': '}{problem['msg']}") from error
    if event.seq < 0 or event.attempt < 1:
        raise JournalError(f"{where} is no event: its seq and attempt must be there, the attempt from 1")
    return event


def _repair_tail(descriptor: int, path: Path) -> tuple[int, Event]:
    """Cut a torn last line off; returns the file's end and its last event (seq -1 without one)."""
    size = os.fstat(descriptor).st_size
    block = 1 << 16
    tail = b""
    start = size
    # Read backwards until the last whole line, and the newline before it, are in `tail`.
    while start > 0 and tail.rpartition(b"\n")[0].count(b"\n") < 1:
        step = min(max(block, len(tail)), start)
        start -= step
        tail = os.pread(descriptor, step, start) + tail
    whole, newline, torn = tail.rpartition(b"\n")
    if torn:
        os.ftruncate(descriptor, size - len(torn))
    if not newline:
        return 0, Event()
    line = whole.rpartition(b"\n")[2]
    return size - len(torn), _event_in(line, f"{path}: its last line")
