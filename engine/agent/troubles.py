"""Keeping the trouble of one run from the others: what ails it is told once, with its owner, and the rest go
on."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterable, Iterator

from engine.exits import is_fault, summary, whose_fault
from engine.host.processes import user_of
from engine.store import NoSuchRun, Store, StoreError
from engine.workspace import Workspace


class Troubles:
    """What ails which run, as long as it does.

    A StoreError may be one run's, whose rows the database refuses, or everybody's. So one is put off to the
    end of the agent's step, and with the second one the database itself is taken to be at fault.
    """

    def __init__(self, store: Store, workspace: Workspace, say: Callable[[str], None]) -> None:
        self.store, self.workspace, self.say = store, workspace, say
        self._told: dict[tuple[str, str], str] = {}
        self._put_off: StoreError | None = None

    @contextlib.contextmanager
    def of(self, run_id: str, about: str = "") -> Iterator[list[bool]]:
        """The block is one run's part of the work. Yields a list that is empty afterwards when there is no
        such run any more. `about` tells several parts of a run's work apart. Raises StoreError, see above."""
        there = [True]
        try:
            yield there
        except NoSuchRun:
            there.clear()
        except StoreError as error:
            if self._put_off is not None:
                raise
            self._told.setdefault((run_id, about), "")
            self._put_off = StoreError(f"{self._named(run_id)}: {error}")
            return
        except Exception as error:
            self._tell(run_id, about, error)
            return
        self._told.pop((run_id, about), None)

    def begin(self) -> None:
        """A new step."""
        self._put_off = None

    def last(self, run_ids: Iterable[str]) -> list[str]:
        """The same runs, those that were in trouble behind the others."""
        ailing = {run_id for run_id, _ in self._told}
        return sorted(run_ids, key=lambda run_id: run_id in ailing)

    def raise_if_general(self) -> None:
        """Raises the StoreError that was put off, at the end of a step in which all else was done."""
        if self._put_off is not None:
            raise self._put_off

    def _tell(self, run_id: str, about: str, error: Exception) -> None:
        message = in_a_line(error)
        if self._told.get((run_id, about)) != message:
            self.say(f"trouble: {self._named(run_id)}: {message}")
            say_fault(error, self.say)
        self._told[run_id, about] = message

    def _named(self, run_id: str) -> str:
        owner = user_of(self.workspace.run_dir(run_id).path)
        return f"{run_id} of {owner}" if owner else run_id


def say_fault(error: Exception, say: Callable[[str], None]) -> None:
    """The traceback of a fault, and whose fault it is, line by line; nothing of any other error."""
    if is_fault(error):
        for line in "".join(traceback.format_exception(error)).splitlines():
            say(line)
        say(whose_fault(error))


def in_a_line(error: Exception) -> str:
    """The words of the engine and of the system as they are; of another error its kind, too."""
    return str(error).splitlines()[0] if isinstance(error, OSError) else summary(error)
