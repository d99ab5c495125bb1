"""The menu of what can be done to runs: what it offers, what it asks for, and what is done then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.config.priority import MOST_PRIORITY
from engine.errors import EngineError
from engine.store import RunSummary
from engine.tasks import TASKS
from engine.workspace import Workspace
from seg_tui import actions, changes
from seg_tui.commands import COMMANDS, ask_engine

if TYPE_CHECKING:
    from engine.store import Store
    from seg_tui.acting import Acting

Choice = tuple[str, str, str]
"""A letter, what it stands for, and what is shown."""

HAS_NETWORK: tuple[Choice, ...] = (
    ("e", "evaluate", "evaluate on a split…"),
    ("o", "ood", "find out-of-distribution pixels…"),
    ("b", "robustness", "score on corrupted images…"),
    ("i", "predict", "predict images or a video…"),
    ("w", "sweep", "sweep over values of its config…"),
)

OF_EACH: tuple[Choice, ...] = (
    ("p", "pause", "pause in the queue"),
    ("c", "unpause", "continue in the queue"),
    ("y", "priority", "change the priority…"),
    ("r", "rename", "rename…"),
    ("m", "move", "move to another experiment…"),
    ("a", "archive", "archive: hide, not delete"),
    ("u", "unarchive", "unarchive"),
    ("k", "protect", "protect from deletion"),
    ("l", "unprotect", "let it be deleted"),
)

OBEYS: Mapping[str, Callable[[RunSummary], bool]] = {
    "pause": lambda run: run.status == "queued" and not run.paused,
    "unpause": lambda run: run.status == "queued" and run.paused,
    "priority": lambda run: run.status == "queued",
    "archive": lambda run: run.ended and not run.archived,
    "unarchive": lambda run: run.archived,
    "protect": lambda run: not run.protected,
    "unprotect": lambda run: run.protected,
}
"""Which runs a choice is for; all, where it is not among these."""


def choices_for(runs: Sequence[RunSummary], has_archived: bool, shows_archived: bool) -> list[Choice]:
    """What can be done to some runs; whatever none of them could obey is left out."""
    found: list[Choice] = []
    if runs and all(TASKS[run.task].learns_classes for run in runs):
        found += HAS_NETWORK if len(runs) == 1 else HAS_NETWORK[:-1]
    found += [choice for choice in OF_EACH if obeying(choice[1], runs)]
    if has_archived or not runs:
        found.append(_archived(shows_archived))
    return found


def obeying(chosen: str, runs: Sequence[RunSummary]) -> list[RunSummary]:
    """The runs that a choice is for."""
    obeys = OBEYS.get(chosen)
    return [run for run in runs if obeys is None or obeys(run)]


def _archived(are_shown: bool) -> Choice:
    return "h", "archived", f"{'hide' if are_shown else 'show'} archived runs"


class NoPriority(EngineError):
    """What was typed is no priority."""


@dataclass(frozen=True)
class Question:
    """What a choice asks for; `action` gets the ids and the `words` made of what was typed."""

    title: str
    hint: str
    action: Callable[..., str | changes.Done]
    words: Callable[[str], tuple[Any, ...]] = lambda text: (text,)


def set_priority(workspace: Workspace, store: Store, ids: Sequence[str], typed: str) -> str:
    """Raises NoPriority, Refused, StoreError."""
    try:
        priority = int(typed)
    except ValueError:
        raise NoPriority(f"{typed!r} is no whole number") from None
    if abs(priority) > MOST_PRIORITY:
        raise NoPriority(f"{priority} is not allowed; it must be from -{MOST_PRIORITY} to {MOST_PRIORITY}")
    return actions.set_place(workspace, store, ids, priority=priority)


QUESTIONS = {
    "rename": Question("Name of", "its id stays", changes.rename),
    "move": Question("Experiment of", "made if it is new", changes.move),
    "priority": Question("Priority of", "higher ones start first; usually 0", set_priority),
    **{
        name: Question(f"seg-engine {name}", about.hint, ask_engine, partial(lambda n, text: (n, text), name))
        for name, about in COMMANDS.items()
    },
}


def do(screen: Acting, chosen: str, runs: Sequence[RunSummary]) -> None:
    """Do what was chosen to the runs that can obey, or ask for the words that it needs."""
    runs = obeying(chosen, runs)
    ids, act = [run.id for run in runs], screen.tui.act
    match chosen:
        case "pause" | "unpause":
            act(actions.set_place, ids, None, chosen == "pause")
        case "archive" | "unarchive":
            act(changes.archive, ids, chosen == "archive")
        case "protect" | "unprotect":
            act(changes.protect, ids, chosen == "protect")
        case "archived":
            screen.action_toggle_archived()
        case _:
            screen.ask_words(chosen, ids, value_for(chosen, runs))


def value_for(chosen: str, runs: Sequence[RunSummary]) -> str:
    """What stands in the question at first."""
    if chosen in COMMANDS:
        return COMMANDS[chosen].usual
    field = {"rename": "name", "move": "experiment", "priority": "priority"}[chosen]
    values = {str(getattr(run, field)) for run in runs}
    return values.pop() if len(values) == 1 else ""
