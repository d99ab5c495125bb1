"""What the form's threads have found out or done."""

from __future__ import annotations

from textual.message import Message

from engine.config.run_config import RunConfig
from engine.run.directory import RunCard
from seg_tui.launch.queueing import DataLook, Origin


class OriginRead(Message):
    """What the form begins with, of another run; `problem` says why it cannot."""

    def __init__(self, origin: Origin, problem: str = "") -> None:
        super().__init__()
        self.origin, self.problem = origin, problem


class DataSeen(Message):
    """What the data folder has."""

    def __init__(self, folder: str, look: DataLook) -> None:
        super().__init__()
        self.folder, self.look = folder, look


class RunEstimated(Message):
    """What earlier runs say about a config; "" when they say nothing."""

    def __init__(self, config: RunConfig, line: str) -> None:
        super().__init__()
        self.config, self.line = config, line


class RunQueued(Message):
    """The run is in the queue, the last of `cards`; before it those that it needs."""

    def __init__(self, cards: list[RunCard]) -> None:
        super().__init__()
        self.cards = cards


class RunRefused(Message):
    """It is not; the engine's lines say why. `data` when it is the data."""

    def __init__(self, lines: list[str], data: bool = False) -> None:
        super().__init__()
        self.lines, self.data = lines, data
