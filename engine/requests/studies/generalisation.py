"""`study generalise`: trained in one world, tested in others, with and without what is said to help there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.config.keys import ConfigError, parse_assignments, validate, with_values
from engine.config.recipes import get_recipe
from engine.config.remedies import WEIGHTS, Remedy, known_remedies, without_remedies
from engine.config.run_config import RunConfig
from engine.requests.configs import base_config, with_data_root
from engine.requests.generalise import Unseen, unseen_section
from engine.requests.studies.plan import PlannedEvaluation, PlannedRun, problems_of, refuse_begun, sized

NETWORKS = ("unet", "zoo", "vltseg-tiny")

ZOO = {"model.name": "torchvision", "model.architecture": "lraspp_mobilenet_v3_large"}
"""The zoo's network: LR-ASPP on MobileNetV3 (Howard et al., ICCV 2019), which a CPU can train."""

BASELINE = "baseline"


@dataclass(frozen=True)
class Journey:
    """What is trained and where it is tested. `networks` are of NETWORKS, recipes or TOML files; `remedies`
    are names, none: all that can be tried. `weights` are files of encoders by network. `unseen` are the
    environments. `hours` or `images` is the budget of each run. `breadth` and `size` are as in `sized`."""

    unseen: Unseen
    networks: tuple[str, ...] = NETWORKS
    remedies: tuple[str, ...] = ()
    weights: Mapping[str, Path] = field(default_factory=dict)
    hours: float = 0.0
    images: int = 0
    seeds: int = 2
    breadth: int = 0
    size: str = ""


def generalisation_plan(root: Path, journey: Journey, assignments: Sequence[str]) -> list[PlannedRun]:
    """Each network without a remedy and with each one that it can have, and after each training its scores in
    all environments; `assignments`, KEY=VALUE, change all of them, `seed` being the first of the seeds.
    Raises ConfigError, UnknownRecipe and DataError."""
    _refuse_impossible(journey)
    plan: list[PlannedRun] = []
    for network in journey.networks:
        with problems_of(network):
            base = network_config(root, network, journey, assignments)
            about = unseen_section(base, journey.unseen)
        first = base.seed if "seed" in parse_assignments(assignments) else 0
        follow_up = PlannedEvaluation(journey.unseen.split, (), "away", "generalise", about)
        seeds = tuple(range(first, first + journey.seeds))
        for name, config in _arms(network, base, journey):
            plan.append(PlannedRun(f"{network} {name}", config, seeds, (follow_up,)))
    return plan


def network_config(root: Path, network: str, journey: Journey, assignments: Sequence[str]) -> RunConfig:
    """A network's own training without any remedy, on the same images, for the same budget, as all others.
    Raises ConfigError and UnknownRecipe."""
    own = get_recipe("quick") if network in ("unet", "zoo") else base_config(network)
    refuse_begun(own)
    if network == "zoo":
        own = with_values(own, ZOO)
    values = parse_assignments(assignments)
    for key in values:
        if key.startswith(("budget.", "init.weights", "model.weights")):
            raise ConfigError([f"{key}: is set by the study itself"])
        if key in without_remedies(own):
            raise ConfigError([f"{key}: is a remedy, which the study tries by itself (--option)"])
    around = {
        f"{section}.{key}": value
        for section in ("data", "validation")
        for key, value in getattr(get_recipe("quick"), section).model_dump().items()
    }
    plain = without_remedies(own) | {"recipe": "", "gallery.every": 0, "pretrain.epochs": 0}
    budget = {"budget.hours": journey.hours, "budget.images": journey.images}
    root_and_size = {"data.root": str(root)} | sized(own, journey.breadth, journey.size)
    # All at once: the crops of a recipe may fit the size that is asked for, and not that of `quick`.
    return with_data_root(with_values(own, around | plain | budget | root_and_size | values))


def generalisation_config(planned: PlannedRun) -> RunConfig:
    """The config of the scoring that follows a training of a plan, but for the checkpoint, to look at its
    data beforehand."""
    (follow_up,) = planned.evaluations
    about = {**follow_up.about, "source": "none", "checkpoint": "none"}
    return validate(planned.config.model_dump() | {"task": follow_up.task, "generalise": about})


def left_out(journey: Journey) -> list[str]:
    """Lines on remedies that are not tried, and why."""
    lines = []
    tried = _wanted(journey)
    for network in journey.networks:
        without = [remedy.name for remedy in tried if remedy.needs_weights and network not in journey.weights]
        if without:
            lines.append(f"{network}: no {', '.join(without)}, as there is no --weights {network}=FILE")
    return lines


def _arms(network: str, base: RunConfig, journey: Journey) -> Iterator[tuple[str, RunConfig]]:
    yield BASELINE, base
    file = journey.weights.get(network)
    for remedy in _wanted(journey):
        if not remedy.needs_weights:
            yield remedy.name, with_values(base, remedy.values)
        elif file is not None:
            with problems_of(f"--weights {network}={file}"):
                filled = with_values(base, {"model.weights": str(file)})
                yield remedy.name, with_values(filled, remedy.values)


def _wanted(journey: Journey) -> list[Remedy]:
    """The remedies to try. Weights come before what is done with them: that is held against them."""
    known = known_remedies()
    if not journey.remedies:
        return list(known.values())
    wanted = [known[name] for name in known if name in journey.remedies]
    if any(remedy.needs_weights for remedy in wanted) and WEIGHTS not in wanted:
        wanted.insert(0, WEIGHTS)
    return wanted


def _refuse_impossible(journey: Journey) -> None:
    known = known_remedies()
    problems = [
        f"--option {name!r}: is none that is known; there are {', '.join(known)}"
        for name in journey.remedies
        if name not in known
    ]
    problems += [
        f"--weights {network}: is none of the networks; there are {', '.join(journey.networks)}"
        for network in journey.weights
        if network not in journey.networks
    ]
    if bool(journey.hours) == bool(journey.images):
        problems.append("--budget and --images: one of them must be above 0, the other 0")
    if problems:
        raise ConfigError(problems)
