"""Look: the commands that show runs, put them side by side and on paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from engine.cli import words
from engine.cli.arguments import (
    Changes,
    Commands,
    DataOfRun,
    ExperimentOnly,
    FoldSeeds,
    Json,
    Printed,
    RunName,
    workspace_of,
)
from engine.cli.figure_options import FIGURES, FigureOptions

commands = Commands("Look")

STATUSES = ("queued", "starting", "running", "stopping", "finished", "stopped", "failed", "lost")
FORMATS = ("table", "csv", "md", "latex", "json")
EXPLAINED = ("dice", "miou", "last_dice", "train_dice", "val_loss", "memory")


@dataclass(frozen=True, kw_only=True)
class Listing:
    filters: Annotated[
        list[str],
        typer.Argument(
            metavar="FILTER",
            help="Such as 'dice>0.6' tag:night, '(model.width=64 or name~^unet) not status=failed'.",
            autocompletion=words.filters,
        ),
    ] = field(default_factory=list)
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Column, config key or measurement to sort by; -KEY: largest first [default: -dice].",
            autocompletion=words.sort_keys,
        ),
    ] = None
    columns: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="Columns, config keys, tags, measurements: 'name,best,optimizer.lr,dice.person,tags'.",
        ),
    ] = ""
    view: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A saved view, or its file: columns, filter and order; `views` lists them.",
            autocompletion=words.views,
        ),
    ] = ""
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="At most this many; 0: all [default: 50 in a table]."),
    ] = None
    experiment: ExperimentOnly = None
    archived: Annotated[bool, typer.Option("--archived", help="Archived runs, too.")] = False
    status: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="Only this status.", autocompletion=words.among(*STATUSES)),
    ] = None
    printed: Printed


@commands.command()
def runs(context: typer.Context, wanted: Listing) -> None:
    """List runs, the best Dice first."""
    from engine.cli.runs import list_runs

    list_runs(workspace_of(context), wanted)


@commands.command()
def views(context: typer.Context, as_json: Json = False) -> None:
    """List the saved views of the table of runs."""
    from engine.cli.views import list_views

    list_views(workspace_of(context), as_json)


@commands.command()
def show(context: typer.Context, run: RunName, as_json: Json = False) -> None:
    """Show one run: status, curves, classes, config and files."""
    from engine.cli.show import show_run

    show_run(workspace_of(context), run, as_json)


@commands.command()
def watch(context: typer.Context, run: RunName, as_json: Json = False) -> None:
    """Follow a run live; Ctrl-C does not stop the run."""
    from engine.cli.watch import watch as command

    raise typer.Exit(command(workspace_of(context), run, as_json))


@commands.command()
def logs(
    context: typer.Context,
    run: RunName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow until the run ends.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=0, help="Only the last N lines; 0: all.")
    ] = 0,
) -> None:
    """Print a run's log."""
    from engine.cli.watch import logs as command

    raise typer.Exit(command(workspace_of(context), run, follow, lines))


@commands.command()
def picture(
    context: typer.Context,
    run: RunName,
    epoch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Epoch [default: the last one saved].")
    ] = None,
    samples: Annotated[int, typer.Option(metavar="K", min=1, help="At most this many images.")] = 6,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Output file [default: outputs/picture.png of the run]."),
    ] = None,
    boundaries: Annotated[
        bool, typer.Option("--boundaries", help="Only errors near true boundaries.")
    ] = False,
) -> None:
    """Draw image, target, prediction and error side by side."""
    from engine.cli.picture import draw_picture

    draw_picture(workspace_of(context), run, epoch, samples, out, boundaries)


@dataclass(frozen=True, kw_only=True)
class AugmentedStep:
    target: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE_OR_RUN",
            help="A recipe's name, a TOML file or a run.",
            autocompletion=words.recipes_and_runs,
        ),
    ]
    changes: Changes = field(default_factory=list)
    data: DataOfRun = None
    samples: Annotated[int, typer.Option(metavar="K", min=1, max=64, help="At most this many images.")] = 6
    out: Annotated[Path, typer.Option(metavar="FILE", help="Output file.")] = Path("augmented.png")


@commands.command()
def augment(context: typer.Context, wanted: AugmentedStep) -> None:
    """Draw training images before and after augmentation."""
    from engine.cli.augment import draw_augmented

    draw_augmented(workspace_of(context), wanted)


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="Run ids, prefixes of them, or names.", autocompletion=words.runs),
    ] = field(default_factory=list)
    where: Annotated[
        str,
        typer.Option(
            metavar="FILTER",
            help="Also all runs that match, as for `runs`: 'experiment=lr and not status=failed'.",
        ),
    ] = ""
    baseline: Annotated[
        str,
        typer.Option(
            metavar="RUN",
            help="Baseline for the differences [default: the first run].",
            autocompletion=words.runs,
        ),
    ] = ""
    fold_seeds: FoldSeeds = False
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="WORD",
            help="table, csv, md, latex or json.",
            autocompletion=words.among(*FORMATS),
        ),
    ] = "table"
    published: Annotated[
        bool,
        typer.Option(
            "--published", help="Add the numbers of the study and of other networks, marked as published."
        ),
    ] = False


@commands.command()
def compare(context: typer.Context, wanted: SideBySide) -> None:
    """Compare runs: scores, classes, differing config keys."""
    from engine.cli.compare import compare_runs

    compare_runs(workspace_of(context), wanted)


@dataclass(frozen=True, kw_only=True)
class Explaining:
    chosen: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_OR_FILTER",
            help="Runs, or filters as of `runs` [default: all runs].",
            autocompletion=words.runs,
        ),
    ] = field(default_factory=list)
    experiment: ExperimentOnly = None
    measure: Annotated[
        str,
        typer.Option(
            metavar="WORD",
            help="What to explain: dice, miou, last_dice, train_dice, val_loss or memory.",
            autocompletion=words.among(*EXPLAINED),
        ),
    ] = "dice"
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Count runs that have not finished.")] = (
        False
    )
    as_json: Json = False


@commands.command()
def explain(context: typer.Context, wanted: Explaining) -> None:
    """Explain what made runs better: which config keys matter."""
    from engine.cli.explain import explain_runs

    explain_runs(workspace_of(context), wanted)


@commands.command()
def figure(
    context: typer.Context,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="samples, curves, classes, confusion, ood, coverage, robustness, generalise, speed or "
            "explain.",
            autocompletion=words.among(*FIGURES),
        ),
    ],
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Run ids, prefixes or names; speed and explain show all by default, explain takes filters.",
            autocompletion=words.runs,
        ),
    ] = None,
    *,
    options: FigureOptions,
) -> None:
    """Draw a figure for a paper as PNG and PDF."""
    from engine.cli.figure import draw_figure

    draw_figure(workspace_of(context), kind, runs or [], options)


@commands.command()
def report(
    context: typer.Context,
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="Its name.", autocompletion=words.experiments)
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder [default: reports/EXPERIMENT of the workspace]."),
    ] = None,
) -> None:
    """Write a report on an experiment: HTML, Markdown, figures."""
    from engine.cli.report import write_report

    write_report(workspace_of(context), experiment, out)


@commands.command()
def tag(
    context: typer.Context,
    run: RunName,
    add: Annotated[
        list[str] | None, typer.Argument(metavar="WORD", help="Tags to add.", autocompletion=words.tags)
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="WORD", help="A tag to remove.", autocompletion=words.tags)
    ] = None,
) -> None:
    """Add tags to a run or remove them."""
    from engine.cli.control import tag as command

    command(workspace_of(context), run, add or [], remove or [])


@commands.command()
def note(
    context: typer.Context,
    run: RunName,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help='The note; "" removes it.')] = None,
) -> None:
    """Set or print a run's note."""
    from engine.cli.control import note as command

    command(workspace_of(context), run, text)
