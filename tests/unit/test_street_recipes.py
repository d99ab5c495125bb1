"""The recipes of street scenes take a step, at a small size and width."""

from __future__ import annotations

import pytest
import torch

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.learning.hardware import choose_hardware
from engine.training.probes.steps import random_batch, state_for_steps
from engine.training.step import training_step


@pytest.mark.parametrize("name", ["street", "street-fast", "street-max"])
def test_a_step_changes_every_weight_and_its_average(name: str) -> None:
    small = {"data.size": "48x64", "augment.crop": "32x48", "model.width": 4, "batch_size": 2, "seed": 3}
    at_once = {"schedule.warmup_epochs": 0, "schedule.warmup_iterations": 0, "loss.ohem_min_kept": 64}
    config = with_values(get_recipe(name), {**small, **at_once, "device": "cpu"})
    hardware = choose_hardware(config)
    state = state_for_steps(config, hardware, 3, 4)
    before = {key: each.clone() for key, each in state.model.named_parameters()}
    for _ in range(2):  # the first norms of the residual branches begin at 0
        training_step(state, random_batch(config, hardware, 3, 2), 4)
    unmoved = [key for key, each in state.model.named_parameters() if torch.equal(each, before[key])]
    assert unmoved == []
    assert all(torch.isfinite(each).all() for each in state.model.parameters())
    assert state.average is not None
