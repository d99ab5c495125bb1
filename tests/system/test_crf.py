"""A fully connected CRF from the command to the database: searched for, used, and made again by a rebuild."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.config.crf import CrfParameters
from engine.inference.crf.mean_field import DenseCrf
from engine.inference.crf.refinement import use_of
from engine.inference.crf.search import proposed
from engine.inference.network import load_network
from engine.learning.class_maps import logits_at
from engine.learning.hardware import choose_hardware
from engine.run.crf_events import CrfSearching, CrfTrial
from engine.run.directory import RunDir
from engine.run.journal import read_all
from tests.system.test_evaluate import FAST, SOURCE, made_by, query, source  # noqa: F401
from tests.system.test_run_command import Command, command, done  # noqa: F401

SCORES = "SELECT task, corruption, miou_before, miou_after, seconds > 0, images FROM crf_scores"
CLASSES = "SELECT class, iou_before, iou_after FROM crf_class_scores WHERE iou_after IS NOT NULL"
TRIALS = "SELECT trial, kind, bilateral_sigma_xy, miou FROM crf_search_scores ORDER BY trial"


def ran(process: object) -> tuple[str, str]:
    """What a command printed and told, which must have done what it was to do."""
    status, out, err = done(process)  # type: ignore[arg-type]
    assert status == 0, err
    return out, err


def test_parameters_are_searched_on_training_images_and_used_where_the_scores_are_told(
    source: RunDir,  # noqa: F811
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    process = command("crf-search", SOURCE, *FAST, "--images", "3", "--trials", "60", "--json")
    assert process.stdout is not None
    first = process.stdout.readline()
    next(line for line in process.stdout if json.loads(line)["event"] == "crf_trial")
    process.send_signal(signal.SIGINT)
    assert done(process)[0] == 3
    search = made_by(first, tmp_path)
    ran(command("resume", search.id))
    events = read_all(search.journal)
    trials = [event for event in events if isinstance(event, CrfTrial)]
    *_, begun = (event for event in events if isinstance(event, CrfSearching))
    assert len(begun.images) == 3
    assert begun.learned
    assert 1 <= begun.done < 60
    assert [trial.kind for trial in trials][:5] == ["none", "default", "random", "nearby", "random"]
    for number, trial in enumerate(trials):  # as a search without a stop would have gone on
        _, parameters = proposed(0, trials[:number], [64] * 3)
        assert trial.use == (None if parameters is None else use_of(parameters))
    assert len(query(tmp_path, TRIALS)) == len(trials) == 60
    (kept,) = source.outputs.glob("crf-*-original.json")
    found = json.loads(kept.read_bytes())
    assert found["miou"] == max(trial.miou or 0 for trial in trials[1:])
    assert (found["without"], found["images"]) == (trials[0].miou, begun.images)

    shown = json.loads(ran(command("show", SOURCE, "--json"))[0])
    assert shown["crf_trials"][0]["kind"] == "none"
    plain = made_by(ran(command("evaluate", SOURCE, *FAST, "--json"))[0], tmp_path)
    out, _ = ran(command("evaluate", SOURCE, *FAST, "--crf"))
    assert "before CRF" in out
    assert "(searched)" in out
    (row,) = query(tmp_path, SCORES)
    (before,) = query(tmp_path, f"SELECT miou FROM evaluations WHERE run = '{plain.id}'")
    (after,) = query(tmp_path, "SELECT miou FROM evaluations WHERE crf != ''")
    assert row[:5] == ("evaluate", "", *before, *after, 1)
    scored = {name for (name,) in query(tmp_path, "SELECT image FROM image_scores")}
    assert not scored & set(begun.images)

    told = [query(tmp_path, sql) for sql in (SCORES, CLASSES, TRIALS)]
    assert told[1]
    ran(command("db", "rebuild"))
    assert [query(tmp_path, sql) for sql in (SCORES, CLASSES, TRIALS)] == told


def test_predictions_are_those_of_a_crf_at_the_size_of_the_image(
    source: RunDir,  # noqa: F811
    street: Path,
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    image = min((street / "leftImg8bit/train").rglob("*.png"))
    keys = ["crf.bilateral_sigma_xy=9", "crf.iterations=3"]
    options = [word for key in (*FAST, *keys) for word in ("--set", key)]
    run = made_by(ran(command("predict", SOURCE, str(image), *options, "--json"))[0], tmp_path)
    (path,) = (run.outputs / "ids").glob("*.png")

    config = run.read_config()
    network = load_network(config, run.path, choose_hardware(config), ())
    with Image.open(image) as opened:
        picture = opened.convert("RGB")
    logits = logits_at(network.logits(network.views(picture)), (64, 64), "bilinear-logits")
    crf = DenseCrf(CrfParameters(bilateral_sigma_xy=9, iterations=3))
    expected = crf.refined(torch.from_numpy(np.array(picture)), logits).argmax(2)
    assert np.array_equal(np.asarray(Image.open(path)), expected.numpy())
    (told,) = query(tmp_path, "SELECT task, images, bilateral_sigma_xy, searched, miou_after FROM crf_scores")
    assert told == ("predict", 1, 9.0, 0, None)


def test_every_corruption_is_scored_before_and_after(
    source: RunDir,  # noqa: F811
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    out, err = ran(command("robustness", SOURCE, *FAST, "--crf"))
    assert "no parameters were searched for this checkpoint at the original size" in out + err
    rows = query(tmp_path, SCORES)
    assert len(rows) == 31
    assert {row[1] for row in rows} >= {"clean", "noise", "jpeg"}
    after = query(tmp_path, "SELECT miou FROM robustness_scores WHERE strength = 0")
    assert [(row[3],) for row in rows if row[1] == "clean"] == after


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("crf.bilateral_weigth=1",), "did you mean crf.bilateral_weight?"),
        (("crf.iterations=0",), "crf.iterations: '0' is not allowed; it must be a whole number"),
        (("crf.mode=searched", "crf.iterations=3"), "crf.iterations: has no effect with crf.mode=searched"),
        (("crf.mode=off",), "crf.mode: off contradicts --crf"),
        (("model.width=4",), "is fixed by the training"),
    ],
)
def test_wrong_keys_are_refused_in_a_line(
    command: Command,  # noqa: F811
    source: RunDir,  # noqa: F811
    words: tuple[str, ...],
    told: str,
) -> None:
    status, _, err = done(command("evaluate", SOURCE, "--crf", *words))
    assert status == 2
    assert told in err
