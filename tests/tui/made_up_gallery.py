"""Galleries that no network predicted: a street with a person and a car, better from epoch to epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.report.score_maps import FULL
from engine.workspace import Workspace
from tests.engine.made_up_runs import (
    COLORS,
    detection_config,
    detection_journal,
    evaluation_config,
    evaluation_journal,
    make_run_dir,
)
from tests.tui.made_up_workspace import NOW, add, learning_journal

ROAD, PERSON, CAR, VOID = 0, 1, 2, 255
HEIGHT, WIDTH = 32, 64
SAMPLES = ("val__a__one", "val__a__two", "val__b__three")


def target(number: int) -> NDArray[np.uint8]:
    """Void above, road below, a person one pixel wide and a car; each sample has them elsewhere."""
    labels = np.full((HEIGHT, WIDTH), ROAD, dtype=np.uint8)
    labels[:4] = VOID
    labels[6:30, 5 + 8 * number] = PERSON
    labels[16:26, 40 : 56 - 4 * number] = CAR
    return labels


def prediction(number: int, share: float) -> NDArray[np.uint8]:
    """The left `share` of the target is right; beyond it all is road."""
    labels = target(number)
    labels[labels == VOID] = ROAD
    labels[:, round(share * WIDTH) :] = ROAD
    return labels


def image(number: int) -> NDArray[np.uint8]:
    """A grey gradient with the car in it, the same on every machine."""
    grey = np.add.outer(np.arange(HEIGHT) * 3, np.arange(WIDTH) * 2).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=2)
    picture[target(number) == CAR] = (40, 60, 160)
    return picture


def write_class_map(path: Path, labels: NDArray[np.uint8]) -> None:
    class_map = Image.fromarray(labels, mode="P")
    colors = [channel for color in COLORS for channel in bytes.fromhex(color[1:])]
    class_map.putpalette(colors + [0] * (768 - len(colors)))
    path.parent.mkdir(parents=True, exist_ok=True)
    class_map.save(path)


def write_epoch(gallery: Path, epoch: int, shares: Sequence[float]) -> None:
    """The predictions of an epoch, one share of what is right for each sample, and the inputs."""
    for number, (name, share) in enumerate(zip(SAMPLES, shares, strict=True)):
        inputs = gallery / "inputs"
        write_class_map(inputs / f"{name}_target.png", target(number))
        Image.fromarray(image(number)).save(inputs / f"{name}_image.png")
        write_class_map(gallery / f"epoch_{epoch:04d}" / f"{name}.png", prediction(number, share))


def add_with_gallery(
    workspace: Workspace,
    run_id: str,
    epochs: Sequence[int] = (10, 20, 30),
    skill: float = 1.0,
    **card: object,
) -> str:
    """A finished run whose gallery has these epochs; in the last one all is right when `skill` is 1."""
    journal = learning_journal(0.6)
    journal.finish(30)
    changes: dict[str, object] = {"data.size": f"{HEIGHT}x{WIDTH}"}
    add(workspace, run_id, journal, changes, **({"created": NOW - 500.0} | card))
    for place, epoch in enumerate(epochs, start=1):
        share = skill * place / len(epochs)
        write_epoch(workspace.run_dir(run_id).gallery, epoch, (share, share * 0.5, share * 0.9))
    return run_id


def add_evaluation(
    workspace: Workspace, run_id: str, epoch: int = 2, kept: int = 2, ended: bool = True, **card: object
) -> str:
    """An evaluation of 20 images at twice the size, which has kept its `kept` worst; `score_of` each."""
    scores = {name.replace("__", "/"): score_of(place) for place, name in enumerate(SAMPLES)}
    journal = evaluation_journal("gal00001", scores)
    if not ended:
        journal.events = journal.events[:-2]
    run = make_run_dir(
        workspace.runs, run_id, journal, evaluation_config("gal00001"), **({"created": NOW - 400.0} | card)
    )
    for number, name in enumerate(SAMPLES[:kept]):
        large = {"image": image(number), "target": target(number)}
        large = {what: array.repeat(2, axis=0).repeat(2, axis=1) for what, array in large.items()}
        write_class_map(run.gallery / "inputs" / f"{name}_target.png", large["target"])
        Image.fromarray(large["image"]).save(run.gallery / "inputs" / f"{name}_image.png")
        predicted = prediction(number, 0.5).repeat(2, axis=0).repeat(2, axis=1)
        write_class_map(run.gallery / f"epoch_{epoch:04d}" / f"{name}.png", predicted)
    with workspace.open_store() as store:
        store.journals.import_run(run)
    return run_id


def add_detection(workspace: Workspace, run_id: str) -> str:
    """A run of the task ood: of every image the left half scores as 0.8 of the known pixels, of the rest the
    upper half as 0.96 and the lower as 0.995; sml says 0 everywhere."""
    config, journal = detection_config("gal00001"), detection_journal()
    run = make_run_dir(workspace.runs, run_id, journal, config, created=NOW - 300)
    write_epoch(run.gallery, 3, (1.0, 1.0, 1.0))
    shares = np.full((HEIGHT, WIDTH), 0.8)
    shares[: HEIGHT // 2, WIDTH // 2 :] = 0.96
    shares[HEIGHT // 2 :, WIDTH // 2 :] = 0.995
    (run.gallery / "scores").mkdir()
    for name in SAMPLES:
        for score, values in (("energy", shares), ("sml", 0 * shares)):
            levels = (values * FULL).round().astype(np.uint16)
            Image.fromarray(levels).save(run.gallery / "scores" / f"{name}_{score}.png")
    with workspace.open_store() as store:
        store.journals.import_run(run)
    return run_id


def score_of(place: int) -> float:
    """The Dice that an evaluation gave a sample: the second of them is the worst."""
    return (0.4, 0.2, 0.6)[place]
