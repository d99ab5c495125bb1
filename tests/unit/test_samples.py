"""System samples: which GPUs are a run's own, and that no sample is lost to another's torn line."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.run_config import RunConfig
from engine.host.processes import group_usage
from engine.run.telemetry import Sampler, gpus_of, read_samples


@pytest.mark.parametrize(
    ("device", "devices", "visible", "gpus"),
    [
        ("cpu", "1", None, set()),
        ("auto", "1", None, {0}),
        ("cuda:2", "1", None, {2}),
        ("cuda", "4", None, {0, 1, 2, 3}),
        ("auto", "auto", None, None),
        ("auto", "1", "3", {3}),
        ("cuda:1", "1", "3,5", {5}),
        ("auto", "auto", "3,5", {3, 5}),
        ("auto", "1", "", set()),
        ("auto", "1", "GPU-8932f937", set()),
    ],
)
def test_a_run_has_samples_of_the_gpus_that_it_uses(
    device: str, devices: str, visible: str | None, gpus: set[int] | None
) -> None:
    config = RunConfig(device=device, devices=devices)
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert gpus_of(config, environment) == gpus


def test_samples_are_taken_when_they_are_due_and_read_past_a_torn_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "system.jsonl"
    sampler = Sampler(path, 2, RunConfig(device="cpu"))
    sampler.take()
    assert read_samples(path) == (), "not due yet"
    path.write_text('{"t":17\n')
    monkeypatch.setattr("engine.run.telemetry.FIRST_INTERVAL", 0.0)
    before, _ = group_usage()
    while group_usage()[0] - before < 0.05:
        sum(range(100_000))
    sampler.take()
    (sample,) = read_samples(path)
    assert (sample.attempt, sample.gpus) == (2, ())
    assert sample.cores > 0
    assert sample.memory > 10 << 20
