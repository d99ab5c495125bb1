"""`seg-engine ood`, `robustness` and `generalise` from the command to the database, on a network that knows
nothing."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import shutil
import signal
import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from engine.classes import CITYSCAPES
from engine.config.keys import with_values
from engine.data.batches import normalise
from engine.data.corruptions import corrupt
from engine.learning.checkpoint import save_checkpoint
from engine.metrics.scores import scores_from_confusion
from engine.models.builtin import UNetConfig
from engine.models.registry import build_model
from engine.run.directory import RunCard, RunDir, new_run_id
from engine.run.journal import read_all
from engine.run.scoring_events import EnvironmentResult, Generalising, OodImage, OodResult
from engine.workspace import Workspace
from tests.system.conftest import start_worker, wait_for_event, work
from tests.system.test_evaluate import (
    CLASSES,
    FAST,
    SOURCE,
    expected_confusion,
    source,  # noqa: F401
    untrained,
)
from tests.system.test_run_command import Command, command, done  # noqa: F401
from tests.unit.test_detection import by_definition

pytestmark = pytest.mark.usefixtures("source")


@pytest.fixture(scope="module")
def anomalies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of 40x60 with a square of noise, two of them with masks; one corner is ignored."""
    root, generator = tmp_path_factory.mktemp("anomalies"), np.random.default_rng(0)
    (root / "images").mkdir()
    (root / "masks").mkdir()
    for place, name in enumerate("abc"):
        pixels = np.full((40, 60, 3), 90, dtype=np.uint8)
        pixels[10:30, 20:40] = generator.integers(0, 256, (20, 20, 3))
        Image.fromarray(pixels).save(root / "images" / f"{name}.jpg")
        mask = np.zeros((40, 60), dtype=np.uint8)
        mask[10:30, 20:40] = 1
        mask[:5, :5] = 255
        if place < 2:
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    return root


def printed(process: subprocess.Popen[str]) -> str:
    """What a command printed that did what it was asked for."""
    status, out, err = done(process)
    assert status == 0, out + err
    return out


def wide_awake(run: RunDir) -> None:
    """Make the network of a run tell classes apart by what it sees: its batch norms know what images are."""
    path = run.checkpoints / "best.pt"
    content = torch.load(path, weights_only=True)
    model = build_model(UNetConfig(width=4), len(CLASSES)).train()
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(40):
            model(torch.randn(2, 3, 32, 48))
    save_checkpoint(path, {**content, "model": model.state_dict()})


def newest(workspace: Path) -> RunDir:
    with Workspace(workspace).open_store() as store:
        return Workspace(workspace).run_dir(store.runs(sort="-created_at")[0].id)


def query(workspace: Path, sql: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(workspace / "experiments.db")) as connection:
        return connection.execute(sql).fetchall()


def energies(checkpoint: Path, image: Path) -> np.ndarray:
    """-log sum exp of the logits of an image, at its own size."""
    model = build_model(UNetConfig(width=4), len(CLASSES)).eval()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    picture = Image.open(image).convert("RGB")
    seen = np.asarray(picture.resize((48, 32), Image.Resampling.BILINEAR))
    with torch.inference_mode():
        logits = model(normalise(torch.tensor(seen)[None]))
    full = functional.interpolate(logits, picture.size[::-1], mode="bilinear")
    return -full.double().logsumexp(1)[0].numpy()


def test_the_measures_are_those_of_the_scores_of_all_masked_pixels(
    source: RunDir,  # noqa: F811
    tmp_path: Path,
    anomalies: Path,
    command: Command,  # noqa: F811
) -> None:
    text = printed(command("ood", SOURCE, "--ood-data", str(anomalies), *FAST))
    assert "pixels: 800 out-of-distribution, 3,950 in-distribution" in text
    run = newest(tmp_path)
    results = {(e.level, e.score): e for e in read_all(run.journal) if isinstance(e, OodResult)}
    assert [score for level, score in results if level == "image"][-2:] == ["mahalanobis", "knn"]
    scores, positive = [], []
    for name in "ab":
        mask = np.asarray(Image.open(anomalies / "masks" / f"{name}.png"))
        energy = energies(source.checkpoints / "best.pt", anomalies / "images" / f"{name}.jpg")
        scores.append(energy[mask != 255])
        positive.append(mask[mask != 255] == 1)
    found = results["pixel", "energy"]
    expected = by_definition(np.concatenate(scores).astype(np.float32), np.concatenate(positive))
    assert (found.auroc, found.average_precision, found.fpr95) == pytest.approx(expected, abs=2e-3)
    assert found.error == 0

    # The third image is known by its mean alone; what is accepted is what does not exceed the threshold.
    images = {e.image: e for e in read_all(run.journal) if isinstance(e, OodImage)}
    third = energies(source.checkpoints / "best.pt", anomalies / "images" / "c.jpg").mean()
    assert images["c"].scores["energy"] == pytest.approx(third, abs=1e-4)
    threshold = results["image", "energy"].threshold
    with open(run.outputs / "decisions" / "energy.csv", newline="") as stream:
        decisions = list(csv.DictReader(stream))
    assert list(decisions[0]) == ["image_name", "include", "score"]
    assert {d["image_name"] for d in decisions} >= {"a", "b", "c"}
    for decision in decisions:
        assert decision["include"] == ("yes" if float(decision["score"]) <= threshold else "no")

    # The image that calibrated is not among those that are judged.
    (began,) = [e for e in read_all(run.journal) if e.event == "detecting"]
    assert (began.calibrating, began.cases, began.masked) == (1, 4, 2)
    assert query(tmp_path, "SELECT count(*) FROM ood_scores WHERE source = 'source00'") == [(12,)]
    assert query(tmp_path, "SELECT count(*) FROM image_decisions WHERE score = 'knn'") == [(4,)]
    shown = json.loads(printed(command("show", SOURCE, "--json")))
    assert len(shown["ood"]) == 12
    assert "AUROC" in printed(command("show", SOURCE))


def test_the_fit_is_made_once_for_a_checkpoint(
    source: RunDir,  # noqa: F811
    tmp_path: Path,
    anomalies: Path,
    command: Command,  # noqa: F811
) -> None:
    arguments = ("ood", SOURCE, "--out", str(anomalies), "--exact", "100", *FAST)
    printed(command(*arguments))
    first = newest(tmp_path)
    (fit,) = source.outputs.glob("ood-*.npz")
    assert "fit and thresholds loaded from" not in first.log.read_text()
    printed(command(*arguments))
    second = newest(tmp_path)
    assert f"fit and thresholds loaded from {fit}" in second.log.read_text()
    told = [
        [e.model_dump(exclude={"t", "seq"}) for e in read_all(run.journal) if isinstance(e, OodResult)]
        for run in (first, second)
    ]
    assert told[0] == told[1]
    assert 0 < told[0][0]["error"] < 0.1  # a histogram of 100 scores and more
    untrained(source, seed=1)
    printed(command(*arguments))
    assert len(list(source.outputs.glob("ood-*.npz"))) == 2


def test_classes_held_out_are_the_unknown(
    street: Path,
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    trained = printed(
        command(
            *("run", "quick", "--data", str(street), "--name", "without", "epochs=1", "data.size=32x32"),
            *("model.width=4", "data.val_fraction=0.25", "data.hold_out=[car, sky]", *FAST),
        )
    )
    assert "17 classes" in trained
    printed(command("ood", "without", "--pseudo", "held-out", *FAST))
    (row,) = query(
        tmp_path, "SELECT positives, negatives FROM ood_scores WHERE level = 'pixel' AND score = 'msp'"
    )
    # Of the two images held out one calibrates, the other is judged.
    expected = set()
    for path in street.rglob("*_labelIds.png"):
        ids = np.asarray(Image.open(path))
        out = np.isin(ids, [23, 26])
        expected.add(
            (int(out.sum()), int((np.isin(ids, [c.ids[0] for c in CITYSCAPES.classes]) & ~out).sum()))
        )
    assert row in expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "what is out-of-distribution? name a folder with --ood-data, or --pseudo void or held-out"),
        (["--pseudo", "held-out"], "no class was held out of training (data.hold_out)"),
        (["--ood-data", "nowhere"], "nowhere: no such folder"),
        (["--ood-data", ".", "--pseudo", "void"], "give one of them"),
        (["--ood-data", ".", "--accept", "1"], "ood.accept: must be less than 1, got 1.0"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_run_is_made(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    status, _, err = done(command("ood", SOURCE, *arguments))
    assert status == 2
    assert told in err
    assert query(tmp_path, "SELECT count(*) FROM runs") == [(1,)]


def test_images_are_scored_clean_and_corrupted(
    source: RunDir,  # noqa: F811
    street: Path,
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    wide_awake(source)
    printed(command("evaluate", SOURCE, *FAST))
    assert "jpeg" in printed(command("robustness", SOURCE, *FAST))
    (evaluated,) = query(tmp_path, "SELECT dice, dice_image, miou FROM evaluations WHERE at = 'original'")
    rows = query(
        tmp_path,
        "SELECT corruption, strength, dice, dice_image, miou, images FROM robustness_scores "
        "ORDER BY strength",
    )
    assert len(rows) == 31
    assert rows[0][:2] == ("clean", 0)
    assert rows[0][2:5] == pytest.approx(evaluated)
    assert {row[5] for row in rows} == {2}

    # Of one corruption the same by the files: the images corrupted, saved, and seen as any other.
    names = [name for (name,) in query(tmp_path, "SELECT image FROM image_scores")]
    counts = 0
    for name in names:
        image = street / "leftImg8bit" / f"{name}_leftImg8bit.png"
        corrupt(Image.open(image).convert("RGB"), "noise", 5, name).save(tmp_path / "noisy.png")
        label = street / "gtFine" / f"{name}_gtFine_labelIds.png"
        counts += expected_confusion(source, tmp_path / "noisy.png", label, nearest=False)
    (noisy,) = [row for row in rows if row[:2] == ("noise", 5)]
    assert noisy[2] == pytest.approx(scores_from_confusion(counts).dice, abs=1e-3)
    assert noisy[2] != pytest.approx(evaluated[0], abs=1e-3)

    # Elsewhere: the same numbers for the same images, merged classes for those of another folder.
    merged = tmp_path / "map.toml"
    merged.write_text('[merge]\nground = ["road", "sidewalk"]\n[leave_out]\nclasses = ["sky"]\n')
    shutil.copytree(street, tmp_path / "town")
    away = ("--data", f"{tmp_path / 'town'},split=train", "--corruptions", "noise", "--strength", "5")
    printed(command("generalise", SOURCE, *away, *FAST))
    told = "SELECT environment, kind, images, dice, miou, dice_low, dice_difference, dice_high, class_dice"
    own, shaken, town = query(tmp_path, f"{told} FROM environment_scores")
    assert own[:5] == ("validation", "own", 2, pytest.approx(evaluated[0]), pytest.approx(evaluated[2]))
    assert shaken[:4] == ("noise 5", "corruption", 2, pytest.approx(noisy[2]))
    assert shaken[6] == pytest.approx(noisy[2] - evaluated[0])
    assert town[:3] == ("town", "data", 8)
    assert town[5] <= town[6] <= town[7]
    printed(command("generalise", SOURCE, *away, "--class-map", str(merged), *FAST))
    names = list(json.loads(query(tmp_path, f"{told} FROM environment_scores")[-1][-1]))
    assert names[0] == "ground"
    assert len(names) == 17
    assert "sky" not in names


def test_a_generalisation_that_is_killed_goes_on_with_the_images_that_are_left(
    source: RunDir,  # noqa: F811
    street: Path,
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    wide_awake(source)
    shutil.copytree(street, tmp_path / "town")
    corrupted = [word for strength in "135" for word in ("--strength", strength)]
    away = ("--data", f"{tmp_path / 'town'},split=train", "--corruptions", "all", *corrupted)
    printed(command("generalise", SOURCE, *away, *FAST))
    whole, workspace = newest(tmp_path), Workspace(tmp_path)

    killed = workspace.run_dir(new_run_id())
    config = with_values(whole.read_config(), {"checkpoint.seconds": 0})
    killed.create(RunCard(killed.id, "killed", "e", 1000.0), config)
    worker = start_worker(killed)
    wait_for_event(killed, worker, lambda event: isinstance(event, EnvironmentResult) and event.place == 3)
    worker.kill()
    assert worker.wait() == -signal.SIGKILL
    assert work(killed) == 0, killed.log.read_text()
    first, second = (event for event in read_all(killed.journal) if isinstance(event, Generalising))
    assert first.done == 0
    assert 8 <= second.done < second.images  # of four environments, two images each
    with workspace.open_store() as store:
        store.journals.import_run(killed)
        one, other = (
            [replace(row, run_id="") for row in store.results.environments(run.id)] for run in (whole, killed)
        )
    assert one == other
    assert len(one) == 20


def test_a_network_that_diverged_is_refused_with_the_image_it_was_seen_at(
    source: RunDir,  # noqa: F811
    anomalies: Path,
    command: Command,  # noqa: F811
) -> None:
    path = source.checkpoints / "best.pt"
    content = torch.load(path, weights_only=True)
    next(iter(content["model"].values())).fill_(float("nan"))
    save_checkpoint(path, content)
    status, out, err = done(command("ood", SOURCE, "--ood-data", str(anomalies), *FAST))
    assert status == 1
    assert re.search(r"train/\S+: the network's output is NaN or infinite", out + err)
    assert "Traceback" not in out + err
    assert not list(source.outputs.glob("ood-*.npz"))
