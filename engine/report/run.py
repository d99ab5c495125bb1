"""One run as a page of text: how it fares or ended, its curves, its classes, its config, its files."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from engine.report.crf import crf_text, trials_table
from engine.report.detection import corruption_table, ood_text
from engine.report.environments import TITLE as ENVIRONMENTS
from engine.report.environments import environment_text
from engine.report.evaluation import evaluation_text, evaluations_table, with_unit
from engine.report.instances import instances_table, is_of_instances, newest
from engine.report.latency import latency_text
from engine.report.lines import as_lines
from engine.report.reproduction import Reproduction, reproduction_text
from engine.report.run_config import config_lines
from engine.report.run_facts import facts
from engine.report.runs import STATUS_STYLES, done, kept_words, outcome, worded
from engine.report.tables import (
    Column,
    age,
    class_table,
    duration,
    score,
    sparkline,
    text_table,
    windows_told,
)
from engine.report.trials import search_words
from engine.store import (
    CorruptionRow,
    CrfRow,
    CrfTrialRow,
    EnvironmentRow,
    EpochRow,
    EvaluationRow,
    EventRow,
    LatencyRow,
    MetricRow,
    OodRow,
    RunRow,
    RunSummary,
)
from engine.tasks import TASKS, USUAL, NetworkTask
from engine.typed import typed
from engine.visible import block, one_line

CURVE_WIDTH = 40


@dataclass(frozen=True)
class Files:
    """Where a run lies on this machine. `alive` is None when only another machine could tell; times in UTC
    seconds."""

    folder: Path
    log: Path | None
    checkpoints: tuple[Path, ...]
    gallery: tuple[Path, ...]
    picture: Path | None
    alive: bool | None
    last_beat: float | None


@dataclass(frozen=True)
class RunPage:
    """All that is known of one run, to be shown at `now` (UTC seconds)."""

    row: RunRow
    epochs: Sequence[EpochRow]
    events: Sequence[EventRow]
    evaluations: Sequence[EvaluationRow]
    files: Files
    now: float
    ood: Sequence[OodRow] = ()
    corruptions: Sequence[CorruptionRow] = ()
    environments: Sequence[EnvironmentRow] = ()
    crf: Sequence[CrfRow] = ()
    crf_trials: Sequence[CrfTrialRow] = ()
    metrics: Sequence[MetricRow] = ()
    latencies: Sequence[LatencyRow] = ()
    best_trials: Sequence[RunRow | RunSummary] = ()
    """Of a search, if the run is one of its trials."""
    reproduction: Reproduction | None = None
    """How it compares with the run that it makes again."""
    waits: str = ""
    """Why it has not started, in a line; "" where that is not known or it has."""


def run_page(page: RunPage, width: int | None) -> Text:
    """The page, for `width` columns (None: no limit). A failed run begins with its traceback."""
    parts = [
        heading(page),
        failure(page.row),
        _curves(page.epochs),
        _classes(page),
        _metrics(page, width),
        results(page, width),
        facts(page.row, page.epochs, page.events, page.now),
        config_lines(page.row, width or 100),
        _warnings(page.events),
        _files(page.files),
        Text.assemble(("next", "bold"), "  " + "\n      ".join(map(one_line, next_commands(page)))),
    ]
    return Text("\n\n", no_wrap=True, overflow="ignore").join(part for part in parts if part)


def next_commands(page: RunPage) -> list[str]:
    """What to type next."""
    row, files = page.row, page.files
    commands = []
    if row.status in ("stopped", "failed", "lost"):
        commands.append(typed("resume", row.id))
    if files.log is not None and row.status != "finished":
        commands.append(f"tail -f {files.log}" if not row.ended else f"less {files.log}")
    commands += TASKS[row.task].next_commands(row.id, bool(files.checkpoints), bool(files.gallery))
    if files.gallery:
        commands.append(typed("picture", row.id))
    return [*commands, typed("runs", "--experiment", row.experiment)]


def heading(page: RunPage) -> Text:
    """Name, status with cause, what it has found, whether it lives and gets on, and what people call it."""
    row = page.row
    lines = [Text.assemble((row.id, "bold"), "  ", (row.name, "bold"))]
    cause = f" ({row.cause})" if row.cause and row.cause not in ("completed", row.status) else ""
    state = Text.assemble((row.status + cause, STATUS_STYLES.get(row.status, "")))
    task = TASKS[row.task]
    looks = _of_source(row, task.noun) if isinstance(task, NetworkTask) else f"epoch {task.done(row)}"
    state.append(f"  {looks}")
    if row.phase and not row.ended:
        state.append(f", {row.phase} step {row.step}/{row.steps}")
    found = outcome(row)
    if found is not None and not found.is_count:  # how much is done is told already
        state.append(f"  {found.name} ")
        state.append(worded(found).removeprefix(found.name).strip(), "bold")
    lines.append(state)
    if not row.ended:
        lines.append(Text(page.waits, "yellow") if page.waits else _pulse(page))
    labels = [] if row.task == USUAL else [f"task {row.task}"]
    labels += [f"experiment {row.experiment}", f"recipe {row.recipe or '-'}", f"seed {row.seed}"]
    labels += [f"tags {', '.join(row.tags)}"] if row.tags else []
    labels += [kept_words(row)] if kept_words(row) else []
    lines.append(Text("  ".join(labels)))
    if row.trial is not None:
        lines.append(Text(search_words(row, page.best_trials)))
    if row.note:
        lines += [Text(line) for line in f"note: {block(row.note, ' ' * len('note: '))}".splitlines()]
    return as_lines(lines)


def _of_source(row: RunRow, noun: str) -> str:
    """What a run does that looks at the network of another one, and how far it is."""
    far = f", {done(row)}" if row.steps and not row.phase else ""
    return f"{noun} of {row.source}{far}"


def _pulse(page: RunPage) -> Text:
    """Whether the worker lives and whether it gets on: two things that people confuse at their cost."""
    row, files = page.row, page.files
    process = f"process {row.pid} on {row.host}" if row.pid is not None else "no process yet"
    lives = {True: "alive", False: "gone", None: "not visible from this machine"}[files.alive]
    parts = [f"{process}: {lives}" if row.pid is not None else process]
    job = (row.claimed_by or {}).get("job")
    if job:
        parts.insert(0, f"Slurm job {job}")
    if files.last_beat is not None:
        parts.append(f"heartbeat {age(page.now - files.last_beat)} ago")
    if row.progress_at is not None:
        parts.append(f"progress {age(page.now - row.progress_at)} ago")
    if row.eta_seconds is not None:
        parts.append(f"about {duration(row.eta_seconds)} left")
    return Text(", ".join(parts))


def failure(row: RunRow, width: int | None = None) -> Text | None:
    """Why a run failed or was lost, in lines of at most `width` characters (None: no limit), with its
    traceback, whose lines stay as they are; None for every other run."""
    if row.status not in ("failed", "lost"):
        return None
    told = f"{row.cause or row.status}: {block(row.message) or 'no message'}"
    message = told.splitlines()
    if width is not None:
        message = [part for line in message for part in textwrap.wrap(line, max(20, width)) or [""]]
    lines = [Text(line, "bold red") for line in message]
    lines += [Text("  " + line) for line in row.traceback.rstrip().splitlines()]
    return as_lines(lines)


def _curves(epochs: Sequence[EpochRow]) -> Text | None:
    """Dice and loss over the epochs, with the first, the last and the best value."""
    rows = []
    for measure, best_of in (("dice", max), ("loss", min)):
        for split in ("val", "train"):
            curve = [(row.epoch, getattr(row, measure)) for row in epochs if row.split == split]
            known = [(value, epoch) for epoch, value in curve if value is not None]
            if not known:
                continue
            best = best_of(value for value, _ in known)
            first_epoch = next(epoch for value, epoch in known if value == best)
            name = f"{'Dice' if measure == 'dice' else measure} {split}"
            line = sparkline([value for _, value in curve], CURVE_WIDTH)
            rows.append(
                (name, line, score(known[0][0]), score(known[-1][0]), f"{score(best)} @ {first_epoch}")
            )
    if not rows:
        return None
    names, lines, firsts, lasts, bests = zip(*rows, strict=True)
    columns = [
        Column("curves", names),
        Column("", [(line, "cyan") for line in lines], rank=1),
        Column("first", firsts, right=True),
        Column("last", lasts, right=True),
        Column("best", bests, right=True),
    ]
    return text_table(columns)


def _classes(page: RunPage) -> Text | None:
    best = [row for row in page.epochs if row.split == "val" and row.epoch == page.row.best_epoch]
    if not best or not best[0].class_dice:
        return None
    title = f"by class, validation, epoch {page.row.best_epoch}\n"
    table = class_table(best[0].class_dice, best[0].class_iou, page.row.colors)
    return Text.assemble((title, "bold"), table)


def _metrics(page: RunPage, width: int | None) -> Text | None:
    """Metrics of one's own: at the best epoch and the last one, and in each evaluation."""
    rows = [row for row in page.metrics if not row.class_name and not is_of_instances(row.metric)]
    epochs = [row for row in rows if row.measured == "epoch"]
    last = max((row.epoch for row in epochs), default=0)
    wanted = dict.fromkeys((page.row.best_epoch, last))
    told = [row for epoch in wanted for row in epochs if row.epoch == epoch]
    told += [row for row in rows if row.measured == "result" and (row.source or page.row.source)]
    if not told:
        return None
    columns = [
        Column("metric", [(row.metric, "bold") for row in told]),
        Column("split", [row.split for row in told]),
        Column("size", [row.at for row in told], rank=2),
        Column("epoch", [str(row.epoch) for row in told], right=True),
        Column("value", [with_unit(row) for row in told], right=True),
        Column("better", [row.better for row in told], rank=1),
        Column("by run", [row.run_id if row.run_id != page.row.id else "-" for row in told], rank=1),
    ]
    return text_table(columns, width)


def results(page: RunPage, width: int | None = None) -> Text | None:
    """What was measured beside the training: evaluations, out-of-distribution scores, Dice on corrupted
    images and in other environments, latency; by the run itself or by those that looked at its network. For
    `width` columns (None: no limit)."""
    told = (
        *(_evaluations(page, width), _instances(page, width)),
        *(_ood(page, width), _corruptions(page, width), _environments(page, width)),
        *(_crf(page, width), _crf_search(page, width)),
        _latencies(page, width),
        reproduction_text(page.reproduction, width) if page.reproduction is not None else None,
    )
    parts = [part for part in told if part]
    return Text("\n\n", no_wrap=True, overflow="ignore").join(parts) if parts else None


def _evaluations(page: RunPage, width: int | None) -> Text | None:
    if not page.evaluations:
        return None
    if TASKS[page.row.task].evaluates:
        return evaluation_text(page.evaluations[-1], page.row.colors)
    return evaluations_table(page.evaluations, width)


def _instances(page: RunPage, width: int | None) -> Text | None:
    """The instances of critical classes in the run itself, or in the newest evaluation of its network."""
    rows = newest(page.metrics)
    if not rows:
        return None
    whose = rows[-1]
    told = f"{whose.split} at the {whose.at} size" + (
        f", by run {whose.run_id}\n" if whose.run_id != page.row.id else "\n"
    )
    return Text.assemble((told, "bold"), instances_table(rows, width))


def _ood(page: RunPage, width: int | None) -> Text | None:
    """The results of a run of the task `ood`, or the newest of those that looked at this run's network."""
    if not page.ood:
        return None
    newest = page.ood[-1].run_id
    told = "" if newest == page.row.id else f"out-of-distribution, by run {newest}\n"
    table = ood_text([row for row in page.ood if row.run_id == newest], width)
    return Text.assemble((told, "bold"), table)


def _corruptions(page: RunPage, width: int | None) -> Text | None:
    """Dice on corrupted images, likewise."""
    if not page.corruptions:
        return None
    newest = page.corruptions[-1].run_id
    by = "" if newest == page.row.id else f", by run {newest}"
    rows = [row for row in page.corruptions if row.run_id == newest]
    by += f", {windows_told(rows[0])}" if rows[0].window_size else ""
    return Text.assemble((f"Dice by corruption and strength{by}\n", "bold"), corruption_table(rows, width))


def _environments(page: RunPage, width: int | None) -> Text | None:
    """Scores in unseen environments, likewise."""
    if not page.environments:
        return None
    newest = page.environments[-1].run_id
    by = "" if newest == page.row.id else f", by run {newest}"
    rows = [row for row in page.environments if row.run_id == newest]
    return Text.assemble((f"{ENVIRONMENTS}{by}\n", "bold"), environment_text(rows, width))


def _crf(page: RunPage, width: int | None) -> Text | None:
    """What a CRF made of the run's own predictions, or those of the newest that looked at its network with
    one."""
    if not page.crf:
        return None
    newest = page.crf[-1].run_id
    told = "" if newest == page.row.id else f"with a CRF, by run {newest}\n"
    rows = [row for row in page.crf if row.run_id == newest]
    return Text.assemble((told, "bold"), crf_text(rows, page.row.colors, width))


def _crf_search(page: RunPage, width: int | None) -> Text | None:
    """The best trials of a search for the parameters of a CRF, likewise."""
    if not page.crf_trials:
        return None
    newest = page.crf_trials[-1].run_id
    by = "" if newest == page.row.id else f", by run {newest}"
    rows = [row for row in page.crf_trials if row.run_id == newest]
    head = f"search of CRF parameters on training images, {len(rows)} trials{by}\n"
    return Text.assemble((head, "bold"), trials_table(rows, width, most=12))


def _latencies(page: RunPage, width: int | None) -> Text | None:
    """How long an image takes; an evaluation tells that with its scores."""
    if not page.latencies or TASKS[page.row.task].evaluates:
        return None
    return latency_text(page.latencies, width)


def _warnings(events: Sequence[EventRow]) -> Text | None:
    messages = [str(event.payload["message"]) for event in events if event.event == "warning"]
    return as_lines([Text(f"warning: {message}", "yellow") for message in messages]) if messages else None


def _files(files: Files) -> Text:
    lines = [Text.assemble(("files", "bold"), f"  {files.folder}")]
    if files.log is None and not files.checkpoints:
        lines.append(Text("       (not on this machine)"))
    named = [files.log, *files.checkpoints, *files.gallery[-1:], files.picture]
    lines += [Text(f"       {path}") for path in named if path is not None]
    return as_lines(lines)
