"""The device strip: how busy GPUs, processors and memory are, and which run has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from socket import gethostname

from rich.text import Text
from textual import on, work
from textual.message import Message
from textual.timer import Timer

from engine.host.load import Gpu, Load, LoadReader
from engine.report.tables import data_size, thin_bar
from engine.report.waiting import UNDER_WAY
from engine.store import RunSummary
from seg_tui.live import Snapshot
from seg_tui.widgets.still import Still

READ_SECONDS = 2.0
BAR_CELLS = 8
MOST_LINES = 4
"""More GPUs than this stand side by side."""
GAP = 2
OF_SLURM = "slurm"
"""The slot of runs that are Slurm's to place."""
ROOM_OF_BAR, ROOM_OF_MEMORY = 50, 30
"""Columns of GPUs that are narrower do without a bar, or without memory: who has the GPU says more."""


class LoadRead(Message):
    """The machine was looked at."""

    def __init__(self, load: Load) -> None:
        super().__init__()
        self.load = load

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, LoadRead)


class Meters(Still):
    """One line a GPU, several GPUs a line where there are many; one for processors and memory where there is
    none."""

    DEFAULT_CSS = """
    Meters { height: auto; background: $surface; color: $foreground; padding: 0 1; }
    """

    def __init__(self, reader: LoadReader | None = None, id: str | None = None) -> None:
        super().__init__(id=id)
        self._reader = reader or LoadReader()
        self._load: Load | None = None
        self._timer: Timer | None = None
        self._is_reading = False

    def on_mount(self) -> None:
        for known in ("snapshot", "trouble"):
            self.watch(self.app, known, self._begin, init=False)

    def _begin(self) -> None:
        """Look at the machine once the database was looked at: NVML takes a while to load."""
        if self._timer is None:
            self.watch(self.app, "snapshot", self._say, init=False)
            self._timer = self.set_interval(READ_SECONDS, self._read_again)
            self._read_again()

    def _read_again(self) -> None:
        """Look once more, but never twice at once: a driver that hangs would take all threads of the app."""
        if not self._is_reading:
            self._is_reading = True
            self._read()

    @work(thread=True, group="meters")
    def _read(self) -> None:
        self.post_message(LoadRead(self._reader.read()))

    @on(LoadRead)
    def keep(self, message: LoadRead) -> None:
        self._is_reading = False
        self._load = message.load
        self._say()

    def on_resize(self) -> None:
        self._say()

    def _say(self) -> None:
        if self._load is not None:
            snapshot: Snapshot = getattr(self.app, "snapshot", Snapshot())
            self.show(load_text(self._load, held_by(snapshot.runs, gethostname()), self.size.width))


def held_by(runs: Mapping[str, RunSummary], host: str) -> dict[str, list[RunSummary]]:
    """The runs under way on a host by the devices that they compute on; of one whose worker has not come up
    yet nobody knows where it will be, but that of Slurm it is on none as long as its job waits."""
    holders: dict[str, list[RunSummary]] = {}
    for run in runs.values():
        comes_up = not run.host and run.slot != OF_SLURM
        if run.status in UNDER_WAY and (run.host == host or comes_up):
            for device in (run.slot or run.device or "cpu").split(","):
                holders.setdefault(device, []).append(run)
    return holders


def load_text(load: Load, holders: Mapping[str, Sequence[RunSummary]], width: int) -> Text:
    """The strip for a width in characters; what there is no room for is left out, the holder last."""
    side_by_side = math.ceil(len(load.gpus) / MOST_LINES)
    if side_by_side > 1:
        return _gpu_grid(load.gpus, holders, width, side_by_side)
    lines = [_gpu_line(gpu, holders.get(f"cuda:{gpu.index}", ()), width) for gpu in load.gpus]
    if not load.gpus:
        everyone = {run.id: run for runs in holders.values() for run in runs}
        lines.append(_machine_line(load, [*everyone.values()], width))
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


def _gpu_line(gpu: Gpu, holders: Sequence[RunSummary], width: int) -> Text:
    share = None if gpu.utilisation is None else gpu.utilisation / 100
    meter = _meter(f"cuda:{gpu.index} {gpu.name}" if width >= 100 else f"cuda:{gpu.index}", share)
    parts = [
        _memory(gpu.memory_used, gpu.memory_total),
        "" if gpu.watts is None else f"{gpu.watts:.0f} W",
        "" if gpu.celsius is None else f"{gpu.celsius} °C",
    ]
    return _line(meter, parts, holders)


def _gpu_grid(
    gpus: Sequence[Gpu], holders: Mapping[str, Sequence[RunSummary]], width: int, columns: int
) -> Text:
    """GPUs in some columns, each with how busy it is, its memory in use, and which run has it."""
    room = max(1, (width - GAP * (columns - 1)) // columns)
    label = max(len(f"cuda:{gpu.index}") for gpu in gpus)
    cells = []
    for gpu in gpus:
        share = None if gpu.utilisation is None else gpu.utilisation / 100
        name = f"cuda:{gpu.index}"
        cell = _meter(name.ljust(label), share) if room >= ROOM_OF_BAR else _percent(name.ljust(label), share)
        held = holders.get(name, ())
        if gpu.memory_used is not None and room >= ROOM_OF_MEMORY:
            cell.append(f"  {data_size(gpu.memory_used):>8}")
        cell.append("  ").append(", ".join(run.name for run in held) or "free", "bold" if held else "dim")
        cell.truncate(room, overflow="ellipsis", pad=True)
        cells.append(cell)
    rows = math.ceil(len(cells) / columns)
    gap = Text(" " * GAP)
    lines = [gap.join(cells[row::rows]) for row in range(rows)]
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


def _machine_line(load: Load, holders: Sequence[RunSummary], width: int) -> Text:
    cores = f"CPU {load.cores} cores" if width >= 100 else "CPU"
    memory = _memory(load.memory_used, load.memory_total, "memory ")
    return _line(_meter(cores, load.cpu), [memory], holders)


def _meter(label: str, share: float | None) -> Text:
    drawn = thin_bar(share, BAR_CELLS)
    text = Text(f"{label}  ").append(drawn, "cyan").append("─" * (BAR_CELLS - len(drawn)), "dim")
    return text.append_text(_percent("", share))


def _percent(label: str, share: float | None) -> Text:
    return Text(label + ("   - %" if share is None else f" {round(share * 100):3d} %"))


def _memory(used: int | None, total: int | None, label: str = "") -> str:
    return "" if used is None or total is None else f"{label}{data_size(used)} of {data_size(total)}"


def _line(meter: Text, parts: Sequence[str], holders: Sequence[RunSummary]) -> Text:
    line = Text("  ", no_wrap=True, overflow="ellipsis").join(
        [meter, *(Text(part) for part in parts if part)]
    )
    if holders:
        names = ", ".join(run.name for run in holders[:3]) + (", …" if len(holders) > 3 else "")
        line.append("  held by ", "dim")
        line.append(names, "bold")
    else:
        line.append("  free", "dim")
    return line
