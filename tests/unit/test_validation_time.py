"""A validation that scores two sets of weights takes the time of both."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.training import loop
from engine.training.meter import EpochMeter
from engine.training.objectives import segmentation

IMAGES = 6
SECONDS = {"raw": 2.0, "average": 4.0}


@pytest.mark.parametrize("used", ["raw", "average"])
def test_the_passes_of_raw_and_averaged_weights_both_count(
    monkeypatch: pytest.MonkeyPatch, used: str
) -> None:
    config = with_values(RunConfig(), {"ema.decay": 0.9, "ema.use": used})
    clock = SimpleNamespace(now=100.0)
    clock.perf_counter = lambda: clock.now
    monkeypatch.setattr("engine.training.meter.time", clock)
    shown: list[str] = []

    def scored(*args: object) -> EpochMeter:
        meter = EpochMeter(2, torch.device("cpu"), segmentation(config, 2))
        clock.now += SECONDS[shown[-1]]
        meter.data_arrived()
        meter.passed(IMAGES)
        return meter

    def weights(use: str) -> Any:
        shown.append(use)
        return nullcontext()

    monkeypatch.setattr(loop, "score_split", scored)
    job = SimpleNamespace(group=SimpleNamespace(even_out=lambda model: None))
    state = SimpleNamespace(
        config=config, average=True, model=None, objective=None, classes=["a", "b"], validated_weights=weights
    )
    learning = SimpleNamespace(state=state, data=SimpleNamespace(val=range(IMAGES)), hardware=None)
    meter, _ = loop.validate(job, learning, [], 1)  # type: ignore[arg-type]
    event = meter.event(1, "val", ["a", "b"], 0.1)
    assert shown == ["raw", "average"]
    assert event.seconds == sum(SECONDS.values())
    assert event.images_per_second == 2 * IMAGES / sum(SECONDS.values())
