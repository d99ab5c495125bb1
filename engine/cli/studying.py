"""Studies: the commands that queue many runs to answer one question."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli import words
from engine.cli.arguments import Data, Json, Priority, Yes, group, help_without_command, one_of, workspace_of
from engine.cli.usage import WrongUse

if TYPE_CHECKING:
    from engine.workspace import Workspace

app = group("Queue a whole study.")
app.callback()(help_without_command)


@dataclass(frozen=True, kw_only=True)
class OfStudy:
    """What every study can be told."""

    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE",
            help="Changes for all runs, such as batch_size=8.",
            autocompletion=words.changes,
        ),
    ] = field(default_factory=list)
    data: Data = None
    hidden: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Channels of the first level of the study's networks; 0: as in the study.",
        ),
    ] = 0
    size: Annotated[
        str, typer.Option(metavar="HEIGHTxWIDTH", help="Input size for all systems [default: the recipe's].")
    ] = ""
    priority: Priority = 0
    yes: Yes = False
    as_json: Json = False

    def settled(self, workspace: Workspace) -> OfStudy:
        """With the workspace's defaults. Raises WrongUse without data, SettingsError."""
        from engine.config.run_defaults import load_run_defaults

        defaults = load_run_defaults(workspace.root)
        if self.data is None and not defaults.data:
            raise WrongUse("--data: which images? name the folder of the data set")
        device = [] if defaults.device == "auto" else [f"device={defaults.device}"]
        return replace(self, data=self.data or Path(defaults.data), changes=[*device, *self.changes])

    @property
    def root(self) -> Path:
        assert self.data is not None
        return self.data


StudyExperiment = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Experiment to add them to.", show_default=True, autocompletion=words.experiments
    ),
]


@dataclass(frozen=True, kw_only=True)
class PaperStudy:
    of_study: OfStudy
    fraction: Annotated[
        float, typer.Option(metavar="SHARE", help="Fraction of the training images whose labels are used.")
    ] = 1.0
    epochs_scale: Annotated[
        float, typer.Option(metavar="FACTOR", help="Factor on each system's epochs, at most 10.")
    ] = 1.0
    experiment: StudyExperiment = "paper"


@app.command("paper")
def paper(context: typer.Context, wanted: PaperStudy) -> None:
    """Queue U-Net, modern U-Net and its pre-trained variant, and their evaluations."""
    from engine.cli.study import queue_paper

    queue_paper(workspace_of(context), wanted)


@dataclass(frozen=True, kw_only=True)
class BeyondStudy:
    """Raises WrongUse for learning rates of a U-Net that there is not."""

    of_study: OfStudy
    recipe: Annotated[
        str,
        typer.Option(
            metavar="RECIPE_OR_FILE",
            help="The recipe to compare.",
            show_default=True,
            autocompletion=words.recipes,
        ),
    ] = "street-fast"
    budget: Annotated[
        float,
        typer.Option(
            metavar="HOURS", min=0, help="Hours per run at equal time; 0: no such runs.", show_default=True
        ),
    ] = 1.0
    images: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Training images per run at equal images; 0: no such runs [default: the recipe's epochs].",
        ),
    ] = None
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Seeds per configuration.", show_default=True)
    ] = 3
    ablate: Annotated[
        str,
        one_of(
            *("time", "images", "both", "none"),
            help="At which budget ingredients are left out: time, images, both or none [default: time, if "
            "there is --budget].",
        ),
    ] = ""
    tuned_unet: Annotated[
        bool,
        typer.Option(
            "--tuned-unet", help="Also a U-Net with AdamW, cosine and batch 8, at several learning rates."
        ),
    ] = False
    lr: Annotated[
        list[float],
        typer.Option(
            metavar="RATE",
            help="A learning rate of --tuned-unet; repeatable [default: 0.0003, 0.001, 0.003].",
        ),
    ] = field(default_factory=list)
    experiment: StudyExperiment = "beyond"

    def __post_init__(self) -> None:
        if self.lr and not self.tuned_unet:
            raise WrongUse(
                "--lr: is for the tuned U-Net; add --tuned-unet, or optimizer.lr=RATE for all runs"
            )


@app.command("beyond")
def beyond(context: typer.Context, wanted: BeyondStudy) -> None:
    """Queue a recipe against the study's networks, and without each of its ingredients."""
    from engine.cli.study import queue_beyond

    queue_beyond(workspace_of(context), wanted)


@dataclass(frozen=True, kw_only=True)
class PretrainingStudy:
    of_study: OfStudy
    recipe: Annotated[
        str,
        typer.Option(
            metavar="RECIPE_OR_FILE",
            help="The recipe to train.",
            show_default=True,
            autocompletion=words.recipes,
        ),
    ] = "paper-modern-unet"
    budget: Annotated[
        float,
        typer.Option(
            metavar="HOURS",
            min=0,
            help="Hours per run at equal time, pre-training included; 0: no such runs.",
            show_default=True,
        ),
    ] = 1.0
    images: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Images per run at equal images, pre-training included; 0: no such runs [default: the "
            "recipe's epochs].",
        ),
    ] = None
    share: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Share of the budget for pre-training; a third in the study."),
    ] = 1 / 3
    labels: Annotated[
        list[float],
        typer.Option(
            metavar="SHARE",
            help="Share of the training images whose labels are used; repeatable [default: 0.05, 0.2, 1].",
        ),
    ] = field(default_factory=list)
    noise: Annotated[
        list[float],
        typer.Option(metavar="SIGMA", help="Noise of pre-training; repeatable [default: 0.1, 0.22, 0.5]."),
    ] = field(default_factory=list)
    rate: Annotated[
        list[float],
        typer.Option(
            metavar="FACTOR",
            help="Factor on the recipe's learning rate, from scratch too; repeatable [default: 0.3, 1, 3].",
        ),
    ] = field(default_factory=list)
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Seeds per configuration.", show_default=True)
    ] = 3
    experiment: StudyExperiment = "pt"


@app.command("pt")
def pretraining(context: typer.Context, wanted: PretrainingStudy) -> None:
    """Queue a recipe from scratch and pre-trained, at equal cost: does it pay, and when?"""
    from engine.cli.study import queue_pretraining

    queue_pretraining(workspace_of(context), wanted)


@dataclass(frozen=True, kw_only=True)
class GeneralisationStudy:
    """Raises WrongUse without an environment."""

    of_study: OfStudy
    test: Annotated[
        list[str],
        typer.Option(
            metavar="DIR[,KEY=VALUE]",
            help="A data set to test on, followed by name=, layout=, classes= or split=; repeatable.",
        ),
    ] = field(default_factory=list)
    class_map: Annotated[
        str, typer.Option(metavar="FILE|NAME", help="As for generalise: camvid, categories or a TOML file.")
    ] = ""
    corruptions: Annotated[
        str, typer.Option(metavar="NAMES", help="Corruptions to test under: all, none or names.")
    ] = "none"
    network: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="unet, zoo, a recipe or a TOML file; repeatable [default: unet, zoo, vltseg-tiny].",
        ),
    ] = field(default_factory=list)
    option: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="Remedies: photometric, randconv, mixstyle, weights, slow encoder, frozen encoder; "
            "repeatable [default: all].",
        ),
    ] = field(default_factory=list)
    weights: Annotated[
        list[str],
        typer.Option(metavar="NETWORK=FILE", help="Weights of a network's encoder; repeatable."),
    ] = field(default_factory=list)
    budget: Annotated[float, typer.Option(metavar="HOURS", min=0, help="Hours per training.")] = 0.0
    images: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Training images per training, instead of --budget."),
    ] = 0
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Seeds per configuration.", show_default=True)
    ] = 2
    experiment: StudyExperiment = "generalise"

    def __post_init__(self) -> None:
        if not self.test and self.corruptions == "none":
            raise WrongUse("--test: which environments? name a data set to test on, or --corruptions")
        if bool(self.budget) == bool(self.images):
            raise WrongUse("--budget and --images: give one of them, such as --images 20000")


@app.command("generalise")
def generalise(context: typer.Context, wanted: GeneralisationStudy) -> None:
    """Queue trainings in one world, with and without remedies, and their tests in others."""
    from engine.cli.study import queue_generalisation

    queue_generalisation(workspace_of(context), wanted)
