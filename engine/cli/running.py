"""Run: the commands that make runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from engine.cli import studying, words
from engine.cli.arguments import (
    After,
    Changes,
    Commands,
    Data,
    InQueue,
    Json,
    Note,
    OfNetwork,
    OnEnd,
    Priority,
    Recipe,
    RunName,
    Tags,
    Yes,
    one_of,
    workspace_of,
)
from engine.cli.repeating import Again, Reproducing

commands = Commands("Run")


@dataclass(frozen=True, kw_only=True)
class NewRun:
    recipe: Recipe
    changes: Changes = field(default_factory=list)
    data: Data = None
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the run [default: the recipe].")] = ""
    experiment: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Experiment to add it to [default: seg.toml, else default].",
            autocompletion=words.experiments,
        ),
    ] = ""
    tag: Tags = field(default_factory=list)
    note: Note = ""
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Skip faulty images and labels.")] = False
    queued: InQueue
    as_json: Json = False


@commands.command()
def run(context: typer.Context, wanted: NewRun) -> None:
    """Check everything, train, and show each epoch. Ctrl-C saves and stops."""
    from engine.cli.run import run as command

    raise typer.Exit(command(workspace_of(context), wanted))


@commands.command()
def resume(context: typer.Context, run: RunName, on_end: OnEnd = "", as_json: Json = False) -> None:
    """Resume a run that stopped, failed or was lost."""
    from engine.cli.run import resume as command

    raise typer.Exit(command(workspace_of(context), run, as_json, on_end))


@commands.command()
def rerun(context: typer.Context, wanted: Again) -> None:
    """Start a new run with the config of another."""
    from engine.cli.control import rerun as command

    raise typer.Exit(command(workspace_of(context), wanted))


@commands.command()
def reproduce(context: typer.Context, wanted: Reproducing) -> None:
    """Make a run again; report how far its scores differ."""
    from engine.cli.reproduce import reproduce as command

    raise typer.Exit(command(workspace_of(context), wanted))


@dataclass(frozen=True, kw_only=True)
class Sweep:
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE_OR_FILE",
            help="A recipe's name, a TOML file, or a run.",
            autocompletion=words.recipes_and_runs,
        ),
    ]
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUES",
            help="Such as optimizer.lr=0.1,0.01 seed=0..4 'data.hold_out=\"rider,train\",bus'; quotes keep a "
            "value with a comma together.",
            autocompletion=words.changes,
        ),
    ]
    data: Data = None
    name: Annotated[str, typer.Option(metavar="NAME", help="Prefix of the run names.")] = ""
    experiment: Annotated[
        str,
        typer.Option(metavar="NAME", help="Experiment to add them to.", autocompletion=words.experiments),
    ] = "sweep"
    tag: Tags = field(default_factory=list)
    note: Note = ""
    after: After = ""
    priority: Priority = 0
    sample: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="A random sample of N, always the same.")
    ] = None
    on_end: Annotated[
        str, typer.Option(metavar="CMD", help="Run this shell command once the whole experiment has ended.")
    ] = ""
    yes: Yes = False
    as_json: Json = False


@commands.command()
def sweep(context: typer.Context, wanted: Sweep) -> None:
    """Queue a run for every combination of values."""
    from engine.cli.sweep import sweep as command

    command(workspace_of(context), wanted)


@dataclass(frozen=True, kw_only=True)
class Tuning:
    recipe: Recipe
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUES",
            help="A range such as optimizer.lr=1e-5..1e-1:log or epochs=10..40:10, values such as "
            "model.width=16,32,64, or one value for all trials.",
            autocompletion=words.changes,
        ),
    ]
    data: Data = None
    trials: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="Trials in all.")] = 50
    metric: Annotated[
        list[str],
        typer.Option(
            metavar="WORD",
            help="dice, miou, val_loss, latency, parameters, flops or images_per_second; repeat for several "
            "objectives [default: dice].",
        ),
    ] = field(default_factory=list)
    sampler: Annotated[
        str,
        one_of(
            "tpe", "random", "grid", "cmaes", "gp", "nsga2", help="tpe, random, grid, cmaes, gp or nsga2."
        ),
    ] = "tpe"
    pruner: Annotated[
        str,
        one_of(
            "none",
            "median",
            "hyperband",
            "asha",
            help="Stop bad trials early: none, median, hyperband or asha.",
        ),
    ] = "none"
    parallel: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Trials in the queue or at work at once.")
    ] = 2
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the sampler.")] = 0
    experiment: Annotated[
        str,
        typer.Option(metavar="NAME", help="Experiment of the trials.", autocompletion=words.experiments),
    ] = "tune"
    tag: Tags = field(default_factory=list)
    priority: Priority = 0
    as_json: Json = False


@commands.command()
def tune(context: typer.Context, wanted: Tuning) -> None:
    """Search for better values of config keys, run by run."""
    from engine.cli.tune import tune as command

    raise typer.Exit(command(workspace_of(context), wanted))


@dataclass(frozen=True, kw_only=True)
class Averaging:
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="Runs of one network.", autocompletion=words.runs),
    ]
    checkpoints: Annotated[
        str,
        typer.Option(
            metavar="WHICH",
            help="Of each run: best, last, kept, epochs such as 40 or 30..60, or several: best,40. "
            "[default: kept of one run, best of several]",
        ),
    ] = ""
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the checkpoint to this file, too.")
    ] = None
    set_key: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Such as device=cpu; repeatable.",
            autocompletion=words.changes,
        ),
    ] = field(default_factory=list)
    new: OfNetwork
    queued: InQueue
    as_json: Json = False


@commands.command()
def average(context: typer.Context, wanted: Averaging) -> None:
    """Average the weights of checkpoints into a network."""
    from engine.cli.average import average as command

    raise typer.Exit(command(workspace_of(context), wanted))


commands.add_group(studying.app, "study")
