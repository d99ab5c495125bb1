"""Benchmarks that are given something wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import sliding_windows
from benchmarks.ending import told_in_lines

FOLDER = Path(sliding_windows.__file__).parent
TAKE_KEYS = [path for path in sorted(FOLDER.rglob("*.py")) if 'metavar="KEY=VALUE"' in path.read_text()]


@pytest.mark.parametrize("path", TAKE_KEYS, ids=lambda path: path.stem)
def test_a_benchmark_that_takes_keys_tells_a_wrong_one_in_a_line(path: Path) -> None:
    assert "sys.exit(told_in_lines(main))" in path.read_text()


@pytest.mark.parametrize("key", ["data.sise=8x8", "seed", "seed=x"])
def test_a_wrong_key_ends_a_benchmark_with_a_line(
    key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sliding_windows", key])
    monkeypatch.setattr(sliding_windows, "prepare_process", lambda runtime: None)
    assert told_in_lines(sliding_windows.main) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert key.partition("=")[0] in said.err
    assert len(said.err.splitlines()) == 1


def test_a_fault_keeps_its_traceback_and_a_status_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError):
        told_in_lines(lambda: 1 // 0)
    assert (told_in_lines(lambda: None), told_in_lines(lambda: 3)) == (0, 3)
