"""The commands that look for what a network does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli.arguments import (
    After,
    Changes,
    Checkpoint,
    Commands,
    Data,
    Experiment,
    Json,
    Name,
    Note,
    Priority,
    Queue,
    RunName,
    Tags,
    workspace_of,
)
from engine.cli.queueing import check_place
from engine.cli.usage import WrongUse, choice

PSEUDO = ("void", "held-out")

commands = Commands()


@commands.command()
def ood(
    context: typer.Context,
    run: RunName,
    changes: Changes = None,
    inside: Annotated[
        Path | None, typer.Option("--in", metavar="ROOT", help="In-distribution images [default: the run's].")
    ] = None,
    outside: Annotated[
        Path | None,
        typer.Option("--out", metavar="ROOT", help="Images with anomalies, masked or not."),
    ] = None,
    pseudo: Annotated[
        str, typer.Option(metavar="WORD", help="Instead of --out: void, or held-out (data.hold_out).")
    ] = "",
    split: Annotated[str, typer.Option(metavar="WORD", help="Of --in: val or test.")] = "val",
    accept: Annotated[
        float, typer.Option(metavar="SHARE", help="Of held-out in-distribution data, for the thresholds.")
    ] = 0.95,
    least_component: Annotated[
        tuple[int, int],
        typer.Option(metavar="N M", help="Smallest component, predicted and true, in pixels."),
    ] = (500, 100),
    exact: Annotated[
        int, typer.Option(metavar="N", min=0, help="Scores kept as they are; of more, a histogram.")
    ] = 4_194_304,
    checkpoint: Checkpoint = "best",
    name: Name = "",
    experiment: Experiment = "",
    tag: Tags = None,
    note: Note = "",
    queue: Queue = False,
    after: After = "",
    priority: Priority = 0,
    as_json: Json = False,
) -> None:
    """Tell known from unknown: AUROC, AP and FPR95 of every score."""
    from engine.cli.evaluate import Chosen
    from engine.cli.ood import ood as command
    from engine.requests.queueing import Place

    check_place(queue, after, priority)
    if outside is not None and pseudo:
        raise WrongUse("--out names what is out-of-distribution, and so does --pseudo: give one of them")
    if outside is None and not pseudo:
        raise WrongUse("what is out-of-distribution? name a folder with --out, or --pseudo void or held-out")
    about = {
        "pseudo": choice("--pseudo", pseudo, PSEUDO) if pseudo else "none",
        "split": choice("--split", split, ("val", "test")),
        "accept": accept,
        "least_predicted": least_component[0],
        "least_true": least_component[1],
        "exact_scores": exact,
    }
    card = Chosen(name, experiment, tag or [], note)
    place = Place(priority, after) if queue else None
    workspace = workspace_of(context)
    raise typer.Exit(
        command(workspace, run, inside, outside, changes or [], checkpoint, about, card, place, as_json)
    )


@commands.command()
def robustness(
    context: typer.Context,
    run: RunName,
    changes: Changes = None,
    data: Data = None,
    split: Annotated[str, typer.Option(metavar="WORD", help="train, val or test.")] = "val",
    checkpoint: Checkpoint = "best",
    name: Name = "",
    experiment: Experiment = "",
    tag: Tags = None,
    note: Note = "",
    queue: Queue = False,
    after: After = "",
    priority: Priority = 0,
    as_json: Json = False,
) -> None:
    """Score a run's network on corrupted images, at five strengths."""
    from engine.cli.evaluate import Chosen
    from engine.cli.ood import robustness as command
    from engine.requests.queueing import Place

    check_place(queue, after, priority)
    about = {"split": choice("--split", split, ("train", "val", "test"))}
    card = Chosen(name, experiment, tag or [], note)
    place = Place(priority, after) if queue else None
    workspace = workspace_of(context)
    raise typer.Exit(command(workspace, run, changes or [], data, checkpoint, about, card, place, as_json))


def add_to(app: typer.Typer) -> None:
    app.registered_commands += commands.registered_commands
