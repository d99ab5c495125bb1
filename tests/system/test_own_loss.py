"""A network that brings its own loss, with mixed styles, from the command on two devices to all that is done
with a trained network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.system.test_run_command import Command, command, done  # noqa: F401
from tests.system.test_text_head import SHORT, VLTSEG

QUERIES = ("model.head=mask2former", "model.queries=20", "model.decoder_layers=3", "model.points=64")


def test_a_network_with_its_own_loss_is_used_like_any_other(
    street: Path,
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    def ran(*words: object) -> str:
        status, out, err = done(command(*map(str, words)))
        assert status == 0, out + err
        return out + err

    wanted = (*VLTSEG, *SHORT, *QUERIES, "devices=2", "device=cpu", "augment.mixstyle=0.5", "gallery.every=1")
    ran("run", "quick", "--data", street, *wanted, "--name", "queries")
    picture = tmp_path / "strange" / "images" / "a.png"
    picture.parent.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(picture)
    mask = tmp_path / "strange" / "masks" / "a.png"
    mask.parent.mkdir()
    Image.fromarray((noise[..., 0] > 200).astype(np.uint8)).save(mask)
    fast = ("runtime.threads=1",)
    ran("ood", "queries", "--ood-data", tmp_path / "strange", *fast)
    ran("predict", "queries", picture, "--set", "runtime.threads=1")
    ran("robustness", "queries", *fast)
    ran("export", "queries", "--format", "torchscript", "--out", tmp_path / "exported")
    galleries = list(tmp_path.rglob("gallery/*/*.png"))
    assert galleries, "pictures of an epoch"
