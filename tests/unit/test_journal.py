from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from engine.run.events import Finished, Progress, Stopped, Warned
from engine.run.journal import JournalError, JournalWriter, read_all, read_events


def progress(step: int) -> Progress:
    return Progress(phase="train", epoch=1, step=step, steps=100)


def write(path: Path, count: int) -> None:
    with JournalWriter(path) as journal:
        for step in range(count):
            journal.write(progress(step))


def test_events_come_back_numbered_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, 5)
    events = read_all(path)
    assert [event.seq for event in events] == [0, 1, 2, 3, 4]
    assert [event.step for event in events if isinstance(event, Progress)] == [0, 1, 2, 3, 4]
    assert {event.attempt for event in events} == {1}


def test_a_new_writer_is_a_new_attempt_and_goes_on_counting(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, 2)
    write(path, 3)
    assert [(event.seq, event.attempt) for event in read_all(path)] == [
        (0, 1),
        (1, 1),
        (2, 2),
        (3, 2),
        (4, 2),
    ]


def test_each_line_is_json_for_any_reader(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with JournalWriter(path) as journal:
        journal.write(Stopped(cause="preempted", epoch=4))
    line = json.loads(path.read_text())
    assert line["event"] == "stopped"
    assert line["cause"] == "preempted"
    assert line["t"] > 1_700_000_000


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_torn_last_line_is_ignored_and_removed_by_the_next_writer(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, 3)
    os.truncate(path, path.stat().st_size - cut)
    events, offset = read_events(path)
    assert [event.seq for event in events] == [0, 1]
    with JournalWriter(path) as journal:
        journal.write(Warned(message="after the crash"))
    events, _ = read_events(path, offset)
    assert [(event.seq, event.event) for event in events] == [(2, "warning")]


def test_a_journal_that_is_all_torn_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"seq":0,"t":1')
    assert read_events(path) == ([], 0)
    write(path, 1)
    assert [event.seq for event in read_all(path)] == [0]


def test_reading_in_pieces_gives_every_event_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, 200)
    seen: list[int] = []
    offset = 0
    while True:
        events, offset = read_events(path, offset, limit=300)
        if not events:
            break
        seen += [event.seq for event in events]
    assert seen == list(range(200))
    assert offset == path.stat().st_size


def test_a_line_longer_than_a_piece_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with JournalWriter(path) as journal:
        journal.write(Warned(message="x" * 10_000))
        journal.write(Finished(epoch=1, seconds=1))
    events, offset = read_events(path, 0, limit=100)
    assert [event.event for event in events] == ["warning"]
    assert [event.event for event in read_events(path, offset)[0]] == ["finished"]


def test_a_missing_journal_has_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "journal.jsonl") == ([], 0)


def test_damage_before_the_last_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, 1)
    start = path.stat().st_size
    with open(path, "ab") as stream:
        stream.write(b"garbage\n")
    with pytest.raises(JournalError, match=f"the line at byte {start} is no event"):
        read_events(path)


def test_a_journal_that_became_shorter_is_an_error_not_silence(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, 2)
    with pytest.raises(JournalError, match="it was truncated or replaced"):
        read_events(path, path.stat().st_size + 1)


def test_a_long_tail_line_is_repaired_too(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with JournalWriter(path) as journal:
        journal.write(Warned(message="y" * 200_000))
    with open(path, "ab") as stream:
        stream.write(b"z" * 150_000)
    write(path, 1)
    assert [event.seq for event in read_all(path)] == [0, 1]


def test_a_full_disk_leaves_whole_lines_only(tmp_path: Path) -> None:
    """A limit on the file's size refuses the middle of a line, as a full disk does."""
    path = tmp_path / "journal.jsonl"
    script = f"""
import resource, signal
from pathlib import Path
from engine.run.events import Warned
from engine.run.journal import JournalWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = JournalWriter(Path({str(path)!r}))
journal.write(Warned(message="fits"))
resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
try:
    journal.write(Warned(message="x" * 500))
except OSError:
    print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.write(Warned(message="after"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "refused"
    assert [(e.seq, e.message) for e in read_all(path) if isinstance(e, Warned)] == [
        (0, "fits"),
        (1, "after"),
    ]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
