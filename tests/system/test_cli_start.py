"""The command line as a process: what it imports, and how it ends when a pipe or a person ends it."""

from __future__ import annotations

import os
import pty
import select
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.exits import FAULT, INTERRUPTED
from engine.workspace import Workspace
from tests.engine.made_up_runs import finished_journal, make_run_dir

COMMAND = [sys.executable, "-c", "from engine.cli.main import main; main()"]

pytestmark = pytest.mark.cold

NEVER = ("torch", "torchvision", "textual", "alembic")
"""What no command that only looks may import: each takes longer than all else together."""

REPORT_IMPORTS = """
import sys
from engine.cli.main import command_line
status = command_line(sys.argv[1:])
print(*sys.modules, sep="\\n", file=sys.stderr)
sys.exit(status)
"""


@pytest.fixture
def two_runs(workspace: Workspace) -> Workspace:
    workspace.root.mkdir()
    with workspace.open_store() as store:
        for run_id in ("aaaa1111", "bbbb2222"):
            store.journals.import_run(
                make_run_dir(workspace.runs, run_id, finished_journal(), name=f"run {run_id}")
            )
    return workspace


def imports_of(workspace: Workspace, *arguments: str) -> set[str]:
    """The modules that a command has imported when it is done."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT_IMPORTS, "-w", str(workspace.root), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs",),
        ("show", "aaaa"),
        ("recipes",),
        ("config",),
        ("compare", "aaaa", "bbbb"),
        ("figure", "curves", "aaaa"),
        ("report", "test"),
        ("data", "cache"),
        ("db", "path"),
        ("db", "upgrade"),
    ],
    ids=" ".join,
)
def test_looking_never_waits_for_torch(two_runs: Workspace, arguments: tuple[str, ...]) -> None:
    imported = imports_of(two_runs, *arguments)
    assert "engine.cli.main" in imported
    assert imported.isdisjoint(NEVER)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("run", "--help"), ("--version",), ("db", "path")], ids=" ".join
)
def test_help_needs_neither_database_nor_rich_nor_arrays(
    two_runs: Workspace, arguments: tuple[str, ...]
) -> None:
    imported = imports_of(two_runs, *arguments)
    assert imported.isdisjoint({*NEVER, "sqlalchemy", "numpy", "PIL"})
    if arguments in (("--help",), ("--version",)):
        assert imported.isdisjoint({"pydantic", "rich"})


def test_the_dashboard_comes_up_without_what_only_details_need() -> None:
    code = "import sys, seg_tui.program, seg_tui.app, seg_tui.screens.dashboard; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    verbs = {f"engine.store.{name}" for name in ("results", "result_rows", "queue", "lifecycle", "notices")}
    others = {"sqlalchemy", "pydantic", "pydantic_core", "numpy", "PIL", "pynvml"}
    assert {*NEVER, *others, *verbs} & {*done.stdout.split()} == {"textual"}


def test_tables_need_no_arrays(two_runs: Workspace) -> None:
    for arguments in (("runs",), ("compare", "aaaa", "bbbb", "--published")):
        assert imports_of(two_runs, *arguments).isdisjoint({"numpy", "PIL", "matplotlib"})


def test_a_reader_that_has_seen_enough_ends_it_quietly(two_runs: Workspace) -> None:
    with two_runs.open_store() as store:
        for i in range(300):
            store.journals.import_run(make_run_dir(two_runs.runs, f"many{i:04d}"))
    for arguments in (["runs", "--limit", "0"], ["runs", "--json"]):
        process = subprocess.Popen(
            [*COMMAND, "-w", str(two_runs.root), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0
        process.stderr.close()


def test_a_closed_stdout_is_no_fault(two_runs: Workspace) -> None:
    words = shlex.join([*COMMAND, "-w", str(two_runs.root), "runs"])
    done = subprocess.run(["sh", "-c", f"{words} >&-"], stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_ends_it_with_130_and_no_traceback(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "data", "synthesize", str(tmp_path / "d"), "--images", "5000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    drawn = tmp_path / "d"
    while not any(drawn.rglob("*.png")):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        select.select([], [], [], 0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not drawn.exists()


PRESSED = """
import os, signal, sys

program, module = sys.argv[1:]
del sys.argv[1:]

class Press:
    def find_spec(self, name, *rest):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Press())
__import__(program, fromlist=["main"]).main()
"""
"""A program to which Ctrl-C comes while it imports a module."""


@pytest.mark.parametrize(
    ("program", "module"),
    [("engine.cli.start", "typer"), ("seg_tui.start", "argparse"), ("seg_tui.start", "textual")],
)
def test_ctrl_c_before_a_program_is_imported_ends_it_quietly(
    program: str, module: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRESSED, program, module],
        capture_output=True,
        timeout=60,
        env=os.environ | {"SEG_WORKSPACE": str(tmp_path), "TEXTUAL_DRIVER": "textual.drivers:WebDriver"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, b"", b"")


def in_terminal(arguments: list[str], columns: int, **environment: str) -> str:
    """What a command shows on a terminal of that width."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color", **environment},
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            chunk = os.read(leader, 1 << 16)
        except OSError:  # Linux says so when the other side is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(leader)
    assert process.wait(timeout=60) == 0
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colours_and_lines_that_fit_unless_it_says_no(
    two_runs: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    arguments = ["-w", str(two_runs.root), "runs"]
    assert "\x1b[32mfinished" in in_terminal(arguments, 80)
    plain = in_terminal(arguments, 80, NO_COLOR="1")
    assert "\x1b[3" not in plain
    text = plain.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert max(map(len, text.splitlines())) <= 80
    table, _, left_out = text.partition("no room for")
    assert "device" not in table.splitlines()[0]
    assert "device" in left_out
    assert "device" in in_terminal(arguments, 160).splitlines()[0]


def test_an_encoding_without_blocks_is_no_reason_to_fail(two_runs: Workspace) -> None:
    done = subprocess.run(
        [*COMMAND, "-w", str(two_runs.root), "show", "aaaa"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        timeout=60,
    )
    assert done.returncode == 0
    assert b"Dice val" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "seg-tui needs a terminal; `seg-engine runs` prints into pipes"),
        (("-w", "/no/such/folder"), "/no/such/folder: no such folder"),
    ],
)
def test_the_dashboard_says_in_a_line_why_it_cannot_open(arguments: tuple[str, ...], problem: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from seg_tui.start import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert problem in done.stderr
    assert len(done.stderr.splitlines()) == 1


CRASHING_DASHBOARD = """
import sys
from functools import partialmethod
from textual.app import App
from seg_tui import app, program

def crash(self):
    url = "postgresql://" + "terces"[::-1] + "@db/seg"
    url.missing

sys.stdin.isatty = sys.stderr.isatty = lambda: True
app.SegTui.open_graphics = lambda self: None
app.SegTui.on_mount = crash
app.SegTui.run = partialmethod(App.run, headless=True)
program.main()
"""


def test_a_crash_of_the_dashboard_is_a_traceback_without_values_and_says_whose_it_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASHING_DASHBOARD, "-w", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == FAULT
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert "AttributeError: 'str' object has no attribute 'missing'" in done.stderr
    assert "secret" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: this is a fault of seg-engine")
