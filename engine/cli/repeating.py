"""What the commands that make a run once more can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from engine.cli import words
from engine.cli.arguments import Changes, DataOfRun, InQueue, Json, Note, RunName
from engine.cli.usage import WrongUse


@dataclass(frozen=True, kw_only=True)
class Again:
    run: RunName
    changes: Changes = field(default_factory=list)
    name: Annotated[str, typer.Option(metavar="NAME", help="[default: the other run's].")] = ""
    experiment: Annotated[
        str,
        typer.Option(metavar="NAME", help="[default: the other run's].", autocompletion=words.experiments),
    ] = ""
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD", help="Replaces the other run's tags; repeatable; '': none."),
    ] = None
    note: Note = ""
    queued: InQueue
    as_json: Json = False


@dataclass(frozen=True, kw_only=True)
class Reproducing:
    """Raises WrongUse for a bundle with what is said of a run that is to be made."""

    target: Annotated[
        str,
        typer.Argument(metavar="RUN_OR_FILE", help="A run, or a bundle.", autocompletion=words.runs),
    ]
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="FILE.zip", help="Write what is known of the run to a file, and run nothing."),
    ] = None
    data: DataOfRun = None
    name: Annotated[str, typer.Option(metavar="NAME", help="[default: the run's name and 'again'].")] = ""
    experiment: Annotated[
        str,
        typer.Option(metavar="NAME", help="[default: the run's].", autocompletion=words.experiments),
    ] = ""
    queued: InQueue
    as_json: Json = False

    def __post_init__(self) -> None:
        of_the_new_run = {
            "--data": self.data,
            "--name": self.name,
            "--experiment": self.experiment,
            "--queue": self.queued.queue,
            "--on-end": self.queued.on_end,
        }
        if self.bundle is not None and (
            given := [option for option, is_given in of_the_new_run.items() if is_given]
        ):
            raise WrongUse(f"--bundle: runs nothing; omit {' and '.join(given)}")
