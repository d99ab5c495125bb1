"""What a run ran on and what it cost: the lines of its page that are no results."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from engine.report.costs import told_cost
from engine.report.lines import as_lines
from engine.report.tables import data_size, duration, large, moment
from engine.run.events import Averaged, Taught, WarmStart
from engine.store import EpochRow, EventRow, RunRow


def facts(row: RunRow, epochs: Sequence[EpochRow], events: Sequence[EventRow], now: float) -> Text:
    """What a run is, what it ran on and what it cost, by its epochs and events; `now` in UTC seconds."""
    timed = [(e, e.seconds, e.data_wait or 0.0) for e in epochs if e.seconds is not None]
    training = [(seconds, wait) for epoch, seconds, wait in timed if epoch.split == "train"]
    scoring = [seconds for epoch, seconds, _ in timed if epoch.split == "val"]
    facts: list[tuple[str, str]] = []
    if row.parameters is not None:
        flops = large(row.flops_per_sample, "FLOP")
        facts.append(("model", f"{row.parameters:,} parameters, {flops} a sample (forward)"))
    starts_from = [WarmStart(**event.payload) for event in events if event.event == "warm_start"]
    facts += [("from", starts_from[-1].told)] if starts_from else []
    teachers = [Taught(**event.payload) for event in events if event.event == "taught"]
    facts += [("taught by", teachers[-1].told)] if teachers else []
    mixed = [Averaged(**event.payload) for event in events if event.event == "averaged"]
    facts += [("mean of", source.told) for source in (mixed[-1].sources if mixed else ())]
    if row.train_images is not None:
        facts.append(("images", f"{row.train_images} training, {row.val_images} validation"))
    if row.budget_used is not None:
        budget = row.config["budget"]
        of = f"{budget['hours']:g} h" if budget["hours"] else f"{budget['images']:,} images"
        facts.append(("budget", f"{100 * row.budget_used:.3g} % of {of}"))
    if row.device:
        name = f"{row.device_name} ({row.device})" if row.device_name else row.device
        facts.append(("device", f"{name}, {row.precision}, host {row.host}, attempt {row.attempt}"))
    if row.images_per_second is not None:
        facts.append(("speed", f"{row.images_per_second:.1f} images/s{_utilisation(row)}"))
    if training:
        seconds = sum(each for each, _ in training)
        waited = sum(wait * each for each, wait in training) / seconds if seconds else 0.0
        a_epoch = f"{duration(seconds / len(training))} training an epoch"
        if scoring:
            a_epoch += f", {duration(sum(scoring) / len(scoring))} scoring"
        facts.append(("epochs", f"{a_epoch}; {100 * waited:.1f} % of training waited for data"))
    if row.peak_memory_bytes is not None:
        facts.append(("memory", f"{data_size(row.peak_memory_bytes)} at most"))
    facts += [("cost", told_cost(row))] if row.attempts_measured else []
    starts = {event.event: event.payload for event in events if event.event in ("started", "data")}
    waits = [
        f"{duration(starts[event][field])} {what}"
        for event, field, what in (
            ("started", "import_seconds", "to import torch"),
            ("data", "seconds", "to open the data"),
        )
        if event in starts
    ]
    waits += [f"{duration(row.first_step_seconds)} to the first step"] if row.first_step_seconds else []
    facts += [("start", ", ".join(waits))] if waits else []
    facts.append(("times", _times(row, now)))
    label = max(len(name) for name, _ in facts)
    return as_lines([Text.assemble((f"{name:<{label}}", "bold"), f"  {value}") for name, value in facts])


def _utilisation(row: RunRow) -> str:
    """What the arithmetic reaches of what the device can do; "" where it was not measured."""
    if row.utilisation is None:
        return ""
    achieved, ceiling = large(row.achieved_flops, "FLOP/s"), large(row.ceiling_flops, "FLOP/s")
    return f", {achieved} of {ceiling} ({100 * row.utilisation:.0f} %)"


def _times(row: RunRow, now: float) -> str:
    parts = [f"made {moment(row.created_at)}"]
    if row.started_at is not None:
        parts.append(f"started {moment(row.started_at)}")
    if row.ended_at is not None:
        parts.append(f"ended {moment(row.ended_at)}")
    if row.started_at is not None:
        whole = (row.ended_at if row.ended_at is not None else now) - row.started_at
        parts.append(f"{duration(whole)} {'in all' if row.ended else 'so far'}")
    return ", ".join(parts)
