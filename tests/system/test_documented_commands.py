"""Every command of README, the tutorial and the guide, as a reader would type it, on tiny data.

The pages of one reader share a workspace. Words that stand for a reader's own (RUN, DATA) are replaced, and
trainings get sizes that a second is enough for. A comment before a block says which of its lines are not run
here and why, and `test_how_many_are_not_run` counts them; their words are checked in tests/unit/test_docs.py.

    <!-- not run: seg-tui --web: it serves until it is stopped -->

names the beginning of a line, or `all` of the block.
"""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from engine.agent import presence
from engine.cli.main import command_line
from tests.conftest import REPOSITORY

PAGES = ("docs/tutorial.md", "README.md", "docs/guide.md")
TINY = ("epochs=1", "data.size=32x32", "model.width=4", "batch_size=4", "gallery.images=1", "device=cpu")
"""What every training here is told besides."""
NOT_RUN = {"docs/tutorial.md": 0, "README.md": 13, "docs/guide.md": 54}
"""How many commands of a page are not run."""


@dataclass(frozen=True)
class Typed:
    """A line of a shell block, and why it is not run ("" if it is)."""

    line: str
    not_run: str


def typed(page: str) -> Iterator[Typed]:
    """The commands of a page, in their order."""
    text = (REPOSITORY / page).read_text()
    for comments, block in re.findall(r"((?:<!-- [^\n]* -->\n)*)```sh\n(.*?)```", text, re.DOTALL):
        marks = dict(re.findall(r"<!-- not run: (.*?): (.*?) -->", comments))
        for line in block.replace("\\\n", " ").splitlines():
            if not line.startswith("#") and line.strip():
                yield Typed(line, next((why for start, why in marks.items() if is_of(line, start)), ""))
        unused = [start for start in marks if not any(is_of(line, start) for line in block.splitlines())]
        assert not unused, f"{page}: no line of the block begins with {unused}"


def is_of(line: str, start: str) -> bool:
    return start == "all" or line.startswith(start)


@pytest.mark.parametrize("page", PAGES)
def test_how_many_are_not_run(page: str) -> None:
    assert sum(1 for command in typed(page) if command.not_run) == NOT_RUN[page]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that is what the pages say: a data set, photographs, and two runs of an experiment."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(presence, "ensure_agent", lambda workspace: None)  # what is queued need not be trained
        for module in list(sys.modules.values()):
            if module is not presence and hasattr(module, "ensure_agent"):
                patch.setattr(module, "ensure_agent", lambda workspace: None)
        assert do("seg-engine data synthesize streets")
        for photos in ("photos", "more", "video", "anomalies"):
            (folder / photos).mkdir()
            for number in "12":
                Image.new("RGB", (64, 64), (30, 60, 90)).save(folder / photos / f"{photos}{number}.jpg")
        Image.new("RGB", (64, 64), (30, 60, 90)).save(folder / "photo.png")
        assert do("seg-engine run paper-unet --data streets --name try-2 --experiment lr")
        assert do("seg-engine run quick --data streets --name halted --queue")
        assert do("seg-engine stop halted")
        yield folder


READERS_OWN = {
    "PATH/TO/cityscapes": "streets",
    "PATH/TO/roadanomaly21": "anomalies",
    "DATA": "streets",
    "DIR": "streets",
    "OTHER": "streets",
    "MORE": "streets",
    "SYNTHETIC": "streets",
    "REAL": "streets",
    "ANOMALIES": "anomalies",
    "STRANGE": "anomalies",
    "EXPERIMENT": "lr",
}
"""What the words are here that stand for a reader's own."""

RUNS = ("try-1", "try-2", "first")
"""What RUN is, from the left."""

INSTEAD = {
    "seg-engine resume try-1": "seg-engine resume halted",
    "seg-engine evaluate RUN --baseline OTHER": "seg-engine evaluate RUN --baseline try-1",
}
"""Lines that need a run in another state than the lines before have left it in."""


def do(line: str) -> bool:
    """Do what a line of a shell says; returns whether it succeeds."""
    line = next((line.replace(said, other) for said, other in INSTEAD.items() if line.startswith(said)), line)
    runs = itertools.cycle(RUNS)
    words = [
        next(runs) if word in ("RUN", "RUN...") else READERS_OWN.get(word, word)
        for word in shlex.split(line, comments=True)
    ]
    if words[0] != "seg-engine":
        return subprocess.run(line, shell=True).returncode == 0
    if words[1:3] == ["data", "synthesize"]:
        words += ["--images", "12", "--size", "64x64"]
    if words[1] in ("sweep", "study"):
        words.append("--yes")  # a terminal is asked
    trains = words[1] in ("run", "sweep")
    return command_line([*words[1:], *(TINY if trains else ())]) == 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_can_be_done(page: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    failed = []
    for command in typed(page):
        if not command.not_run and not do(command.line):
            failed.append(f"{command.line}\n{capfd.readouterr().err}")
        capfd.readouterr()
    assert not failed, "\n".join(failed)
