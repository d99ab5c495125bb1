"""The report of an experiment as blocks: its tables, figures, costs and configs, and how to repeat it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from engine.report.beyond import Findings, beyond_blocks, findings_of
from engine.report.compare import MOST_RUNS as MOST_ENTRIES
from engine.report.compare import ComparedRun, Comparison, compare, made_again, same_but_for_the_seed
from engine.report.compare_ood import corruption_block, corruptions_told, ood_block
from engine.report.compare_page import classes_block, crf_blocks, literature_block, numbers_block
from engine.report.environments import ABOUT, TITLE, environment_block, footnotes, told_apart
from engine.report.generalisation import Away, generalisation_blocks, what_helped
from engine.report.page import Block, Bullets, Cell, Details, Heading, Marked, Picture, table, text
from engine.report.pretraining import Held, held_against_scratch, pretraining_blocks
from engine.report.published import literature_results
from engine.report.reported_runs import ReportedRun, config_blocks, cost_blocks, repetition_blocks
from engine.report.speed import SpeedPlot, contender, speed_blocks, speed_plot
from engine.report.study import study_blocks
from engine.report.tables import score
from engine.store import RunRow
from engine.tasks import TASKS, epochs_done, learns_classes


@dataclass(frozen=True)
class Experiment:
    """An experiment as it is at `now` (UTC seconds), seen by `version` of seg-engine.

    `leading` are the runs that are compared: all that train or, where none does, all; of more than
    MOST_ENTRIES entries the best. Those made `again` are not among them: each has a run of the same config
    and seed that finished, and counts nowhere in tables over seeds.
    """

    name: str
    runs: Sequence[ReportedRun]
    leading: Sequence[ComparedRun]
    again: Sequence[ComparedRun]
    comparison: Comparison
    findings: Findings
    pretrainings: Sequence[Held]
    away: Sequence[Away]
    now: float
    version: str

    @property
    def trainings(self) -> list[ReportedRun]:
        return [run for run in self.runs if learns_classes(run.row.task, run.row.classes)]


def experiment_of(name: str, runs: Sequence[ReportedRun], now: float, version: str) -> Experiment:
    """The experiment with its best entries compared to its first; `runs` in the order of their making."""
    runs = _environments_told_apart(runs)
    trainings = [run for run in runs if learns_classes(run.row.task, run.row.classes)]
    trained = [run.compared for run in trainings or runs]
    again = made_again(same_but_for_the_seed(trained))
    trained = [run for run in trained if run not in again]
    groups = same_but_for_the_seed(trained)
    if len(groups) > MOST_ENTRIES:
        best_first = sorted(groups, key=_best_dice, reverse=True)[:MOST_ENTRIES]
        groups = [group for group in groups if group in best_first]
    leading = [run for group in groups for run in group]
    comparison = compare(leading, fold_seeds=True)
    counted = trained if trainings else []
    held = held_against_scratch(counted, {run.row.id: run.row for run in runs})
    away = what_helped(counted)
    # What a study of its own tells of is no ablation besides, though remedies are ingredients, too.
    told = {run.row.id for each in held for run in (*each.pretrained, *each.scratch)}
    told |= {run.row.id for each in away for run in each.runs}
    findings = findings_of([run for run in counted if run.row.id not in told])
    return Experiment(name, runs, leading, again, comparison, findings, held, away, now, version)


def _environments_told_apart(runs: Sequence[ReportedRun]) -> list[ReportedRun]:
    """The runs with environments by names that mean the same everywhere in the report."""
    told = told_apart([run.compared.environments for run in runs])
    return [
        replace(run, compared=replace(run.compared, environments=rows))
        for run, rows in zip(runs, told, strict=True)
    ]


def report_blocks(experiment: Experiment, pictures: Mapping[str, Picture]) -> list[Block]:
    """The report. `pictures` are the figures that could be drawn, by their kind."""
    comparison = experiment.comparison
    blocks: list[Block] = [*_head(experiment)]
    blocks += beyond_blocks(experiment.findings, pictures)
    blocks += pretraining_blocks(experiment.pretrainings)
    blocks += generalisation_blocks(experiment.away)
    counted = (run.compared for run in experiment.trainings)
    blocks += study_blocks([run for run in counted if run not in experiment.again])
    blocks += [Heading("Results"), *_results_story(experiment), numbers_block(comparison)]
    blocks += [Bullets(comparison.notes)] if comparison.notes else []
    blocks += _literature(experiment)
    blocks += _pretrainings(experiment)
    blocks += _pictured("Curves", pictures, ("curves", "loss", "dice-hours", "dice-kwh"))
    if comparison.classes:
        blocks += [*_pictured("Classes", pictures, ("classes",)), *_class_tables(experiment)]
    blocks += _pictured("Predictions", pictures, ("samples", "confusion"))
    blocks += _evaluations(experiment)
    blocks += _crf(experiment)
    blocks += _ood(experiment)
    blocks += _robustness(experiment, pictures)
    blocks += _environments(experiment, pictures)
    blocks += _real_time(experiment, pictures)
    blocks += [Heading("Speed"), *cost_blocks(experiment.runs)]
    blocks += [Heading("Configuration"), *config_blocks(experiment.runs, experiment.comparison)]
    blocks += [Heading("How to reproduce it"), *repetition_blocks(experiment.runs)]
    return blocks


def _literature(experiment: Experiment) -> Iterator[Block]:
    classes = next((run.row.classes for run in experiment.trainings if run.row.classes), ())
    results = literature_results(classes)
    if results:
        yield text(
            Marked("Published", "published"),
            " by others, trained from scratch and not measured here: mIoU to hold ours against, with what "
            "differs.",
        )
        yield literature_block(results)


def _best_dice(group: Sequence[ComparedRun]) -> float:
    return max((run.row.best_dice for run in group if run.row.best_dice is not None), default=-1.0)


def _head(experiment: Experiment) -> Iterator[Block]:
    rows = [run.row for run in experiment.runs]
    finished = sum(row.status == "finished" for row in rows)
    made = datetime.fromtimestamp(experiment.now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield Heading(experiment.name, 1)
    runs = "1 run" if len(rows) == 1 else f"{len(rows)} runs"
    state = "finished" if finished == len(rows) else f"{finished} finished"
    yield text(f"{runs}, {state}. Written {made} by seg-engine {experiment.version}.")
    if unscored := [row for row in rows if row.ended and _has_no_score(row)]:
        named = ", ".join(f"{row.name or row.id} ({row.id}: {row.cause or row.status})" for row in unscored)
        yield text(f"Ended without a score, and so in no table of scores: {named}.")
    scored = [row for row in rows if row.best_dice is not None and learns_classes(row.task, row.classes)]
    if scored:
        best = max(scored, key=lambda row: row.best_dice or 0.0)
        epochs = best.epochs or best.epoch
        yield text(
            "Best validation Dice: ",
            Marked(score(best.best_dice), "strong"),
            f" by {best.name or best.id} ({best.id}) after {best.best_epoch} of {epochs} epochs.",
        )


def _has_no_score(row: RunRow) -> bool:
    """Whether a run that was to learn has nothing to be compared by."""
    return TASKS[row.task].learns and row.best_dice is None and row.best_val_loss is None


def _results_story(experiment: Experiment) -> Iterator[Block]:
    entries = experiment.comparison.entries
    base = entries[experiment.comparison.baseline]
    story = "Scores are of the validation split at the input size, at each run's best epoch."
    if any(entry.seeds > 1 for entry in entries):
        story += " Runs equal but for the seed are one line: mean ± sample standard deviation."
    if len(entries) > 1:
        story += f" In brackets: the difference to {base.letter}, {base.label}."
    if experiment.again:
        named = ", ".join(f"{run.row.name} ({run.row.id})" for run in experiment.again)
        story += f" Not counted, as another run of the same config and seed has finished: {named}."
    compared = len(experiment.leading) + len(experiment.again)
    left_out = len(experiment.trainings or experiment.runs) - compared
    if left_out > 0:
        others = "1 other run is" if left_out == 1 else f"{left_out} other runs are"
        story += (
            f" These are the {'best' if experiment.trainings else 'first'} {len(entries)}; {others} left out."
        )
    yield text(story)


def _pretrainings(experiment: Experiment) -> list[Block]:
    rows: list[list[Cell]] = [
        [
            row.name or row.id,
            Marked(row.id, "code"),
            epochs_done(row),
            str(row.train_images or "-"),
            score(row.best_val_loss),
            score(row.last_loss),
        ]
        for row in (run.row for run in experiment.runs)
        if TASKS[row.task].learns and not learns_classes(row.task, row.classes)
    ]
    header = ["run", "id", "epochs", "images", "lowest val loss", "last train loss"]
    return [Heading("Pre-training"), table(header, rows, numbers_from=2)] if rows else []


def _pictured(title: str, pictures: Mapping[str, Picture], kinds: Sequence[str]) -> list[Block]:
    """A section of those figures that could be drawn; no section without any."""
    found = [pictures[kind] for kind in kinds if kind in pictures]
    return [Heading(title), *found] if found else []


def _class_tables(experiment: Experiment) -> Iterator[Block]:
    entries = experiment.comparison.entries
    order = ", largest drop first" if len(entries) > 1 else ""
    yield Details(f"Dice by class as numbers{order}", (classes_block(experiment.comparison),))


def _evaluations(experiment: Experiment) -> list[Block]:
    names = {run.row.id: run.row.name or run.row.id for run in experiment.runs}
    rows: list[list[Cell]] = []
    for run in experiment.runs:
        made = {evaluation.scores.run_id: evaluation.kind for evaluation in run.compared.evaluations}
        for scores in run.evaluations:
            source = run.row.source or run.row.id
            kind = made.get(run.row.id, f"{scores.split} at {scores.at}, {scores.images} images")
            latency = "-" if scores.latency_seconds is None else f"{1000 * scores.latency_seconds:.1f} ms"
            frames = "-" if scores.frames_per_second is None else f"{scores.frames_per_second:.1f}"
            told = map(score, (scores.dice, scores.dice_image, scores.miou, scores.pixel_accuracy))
            rows.append([names.get(source, source), str(scores.epoch), kind, *told, latency, frames])
    if not rows:
        return []
    header = ["run", "epoch", "scored on", "Dice", "image Dice", "mIoU", "pixel accuracy"]
    header += ["latency", "frames/s"]
    about = (
        "Each line is a checkpoint scored on all images of a split: Dice pools the pixels of all images, "
        "image Dice is the mean of each image's own. At original, predictions are brought to the labels' "
        "size. External images took part neither in the training nor in choosing its best epoch. Latency is "
        "the median of single images at the input size."
    )
    return [Heading("Evaluations"), text(about), table(header, rows, numbers_from=3)]


def _crf(experiment: Experiment) -> list[Block]:
    lines = experiment.comparison.crf
    if not lines:
        return []
    about = (
        "Both scores are of the same predictions, before and after a fully connected CRF refined them; in "
        "brackets what the CRF changed. It can raise the mean and yet remove thin classes. The time is that "
        f"of the CRF for one image. {_letters(experiment)}."
    )
    return [Heading("With and without a CRF"), text(about), *crf_blocks(lines)]


def _letters(experiment: Experiment) -> str:
    """What the letters of the entries stand for."""
    return "; ".join(f"{entry.letter} is {entry.title}" for entry in experiment.comparison.entries)


def _ood(experiment: Experiment) -> list[Block]:
    lines = experiment.comparison.ood
    if not lines:
        return []
    about = (
        "How well each score tells out-of-distribution pixels (where there are masks) and images from "
        "in-distribution ones. FPR95 is at the first threshold that takes in 95 % of the former. "
    )
    return [
        Heading("Out-of-distribution detection"),
        text(f"{about}{_letters(experiment)}."),
        ood_block(lines),
    ]


def _robustness(experiment: Experiment, pictures: Mapping[str, Picture]) -> list[Block]:
    found = [(run.row.name or run.row.id, run.compared.corruptions) for run in experiment.trainings]
    scored = [(name, rows) for name, rows in found if rows]
    if not scored:
        return []
    drawn = _pictured("Robustness", pictures, ("robustness",)) or [Heading("Robustness")]
    return [*drawn, text(corruptions_told(scored)), corruption_block(scored)]


def _environments(experiment: Experiment, pictures: Mapping[str, Picture]) -> list[Block]:
    found = [(run.row.name or run.row.id, run.compared.environments) for run in experiment.trainings]
    scored = [(name, rows) for name, rows in found if rows]
    if not scored:
        return []
    title = TITLE[0].upper() + TITLE[1:]
    drawn = _pictured(title, pictures, ("generalise",)) or [Heading(title)]
    notes = dict.fromkeys(note for _, rows in scored for note in footnotes(rows))
    return [*drawn, text(ABOUT), environment_block(scored), *([Bullets(tuple(notes))] if notes else [])]


def _real_time(experiment: Experiment, pictures: Mapping[str, Picture]) -> list[Block]:
    plot = speed_of(experiment)
    if plot is None:
        return []
    return [*(_pictured("Real time", pictures, ("speed",)) or [Heading("Real time")]), *speed_blocks(plot)]


def speed_of(experiment: Experiment) -> SpeedPlot | None:
    """Dice against frames a second of all trained runs; None where no latency was measured."""
    runs = [run.compared for run in experiment.trainings]
    latencies = [row for run in runs for row in run.latencies]
    return speed_plot([contender(run.row) for run in runs], latencies) if latencies else None
