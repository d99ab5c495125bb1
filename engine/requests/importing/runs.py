"""Making runs of records: which metric is which score, a run folder with a journal, a row of the database.

A run's id follows from where its records lie, so importing the same records again finds the run.
"""

from __future__ import annotations

import colorsys
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from engine.agent.ingest import refresh
from engine.config.described import config_keys
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.config.stored import flat_values
from engine.host.input_files import is_text, shown
from engine.requests.importing.records import Records, RecordsError
from engine.requests.refusals import Refused
from engine.run.bounds import MOST_EPOCHS
from engine.run.directory import ID_ALPHABET, ID_LENGTH, RunCard, RunDir
from engine.run.event import Split
from engine.run.events import AnyEvent, Epoch, Failed, Finished, ImportedFrom, Stopped
from engine.run.journal import JournalError, read_all
from engine.run.scoring_events import Result
from engine.store import Store
from engine.tasks.imported import Imported
from engine.typed import typed
from engine.visible import one_line
from engine.workspace import Workspace

SPLITS: tuple[Split, ...] = ("train", "val", "test")
SCORES = ("dice", "miou", "loss", "dice_image", "pixel_accuracy")
OTHERS = ("lr", "seconds", "images_per_second", "data_wait", "peak_memory_bytes", "joules")
NAMES = tuple(f"{name}/{split}" for split in SPLITS for name in (*SCORES, *OTHERS))
"""What a metric can be taken as: a score or another number of an epoch, and the split."""

_CLASS = re.compile(r"class_(dice|iou)/(train|val|test)/(.+)", re.DOTALL)
_WORDS = {"miou": ("miou", "mean_iou", "iou"), "pixel_accuracy": ("pixel_accuracy", "accuracy", "acc")}
_SPLIT_WORDS = {"val": ("val", "valid", "validation", "eval"), "train": ("train", "training")}
_SHARES = ("dice", "miou", "dice_image", "pixel_accuracy")


def taken_as(records: Records, chosen: Mapping[str, str]) -> dict[str, str]:
    """Which metric of the records stands for each of NAMES: those that are `chosen`, and those whose name
    says it. Raises RecordsError, which lists what there is, for one that is missing and where no score is
    known."""
    there = ", ".join(sorted(records.points)) or "none"
    for name, metric in chosen.items():
        if metric not in records.points:
            raise RecordsError(f"{records.name}: has no metric {metric} for {name}; it has: {there}")
    found = {name: metric for name in NAMES if (metric := _guess(name, records.points))}
    if "lr/train" not in found and "lr" in records.points:
        found["lr/train"] = "lr"
    found |= chosen
    if not any(f"{score}/{split}" in found for score in SCORES for split in SPLITS):
        raise RecordsError(
            f"{records.name}: no metric is known as a score; say which one is with --dice NAME or "
            f"--metric loss/val=NAME; it has: {there}"
        )
    return found


def _guess(name: str, metrics: Iterable[str]) -> str:
    score, _, split = name.partition("/")
    likely = [
        f"{first}{between}{second}"
        for word in _WORDS.get(score, (score,))
        for part in _SPLIT_WORDS.get(split, (split,))
        for first, second in ((word, part), (part, word))
        for between in "/_.-"
    ]
    by_name = {metric.lower(): metric for metric in metrics}
    return next((by_name[each] for each in likely if each in by_name), "")


def import_records(
    workspace: Workspace,
    store: Store,
    program: str,
    records: Records,
    chosen: Mapping[str, str],
    experiment: str,
) -> tuple[str, str]:
    """Make a run; returns its id, and what was done. Raises RecordsError, Refused, RunDirError for words that
    no run can be called, and StoreError."""
    if not is_text(records.source):
        told = "its name is not valid UTF-8, which databases need"
        raise RecordsError(f"{shown(records.source)}: {told}")
    names = taken_as(records, chosen)
    results, kept_out = _results(records)
    run = workspace.run_dir(_id_of(program, records))
    config, dropped = _config_of(program, records)
    events = _stamped(list(_events(program, records, names, config, results)))
    if run.path.exists():
        lacking = _evaluations_lacking(run, events, records.are_timed)
        if lacking is None:
            told = "has changed since it was imported"
            raise Refused([f"{run.id}: {records.name} {told}; `{typed('delete', run.id)}` first"])
        store.journals.import_run(run)
        how = f"without its evaluations; `{typed('delete', run.id)}` and import again to take {lacking}"
        return run.id, f"already here, {how}" if lacking else "already here"
    unknown = ", ".join(config.imported.unknown) if config.imported is not None else ""
    card = RunCard(
        id=run.id,
        name=one_line(records.name).strip()[:600] or run.id,
        experiment=experiment or one_line(records.experiment).strip() or "imported",
        created=events[0].t,
        note=f"imported from {program}: {records.source}; not known: {unknown}",
        queued_for=0,
    )
    files = {  # with the folder, as one without a journal would count as records that have changed
        run.config_file.name: config.model_dump_json(indent=2, exclude_unset=True).encode() + b"\n",
        run.journal.name: "".join(event.model_dump_json() + "\n" for event in events).encode(),
    }
    run.create(card, config, files)
    store.journals.import_run(run, queued=False)
    refresh(store, [run])
    taken = {*names.values(), *filter(_CLASS.fullmatch, records.points)}
    left = sorted(set(records.points) - taken)
    words = [f"left out: {', '.join(left)}"] if left else []
    words += [f"evaluations, without classes: {len(results)}"] if results else []
    words += [f"older evaluations of the same split, size and epoch left out: {kept_out}"] if kept_out else []
    words += [f"config keys left out: {', '.join(dropped)}"] if dropped else []
    return run.id, "; ".join(["imported", *words])


def _evaluations_lacking(run: RunDir, events: Sequence[AnyEvent], are_timed: bool) -> int | None:
    """How many evaluations a run lacks whose records have been imported before: all or none, as earlier
    versions took none, and they may have come later. None where anything else has changed."""
    try:
        here = _contents(read_all(run.journal), are_timed)
    except JournalError:
        return None
    without = [event for event in events if not isinstance(event, Result)]
    if here == _contents(events, are_timed):
        return 0
    return len(events) - len(without) if here == _contents(without, are_timed) else None


def _contents(events: Iterable[AnyEvent], are_timed: bool) -> list[str]:
    """What events say, whatever their numbers, and with the defaults of fields that their version lacked.
    Times that the records do not have say nothing."""
    same: dict[str, Any] = {"seq": 0} if are_timed else {"seq": 0, "t": 0.0}
    return [event.model_copy(update=same).model_dump_json() for event in events]


def _id_of(program: str, records: Records) -> str:
    number = int.from_bytes(hashlib.sha256(f"{program}\0{records.source}".encode()).digest()[:8], "big")
    letters = []
    for _ in range(ID_LENGTH):
        number, place = divmod(number, len(ID_ALPHABET))
        letters.append(ID_ALPHABET[place])
    return "".join(letters)


def _config_of(program: str, records: Records) -> tuple[RunConfig, list[str]]:
    """What the records tell of the config in keys of this program, and the keys that were left out."""
    known = {key: value for key, value in records.config.items() if key in config_keys() and key != "task"}
    # The task, and sections of other tasks, are no keys that anybody would miss.
    dropped = [key for key in records.config if key not in known and key not in RunConfig.model_fields]
    config = RunConfig()
    try:
        config = with_values(config, known)
    except ConfigError:
        dropped = list(records.config)
    unknown = ["checkpoints", "images", "device"]
    unknown += ["config"] if not known or len(dropped) == len(records.config) else []
    unknown += [] if records.end else ["how it ended"]
    about = {"program": program, "source": records.source, "unknown": tuple(unknown)}
    table: dict[str, Any] = {"task": Imported.name, "imported": about}
    values = flat_values(config.model_dump(mode="json"))
    for key in known if "config" not in unknown else ():
        section, _, leaf = key.rpartition(".")
        place = table
        for part in section.split(".") if section else ():
            place = place.setdefault(part, {})
        place[leaf] = values[key]
    return RunConfig.of_stored(table), sorted(dropped)


def _events(
    program: str, records: Records, names: Mapping[str, str], config: RunConfig, results: Sequence[Result]
) -> Iterator[AnyEvent]:
    rows = [row for split in SPLITS for row in _epochs(records, names, split)]
    rows.sort(key=lambda row: (row.epoch, SPLITS.index(row.split)))
    if not rows:
        raise RecordsError(f"{records.name}: has no epoch")
    classes = list(dict.fromkeys(name for row in rows for name in row.class_dice))
    about = config.imported
    yield ImportedFrom(
        program=program,
        source=records.source[:600],
        unknown=list(about.unknown) if about is not None else [],
        classes=classes[:255],
        colors=[_color(place, len(classes)) for place in range(len(classes[:255]))],
        t=rows[0].t,
    )
    yield from rows
    yield from results
    last, seconds = rows[-1].epoch, max(0.0, rows[-1].t - rows[0].t)
    if records.end == "failed":
        yield Failed(cause="exception", message=f"{program} has it as failed", t=rows[-1].t)
    elif records.end == "stopped":
        yield Stopped(cause="stopped", epoch=last, t=rows[-1].t)
    else:
        yield Finished(epoch=last, seconds=seconds, t=rows[-1].t)


def _epochs(records: Records, names: Mapping[str, str], split: Split) -> Iterator[Epoch]:
    """The epochs of a split: the steps at which it has a score."""
    points = {
        name: records.points[names[f"{name}/{split}"]]
        for name in (*SCORES, *OTHERS)
        if f"{name}/{split}" in names
    }
    by_class: dict[str, dict[str, dict[int, tuple[float, float]]]] = {"dice": {}, "iou": {}}
    for metric, values in records.points.items():
        if (found := _CLASS.fullmatch(metric)) and found[2] == split:
            by_class[found[1]][found[3]] = values
    scored = [points[name] for name in SCORES if name in points]
    for step in sorted({step for values in scored for step in values}):
        if not 0 <= step <= MOST_EPOCHS:
            raise RecordsError(
                f"{records.name}: step {step} is no epoch; it must be from 0 to {MOST_EPOCHS:,}"
            )
        told: dict[str, Any] = {name: values[step][1] for name, values in points.items() if step in values}
        for name in _SHARES:
            if not -1e-6 <= told.get(name, 0.0) <= 1 + 1e-6:
                metric = names[f"{name}/{split}"]
                raise RecordsError(
                    f"{records.name}: {metric} is {told[name]:g} at step {step}; a score must be from 0 to 1"
                )
        if "peak_memory_bytes" in told:
            told["peak_memory_bytes"] = int(told["peak_memory_bytes"])
        for kind, of in by_class.items():
            known = {name: values[step][1] if step in values else None for name, values in of.items()}
            told[f"class_{kind}"] = known
        told |= {"epoch": step, "split": split}
        told["t"] = next(values[step][0] for values in scored if step in values)
        try:
            yield Epoch.model_validate(dict.fromkeys((*SCORES, *OTHERS)) | told)
        except ValidationError as error:
            at = f"{split} at step {step}"
            raise RecordsError(f"{records.name}: {at} cannot be taken: {_first_of(error)}") from error


_OF_RESULT = frozenset(Result.model_fields) - {"event", "seq", "attempt"}


def _results(records: Records) -> tuple[list[Result], int]:
    """The evaluations, oldest first, and how many were left out: a run has one of each split, size and epoch,
    which is the newest. Tables have no scores by class and no confusion matrix of them."""
    found: dict[tuple[str, str, int], Result] = {}
    for line in records.evaluations:
        values = {name: value for name, value in line.items() if name in _OF_RESULT and value}
        nothing: dict[str, Any] = dict.fromkeys(_SHARES)
        nothing |= {"class_dice": {}, "class_iou": {}, "confusion": []}
        try:
            result = Result.model_validate(nothing | values)
        except ValidationError as error:
            told = f"an evaluation cannot be read: {_first_of(error)}"
            raise RecordsError(f"{records.name}: {told}") from error
        place = (result.split, result.at, result.epoch)
        if place not in found or found[place].t <= result.t:
            found[place] = result
    return sorted(found.values(), key=lambda result: result.t), len(records.evaluations) - len(found)


def _first_of(error: ValidationError) -> str:
    """The first value that an event cannot have, and why."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _stamped(events: list[AnyEvent]) -> list[AnyEvent]:
    return [event.model_copy(update={"seq": seq, "attempt": 1}) for seq, event in enumerate(events)]


def _color(place: int, count: int) -> str:
    red, green, blue = colorsys.hsv_to_rgb(place / max(count, 1), 0.6, 0.85)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def check_names(given: Iterable[str]) -> dict[str, str]:
    """What `--metric NAME=METRIC` says. Raises ConfigError."""
    chosen = {}
    for text in given:
        name, equals, metric = text.partition("=")
        if not equals or not metric or name not in NAMES:
            raise ConfigError(
                [f"--metric {text}: must be WHAT=NAME, WHAT one of {', '.join(NAMES[:5])} and so on"]
            )
        chosen[name] = metric
    return chosen
