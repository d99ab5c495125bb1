"""What the run screen says of a run, as text for a given width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.text import Text

from engine.config.described import config_keys
from engine.config.stored import flat_config
from engine.data.faults import counted
from engine.report.evaluation import images_table
from engine.report.run import Files, RunPage, results
from engine.report.run_config import changed_keys
from engine.report.tables import Cell, Column, data_size, duration, large, moment, text_table
from engine.run.directory import RunDir
from engine.store import EventRow, RunRow
from engine.tasks import TASKS, NetworkTask, learns_classes
from engine.typed import typed
from seg_tui.detail import Detail, Results

MOST_IMAGES = 1000
"""More images of an evaluation are not listed; `seg-engine images` lists them all."""

MOST_FILES = 500
"""More files of a run are not listed one by one."""


@dataclass(frozen=True)
class FileEntry:
    """A file of a run: its path within the run's folder, bytes, and UTC seconds of its last change."""

    path: str
    size: int
    changed: float


def page_of(detail: Detail, folder: Path, now: float) -> RunPage:
    """The detail as the command line's page of a run takes it."""
    files = Files(folder, None, (), (), None, detail.alive, detail.beat)
    return RunPage(
        detail.row,
        detail.epochs,
        detail.events,
        detail.evaluations,
        files,
        now,
        best_trials=detail.best_trials,
        reproduction=None if isinstance(detail.reproduction, str) else detail.reproduction,
        waits=detail.waits,
    )


def results_text(detail: Detail, found: Results, folder: Path, now: float, width: int) -> Text:
    """Evaluations, out-of-distribution scores, Dice on corrupted images and in other environments, or how to
    come by them."""
    page = replace(
        page_of(detail, folder, now),
        evaluations=found.evaluations,
        ood=found.ood,
        corruptions=found.corruptions,
        environments=found.environments,
        crf=found.crf,
        crf_trials=found.crf_trials,
        latencies=found.latencies,
    )
    told = results(page, width)
    if told is not None:
        return told
    if not learns_classes(detail.row.task, detail.row.classes):
        return Text("nothing has been measured yet", "dim")
    measuring = [task for task in TASKS if isinstance(task, NetworkTask) and task.measures]
    asked = [(f"{typed()} {task.usage_of(detail.row.id)}", task.measures) for task in measuring]
    longest = max(len(command) for command, _ in asked)
    lines = [f"{command:<{longest}}   {measures}" for command, measures in asked]
    if max(map(len, lines)) > width:
        lines = [f"{command}\n    {measures}" for command, measures in asked]
    return Text("\n".join(["this network has not been evaluated yet", *lines]), "dim")


def images_text(detail: Detail, width: int) -> Text:
    """The images that an evaluation has scored, the worst first."""
    if not detail.images:
        return Text("no image has been scored yet", "dim")
    count = len(detail.images)
    heading = Text.assemble(
        (counted(count, "image"), "bold"), ("  lowest Dice first; p shows the saved ones", "dim")
    )
    shown = images_table(detail.images[:MOST_IMAGES], None, width)
    rest = (
        [
            Text(
                f"…and {count - MOST_IMAGES} more: "
                f"`{typed('images', detail.row.id, '--limit', '0')}` lists all",
                "dim",
            )
        ]
        if count > MOST_IMAGES
        else []
    )
    return Text("\n", no_wrap=True, overflow="ellipsis").join([heading, shown, *rest])


# ---------------------------------------------------------------------- events

_STYLES = {
    "started": "bold",
    "warning": "yellow",
    "failed": "bold red",
    "stopped": "yellow",
    "finished": "green",
}


def events_text(events: Sequence[EventRow], width: int) -> Text:
    """What happened, attempt by attempt; of the checkpoints that replace each other only the last."""
    shown = _worth_showing(events)
    if not shown:
        return Text("no worker has reported anything yet", "dim")
    columns = [
        Column("time", [_clock(event.t) for event in shown], rank=1),
        Column("attempt", [str(event.attempt) for event in shown], right=True, rank=2),
        Column("event", [(event.event, _STYLES.get(event.event, "cyan")) for event in shown]),
        Column("what", [_told(event) for event in shown], least=20),
    ]
    return text_table(columns, width)


def _worth_showing(events: Sequence[EventRow]) -> list[EventRow]:
    def replaceable(event: EventRow) -> bool:
        return event.event == "checkpoint" and event.payload.get("kind") == "last"

    last = max((event.seq for event in events if replaceable(event)), default=-1)
    return [
        event
        for event in events
        if event.event not in ("epoch", "progress") and (not replaceable(event) or event.seq == last)
    ]


def _told(event: EventRow) -> Cell:
    """One event in words, on one line."""
    told = event.payload
    text = _WORDS[event.event](told) if event.event in _WORDS else ""
    return " ".join(text.split()), _STYLES.get(event.event, "") if event.event != "started" else ""


def _started(told: dict[str, Any]) -> str:
    resumed = told.get("resumed_from_epoch")
    after = f", resumes after epoch {resumed}" if resumed else ""
    device = told.get("device_name") or told.get("device")
    return f"process {told.get('pid')} on {told.get('host')}, {device}, {told.get('precision')}{after}"


def _compiled(told: dict[str, Any]) -> str:
    kept = "compiled" if told.get("kept") else "not compiled"
    what = "validation " if told.get("of") == "validation" else ""
    return f"{what}{kept}: {told.get('reason')}"


def _checkpoint(told: dict[str, Any]) -> str:
    dice = told.get("dice")
    scored = f", Dice {dice:.4f}" if dice is not None else ""
    return _of_epoch(str(told.get("kind")), told) + scored


def _speed(told: dict[str, Any]) -> str:
    achieved, ceiling = told.get("achieved_flops"), told.get("ceiling_flops")
    share = f" ({100 * achieved / ceiling:.0f} %)" if achieved and ceiling else ""
    flops = f"{large(achieved, 'FLOP/s')} of {large(ceiling, 'FLOP/s')}{share}"
    return f"{told.get('images_per_second', 0):.1f} images/s, {flops}"


def _data(told: dict[str, Any]) -> str:
    skipped = told.get("skipped")
    without = f", {len(skipped)} skipped" if skipped else ""
    counts = f"{told.get('train_images')} training and {told.get('val_images')} validation images"
    classes = counted(len(told.get("classes", ())), "class", "classes")
    return f"{counts}, {classes}, in {duration(told.get('seconds'))}{without}"


def _of_epoch(what: str, told: dict[str, Any]) -> str:
    return f"{what} of epoch {told.get('epoch')}"


_WORDS: dict[str, Any] = {
    "started": _started,
    "data": _data,
    "model": lambda told: (
        f"{told.get('name')}, {told.get('parameters', 0):,} parameters, "
        f"{large(told.get('flops_per_sample'), 'FLOP')} a sample"
    ),
    "compiled": _compiled,
    "speed": _speed,
    "checkpoint": _checkpoint,
    "gallery": lambda told: _of_epoch(counted(len(told.get("samples", ())), "prediction"), told),
    "timing": lambda told: _of_epoch(counted(told.get("measurements", 0), "measurement"), told),
    "result": lambda told: (
        f"{told.get('split')} at {told.get('at')} size, epoch {told.get('epoch')}, "
        f"{counted(told['images'], 'image') if 'images' in told else '? images'}"
    ),
    "warning": lambda told: str(told.get("message", "")),
    "finished": lambda told: f"epoch {told.get('epoch')}, {duration(told.get('seconds'))}",
    "failed": lambda told: f"{told.get('cause')}: {told.get('message')}",
    "stopped": lambda told: f"{told.get('cause')}, after epoch {told.get('epoch')}",
}


# ---------------------------------------------------------------------- config and files


def config_text(row: RunRow, width: int) -> Text:
    """Every key, with a mark and the recipe's value where the run has another."""
    changed = changed_keys(row)
    own = flat_config(row.stored_config)
    about = config_keys()
    usual = f"recipe {row.recipe}" if row.recipe else "default"
    columns = [
        Column("", [("●", "bold yellow") if key in changed else "" for key in own]),
        Column("key", [(key, "bold yellow") if key in changed else key for key in own]),
        Column(
            "value",
            [_unit(value, about[key].unit if key in about else "") for key, value in own.items()],
            least=8,
        ),
        Column(usual, [(changed[key][1] or '""', "dim") if key in changed else "" for key in own], least=6),
        Column("", [(about[key].help if key in about else "", "dim") for key in own], rank=1, least=24),
    ]
    differ = counted(len(changed), "key differs", "keys differ")
    told = f"{differ} from the {usual}" if changed else f"all keys are as in the {usual}"
    return Text("\n", no_wrap=True, overflow="ellipsis").join(
        [Text(told, "bold"), text_table(columns, width)]
    )


def _unit(value: str, unit: str) -> str:
    return f"{value} {unit}".rstrip() if value else '""'


def list_files(run: RunDir) -> tuple[FileEntry, ...]:
    """The files in the run's folder, at most MOST_FILES, as they are found; none where it is not here."""
    found: list[FileEntry] = []
    for path in sorted(run.path.rglob("*")):
        if len(found) == MOST_FILES:
            break
        try:
            status = path.stat()
        except OSError:
            continue  # a temporary file that has just got its name
        if path.is_file():
            found.append(FileEntry(str(path.relative_to(run.path)), status.st_size, status.st_mtime))
    return tuple(found)


def files_text(folder: Path, files: Sequence[FileEntry], width: int) -> Text:
    heading = Text(str(folder), "bold", no_wrap=True, overflow="fold")
    if not files:
        return Text("\n").join([heading, Text("not on this machine", "dim")])
    columns = [
        Column("file", [entry.path for entry in files], least=20),
        Column("size", [data_size(entry.size) for entry in files], right=True),
        Column("changed", [_clock(entry.changed) for entry in files], rank=1),
    ]
    size, count = data_size(sum(entry.size for entry in files)), counted(len(files), "file")
    told = f"{size} in {count}"
    if len(files) == MOST_FILES:
        told = f"{size} in the first {count}; others are not listed"
    return Text("\n").join([heading, Text(told, "dim"), text_table(columns, width)])


def _clock(seconds: float) -> str:
    return moment(seconds, "%m-%d %H:%M:%S")
