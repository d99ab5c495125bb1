"""The answers of one or more GPUs as Markdown: `python -m benchmarks.gpu.table FILE_OR_FOLDER ...`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.report import markdown

COLUMNS = (
    ("recipe, mode", lambda name, a: name.removeprefix("step of ")),
    ("ms a step", lambda name, a: f"{a['step_ms']:.2f}"),
    ("images/s", lambda name, a: f"{a['images_per_second']:.0f}"),
    ("TFLOP/s", lambda name, a: f"{a['tflops']:.0f}"),
    ("% of matrix product", lambda name, a: f"{100 * a['share_of_ceiling']:.1f}"),
    (
        "% of nominal",
        lambda name, a: f"{100 * (a['share_of_nominal'] or 0):.1f}" if a["share_of_nominal"] else "",
    ),
    ("peak GiB", lambda name, a: f"{a['peak_gib']:.2f}"),
    ("host waits", lambda name, a: str(sum(a["host_waits"].values()))),
    ("data wait", lambda name, a: f"{100 * a['data_wait']:.2f} %"),
    ("first epoch, s", lambda name, a: f"{a['first_epoch_seconds']:.1f}"),
)


def main() -> int:
    found = [file for name in sys.argv[1:] for file in files(Path(name))]
    if not found:
        print("No GPU has been measured yet.")
    for file in found:
        print("\n".join(tables(json.loads(file.read_text(encoding="utf-8")))))
    return 0


def files(path: Path) -> list[Path]:
    return sorted(path.glob("*.json")) if path.is_dir() else [path] if path.exists() else []


def tables(content: dict[str, Any]) -> Iterator[str]:
    """The lines of one file: the device, the table of steps, the other answers, and what has none."""
    answers = {entry["name"]: entry for entry in content["answers"]}
    answered = {name: entry["answer"] for name, entry in answers.items() if "answer" in entry}
    rehearsed = "a rehearsal on the null CUDA, which computes nothing; " if content["rehearsed"] else ""
    yield f"{rehearsed}{content['date']}, torch {content['torch']}, CUDA {content['cuda']}"
    yield ""
    steps = {name: answer for name, answer in answered.items() if "step_ms" in answer}
    if steps:
        rows = [[cell(name, answer) for _, cell in COLUMNS] for name, answer in steps.items()]
        yield markdown([head for head, _ in COLUMNS], rows)
        yield ""
    for name, answer in answered.items():
        if name not in steps:
            text = answer.get("text", "")
            told = "; ".join(f"{key}: {_told(value)}" for key, value in answer.items() if key != "text")
            yield f"{name}: {told}"
            yield from text.splitlines()
    for name, entry in answers.items():
        if "skipped" in entry:
            yield f"{name}: not asked: {entry['skipped']}"
        elif "failed" in entry:
            yield f"{name}: no answer: {entry['failed'].strip().splitlines()[-1]}"


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(part)}" for key, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
