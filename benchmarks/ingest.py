"""How many events a second go from a journal into the database.

    python benchmarks/ingest.py
    python benchmarks/ingest.py --events 500000

The journal is that of a run with 20 progress events an epoch and the scores of 19 classes on both splits. It
is read and folded in pieces as an agent would: large ones, as after a time away or in an import, and small
ones, as beside a running worker. Each piece is one transaction.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from engine.classes import CITYSCAPES
from engine.config.run_config import RunConfig
from engine.run.directory import RunCard
from engine.run.event import Split
from engine.run.events import AnyEvent, Epoch, Progress, Started
from engine.run.journal import read_events
from engine.store import Store

PROGRESS_AN_EPOCH = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--events", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        journal = folder / "journal.jsonl"
        write_journal(journal, arguments.events)
        size = journal.stat().st_size
        print(f"{arguments.events:,} events, {size / 1e6:.1f} MB\n")
        print(f"{'piece':>12}{'transactions':>15}{'seconds':>10}{'events/s':>12}{'MB/s':>9}")
        begun = time.perf_counter()
        offset = 0
        while offset < size:
            _, offset = read_events(journal, offset)
        taken = time.perf_counter() - begun
        print(f"{'reading only':>27}{taken:10.2f}{arguments.events / taken:12,.0f}{size / taken / 1e6:9.1f}")
        for limit in (4 << 20, 1 << 18, 1 << 14):
            with Store(f"sqlite:///{folder / f'{limit}.db'}") as store:
                begun = time.perf_counter()
                pieces = fold_all(store, journal, limit)
                taken = time.perf_counter() - begun
            speed = f"{arguments.events / taken:12,.0f}{size / taken / 1e6:9.1f}"
            print(f"{limit >> 10:>8} KiB{pieces:15,}{taken:10.2f}{speed}")


def write_journal(path: Path, events: int) -> None:
    """A journal of that many events."""
    rng = random.Random(0)
    with open(path, "w", encoding="utf-8") as stream:

        def write(number: int, event: AnyEvent) -> None:
            stamp = {"seq": number, "t": 1e9 + number / 2, "attempt": 1}
            stream.write(event.model_copy(update=stamp).model_dump_json() + "\n")

        write(0, started())
        for number in range(1, events):
            epoch, place = divmod(number, PROGRESS_AN_EPOCH + 2)
            if place < PROGRESS_AN_EPOCH:
                write(number, progress(epoch + 1, place + 1, rng))
            else:
                write(number, scores(epoch + 1, "train" if place == PROGRESS_AN_EPOCH else "val", rng))


def started() -> Started:
    return Started(
        host="box", pid=1, device="cuda:0", device_name="Some GPU", precision="bf16", threads=8, versions={},
        import_seconds=2.0,
    )  # fmt: skip


def progress(epoch: int, step: int, rng: random.Random) -> Progress:
    return Progress(
        phase="train", epoch=epoch, step=step, steps=PROGRESS_AN_EPOCH, loss=rng.random(),
        images_per_second=80.0, eta_seconds=100.0,
    )  # fmt: skip


def scores(epoch: int, split: Split, rng: random.Random) -> Epoch:
    return Epoch(
        epoch=epoch, split=split, loss=rng.random(), dice=rng.random(), dice_image=rng.random(),
        miou=rng.random(), pixel_accuracy=rng.random(), lr=0.001, seconds=30.0, images_per_second=80.0,
        data_wait=0.01, peak_memory_bytes=10**9,
        class_dice={name: rng.random() for name in CITYSCAPES.names},
        class_iou={name: rng.random() for name in CITYSCAPES.names},
    )  # fmt: skip


def fold_all(store: Store, journal: Path, limit: int) -> int:
    """Read and fold the journal in pieces of about `limit` bytes; returns how many there were."""
    store.lifecycle.create(RunCard("aaaaaaaa", "run", "ingest", 1e9), RunConfig())
    offset, pieces = 0, 0
    while True:
        events, end = read_events(journal, offset, limit)
        if not events:
            return pieces
        store.journals.ingest("aaaaaaaa", events, end, offset)
        offset, pieces = end, pieces + 1


if __name__ == "__main__":
    main()
