"""Whoever is to be told when something ends is told once, and nobody waits for a slow server."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.agent import channels
from engine.agent.teller import THREADS, Teller
from engine.config.notify import load_notify_config
from engine.config.settings_file import SettingsError
from engine.host.processes import identify
from engine.host.terminal_notice import terminal_notice
from engine.store import Store
from engine.workspace import Workspace
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import finished_journal


class Hook(http.server.ThreadingHTTPServer):
    """A webhook on a real socket; `answer` is the status, and nothing is answered before `may_answer`.
    `is_asked` counts what has come in."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[dict[str, Any]] = []
        self.is_asked = threading.Semaphore(0)
        self.answer = 200
        self.may_answer = threading.Event()
        self.may_answer.set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret-token"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.is_asked.release()
        self.server.may_answer.wait(20)
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, format: str, *values: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        yield server
        server.may_answer.set()
        server.shutdown()


def settings(workspace: Workspace, **values: str) -> None:
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    (workspace.root / "notify.toml").write_text(f"[notify]\n{lines}")


def end(store: Store, run_id: str, status: str = "finished", cause: str = "completed") -> None:
    """A run is taken, and ends."""
    store.lifecycle.set_status(run_id, "running")
    store.lifecycle.set_status(run_id, status, cause)


def told(store: Store, workspace: Workspace) -> list[str]:
    """Look and tell; returns what was said of what could not be told."""
    said: list[str] = []
    teller = Teller(store, workspace, said.append)
    teller.step(now=True)
    teller.wait(20)
    assert not teller.busy
    return said


def test_each_end_is_told_once_whoever_looks_and_old_ends_never(
    workspace: Workspace, hook: Hook, seg: Command
) -> None:
    settings(workspace, url=hook.url, about="run, experiment, queue")
    for number in range(3):
        import_made_up_run(
            workspace, f"aaaa000{number}", finished_journal(), name=f"unet-{number}", experiment="lr"
        )
    with workspace.open_store() as store:
        assert told(store, workspace) == []
        assert hook.got == [], "runs that came with their folder ended elsewhere"
        store.lifecycle.set_status("aaaa0001", "running")
        end(store, "aaaa0000")
        tellers = [Teller(store, workspace, pytest.fail) for _ in range(3)]
        racing = [threading.Thread(target=teller.step, args=(True,)) for teller in tellers]
        for thread in racing:
            thread.start()
        for thread in racing:
            thread.join()
        for teller in tellers:
            teller.wait(20)
        (first,) = hook.got
        dice = store.run("aaaa0000").best_dice
        assert (first["scope"], first["run"], first["best_dice"]) == ("run", "aaaa0000", dice)
        assert first["text"].startswith(f"unet-0 finished (completed): best Dice {dice:.4f} @ ")
        before = store.run("aaaa0001").claimed_by
        assert store.queue.adopt("aaaa0001", identify(), "cpu", before), "by the next agent"
        store.lifecycle.set_status("aaaa0001", "failed", "diverged", "the loss became nan")
        assert told(store, workspace) == []
        by_scope = {one["scope"]: one for one in hook.got[1:]}
        run, experiment, queue = (by_scope[scope] for scope in ("run", "experiment", "queue"))
        assert run["text"].startswith("unet-1 failed (diverged): ")
        assert "the loss became nan" in run["text"]
        assert experiment["text"].startswith("experiment lr has ended: 1 failed, 2 finished; best Dice ")
        assert queue["text"].startswith("nothing is running or queued any more; the last: unet-1 failed")
        assert told(store, workspace) == []
    assert seg("db rebuild").status == 0
    with workspace.open_store() as store:
        assert told(store, workspace) == []
        assert len(hook.got) == 4
        end(store, "aaaa0001", "stopped", "stopped")
        assert told(store, workspace) == []
    assert sorted(one["scope"] for one in hook.got[4:]) == ["experiment", "queue", "run"], "another end"


def test_servers_that_are_slow_refuse_or_complain_hold_nobody_up_and_are_not_asked_again(
    workspace: Workspace, hook: Hook, seg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(channels, "AGAIN_SECONDS", (0.01, 0.01))
    import_made_up_run(workspace, "aaaa0000", finished_journal(), name="slow")
    settings(workspace, url=hook.url)
    with workspace.open_store() as store:
        hook.may_answer.clear()
        end(store, "aaaa0000")
        said: list[str] = []
        teller = Teller(store, workspace, said.append)
        teller.step(now=True)
        store.lifecycle.set_status("aaaa0000", "running")  # meanwhile the agent goes on
        assert teller.busy
        teller.wait(20)
        hook.may_answer.set()
        assert said == ["not told that aaaa0000 has ended: 127.0.0.1: no answer within 0.3 s"]
        hook.answer = 503
        store.lifecycle.set_status("aaaa0000", "finished", "completed")
        (complaint,) = told(store, workspace)
        assert "answered 503" in complaint
        nobody = Hook()
        nobody.shutdown()
        nobody.server_close()
        settings(workspace, url=nobody.url)
        end(store, "aaaa0000")
        (refusal,) = told(store, workspace)
        assert "Connection refused" in refusal
        assert told(store, workspace) == []
    assert len(hook.got) == 2
    record = seg("notify --json").json
    assert record["settings"].keys() == {"url", "mail", "command", "about", "terminal"}
    assert (record["settings"]["about"], record["settings"]["terminal"]) == (["run"], True)
    states = [(one["state"], one["channel"]) for one in record["notices"]]
    assert states == [("failed", "url")] * 3
    shown = seg("notify").out
    assert "Connection refused" in shown
    assert "secret-token" not in shown


def test_what_has_not_begun_to_be_told_when_a_teller_leaves_is_told_by_the_next(
    workspace: Workspace, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "ANSWER_SECONDS", 20.0)
    settings(workspace, url=hook.url)
    ids = [f"aaaa000{number}" for number in range(THREADS + 2)]
    for run_id in ids:
        import_made_up_run(workspace, run_id, finished_journal())
    with workspace.open_store() as store:
        hook.may_answer.clear()
        for run_id in ids:
            end(store, run_id)
        teller = Teller(store, workspace, pytest.fail)
        teller.step(now=True)
        teller.step(now=True)
        assert hook.is_asked.acquire(timeout=20)
        teller.leave(0.0)
        hook.may_answer.set()
        teller.wait(20)
        assert 1 <= len(hook.got) <= THREADS, "those that had begun"
        assert told(store, workspace) == []
        assert sorted(one["run"] for one in hook.got) == ids, "each once"
        assert {notice.state for notice in store.notices.recent(9)} == {"told"}


def test_commands_and_mail_are_told_what_ended(
    workspace: Workspace, seg: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sendmail = tmp_path / "bin" / "sendmail"
    sendmail.parent.mkdir()
    sendmail.write_text(f'#!/bin/sh\ncat > {tmp_path}/mail; echo "$@" > {tmp_path}/words\n')
    sendmail.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sendmail.parent}:/usr/bin:/bin")
    import_made_up_run(workspace, "aaaa0000", finished_journal(), name="night\nBcc: all@lab.org")
    settings(workspace, mail="anna@lab.org", command="echo $SEG_NAME >> every")
    assert seg("queue on-end 'true'").err.startswith("error: nothing is running or queued")
    with workspace.open_store() as store:
        store.lifecycle.set_status("aaaa0000", "running")
        store.notices.wish("run", "aaaa0000", 'echo "$SEG_STATUS $SEG_CAUSE $SEG_BEST_EPOCH" >> once; exit 3')
        assert seg("queue on-end 'echo $SEG_SCOPE >> once'").status == 0
        assert told(store, workspace) == [], "it has not ended"
        store.lifecycle.set_status("aaaa0000", "finished", "completed")
        (complaint,) = told(store, workspace)
        assert "the command ended with exit status 3" in complaint
        epoch = store.run("aaaa0000").best_epoch
        end(store, "aaaa0000")
        assert told(store, workspace) == []
    wished = (workspace.root / "once").read_text().splitlines()
    assert sorted(wished) == [f"finished completed {epoch}", "queue"], "each wish comes true once"
    assert len((workspace.root / "every").read_text().splitlines()) == 2
    letter = (tmp_path / "mail").read_text()
    head, _, body = letter.partition("\n\n")
    assert "To: anna@lab.org" in head
    assert not any(line.startswith("Bcc") for line in head.splitlines())
    assert "best_dice: " in body
    assert (tmp_path / "words").read_text() == "-t -i\n"
    assert seg("notify --test").out.splitlines() == ["mail     told", "command  told"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            'url = "ftp://lab/x"',
            "notify.url: 'ftp://lab/x' is not allowed; it must be an http:// or https:// URL",
        ),
        ('mail = "-oQ/tmp"', "notify.mail: '-oQ/tmp' is not an address; it must look like anna@lab.org"),
        (
            'about = "epoch"',
            "notify.about: 'epoch' is not allowed; it must be some of run, experiment, queue",
        ),
        ('ur = "x"', "notify.ur: no such key; did you mean notify.url?"),
    ],
)
def test_settings_that_cannot_be_are_told_and_ends_wait_for_better_ones(
    workspace: Workspace, hook: Hook, line: str, problem: str
) -> None:
    import_made_up_run(workspace, "aaaa0000", finished_journal())
    (workspace.root / "notify.toml").write_text(f"[notify]\n{line}\n")
    with pytest.raises(SettingsError, match=r"notify\.toml:2: notify\."):
        load_notify_config(workspace.root)
    with workspace.open_store() as store:
        end(store, "aaaa0000")
        (trouble,) = told(store, workspace)
        assert trouble.endswith(problem)
        settings(workspace, url=hook.url)
        assert told(store, workspace) == []
    assert len(hook.got) == 1


def test_a_terminal_gets_one_notification_that_no_name_can_break_out_of() -> None:
    assert (
        terminal_notice("a\x1b]0;b\x07", {"TERM": "xterm-256color"}) == "\x07\x1b]9;seg-engine: a ]0;b \x07"
    )
    assert terminal_notice("done", {"TERM": "foot"}) == "\x07\x1b]777;notify;seg-engine;done\x07"
    inside = terminal_notice("done", {"TERM": "tmux-256color", "TMUX": "/tmp/x"})
    assert inside == "\x07\x1bPtmux;\x1b\x1b]9;seg-engine: done\x07\x1b\\"


def test_a_wish_for_an_experiment_goes_with_its_runs(workspace: Workspace) -> None:
    for number in range(2):
        import_made_up_run(workspace, f"aaaa000{number}", finished_journal(), experiment="lr")
    with workspace.open_store() as store:
        store.lifecycle.set_status("aaaa0000", "running")
        store.notices.wish("experiment", "lr", "./summarise.sh")
        store.lifecycle.move("aaaa0000", "rates")
        assert [one.subject for one in store.notices.due()] == ["lr"], "what is left of it has ended"
        store.lifecycle.move("aaaa0001", "rates")
        assert store.notices.due() == [], "all of it goes on under another name"
        store.lifecycle.set_status("aaaa0000", "finished", "completed")
        assert [one.subject for one in store.notices.due()] == ["rates"]
        for number in range(2):
            store.lifecycle.delete(f"aaaa000{number}")
        assert store.notices.due() == []
