"""The commands that put runs side by side and on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.arguments import (
    Commands,
    Json,
    Priority,
    RunNames,
    Yes,
    group,
    workspace_of,
)
from engine.cli.usage import WrongUse

study_app = group("Queue a whole study.")
commands = Commands()


@commands.command()
def compare(
    context: typer.Context,
    runs: RunNames,
    baseline: Annotated[
        str, typer.Option(metavar="RUN", help="Differences are to this one [default: the first].")
    ] = "",
    fold_seeds: Annotated[
        bool, typer.Option("--fold-seeds", help="Runs equal but for the seed become mean ± deviation.")
    ] = False,
    form: Annotated[
        str, typer.Option("--format", metavar="WORD", help="table, csv, md, latex or json.")
    ] = "table",
    published: Annotated[
        bool, typer.Option("--published", help="Add the study's numbers, marked as published.")
    ] = False,
) -> None:
    """Put runs side by side: numbers, classes, keys that differ."""
    from engine.cli.compare import compare_runs

    compare_runs(workspace_of(context), runs, baseline, fold_seeds, form, published)


@commands.command()
def figure(
    context: typer.Context,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="samples, curves, classes, confusion, unknown, coverage or robustness."
        ),
    ],
    runs: RunNames,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .png, a .pdf, or both without ending [default: in outputs/]."),
    ] = None,
    columns: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=2, help="Of a two-column paper, how many it spans.")
    ] = None,
    fold_seeds: Annotated[
        bool, typer.Option("--fold-seeds", help="Runs equal but for the seed become mean ± deviation.")
    ] = False,
    measure: Annotated[
        str, typer.Option(metavar="WORD", help="Of curves: dice, dice_image, miou, pixel_accuracy or loss.")
    ] = "dice",
    published: Annotated[
        bool, typer.Option("--published", help="Of curves: mark the study's numbers.")
    ] = False,
    epoch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of samples [default: the last kept].")
    ] = None,
    samples: Annotated[int, typer.Option(metavar="K", min=1, help="How many images at most.")] = 4,
    split: Annotated[str, typer.Option(metavar="WORD", help="Of a confusion matrix.")] = "val",
    at: Annotated[str, typer.Option(metavar="SIZE", help="Of a confusion matrix: input or original.")] = "",
    score: Annotated[
        str, typer.Option(metavar="WORD", help="Of unknown: msp, entropy, max_logit, energy or sml.")
    ] = "energy",
    accept: Annotated[
        float, typer.Option(metavar="SHARE", help="Of unknown: share of known pixels to accept.")
    ] = 0.95,
) -> None:
    """Draw a figure for a paper, as PNG and PDF."""
    from engine.cli.figure import FigureOptions, draw_figure

    options = FigureOptions(columns, fold_seeds, measure, published, epoch, samples, split, at, score, accept)
    draw_figure(workspace_of(context), kind, runs, options, out)


@commands.command()
def report(
    context: typer.Context,
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Its name.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder [default: reports/EXPERIMENT of the workspace]."),
    ] = None,
) -> None:
    """Write an experiment up: HTML, Markdown, figures, data."""
    from engine.cli.report import write_report

    write_report(workspace_of(context), experiment, out)


@study_app.callback()
def _study(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@study_app.command("paper")
def study_paper(
    context: typer.Context,
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE...]", help="Changes of all, such as batch_size=8."),
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the data set.")] = None,
    fraction: Annotated[
        float, typer.Option(metavar="SHARE", help="Of the training images whose labels are used.")
    ] = 1.0,
    epochs_scale: Annotated[
        float, typer.Option(metavar="FACTOR", max=1000, help="Of the epochs of each system.")
    ] = 1.0,
    hidden: Annotated[
        int, typer.Option(metavar="N", min=0, help="Channels of the first level; 0: as in the study.")
    ] = 0,
    size: Annotated[
        str, typer.Option(metavar="HEIGHTxWIDTH", help="For all systems [default: each its own].")
    ] = "",
    experiment: Annotated[
        str, typer.Option(metavar="NAME", help="The experiment they belong to.", show_default=True)
    ] = "paper",
    priority: Priority = 0,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Queue U-Net, modern U-Net and that pre-trained, each evaluated."""
    from engine.cli.study import queue_study
    from engine.requests.study import Scale

    if data is None:
        raise WrongUse("--data: which images? name the folder of the data set")
    scale = Scale(fraction, epochs_scale, hidden, size)
    workspace = workspace_of(context)
    queue_study(workspace, data, scale, changes or [], experiment, priority, yes, as_json)


def add_to(app: typer.Typer) -> None:
    app.add_typer(study_app, name="study")
    app.registered_commands += commands.registered_commands
