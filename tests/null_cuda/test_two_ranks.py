"""A run on two GPUs: its ranks meet, share gradients and samples and, once settled, wait for no device."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.data.synthetic import synthesize
from engine.learning.checkpoint import load_checkpoint
from engine.run.directory import RunDir
from tests.null_cuda.counts import Counts

PLUGIN = Path(__file__).with_name("counting.py")
SETTLING = 11
"""Steps after which nothing waits. Until then DistributedDataParallel does: after the first step it orders
its buckets anew and the ranks agree on them, and it times its first ten passes, then each hundredth."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("compiled", [False, True])
def test_two_ranks_train_and_once_settled_wait_for_nothing(
    compiled: bool, warm_null_cuda: dict[str, str], tmp_path: Path
) -> None:
    synthesize(tmp_path / "scenes", images=48, size=(64, 128), seed=0)
    changes = ["data.size=32x64", "model.width=2", "batch_size=2", "epochs=1", "data.class_uniform=0.5"]
    # Ranks bring each other samples; losses rank pixels, weights are averaged.
    changes += ["augment.cutmix=1", "augment.mosaic=1", "loss.ohem=1", "loss.lovasz=1"]
    changes += ["loss.class_weights=enet", "ema.decay=0.99"]
    # They bring each other statistics of batch norm, too, where the network is not compiled.
    changes += ["runtime.compile=on"] if compiled else ["runtime.compile=auto", "batch_norm=sync"]
    command = [sys.executable, "-c", "from engine.cli.main import main; main()"]
    command += ["--workspace", str(tmp_path), "run", "quick", "--data", str(tmp_path / "scenes"), *changes]
    command += ["devices=2", "optimizer.name=counting", "--plugin", str(PLUGIN)]
    variables = {**os.environ, **warm_null_cuda, "NULL_CUDA_COUNTS": str(tmp_path)}
    variables |= {"NULL_CUDA_BACKEND": "aot_eager"}
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

    (folder,) = (tmp_path / "runs").iterdir()
    run = RunDir(folder)
    log = run.log.read_text()
    assert "(cuda:0,cuda:1, 2 ranks)" in log
    refused = log.count("torch.compile not used: with batch_norm=sync, several devices exchange numbers")
    assert refused == (0 if compiled else 1)
    assert load_checkpoint(run.checkpoints / "last.pt")["compiled"] is compiled
    files = sorted(tmp_path.glob("counts.*"))
    assert [file.name for file in files] == ["counts.0", "counts.1"]
    for file in files:
        counts = [Counts(**json.loads(line)) for line in file.read_text().splitlines()]
        steady = [after - before for before, after in itertools.pairwise(counts[SETTLING - 1 :])]
        assert len(steady) >= 3
        assert [step.wait for step in steady] == [0] * len(steady)
        # Gradients, samples twice, its share of pixels, and of 18 batch norms the statistics both ways.
        assert all(step.collective > 2 + (0 if compiled else 2 * 18) for step in steady)
