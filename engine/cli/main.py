"""`seg-engine`: every command with its arguments. What a command needs is imported when it is called, so that
help is there at once and nothing here ever waits for torch. `engine.exits` has the exit statuses.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from engine.cli import choosing, exporting, keeping, looking, queueing, running, scoring
from engine.cli.arguments import group, help_without_command
from engine.cli.usage import CommandGroup, plugins_first, refuse_empty, usage_line
from engine.exits import DONE, INTERRUPTED, complain, tell
from engine.typed import PROGRAM, typed_with
from engine.visible import guard_streams, one_line

GROUPS = (
    running.commands,
    choosing.commands,
    looking.commands,
    scoring.commands,
    exporting.commands,
    queueing.commands,
    keeping.data,
    keeping.admin,
)
"""The groups of commands in the order in which help lists them."""


class Root(CommandGroup):
    """The program itself."""

    panels: ClassVar = {commands.panel: tuple(commands.listed) for commands in GROUPS}


app = group(
    "Train segmentation networks and keep every epoch's scores in a database.",
    cls=Root,
    epilog="Start with: seg-engine data synthesize demo-data && seg-engine run quick --data demo-data\n\n"
    "Exit status: 0 done, 1 the run failed or a check found faults, 2 bad input, 3 stopped, 70 a fault of "
    "the program, 130 interrupted.",
)
for commands in GROUPS:
    app.registered_commands += commands.registered_commands
    app.registered_groups += commands.registered_groups


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"{PROGRAM} {version(PROGRAM)}")
        raise typer.Exit()


def _completion(parameter: typer.CallbackParam, wanted: bool) -> None:
    if wanted:
        from engine.cli.completion import asked_for

        asked_for(parameter.opts[:1])
        raise typer.Exit()


@app.callback()
def _root(
    context: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            metavar="DIR",
            readable=False,  # whose it is, and what may be read of it, is said when it is opened
            help="Folder with experiments.db, runs/ and cache/ [default: $SEG_WORKSPACE or this folder].",
        ),
    ] = None,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE.py", help="A Python file with your own components; repeatable."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    install_completion: Annotated[
        bool,
        typer.Option(
            "--install-completion",
            callback=_completion,
            is_eager=True,
            help="Let Tab complete words in this shell, or in the one named: bash, zsh or fish.",
        ),
    ] = False,
    show_completion: Annotated[
        bool,
        typer.Option(
            "--show-completion",
            callback=_completion,
            is_eager=True,
            help="Print the shell's script for that.",
        ),
    ] = False,
) -> None:
    context.obj = workspace
    typed_with(workspace)
    if plugin:
        from engine.plugins import load_plugin

        for file in plugin:
            load_plugin(file)
    help_without_command(context)


def main() -> None:
    """The console script."""
    # Imports make many objects and no garbage; looking for it at every 700th costs a seventh of the start.
    gc.set_threshold(100_000)
    if os.environ.get("_SEG_ENGINE_COMPLETE"):
        from engine.cli.completion import answer

        answer(typer.main.get_command(app))
        os._exit(DONE)
    guard_streams()
    warnings.showwarning = partial(_note, warnings.showwarning)
    status = command_line(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # All is closed and written. Taking the interpreter apart, object by object, would cost a sixth of the
    # time that listing the runs takes.
    os._exit(status)


def _note(usual: Callable[..., None], message: object, category: type[Warning], *place: Any) -> None:
    """Print a warning of the engine's own as a line: where in the program it was given helps nobody."""
    if category.__module__.startswith("engine."):
        print(f"note: {message}", file=sys.stderr)
    else:
        usual(message, category, *place)


def command_line(arguments: Sequence[str]) -> int:
    """Do one command; returns its exit status. Here, and only here, errors are told on stderr."""
    try:
        if arguments and arguments[0].endswith("-completion"):  # whose value, a shell, may be left out
            from engine.cli.completion import asked_for

            if asked_for(arguments):
                return DONE
        refuse_empty(arguments)
        arguments = plugins_first(arguments)
        command = typer.main.get_command(app)
        with command.make_context(PROGRAM, list(arguments)) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException as error:
        return complain(one_line(usage_line(error)))
    except typer.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        from engine.cli.console import fall_silent

        fall_silent()
    except (Exception, KeyboardInterrupt) as error:
        return tell(error)
    finally:
        typed_with(None)
    return DONE
