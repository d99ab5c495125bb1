"""Evaluate: the commands that look at what a network has learned, and at what it does not know."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from engine.cli import words
from engine.cli.arguments import (
    Checkpoint,
    Commands,
    DataOfRun,
    InQueue,
    InWindows,
    Json,
    LabelResize,
    NetworkChanges,
    OfNetwork,
    Printed,
    RunName,
    Split,
    Tta,
    UseCrf,
    one_of,
    workspace_of,
)
from engine.cli.usage import WrongUse

commands = Commands("Evaluate")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    run: RunName
    changes: NetworkChanges = field(default_factory=list)
    data: DataOfRun = None
    split: Split = "val"
    at: Annotated[
        str, one_of("input", "original", help="original: the labels' own size; input: the network's.")
    ] = "original"
    label_resize: LabelResize = "bilinear-logits"
    tta: Tta = "none"
    crf: UseCrf = False
    checkpoint: Checkpoint = "best"
    baseline: Annotated[
        str,
        typer.Option(
            metavar="RUN",
            help="Compare with this run's evaluation, by bootstrap over images.",
            autocompletion=words.runs,
        ),
    ] = ""
    boundary: Annotated[
        bool, typer.Option("--boundary", help="Score boundaries, too: boundary IoU, boundary F, trimap IoU.")
    ] = False
    critical: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Classes whose instances are scored, or none [default: those that the class set marks].",
        ),
    ] = ""
    require: Annotated[
        list[str],
        typer.Option(
            metavar="NAME>=X",
            help="Exit with status 1 unless a score meets this, such as 'person.recall>=0.9', 'dice>=0.5'; "
            "repeatable.",
        ),
    ] = field(default_factory=list)
    keep: Annotated[
        int,
        typer.Option(
            metavar="N", min=-1, help="Save the predictions of the N images with the lowest Dice; -1: all."
        ),
    ] = 8
    windows: InWindows
    new: OfNetwork
    queued: InQueue
    as_json: Json = False

    def __post_init__(self) -> None:
        if self.baseline and self.queued.queue:
            raise WrongUse("--baseline compares once the evaluation is done; omit --queue")
        if self.require and self.queued.queue:
            raise WrongUse("--require judges once the evaluation is done; omit --queue")


@commands.command()
def evaluate(context: typer.Context, wanted: Evaluation) -> None:
    """Score a run's network, or an exported one, on a split."""
    from engine.cli.exported import evaluate_file, is_exported

    if is_exported(wanted.run):
        raise typer.Exit(evaluate_file(workspace_of(context), wanted))
    from engine.cli.evaluate import evaluate as command

    raise typer.Exit(command(workspace_of(context), wanted))


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
        typer.Option(metavar="N", min=0, help="At most this many; 0: all [default: 20 in a table]."),
    ] = None,
    *,
    printed: Printed,
) -> None:
    """List an evaluation's images, worst first."""
    from engine.cli.evaluate import list_images

    list_images(workspace_of(context), run, sort, limit, printed)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    run: RunName
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES", help="Files, folders or patterns; or one video.")
    ] = field(default_factory=list)
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Output folder; for a video, the output file [default: outputs/ of the new run].",
        ),
    ] = None
    view: Annotated[
        str,
        one_of(
            *("overlay", "classes", "side-by-side", "ids"),
            help="Of a video or stream: overlay, classes (colours alone), side-by-side or, of a stream, ids.",
        ),
    ] = ""
    from_stdin: Annotated[
        str, one_of("raw", help="raw: frames of 8-bit RGB on stdin, their view on stdout [default: ids].")
    ] = ""
    size: Annotated[str, typer.Option(metavar="HxW", help="Of --from-stdin: height and width of frames.")] = (
        ""
    )
    ids: Annotated[
        str, one_of("train", "raw", help="Class map values; train: 0, 1, ...; raw: as in the label files.")
    ] = "train"
    naming: Annotated[str, one_of("plain", "cityscapes", help="plain, or cityscapes for its server.")] = (
        "plain"
    )
    label_resize: LabelResize = "bilinear-logits"
    tta: Tta = "none"
    crf: UseCrf = False
    checkpoint: Checkpoint = "best"
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing predictions.")] = False
    set_key: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Such as device=cpu; repeatable.",
            autocompletion=words.changes,
        ),
    ] = field(default_factory=list)
    windows: InWindows
    new: OfNetwork
    queued: InQueue
    as_json: Json = False

    def __post_init__(self) -> None:
        if bool(self.images) == bool(self.from_stdin):
            raise WrongUse("name IMAGES, or give --from-stdin raw for frames on stdin")
        for word in self.images:
            if "=" in word and not os.path.lexists(word):
                from engine.config.described import config_keys

                if word.partition("=")[0] in config_keys():
                    raise WrongUse(f"{word}: is no image; a KEY=VALUE goes behind --set: --set {word}")
        if self.from_stdin and not self.size:
            raise WrongUse("--from-stdin raw: needs the --size of its frames, such as --size 720x1280")


@commands.command()
def predict(context: typer.Context, wanted: Prediction) -> None:
    """Predict class maps of images, or colour a video."""
    from engine.cli.exported import is_exported, predict_file

    if wanted.from_stdin:
        from engine.cli.stream import predict_stream

        raise typer.Exit(predict_stream(workspace_of(context), wanted))
    if is_exported(wanted.run):
        raise typer.Exit(predict_file(wanted))
    from engine.cli.predict import predict as command

    raise typer.Exit(command(workspace_of(context), wanted))


@dataclass(frozen=True, kw_only=True)
class OodEvaluation:
    run: RunName
    changes: NetworkChanges = field(default_factory=list)
    id_data: Annotated[
        Path | None, typer.Option(metavar="ROOT", help="In-distribution images [default: the run's].")
    ] = None
    ood_data: Annotated[
        Path | None, typer.Option(metavar="ROOT", help="Images with anomalies, with or without masks.")
    ] = None
    pseudo: Annotated[
        str, one_of("void", "held-out", help="Instead of --ood-data: void, or held-out (data.hold_out).")
    ] = ""
    split: Annotated[str, one_of("val", "test", help="Of --id-data: val or test.")] = "val"
    accept: Annotated[
        float, typer.Option(metavar="SHARE", help="Of held-out in-distribution data, for the thresholds.")
    ] = 0.95
    least_component: Annotated[
        tuple[int, int],
        typer.Option(metavar="N M", help="Smallest predicted and true component that counts, in pixels."),
    ] = (500, 100)
    exact: Annotated[
        int, typer.Option(metavar="N", min=0, help="Scores kept exactly; beyond that a histogram is used.")
    ] = 4_194_304
    checkpoint: Checkpoint = "best"
    windows: InWindows
    new: OfNetwork
    queued: InQueue
    as_json: Json = False

    def __post_init__(self) -> None:
        if self.ood_data is not None and self.pseudo:
            raise WrongUse(
                "--ood-data names what is out-of-distribution, and so does --pseudo: give one of them"
            )
        if self.ood_data is None and not self.pseudo:
            raise WrongUse(
                "what is out-of-distribution? name a folder with --ood-data, or --pseudo void or held-out"
            )


@commands.command()
def ood(context: typer.Context, wanted: OodEvaluation) -> None:
    """Evaluate OOD detection: AUROC, AP and FPR95."""
    from engine.cli.ood import ood as command

    raise typer.Exit(command(workspace_of(context), wanted))


@dataclass(frozen=True, kw_only=True)
class RobustnessEvaluation:
    run: RunName
    changes: NetworkChanges = field(default_factory=list)
    data: DataOfRun = None
    split: Split = "val"
    crf: UseCrf = False
    checkpoint: Checkpoint = "best"
    windows: InWindows
    new: OfNetwork
    queued: InQueue
    as_json: Json = False


@commands.command()
def robustness(context: typer.Context, wanted: RobustnessEvaluation) -> None:
    """Score a run's network on corrupted images."""
    from engine.cli.ood import robustness as command

    raise typer.Exit(command(workspace_of(context), wanted))


@dataclass(frozen=True, kw_only=True)
class Generalisation:
    """Raises WrongUse without an environment."""

    run: RunName
    changes: NetworkChanges = field(default_factory=list)
    data: Annotated[
        list[str],
        typer.Option(
            metavar="DIR[,KEY=VALUE]",
            help="A data set of the same classes, followed by name=, layout=, classes= or split= "
            "[default: val]; repeatable.",
        ),
    ] = field(default_factory=list)
    class_map: Annotated[
        str,
        typer.Option(
            metavar="FILE|NAME", help="Merge classes before scoring: camvid, categories or a TOML file."
        ),
    ] = ""
    corruptions: Annotated[
        str, typer.Option(metavar="NAMES", help="Corruptions of the run's own images: all, none or names.")
    ] = "all"
    strength: Annotated[
        list[int], typer.Option(metavar="N", help="Of the corruptions, 1 to 5; repeatable [default: 3].")
    ] = field(default_factory=list)
    split: Annotated[
        str, one_of("train", "val", "test", help="Of the run's own data: train, val or test.")
    ] = "val"
    tta: Tta = "none"
    checkpoint: Checkpoint = "best"
    windows: InWindows
    new: OfNetwork
    queued: InQueue
    as_json: Json = False

    def __post_init__(self) -> None:
        if not self.data and self.corruptions == "none":
            raise WrongUse("which environments? name a data set with --data, or --corruptions")


@commands.command()
def generalise(context: typer.Context, wanted: Generalisation) -> None:
    """Score a run's network in unseen environments."""
    from engine.cli.ood import generalise as command

    raise typer.Exit(command(workspace_of(context), wanted))


@dataclass(frozen=True, kw_only=True)
class CrfSearching:
    run: RunName
    changes: NetworkChanges = field(default_factory=list)
    images: Annotated[int, typer.Option(metavar="N", min=1, help="Training images to search on.")] = 20
    trials: Annotated[int, typer.Option(metavar="N", min=2, help="Sets of parameters to try.")] = 30
    minutes: Annotated[
        float, typer.Option(metavar="M", min=0, help="Start no trial after this time; 0: no limit.")
    ] = 0.0
    at: Annotated[
        str, one_of("input", "original", help="original: the labels' own size; input: the network's.")
    ] = "original"
    label_resize: LabelResize = "bilinear-logits"
    tta: Tta = "none"
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Seed of the choice of images and parameters.")
    ] = 0
    checkpoint: Checkpoint = "best"
    windows: InWindows
    new: OfNetwork
    queued: InQueue
    as_json: Json = False


@commands.command("crf-search")
def crf_search(context: typer.Context, wanted: CrfSearching) -> None:
    """Search CRF parameters on training images."""
    from engine.cli.crf import crf_search as command

    raise typer.Exit(command(workspace_of(context), wanted))
