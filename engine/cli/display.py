"""What a run in the foreground shows: a live bar on a terminal, plain lines elsewhere, JSON for programs."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import Protocol, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.cli.console import Stream, notices, output, print_json, silent_without_reader
from engine.config.described import format_value
from engine.config.run_config import RunConfig
from engine.report.crf import crf_text, trials_table
from engine.report.detection import corruption_table, ood_text
from engine.report.environments import environment_text
from engine.report.evaluation import evaluation_text, metrics_text
from engine.report.latency import latency_text
from engine.report.tables import class_table, duration, score
from engine.run.directory import RunDir
from engine.run.events import (
    AnyEvent,
    Averaged,
    Data,
    Epoch,
    Model,
    Progress,
    Started,
    Taught,
    WarmStart,
    Warned,
)
from engine.run.scoring_events import Detecting, Evaluating, Predicting
from engine.store import RunRow, Store
from engine.tasks import TASKS
from engine.typed import typed
from engine.visible import block

HEADER = "    epoch  loss train      val  Dice train      val     mIoU    img/s    time"


class Display(Protocol):
    """Shows a run while it lasts."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, events: list[AnyEvent]) -> None:
        """New events, in order; called about five times a second, also without any."""

    def interrupted(self, times: int) -> None:
        """Ctrl-C was pressed for the `times`-th time. Called from a signal handler."""

    def ended(self, row: RunRow, store: Store, run: RunDir) -> None:
        """The run is over."""


class UntilNobodyReads:
    """A display that falls silent when its reader, such as `head`, has seen enough: its run goes on, and the
    end is still to be recorded and told."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def __enter__(self) -> Self:
        with silent_without_reader():
            self._display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with silent_without_reader():
            self._display.__exit__(kind, value, trace)

    def show(self, events: list[AnyEvent]) -> None:
        with silent_without_reader():
            self._display.show(events)

    def interrupted(self, times: int) -> None:
        with silent_without_reader():
            self._display.interrupted(times)

    def ended(self, row: RunRow, store: Store, run: RunDir) -> None:
        with silent_without_reader():
            self._display.ended(row, store, run)


class EpochLines:
    """Turns events into one line an epoch, with a mark at each new best.

    That is the highest validation Dice or, where there are no classes, the lowest validation loss.
    """

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self.best: Epoch | None = None
        self._train: Epoch | None = None

    def line(self, event: Epoch) -> str | None:
        """The line of an epoch, once its last split has come."""
        if event.split == "train":
            self._train = event
            return None if self._is_scored(event) else self._format(event, None)
        best = _better(event, self.best)
        if best:
            self.best = event
        return self._format(self._train, event) + (" *" if best else "")

    def _is_scored(self, event: Epoch) -> bool:
        last = event.epoch == self._config.epochs if event.budget_used is None else event.budget_used == 1
        return last or event.epoch % self._config.validation.every == 0

    @property
    def standing(self) -> str:
        """The best so far, "" before there is one."""
        if self.best is None:
            return ""
        if self.best.dice is not None:
            return f"best Dice {self.best.dice:.4f} @ {self.best.epoch}"
        return f"lowest loss {score(self.best.loss)} @ {self.best.epoch}"

    def _format(self, train: Epoch | None, val: Epoch | None) -> str:
        shown = val or train
        assert shown is not None
        seconds = sum(event.seconds or 0.0 for event in (train, val) if event is not None)
        losses = f"{_number(train, 'loss', 10)} {_number(val, 'loss', 8)}"
        dices = f"{_number(train, 'dice', 10)} {_number(val, 'dice', 8)}"
        rate = (train.images_per_second if train is not None else None) or 0.0
        return (
            f"{of_run(self._config, shown):<9}  {losses}  {dices}  {_number(val, 'miou', 7)}  "
            f"{rate:>7.1f}  {duration(seconds):>6}"
        )


class PlainDisplay:
    """One line an epoch and for what else a person should know."""

    def __init__(self, row: RunRow, config: RunConfig, stream: Stream = output) -> None:
        self._row, self._config, self._stream = row, config, stream
        self._lines, self._task = EpochLines(config), TASKS[config.task]

    def __enter__(self) -> Self:
        self._say(f"run {self._row.id}  {self._row.name}  (experiment {self._row.experiment})")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def show(self, events: list[AnyEvent]) -> None:
        for event in events:
            match event:
                case Started():
                    after = f" after epoch {event.resumed_from_epoch}" if self._task.learns else ""
                    again = f", resumed{after}" if event.attempt > 1 else ""
                    self._say(
                        f"worker {event.pid} on {event.device_name} ({event.device}), {event.precision}, "
                        f"{event.threads} thread{'' if event.threads == 1 else 's'}{again}"
                    )
                case Data():
                    crops = self._config.augment.crop_size
                    told = (
                        f", training on crops of {format_value(crops)}" if crops and self._task.learns else ""
                    )
                    self._say(
                        f"{event.train_images} training and {event.val_images} validation images at "
                        f"{format_value(self._config.data.size)}, {len(event.classes) or 'no'} classes{told}"
                    )
                case Model():
                    self._say(
                        f"{event.name}: {event.parameters:,} parameters, "
                        f"{event.flops_per_sample / 1e9:.2f} GFLOPs a sample"
                    )
                    if self._task.learns:
                        self._say(HEADER)
                case Evaluating():
                    kept = f", {event.done} of them already scored" if event.done else ""
                    self._say(
                        f"checkpoint of epoch {event.epoch} of {event.source}: {event.images} images of "
                        f"{event.split} at the {event.at} size{kept}"
                    )
                case Predicting():
                    kept = f", {event.done} of them already predicted" if event.done else ""
                    self._say(
                        f"checkpoint of epoch {event.epoch} of {event.source}: {event.images} "
                        f"{'image' if event.images == 1 else 'images'}{kept}"
                    )
                case Detecting():
                    self._say(
                        f"checkpoint of epoch {event.epoch} of {event.source}: {event.cases} images, "
                        f"{event.masked} with masks; fitted on {event.training}, thresholds from "
                        f"{event.calibrating} that training held out"
                    )
                case Epoch():
                    line = self._lines.line(event)
                    if line:
                        self._say(line)
                case WarmStart():
                    self._say(event.told)
                case Averaged():
                    for source in event.sources:
                        self._say(f"averaged: {source.told}")
                case Taught():
                    self._say(f"taught by {event.told}")
                case Warned() if not notices.has_noted(event.message):
                    self._say(f"warning: {event.message}")

    def interrupted(self, times: int) -> None:
        # A console takes a lock that the interrupted code may hold; a bare write does not.
        line = (
            f"stopping after this {self._task.stops_after}; Ctrl-C again kills the run\n"
            if times == 1
            else "killing the run\n"
        )
        sys.stderr.write(line)

    def ended(self, row: RunRow, store: Store, run: RunDir) -> None:
        print_end(row, store, run, self._stream)

    def _say(self, line: str) -> None:
        self._stream.say(line)


class LiveDisplay(PlainDisplay):
    """The same lines, above a bar that says where the run is now."""

    def __init__(self, row: RunRow, config: RunConfig) -> None:
        super().__init__(row, config)
        self._now: Progress | None = None
        self._hint = ""
        self._live = Live(self._render(), console=output, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        super().__enter__()
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, events: list[AnyEvent]) -> None:
        super().show(events)
        for event in events:
            if isinstance(event, Progress):
                self._now = event
        self._live.update(self._render())

    def interrupted(self, times: int) -> None:
        step = self._task.stops_after.partition(",")[0]
        self._hint = f"stopping after this {step} (Ctrl-C again kills)" if times == 1 else "killing"

    def _render(self) -> Text | Table:
        if self._now is None:
            return Text(self._hint or "waiting for the worker to import torch", style="dim")
        now = self._now
        bar = ProgressBar(total=now.steps, completed=now.step, width=24)
        parts = [f"epoch {of_run(self._config, now).strip()}"] if now.epoch else []
        parts.append(f"{_doing(now.phase)} {now.step}/{now.steps}")
        tail = []
        if now.images_per_second is not None:
            tail.append(f"{now.images_per_second:.1f} img/s")
        if now.eta_seconds is not None:
            tail.append(f"{duration(now.eta_seconds)} left")
        if self._lines.standing:
            tail.append(self._lines.standing)
        if self._hint:
            tail = [self._hint]
        grid = Table.grid(padding=(0, 1))
        grid.add_row(Text("  ".join(parts)), bar, Text("  ".join(tail)))
        return grid


class JsonDisplay:
    """One JSON object a line: the run, then its events as in the journal, then its end."""

    def __init__(self, row: RunRow) -> None:
        self._row = row

    def __enter__(self) -> Self:
        self._write({"event": "created", "run": self._row.id, "name": self._row.name})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def show(self, events: list[AnyEvent]) -> None:
        for event in events:
            print_json(json.loads(event.model_dump_json()), indent=None)

    def interrupted(self, times: int) -> None:
        return

    def ended(self, row: RunRow, store: Store, run: RunDir) -> None:
        self._write(
            {
                "event": "ended",
                "run": row.id,
                "status": row.status,
                "cause": row.cause,
                "message": row.message,
                "best_dice": row.best_dice,
                "best_val_loss": row.best_val_loss,
                "best_epoch": row.best_epoch,
                "path": str(run.path),
            }
        )

    def _write(self, value: dict[str, object]) -> None:
        print_json(value, indent=None)


def print_end(row: RunRow, store: Store, run: RunDir, stream: Stream) -> None:
    """How the run ended, its per-class table, where its files are and what to type next."""
    if row.status == "finished":
        task = TASKS[row.task]
        for scored in store.results.evaluations(row.id) if task.evaluates else ():
            stream.say()
            stream.say(evaluation_text(scored, row.colors))
            if measured := store.results.metrics(row.id):
                stream.say()
                stream.say(metrics_text(measured))
            stream.say(f"images:  {typed('images', row.id)}")
        for best in (
            scored for scored in store.results.epochs(row.id, "val") if scored.epoch == row.best_epoch
        ):
            if best.dice is None:
                stream.say(f"\nlowest validation loss {score(best.loss, digits=5)} at epoch {best.epoch}")
                continue
            stream.say(f"\nbest validation Dice {best.dice:.5f} at epoch {best.epoch}, by class:")
            stream.say(class_table(best.class_dice, best.class_iou, row.colors))
        if row.source and (detected := store.results.ood_results(row.id)):
            stream.say()
            stream.say(ood_text(detected))
        if row.source and (corrupted := store.results.corruptions(row.id)):
            stream.say("\nDice by corruption and strength:")
            stream.say(corruption_table(corrupted))
        if row.source and (environments := store.results.environments(row.id)):
            stream.say()
            stream.say(environment_text(environments))
        if row.source and (refined := store.results.crf_results(row.id)):
            stream.say()
            stream.say(crf_text(refined, row.colors))
        if row.source and (trials := store.results.crf_trials(row.id)):
            stream.say()
            stream.say(trials_table(trials, most=12))
            stream.say(f"evaluate with the best: {typed('evaluate', row.source, '--crf')}")
        if row.source and not task.evaluates and (timed := store.results.latencies(row.id)):
            stream.say()
            stream.say(latency_text(timed))
        for what, path in task.files(row, run.path).items():
            stream.say(f"{what + ':':<8} {path}")
        picture = run.outputs / "picture.png"
        if picture.exists():
            stream.say(f"picture: {picture}")
        stream.say(f"files:   {run.path}")
        stream.say(f"next:    {typed('show', row.id)}")
    elif row.cause == "preempted":
        stream.say(f"{row.id} preempted after {row.epoch} complete epochs; its checkpoint is saved")
    elif row.status == "stopped":
        stream.say(f"{row.id} stopped after {TASKS[row.task].stopped_at(row)}")
        stream.say(f"next:    {typed('resume', row.id)}")
    else:
        notices.say(Text(f"{row.id} {row.status} ({row.cause}): {block(row.message)}"))
        notices.say(f"next:    {typed('show', row.id)}    log: {run.log}")


_DOING = {"cache": "reading images", "fit": "fitting"}


def of_run(config: RunConfig, event: Epoch | Progress) -> str:
    """The number of an epoch, of how many or with the share of the budget: "  12/60", "  12  40%"."""
    if not config.budget.is_given:
        return f"{event.epoch:>4}/{config.epochs}"
    return f"{event.epoch:>4}" + ("" if event.budget_used is None else f"{event.budget_used:>5.0%}")


def _doing(phase: str) -> str:
    """What a progress event tells of: a step of any task, or that which a task is for."""
    return _DOING.get(phase) or (TASKS[phase].doing if phase in TASKS else "scoring")


def _better(event: Epoch, best: Epoch | None) -> bool:
    if not event.class_dice:
        return event.loss is not None and (best is None or best.loss is None or event.loss < best.loss)
    return event.dice is not None and (best is None or best.dice is None or event.dice > best.dice)


def _number(event: Epoch | None, field: str, width: int) -> str:
    value = getattr(event, field, None)
    return f"{'-':>{width}}" if value is None else f"{score(value):>{width}}"
