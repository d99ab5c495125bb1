"""One hostile text through every command: nothing of it reaches the terminal but characters to see."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from engine.agent import __main__ as agent_log
from engine.cli.main import app, command_line
from engine.report.csv_text import csv_text
from engine.visible import guard_streams
from engine.worker import log as worker_log
from engine.workspace import WORKSPACE_VARIABLE, Workspace
from tests.engine.conftest import import_made_up_run
from tests.engine.made_up_runs import MadeUpJournal, finished_journal

EVIL = "x\x1b]0;pwned\x07\x1b[5;5f\x9b31m\x7f\u202e\u2066\u2028\u200b[red][@click=app.quit]\r\t"

FORGED = "x\nerror: forged\r\n00:00:00 forged\x0bforged\u2028forged\tforged"
"""Lines that look like the program's own, for those who read its output or search it."""

ARGUMENTS = {
    "run": [EVIL, f"{EVIL}=1", "--data", EVIL, "--name", EVIL],
    "resume": [EVIL],
    "runs": [],
    "show": ["aaaa1111"],
    "picture": ["aaaa1111"],
    "config": [EVIL],
    "components": [],
    "recipes": [],
    "recipes show": [EVIL],
    "data check": ["{data}"],
    "data get": ["camvid", "{data}", "--mirror", EVIL],
    "init": ["{data}"],
    "data synthesize": ["{data}"],
    "data cache": ["--prune", EVIL],
    "db path": [],
    "db upgrade": [],
    "db rebuild": [],
    "db check": [],
    "db copy": ["--to", EVIL],
    "db import": ["{data}"],
    "bench": [EVIL, "--latency"],
    "doctor": ["--" + EVIL],
    "evaluate": ["aaaa1111", f"{EVIL}=1"],
    "images": ["aaaa1111", "--sort", EVIL],
    "predict": ["aaaa1111", EVIL],
    "ood": ["aaaa1111", "--ood-data", EVIL],
    "robustness": ["aaaa1111", f"{EVIL}=1"],
    "generalise": ["aaaa1111", "--data", EVIL, "--class-map", EVIL],
    "text-embeddings": [EVIL, "--model", EVIL, "--weights", "{data}", "--out", EVIL],
    "crf-search": ["aaaa1111", f"{EVIL}=1"],
    "export": ["aaaa1111", "--checkpoint", EVIL],
    "models": [EVIL],
    "augment": [EVIL],
    "compare": ["aaaa1111", "bbbb2222"],
    "figure": ["curves", "aaaa1111", "--out", EVIL + ".svg"],
    "report": [EVIL],
    "study": [EVIL],
    "study paper": [EVIL, "--data", EVIL],
    "study beyond": [EVIL, "--data", EVIL, "--recipe", "quick"],
    "study generalise": [EVIL, "--data", EVIL, "--test", EVIL, "--images", "8"],
    "study pt": [EVIL, "--data", EVIL],
    "average": [EVIL, "bbbb2222"],
    "queue": [],
    "queue priority": ["bbbb2222", "1"],
    "queue pause": ["bbbb2222"],
    "queue unpause": [EVIL],
    "queue on-end": [EVIL],
    "notify": [],
    "watch": ["aaaa1111"],
    "logs": ["aaaa1111"],
    "stop": ["aaaa1111"],
    "requeue": [EVIL],
    "reproduce": [EVIL],
    "rerun": ["aaaa1111", f"{EVIL}=1"],
    "sweep": [EVIL, f"seed={EVIL}"],
    "tune": [EVIL, f"seed={EVIL}"],
    "explain": [EVIL],
    "views": [EVIL],
    "tag": ["aaaa1111", EVIL],
    "note": ["aaaa1111", EVIL],
    "rename": ["aaaa1111", EVIL],
    "move": [EVIL, "aaaa1111"],
    "archive": ["bbbb2222"],
    "unarchive": ["aaaa1111"],
    "protect": ["aaaa1111"],
    "unprotect": ["aaaa1111"],
    "clean": ["last", "--run", "aaaa1111"],
    "delete": ["aaaa1111", "--yes"],
    "agent": ["--slots", EVIL],
}
"""What each command is given; runs, their logs and the data folder are hostile themselves."""


def commands(group: typer.Typer, before: str = "") -> Iterator[tuple[str, bool]]:
    """Every command of the program, and whether it has --json."""
    command = typer.main.get_command(group)

    def walk(node: object, name: str) -> Iterator[tuple[str, bool]]:
        children = getattr(node, "commands", None)
        if name and (children is None or getattr(node, "callback", None) is not None):
            yield name, any("--json" in parameter.opts for parameter in node.params)  # type: ignore[attr-defined]
        for child in children or {}:
            inner = node.get_command(None, child)  # type: ignore[attr-defined]
            yield from walk(inner, f"{name} {child}".strip())

    yield from walk(command, before)


@pytest.fixture
def hostile(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return hostile_workspace(workspace, tmp_path, monkeypatch, EVIL)


@pytest.fixture
def forged(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return hostile_workspace(workspace, tmp_path, monkeypatch, FORGED)


def hostile_workspace(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evil: str
) -> list[str]:
    """A workspace whose two runs are called and annotated in the worst way; the arguments of each command."""
    monkeypatch.setenv(WORKSPACE_VARIABLE, str(workspace.root))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    for run_id in ("aaaa1111", "bbbb2222"):
        run = import_made_up_run(
            workspace, run_id, finished_journal() if run_id == "aaaa1111" else MadeUpJournal(),
            name=evil, experiment=evil, tags=("".join(evil.split()),), note=evil, created=900.0,
        )  # fmt: skip
        run.log.write_text(evil * 3)
    data = tmp_path / f"d{evil}"
    for part in ("images", "labels"):
        (data / part).mkdir(parents=True)
        (data / part / f"{evil}.png").write_bytes(b"no image")
    (data / "classes.toml").write_text(f"[[classes]]\nname = {json.dumps(evil)}\nvalue = 0\n")
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))  # what `guard_streams` changes is restored
    return [str(data)]


def of_a_terminal(text: str) -> str:
    """The text without the program's own styles and cursor movements."""
    return re.sub(r"\x1b\[\??[\d;]*[hlmAK]\r?|\r(?=\x1b\[)", "", text)


def assert_harmless(text: str) -> None:
    shown = of_a_terminal(text)
    raw = {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\n\t"}
    assert not raw, f"{raw} in {shown!r}"


def test_every_command_has_its_hostile_arguments() -> None:
    assert {name for name, _ in commands(app)} - {"data", "db", "figure"} <= set(ARGUMENTS)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_no_command_sends_what_it_was_given_to_the_terminal(
    hostile: list[str], capsys: pytest.CaptureFixture[str], name: str, as_json: bool
) -> None:
    found = dict(commands(app))
    if as_json and not found.get(name):
        return
    guard_streams()
    words = [hostile[0] if word == "{data}" else word for word in ARGUMENTS[name]]
    status = command_line([*name.split(), *(["--json"] if as_json else []), *words])
    done = capsys.readouterr()
    assert status in (0, 1, 2, 3)
    assert done.out or done.err or name in ("logs", "db upgrade")
    assert_harmless(done.out)
    assert_harmless(done.err)
    if as_json and done.out:
        try:
            json.loads(done.out)
        except ValueError:
            for line in done.out.splitlines():
                json.loads(line)


@pytest.mark.parametrize(
    "words",
    [
        ["show", EVIL],
        ["show", "--" + EVIL],
        [EVIL],
        ["runs", EVIL],
        ["runs", "--sort", EVIL],
        ["runs", "--status", EVIL],
        ["runs", "--limit", EVIL],
        ["runs", "--csv"],
        ["images", "aaaa1111", "--csv"],
        *(
            ["compare", "aaaa1111", "bbbb2222", "--format", form]
            for form in ("md", "latex", "csv", "json", EVIL)
        ),
        ["-w", EVIL, "runs"],
        ["db", EVIL],
    ],
)
def test_nor_does_any_format_or_usage_error(
    hostile: list[str], capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    guard_streams()
    assert command_line(words) in (0, 2)
    done = capsys.readouterr()
    assert_harmless(done.out + done.err)


@pytest.mark.parametrize("name", sorted(ARGUMENTS.keys() - {"logs"}))
def test_no_name_note_or_path_makes_a_line_of_its_own(
    forged: list[str], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    guard_streams()
    words = [forged[0] if word == "{data}" else word.replace(EVIL, FORGED) for word in ARGUMENTS[name]]
    assert command_line([*name.split(), *words]) in (0, 1, 2, 3)
    done = capsys.readouterr()
    lines = of_a_terminal(done.out + done.err).splitlines()
    assert not [line for line in lines if line.startswith(("error: forged", "00:00:00", "forged"))]


@pytest.mark.parametrize("option", ["--name", "--experiment"])
@pytest.mark.parametrize("text", ["a\nb", "a\tb", "a\rb", "a\u2028b", "a\n"])
def test_a_name_of_several_lines_is_refused(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], option: str, text: str, tmp_path: Path
) -> None:
    import_made_up_run(workspace, "aaaa1111", finished_journal())
    words = ["-w", str(workspace.root), "evaluate", "aaaa1111", "--queue", option, text]
    assert command_line(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert option.strip("-") in line
    assert "line break or a tab" in line


def test_a_note_of_several_lines_is_shown_as_a_block(
    forged: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["note", "aaaa1111", "first\nsecond"]) == 0
    capsys.readouterr()
    assert command_line(["show", "aaaa1111"]) == 0
    assert "note: first\n      second\n" in of_a_terminal(capsys.readouterr().out)
    assert command_line(["note", "aaaa1111"]) == 0
    assert capsys.readouterr().out == "first\nsecond\n"


def test_the_lines_of_logs_stay_single(capfd: pytest.CaptureFixture[str]) -> None:
    agent_log.say(f"run {FORGED}: worker 1")
    worker_log.say(f"warning: {FORGED}")
    assert len(capfd.readouterr().out.splitlines()) == 2


CSV_EVIL = ('=HYPERLINK("http://x")', "+cmd|' /C calc'!A0", "-1+1", "@SUM(A1)", "\t=1")


@pytest.mark.parametrize("text", CSV_EVIL)
def test_no_cell_of_csv_is_a_formula(text: str) -> None:
    (head, line) = csv.reader(io.StringIO(csv_text(["a", text, "c"], [[text, -0.5, "-0.5"]])))
    assert head[1] == f"'{text}"
    assert line == [f"'{text}", "-0.5", "-0.5"]


@pytest.mark.parametrize("words", [["runs", "--csv"], ["compare", "aaaa1111", "--format", "csv"]])
def test_no_command_prints_csv_past_that(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    import_made_up_run(
        workspace, "aaaa1111", finished_journal(), name="=1+1", experiment="@x", tags=("+1",), note="-1+1"
    )
    assert command_line(["-w", str(workspace.root), *words]) == 0
    cells = [cell for row in csv.reader(io.StringIO(capsys.readouterr().out)) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "-1+"))]
    assert "'=1+1" in cells
