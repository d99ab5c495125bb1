"""Completion, as shells ask for it: what Tab offers, and that it leaves no trace."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import typer

from engine.cli.completion import SCRIPTS, candidates, split
from engine.cli.main import app
from engine.exits import BAD_USE
from engine.workspace import WORKSPACE_VARIABLE, Workspace
from tests.engine.conftest import Command
from tests.engine.made_up_runs import finished_journal, make_run_dir

EVIL = "a $(touch pwned) b"


@pytest.fixture
def runs(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Run folders alone: completion has no need of a database."""
    monkeypatch.setenv(WORKSPACE_VARIABLE, str(workspace.root))
    journal = finished_journal()
    make_run_dir(workspace.runs, "aaaa1111", journal, name="night", tags=("fog",), experiment="paper")
    make_run_dir(workspace.runs, "bbbb2222", journal, name=EVIL)
    make_run_dir(workspace.runs, "cccc3333", journal, name="--yes")
    make_run_dir(workspace.runs, "dddd4444", journal, name="two\nlines")
    (workspace.runs / "aaaa1111" / "journal.jsonl").chmod(0)  # nobody looks into it
    return workspace


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A folder for PATH with the program in it, which tells in a file what it has imported."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "seg-engine"
    code = "from engine.cli.main import main; main()"
    program.write_text(
        f"#!/bin/sh\nexec {sys.executable} -X importtime -c '{code}' \"$@\" 2>>{tmp_path}/err\n"
    )
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("ru", ["run", "runs"]),
        ("run qu", ["quick", "quick-modern"]),
        ("run quick optimizer.n", ["optimizer.name="]),
        ("run quick optimizer.name=", ["optimizer.name=sgd", "optimizer.name=adamw"]),
        ("run quick --name x model.name=mod", ["model.name=modern_unet"]),
        ("run quick model.encoder=mit_b", ["model.encoder=mit_b0", "model.encoder=mit_b5"]),
        ("models tu-resnet5", ["tu-resnet50"]),
        ("run quick data.skip_bad=", ["data.skip_bad=true", "data.skip_bad=false"]),
        ("run quick init.weights=ni", ["init.weights=night"]),
        ("sweep quick optimizer.name=sgd,a", ["optimizer.name=sgd,adamw"]),
        ("run quick no.such.key=", []),
        ("show a", ["aaaa1111", EVIL]),
        ("stop bbbb2222 n", ["night"]),
        ("delete -", ["--yes", "--help"]),
        ("delete bb", ["bbbb2222"]),
        ("runs --experiment ", ["paper", "test"]),
        ("runs --status f", ["finished", "failed"]),
        ("runs tag:", ["tag:fog"]),
        ("report pa", ["paper"]),
        ("evaluate night --spl", ["--split"]),
        ("evaluate night --split=t", ["--split=train", "--split=test"]),
        ("ood night --ps", ["--pseudo"]),
        ("ood night --o", ["--ood-data"]),
        ("data c", ["check", "cache"]),
        ("data check ", []),
        ("recipes show paper-u", ["paper-unet"]),
        ("config optimizer.l", ["optimizer.lr"]),
        ("figure cu", ["curves"]),
        ("-w /nowhere show ", []),
        ("--workspace=/nowhere show ", []),
    ],
)
@pytest.mark.usefixtures("runs")
def test_each_word_is_offered_what_it_may_be(line: str, some: list[str]) -> None:
    *words, incomplete = split(line)
    found = list(candidates(typer.main.get_command(app), words, incomplete))
    assert [word for word in found if word in some] == [word for word in found if word in {*some}]
    assert set(some) <= set(found)
    if not some:
        assert found == []
    assert all(word.startswith(incomplete) for word in found)
    if not incomplete.startswith("-"):
        assert "--yes" not in found  # a run of that name would be taken for the option


def test_a_run_that_lies_on_a_disk_that_is_away_does_not_hide_the_others(runs: Workspace) -> None:
    (runs.runs / "eeee5555").symlink_to("/nowhere/runs/eeee5555")
    found = list(candidates(typer.main.get_command(app), ["show"], ""))
    assert {"aaaa1111", "eeee5555", "night"} <= set(found)


def ask(program: Path, shell: str, line: str, **more: str) -> str:
    """What the program answers a shell; it never says anything else."""
    done = subprocess.run(
        [program],
        env={
            **os.environ,
            "_SEG_ENGINE_COMPLETE": f"complete_{shell}",
            "_TYPER_COMPLETE_ARGS": line,
            **more,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_it_looks_without_torch_or_database_and_leaves_nothing_behind(
    runs: Workspace, bin_folder: Path
) -> None:
    with runs.open_store() as store:
        store.close()
    before = {path: path.stat().st_mtime_ns for path in runs.root.rglob("*")}
    said = ask(bin_folder / "seg-engine", "bash", "seg-engine show ")
    assert "aaaa1111" in said.split()
    assert r"a\ \$\(touch\ pwned\)\ b" in said.splitlines()
    assert "lines" not in said
    assert {path: path.stat().st_mtime_ns for path in runs.root.rglob("*")} == before
    imported = {
        line.rpartition("|")[2].strip() for line in (bin_folder.parent / "err").read_text().splitlines()
    }
    assert "engine.cli.words" in imported
    assert imported.isdisjoint({"torch", "sqlalchemy", "numpy", "rich", "engine.store", "engine.agent"})


@pytest.mark.parametrize(
    ("shell", "line", "more"),
    [
        ("bash", "seg-engine nonsense and ", {}),
        ("zsh", "seg-engine run 'unclosed \\", {}),
        ("bash", "seg-engine show ", {WORKSPACE_VARIABLE: "/proc/self/mem"}),
        ("bash", "seg-engine --plugin /nowhere.py run quick no.key=", {}),
        ("powershell", "seg-engine \udce9", {}),
    ],
)
def test_whatever_goes_wrong_nothing_is_said(
    bin_folder: Path, shell: str, line: str, more: dict[str, str]
) -> None:
    assert ask(bin_folder / "seg-engine", shell, line, **more) == ""
    assert "Traceback" not in (bin_folder.parent / "err").read_text()


def test_words_as_typers_own_script_sends_them_are_understood(bin_folder: Path) -> None:
    environment = {"COMP_WORDS": "seg-engine run quick optimizer.name = rm", "COMP_CWORD": "5"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("_TYPER")}
    done = subprocess.run(
        [bin_folder / "seg-engine"],
        env={**clean, **environment, "_SEG_ENGINE_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "rmsprop\n"


def test_tab_completes_in_a_real_bash(runs: Workspace, bin_folder: Path, seg: Command) -> None:
    (runs.root / "completion.bash").write_text(seg("--show-completion bash").out)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 500, 0, 0))  # a line stays on its line
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=runs.root,
        env={**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "PS1": "$ ", "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(follower)
    shown = ""

    def wait_for(text: str) -> None:
        nonlocal shown
        deadline = time.monotonic() + 60
        while text not in shown and time.monotonic() < deadline:
            if select.select([leader], [], [], 1)[0]:
                shown += os.read(leader, 1 << 16).decode(errors="replace")
        assert text in shown, shown

    def tab(line: str, becomes: str) -> None:
        """The line after Tab, told by an echo that is put before it."""
        nonlocal shown
        shown = ""
        os.write(leader, f"{line}\t".encode())
        wait_for(line)
        os.write(leader, b"\x01printf '<%s>' \x05\n")  # to the beginning, to the end
        wait_for(becomes)

    try:
        os.write(leader, b"source completion.bash && printf 'rea%s' dy\n")
        wait_for("ready")
        tab("seg-engine run qui", "<seg-engine><run><quick")
        tab("seg-engine run quick optimizer.name=rm", "<optimizer.name=rmsprop>")
        tab('seg-engine run quick "optimizer.name=rm', "<optimizer.name=rmsprop>")
        tab("seg-engine show a\\ ", f"<show><{EVIL}>")
    finally:
        os.close(leader)
        shell.kill()
        shell.wait()
    assert not (runs.root / "pwned").exists()


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_installing_twice_adds_one_line_and_keeps_what_is_there(
    seg: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    start = tmp_path / f".{shell}rc"
    start.write_text("mine")
    assert [seg(f"--install-completion {shell}").status for _ in range(2)] == [0, 0]
    script = {
        "fish": ".config/fish/completions/seg-engine.fish",
        "bash": ".local/share/seg-engine/completion.bash",
        "zsh": ".local/share/seg-engine/completion.zsh",
    }[shell]
    assert (tmp_path / script).read_text() == SCRIPTS[shell]
    added = "" if shell == "fish" else f"\nsource {tmp_path / script}\n"
    assert start.read_text() == f"mine{added}"


def test_a_shell_without_a_script_is_one_line(seg: Command) -> None:
    done = seg("--show-completion csh")
    assert done.status == BAD_USE
    assert done.err == (
        "error: --show-completion: 'csh' is not allowed; it must be one of bash | zsh | fish; "
        "did you mean zsh?\n"
    )
