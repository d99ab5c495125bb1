"""`seg-engine evaluate` from the command to the database, against an independent computation."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from engine.classes import CITYSCAPES
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.data.batches import MEAN, STD
from engine.learning.checkpoint import save_checkpoint
from engine.metrics.boundary import BoundaryCounter
from engine.metrics.instances import InstanceCounter
from engine.metrics.scores import scores_from_confusion
from engine.models.builtin import UNetConfig
from engine.models.registry import build_model
from engine.report.gallery import image_scores, read_sample
from engine.run.directory import RunCard, RunDir
from engine.run.journal import read_all
from engine.run.scoring_events import ImageScores
from engine.workspace import Workspace
from tests.engine.made_up_runs import MadeUpJournal
from tests.system.test_run_command import Command, command, done  # noqa: F401

CLASSES = list(CITYSCAPES.names)
SOURCE = "source00"
FAST = ("runtime.threads=1", "precision=fp32")


def query(workspace: Path, sql: str) -> list[tuple[object, ...]]:
    """Rows, and no connection left open that would keep a rebuild waiting."""
    with contextlib.closing(sqlite3.connect(workspace / "experiments.db")) as connection:
        return connection.execute(sql).fetchall()


def untrained(run: RunDir, seed: int) -> None:
    """A checkpoint with weights as they are drawn, but for a head that prefers no class."""
    torch.manual_seed(seed)
    model = build_model(UNetConfig(width=4), len(CLASSES))
    content = {"model_config": UNetConfig(width=4).model_dump(mode="json"), "classes": CLASSES, "epoch": 7}
    save_checkpoint(run.checkpoints / "best.pt", {**content, "model": model.state_dict()})


@pytest.fixture
def source(street: Path, tmp_path: Path) -> RunDir:
    """A run of the workspace `tmp_path` that has ended, with a network at 32x48."""
    return make_source(street, tmp_path, SOURCE)


def make_source(street: Path, tmp_path: Path, run_id: str, seed: int = 0) -> RunDir:
    workspace = Workspace(tmp_path)
    values = {"data.root": str(street), "data.size": "32x48", "data.val_fraction": "0.25", "model.width": 4}
    run = workspace.run_dir(run_id)
    run.create(RunCard(run_id, run_id, "e", 900.0), with_values(RunConfig(), values))
    untrained(run, seed)
    journal = MadeUpJournal()
    journal.begin()
    journal.epoch(7, 0.5, 0.5)
    for position, event in enumerate(journal.events):
        if event.event == "data":
            named: dict[str, Any] = {"classes": CLASSES, "colors": [c.hex_color for c in CITYSCAPES.classes]}
            named |= {"train_images": 6, "val_images": 2}  # as the split has it
            journal.events[position] = event.model_copy(update=named)
    journal.finish(7)
    journal.write(run.journal)
    with workspace.open_store() as store:
        store.journals.import_run(run)
    return run


def made_by(out: str, workspace: Path) -> RunDir:
    return RunDir(workspace / "runs" / json.loads(out.splitlines()[0])["run"])


def expected_confusion(run: RunDir, image: Path, label: Path, nearest: bool) -> Any:
    """Of one image, by plain torch and numpy: resize, predict, resize the whole, count in a loop."""
    model = build_model(UNetConfig(width=4), len(CLASSES))
    model.load_state_dict(torch.load(run.checkpoints / "best.pt", weights_only=True)["model"])
    picture = Image.open(image).convert("RGB").resize((48, 32), Image.Resampling.BILINEAR)
    pixels = (np.asarray(picture, dtype=np.float32) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    source = np.asarray(Image.open(label))
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    if nearest:
        small = logits.argmax(1)[None].double()
        predicted = (
            functional.interpolate(small, size=source.shape, mode="nearest-exact")[0, 0].long().numpy()
        )
    else:
        large = functional.interpolate(logits.double(), size=source.shape, mode="bilinear")
        predicted = large.argmax(1)[0].numpy()
    matrix = np.zeros((19, 20), dtype=np.int64)
    for train_id, about in enumerate(CITYSCAPES.classes):
        chosen = predicted[np.isin(source, about.ids)]
        matrix[train_id, :19] = np.bincount(chosen, minlength=19)
    return matrix


def kept_scores(run: RunDir, epoch: int = 7) -> dict[str, float | None]:
    """The Dice of each kept prediction, counted anew from the files of the gallery."""
    (folder,) = run.gallery.glob("epoch_*")
    assert folder.name == f"epoch_{epoch:04d}"
    samples = {path.stem: read_sample(run.gallery, path, len(CLASSES)) for path in folder.glob("*.png")}
    assert len(list((run.gallery / "inputs").iterdir())) == 2 * len(samples)
    return {
        name.replace("__", "/"): image_scores(sample, len(CLASSES)).dice for name, sample in samples.items()
    }


def kept_boundaries(run: RunDir) -> dict[tuple[str, str], float | None]:
    """Boundary IoU and F at 3 pixels of the kept predictions, by metric and class ("": the mean)."""
    counter = BoundaryCounter(len(CLASSES))
    for path in next(run.gallery.glob("epoch_*")).glob("*.png"):
        sample = read_sample(run.gallery, path, len(CLASSES))
        counter.add(sample.prediction, sample.target)
    scores = counter.scores()
    found: dict[tuple[str, str], float | None] = {}
    for name, mean, by_class in (
        ("boundary_iou", scores.iou, scores.class_iou),
        ("boundary_f_3px", scores.f[3], scores.class_f[3]),
    ):
        found |= {(name, ""): mean, **{(name, c): v for c, v in zip(CLASSES, by_class, strict=True)}}
    return found


def boundary_scores(workspace: Path, run: RunDir) -> dict[tuple[str, str], float | None]:
    rows = query(
        workspace,
        f"SELECT metric, class, value FROM metric_scores WHERE run = '{run.id}'"
        " AND metric IN ('boundary_iou', 'boundary_f_3px')",
    )
    return {(str(metric), str(name)): value for metric, name, value in rows}


@pytest.mark.parametrize("way", ["bilinear-logits", "nearest"])
def test_the_original_size_is_scored_as_an_independent_program_does(
    command: Command,  # noqa: F811
    source: RunDir,
    street: Path,
    tmp_path: Path,
    way: str,
) -> None:
    status, out, err = done(
        command("evaluate", SOURCE, *FAST, "--split", "train", "--label-resize", way, "--boundary", "--json")
    )
    assert status == 0, err
    run = made_by(out, tmp_path)
    scored = [event for event in read_all(run.journal) if isinstance(event, ImageScores)]
    assert len(scored) == 6
    total = np.zeros((19, 20), dtype=np.int64)
    for event in scored:
        stem = event.image.removeprefix("train/")
        image = street / f"leftImg8bit/train/{stem}_leftImg8bit.png"
        label = street / f"gtFine/train/{stem}_gtFine_labelIds.png"
        expected = expected_confusion(source, image, label, nearest=way == "nearest")
        total += expected
        scores = scores_from_confusion(expected)
        assert (event.dice, event.miou) == (
            pytest.approx(scores.dice, abs=1e-3),
            pytest.approx(scores.miou, abs=1e-3),
        )
        assert event.valid_pixels == expected.sum()
    assert kept_scores(run) == {event.image: event.dice for event in scored}
    assert boundary_scores(tmp_path, run) == kept_boundaries(run)
    ((confusion, dice, epoch, parameters, latency, checkpoint),) = query(
        tmp_path,
        "SELECT confusion, dice, epoch, parameters, latency_seconds, checkpoint FROM evaluations"
        f" WHERE source = '{SOURCE}'",
    )
    found = np.array(json.loads(str(confusion)))
    # A sum of products in another order may turn an argmax that is nearly even.
    assert np.abs(found - total).sum() <= 2 * 3
    assert dice == pytest.approx(scores_from_confusion(found).dice, abs=1e-12)
    assert (epoch, checkpoint) == (7, f"../{SOURCE}/checkpoints/best.pt")
    assert parameters == sum(p.numel() for p in build_model(UNetConfig(width=4), 19).parameters())
    assert isinstance(latency, float)
    assert latency > 0


def test_a_comparison_and_the_database_made_again(
    command: Command,  # noqa: F811
    source: RunDir,
    street: Path,
    tmp_path: Path,
) -> None:
    make_source(street, tmp_path, "other000", seed=1)
    status, _, err = done(command("evaluate", "other000", *FAST, "--split", "train", "--baseline", SOURCE))
    assert status == 2
    assert f"`seg-engine evaluate {SOURCE} --data {street} --split train --at original" in err
    required = ("--require", "dice>=0", "--require", "road.recall>0.999")
    status, _, err = done(command("evaluate", SOURCE, *FAST, "--require", "persn.recall>=0.9"))
    assert (status, "did you mean person.recall?" in err) == (2, True)
    status, out, err = done(
        command("evaluate", SOURCE, *FAST, "--split", "train", "--tta", "flip", "--keep", "2", *required)
    )
    assert status == 1, err
    assert "frames/s" in out
    met, missed = (line for line in out.splitlines() if line.startswith("required "))
    assert (met.endswith(", met"), missed.endswith(", not met")) == (True, True)
    ((run_id,),) = query(tmp_path, f"SELECT run FROM evaluations WHERE source = '{SOURCE}'")
    worst = query(
        tmp_path, f"SELECT image, dice FROM image_scores WHERE run = '{run_id}' ORDER BY dice, image LIMIT 2"
    )
    assert sorted(kept_scores(RunDir(tmp_path / "runs" / str(run_id))).items()) == sorted(worst)
    status, _, err = done(command("evaluate", "other000", *FAST, "--split", "train", "--baseline", SOURCE))
    assert status == 2, "one with test-time augmentation is no baseline of one without"
    status, _, err = done(command("evaluate", SOURCE, *FAST, "--split", "train"))
    assert status == 0, err
    status, out, err = done(
        command(
            *("evaluate", "other000", *FAST, "--split", "train", "--baseline", SOURCE, "--json"),
            *("--critical", "road", "--require", "road.instances>=6", "--require", "critical_recall>=0"),
        )
    )
    assert status == 0, err
    *events, compared, judged, of_pixels = map(json.loads, out.splitlines())
    assert (judged["event"], judged["name"], judged["met"]) == ("requirement", "road.instances", True)
    (result,) = (event for event in events if event["event"] == "result")
    (recall,) = (metric for metric in result["metrics"] if metric["name"] == "critical_recall")
    place = CLASSES.index("road")
    true = result["confusion"][place]
    assert recall["classes"] == {"road": pytest.approx(true[place] / sum(true))}
    assert of_pixels["value"] == recall["value"] == recall["classes"]["road"]
    assert (compared["event"], compared["source"]) == ("baseline", SOURCE)
    for one in compared["differences"]:
        assert one["difference"] == pytest.approx(one["value"] - one["baseline"])
        assert one["low"] <= one["difference"] <= one["high"]

    tables = {"images": "run_id, seq", "results": "run_id, seq", "metrics": "run_id, metric, class_name"}
    before = {table: query(tmp_path, f"SELECT * FROM {table} ORDER BY {by}") for table, by in tables.items()}
    assert len(before["images"]) == 18
    status, _, err = done(command("db", "rebuild"))
    assert status == 0, err
    assert {
        table: query(tmp_path, f"SELECT * FROM {table} ORDER BY {by}") for table, by in tables.items()
    } == before
    status, out, err = done(command("show", "other000"))
    assert "critical classes; found: at least half of the pixels of an instance" in out, err

    status, out, err = done(command("images", "other000", "--sort", "-class:road", "--json", "--limit", "3"))
    assert status == 0, err
    roads = [image["class_dice"]["road"] for image in json.loads(out)]
    assert roads == sorted(roads, reverse=True)


def test_what_a_network_sees_in_windows_is_told_apart(
    command: Command,  # noqa: F811
    source: RunDir,
    tmp_path: Path,
) -> None:
    wanted = ("evaluate", SOURCE, *FAST, "data.size=64x80", "--split", "train", "--keep", "0")
    for options in ((), ("--window", "32x48")):
        status, out, err = done(command(*wanted, *options))
        assert status == 0, err
    rows = query(
        tmp_path,
        "SELECT window_size, window_stride, flops_per_sample FROM evaluations "
        f"WHERE source = '{SOURCE}' AND run != source ORDER BY t",
    )
    assert [row[:2] for row in rows] == [("", ""), ("32x48", "21x32")]
    assert int(str(rows[1][2])) * 64 * 80 == int(str(rows[0][2])) * 6 * 32 * 48
    status, out, err = done(command("show", SOURCE))
    assert status == 0, err
    assert "windows 32x48/21x32" in out
    status, out, err = done(command("compare", SOURCE))
    assert "Dice, train at original, 6 images, input 64x80, windows 32x48 every 21x32" in out


def test_ctrl_c_keeps_what_is_scored_and_resume_does_the_rest(
    command: Command,  # noqa: F811
    source: RunDir,
    street: Path,
    tmp_path: Path,
) -> None:
    data = many(street, tmp_path.parent / f"{tmp_path.name}-many", 60)
    options = (
        *FAST,
        "--data",
        str(data),
        "--split",
        "train",
        "--tta",
        "flip,scales",
        "--keep",
        "-1",
        "--boundary",
        "--critical",
        "road,building",
        "--json",
    )
    process = command("evaluate", SOURCE, *options)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if json.loads(line)["event"] == "image":
            break
    process.send_signal(signal.SIGINT)
    status, out, err = done(process)
    assert status == 3, err
    run = made_by(lines[0], tmp_path)
    status, out, err = done(command("resume", run.id, "--json"))
    assert status == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    (begun,) = (event for event in events if event["event"] == "evaluating")
    scored = [event["image"] for event in events if event["event"] == "image"]
    assert 1 <= begun["done"] < 60
    assert len(scored) == 60 - begun["done"]
    assert query(
        tmp_path, f"SELECT count(*), count(DISTINCT image) FROM image_scores WHERE run = '{run.id}'"
    ) == [(60, 60)]
    assert query(tmp_path, f"SELECT images FROM evaluations WHERE run = '{run.id}'") == [(60,)]
    assert len(kept_scores(run)) == 60
    assert boundary_scores(tmp_path, run) == kept_boundaries(run), "counted once, over two attempts"
    counter = InstanceCounter(CITYSCAPES.names, ("road", "building"))
    for path in next(run.gallery.glob("epoch_*")).glob("*.png"):
        sample = read_sample(run.gallery, path, len(CLASSES))
        counter.add(sample.prediction, sample.target)
    wanted = {
        (metric.name, name): value
        for metric in counter.metrics()
        for name, value in ({"": metric.value} | metric.classes).items()
    }
    rows = query(tmp_path, f"SELECT metric, class, value FROM metric_scores WHERE run = '{run.id}'")
    found = {(metric, name): value for metric, name, value in rows}
    assert {key: found.get(key) for key in wanted} == wanted


def many(street: Path, root: Path, count: int) -> Path:
    """The first pair again and again, under different names."""
    image = next(street.rglob("*_leftImg8bit.png"))
    label = next(street.rglob("*_gtFine_labelIds.png"))
    for folder in ("leftImg8bit/train/c", "gtFine/train/c"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        shutil.copy(image, root / f"leftImg8bit/train/c/c_{index:06d}_000019_leftImg8bit.png")
        shutil.copy(label, root / f"gtFine/train/c/c_{index:06d}_000019_gtFine_labelIds.png")
    return root


def damage_image(root: Path) -> None:
    victim = sorted(root.rglob("*_leftImg8bit.png"))[1]
    victim.write_bytes(victim.read_bytes()[:300])


def void_labels(root: Path) -> None:
    for label in root.rglob("*_labelIds.png"):
        Image.fromarray(np.zeros_like(np.asarray(Image.open(label)))).save(label)


def remove_labels(root: Path) -> None:
    shutil.rmtree(root / "gtFine/train")
    (root / "gtFine/train").mkdir()


@pytest.mark.parametrize(
    ("spoil", "split", "status", "says"),
    [
        (damage_image, "train", 2, "data.skip_bad=true skips these samples"),
        (void_labels, "train", 2, "the labels of all 3 images of train are void"),
        (remove_labels, "train", 2, "has images (3) but no labels"),
        (
            lambda root: None,
            "val",
            2,
            "has no labelled images in val; there are: train (3); --split train scores those",
        ),
    ],
)
def test_data_that_cannot_be_scored_is_told_in_a_line(
    command: Command,  # noqa: F811
    source: RunDir,
    street: Path,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    split: str,
    status: int,
    says: str,
) -> None:
    data = many(street, tmp_path.parent / f"{tmp_path.name}-data", 3)
    spoil(data)
    ended, _, err = done(command("evaluate", SOURCE, *FAST, "--data", str(data), "--split", split))
    assert ended == status
    assert says in err
    assert "Traceback" not in err
    if status == 2:
        assert [path.name for path in (tmp_path / "runs").iterdir()] == [SOURCE]


def test_other_classes_are_refused_by_name(command: Command, source: RunDir, tmp_path: Path) -> None:  # noqa: F811
    data = tmp_path.parent / f"{tmp_path.name}-animals"
    for folder in ("images", "labels"):
        (data / folder).mkdir(parents=True)
        Image.fromarray(np.ones((32, 32), dtype=np.uint8)).save(data / folder / "a.png")
    (data / "classes.toml").write_text('[[class]]\nname = "cow"\ncolor = "#804080"\nids = [1]\n')
    changes = ("data.layout=auto", "data.classes=auto", "data.split=official")
    status, _, err = done(
        command("evaluate", SOURCE, *FAST, *changes, "--data", str(data), "--split", "train")
    )
    assert status == 2
    assert "its classes differ from those of source00: the data set lacks road" in err
    assert "also has cow" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("--split", "vall"),
            "--split: 'vall' is not allowed; it must be one of train | val | test; did you mean val?",
        ),
        (("--tta", "rotate"), "--tta: 'rotate' is not allowed"),
        (("epochs=3",), "epochs: is fixed by the training of source00"),
        (("--window", "32"), "--window: '32' is not a size; it must be HEIGHTxWIDTH such as 512x1024"),
        (("--window", "64x48"), "evaluate.window: 64x48 is larger than the images, 32x48"),
        (("--stride", "8x8"), "--stride is the step from one window to the next; add --window"),
        (("--checkpoint", "last"), "--checkpoint last: source00 has no such checkpoint; it has best.pt"),
        (("--baseline", SOURCE, "--queue"), "--baseline compares once the evaluation is done"),
    ],
)
def test_wrong_use_is_one_line_and_makes_nothing(
    command: Command,  # noqa: F811
    source: RunDir,
    tmp_path: Path,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    status, out, err = done(command("evaluate", SOURCE, *arguments))
    assert (status, out) == (2, "")
    assert says in err
    assert len(err.splitlines()) == 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [SOURCE]


def test_a_queued_evaluation_is_done_by_the_agent(command: Command, source: RunDir, tmp_path: Path) -> None:  # noqa: F811
    status, out, err = done(command("evaluate", SOURCE, *FAST, "--at", "input", "--queue", "--json"))
    assert status == 0, err
    run_id = json.loads(out.splitlines()[0])["run"]
    status, out, err = done(command("watch", run_id))
    assert status == 0, err
    assert query(tmp_path, f"SELECT at, images FROM evaluations WHERE run = '{run_id}'") == [("input", 2)]
