"""The dashboard in a real terminal, tmux, as somebody at a keyboard meets it: a run from its form to its end,
and terminals of few colours. Waiting is looking at the screen until a text is there.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.agent.presence import Presence
from engine.config.recipes import RECIPES
from engine.host.processes import is_alive
from engine.run.telemetry import read_samples
from engine.workspace import Workspace
from tests.system.conftest import WAIT_SECONDS, seg
from tests.tui.made_up_workspace import add, broken_journal, learning_journal

DASHBOARD = [sys.executable, "-c", "from seg_tui.start import main; main()"]


@pytest.fixture(autouse=True)
def needs_tmux() -> None:
    """Automatic checks always have it; elsewhere it is no reason to fail."""
    if shutil.which("tmux") is None and not os.environ.get("CI"):
        pytest.skip("tmux is not installed")


class Screen:
    """A dashboard in a tmux server of its own."""

    def __init__(self, workspace: Workspace, socket: Path, size: tuple[int, int], **variables: str) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        environment = {**os.environ, "TERM": "xterm-256color", **variables}
        # What the terminal can do and how large it is are not said by whoever runs the tests.
        for name in {"COLORTERM", "NO_COLOR", "COLUMNS", "LINES"} - variables.keys():
            environment.pop(name, None)
        settings = [f"{name}={value}" for name, value in environment.items()]
        command = shlex.join(["env", "-i", *settings, *DASHBOARD, "-w", str(workspace.root)])
        columns, lines = map(str, size)
        self._call("new-session", "-d", "-x", columns, "-y", lines, command)

    def _call(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, timeout=WAIT_SECONDS)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: Enter, Down, C-s, or a character."""
        self._call("send-keys", *keys)

    def type(self, text: str) -> None:
        self._call("send-keys", "-l", text)

    def text(self, styled: bool = False) -> str:
        return self._call("capture-pane", "-p", *(["-e"] if styled else []))

    def wait_until(self, holds: Callable[[], object], what: str) -> None:
        """Look until something holds; fails with the screen when it never does."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail(f"waited in vain for {what}; the screen at last:\n{self.text()}")
            time.sleep(0.05)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match of a regular expression on the screen, once there is one."""
        found: list[re.Match[str]] = []
        self.wait_until(lambda: found.extend(re.finditer(pattern, self.text())) or found, repr(pattern))
        return found[0]

    def wait_for_end(self) -> None:
        """Wait until the dashboard, and with it its server, is gone."""
        has_session = [*self._tmux, "has-session"]
        deadline = time.monotonic() + WAIT_SECONDS
        while subprocess.run(has_session, capture_output=True).returncode == 0:
            assert time.monotonic() < deadline, "it is still there"
            time.sleep(0.05)

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True)


@contextlib.contextmanager
def dashboard(workspace: Workspace, size: tuple[int, int] = (120, 40), **variables: str) -> Iterator[Screen]:
    # Not in tmp_path: the path of a socket may have no more than about 100 characters.
    socket = Path(f"/tmp/seg-tui-test-{os.getpid()}")
    screen = Screen(workspace, socket, size, **variables)
    try:
        yield screen
    finally:
        screen.close()
        socket.unlink(missing_ok=True)


@pytest.fixture
def cared_for(workspace: Workspace) -> Iterator[Workspace]:
    """A workspace whose living runs and agent are ended behind the test."""
    workspace.root.mkdir()
    yield workspace
    agent = Presence.of(workspace).living()
    if agent is not None:
        os.kill(agent.pid, signal.SIGTERM)
    for proc in workspace.runs.glob("*/proc.json"):
        process = workspace.run_dir(proc.parent.name).read_proc()
        if process is not None and is_alive(process):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_run_from_the_form_to_leaving_it_alive(cared_for: Workspace, street: Path) -> None:
    workspace = cared_for
    journal = learning_journal(0.4)
    journal.finish(30)
    add(workspace, "aaaa0000", journal, name="earlier", experiment="night", created=time.time() - 3600)

    with dashboard(workspace) as screen:
        screen.wait_for("earlier")

        screen.press("n")
        screen.wait_for("which recipe")
        for _ in range(list(RECIPES).index("quick")):
            screen.press("Down")
        screen.press("Enter")
        screen.wait_for("new run from quick")
        screen.wait_for("data  Folder of the data set")
        screen.type(str(street))
        screen.wait_for("8 train, 2 val images")
        fields = {
            "epochs": "4000",
            "data.size": "32x32",
            "model.width": "4",
            "gallery.every": "1",
            "runtime.threads": "1",
        }
        for key, value in fields.items():
            fill_in(screen, key, value)
        screen.wait_for("5 keys differ from quick")
        screen.press("C-s")

        screen.wait_for(r"running .*@ +\d")
        first = epoch_on(screen)
        screen.wait_for(r"running .* \d+/4000")
        wait_for_epoch_after(screen, first)

        screen.press("s")
        screen.wait_for(r"stopped +quick")
        stopped_at = epoch_on(screen)
        screen.press("r")
        screen.wait_for(r"running +(\d+% +)?quick")
        wait_for_epoch_after(screen, stopped_at)
        screen.wait_until(lambda: 2 in attempts(workspace), "the second attempt in the database")
        screen.wait_until(lambda: 2 in sampled_attempts(workspace), "a sample of the second attempt")

        screen.press("a")
        screen.wait_for("2 marked")
        screen.press("c")
        screen.wait_for("compare 2 runs")
        screen.wait_for(r"best Dice +\d\.\d{4} +\d\.\d{4} +[+-]\d\.\d{4}")
        screen.press("Escape")
        screen.wait_for("2 marked")
        screen.press("u")
        screen.wait_until(lambda: "marked" not in screen.text(), "no marks")

        screen.press("p")
        screen.wait_for("Prediction +Dice")
        screen.wait_for("road")
        screen.press("Escape")
        screen.wait_for("best Dice @ epoch")

        screen.press("q")
        screen.wait_for_end()

    with workspace.open_store() as store:
        (run,) = (run for run in store.runs() if run.name == "quick")
        assert run.status == "running"
    assert worker_lives(workspace)
    assert seg(workspace, "stop", "quick").returncode == 0


def worker_lives(workspace: Workspace) -> bool:
    """Whether the one run with a worker has it still."""
    (proc,) = workspace.runs.glob("*/proc.json")
    process = workspace.run_dir(proc.parent.name).read_proc()
    return process is not None and is_alive(process) is True


def sampled_attempts(workspace: Workspace) -> set[int]:
    """The attempts of which workers have left samples of the machine."""
    runs = [workspace.run_dir(proc.parent.name) for proc in workspace.runs.glob("*/proc.json")]
    return {sample.attempt for run in runs for sample in read_samples(run.samples)}


def attempts(workspace: Workspace) -> list[int]:
    """The attempts of all runs, as the database tells them."""
    with workspace.open_store() as store:
        return [run.attempt for run in store.runs()]


def fill_in(screen: Screen, key: str, value: str) -> None:
    """Go down to a field of the form and give it another value.

    Each step is awaited: a letter gets to a field faster than a bound key such as the ctrl+u before it.
    """
    while (field := field_with_focus(screen)) != key:
        screen.press("Down")
        screen.wait_until(lambda field=field: field_with_focus(screen) != field, f"the field below {field}")
    screen.press("C-e", "C-u")
    screen.wait_for("to fix")  # an empty field is one
    screen.type(value)
    screen.wait_for(rf"(?m)^[ │●▸]*{key.rpartition('.')[2]} +{value}(?!\S)")
    screen.wait_until(lambda: "to fix" not in screen.text(), f"{value} to be taken for {key}")


def field_with_focus(screen: Screen) -> str:
    """The key that is explained below the form, on the first line of the lowest pane."""
    return screen.wait_for(r"─ This run ─+╮\s+│ ([\w.]+)  ").group(1)


def epoch_on(screen: Screen) -> int:
    """The epoch of the run that the form made, as the table has it."""
    return int(screen.wait_for(r"(\d+)/4000").group(1))


def wait_for_epoch_after(screen: Screen, epoch: int) -> None:
    screen.wait_until(lambda: epoch_on(screen) > epoch, f"an epoch after {epoch}")


@pytest.mark.parametrize(
    ("variables", "colors"),
    [
        ({"TERM": "xterm"}, r"[34]\d|9\d|10\d"),
        ({"TERM": "xterm-256color"}, r"[34]8;5;\d+"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, None),
    ],
    ids=["16-colours", "256-colours", "no-colour"],
)
def test_with_few_colours_all_is_told_in_text(
    workspace: Workspace, variables: dict[str, str], colors: str | None
) -> None:
    workspace.root.mkdir()
    journal = learning_journal(0.6)
    journal.finish(30)
    add(workspace, "aaaa0000", journal, name="good", experiment="night")
    add(workspace, "bbbb0000", broken_journal(), name="too-big", experiment="night")

    with dashboard(workspace, (80, 24), **variables) as screen:
        screen.wait_for("2 runs")
        screen.wait_for("finished +good")
        screen.wait_for(r"failed: (out_of_)?memory +too-big")
        if variables["TERM"] == "xterm":
            screen.wait_for("TERM=xterm stands for 16 colours")
        used = set(re.findall(r"\x1b\[([\d;]*)m", screen.text(styled=True)))
        sent = {code for codes in used for code in re.findall(r"[34]8;[25](?:;\d+)+|\d+", codes)}
        colored = sent - {"0", "1", "2", "3", "4", "7", "39", "49"}
        assert bool(colored) == (colors is not None)
        assert all(re.fullmatch(colors or "", code) for code in colored), colored
        screen.press("q")
        screen.wait_for_end()
