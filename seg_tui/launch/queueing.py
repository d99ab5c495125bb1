"""What the form asks in threads: is the data there, what will a run take, queue it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.classes import ClassSet
from engine.config.priority import MOST_PRIORITY
from engine.config.run_config import RunConfig
from engine.config.run_defaults import NO_DEFAULTS, RunDefaults, load_run_defaults
from engine.data.catalog import DataError, scan, scan_images
from engine.data.lessons import refuse_one_class
from engine.plugins import with_loaded
from engine.report.tables import data_size, duration
from engine.requests.configs import check_runnable, check_steps, default_name, with_data_root
from engine.requests.queueing import Place, enqueue
from engine.requests.rerunning import config_again, tags_again
from engine.run.directory import RunCard, new_run_id
from engine.run.files import expanded
from engine.store import RunRow, RunSummary, Store, StoreError
from engine.store.variant import variant_of
from engine.visible import one_line
from engine.workspace import Workspace
from seg_tui.launch.draft import Card, Draft
from seg_tui.live import Snapshot
from seg_tui.stores import SharedStore


@dataclass(frozen=True)
class DataLook:
    """What a folder has: a line, and whether a run can use it."""

    line: str
    usable: bool


def look_at_data(
    folder: str,
    layout: str = "auto",
    classes: str | ClassSet = "auto",
    skip_bad: bool = False,
    labels: bool = True,
    hold_out: Sequence[str] = (),
) -> DataLook:
    """Find the pairs below a folder, or without `labels` its images; no image is opened, so that it takes a
    moment only. Faults count as the run would take them: with `skip_bad` it goes on without."""
    if not folder.strip():
        return DataLook("The data set's folder: as it is downloaded, or images/ and labels/.", False)
    try:
        root = expanded(Path(folder.strip()))
        catalog = scan(root, layout, classes, hold_out) if labels else scan_images(root, layout)
        if labels:
            refuse_one_class(catalog.class_set, root)
    except DataError as error:
        return DataLook(str(error), False)
    except OSError as error:
        return DataLook(f"{error.filename or folder}: {error.strerror or error}", False)
    line = ", ".join(f"{len(samples)} {name}" for name, samples in catalog.splits.items()) + " images"
    line += f" · {len(catalog.class_set)} classes ({catalog.class_set.name})" if labels else ""
    if catalog.notes:
        more = f" (and {len(catalog.notes) - 1} more notes)" if len(catalog.notes) > 1 else ""
        line += f" · {catalog.notes[0]}{more}"
    if not catalog.faults:
        return DataLook(line, True)
    counts = Counter(fault.kind.replace("_", " ") for fault in catalog.faults)
    line += " · " + ", ".join(f"{count} {fault}" for fault, count in counts.most_common())
    line += f"; first {catalog.faults[0].path}: {catalog.faults[0].problem}"
    return DataLook(line if skip_bad else f"{line}; data.skip_bad=true leaves them out", skip_bad)


Look = Callable[[str], DataLook]
"""Says what a folder has."""


def looker(draft: Draft) -> Look:
    """`look_at_data` as the draft is now: with its layout, its class set and its care for faults."""
    config, typed, own_folder = draft.check().config, draft.text("data.classes"), draft.data
    layout, skip_bad, labels = (
        draft.text("data.layout"),
        draft.text("data.skip_bad") == "true",
        draft.base.needs_labels,
    )

    hold_out = [name for text in draft.text("data.hold_out").split(",") if (name := text.strip())]

    def look(folder: str) -> DataLook:
        # A class set that came with the data of another run says nothing of other folders.
        keeps = config is not None and (typed != "auto" or folder == own_folder)
        classes = config.data.known_classes if config is not None and keeps else typed
        return look_at_data(folder, layout, classes, skip_bad, labels, hold_out)

    return look


def estimate(store: Store, snapshot: Snapshot, config: RunConfig) -> str:
    """Time and memory that an earlier run makes likely, and which run; "" when none is alike.

    A run of the same variant is best; else the newest finished one with the same task, model, image size and
    batch size, whose time counts only when it saw the same data. Raises StoreError.
    """
    variant = variant_of(with_loaded(config).model_dump(mode="json"))
    same = [run for run in snapshot.runs.values() if run.variant == variant and run.status == "finished"]
    if same:
        row = store.run(max(same, key=lambda run: run.created_at).id)
        return _taken(store, row, config, "the same config")
    height, width = config.data.size
    alike = store.runs(
        [
            "status=finished",
            f"task={config.task}",
            f"model.name={config.model.name}",
            f"data.size={height}x{width}",
            f"augment.crop={config.augment.crop}",
            f"batch_size={config.batch_size}",
        ],
        limit=20,
    )
    model = config.model.model_dump(mode="json")
    row_alike = next((row for row in alike if row.config.get("model") == model), None)
    return "" if row_alike is None else _taken(store, row_alike, config, "the same model and sizes")


def _taken(store: Store, row: RunRow, config: RunConfig, how: str) -> str:
    """What a run took, made to fit the length of another."""
    parts = []
    known = store.results.epochs(row.id)
    epochs = {epoch.epoch for epoch in known}
    if epochs and row.task != "imported" and row.config.get("data", {}).get("root") == config.data.root:
        each = sum(epoch.seconds or 0.0 for epoch in known) / len(epochs)
        parts.append(f"about {_whole_time(config, each, row.train_images)} ({duration(each)} an epoch)")
    if row.peak_memory_bytes:
        parts.append(f"{data_size(row.peak_memory_bytes)} of memory")
    if not parts:
        return ""
    device = row.device_name or row.device
    return f"{', '.join(parts)}, estimated from {row.name} ({row.id}, {how}) on {device}"


def _whole_time(config: RunConfig, epoch_seconds: float, images: int | None) -> str:
    """What a run takes if an epoch of `images` images takes so long."""
    if config.budget.hours:
        return duration(3600 * config.budget.hours)
    epochs = config.budget.images / images if config.budget.images and images else config.epochs
    return duration(epoch_seconds * epochs)


def queue_run(
    workspace: Workspace, store: Store, config: RunConfig, card: Card, first: bool, now: float | None = None
) -> list[RunCard]:
    """Queue a run, `first` before all others that wait, and see to an agent; returns the cards of what was
    queued in the order in which it starts: a pre-training run that the config wants comes before its own.

    Raises ConfigError, Refused, StoreError or OSError: then nothing was queued.
    """
    from engine.agent.presence import ensure_agent

    config = with_data_root(config)
    check_runnable(config)
    check_steps(config)
    priority = int(card.priority)
    if first:
        waiting = [row.priority for row in store.queue.waiting()]
        priority = min(max([priority, *(other + 1 for other in waiting)]), MOST_PRIORITY)
    run = RunCard(
        id=new_run_id(),
        name=card.name.strip() or default_name(config),
        experiment=card.experiment.strip() or load_run_defaults(workspace.root).experiment,
        created=time.time() if now is None else now,
        tags=card.words(),
        note=card.note.strip(),
    )
    queued = enqueue(workspace, store, run, config, Place(priority, card.after.strip()))
    # It is in the queue now, whatever comes: the dashboard says that it waits for an agent.
    with contextlib.suppress(OSError):
        ensure_agent(workspace)
    return queued


@dataclass(frozen=True)
class Origin:
    """What a form begins with: the config and the card of a run to be like, else a data folder;
    `defaults` are those of the workspace."""

    config: RunConfig | None = None
    card: Card = field(default_factory=Card)
    data: str = ""
    defaults: RunDefaults = NO_DEFAULTS


def read_origin(
    workspace: Workspace, stores: SharedStore, like: str | None, newest: RunSummary | None
) -> Origin:
    """Of the run `like`, as it was queued; without one the workspace's defaults, and the data folder of the
    `newest` run where they name none.

    Raises SettingsError; of the run `like` StoreError, and RunDirError when this version cannot read its
    config.
    """
    defaults = load_run_defaults(workspace.root)
    if like is None:
        root = defaults.data
        if not root and newest is not None:
            # It only saves typing; what ails the database is told elsewhere.
            with contextlib.suppress(StoreError, OSError):
                root = str(stores.get().run(newest.id).config.get("data", {}).get("root", ""))
        return Origin(data=root, defaults=defaults)
    row = stores.get().run(like)
    config = config_again(workspace.run_dir(row.id))
    tags = " ".join(tags_again(row.tags, row.trial))
    card = Card(name=one_line(row.name), experiment=one_line(row.experiment), tags=tags)
    return Origin(config, card, config.data.root, defaults)
