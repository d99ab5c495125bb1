"""Telling people what has ended, once each, in threads: no slow server or command holds up a run."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable

from engine.agent import channels
from engine.agent.message import EndMessage, end_message
from engine.config.notify import NotifyConfig, load_notify_config
from engine.config.settings_file import SettingsError
from engine.store import Notice, Store, StoreError
from engine.workspace import Workspace

LOOK_SECONDS = 1.0
"""How often it is looked for ends."""

THREADS = 3


class Teller:
    """Looks for what has ended in a workspace, and tells it. `say` gets a line for what could not be told."""

    def __init__(self, store: Store, workspace: Workspace, say: Callable[[str], None]) -> None:
        self.store, self.workspace, self.say = store, workspace, say
        self._jobs: queue.Queue[tuple[Notice, NotifyConfig]] = queue.Queue()
        self._pending: set[int] = set()
        self._leaving = False
        self._threads = 0
        self._looked = float("-inf")
        self._fault = ""

    @property
    def busy(self) -> bool:
        """Whether something is being told just now, or is next."""
        return self._jobs.unfinished_tasks > 0

    def step(self, now: bool = False) -> None:
        """Look for ends, at most every LOOK_SECONDS unless `now`. Raises StoreError."""
        if not now and time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            config = load_notify_config(self.workspace.root)
        except SettingsError as error:  # nothing is known of whom to tell: ends wait until it is
            if str(error) != self._fault:
                self.say(f"trouble: {error}")
            self._fault = str(error)
            return
        self._fault = ""
        self.store.notices.post_ends(config.scopes, config.channels)
        for notice in self.store.notices.due():
            if notice.id not in self._pending:
                self._pending.add(notice.id)
                self._jobs.put((notice, config))
                if self._threads < THREADS:
                    self._threads += 1
                    threading.Thread(target=self._work, name="teller", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Return when all is told, or after that time."""
        deadline = time.monotonic() + seconds
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.05)

    def leave(self, seconds: float) -> None:
        """Wait for the last time: what is being told by then may never be known to be, what has not begun is
        for the next."""
        self.wait(seconds)
        self._leaving = True

    def _work(self) -> None:
        while True:
            notice, config = self._jobs.get()
            try:
                if not self._leaving and self._is_ours(notice):
                    self._tell(notice, config)
            finally:
                self._pending.discard(notice.id)
                self._jobs.task_done()

    def _is_ours(self, notice: Notice) -> bool:
        """Take a notice, now that its turn has come: nobody else ever tells what was taken."""
        try:
            return self.store.notices.take(notice)
        except StoreError:  # it waits, and is found again
            return False

    def _tell(self, notice: Notice, config: NotifyConfig) -> None:
        try:
            runs = self.store.notices.ended_of(notice.scope, notice.subject)
            message = end_message(notice.scope, notice.subject, runs, os.fspath(self.workspace.root))
            problem = tell_by(notice.channel, notice.target, config, message, os.fspath(self.workspace.root))
        except StoreError as error:
            problem = str(error)
        except Exception as error:  # a fault must not end the thread: others are to be told
            problem = f"{type(error).__name__}: {error}"
        if problem:
            self.say(f"not told that {notice.subject or 'the queue'} has ended: {problem}")
        with contextlib.suppress(StoreError):  # it stays as taken, and nobody tells it again
            self.store.notices.settle(notice, problem)


def tell_by(channel: str, target: str, config: NotifyConfig, message: EndMessage, folder: str) -> str:
    """Tell a message by one channel; returns "", or why it could not be told."""
    if channel == "command":
        return channels.command(target or config.command, message, folder)
    if channel == "mail":
        return channels.mail(config.mail, message)
    return channels.post(config.url, message)
