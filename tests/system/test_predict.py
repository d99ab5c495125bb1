"""`seg-engine predict`: class maps of images at their own size, and what a damaged image costs."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.classes import CITYSCAPES
from engine.config.task_sections import PredictConfig
from engine.data.class_map_files import ClassMapWriter
from engine.inference.predict import still_to_make
from engine.run.directory import RunDir
from engine.run.scoring_events import Predicting
from engine.workspace import Workspace
from tests.engine.made_up_runs import MadeUpJournal, make_run_dir
from tests.system.test_evaluate import FAST, SOURCE, query, source  # noqa: F401
from tests.system.test_run_command import Command, command, done  # noqa: F401


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    returncode: int
    stdout: str
    stderr: str


def ended(process: subprocess.Popen[str]) -> Ended:
    return Ended(*done(process))


SETTINGS = tuple(word for key in FAST for word in ("--set", key))


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(path))


@pytest.fixture
def images(street: Path, tmp_path: Path) -> Path:
    """Three images in folders of their own, of different sizes."""
    folder = tmp_path / "images"
    found = sorted(street.glob("leftImg8bit/train/*/*.png"))[:3]
    for number, path in enumerate(found):
        (folder / f"part{number}").mkdir(parents=True)
        picture = Image.open(path)
        width, height = picture.size
        picture.resize((width - 3 * number, height)).save(folder / f"part{number}" / path.name)
    return folder


def test_the_class_maps_are_what_evaluate_scores(
    command: Command,  # noqa: F811
    source: RunDir,  # noqa: F811
    street: Path,
    tmp_path: Path,
) -> None:
    evaluated = ended(command("evaluate", SOURCE, *FAST, "--split", "val", "--json"))
    assert evaluated.returncode == 0, evaluated.stderr
    found = sorted(str(path) for path in street.glob("leftImg8bit/train/*/*.png"))
    out = tmp_path / "out"
    made = ended(command("predict", SOURCE, *found, "--out", str(out), "--ids", "raw", *SETTINGS))
    assert made.returncode == 0, made.stderr
    assert str(out) in made.stdout

    rows = query(tmp_path, "SELECT image, dice, valid_pixels FROM image_scores")
    assert rows
    total = correct = 0
    for name, _, _ in rows:
        (image,) = (Path(path) for path in found if str(name) in path)
        label = Path(str(image).replace("leftImg8bit", "gtFine").replace(".png", "_labelIds.png"))
        target, predicted = pixels(label), pixels(out / "ids" / image.name)
        assert predicted.shape == target.shape
        valid = np.isin(target, [info.ids[0] for info in CITYSCAPES.classes])
        total += int(valid.sum())
        correct += int((predicted == target)[valid].sum())
    ((accuracy,),) = query(tmp_path, "SELECT pixel_accuracy FROM evaluations")
    assert correct / total == pytest.approx(accuracy, abs=1e-12)


def test_ids_colours_and_overlays_belong_together(
    command: Command,  # noqa: F811
    source: RunDir,  # noqa: F811
    images: Path,
    tmp_path: Path,
) -> None:
    made = ended(command("predict", SOURCE, str(images), "--out", "out", *SETTINGS))
    assert made.returncode == 0, made.stderr
    originals = sorted(images.rglob("*.png"))
    colors = np.array([info.color for info in CITYSCAPES.classes], dtype=np.uint8)
    for image in originals:
        ids = pixels(tmp_path / "out/ids" / image.name)
        assert ids.max() < len(colors)
        assert ids.shape == pixels(image).shape[:2]
        color = pixels(tmp_path / "out/color" / image.name)
        assert (color == colors[ids]).all()
        mixed = (color.astype(int) + pixels(image)) / 2
        assert np.abs(pixels(tmp_path / "out/overlay" / image.name) - mixed).max() <= 1
    ((task, status, source_id, steps),) = query(
        tmp_path, "SELECT task, status, source, step FROM runs WHERE task = 'predict'"
    )
    assert (task, status, source_id, steps) == ("predict", "finished", SOURCE, len(originals))


def test_a_damaged_image_costs_itself_alone_and_what_is_missing_can_be_made_later(
    command: Command,  # noqa: F811
    source: RunDir,  # noqa: F811
    images: Path,
    tmp_path: Path,
) -> None:
    (good, damaged, other) = sorted(images.rglob("*.png"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    made = ended(command("predict", SOURCE, str(images), *SETTINGS, "--json"))
    assert made.returncode == 1
    run = RunDir(tmp_path / "runs" / json.loads(made.stdout.splitlines()[0])["run"])
    end = json.loads(made.stdout.splitlines()[-1])
    assert end["message"].startswith("1 of 3 images could not be used; the others are done: ")
    assert str(damaged) in end["message"]
    there = {path.name for path in (run.outputs / "ids").iterdir()}
    assert there == {good.name, other.name}

    damaged.write_bytes(whole)
    before = (run.outputs / "ids" / good.name).stat().st_mtime_ns
    again = ended(command("resume", run.id))
    assert again.returncode == 0, again.stderr
    assert (run.outputs / "ids" / damaged.name).exists()
    assert (run.outputs / "ids" / good.name).stat().st_mtime_ns == before, "what is made is not made again"


def test_class_maps_of_other_weights_are_made_again(tmp_path: Path) -> None:
    run = make_run_dir(tmp_path, "cccc3333")
    about = PredictConfig(source="r", checkpoint="c", images=("/x/a.png", "/x/b.png"), out="outputs")
    wanted = [(Path(image), Path(image).name) for image in about.images]
    writer = ClassMapWriter.of(run.outputs, (0, 1), ("#000000", "#ffffff"))
    warnings: list[str] = []
    job: Any = SimpleNamespace(run=run, warn=warnings.append)
    journal = MadeUpJournal()

    def attempt(sha256: str) -> list[str]:
        network: Any = SimpleNamespace(sha256=sha256)
        journal.begin()
        journal.write(run.journal)
        left = still_to_make(job, about, network, writer, wanted)
        journal.add(
            Predicting(
                source="r",
                checkpoint="c",
                sha256=sha256,
                epoch=1,
                images=2,
                done=2 - len(left),
                out="outputs",
                label_resize="nearest",
                tta="none",
                classes=["road", "car"],
                colors=["#000000", "#ffffff"],
            )
        )
        journal.write(run.journal)
        return [name for _, name in left]

    assert attempt("1") == ["a.png", "b.png"]
    writer.write("a.png", Image.new("RGB", (4, 4)), np.zeros((4, 4), np.uint8))
    assert (attempt("1"), warnings) == (["b.png"], [])
    assert attempt("2") == ["a.png", "b.png"]
    assert warnings == ["the checkpoint has changed; all class maps are made again"]
    assert not any((run.outputs / "ids").iterdir()), "whoever is stopped now takes none of them for its own"
    assert (attempt("2"), len(warnings)) == (["a.png", "b.png"], 1)


def test_names_as_the_cityscapes_server_wants_them(
    command: Command,  # noqa: F811
    source: RunDir,  # noqa: F811
    images: Path,
    tmp_path: Path,
) -> None:
    made = ended(
        command(
            "predict",
            SOURCE,
            str(images),
            "--out",
            "out",
            "--naming",
            "cityscapes",
            "--ids",
            "raw",
            *SETTINGS,
        )
    )
    assert made.returncode == 0, made.stderr
    for image in images.rglob("*.png"):
        base = image.name.removesuffix("_leftImg8bit.png")
        (found,) = (tmp_path / "out/ids").glob(f"{base}*.png")
        assert np.isin(pixels(found), [info.ids[0] for info in CITYSCAPES.classes]).all()


def test_wrong_use_is_one_line_and_makes_nothing(
    command: Command,  # noqa: F811
    source: RunDir,  # noqa: F811
    images: Path,
    tmp_path: Path,
) -> None:
    first = sorted(images.rglob("*.png"))[0]
    shutil.copy(first, images / first.name)
    shutil.copy(first, images / "plain.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "out/ids").mkdir(parents=True)
    (tmp_path / "out/ids/plain.png").touch()
    plain = str(images / "plain.png")
    for words, said in (
        ((str(images),), "would both be"),
        (("nowhere.png",), "nowhere.png: there is no such file or folder"),
        (("empty",), "empty: has no images"),
        ((plain, "--naming", "cityscapes"), "is not named as Cityscapes names images"),
        ((plain, "--out", "out"), "already exists; use another --out or add --overwrite"),
        ((plain, "--out", "images/plain.png"), "is a file; name a folder"),
        ((plain, "--ids", "rwa"), "did you mean raw?"),
        ((plain, "--set", "epochs=3"), "epochs: is fixed by the training"),
        ((plain, "device=cpu"), "device=cpu: is no image; a KEY=VALUE goes behind --set: --set device=cpu"),
        ((plain, "--checkpoint", "epoch_0010.pt"), "has no such checkpoint"),
    ):
        made = ended(command("predict", SOURCE, *words))
        assert made.returncode == 2, words
        assert said in made.stderr
        assert len(made.stderr.splitlines()) == 1, made.stderr
    assert query(tmp_path, "SELECT count(*) FROM runs") == [(1,)]
    made = ended(command("predict", SOURCE, plain, "--out", "out", "--overwrite", *SETTINGS))
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "out/ids/plain.png").stat().st_size > 0


def test_a_prediction_can_wait_for_its_run_and_is_shown(
    command: Command,  # noqa: F811
    source: RunDir,  # noqa: F811
    images: Path,
    tmp_path: Path,
) -> None:
    made = ended(command("predict", SOURCE, str(images), "--name", "maps", *SETTINGS))
    assert made.returncode == 0, made.stderr
    shown = ended(command("show", "maps"))
    assert shown.returncode == 0, shown.stderr
    assert "prediction" in shown.stdout
    refused = ended(command("predict", "maps", str(images)))
    assert refused.returncode == 2
    assert "is of the task predict, not train" in refused.stderr
    with Workspace(tmp_path).open_store() as store:
        store.lifecycle.set_status(SOURCE, "stopped")
    rebuilt = ended(command("db", "rebuild"))
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert query(tmp_path, "SELECT source FROM runs WHERE name = 'maps'") == [(SOURCE,)]
