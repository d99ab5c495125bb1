"""What an attempt at a run costs: time of devices, energy, disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

from engine.config.run_config import RunConfig
from engine.host.cuda_driver import device_uuids
from engine.host.energy import EnergyMeter
from engine.run.events import Used
from engine.run.telemetry import gpus_of


class CostMeter:
    """Counts from when it is made, for the GPUs that a config chooses and this machine's processors. Of a run
    on several nodes, the time of all their devices counts, and the energy of those here."""

    def __init__(self, config: RunConfig) -> None:
        uuids = gpus_of(config, device_uuids() if config.device != "cpu" else ())
        self._begun = time.monotonic()
        self._devices = (len(uuids) or 1) * config.slurm.nodes
        self._energy = EnergyMeter(uuids)
        self._energy.keep_reading()
        self._last = self._energy.read().joules

    def since_last(self) -> float | None:
        """Joules since this was last asked; None where nothing is measured."""
        last, self._last = self._last, self._energy.read().joules
        return None if last is None or self._last is None else round(self._last - last, 3)

    def used(self, folder: Path) -> Used:
        """All until now, with the size of the run's folder."""
        energy = self._energy.read()
        return Used(
            devices=self._devices,
            seconds=round(time.monotonic() - self._begun, 3),
            gpu_joules=None if energy.gpu is None else round(energy.gpu, 3),
            cpu_joules=None if energy.cpu is None else round(energy.cpu, 3),
            disk_bytes=folder_size(folder),
        )


def folder_size(folder: Path) -> int:
    """Bytes of the files below a folder; what vanishes meanwhile does not count, a link counts as itself."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total
