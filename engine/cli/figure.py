"""`seg-engine figure`: a figure of one or more runs for a paper, as PNG and PDF."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from engine.cli.console import notices
from engine.cli.explain import chosen_runs
from engine.cli.figure_options import FIGURES
from engine.cli.reading import open_existing
from engine.cli.runs import check_experiment
from engine.config.fields import parse_size
from engine.config.keys import ConfigError
from engine.host.access import refuse_unwritable
from engine.report.compare import ComparedRun, Comparison, compare
from engine.report.compared_runs import compared_run
from engine.report.explain import explain
from engine.report.figures.classes import classes_figure
from engine.report.figures.confusion import confusion_figure
from engine.report.figures.curves import MEASURES, curves_figure, entry_curves
from engine.report.figures.environments import environments_figure
from engine.report.figures.explain import explain_figure
from engine.report.figures.robustness import coverage_figure, robustness_figure
from engine.report.figures.samples import Predictions, samples_figure
from engine.report.figures.score_maps import Judged, score_maps_figure
from engine.report.figures.speed import speed_figure
from engine.report.figures.style import SUFFIXES, Columns, FigureError, save_figure
from engine.report.gallery import gallery_epochs, read_sample
from engine.report.published import PublishedResult, published_results
from engine.report.score_maps import PIXEL_SCORES, read_score_map
from engine.report.speed import Contender, SpeedChoice, contender, speed_plot
from engine.report.triptych import gallery_samples, parse_colors
from engine.store import NOT_ARCHIVED, EvaluationRow, RunRow, Store
from engine.tasks import learns_classes
from engine.typed import typed
from engine.workspace import Workspace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.cli.figure_options import FigureOptions

_Row = TypeVar("_Row")


@dataclass(frozen=True)
class _Material:
    """What a figure is drawn of."""

    workspace: Workspace
    store: Store
    prefixes: Sequence[str]
    options: FigureOptions
    columns: Columns

    @cached_property
    def runs(self) -> list[ComparedRun]:
        return [compared_run(self.store, prefix) for prefix in self.prefixes]

    @cached_property
    def comparison(self) -> Comparison:
        made = compare(self.runs, fold_seeds=self.options.fold_seeds)
        shown = {run_id for entry in made.entries for run_id in entry.ids}
        again = [run.row.name or run.row.id for run in self.runs if run.row.id not in shown]
        if again:
            notices.say(f"left out: {', '.join(again)}: another run of the same seed has finished")
        return made


def draw_figure(workspace: Workspace, kind: str, prefixes: Sequence[str], options: FigureOptions) -> None:
    """Write the figure and print its paths. Raises StoreError, ConfigError, FigureError, PictureError."""
    out = options.out
    if kind in OLD_KINDS:
        notices.say(f"note: figure {kind} is now figure {OLD_KINDS[kind]}")
        kind = OLD_KINDS[kind]
    if kind not in KINDS:
        raise ConfigError([f"{kind}: is not a kind of figure; it must be one of {', '.join(KINDS)}"])
    refuse_meaningless(kind, options)
    if out is not None and out.suffix and out.suffix.lower() not in SUFFIXES:
        raise FigureError(f"{out}: a figure is a PNG or PDF; its name must end in .png, .pdf or neither")
    if not prefixes and kind not in OF_ALL_RUNS:
        raise ConfigError(
            [f"RUN: which runs? figure {kind} needs some; only {' and '.join(OF_ALL_RUNS)} can take all"]
        )
    draw, usual = KINDS[kind]
    with open_existing(workspace) as store:
        if kind == "explain":
            ids = [row.id for row in chosen_runs(store, prefixes, options.experiment)]
        else:
            ids = [store.resolve(prefix) for prefix in prefixes]
        of_one = ids and kind != "explain"
        out = out or (workspace.run_dir(ids[0]).outputs if of_one else workspace.root / EXPORTS) / kind
        refuse_unwritable(out.parent, "use --out FILE to write it elsewhere")
        columns: Columns = 1 if (options.columns or usual) == 1 else 2
        figure = draw(_Material(workspace, store, ids, options, columns))
    about = "seg-engine runs " + (", ".join(ids[:MOST_NAMED]) or "of the workspace")
    about += f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    note = ""
    for path in [out] if out.suffix else [out.with_suffix(suffix) for suffix in SUFFIXES]:
        note = save_figure(figure, path, about) or note
        print(path.absolute())
    if note:
        notices.say(f"note: {note}")


def refuse_meaningless(kind: str, options: FigureOptions) -> None:
    """Raises ConfigError for what was chosen and would change nothing."""
    chosen = [each.name for each in fields(options) if getattr(options, each.name) != each.default]
    problems = []
    for name in chosen:
        option, kinds = f"--{name.replace('_', '-')}", OF_KINDS.get(name, FIGURES)
        if kind not in kinds:
            problems.append(f"{option}: has no effect on figure {kind}; it is for {', '.join(kinds)}")
        elif kind == "speed" and name in ("split", "at") and not options.evaluation:
            problems.append(f"{option}: of figure speed, is for --evaluation; add that")
    if problems:
        raise ConfigError(problems)


def _samples(material: _Material) -> Figure:
    options, first = material.options, material.runs[0].row
    shown = []
    for entry in material.comparison.entries:
        row = entry.rows[0]
        if row.classes != first.classes:
            raise FigureError(f"{first.id} and {row.id} have different classes; they cannot share a legend")
        gallery = material.workspace.run_dir(row.id).gallery
        _, samples = gallery_samples(gallery, len(row.classes), options.epoch, options.samples)
        shown.append(Predictions(entry.label, samples))
    return samples_figure(shown, first.classes, parse_colors(first.classes, first.colors), material.columns)


def _curves(material: _Material) -> Figure:
    options = material.options
    reference: tuple[PublishedResult, ...] = ()
    if options.published and options.against != "epochs":
        raise ConfigError(
            [f"--published: its scores have epochs but no {options.against}; use --against epochs"]
        )
    if options.published:
        reference = published_results([run.row.recipe for run in material.runs])
    curves = entry_curves(material.comparison, material.runs)
    return curves_figure(curves, options.measure, material.columns, reference, options.against)


def _classes(material: _Material) -> Figure:
    return classes_figure(material.comparison, material.columns)


def _confusion(material: _Material) -> Figure:
    if len(material.runs) > 1:
        raise FigureError(f"a confusion matrix shows one run; {len(material.runs)} were given")
    row = material.runs[0].row
    results = material.store.results
    # A run's own scores count before those that evaluations gave its network.
    found = [*results.evaluations_of(row.id), *results.evaluations(row.id)]
    scores = _evaluation(found, row.id, material.options)
    if scores.run_id != row.id:
        notices.say(f"of the evaluation {scores.run_id} of {scores.split} at {scores.at}")
    return confusion_figure(scores.confusion, row.classes, material.columns)


def _evaluation(found: Sequence[EvaluationRow], run_id: str, options: FigureOptions) -> EvaluationRow:
    """The last evaluation on the split asked for, at the size asked for if there is one."""
    chosen = [scores for scores in found if scores.split == options.split and options.at in ("", scores.at)]
    if not chosen:
        there = ", ".join(sorted({f"{scores.split} at {scores.at}" for scores in found}))
        wanted = f"{options.split}{' at ' + options.at if options.at else ''}"
        raise FigureError(f"{run_id} has no evaluation of {wanted}; it has {there or 'none yet'}")
    return chosen[-1]


def _ood(material: _Material) -> Figure:
    """Score maps of a run of the task ood, or of the newest that looked at a training run's network."""
    row, options = _one_detection(material), material.options
    if options.score not in PIXEL_SCORES:
        raise ConfigError([f"--score {options.score}: must be one of {', '.join(PIXEL_SCORES)}"])
    gallery = material.workspace.run_dir(row.id).gallery
    judged = []
    for path in next(reversed(gallery_epochs(gallery).values()), [])[-options.samples :]:
        sample = read_sample(gallery, path, len(row.classes))
        shares = read_score_map(gallery, path.stem, options.score, sample.target)
        judged.append(Judged(sample, shares))
    if not judged:
        raise FigureError(f"{row.id}: saved no score maps")
    colors = parse_colors(row.classes, row.colors)
    return score_maps_figure(judged, options.score, options.accept, colors, material.columns)


def _one_detection(material: _Material) -> RunRow:
    if len(material.runs) > 1:
        raise FigureError(
            f"out-of-distribution results are drawn of one run; {len(material.runs)} were given"
        )
    results = material.runs[0].ood
    if not results:
        run_id = material.runs[0].row.id
        raise FigureError(
            f"{run_id} has no out-of-distribution results; "
            f"`{typed('ood', run_id, '--ood-data', 'ROOT')}` measures some"
        )
    return material.store.run(results[-1].rows[0].run_id)


def _coverage(material: _Material) -> Figure:
    row = _one_detection(material)
    return coverage_figure(material.store.results.ood_results(row.id), material.columns)


def _robustness(material: _Material) -> Figure:
    measure = material.options.measure
    if measure not in ("dice", "dice_image", "miou", "pixel_accuracy"):
        raise FigureError(f"{measure}: corrupted images have dice, dice_image, miou and pixel_accuracy")
    found = [(run.row.name or run.row.id, run.corruptions) for run in material.runs]
    scored = _with_results(
        found, f"not scored on corrupted images, which `{typed('robustness', 'RUN')}` does"
    )
    return robustness_figure(scored, material.columns, measure)


def _generalise(material: _Material) -> Figure:
    measure = material.options.measure
    if measure not in ("dice", "miou"):
        raise FigureError(f"{measure}: environments have dice and miou")
    found = [(run.row.name or run.row.id, run.environments) for run in material.runs]
    scored = _with_results(
        found, f"not scored in other environments, which `{typed('generalise', 'RUN')}` does"
    )
    return environments_figure(scored, material.columns, measure)


def _with_results(
    found: Sequence[tuple[str, Sequence[_Row]]], lacking: str
) -> list[tuple[str, Sequence[_Row]]]:
    """The runs, by name, that have what is drawn. Those that have none beside others that do are told."""
    scored = [(name, rows) for name, rows in found if rows]
    without = [name for name, rows in found if not rows]
    if scored and without:
        notices.say(f"left out: {', '.join(without)}: {lacking}")
    return scored


def _speed(material: _Material) -> Figure:
    """Dice against frames a second, of the runs that are named or of all."""
    options, store = material.options, material.store
    if material.prefixes and options.experiment:
        raise ConfigError(["--experiment: names the runs, and so does RUN; give one of them"])
    if options.experiment:
        check_experiment(store, options.experiment)
    rows = [store.run(run_id) for run_id in material.prefixes] or [
        row
        for row in store.runs([NOT_ARCHIVED], "created_at", experiment=options.experiment or None)
        if learns_classes(row.task, row.classes)
    ]
    title = MEASURES.get(options.measure, "")
    allowed = ("dice", "miou", "dice_image", "pixel_accuracy") if options.evaluation else ("dice", "miou")
    if options.measure not in allowed:
        raise FigureError(f"{options.measure}: figure speed has {' and '.join(allowed)}")
    contenders = [_contender(store, row, options) for row in rows]
    plot = speed_plot(contenders, store.results.all_latencies(), _speed_choice(options))
    scored = f"{title} of {options.split}" if options.evaluation else f"Best validation {title}"
    figure = speed_figure(plot, material.columns, scored)
    for note in plot.notes:
        notices.say(note)
    return figure


def _explain(material: _Material) -> Figure:
    """The score against each key that differs, and all of them as parallel axes."""
    rows = [material.store.run(run_id) for run_id in material.prefixes]
    explanation = explain(rows, material.options.measure)
    for note in explanation.notes:
        notices.say(f"note: {note}")
    return explain_figure(explanation, material.columns)


def _speed_choice(options: FigureOptions) -> SpeedChoice:
    try:
        size = parse_size(options.size) if options.size else None
    except ValueError as error:
        raise ConfigError([f"--size {options.size}: {error}"]) from error
    return SpeedChoice(options.protocol, options.precision, size, options.compiled, options.runtime)


def _contender(store: Store, row: RunRow, options: FigureOptions) -> Contender:
    if not learns_classes(row.task, row.classes):
        raise FigureError(f"{row.id}: is of the task {row.task} and has no network of its own")
    best = contender(row)
    if not options.evaluation:
        return replace(best, dice=row.best_miou if options.measure == "miou" else row.best_dice)
    found = [
        scores
        for scores in store.results.evaluations_of(row.id)
        if scores.split == options.split and options.at in ("", scores.at)
    ]
    at = f" at {options.at}" if options.at else ""
    return replace(
        best,
        dice=getattr(found[-1], options.measure) if found else None,
        without=f"has no evaluation of {options.split}{at}",
    )


KINDS: dict[str, tuple[Callable[[_Material], Figure], Columns]] = {
    "samples": (_samples, 2),
    "curves": (_curves, 1),
    "classes": (_classes, 1),
    "confusion": (_confusion, 2),
    "ood": (_ood, 2),
    "coverage": (_coverage, 1),
    "robustness": (_robustness, 2),
    "generalise": (_generalise, 1),
    "speed": (_speed, 1),
    "explain": (_explain, 2),
}
"""Kind of figure -> what draws it, and the columns that it usually spans."""

OF_KINDS: Mapping[str, tuple[str, ...]] = {
    "fold_seeds": ("samples", "curves", "classes"),
    "measure": ("curves", "robustness", "generalise", "speed", "explain"),
    "against": ("curves",),
    "published": ("curves",),
    "epoch": ("samples",),
    "samples": ("samples", "ood"),
    "split": ("confusion", "speed"),
    "at": ("confusion", "speed"),
    "score": ("ood",),
    "accept": ("ood",),
    "evaluation": ("speed",),
    "experiment": ("speed", "explain"),
    "protocol": ("speed",),
    "precision": ("speed",),
    "size": ("speed",),
    "compiled": ("speed",),
    "runtime": ("speed",),
}
"""Option -> the kinds that it means something for; those that are not here mean something for all."""

OF_ALL_RUNS = ("speed", "explain")
"""The kinds that show all runs where none is named."""

MOST_NAMED = 50
"""So many runs are named in the metadata of a figure."""

EXPORTS = "exports"
"""Where a figure of no run in particular goes, below the workspace."""

OLD_KINDS = {"unknown": "ood"}
"""Former name of a kind -> its name now."""
