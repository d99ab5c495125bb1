"""Export: the commands whose files other programs read."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

import typer

from engine.cli.arguments import Checkpoint, Commands, Json, RunNames, one_of, workspace_of
from engine.cli.usage import WrongUse

commands = Commands("Export")

NETWORK_FORMATS = ("onnx", "torchscript", "pt2")
RECORD_FORMATS = ("csv", "json", "parquet", "tensorboard", "mlflow", "wandb-offline")


@dataclass(frozen=True, kw_only=True)
class Export:
    runs: RunNames
    format: Annotated[
        str,
        one_of(
            *NETWORK_FORMATS,
            *RECORD_FORMATS,
            help="For a network: onnx, torchscript or pt2 (torch.export). For records of runs: csv, "
            "json, parquet, tensorboard, mlflow or wandb-offline.",
        ),
    ] = "onnx"
    size: Annotated[
        str, typer.Option(metavar="HxW", help="Height and width of the images [default: the run's].")
    ] = ""
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Any number of images, of any size that the network can take.")
    ] = False
    uint8_input: Annotated[
        bool, typer.Option("--uint8-input", help="Take uint8 images [B, H, W, 3] and normalise them inside.")
    ] = False
    argmax: Annotated[bool, typer.Option("--argmax", help="Give class ids [B, H, W] instead of logits.")] = (
        False
    )
    quantize: Annotated[str, one_of("int8", help="int8: smaller, and faster on CPUs; onnx only.")] = ""
    calibrate: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=100_000, help="Training images from which --quantize takes its ranges."
        ),
    ] = 64
    checkpoint: Checkpoint = "best"
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Output folder [default: outputs/ of the run; of records exports/FORMAT]."
        ),
    ] = None
    as_json: Json = False

    def __post_init__(self) -> None:
        if self.format in NETWORK_FORMATS and len(self.runs) > 1:
            raise WrongUse(f"RUN: --format {self.format} exports one network; {len(self.runs)} were given")
        for option in fields(self) if self.format in RECORD_FORMATS else ():
            is_given = getattr(self, option.name) != option.default
            if is_given and option.name not in ("runs", "format", "out", "as_json"):
                name = option.name.replace("_", "-")
                raise WrongUse(f"--{name}: is for networks; --format {self.format} writes records of runs")


@commands.command()
def export(context: typer.Context, wanted: Export) -> None:
    """Write a run's network or runs' records to files."""
    if wanted.format in RECORD_FORMATS:
        from engine.cli.export_records import export_records

        export_records(workspace_of(context), wanted)
        return
    from engine.cli.export import export as command

    command(workspace_of(context), wanted)


@dataclass(frozen=True, kw_only=True)
class TextEmbeddings:
    classes: Annotated[
        str, typer.Argument(metavar="CLASSES", help="cityscapes, or the path of a classes.toml.")
    ]
    model: Annotated[str, typer.Option(metavar="NAME", help="Model of open_clip, such as EVA02-L-14.")]
    weights: Annotated[Path, typer.Option(metavar="FILE", help="Its weights; never downloaded.")]
    out: Annotated[Path, typer.Option(metavar="FILE", help="The .safetensors file to write.")]
    template: Annotated[
        list[str],
        typer.Option(metavar="TEXT", help="Prompt with {} for the class's name; several are averaged."),
    ] = field(default_factory=lambda: ["a photo of a {}."])
    as_json: Json = False


@commands.command("text-embeddings")
def text_embeddings(context: typer.Context, wanted: TextEmbeddings) -> None:
    """Embed the names of classes with a text encoder."""
    from engine.cli.text_embeddings import text_embeddings as command

    command(wanted)
