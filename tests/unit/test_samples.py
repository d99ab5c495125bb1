"""System samples: which GPUs are a run's own, and that no sample is lost to another's torn line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.config.run_config import RunConfig
from engine.host.processes import usage_of_all
from engine.run.telemetry import Sampler, gpus_of, read_samples


@pytest.mark.parametrize(
    ("device", "devices", "gpus"),
    [
        ("cpu", "1", ""),
        ("auto", "1", "a"),
        ("cuda:2", "1", "c"),
        ("cuda", "3", "abc"),
        ("auto", "auto", "abcd"),
    ],
)
def test_a_run_has_samples_of_the_gpus_that_it_uses(device: str, devices: str, gpus: str) -> None:
    assert gpus_of(RunConfig(device=device, devices=devices), list("abcd")) == tuple(gpus)


def test_samples_are_taken_when_they_are_due_and_read_past_a_torn_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "system.jsonl"
    sampler = Sampler(path, 2, RunConfig(device="cpu"))
    sampler.take()
    assert read_samples(path) == (), "not due yet"
    path.write_text('{"t":17\n')
    monkeypatch.setattr("engine.run.telemetry.FIRST_INTERVAL", 0.0)
    before, _ = usage_of_all()
    while usage_of_all()[0] - before < 0.05:
        sum(range(100_000))
    sampler.take()
    (sample,) = read_samples(path)
    assert (sample.attempt, sample.gpus) == (2, ())
    assert sample.cores > 0
    assert sample.memory > 10 << 20


def test_a_sample_counts_what_the_worker_has_started_in_sessions_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torchrun's launcher starts ranks."""
    monkeypatch.setattr("engine.run.telemetry.FIRST_INTERVAL", 0.0)
    path, size = tmp_path / "system.jsonl", 64 << 20
    sampler = Sampler(path, 1, RunConfig(device="cpu"))
    _, before = usage_of_all()
    work = f"held = b'x' * {size}; sum(range(5_000_000)); print(flush=True); input()"
    rank = subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    with rank:
        assert rank.stdout is not None
        rank.stdout.readline()
        sampler.take()
        rank.communicate(b"\n")
    (sample,) = read_samples(path)
    assert sample.memory > before + size
    assert sample.cores > 0
