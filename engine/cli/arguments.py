"""What the commands' arguments have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from engine.cli.usage import Command, CommandGroup
from engine.config.task_names import MOST_PRIORITY

if TYPE_CHECKING:
    from engine.workspace import Workspace

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Its id, the beginning of it, or its name.")]
RunNames = Annotated[
    list[str], typer.Argument(metavar="RUN...", help="Their ids, the beginnings of them, or their names.")
]
Changes = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes, such as device=cpu.")
]
Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the data set [default: the run's].")
]
Checkpoint = Annotated[
    str, typer.Option(metavar="WHICH", help="best, last or a file; epoch_0010.pt of the run, too.")
]
LabelResize = Annotated[
    str, typer.Option(metavar="WORD", help="bilinear-logits, or nearest as in the study.")
]
Tta = Annotated[str, typer.Option(metavar="WORDS", help="none, flip, scales or flip,scales.")]
Name = Annotated[str, typer.Option(metavar="NAME", help="What to call the new run [default: after the run].")]
Experiment = Annotated[str, typer.Option(metavar="NAME", help="[default: that of the run].")]
Tags = Annotated[list[str] | None, typer.Option(metavar="WORD", help="A tag; may be given again.")]
Note = Annotated[str, typer.Option(metavar="TEXT", help="A note.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Queue = Annotated[bool, typer.Option("--queue", help="Queue it; an agent starts it when its turn comes.")]
After = Annotated[str, typer.Option(metavar="RUN", help="With --queue: start when that run has finished.")]
Priority = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=-MOST_PRIORITY,
        max=MOST_PRIORITY,
        help="With --queue: higher ones start first.",
        show_default=True,
    ),
]


_Function = TypeVar("_Function", bound=Callable[..., Any])


class Commands(typer.Typer):
    """A group of `Command`s."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[_Function], _Function]:
        return super().command(name, cls=Command, **options)


def group(help: str, **options: Any) -> typer.Typer:
    """A group of commands that shows its help when called without one."""
    return Commands(
        cls=CommandGroup,
        help=help,
        add_completion=False,
        invoke_without_command=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        **options,
    )


def workspace_of(context: typer.Context) -> Workspace:
    from engine.workspace import find_workspace

    return find_workspace(context.obj)
