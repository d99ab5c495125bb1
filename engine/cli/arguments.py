"""The words that commands have in common, each declared once, and the groups that commands are listed in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from engine.cli import words
from engine.cli.usage import Command, CommandGroup, WrongUse, choice
from engine.config.priority import MOST_PRIORITY

if TYPE_CHECKING:
    from engine.requests.queueing import Place
    from engine.workspace import Workspace


def one_of(*allowed: str, help: str, name: str | None = None, metavar: str = "WORD") -> Any:
    """An option that takes one of some words; "" is no word and means that it was not given."""

    def check(parameter: typer.CallbackParam, value: str) -> str:
        return choice(parameter.opts[0], value, allowed) if value else value

    names = [name] if name else []
    return typer.Option(
        *names, metavar=metavar, help=help, callback=check, autocompletion=words.among(*allowed)
    )


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="Run id, a prefix of it, or the run's name.", autocompletion=words.runs
    ),
]
RunNames = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN",
        help="Run ids, prefixes of them, or names.",
        autocompletion=words.runs,
    ),
]
Recipe = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE_OR_FILE", help="A recipe's name or a TOML file.", autocompletion=words.recipes
    ),
]
Changes = Annotated[
    list[str],
    typer.Argument(metavar="KEY=VALUE", help="Changes, such as epochs=20.", autocompletion=words.changes),
]
NetworkChanges = Annotated[
    list[str],
    typer.Argument(metavar="KEY=VALUE", help="Changes, such as device=cpu.", autocompletion=words.changes),
]
Data = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the data set.")]
DataOfRun = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the data set [default: the run's].")
]
Split = Annotated[str, one_of("train", "val", "test", help="train, val or test.")]
Checkpoint = Annotated[
    str,
    typer.Option(
        metavar="WHICH",
        help="best, last, or a file such as the run's epoch_0010.pt.",
        autocompletion=words.checkpoints,
    ),
]
LabelResize = Annotated[
    str, one_of("bilinear-logits", "nearest", help="bilinear-logits, or nearest (as in the study).")
]
Tta = Annotated[
    str,
    one_of(
        "none", "flip", "scales", "flip,scales", metavar="WORDS", help="none, flip, scales or flip,scales."
    ),
]
UseCrf = Annotated[
    bool,
    typer.Option(
        "--crf",
        help="Refine by a fully connected CRF: the parameters of crf-search or the defaults; crf.* keys give "
        "others.",
    ),
]
ExperimentOnly = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only this experiment.", autocompletion=words.experiments),
]
Tags = Annotated[
    list[str],
    typer.Option(metavar="WORD", help="A tag; repeatable.", autocompletion=words.tags),
]
Note = Annotated[str, typer.Option(metavar="TEXT", help="A note.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
FoldSeeds = Annotated[
    bool, typer.Option("--fold-seeds", help="Show runs that differ only in the seed as mean ± deviation.")
]
After = Annotated[
    str, typer.Option(metavar="RUN", help="Start after this run finishes.", autocompletion=words.runs)
]
Priority = Annotated[
    int,
    typer.Option(metavar="N", min=-MOST_PRIORITY, max=MOST_PRIORITY, help="Higher priorities start first."),
]


OnEnd = Annotated[
    str,
    typer.Option(
        metavar="CMD",
        help="Shell command to run once it has ended; SEG_STATUS, SEG_BEST_DICE, ... say how.",
    ),
]


@dataclass(frozen=True)
class InQueue:
    """Whether a new run goes into the queue, and where. Raises WrongUse for a place without the queue."""

    queue: Annotated[bool, typer.Option("--queue", help="Queue the run; an agent starts it.")] = False
    after: Annotated[
        str,
        typer.Option(
            metavar="RUN", help="With --queue: start after this run finishes.", autocompletion=words.runs
        ),
    ] = ""
    priority: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=-MOST_PRIORITY,
            max=MOST_PRIORITY,
            help="With --queue: higher priorities start first.",
            show_default=True,
        ),
    ] = 0
    on_end: OnEnd = ""

    def __post_init__(self) -> None:
        if not self.queue and (self.after or self.priority):
            raise WrongUse("--after and --priority order the queue; add --queue")

    @property
    def place(self) -> Place | None:
        """The place in the queue; None for a run that starts at once."""
        from engine.requests.queueing import Place

        return Place(self.priority, self.after) if self.queue else None


@dataclass(frozen=True)
class InWindows:
    """Whether the network sees images in sliding windows. Raises WrongUse for what is no size."""

    window: Annotated[
        str,
        typer.Option(
            metavar="HxW", help="Sliding windows of this size, such as 512x1024 [default: whole images]."
        ),
    ] = ""
    stride: Annotated[
        str,
        typer.Option(metavar="HxW", help="From one window to the next [default: two thirds of --window]."),
    ] = ""

    def __post_init__(self) -> None:
        for option, size in (("--window", self.window), ("--stride", self.stride)):
            if size and not re.fullmatch(r"[1-9]\d{0,3}[x×][1-9]\d{0,3}", size):
                raise WrongUse(f"{option}: {size!r} is not a size; it must be HEIGHTxWIDTH such as 512x1024")
        if self.stride and not self.window:
            raise WrongUse("--stride is the step from one window to the next; add --window")

    @property
    def keys(self) -> dict[str, str]:
        """The keys of a task's section."""
        return {"window": self.window or "none", "stride": self.stride or "auto"}


@dataclass(frozen=True)
class OfNetwork:
    """What a run that looks at another's network is called; empty parts follow from that run."""

    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the new run [default: after the run].")
    ] = ""
    experiment: Annotated[
        str,
        typer.Option(metavar="NAME", help="[default: that of the run].", autocompletion=words.experiments),
    ] = ""
    tag: Tags = field(default_factory=list)
    note: Note = ""


@dataclass(frozen=True)
class Printed:
    """How a list is printed. Raises WrongUse for two ways at once."""

    as_json: Json = False
    as_csv: Csv = False

    def __post_init__(self) -> None:
        if self.as_json and self.as_csv:
            raise WrongUse("--json and --csv: choose one")

    @property
    def for_people(self) -> bool:
        """Whether it is a table."""
        return not (self.as_json or self.as_csv)


_Function = TypeVar("_Function", bound=Callable[..., Any])


class Commands(typer.Typer):
    """Commands that stand together in the help, below the `panel`, in the order of their declarations."""

    def __init__(self, panel: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.panel = panel
        self.listed: list[str] = []

    def command(self, name: str | None = None, **options: Any) -> Callable[[_Function], _Function]:
        def decorate(function: _Function) -> _Function:
            def stub() -> None:
                """Stands for the command until it is called: its words take long to read."""

            stub.__name__, stub.__doc__ = function.__name__, function.__doc__
            stub.function = function  # type: ignore[attr-defined]
            called = name or function.__name__
            super(Commands, self).command(called, cls=Command, **options)(stub)
            self.listed.append(called)
            return function

        return decorate

    def add_group(self, group: typer.Typer, name: str) -> None:
        self.add_typer(group, name=name)
        self.listed.append(name)


def group(help: str, cls: type[CommandGroup] = CommandGroup, **options: Any) -> Commands:
    """A group of commands that shows its help when called without one."""
    return Commands(
        cls=cls,
        help=help,
        add_completion=False,
        invoke_without_command=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        **options,
    )


def help_without_command(context: typer.Context) -> None:
    """What a group does that is called without a command."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def workspace_of(context: typer.Context) -> Workspace:
    from engine.workspace import find_workspace

    return find_workspace(context.obj)
