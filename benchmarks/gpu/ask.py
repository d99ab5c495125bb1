"""Asking one question: a process with a limit, whose last line is the answer as JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.questions import Question

ROOT = Path(__file__).resolve().parents[2]
KEPT_CHARACTERS = 2000
"""Of what a process without an answer printed."""


@dataclass(frozen=True)
class Answer:
    """What a question was answered, or why it was not."""

    name: str
    about: str
    seconds: float = 0.0
    answer: dict[str, Any] = field(default_factory=dict)
    skipped: str = ""
    failed: str = ""

    def line(self) -> str:
        if self.skipped:
            return f"{self.name}: not asked: {self.skipped}"
        if self.failed:
            return f"{self.name}: no answer: {self.failed.strip().splitlines()[-1]}"
        told = ", ".join(f"{key} {_short(value)}" for key, value in self.answer.items() if key != "text")
        return f"{self.name} ({self.seconds:.0f} s): {told}"

    def as_json(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if value or key in ("name", "about")}


def ask(
    question: Question, left: float, limit: float, variables: dict[str, str], before: Sequence[Answer]
) -> Answer:
    """The answer within `limit` seconds, if enough are `left`; `before` are those of the questions already
    asked."""
    about = question.name, question.about
    if question.needs:
        return Answer(*about, skipped=question.needs)
    if left < question.least_seconds:
        return Answer(
            *about, skipped=f"{max(0.0, left):.0f} s were left, it needs {question.least_seconds:.0f}"
        )
    command = question.command([answer.answer for answer in before])
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its workers as well
        said, _ = process.communicate()
        said += f"\nstopped at its limit of {limit:.0f} s"
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    seconds = time.monotonic() - begun
    found = _last_json(said) if process.returncode == 0 else None
    if found is None:
        return Answer(*about, seconds, failed=said[-KEPT_CHARACTERS:] or f"exit status {process.returncode}")
    return Answer(*about, seconds, found)


def _last_json(said: str) -> dict[str, Any] | None:
    lines = said.strip().splitlines()
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
