"""The figures of an experiment's report: those that its runs have something for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.report.beyond import figure_kind, is_figure_of_budget
from engine.report.budgets import EqualBudget
from engine.report.compare import Comparison, Entry
from engine.report.experiment import Experiment, speed_of
from engine.report.figures.classes import MOST_ENTRIES, classes_figure
from engine.report.figures.confusion import confusion_figure
from engine.report.figures.curves import Curve, curves_figure, entry_curves
from engine.report.figures.environments import environments_figure
from engine.report.figures.robustness import robustness_figure
from engine.report.figures.samples import Predictions, samples_figure
from engine.report.figures.speed import speed_figure
from engine.report.figures.style import SUFFIXES, FigureError, save_figure
from engine.report.gallery import PictureError
from engine.report.page import Picture
from engine.report.published import published_results
from engine.report.study import STUDY_RECIPES
from engine.report.triptych import gallery_samples, parse_colors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "figures"
"""Where they lie below the report."""

_SEEDS = " Of several seeds: the mean, with a band of one standard deviation."
_SAMPLES = 4
_RUNS_OF_SAMPLES = 2


def draw_figures(
    experiment: Experiment, gallery_of: Callable[[str], Path], folder: Path
) -> dict[str, Picture]:
    """Draw what can be drawn below `folder`, as PNG and PDF; kind -> picture.

    `gallery_of` names the gallery folder of a run. A figure for which the runs have nothing is left out, and
    removed where an earlier report has it.
    """
    pictures = {}
    drawings: dict[str, Callable[[], tuple[Figure, str]]] = {
        "curves": lambda: _curves(experiment, "dice"),
        "loss": lambda: _curves(experiment, "loss"),
        "classes": lambda: _classes(experiment),
        "samples": lambda: _samples(experiment, gallery_of),
        "confusion": lambda: _confusion(experiment),
        "robustness": lambda: _robustness(experiment),
        "generalise": lambda: _environments(experiment),
        "speed": lambda: _speed(experiment),
    }
    for against in ("hours", "kwh"):
        drawings[f"dice-{against}"] = partial(_curves_of_energy, experiment, against)
    for equal in experiment.findings.budgets:
        drawings[figure_kind(equal)] = partial(_at_budget, equal)
    about = f"seg-engine experiment {experiment.name}"
    for kind, draw in drawings.items():
        try:
            figure, caption = draw()
        except (FigureError, PictureError):
            continue
        note = ""
        for suffix in SUFFIXES:
            note = save_figure(figure, folder / FOLDER / f"{kind}{suffix}", about) or note
        caption += f" ({note})" if note else ""
        width = min(1.0, figure.get_figwidth() / 6.9)
        pictures[kind] = Picture(f"{FOLDER}/{kind}.png", caption, width)
    for path in (folder / FOLDER).glob("*"):
        is_ours = path.stem in drawings or is_figure_of_budget(path.stem)
        if is_ours and path.suffix in SUFFIXES and path.stem not in pictures:
            path.unlink()
    return pictures


def _curves_of_energy(experiment: Experiment, against: str) -> tuple[Figure, str]:
    epochs = [epoch for run in experiment.leading for epoch in run.epochs]
    if not epochs or any(epoch.joules is None for epoch in epochs):
        raise FigureError("the energy of some epochs was not measured")
    return _curves(experiment, "dice", against)


def _curves(experiment: Experiment, measure: str, against: str = "epochs") -> tuple[Figure, str]:
    entries = experiment.comparison.entries
    curves = entry_curves(experiment.comparison, experiment.leading)
    ours = {row.recipe for entry in entries for row in entry.rows} & set(STUDY_RECIPES)
    published = published_results(ours) if ours and measure == "dice" and against == "epochs" else ()
    over = {"epochs": "the epochs", "hours": "hours of training and validation", "kwh": "kWh of the same"}
    caption = (
        f"{'Dice' if measure == 'dice' else 'Loss'} over {over[against]}, of validation and of training."
    )
    caption += _SEEDS if any(entry.seeds > 1 for entry in entries) else ""
    if published:
        caption += " Hollow marks are the study's published validation Dice."
    return curves_figure(curves, measure, 2, published, against), caption


def _at_budget(equal: EqualBudget) -> tuple[Figure, str]:
    """The best systems; always with the leading one."""
    first = [equal.leading, *(each for each in equal.standings if each is not equal.leading)][:MOST_ENTRIES]
    curves = [Curve.of(each.name, each.runs) for each in first]
    against = equal.budget.kind
    used = "hours of training and validation" if against == "hours" else "training images seen"
    caption = f"Dice against {used}, of validation and of training, each run with {equal.budget.told}."
    caption += _SEEDS if any(len(each.runs) > 1 for each in first) else ""
    if len(first) < len(equal.standings):
        caption += (
            f" {equal.leading.name} and the best others: {len(first)} of {len(equal.standings)} systems."
        )
    return curves_figure(curves, "dice", 2, against=against), caption


def _classes(experiment: Experiment) -> tuple[Figure, str]:
    """The best entries, as many as there is room for."""
    comparison = experiment.comparison
    caption = "Dice by class on the validation split, at each run's best epoch."
    if len(comparison.entries) <= MOST_ENTRIES:
        return classes_figure(comparison, 2), caption
    best = sorted(_scored(comparison), key=_dice, reverse=True)[:MOST_ENTRIES]
    if not best:
        raise FigureError("no entry has a Dice of its own")
    places = [place for place, entry in enumerate(comparison.entries) if entry in best]
    caption += f" The best {len(places)} of {len(comparison.entries)}."
    chosen = replace(
        comparison,
        entries=tuple(comparison.entries[place] for place in places),
        classes=tuple(
            replace(row, dice=tuple(row.dice[place] for place in places)) for row in comparison.classes
        ),
    )
    return classes_figure(chosen, 2), caption


def _samples(experiment: Experiment, gallery_of: Callable[[str], Path]) -> tuple[Figure, str]:
    """The best entries, each by its best run, as long as they kept predictions of the same classes."""
    best = sorted(_scored(experiment.comparison), key=_dice, reverse=True)
    shown: list[Predictions] = []
    told: list[str] = []
    classes, colors = best[0].rows[0].classes if best else (), best[0].rows[0].colors if best else ()
    for entry in best:
        row = max(entry.rows, key=lambda row: row.best_dice or 0.0)
        if len(shown) == _RUNS_OF_SAMPLES or row.classes != classes:
            continue
        try:
            epoch, samples = gallery_samples(gallery_of(row.id), len(classes), None, _SAMPLES)
        except PictureError:
            continue
        shown.append(Predictions(entry.label, samples))
        told.append(f"{entry.label} after epoch {epoch}")
    if not shown:
        raise PictureError("no run has a gallery")
    figure = samples_figure(shown, classes, parse_colors(classes, colors))
    return figure, f"Validation images: {', '.join(told)}."


def _confusion(experiment: Experiment) -> tuple[Figure, str]:
    evaluated = [run for run in experiment.trainings if run.evaluations and run.evaluations[-1].confusion]
    if not evaluated:
        raise FigureError("no run has an evaluation with a confusion matrix")
    best = max(evaluated, key=lambda run: run.row.best_dice or 0.0)
    scores = best.evaluations[-1]
    caption = f"{best.row.name or best.row.id}, epoch {scores.epoch}: of the pixels of each class, the "
    caption += f"percentage predicted as each class ({scores.split} split, {scores.at} size)."
    return confusion_figure(scores.confusion, best.row.classes), caption


def _robustness(experiment: Experiment) -> tuple[Figure, str]:
    found = [(run.row.name or run.row.id, run.compared.corruptions) for run in experiment.trainings]
    scored = [(name, rows) for name, rows in found if rows]
    caption = "Dice against the strength of each corruption; 0: images as they are."
    return robustness_figure(scored[:MOST_ENTRIES]), caption + _of_so_many(len(scored))


def _environments(experiment: Experiment) -> tuple[Figure, str]:
    found = [(run.row.name or run.row.id, run.compared.environments) for run in experiment.trainings]
    scored = [(name, rows) for name, rows in found if rows]
    caption = (
        "Dice in each environment; dotted: on the images that the run held out. Whiskers: the 95 % interval "
        "of the difference to those. Filled: the same images, corrupted; hollow: other data sets."
    )
    return environments_figure(scored[:MOST_ENTRIES], 2), caption + _of_so_many(len(scored))


def _of_so_many(runs: int) -> str:
    """What a caption says of the runs for which a figure has no room."""
    return f" The first {MOST_ENTRIES} of {runs} runs." if runs > MOST_ENTRIES else ""


def _speed(experiment: Experiment) -> tuple[Figure, str]:
    plot = speed_of(experiment)
    if plot is None:
        raise FigureError("no run has a measured latency")
    caption = (
        "Best validation Dice against frames a second. Filled: the Pareto front, which no other run beats"
    )
    return speed_figure(plot, 2, "Best validation Dice"), f"{caption} in both."


def _scored(comparison: Comparison) -> Iterator[Entry]:
    return (entry for entry in comparison.entries if "best_dice" in entry.values)


def _dice(entry: Entry) -> float:
    return entry.values["best_dice"].mean
