"""`seg-engine augment`: what the first training step sees, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.batches import Batch
from engine.data.centroids import find_centroids
from engine.data.dataset import open_dataset
from engine.learning.distributed import ALONE
from engine.learning.hardware import choose_hardware
from engine.training import loop
from engine.training.probes.augmented import first_step
from engine.training.sampling import sampling_of
from engine.training.state import TrainState, new_state
from engine.training.step import augmented
from engine.workspace import Workspace
from tests.system.conftest import Queue, seg

CHANGES = {
    "data.size": "64x96",
    "data.class_uniform": 0.5,
    "augment.crop": "32x48",
    "augment.flip": 0.5,
    "augment.cutmix": 0.5,
    "augment.hue": 0.2,
    "model.width": 2,
    "device": "cpu",
    "batch_size": 4,
}


@pytest.fixture
def config(street: Path) -> RunConfig:
    return with_values(get_recipe("quick"), {**CHANGES, "data.root": str(street)})


def test_it_shows_what_the_first_step_of_a_run_sees(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = first_step(config, tmp_path, samples=3)
    data = open_dataset(config.data, tmp_path)
    state = new_state(config, choose_hardware(config), list(data.class_set.names))
    seen: list[Batch] = []

    def step(state: TrainState, batch: Batch, images: int, group: object) -> torch.Tensor:
        seen.append(Batch(*augmented(state, batch, images)))
        state.step += 1
        return torch.zeros(1)

    class Quiet:
        group = ALONE

        def __init__(self) -> None:
            self.config = config

        def step_done(self) -> None: ...

        def check_stop(self) -> None: ...

        def progress_is_due(self) -> bool:
            return False

    monkeypatch.setattr(loop, "training_step", step)
    (batches,) = loop.make_batches([data.train], torch.device("cpu"))
    sampling = sampling_of(config, data.train, tmp_path)
    loop.train_epoch(Quiet(), state, batches, len(data.train), sampling)  # type: ignore[arg-type]
    assert shown["augmented"].shape == (3, 32, 48, 3)
    np.testing.assert_array_equal(seen[0].images[:3].numpy(), shown["augmented"])
    np.testing.assert_array_equal(seen[0].labels[:3].numpy(), shown["augmented_labels"])
    assert sum(len(batch.images) for batch in seen) == len(data.train)
    centroids = find_centroids(data.train, (32, 48), tmp_path)
    assert set(centroids.sample.tolist()) == set(range(len(data.train)))


def test_the_picture_of_a_run_with_changes(workspace: Workspace, tmp_path: Path, queue: Queue) -> None:
    run, out = queue(augment__mosaic=1), tmp_path / "seen.png"
    done = seg(workspace, "augment", run.id, "augment.crop=16x32", "--out", str(out), "--samples", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    with Image.open(out) as picture:
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 100


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nothing"], "nothing: no such recipe"),
        (["quick", "--out", "seen.jpg"], "the name must end in .png"),
        (["quick", "--data", "nowhere"], "nowhere: no such folder"),
        (["quick", "augment.crop=17x32"], "augment.crop: 17x32 does not suit unet"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(workspace: Workspace, words: list[str], told: str) -> None:
    done = seg(workspace, "augment", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
