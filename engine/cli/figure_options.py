"""What `seg-engine figure` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from engine.cli import words
from engine.cli.arguments import one_of

FIGURES = (
    "samples",
    "curves",
    "classes",
    "confusion",
    "ood",
    "coverage",
    "robustness",
    "generalise",
    "speed",
    "explain",
)


@dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """What a person may choose; each kind of figure takes what concerns it."""

    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A .png or .pdf; both without an extension [default: in outputs/]."
        ),
    ] = None
    columns: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=2, help="Width in columns of a two-column paper.")
    ] = None
    fold_seeds: Annotated[
        bool,
        typer.Option(
            "--fold-seeds",
            help="Of samples, curves, classes: runs that differ only in the seed as mean ± deviation.",
        ),
    ] = False
    measure: Annotated[
        str,
        typer.Option(
            metavar="WORD",
            help="Of curves, robustness, generalise, speed, explain: dice, dice_image, miou, pixel_accuracy "
            "or loss.",
            autocompletion=words.among("dice", "dice_image", "miou", "pixel_accuracy", "loss"),
        ),
    ] = "dice"
    against: Annotated[
        str,
        typer.Option(
            metavar="WORD",
            help="X axis of `curves`: epochs, hours, images or kwh.",
            autocompletion=words.among("epochs", "hours", "images", "kwh"),
        ),
    ] = "epochs"
    published: Annotated[bool, typer.Option("--published", help="Mark the study's numbers in `curves`.")] = (
        False
    )
    epoch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Epoch of `samples` [default: the last one saved].")
    ] = None
    samples: Annotated[
        int, typer.Option(metavar="K", min=1, help="Of samples and ood: at most this many images.")
    ] = 4
    split: Annotated[
        str, typer.Option(metavar="WORD", help="Of confusion and speed --evaluation: train, val or test.")
    ] = "val"
    at: Annotated[
        str, typer.Option(metavar="SIZE", help="Of confusion and speed --evaluation: input or original.")
    ] = ""
    score: Annotated[
        str, typer.Option(metavar="WORD", help="Of ood: msp, entropy, max_logit, energy or sml.")
    ] = "energy"
    accept: Annotated[
        float, typer.Option(metavar="SHARE", help="Of ood: share of in-distribution pixels to accept.")
    ] = 0.95
    evaluation: Annotated[
        bool, typer.Option("--evaluation", help="Of speed: scores of the newest evaluation.")
    ] = False
    experiment: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of speed and explain: only this experiment.",
            autocompletion=words.experiments,
        ),
    ] = None
    protocol: Annotated[str, one_of("engine", "literature", help="Of speed: how latency was measured.")] = (
        "engine"
    )
    precision: Annotated[
        str,
        one_of("fp32", "tf32", "bf16", "fp16", "int8", help="Of speed [default: that of most runs]."),
    ] = ""
    size: Annotated[
        str, typer.Option(metavar="HxW", help="Of speed: measured at [default: each run's input size].")
    ] = ""
    compiled: Annotated[bool, typer.Option("--compiled", help="Of speed: compiled networks.")] = False
    runtime: Annotated[str, one_of("torch", "onnxruntime", help="Of speed: what ran the network.")] = "torch"
