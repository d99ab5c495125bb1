"""Words that are no command or option, answered in one line that names the nearest."""

from __future__ import annotations

import difflib
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from engine.config.priority import MOST_PRIORITY
from engine.errors import EngineError
from engine.run.files import expanded
from engine.typed import PROGRAM
from engine.visible import SEVERAL_LINES, is_one_line, text_problem

OLD_OPTIONS = {
    "ood": {"--in": "--id-data", "--out": "--ood-data"},
    "check": {"--kind": "--layout"},  # of data
}
"""By command: options of an earlier version, which go on working, and what they are called now."""


class WrongUse(EngineError):
    """Arguments that do not go together; the message is one line."""


def choice(option: str, value: str, allowed: Sequence[str]) -> str:
    """`value`, when it is allowed. Raises WrongUse."""
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise WrongUse(f"{option}: {value!r} is not allowed; it must be one of {' | '.join(allowed)}{hint}")
    return value


PATHS_AS_TEXT = ("images", "checkpoint", "classes", "recipe", "target")
"""Parameters that are text to the command line and may name a file, whose name may be any bytes."""

PYDANTIC_WORDS = re.compile(r"Input should be (.+?)(?:, unable to parse .*)?$")
"""How some versions of typer say that a value has the wrong type."""

BEYOND_INTEGERS = 2**63
"""No database column, and no counter, holds a whole number from here on."""

_RANGE = f"-{MOST_PRIORITY}<=x<={MOST_PRIORITY}"
OF_A_COLUMN = re.compile(rf" *\[{_RANGE}\]|; {_RANGE}|{_RANGE}; ")
"""The bounds of a priority in a help text, alone or among other words in brackets."""


class Command(TyperCommand):
    """A command whose arguments hold what programs behind it can take: bounded numbers, text that is UTF-8,
    paths with `~` resolved. Every command of the program is one, so that none has to think of it."""

    def collect_usage_pieces(self, context: Any) -> list[str]:
        """The arguments as manuals write them: WORD is needed, [WORD] is not, WORD... may be several."""
        pieces = ["[OPTIONS]"]
        for parameter in self.get_params(context):
            if parameter.param_type_name == "argument":
                name = parameter.metavar or str(parameter.name).upper()
                name += "..." if parameter.nargs != 1 else ""
                pieces.append(name if parameter.required else f"[{name}]")
        return pieces

    def format_options(self, context: Any, formatter: Any) -> None:
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            of_kind = [each for each in self.get_params(context) if each.param_type_name == kind]
            rows = [row for each in of_kind if (row := help_record(each, context))]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        return super().parse_args(context, with_new_options(self.name or "", arguments))

    def invoke(self, context: Any) -> Any:
        makes_runs = any("--name" in parameter.opts for parameter in self.params)
        for parameter in self.params if makes_runs else ():
            value = context.params.get(parameter.name)
            if parameter.name in ("name", "experiment") and value and not is_one_line(value):
                raise WrongUse(f"{parameter.opts[0]}: {value!r} {SEVERAL_LINES}")
        for parameter in self.params:
            if parameter.name in context.params:
                first = parameter.opts[0]
                called = first if first.startswith("-") else str(getattr(parameter, "metavar", "") or first)
                value = context.params[parameter.name]
                context.params[parameter.name] = _usable(called, parameter.name or "", value)
        return super().invoke(context)


def help_record(parameter: Any, context: Any) -> tuple[str, str] | None:
    """What the help says of an argument or option, without the `<str>` that Typer adds to RUN and others, and
    without bounds that are the database's and that nobody meets."""
    record = parameter.get_help_record(context)
    return record and (record[0].partition(" <")[0], OF_A_COLUMN.sub("", record[1]))


def _usable(called: str, name: str, value: Any) -> Any:
    """A parameter's value, with `~` resolved in paths. Raises WrongUse."""
    if isinstance(value, list | tuple):
        return type(value)(_usable(called, name, one) for one in value)
    if isinstance(value, Path):
        return expanded(value)
    if isinstance(value, int) and abs(value) >= BEYOND_INTEGERS:
        raise WrongUse(f"{called}: {short(value)} is too large; it must be below 2^63")
    if isinstance(value, float) and not math.isfinite(value):
        raise WrongUse(f"{called}: {value} is not allowed; it must be a finite number")
    problem = text_problem(value) if isinstance(value, str) and name not in PATHS_AS_TEXT else ""
    if problem:
        raise WrongUse(f"{called}: {value!r} {problem}")
    return value


def short(value: object) -> str:
    """A value for a message; what is very long is cut."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:32]}... ({len(text)} characters)"


def refuse_empty(arguments: Sequence[str]) -> None:
    """Raise WrongUse for an argument that is empty where that means nothing: it would be taken for an option
    that was not given, or for this folder. An empty note removes it, an empty tag of `rerun` means none."""
    for place, word in enumerate(arguments):
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if value.strip() or (option and not equals):
            continue
        if not option and place and arguments[place - 1].startswith("-"):
            option = arguments[place - 1]
        may_be = ("--note", "--tag") if "rerun" in arguments else ("--note",)
        if option not in may_be and (option or "note" not in arguments):
            raise WrongUse(f"{option or 'an argument'}: is empty; omit it or give a value")


def with_new_options(command: str, arguments: Sequence[str]) -> list[str]:
    """The arguments with old options by their new names; a note names those that were used."""
    old = OLD_OPTIONS.get(command, {})
    given: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            given += [word, *words]
            break
        option, equals, value = word.partition("=")
        if option in old:
            print(f"note: {option} is now {old[option]}", file=sys.stderr)
            word = f"{old[option]}{equals}{value}"
        given.append(word)
    return given


class CommandGroup(TyperGroup):
    """A group that names the nearest command when there is none of that name.

    Its commands get their words when they are called; until then each has its name and its line of help.
    """

    panels: ClassVar[Mapping[str, Sequence[str]]] = {}
    """The groups in which help lists the commands, in its order; empty: all of them together."""

    def get_command(self, context: Any, name: str) -> Any:
        command = super().get_command(context, name)
        function = getattr(command and command.callback, "function", None)
        if function is None:
            return command
        from engine.cli.request import whole_command

        return whole_command(command, function)

    def list_commands(self, context: Any) -> list[str]:
        return [name for names in self.panels.values() for name in names] or list(self.commands)

    def format_commands(self, context: Any, formatter: Any) -> None:
        width = max(map(len, self.commands))
        for panel, names in (self.panels or {"Commands": self.list_commands(context)}).items():
            shown = [(name, self.commands[name]) for name in names if not self.commands[name].hidden]
            limit = formatter.width - 6 - width
            rows = [(name.ljust(width), command.get_short_help_str(limit)) for name, command in shown]
            with formatter.section(panel):
                formatter.write_dl(rows)

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
        text = PYDANTIC_WORDS.sub(r"must be \1", error.format_message().rstrip("."))
        return f"{text[:1].lower()}{text[1:]}; see {command}"
    option = getattr(error, "option_name", "")
    if option in ("-w", "--workspace"):
        return f"{option}: goes before the command: {PROGRAM} --workspace DIR COMMAND"
    if context and any(parameter.name == "changes" for parameter in context.command.params):
        from engine.config.described import config_keys

        key = option.lstrip("-")
        if key == "set" or key in config_keys():
            example = "KEY=VALUE" if key == "set" else f"{key}=VALUE"
            return f"{option}: no such option; keys are written without one: {example}"
    near = sorted(error.possibilities or ())
    return f"{option}: no such option; " + (f"did you mean {near[0]}?" if near else f"see {command}")


def plugins_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with each `--plugin FILE.py` before the command, wherever it was typed.

    What a plugin adds must be known before the command's own words are read. Raises WrongUse where the file
    is missing, whose place the next word would take.
    """
    before: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == "--plugin":
            file = next(words, None)
            if file is None:
                raise WrongUse("--plugin: needs a file: --plugin FILE.py")
            before += [word, file]
        elif word.startswith("--plugin="):
            before.append(word)
        else:
            rest.append(word)
    return before + rest
