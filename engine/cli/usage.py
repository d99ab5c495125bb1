"""Words that are no command or option, answered in one line that names the nearest."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

PROGRAM = "seg-engine"

ORDER = (
    *("run", "resume", "runs", "show", "picture", "evaluate", "images", "predict", "ood", "robustness"),
    *("recipes", "config", "data", "db", "doctor", "bench"),
    *("compare", "figure", "report", "study"),
    *("queue", "watch", "logs", "stop", "requeue", "rerun", "sweep", "tag", "note", "delete", "agent"),
)
"""The commands as help lists them: along the way that people take."""


class WrongUse(typer.TyperException):
    """Arguments that do not go together; the message is one line."""


def choice(option: str, value: str, allowed: Sequence[str]) -> str:
    """`value`, when it is allowed. Raises WrongUse."""
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise WrongUse(f"{option}: {value!r} is not allowed; it must be one of {' | '.join(allowed)}{hint}")
    return value


class CommandGroup(TyperGroup):
    """A group that names the nearest command when there is none of that name."""

    def list_commands(self, context: Any) -> list[str]:
        names = super().list_commands(context)
        return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def resolve_command(self, context: Any, arguments: list[str]) -> Any:
        name, known = arguments[0], self.list_commands(context)
        if not name.startswith("-") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise WrongUse(f"{name}: no such command; {hint}")
        return super().resolve_command(context, arguments)


def usage_line(error: typer.TyperException) -> str:
    """What was wrong with the words of the command, in one line."""
    context = getattr(error, "ctx", None)
    command = f"`{context.command_path if context else PROGRAM} --help`"
    if not hasattr(error, "possibilities"):  # any error but an option that does not exist
        text = error.format_message().rstrip(".")
        return text if isinstance(error, WrongUse) else f"{text[:1].lower()}{text[1:]}; see {command}"
    option = getattr(error, "option_name", "")
    if option in ("-w", "--workspace"):
        return f"{option}: goes before the command: {PROGRAM} --workspace DIR COMMAND"
    near = sorted(error.possibilities or ())
    return f"{option}: no such option; " + (f"did you mean {near[0]}?" if near else f"see {command}")
