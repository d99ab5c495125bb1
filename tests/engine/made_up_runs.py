"""Runs that never ran: their journals, folders and rows, for tests of the database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from engine.config.run_config import RunConfig
from engine.run.crf_events import CrfFound, CrfResult, CrfScores, CrfSearching, CrfTrial, CrfUse
from engine.run.directory import RunCard, RunDir
from engine.run.event import Split
from engine.run.events import AnyEvent, Data, Epoch, Failed, Finished, Model, Progress, Started
from engine.run.latency_events import LatencyResult, Timed
from engine.run.scoring_events import (
    CorruptionResult,
    Detecting,
    EnvironmentResult,
    Evaluating,
    ImageScores,
    OodImage,
    OodResult,
    Result,
)
from engine.store import RunRow, Store
from engine.store.schema import metadata

CLASSES = ("road", "person", "car")
COLORS = ("#804080", "#dc143c", "#00008e")


class MadeUpJournal:
    """Collects events and stamps them as the worker's writer does, with a clock of its own."""

    def __init__(self, begins: float = 1000.0) -> None:
        self.t = begins
        self.attempt = 0
        self.events: list[AnyEvent] = []

    def begin(
        self,
        resumed_from_epoch: int = 0,
        device_name: str = "Some CPU",
        classes: Sequence[str] = CLASSES,
        colors: Sequence[str] = COLORS,
    ) -> None:
        """Begin the next attempt."""
        self.attempt += 1
        self.add(
            Started(
                host="box",
                pid=4000 + self.attempt,
                device="cpu",
                device_name=device_name,
                precision="fp32",
                threads=2,
                versions={"torch": "2.10"},
                import_seconds=1.5,
                resumed_from_epoch=resumed_from_epoch,
            )
        )
        self.add(
            Data(
                train_images=80,
                val_images=20,
                classes=list(classes),
                colors=list(colors),
                seconds=0.5,
                cache=[],
            )
        )
        self.add(Model(name="unet", parameters=31_000_000, flops_per_sample=10**11))

    def add(self, event: AnyEvent, after: float = 1.0) -> None:
        """Append one event, `after` seconds after the one before."""
        self.t += after
        stamp = {"seq": len(self.events), "t": self.t, "attempt": self.attempt}
        self.events.append(event.model_copy(update=stamp))

    def epoch(self, epoch: int, train: float | None, val: float | None, seconds: float = 10.0) -> None:
        """A whole epoch with its progress: the Dice of both splits."""
        self.add(progress(epoch, "train"))
        self.add(epoch_event(epoch, "train", train, seconds=seconds), after=seconds)
        self.add(progress(epoch, "val"))
        self.add(epoch_event(epoch, "val", val, seconds=1.0))

    def finish(self, epoch: int) -> None:
        self.add(Finished(epoch=epoch, seconds=self.t - 1000.0))

    def write(self, path: Path) -> None:
        path.write_text("".join(event.model_dump_json() + "\n" for event in self.events))


def epoch_event(
    epoch: int,
    split: Split,
    dice: float | None,
    class_dice: dict[str, float | None] | None = None,
    seconds: float = 10.0,
) -> Epoch:
    """Scores that follow from the Dice: IoU = Dice / (2 - Dice), loss = 1 - Dice."""
    if class_dice is None:
        class_dice = dict.fromkeys(CLASSES, dice)
    images = 80 if split == "train" else 20
    return Epoch(
        epoch=epoch,
        split=split,
        loss=None if dice is None else 1 - dice,
        dice=dice,
        dice_image=dice,
        miou=iou(dice),
        pixel_accuracy=dice,
        class_dice=class_dice,
        class_iou={name: iou(score) for name, score in class_dice.items()},
        lr=0.001,
        seconds=seconds,
        images_per_second=images / seconds,
        data_wait=0.1,
        peak_memory_bytes=epoch * 1000,
    )


def result_event(epoch: int, dice: float, at: str = "input") -> Result:
    return Result.model_validate(
        {
            "split": "val",
            "at": at,
            "epoch": epoch,
            "images": 20,
            "dice": dice,
            "dice_image": dice,
            "miou": iou(dice),
            "pixel_accuracy": dice,
            "class_dice": dict.fromkeys(CLASSES, dice),
            "class_iou": dict.fromkeys(CLASSES, iou(dice)),
            "confusion": [[10, 1, 0, 0], [1, 10, 0, 0], [0, 0, 10, 1]],
        }
    )


def evaluation_config(source: str, at: str = "original") -> RunConfig:
    about = {"source": source, "checkpoint": f"../{source}/checkpoints/best.pt", "at": at}
    return RunConfig.model_validate({"task": "evaluate", "evaluate": about})


def evaluation_journal(
    source: str, dices: dict[str, float | None], at: str = "original", begins: float = 3000.0
) -> MadeUpJournal:
    """An evaluation of the second epoch of `source`: the Dice of each image, and the mean as that of all."""
    journal = MadeUpJournal(begins)
    journal.attempt = 1
    journal.add(evaluating(source, len(dices), at=at))
    for image, dice in dices.items():
        journal.add(image_event(image, dice, at))
    known = [dice for dice in dices.values() if dice is not None]
    journal.add(
        result_event(2, sum(known) / len(known), at).model_copy(
            update={
                "source": source,
                "checkpoint": f"../{source}/checkpoints/best.pt",
                "label_resize": "bilinear-logits",
                "tta": "none",
                "parameters": 31_000_000,
                "flops_per_sample": 10**11,
                "latency_seconds": 0.02,
                "latency_p95_seconds": 0.03,
                "frames_per_second": 50.0,
            }
        )
    )
    journal.finish(0)
    return journal


def detection_config(source: str) -> RunConfig:
    """Of a run of the task `ood` that looks at the run `source`."""
    about = {
        "source": source,
        "checkpoint": f"../{source}/checkpoints/best.pt",
        "in_root": "/in",
        "out_root": "/out",
    }
    return RunConfig.model_validate({"task": "ood", "ood": about})


def detection_journal(
    measures: dict[tuple[str, str], float | None] | None = None, images: dict[str, float] | None = None
) -> MadeUpJournal:
    """A run of the task `ood`: AUROC by level and score, and the energy of images that exceed 1 if they are
    out."""
    journal = MadeUpJournal()
    journal.begin()
    journal.add(detecting())
    for image, energy in (images if images is not None else {"a": 0.5, "b": 2.0, "c": 3.0}).items():
        out = energy > 1
        journal.add(
            OodImage(
                image=image,
                origin="out" if out else "in",
                out=out,
                scores={"energy": energy, "knn": 0.1},
                include={"energy": not out, "knn": True},
                dice=None if out else 0.6,
            )
        )
    found = {("pixel", "msp"): 0.7, ("pixel", "energy"): 0.8, ("image", "knn"): None}
    for (level, score), auroc in (measures if measures is not None else found).items():
        journal.add(ood_event(level, score, auroc))
    journal.finish(0)
    return journal


def detecting() -> Detecting:
    return Detecting(
        source="source",
        checkpoint="best.pt",
        sha256="0" * 64,
        epoch=3,
        in_root="/in",
        out_root="/out",
        pseudo="none",
        accept=0.95,
        training=8,
        calibrating=2,
        cases=3,
        masked=2,
        classes=list(CLASSES),
        colors=list(COLORS),
    )


def ood_event(level: str, score: str, auroc: float | None) -> OodResult:
    defined = auroc is not None
    return OodResult.model_validate(
        {
            "score": score,
            "level": level,
            "positives": 2 if defined else 0,
            "negatives": 1,
            "auroc": auroc,
            "average_precision": 0.4 if defined else None,
            "fpr95": 0.6 if defined else None,
            "error": 1e-6,
            "threshold": 1.0,
            "rejected_in": 0.05,
            "rejected_out": 0.5 if defined else None,
            "component_f1": 0.1 if level == "pixel" else None,
            "aurc": 0.3 if level == "image" else None,
            "risk_coverage": [(0.5, 0.7), (1.0, 0.6)] if level == "image" else [],
        }
    )


CRF = CrfUse(
    iterations=10,
    gaussian_weight=1.0,
    gaussian_sigma=1.0,
    bilateral_weight=2.0,
    bilateral_sigma_xy=24.0,
    bilateral_sigma_rgb=5.0,
)


def crf_event(before: dict[str, float | None], after: dict[str, float | None]) -> CrfResult:
    """The Dice of each class without and with a CRF."""

    def scores(dices: dict[str, float | None]) -> CrfScores:
        known = [dice for dice in dices.values() if dice is not None]
        mean = sum(known) / len(known)
        return CrfScores(
            dice=mean,
            dice_image=mean,
            miou=iou(mean),
            pixel_accuracy=0.9,
            class_dice=dices,
            class_iou={name: iou(dice) for name, dice in dices.items()},
        )

    return CrfResult(
        split="val",
        at="original",
        images=3,
        use=CRF,
        searched=True,
        timed=3,
        seconds=0.5,
        p95_seconds=0.75,
        before=scores(before),
        after=scores(after),
    )


def refined_journal(
    source: str, before: dict[str, float | None], after: dict[str, float | None]
) -> MadeUpJournal:
    """An evaluation of `source` with a CRF: the Dice of each class without and with it."""
    journal = evaluation_journal(source, {"a": 0.5, "b": 0.6, "c": 0.7})
    finished = journal.events.pop()
    scored = journal.events.pop()
    refined = crf_event(before, after)
    assert refined.after is not None
    scores = refined.after.model_dump()
    journal.add(scored.model_copy(update={**scores, "crf": "bilateral 2 (24 px, 5 rgb)", "images": 3}))
    journal.add(refined)
    journal.add(finished)
    return journal


def search_config(source: str) -> RunConfig:
    """Of a run of the task `crf-search` that looks at the run `source`."""
    about = {"source": source, "checkpoint": f"../{source}/checkpoints/best.pt"}
    return RunConfig.model_validate({"task": "crf-search", "crf_search": about})


def searching(source: str, done: int = 0) -> CrfSearching:
    return CrfSearching(
        source=source,
        checkpoint=f"../{source}/checkpoints/best.pt",
        sha256="00",
        epoch=2,
        at="original",
        images=["a", "b"],
        learned=True,
        trials=3,
        done=done,
        root="/data",
        classes=list(CLASSES),
        colors=list(COLORS),
    )


def search_journal(source: str, mious: tuple[float, ...] = (0.5, 0.45, 0.6)) -> MadeUpJournal:
    """A search whose first trial is without a CRF."""
    journal = MadeUpJournal()
    journal.begin()
    journal.add(searching(source))
    for trial, miou in enumerate(mious):
        kinds = ("none", "default", "random")
        journal.add(
            CrfTrial.model_validate(
                {
                    "trial": trial,
                    "kind": kinds[trial],
                    "use": CRF.model_copy(update={"bilateral_weight": float(trial)}) if trial else None,
                    "miou": miou,
                    "dice": miou,
                    "pixel_accuracy": 0.9,
                    "class_iou": dict.fromkeys(CLASSES, miou),
                    "seconds": 0.5 if trial else 0.0,
                }
            )
        )
    journal.add(CrfFound(trial=2, miou=mious[-1], without=mious[0], path="outputs/crf-00-original.json"))
    journal.finish(0)
    return journal


def robustness_config(source: str) -> RunConfig:
    """Of a run of the task `robustness` that looks at the run `source`."""
    about = {"source": source, "checkpoint": f"../{source}/checkpoints/best.pt"}
    return RunConfig.model_validate({"task": "robustness", "robustness": about})


def robustness_journal() -> MadeUpJournal:
    """Clean Dice 0.8; noise leaves 0.7 and 0.5, fog 0.4."""
    journal = MadeUpJournal()
    journal.begin()
    found = [("clean", 0, 0.8), ("noise", 1, 0.7), ("noise", 2, 0.5), ("fog", 1, 0.5), ("fog", 2, 0.3)]
    for corruption, strength, dice in found:
        journal.add(
            CorruptionResult(
                corruption=corruption,
                strength=strength,
                split="val",
                images=3,
                dice=dice,
                dice_image=dice,
                miou=dice / 2,
                pixel_accuracy=dice,
            )
        )
    journal.finish(0)
    return journal


def generalise_config(source: str) -> RunConfig:
    """Of a run of the task `generalise` that scores the run `source` on the data set `town`, and in fog."""
    about = {"source": source, "checkpoint": f"../{source}/checkpoints/best.pt", "corruptions": ["fog"]}
    about |= {"environments": [{"name": "town", "root": "/data/town", "split": "test"}]}
    about |= {"class_map": "/maps/two.toml", "groups": [{"name": "moving", "members": ["person", "car"]}]}
    return RunConfig.model_validate({"task": "generalise", "generalise": about})


def generalise_journal() -> MadeUpJournal:
    """Dice 0.8 on its own images, 0.6 of them in fog, 0.5 in a town without a moving thing."""
    journal = MadeUpJournal()
    journal.begin()
    found = [("validation", "own", 0.8), ("fog 3", "corruption", 0.6), ("town", "data", 0.5)]
    for place, (name, kind, dice) in enumerate(found):
        to_own: dict[str, Any] = {}
        if kind != "own":
            to_own = {"dice_difference": dice - 0.8, "dice_low": dice - 0.9, "dice_high": dice - 0.7}
            to_own |= {key.replace("dice", "miou"): value / 2 for key, value in to_own.items()}
        journal.add(
            EnvironmentResult.model_validate(
                {
                    "environment": name,
                    "place": place,
                    "kind": kind,
                    "root": "/data/town" if kind == "data" else "/data",
                    "layout": "cityscapes" if kind == "data" else "",
                    "corruption": "fog" if kind == "corruption" else "clean",
                    "strength": 3 if kind == "corruption" else 0,
                    "split": "val",
                    "images": 3,
                    "dice": dice,
                    "dice_image": dice,
                    "miou": dice / 2,
                    "pixel_accuracy": dice,
                    "class_dice": {"road": dice, "moving": None},
                    "class_iou": {"road": dice / 2, "moving": None},
                    "never_labelled": ["moving"] if kind == "data" else [],
                    "merged": "moving: person + car",
                    **to_own,
                }
            )
        )
    journal.finish(0)
    return journal


def evaluating(source: str, images: int, done: int = 0, at: str = "original") -> Evaluating:
    return Evaluating.model_validate(
        {
            "source": source,
            "checkpoint": f"../{source}/checkpoints/best.pt",
            "sha256": "00",
            "epoch": 2,
            "split": "val",
            "at": at,
            "label_resize": "bilinear-logits",
            "tta": "none",
            "images": images,
            "done": done,
            "root": "/data",
            "classes": CLASSES,
            "colors": COLORS,
        }
    )


def image_event(image: str, dice: float | None, at: str = "original") -> ImageScores:
    return ImageScores.model_validate(
        {
            "image": image,
            "split": "val",
            "at": at,
            "dice": dice,
            "miou": iou(dice),
            "pixel_accuracy": dice,
            "valid_pixels": 0 if dice is None else 100,
            "class_dice": {"road": dice, "person": None, "car": None if dice is None else 1 - dice},
        }
    )


def progress(epoch: int, phase: str, step: int = 5) -> Progress:
    training = phase == "train"
    return Progress.model_validate(
        {
            "phase": phase,
            "epoch": epoch,
            "step": step,
            "steps": 10,
            "loss": 0.5 if training else None,
            "images_per_second": 8.0 if training else 25.0,
            "eta_seconds": 60.0 if training else None,
        }
    )


def iou(dice: float | None) -> float | None:
    return None if dice is None else dice / (2 - dice)


def make_run_dir(
    runs: Path,
    run_id: str,
    journal: MadeUpJournal | None = None,
    config: RunConfig | None = None,
    **card: object,
) -> RunDir:
    """A run directory as the engine makes it, with its journal so far."""
    values = {"name": f"run {run_id}", "experiment": "test", "created": 900.0} | card
    run = RunDir(runs / run_id)
    run.create(RunCard(id=run_id, **values), config or RunConfig())  # type: ignore[arg-type]
    if journal is not None:
        journal.write(run.journal)
    return run


def finished_journal() -> MadeUpJournal:
    """Three epochs, the second of them the best."""
    journal = MadeUpJournal()
    journal.begin()
    journal.epoch(1, 0.2, 0.3)
    journal.epoch(2, 0.4, 0.6)
    journal.epoch(3, 0.5, 0.5)
    journal.add(result_event(2, 0.6))
    journal.finish(3)
    return journal


def resumed_journal() -> MadeUpJournal:
    """Four epochs, then a crash; the second attempt goes on behind epoch 2 and does worse."""
    journal = MadeUpJournal()
    journal.begin()
    for epoch, dice in enumerate((0.1, 0.2, 0.9, 0.8), start=1):
        journal.epoch(epoch, dice, dice)
    journal.add(result_event(1, 0.1))
    journal.add(result_event(3, 0.9))
    journal.add(Failed(cause="out_of_memory", message="no memory left", traceback="Traceback ..."))
    journal.begin(resumed_from_epoch=2)
    journal.epoch(3, 0.3, 0.4)
    journal.epoch(4, 0.4, 0.35)
    journal.epoch(5, 0.5, 0.38)
    journal.add(result_event(3, 0.4))
    journal.finish(5)
    return journal


def open_store(folder: Path, timeout: float = 5.0) -> Store:
    return Store(f"sqlite:///{folder / 'experiments.db'}", timeout)


def add_run(store: Store, run_id: str = "aaaaaaaa", config: RunConfig | None = None, **card: object) -> str:
    values = {"name": f"run {run_id}", "experiment": "test", "created": 900.0} | card
    store.lifecycle.create(RunCard(id=run_id, **values), config or RunConfig())  # type: ignore[arg-type]
    return run_id


def ingest(store: Store, run_id: str, events: list[AnyEvent]) -> RunRow:
    """Fold events; each counts as a byte of the journal."""
    offset = store.run(run_id).journal_offset
    store.journals.ingest(run_id, events, offset + len(events), offset)
    return store.run(run_id)


def everything(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables; how often a run was written to is left out."""
    with store.database.read() as connection:
        return {
            name: sorted((tuple(row) for row in connection.execute(_all_of(table))), key=repr)
            for name, table in metadata.tables.items()
        }


def _all_of(table: sa.Table) -> sa.Select[tuple[object, ...]]:
    return sa.select(*(column for column in table.c if column.name != "changed"))


def latency_config(source: str) -> RunConfig:
    """Of a run of the task `latency` that looks at the run `source`."""
    about = {"source": source, "checkpoint": f"../{source}/checkpoints/best.pt"}
    return RunConfig.model_validate({"task": "latency", "latency": about})


def latency_result(number: int = 0, seconds: float = 0.02, **fields: object) -> LatencyResult:
    """A measurement at the input size of the default config."""
    about = {
        "number": number,
        "protocol": "engine",
        "runtime": "torch",
        "precision": "fp32",
        "compiled": False,
        "height": 128,
        "width": 128,
        "passes": 300,
        "median_seconds": seconds,
        "p95_seconds": 1.1 * seconds,
        "p99_seconds": 1.2 * seconds,
        "mean_seconds": seconds,
        "frames_per_second": 1 / seconds,
        "device": "cpu",
        "device_name": "A CPU",
        "threads": 2,
    }
    return LatencyResult.model_validate(about | fields)


def latency_journal(source: str, *results: LatencyResult) -> MadeUpJournal:
    journal = MadeUpJournal()
    journal.begin()
    measured = results or (latency_result(), latency_result(1, 0.01, protocol="literature"))
    path = f"../{source}/checkpoints/best.pt"
    journal.add(Timed(source=source, checkpoint=path, sha256="00", epoch=2, measurements=len(measured)))
    for result in measured:
        journal.add(result)
    journal.add(Finished(epoch=0, seconds=12.0))
    return journal
