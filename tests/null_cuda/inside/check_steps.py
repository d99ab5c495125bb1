"""Training steps and validation of every recipe on a CUDA device: what they launch, wait for and hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from benchmarks.null_cuda import measure
from engine.config.recipes import RECIPES
from engine.inference.ood.score_set import ScoreSet
from engine.inference.ood.scores import sum_by_class
from engine.learning.checkpoint import random_state, restore_random_state
from tests.null_cuda.counts import Counts

LIMITS = {
    "paper-unet": (390, 3.1),
    "paper-modern-unet": (715, 15.8),
    "paper-modern-unet-pt": (715, 15.8),
    "quick": (395, 0.2),
    "quick-modern": (715, 0.3),
}
"""Most kernels, copies and fills of one eager step, and most GiB of its memory beside the data."""

EVERYTHING = [
    "augment.scale_min=0.5",
    "augment.contrast=0.2",
    "augment.saturation=0.2",
    "optimizer.clip_norm=1",
]


def test_every_recipe_has_a_limit() -> None:
    assert set(LIMITS) == set(RECIPES)


@pytest.mark.parametrize("recipe", list(LIMITS))
def test_a_step_waits_for_nothing_and_keeps_to_its_limit(recipe: str) -> None:
    row = measure(recipe, {"runtime.compile": "off"}, [])
    work, memory = LIMITS[recipe]
    assert row["step"]["wait"] == 0
    assert row["device_work"] <= work
    assert row["peak_gib"] <= memory


@pytest.mark.parametrize(
    "changes",
    [EVERYTHING, ["loss.dice=0.5"], ["runtime.micro_batch=4"], ["precision=fp16"]],
)
def test_no_option_makes_a_step_wait(changes: Sequence[str]) -> None:
    row = measure("quick", {"runtime.compile": "off"}, list(changes))
    # The scaler of fp16 decides on the host whether to skip a step: torch.amp.GradScaler.
    allowed = 1 if "precision=fp16" in changes else 0
    assert row["step"]["wait"] <= allowed, row


def test_a_compiled_step_is_one_launch_of_a_graph_forward_and_one_back() -> None:
    row = measure("quick", {"runtime.compile": "on"}, [])
    assert row["step"]["graph_launch"] == 2
    assert row["step"]["wait"] == 0


def test_micro_batches_train_compiled() -> None:
    row = measure("quick", {"runtime.compile": "on"}, ["runtime.micro_batch=4"])
    assert row["compiled"], row
    assert row["step"]["graph_launch"] == 0, "a graph would overwrite the outputs of the part before"


def test_deterministic_training_has_kernels(request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: torch.use_deterministic_algorithms(False))
    changes = ["runtime.deterministic=true", "loss.dice=0.5", *EVERYTHING]
    assert measure("quick", {"runtime.compile": "off"}, changes)["device_work"] > 0
    classes, values = torch.zeros(8, dtype=torch.long, device="cuda"), torch.zeros(8, device="cuda").double()
    assert sum_by_class(classes, values, 3).shape == (3,)


def test_a_run_goes_on_where_there_are_fewer_gpus() -> None:
    assert torch.cuda.device_count() == 2
    saved: dict[str, Any] = random_state()
    assert len(saved["cuda"]) == 2
    restore_random_state({**saved, "cuda": [*saved["cuda"], saved["cuda"][0]]})
    restore_random_state({**saved, "cuda": saved["cuda"][:1]})


def test_scores_of_an_image_take_few_launches_and_come_back_at_once() -> None:
    scores, logits = ScoreSet(19), torch.zeros(1, 19, 256, 512, device="cuda")
    scores.fit(logits, torch.zeros(3))
    scores.maps(logits, (1024, 2048))  # uploads the moments once
    torch.cuda.reset_peak_memory_stats()
    before, held = Counts.now(), torch.cuda.memory_allocated()
    scores.maps(logits, (1024, 2048))
    seen = Counts.now() - before
    assert seen.host_launch <= 80
    assert seen.download == 1
    assert torch.cuda.max_memory_allocated() - held < 2**30
