"""`study pt`: from scratch against pre-training by denoising, at equal cost, and when it pays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.keys import ConfigError, parse_assignments, with_values
from engine.config.run_config import RunConfig
from engine.requests.configs import base_config, default_name, with_data_root
from engine.requests.initial_weights import pretraining_of
from engine.requests.studies.plan import PlannedRun, problems_of, refuse_begun, sized

LABELS = (0.05, 0.2, 1.0)
NOISES = (0.1, 0.22, 0.5)
RATE_FACTORS = (0.3, 1.0, 3.0)

PARTS = {"all": "pt", "decoder": "pt decoder"}
"""What starts from pre-trained weights: the whole network, or the decoder alone."""


@dataclass(frozen=True)
class Question:
    """What is varied. `recipe` is the name of one or a TOML file. `hours` and `images` are the budgets of
    each, from scratch or pre-trained, 0: not at equal time, not at equal images; pre-training takes the
    `share` of its budget, and training the rest. `labels` are shares of the training images whose labels are
    used. `noises` and `rates`, factors of the recipe's learning rate, are varied where the most labels are.
    `breadth` and `size` are as in `sized`."""

    recipe: str
    hours: float = 1.0
    images: int = 0
    share: float = 1 / 3
    labels: tuple[float, ...] = LABELS
    noises: tuple[float, ...] = NOISES
    rates: tuple[float, ...] = RATE_FACTORS
    seeds: int = 3
    breadth: int = 0
    size: str = ""


def pretraining_plan(root: Path, question: Question, assignments: Sequence[str]) -> list[PlannedRun]:
    """At each budget and share of labels a training from scratch, one from pre-trained weights and one whose
    decoder alone is pre-trained; with the most labels also at other noises and learning rates. `assignments`,
    KEY=VALUE, change all of them, `seed` being the first of the seeds. Raises ConfigError, UnknownRecipe."""
    _refuse_impossible(question)
    recipe, values = questioned(root, question, assignments), parse_assignments(assignments)
    first = recipe.seed if "seed" in values else 0
    seeds = tuple(range(first, first + question.seeds))
    plan: list[PlannedRun] = []
    for budget in _budgets(question):
        for labels in sorted(set(question.labels)):
            config = with_values(recipe, _labelled(recipe, labels))
            plan += _arms(config, budget, question, seeds, varied=labels == max(question.labels))
    return plan


def questioned(root: Path, question: Question, assignments: Sequence[str]) -> RunConfig:
    """The recipe with the study's changes, from scratch. Raises ConfigError and UnknownRecipe."""
    values = parse_assignments(assignments)
    for key in values:
        if key.startswith(("budget.", "init.", "pretrain.epochs", "data.label_fraction")):
            raise ConfigError([f"{key}: is set by the study itself"])
    recipe = base_config(question.recipe)
    with problems_of(f"--recipe {question.recipe}"):
        refuse_begun(recipe)
    own = sized(recipe, question.breadth, question.size) | values
    with problems_of(default_name(recipe)):
        return with_data_root(with_values(recipe, own | {"data.root": str(root), "pretrain.epochs": 0}))


def _arms(
    config: RunConfig, budget: dict[str, Any], question: Question, seeds: tuple[int, ...], varied: bool
) -> Iterator[PlannedRun]:
    """All that is held against each other at one budget and share of labels."""
    told = f"{100 * config.data.label_fraction:g}% labels, {_told(budget)}"
    usual = config.pretrain.noise
    yield PlannedRun(f"scratch ({told})", with_values(config, budget), seeds)
    for parts, name in PARTS.items():
        yield _pretrained(f"{name} ({told})", config, budget, question.share, parts, usual, seeds)
    if not varied:
        return
    for noise in dict.fromkeys(question.noises):
        if noise != usual:
            name = f"pt noise={noise:g} ({told})"
            yield _pretrained(name, config, budget, question.share, "all", noise, seeds)
    for factor in dict.fromkeys(question.rates):
        if factor != 1:
            rate = float(f"{factor * config.optimizer.lr:.3g}")
            other = with_values(config, {"optimizer.lr": rate})
            yield PlannedRun(f"scratch lr={rate:g} ({told})", with_values(other, budget), seeds)
            name = f"pt lr={rate:g} ({told})"
            yield _pretrained(name, other, budget, question.share, "all", usual, seeds)


def _pretrained(
    name: str,
    config: RunConfig,
    budget: dict[str, Any],
    share: float,
    parts: str,
    noise: float,
    seeds: tuple[int, ...],
) -> PlannedRun:
    """A training on what its pre-training leaves of a budget."""
    hours, images = budget["budget.hours"], budget["budget.images"]
    before = dict(zip(budget, _of_pretraining(share, hours, images), strict=True))
    after = {
        "budget.hours": hours - before["budget.hours"],
        "budget.images": images - before["budget.images"],
    }
    first = pretraining_of(with_values(config, {"pretrain.epochs": config.epochs, "pretrain.noise": noise}))
    assert first is not None
    every = {"validation.every": max(1, round(config.validation.every * config.data.label_fraction))}
    trained = with_values(config, {**after, "pretrain.noise": noise, "init.parts": parts})
    return PlannedRun(name, trained, seeds, first=with_values(first, before | every))


def _of_pretraining(share: float, hours: float, images: int) -> tuple[float, int]:
    """What pre-training has of a budget of hours or images."""
    return round(share * hours, 6), round(share * images)


def _labelled(recipe: RunConfig, labels: float) -> dict[str, Any]:
    """A share of the labels, validated after as many images as with all of them."""
    return {
        "data.label_fraction": labels,
        "validation.every": max(1, round(recipe.validation.every / labels)),
    }


def _budgets(question: Question) -> Iterator[dict[str, Any]]:
    if question.hours:
        yield {"budget.hours": question.hours, "budget.images": 0}
    if question.images:
        yield {"budget.hours": 0.0, "budget.images": question.images}


def _told(budget: dict[str, Any]) -> str:
    hours, images = budget["budget.hours"], budget["budget.images"]
    return f"{hours:g} h" if hours else f"{images} images"


def _refuse_impossible(question: Question) -> None:
    problems = [
        f"{option}: {value:g} is not allowed; it must be above 0 and at most {most:g}"
        for option, values, most in (
            ("--labels", question.labels, 1),
            ("--noise", question.noises, 10),
            ("--rate", question.rates, 1000),
            ("--share", (question.share,), 0.99),
        )
        for value in values
        if not 0 < value <= most
    ]
    hours, images = _of_pretraining(question.share, question.hours, question.images)
    for option, whole, before in (("--budget", question.hours, hours), ("--images", question.images, images)):
        if not problems and whole and not 0 < before < whole:  # a budget of 0 would be none
            nothing_for = "training" if before else "pre-training"
            problems.append(
                f"{option} {whole:g}: is too little to be divided; --share {question.share:.3g} leaves "
                f"nothing for {nothing_for}"
            )
    if not question.hours and not question.images:
        problems.append("--budget and --images: are both 0; one of them must be above")
    if problems:
        raise ConfigError(problems)
