"""What all peers are given and what each writes down: the terms of the comparison.

A peer is a program, `python -m benchmarks.peers.NAME SETTINGS FOLDER`, that trains the network by its own
means and writes `FOLDER/epochs.jsonl`. Its clock starts when its imports are done and nothing of data or
network has been touched, and runs through everything that follows.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

LOG = "epochs.jsonl"
LOADER_WORKERS = 2
"""Processes of each DataLoader."""
VOID = 255

PairOfFiles = tuple[str, str]
"""Image file and label file."""


@dataclass(frozen=True)
class Settings:
    """The same data, network and training for everybody.

    `train_ids` [256] maps a label file's values to train ids. `size` is (height, width) in pixels, `mean` and
    `std` are of channels in 0..1, `has_bf16` says whether the device computes bf16 in hardware. The optimizer
    is AdamW at the constant rate `lr`, without weight decay. `run_config` says the same to the engine.
    """

    train: list[PairOfFiles]
    val: list[PairOfFiles]
    train_ids: list[int]
    class_names: list[str]
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    width: int
    batch_size: int
    epochs: int
    lr: float
    seed: int
    device: str
    has_bf16: bool
    amp: bool
    run_config: dict[str, Any]

    @property
    def classes(self) -> int:
        return len(self.class_names)

    def with_seed(self, seed: int) -> Settings:
        return replace(self, seed=seed, run_config={**self.run_config, "seed": seed})

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @staticmethod
    def read(path: Path) -> Settings:
        table = json.loads(path.read_text())
        table["train"], table["val"] = (
            [(image, label) for image, label in table[s]] for s in ("train", "val")
        )
        return Settings(**table)


@dataclass(frozen=True)
class Passed:
    """One epoch. `seconds` have gone by since the clock's start when it was trained and validated."""

    seconds: float
    epoch: int
    images_seen: int
    val_dice: float
    train_seconds: float


@dataclass(frozen=True)
class Record:
    """What a peer wrote: its precision, the UTC seconds of its clock's start, and its epochs."""

    precision: str
    began: float
    epochs: list[Passed]


class Clock:
    """Writes a peer's record while it trains."""

    def __init__(self, folder: Path, precision: str) -> None:
        self._began = self._mark = time.perf_counter()
        self._train_seconds = 0.0
        self._log = open(folder / LOG, "w", buffering=1)  # noqa: SIM115 - open as long as the process lives
        self._log.write(json.dumps({"precision": precision, "began": time.time()}) + "\n")

    def trained(self) -> None:
        """The epoch's training is done and its validation begins."""
        self._train_seconds = time.perf_counter() - self._mark

    def validated(self, epoch: int, images_seen: int, val_dice: float) -> None:
        """The epoch is done and the next one's training begins."""
        self._mark = time.perf_counter()
        passed = Passed(self._mark - self._began, epoch, images_seen, val_dice, self._train_seconds)
        self._log.write(json.dumps(asdict(passed)) + "\n")


def write_record(folder: Path, record: Record) -> None:
    """The same file as a Clock's, from times that were taken elsewhere."""
    lines: Sequence[dict[str, Any]] = [
        {"precision": record.precision, "began": record.began},
        *(asdict(passed) for passed in record.epochs),
    ]
    (folder / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))


def read_record(folder: Path) -> Record:
    head, *epochs = map(json.loads, (folder / LOG).read_text().splitlines())
    return Record(head["precision"], head["began"], [Passed(**epoch) for epoch in epochs])


def arguments() -> tuple[Settings, Path]:
    """The settings and the peer's own folder, from the command line."""
    if len(sys.argv) != 3:
        raise SystemExit(f"usage: python -m benchmarks.peers.{Path(sys.argv[0]).stem} SETTINGS FOLDER")
    return Settings.read(Path(sys.argv[1])), Path(sys.argv[2])
