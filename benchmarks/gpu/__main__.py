"""Ask a GPU everything that there is to ask, in as many minutes as it is at hand.

    python -m benchmarks.gpu [--minutes 9] [--out gpu.json] [--camvid DIR] [--only WORD] [--list]
    python -m benchmarks.gpu --rehearse      # on the null CUDA: does every question run through?

The questions stand in questions.py, the most valuable first. Each is a process of its own, with a limit. The
file is written anew after every answer, so a machine that is taken away leaves what it has said. Questions
for which there is no time are named. `python -m benchmarks.gpu.table FILE` prints a file as tables.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.gpu.ask import Answer, ask
from benchmarks.gpu.questions import Question, Setting, questions
from tests.null_cuda.build import build, environment


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9.0, help="time for all questions (9)")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="file of the answers (gpu.json)")
    parser.add_argument("--camvid", type=Path, help="CamVid in the Cityscapes layout, for a whole schedule")
    parser.add_argument(
        "--only", action="append", metavar="WORD", help="questions with this word in the name"
    )
    parser.add_argument("--list", action="store_true", help="print the questions and ask none")
    parser.add_argument(
        "--rehearse", action="store_true", help="small, on the null CUDA, which computes nothing"
    )
    options = parser.parse_args(arguments)
    if options.camvid is not None and not options.camvid.is_dir():
        parser.error(f"--camvid: {options.camvid} is no folder")
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        scratch = Path(folder)
        setting = Setting(scratch, options.camvid, options.rehearse)
        wanted = [q for q in questions(setting) if not options.only or any(w in q.name for w in options.only)]
        if not wanted:
            parser.error(
                f"--only: no question has {' or '.join(options.only)} in its name; --list shows them"
            )
        if options.list:
            for question in wanted:
                print(f"{question.name:<40}{question.about}")
            return 0
        variables = dict(os.environ)
        if options.rehearse:
            variables |= environment(build(scratch / "null_cuda"))
        elif not torch.cuda.is_available():
            parser.error("PyTorch finds no CUDA device here; --rehearse asks the questions of the null CUDA")
        return ask_all(wanted, 60 * options.minutes, options.out, variables, options.rehearse)


def ask_all(
    wanted: Sequence[Question], seconds: float, out: Path, variables: dict[str, str], rehearsed: bool
) -> int:
    """Ask one after the other until the time is up; returns 1 if a question that was asked has no answer."""
    begun = time.monotonic()
    answers: list[Answer] = []
    for question in wanted:
        left = seconds - (time.monotonic() - begun)
        limit = left if rehearsed else min(left, question.most_seconds)
        answer = ask(question, left, limit, variables, answers)
        answers.append(answer)
        passed = time.monotonic() - begun
        print(f"[{passed:4.0f} s] {answer.line()}", flush=True)
        write(out, answers, rehearsed)
    failed = [answer.name for answer in answers if answer.failed]
    skipped = [answer.name for answer in answers if answer.skipped]
    print(f"{out}: {len(answers) - len(failed) - len(skipped)} answers")
    if skipped:
        print(f"not asked: {', '.join(skipped)}")
    if failed:
        print(f"without an answer: {', '.join(failed)}")
    return 1 if failed else 0


def write(out: Path, answers: Sequence[Answer], rehearsed: bool) -> None:
    content = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "rehearsed": rehearsed,
        "answers": [answer.as_json() for answer in answers],
    }
    unfinished = out.with_name(f"{out.name}.unfinished")
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(out)


if __name__ == "__main__":
    sys.exit(main())
