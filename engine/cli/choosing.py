"""Choose: the commands that say what a run can be made of, and how fast that is here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from engine.cli import words
from engine.cli.arguments import Checkpoint, Commands, InQueue, Json, OfNetwork, group, one_of, workspace_of
from engine.cli.usage import WrongUse, choice

commands = Commands("Choose")

PROTOCOLS = ("engine", "literature")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")

recipes_app = group("List the recipes; `recipes show NAME` prints one.")
commands.add_group(recipes_app, "recipes")


@recipes_app.callback()
def recipes(context: typer.Context, as_json: Json = False) -> None:
    if context.invoked_subcommand is None:
        from engine.cli.recipes import list_recipes

        list_recipes(as_json)


@recipes_app.command("show")
def recipes_show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The recipe.", autocompletion=words.recipes)],
    as_json: Json = False,
) -> None:
    """Print a recipe as TOML for `seg-engine run FILE.toml`."""
    from engine.cli.recipes import show_recipe

    show_recipe(name, as_json)


@commands.command()
def config(
    context: typer.Context,
    prefix: Annotated[
        str,
        typer.Argument(
            metavar="KEY", help="Only this key or group of keys.", autocompletion=words.config_groups
        ),
    ] = "",
    effective: Annotated[
        bool,
        typer.Option(
            "--effective", help="Show the settings that hold in this workspace, and where each comes from."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """List the config keys, their meaning and allowed values."""
    if effective:
        from engine.cli.effective import show_effective

        show_effective(workspace_of(context), context.obj, prefix, as_json)
        return
    from engine.cli.recipes import show_config

    show_config(prefix, as_json)


@commands.command()
def components(as_json: Json = False) -> None:
    """List networks, losses, layouts and other components."""
    from engine.cli.components import list_components

    list_components(as_json)


@commands.command()
def models(
    context: typer.Context,
    filters: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILTER",
            help="Words that the name contains, such as deeplab or convnext.",
            autocompletion=words.model_names,
        ),
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="HxW", help="Image size of the FLOPs [default: 256x512].")
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="At most this many encoders; 0: all [default: 40]."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List architectures and encoders, sizes and licences."""
    from engine.cli.models import list_models

    list_models(workspace_of(context), filters or [], size, limit, as_json)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    target: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE_RUN_OR_FILE",
            help="A recipe's name or a TOML file; with --latency also a run, or a MODEL.onnx.",
            autocompletion=words.recipes_and_runs,
        ),
    ]
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE", help="Changes, such as data.size=256x512.", autocompletion=words.changes
        ),
    ] = field(default_factory=list)
    largest: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=65536, help="Largest batch size to try; 0: twice the config's."),
    ] = 0
    seconds: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            min=0.1,
            max=100_000,
            help="Seconds per batch size [default: 3], or per latency [default: 6].",
        ),
    ] = None
    latency: Annotated[
        bool, typer.Option("--latency", help="Measure the time of one image instead, by named protocols.")
    ] = False
    size: Annotated[
        list[str],
        typer.Option(metavar="HxW", help="Of --latency: image size; repeatable [default: the config's]."),
    ] = field(default_factory=list)
    protocol: Annotated[
        str,
        one_of(
            *PROTOCOLS,
            help="Of --latency: engine (pixels to class ids), or literature (network alone) [default: both].",
        ),
    ] = ""
    precision: Annotated[
        list[str],
        typer.Option(
            metavar="WORD",
            help="Of --latency: fp32, tf32, bf16 or fp16; repeatable [default: all that the device has].",
            autocompletion=words.among(*PRECISIONS),
        ),
    ] = field(default_factory=list)
    compile: Annotated[
        bool, typer.Option("--compile", help="Of --latency: measure the compiled network, too.")
    ] = False
    exported: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE", help="Of --latency: an ONNX file of `export` to measure with it; repeatable."
        ),
    ] = field(default_factory=list)
    checkpoint: Checkpoint = "best"
    new: OfNetwork
    queued: InQueue
    as_json: Json = False

    def __post_init__(self) -> None:
        for word in self.precision:
            choice("--precision", word, PRECISIONS)
        if self.latency:
            if self.largest:
                raise WrongUse("--largest: --latency measures single images; omit one of them")
            return
        idle = {
            "--size": self.size,
            "--protocol": self.protocol,
            "--precision": self.precision,
            "--compile": self.compile,
            "--exported": self.exported,
            "--checkpoint": self.checkpoint != "best",
            "--name, --experiment, --tag and --note": self.new != OfNetwork(),
            "--queue": self.queued.queue,
        }
        for option, given in idle.items():
            if given:
                raise WrongUse(f"{option}: works with --latency only")


@commands.command()
def bench(context: typer.Context, wanted: Benchmark) -> None:
    """Measure training speed here, or a network's latency."""
    if wanted.latency:
        from engine.cli.latency import latency

        raise typer.Exit(latency(workspace_of(context), wanted))
    from engine.cli.bench import bench as command

    command(
        workspace_of(context),
        wanted.target,
        wanted.changes,
        wanted.largest,
        wanted.seconds or 3.0,
        wanted.as_json,
    )
