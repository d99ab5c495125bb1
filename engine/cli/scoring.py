"""The commands that look at what a network has learned: scores and class maps."""

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
    LabelResize,
    Name,
    Note,
    Priority,
    Queue,
    RunName,
    Tags,
    Tta,
    workspace_of,
)
from engine.cli.queueing import check_place
from engine.cli.usage import WrongUse, choice

LABEL_RESIZES = ("bilinear-logits", "nearest")
AUGMENTATIONS = ("none", "flip", "scales", "flip,scales")

commands = Commands()


@commands.command()
def evaluate(
    context: typer.Context,
    run: RunName,
    changes: Changes = None,
    data: Data = None,
    split: Annotated[str, typer.Option(metavar="WORD", help="train, val or test.")] = "val",
    at: Annotated[
        str, typer.Option(metavar="WORD", help="original: the labels' own size; input: the network's.")
    ] = "original",
    label_resize: LabelResize = "bilinear-logits",
    tta: Tta = "none",
    checkpoint: Checkpoint = "best",
    baseline: Annotated[
        str, typer.Option(metavar="RUN", help="Compare with its evaluation, by bootstrap over images.")
    ] = "",
    keep: Annotated[
        int,
        typer.Option(
            metavar="N", min=-1, help="Keep the predictions of the N images of the lowest Dice; -1: of all."
        ),
    ] = 8,
    name: Name = "",
    experiment: Experiment = "",
    tag: Tags = None,
    note: Note = "",
    queue: Queue = False,
    after: After = "",
    priority: Priority = 0,
    as_json: Json = False,
) -> None:
    """Score a run's network on a split, image by image."""
    from engine.cli.evaluate import Chosen
    from engine.cli.evaluate import evaluate as command
    from engine.requests.queueing import Place

    check_place(queue, after, priority)
    if baseline and queue:
        raise WrongUse("--baseline compares when the evaluation is done; leave --queue out")
    about = {
        "split": choice("--split", split, ("train", "val", "test")),
        "at": choice("--at", at, ("input", "original")),
        "label_resize": choice("--label-resize", label_resize, LABEL_RESIZES),
        "tta": choice("--tta", tta, AUGMENTATIONS),
        "keep": keep,
    }
    card = Chosen(name, experiment, tag or [], note)
    place = Place(priority, after) if queue else None
    workspace = workspace_of(context)
    raise typer.Exit(
        command(workspace, run, changes or [], data, checkpoint, about, baseline, card, place, as_json)
    )


@commands.command()
def predict(
    context: typer.Context,
    run: RunName,
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Files, folders or patterns.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to [default: outputs/ of the new run].")
    ] = None,
    ids: Annotated[
        str, typer.Option(metavar="WORD", help="train: 0, 1, ... in a class map; raw: as in label files.")
    ] = "train",
    naming: Annotated[
        str, typer.Option(metavar="WORD", help="plain, or cityscapes as its server wants it.")
    ] = "plain",
    label_resize: LabelResize = "bilinear-logits",
    tta: Tta = "none",
    checkpoint: Checkpoint = "best",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace predictions that are there.")
    ] = False,
    set_key: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Such as device=cpu; may be given again."),
    ] = None,
    name: Name = "",
    experiment: Experiment = "",
    tag: Tags = None,
    note: Note = "",
    queue: Queue = False,
    after: After = "",
    priority: Priority = 0,
    as_json: Json = False,
) -> None:
    """Make class maps of images, at their own size."""
    from engine.cli.evaluate import Chosen
    from engine.cli.predict import predict as command
    from engine.requests.queueing import Place

    check_place(queue, after, priority)
    about = {
        "naming": choice("--naming", naming, ("plain", "cityscapes")),
        "label_resize": choice("--label-resize", label_resize, LABEL_RESIZES),
        "tta": choice("--tta", tta, AUGMENTATIONS),
    }
    choice("--ids", ids, ("train", "raw"))
    place = Place(priority, after) if queue else None
    card, workspace = Chosen(name, experiment, tag or [], note), workspace_of(context)
    raise typer.Exit(
        command(
            workspace,
            run,
            images,
            out,
            checkpoint,
            about,
            ids,
            overwrite,
            set_key or [],
            card,
            place,
            as_json,
        )
    )


@commands.command()
def images(
    context: typer.Context,
    run: RunName,
    sort: Annotated[
        str,
        typer.Option(
            metavar="KEY", help="dice, miou, pixel_accuracy, image or class:NAME; -KEY: largest first."
        ),
    ] = "dice",
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="How many at most; 0: all [default: 20 in a table]."),
    ] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")] = False,
) -> None:
    """List an evaluation's images, the worst first."""
    from engine.cli.evaluate import list_images

    if as_json and as_csv:
        raise WrongUse("--json and --csv: choose one")
    list_images(workspace_of(context), run, sort, limit, as_json, as_csv)


def add_to(app: typer.Typer) -> None:
    app.registered_commands += commands.registered_commands
