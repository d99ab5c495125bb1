"""The run under the cursor at a glance: curves, classes, the end of its log, its config."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from engine.report.costs import told_energy
from engine.report.runs import done, outcome, status_cell, worded
from engine.report.tables import Column, age, data_size, duration, large, score, text_table, thin_bar
from engine.report.trials import search_words
from engine.tasks import TASKS
from engine.tasks.robustness import HARDEST
from engine.visible import one_line as _one_line
from seg_tui.detail import Detail, Results
from seg_tui.palette import curve_color
from seg_tui.series import epoch_curve
from seg_tui.widgets.chart import Chart
from seg_tui.widgets.still import Still
from seg_tui.widgets.tail import Tail, wrapped

if TYPE_CHECKING:
    from engine.store import CorruptionRow, CrfRow, RunRow

View = Literal["overview", "classes", "log", "config"]
VIEWS: tuple[View, ...] = ("overview", "classes", "log", "config")

_CURVES = {"dice": "Dice", "loss": "loss"}
"""Fields of an epoch that are drawn, and what they are called."""

_LEAST_CURVES = 13
_AROUND_CLASSES, _LEAST_LOG, _LEAST_CLASSES = _LEAST_CURVES + 5, 5, 4
"""Lines of the overview: those above the bars of the classes but for the head's, those of the log below them,
and of the classes themselves, at least."""

_MOST_TOLD = 3
"""Lines at most on why a run waits or what became of it."""

BEAT_SECONDS = 30.0
"""A worker whose heartbeat is older than this may hang."""


class RunPane(Vertical):
    """One run at a glance. `view` says which part of it; in the overview all parts share the room."""

    DEFAULT_CSS = f"""
    RunPane {{
        width: 26%; min-width: 44; max-width: 64; height: 1fr; background: $background; padding: 0 1;
        border: round $foreground 21.4%; border-title-color: $foreground; border-title-style: bold;
        & > #pane-head {{ height: auto; max-height: 8; }}
        & > #pane-views {{ height: 1; color: $text-muted; }}
        & > #pane-curves {{ height: 2fr; min-height: {_LEAST_CURVES}; max-height: 28; }}
        & > #pane-curves > Chart {{ height: 1fr; }}
        & > #pane-result {{ height: auto; max-height: 60%; display: none; }}
        & > #pane-classes {{ height: auto; max-height: 50%; margin-top: 1; }}
        & > #pane-log {{ height: 1fr; margin-top: 1; }}
        & > #pane-config {{ height: 1fr; display: none; }}
        &.classes, &.log, &.config {{ & > #pane-curves {{ display: none; }} }}
        &.log, &.config {{ & > #pane-classes {{ display: none; }} }}
        &.classes, &.config {{ & > #pane-log {{ display: none; }} }}
        &.classes > #pane-classes {{ max-height: 100%; height: 1fr; }}
        &.config > #pane-config {{ display: block; }}
        &.traceback > #pane-curves, &.traceback > #pane-classes {{ display: none; }}
        &.empty > #pane-curves, &.measured > #pane-curves {{ display: none; }}
        &.overview.measured > #pane-result {{ display: block; }}
        & Chart.vacant {{ display: none; }}
    }}
    RunPane.below {{
        width: 1fr; max-width: 100%; height: 9; border: none; border-top: solid $foreground 21.4%;
        border-title-style: not bold;
        & > #pane-head {{ display: none; }}
        & > #pane-curves {{ height: 1fr; min-height: 0; layout: horizontal; }}
        & > #pane-curves > Chart {{ height: 1fr; margin-right: 1; }}
        &.overview {{ & > #pane-classes, & > #pane-log {{ display: none; }} }}
        &.overview.traceback > #pane-log {{ display: block; }}
        & > #pane-log, & > #pane-classes {{ margin-top: 0; }}
        &.low.overview {{ height: 1; }}
    }}
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, classes="overview empty")
        self.view: View = "overview"
        self._detail: Detail | None = None

    def compose(self) -> ComposeResult:
        yield Still(id="pane-head")
        yield Still(id="pane-views")
        with Vertical(id="pane-curves"):
            for name, title in _CURVES.items():
                yield Glance(title, empty="no epoch has finished yet", id=f"pane-{name}")
        yield Still(id="pane-result")
        yield Still(id="pane-classes")
        yield Tail(id="pane-log")
        yield Still(id="pane-config")

    def on_mount(self) -> None:
        self.show_view("overview")

    def on_resize(self) -> None:
        if self._detail is not None:
            self._fill(self._detail)

    def show_view(self, view: View) -> None:
        self.view = view
        for known in VIEWS:
            self.set_class(known == view, known)
        line = Text(no_wrap=True, overflow="ellipsis")
        for known in VIEWS:
            line.append(f" {known} ", "reverse" if known == view else "")
        self._say("pane-views", line)
        if self._detail is not None:
            self._fill(self._detail)

    def show(
        self, detail: Detail | None, why_not: str = "", palette: str = "okabe-ito", now: float = 0.0
    ) -> None:
        """Show a run at a moment; without one the reason, such as that none is under the cursor."""
        self._palette, self._now = palette, now
        self._detail = detail
        self.set_class(detail is None, "empty")
        if detail is None:
            # Below the table it has no head.
            self.border_title = Text(_one_line(why_not) if self.has_class("below") else "")
            self._say("pane-head", Text(why_not, style="dim"))
            for part in ("pane-result", "pane-classes", "pane-config"):
                self._say(part, Text())
            self.query_one("#pane-log", Tail).show("", (), "")
            return
        self._fill(detail)

    def _fill(self, detail: Detail) -> None:
        """Show what the view has of the run; nothing is made ready that is not seen."""
        row, width, view = detail.row, max(20, self.size.width), self.view
        broken = bool(row.traceback or (row.message and row.status in ("failed", "lost")))
        self.set_class(broken and not detail.epochs, "traceback")
        self.set_class(not TASKS[row.task].learns, "measured")
        below = self.has_class("below")
        self.border_title = title(detail) if below else Text(_one_line(row.name))
        about = Text() if below else head(detail, self._now, width)
        self._say("pane-head", about)
        if view == "overview":
            if self.has_class("measured"):
                self._say("pane-result", result_text(detail, width))
            else:
                self._draw_curves(detail)
        if view in ("overview", "classes"):
            room = self.size.height - about.plain.count("\n") - _AROUND_CLASSES - _LEAST_LOG
            most = max(_LEAST_CLASSES, room) if view == "overview" else None
            self._say("pane-classes", class_bars(detail, width, most))
        if view in ("overview", "log"):
            self._show_log(detail, broken)
        if view == "config":
            room = self.size.height - about.plain.count("\n") - 2
            self._say("pane-config", config_text(row.config, room))

    def _draw_curves(self, detail: Detail) -> None:
        for name in _CURVES:
            curves = [
                epoch_curve(detail.epochs, split, name, "epoch", split, curve_color(place, self._palette))
                for place, split in enumerate(("val", "train"))
            ]
            chart = self.query_one(f"#pane-{name}", Chart)
            # Who learns no classes has no Dice, however many epochs have ended.
            vacant = bool(detail.epochs) and all(curve.last() is None for curve in curves)
            chart.set_class(vacant, "vacant")
            chart.show(curves)

    def _show_log(self, detail: Detail, broken: bool) -> None:
        """The end of the log; of a failed run the end of its traceback, which is why one looks at it."""
        row, tail = detail.row, self.query_one("#pane-log", Tail)
        if broken and self.view == "overview":
            tail.show("why it failed", (row.traceback or row.message).splitlines(), "red", whole=True)
        else:
            without = "nothing was printed" if detail.is_here else "the run's folder is not on this machine"
            tail.show("log", detail.log or (without,), "" if detail.log else "dim")

    def _say(self, part: str, text: Text) -> None:
        self.query_one(f"#{part}", Still).show(text)


class Glance(Chart, can_focus=False):
    """A chart that keys pass by; the mouse reads it off."""


def title(detail: Detail) -> Text:
    """Name, status with cause, and why, in one line."""
    row = detail.row
    text = Text(_one_line(row.name), "bold", no_wrap=True)
    text.append(f"  {row.id}  ", "not bold dim").append(*status_cell(row))
    if row.message or detail.waits:
        text.append(f"  {_one_line(row.message or detail.waits)}", "not bold dim")
    return text


def head(detail: Detail, now: float, width: int) -> Text:
    """Status with cause, whether the worker lives and moves, and what the run costs."""
    row = detail.row
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(*status_cell(row)).append(f"  {row.id}", "dim")
    if detail.waits:
        text.append("\n" + "\n".join(wrapped(detail.waits.splitlines(), width)[:_MOST_TOLD]), "yellow")
    if row.trial is not None:
        text.append(f"\n{_one_line(search_words(row, detail.best_trials))}")
    if row.message:
        told = "\n".join(wrapped(row.message.splitlines(), width)[:_MOST_TOLD])
        text.append(f"\n{told}", "red" if row.status in ("failed", "lost") else "yellow")
    if row.status in ("starting", "running", "stopping"):
        text.append(f"\n{_pulse(detail, now)}", "dim")
    took = (row.ended_at or now) - row.started_at if row.started_at else None
    parts = [
        f"attempt {row.attempt}" if row.attempt > 1 else "",
        f"{large(row.parameters)} parameters" if row.parameters else "",
        f"peak {data_size(row.peak_memory_bytes)}" if row.peak_memory_bytes else "",
        told_energy(row) if row.energy_kwh is not None else "",
        f"took {duration(took)}" if took is not None and row.ended else "",
    ]
    text.append("\n" + "\n".join(_packed([part for part in parts if part], width)), "dim")
    if row.tags or row.note:
        text.append("\n" + " ".join(f"#{tag}" for tag in row.tags), "cyan")
        text.append(("  " if row.tags else "") + row.note.splitlines()[0] if row.note else "", "italic")
    return text


def _packed(parts: Sequence[str], width: int) -> list[str]:
    """The parts in as few lines as they fit into."""
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        if lines[-1] and len(longer) > width:
            lines.append(part)
        else:
            lines[-1] = longer
    return lines


def _pulse(detail: Detail, now: float) -> str:
    """Alive and advancing are two things: the heartbeat's age, and the progress'."""
    row = detail.row
    process = f"pid {row.pid} on {row.host}" if row.pid else "its worker is starting"
    if detail.alive is False and row.pid:
        return f"{process}: no longer running"
    parts = []
    if detail.beat is not None:
        late = now - detail.beat > BEAT_SECONDS
        parts.append(f"heartbeat {age(now - detail.beat)} ago" + (", late" if late else ""))
    if row.progress_at is not None:
        parts.append(f"progress {age(now - row.progress_at)} ago")
    return "\n".join((process, ", ".join(parts))) if parts else process


def result_text(detail: Detail, width: int) -> Text:
    """What a run has measured that looks at the network of another one: its number, then what that is of."""
    # Not needed for the first look at all runs.
    from engine.data.faults import counted
    from engine.report.detection import LEVELS, ood_table

    row, found = detail.row, detail.found
    number = outcome(row)
    if number is None and found == Results():
        return Text(f"nothing has been measured yet: {_how_far(row)}", "dim", no_wrap=True)
    text = Text(no_wrap=True)
    text.append(_how_far(row) if number is None else worded(number), "bold")
    if number is not None and number.is_count:
        for path in TASKS[row.task].files(row, detail.folder).values():
            text.append(f"\n{path}", "dim")
    if found.evaluations:
        last = found.evaluations[-1]
        about = (
            ("image Dice", score(last.dice_image)), ("mIoU", score(last.miou)),
            ("pixel accuracy", score(last.pixel_accuracy)),
        )  # fmt: skip
        text.append(f"\n{counted(last.images, 'image')} of {last.split} at the {last.at} size", "dim")
        told = _packed([f"{name} {value}" for name, value in about], width)
        text.append("\n" + "\n".join(told))
    for level in dict.fromkeys(result.level for result in found.ood):
        text.append(f"\n{LEVELS[level]}\n", "dim")
        text.append_text(ood_table([result for result in found.ood if result.level == level], width))
    if found.crf:
        text.append("\n" + "\n".join(_packed(_crf_parts(found.crf), width)), "dim")
    if found.crf_trials:
        from engine.report.crf import trials_table

        text.append("\n").append_text(trials_table(found.crf_trials, width, most=8))
    if found.latencies and not TASKS[row.task].evaluates:
        from engine.report.latency import latency_text

        text.append("\n").append_text(latency_text(found.latencies, width))
    if found.corruptions:
        text.append("\n")
        text.append_text(_hardest_table(found.corruptions, width))
    if found.environments:
        from engine.report.environments import environment_text

        text.append("\n").append_text(environment_text(found.environments, width))
    return text


def _how_far(row: RunRow) -> str:
    """The status and, once a worker has counted what there is to do, how much of it is done."""
    return f"{row.status}, {done(row)}" if row.steps else row.status


def _crf_parts(rows: Sequence[CrfRow]) -> list[str]:
    """What the CRF changed of the images as they are, and how long it took for one."""
    first = rows[0]
    took = [f"CRF {first.seconds:.2f} s an image"] if first.seconds is not None else []
    if first.miou_before is None or first.miou_after is None:
        return took or ["CRF"]
    return [f"mIoU {score(first.miou_before)} before the CRF, {score(first.miou_after)} after", *took]


def _corruption(row: CorruptionRow) -> str:
    if not row.strength:
        return "none"
    return row.corruption if row.strength == HARDEST else f"{row.corruption} {row.strength}"


def _hardest_table(rows: Sequence[CorruptionRow], width: int) -> Text:
    """Dice as it is, and for each corruption where that is strongest of what was measured so far."""
    hardest = list({row.corruption: row for row in sorted(rows, key=lambda row: row.strength)}.values())
    hardest.sort(key=lambda row: row.strength > 0)
    names = [_corruption(row) for row in hardest]
    is_whole = all(row.strength in (0, HARDEST) for row in hardest)
    title = f"strength {HARDEST}" if is_whole else "strongest so far"
    room = max(4, width - max(map(len, (*names, "corruption"))) - 12)
    columns = [
        Column("corruption", names),
        Column("Dice", [score(row.dice) for row in hardest], right=True),
        Column(title[:room], [(thin_bar(row.dice, room), "cyan") for row in hardest], rank=1),
    ]
    return text_table(columns, width)


def class_bars(detail: Detail, width: int, most: int | None = None) -> Text:
    """Dice of each class, on the validation split at the newest epoch or as an evaluation has scored it, in
    the order of the class set; at most so many lines, of which the last says how many are missing."""
    last = next((epoch for epoch in reversed(detail.epochs) if epoch.split == "val"), None)
    scored = detail.found.evaluations[-1] if detail.row.source and detail.found.evaluations else None
    if scored is not None:
        from engine.data.faults import counted  # as above

        scores, told = scored.class_dice, f"{scored.split}, {counted(scored.images, 'image')}"
    elif last is not None:
        scores, told = last.class_dice, f"val, epoch {last.epoch}"
    else:
        return Text()
    left_out = len(scores) - most + 1 if most is not None and len(scores) > most else 0
    if left_out:
        scores = dict(list(scores.items())[:-left_out])
    colors = [*detail.row.colors, *[""] * len(scores)]
    longest = max((len(name) for name in scores), default=0)
    room = max(4, width - max(longest, len("class")) - 14)
    columns = [
        Column(
            "", [("  ", f"on {color}" if color else "") for color, _ in zip(colors, scores, strict=False)]
        ),
        Column("class", list(scores), least=8),
        Column("Dice", [score(value) for value in scores.values()], right=True),
        Column(
            told[:room],
            [(thin_bar(value, room), "cyan") for value in scores.values()],
            rank=1,
        ),
    ]
    table = text_table(columns, width)
    return table.append(f"\n… and {left_out} more: v shows all", "dim") if left_out else table


def config_text(config: dict[str, Any], height: int) -> Text:
    """The config as dotted keys and values, one a line; where they are more, the last line says how many."""
    lines = [
        Text.assemble((f"{key:<26} ", "dim"), value or '""', no_wrap=True, overflow="ellipsis")
        for key, value in _flat(config)
    ]
    if 0 < height < len(lines):
        more = len(lines) - height + 1
        lines[height - 1 :] = [Text(f"… and {more} more: enter opens the run", "dim")]
    return Text("\n").join(lines)


def _flat(config: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    from engine.config.described import format_value  # an import that the first look at all runs does without

    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", format_value(value)
