"""Commands that a text names can be pasted: they say which workspace is meant."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine
import seg_tui
from engine.cli.main import command_line
from engine.config.run_config import RunConfig
from engine.run.directory import RunCard
from engine.workspace import Workspace

NAMED = re.compile(r'seg-engine [^`"\n]*[^`"\n;, ]')
"""A command in a text."""

ROOMS = ("agent", "cli", "report", "requests", "store", "tasks")
"""Where texts are made that name commands."""

NO_WORKSPACE = ("recipes", "config", "components", "text-embeddings", "data check")
"""Commands that look into no workspace, or do so in passing."""

NOT_TO_TYPE = (
    "`seg-engine clean` removed",
    "another `seg-engine tune` is at work",
    "is for `seg-engine run` and",
    "after `seg-engine run RECIPE` changes",
)
"""Texts that name a command and do not ask for it."""


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize(
    ("line", "hints"),
    [
        ("show good", ["runs --experiment paper"]),
        ("show bad", ["resume bbbb2222", "runs --experiment lr"]),
        ("show bad --json", ["resume bbbb2222", "runs --experiment lr"]),
        ("show held", ["runs --experiment 'two words'"]),
        ("show nobody", ["runs"]),
        ("runs dice>0.99", ["runs"]),
        ("explain dice>0.99", ["runs"]),
        ("queue", ["agent"]),
        ("watch good", ["show aaaa1111"]),
        ("images bad", ["evaluate bbbb2222"]),
        ("delete good -y", ["unprotect aaaa1111"]),
        ("figure ood bad", ["ood bbbb2222 --ood-data ROOT"]),
        ("figure robustness bad", ["robustness RUN"]),
        ("figure generalise bad", ["generalise RUN --data DIR"]),
        ("figure speed good", ["bench aaaa1111 --latency"]),
        ("report lr", ["unarchive RUN"]),
        ("models nothing-of-this-name", ["models"]),
        ("clean", ["clean caches|last|galleries|logs"]),
    ],
)
def test_a_command_that_is_named_is_of_the_workspace_that_was_given(
    workspace: Workspace, line: str, hints: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with workspace.open_store() as store:
        store.lifecycle.create(RunCard("cccc3333", "held", "two words", 902.0), RunConfig())
        store.queue.set_place("cccc3333", paused=True)
    place = ["-w", str(workspace.root)]
    command_line([*place, "protect", "good"])
    command_line([*place, "archive", "bad"])
    capsys.readouterr()
    command_line([*place, *shlex.split(line)])
    said = "".join(capsys.readouterr())
    assert NAMED.findall(said) == [f"seg-engine -w {workspace.root} {hint}" for hint in hints]


def test_what_follows_a_command_that_made_data_is_of_the_workspace(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, place = tmp_path / "my data", ["-w", str(workspace.root)]
    command_line([*place, "data", "synthesize", str(folder), "--images", "4", "--size", "64x64"])
    run = f"seg-engine -w {workspace.root} run quick --data '{folder}'"
    assert NAMED.findall(capsys.readouterr().out) == [run]
    command_line([*place, "data", "check", str(folder)])
    assert run in capsys.readouterr().out
    command_line([*place, "runs"])
    assert f"seg-engine -w {workspace.root} run quick --data FOLDER" in capsys.readouterr().err


def test_no_text_names_a_command_without_its_workspace() -> None:
    bare = [
        f"{path.name}:{line}: {text}"
        for path, line, text in _texts()
        for named in re.findall(r"(?:`|next: +)(seg-engine [^`]+)", text)
        if not named.removeprefix("seg-engine ").startswith(NO_WORKSPACE)
        and not any(told in text for told in NOT_TO_TYPE)
    ]
    assert bare == []


def _texts() -> Iterator[tuple[Path, int, str]]:
    """The strings of those rooms, but not their docstrings, which are help or for programmers."""
    root = Path(engine.__file__).parent
    folders = [*(root / room for room in ROOMS), Path(seg_tui.__file__).parent]
    for path in (file for folder in folders for file in folder.rglob("*.py")):
        tree = ast.parse(path.read_text())
        told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
                yield path, node.lineno, node.value
