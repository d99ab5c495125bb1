"""What this machine's GPUs and processors use, in joules.

Sources: NVIDIA's NVML API reference, nvmlDeviceGetTotalEnergyConsumption (millijoules since the driver was
loaded, of the whole GPU); the Linux kernel's Documentation/power/powercap/powercap.rst for RAPL, of whole
processor packages, without memory. Many machines let only root read RAPL.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.host.load import Nvml

POWERCAP = Path("/sys/class/powercap")

INTERVAL = 30.0
"""Seconds between readings: RAPL's counters start again from 0 after some minutes of full load."""


@dataclass(frozen=True)
class Energy:
    """Joules since the meter was made, of GPUs and of processor packages; None where that is not measured."""

    gpu: float | None
    cpu: float | None

    @property
    def joules(self) -> float | None:
        """What is measured of both."""
        known = [part for part in (self.gpu, self.cpu) if part is not None]
        return sum(known) if known else None


class EnergyMeter:
    """Counts from when it is made. What other programs use of the same GPUs and processors counts with it.

    `uuids` says which GPUs, in the form of `device_uuids`; a slice of a GPU (MIG) has no counter.
    """

    def __init__(self, uuids: Sequence[str], powercap: Path = POWERCAP) -> None:
        self._lock = threading.Lock()
        self._nvml = Nvml(uuids) if uuids else None
        self._gpus = len(uuids)
        self._zones = sorted(zone for zone in powercap.glob("intel-rapl:*") if _is_package(zone))
        self._gpu_begun = self._gpu_millijoules()
        self._cpu_last, self._cpu_used = self._cpu_microjoules(), 0

    def read(self) -> Energy:
        with self._lock:
            gpu = self._gpu_millijoules()
            known = gpu is not None and self._gpu_begun is not None
            return Energy((gpu - self._gpu_begun) / 1e3 if known else None, self._cpu())  # type: ignore[operator]

    def keep_reading(self) -> None:
        """Read now and then, from a thread, until the process ends."""

        def read() -> None:
            while True:
                time.sleep(INTERVAL)
                self.read()

        if self._cpu_last is not None:
            threading.Thread(target=read, name="energy", daemon=True).start()

    def _gpu_millijoules(self) -> int | None:
        """Of all GPUs together; None where one of them does not tell."""
        told = self._nvml.energy() if self._nvml is not None else ()
        known = [each for each in told if each is not None]
        return sum(known) if known and len(known) == self._gpus else None

    def _cpu(self) -> float | None:
        last, now = self._cpu_last, self._cpu_microjoules()
        if last is None or now is None:
            self._cpu_last = None  # one that does not tell once has a gap
            return None
        for (before, _), (after, span) in zip(last, now, strict=True):
            self._cpu_used += after - before if after >= before else after - before + span
        self._cpu_last = now
        return self._cpu_used / 1e6

    def _cpu_microjoules(self) -> list[tuple[int, int]] | None:
        """The counter of each package and where it starts again; None where one may not be read."""
        try:
            told = [
                (int((zone / "energy_uj").read_text()), int((zone / "max_energy_range_uj").read_text()) + 1)
                for zone in self._zones
            ]
        except (OSError, ValueError):
            return None
        return told or None


def _is_package(zone: Path) -> bool:
    try:
        return (zone / "name").read_text().startswith("package-")
    except OSError:
        return False
