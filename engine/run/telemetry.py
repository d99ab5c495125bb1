"""System samples: what a run uses of its machine while it is at work, in `system.jsonl` of its directory.

One line a sample, beside the journal and not in it: nothing depends on them, so that none has to arrive.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.host.cuda_driver import device_uuids
from engine.host.load import Gpu, Nvml
from engine.host.processes import usage_of_all
from engine.run.files import open_shared

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig

FIRST_INTERVAL = 2.0
SAMPLES_PER_E_FOLD = 500
"""The interval grows with the time that the attempt has taken, so that a week has about 4,000 samples."""


@dataclass(frozen=True)
class Sample:
    """One moment of a run: UTC seconds, the attempt, the processor cores that its worker kept busy since the
    sample before, the bytes of memory of its own that it holds, and the GPUs that it uses. Processes that the
    worker has started count with it."""

    t: float
    attempt: int
    cores: float
    memory: int
    gpus: tuple[Gpu, ...] = ()


class Sampler:
    """Takes samples of a worker from within; `take` is to be called every few seconds and knows when one is
    due."""

    def __init__(self, path: Path, attempt: int, config: RunConfig) -> None:
        self._path, self._attempt = path, attempt
        uuids = device_uuids() if config.device != "cpu" else ()
        self._nvml = Nvml(gpus_of(config, uuids)) if uuids else None
        self._begun = self._last = time.monotonic()
        self._busy, _ = usage_of_all()

    def take(self) -> None:
        """Raises OSError when the sample cannot be written."""
        now = time.monotonic()
        if now - self._last < max(FIRST_INTERVAL, (now - self._begun) / SAMPLES_PER_E_FOLD):
            return
        busy, memory = usage_of_all()
        sample = Sample(
            t=time.time(),
            attempt=self._attempt,
            cores=round(max(0.0, busy - self._busy) / (now - self._last), 3),
            memory=memory,
            gpus=() if self._nvml is None else self._nvml.gpus(),
        )
        self._last, self._busy = now, busy
        with open(self._path, "a", opener=open_shared) as stream:
            stream.write(json.dumps(asdict(sample), separators=(",", ":")) + "\n")


def sample_forever(path: Path, attempt: int, config: RunConfig) -> None:
    """Take samples of this process until it ends, from a thread of their own: a driver that does not answer
    must not keep the heart from beating."""

    def sample() -> None:
        sampler = Sampler(path, attempt, config)
        while True:
            time.sleep(FIRST_INTERVAL)
            with contextlib.suppress(OSError):  # a full disk is for the task to meet
                sampler.take()

    threading.Thread(target=sample, name="samples", daemon=True).start()


def read_samples(path: Path) -> tuple[Sample, ...]:
    """All samples of a run, as they were taken; none where there is no file.

    A line that is no sample, such as one that a killed worker left half, is passed over.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return ()
    return tuple(sample for sample in map(_sample_from, lines) if sample is not None)


def gpus_of(config: RunConfig, uuids: Sequence[str]) -> tuple[str, ...]:
    """Those of the visible devices, given by CUDA index, that a worker with this config uses."""
    if config.device == "cpu":
        return ()
    first = int(config.device.partition(":")[2] or 0)
    return tuple(uuids if config.devices == "auto" else uuids[first : first + int(config.devices)])


def _sample_from(line: bytes) -> Sample | None:
    try:
        told = json.loads(line)
        return Sample(**{**told, "gpus": tuple(Gpu(**gpu) for gpu in told.pop("gpus"))})
    except (ValueError, TypeError, KeyError):
        return None
