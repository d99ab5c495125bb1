"""What may be wrong with data, and how it is told."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from engine.errors import EngineError
from engine.host.input_files import shown
from engine.visible import one_line


class DataError(EngineError):
    """Data that cannot be used; the message is one line a person can act on."""


class FaultyData(DataError):
    """Faults of the files of a data set; the message is that of `describe_faults`, one line each."""

    several_lines: ClassVar[bool] = True


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with one file of a data set.

    `kind` is `missing_label`, `missing_image`, `duplicate`, `misplaced` or `name` (found by `scan`), or
    `unreadable`, `format`, `size` or `label_value` (found when the file is opened); `path` is relative to
    the root of the data set; `problem` is one line: what is wrong and what would be right.
    """

    kind: str
    path: str
    problem: str


def describe_faults(faults: Sequence[Fault], root: Path, most: int = 10, option: str = "--skip-bad") -> str:
    """Several lines for a person: how many faults of each kind, the first `most` of them, what to do:
    `option` is what goes on without them.

    Returns "" when there are no faults.
    """
    if not faults:
        return ""
    counts = Counter(fault.kind for fault in faults)
    summary = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.most_common())
    lines = [f"{one_line(shown(root))}: {len(faults)} {'fault' if len(faults) == 1 else 'faults'}: {summary}"]
    lines += [f"  {one_line(f'{fault.path}: {fault.problem}')}" for fault in faults[:most]]
    if len(faults) > most:
        lines.append(f"  and {len(faults) - most} more")
    command = f"seg-engine data check {shlex.quote(one_line(shown(root)))} --json"
    lines.append(f"`{command}` lists all; {option} skips these samples")
    return "\n".join(lines)


def left_out_note(faults: Sequence[Fault]) -> list[str]:
    """What to say of faults that `data.skip_bad` goes on without; nothing where there are none."""
    if not faults:
        return []
    count = counted(len(faults), "faulty image or label", "faulty images or labels")
    return [f"{count} left out (data.skip_bad): {listed([fault.path for fault in faults])}"]


def listed(names: Sequence[str], most: int = 10) -> str:
    """The first `most` names and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(name) for name in names[:most]) + more


def counted(count: int, one: str, several: str = "") -> str:
    """ "1 image", "3 images"."""
    return f"{count} {one if count == 1 else several or one + 's'}"
