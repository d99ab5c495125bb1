"""How busy this machine is: GPUs by NVIDIA's management library (NVML), processors and memory by /proc.

Sources: proc(5) of Linux for /proc/stat and /proc/meminfo; NVIDIA's NVML API reference.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.host.occupancy import Held


@dataclass(frozen=True)
class Gpu:
    """One GPU. Utilisation in percent, power in watts, memory in bytes, temperature in degrees Celsius; None
    where the driver does not tell."""

    index: int
    name: str
    utilisation: int | None
    watts: float | None
    memory_used: int | None
    memory_total: int | None
    celsius: int | None


@dataclass(frozen=True)
class Load:
    """This machine at one moment. `cpu` is the busy share of all cores since the reading before, in [0, 1],
    None at the first; memory in bytes."""

    gpus: tuple[Gpu, ...]
    cpu: float | None
    cores: int
    memory_used: int | None
    memory_total: int | None


class Nvml:
    """NVIDIA's management library, loaded where it is; without a driver there are no GPUs, and nothing is
    `held`.

    `uuids` says which GPUs or slices of them (MIG) to look at, in the form of `device_uuids`; None: all.
    """

    def __init__(self, uuids: Sequence[str] | None = None) -> None:
        import pynvml  # only where somebody looks at GPUs

        self._library = pynvml
        try:
            pynvml.nvmlInit()
            count = int(pynvml.nvmlDeviceGetCount())
        except pynvml.NVMLError:
            count = 0
        if uuids is None:
            found = [self._told(pynvml.nvmlDeviceGetHandleByIndex, index) for index in range(count)]
        else:
            found = [self._by_uuid(uuid) for uuid in uuids] if count else []
        self._devices = [device for device in found if device is not None]

    def gpus(self) -> tuple[Gpu, ...]:
        return tuple(map(self._gpu, self._devices))

    def energy(self) -> tuple[int | None, ...]:
        """Millijoules that each GPU has used since the driver was loaded; None where it does not tell."""
        ask = self._library.nvmlDeviceGetTotalEnergyConsumption
        told = [self._told(ask, device) for device in self._devices]
        return tuple(None if each is None else int(each) for each in told)

    def held(self, uuid: str) -> Held | None:
        """What is held of the GPU or slice with this UUID; None where the driver does not tell of it."""
        library, device = self._library, self._by_uuid(uuid)
        if device is None:
            return None
        # The second version sets apart what the driver keeps for itself.
        memory = self._told(library.nvmlDeviceGetMemoryInfo, device, library.nvmlMemory_v2)
        if memory is None:
            memory = self._told(library.nvmlDeviceGetMemoryInfo, device)
        if memory is None:
            return None
        use = self._told(library.nvmlDeviceGetUtilizationRates, device)
        return Held(
            total=int(memory.total) - int(getattr(memory, "reserved", 0)),
            free=int(memory.free),
            utilisation=None if use is None else int(use.gpu),
            computing=self._holders("MPSCompute", device) | self._holders("Compute", device),
            drawing=self._holders("Graphics", device),
        )

    def _holders(self, kind: str, device: Any) -> dict[int, int | None]:
        """Bytes of the processes of a kind, by pid. An older driver knows an older question."""
        name = f"nvmlDeviceGet{kind}RunningProcesses"
        told = self._told(getattr(self._library, f"{name}_v3"), device)
        if told is None:
            told = self._told(getattr(self._library, f"{name}_v2"), device) or ()
        return {
            int(process.pid): None if process.usedGpuMemory is None else int(process.usedGpuMemory)
            for process in told
        }

    def _by_uuid(self, uuid: str) -> Any:
        """A GPU or, where no GPU is called so, a slice of one."""
        ask = self._library.nvmlDeviceGetHandleByUUID
        gpu = self._told(ask, f"GPU-{uuid}")
        return self._told(ask, f"MIG-{uuid}") if gpu is None else gpu

    def _gpu(self, device: Any) -> Gpu:
        library = self._library
        name = self._told(library.nvmlDeviceGetName, device)
        use = self._told(library.nvmlDeviceGetUtilizationRates, device)
        memory = self._told(library.nvmlDeviceGetMemoryInfo, device)
        milliwatts = self._told(library.nvmlDeviceGetPowerUsage, device)
        return Gpu(
            index=self._told(library.nvmlDeviceGetIndex, device) or 0,
            name="GPU" if name is None else str(name).removeprefix("NVIDIA "),
            utilisation=None if use is None else int(use.gpu),
            watts=None if milliwatts is None else milliwatts / 1000,
            memory_used=None if memory is None else int(memory.used),
            memory_total=None if memory is None else int(memory.total),
            celsius=self._told(library.nvmlDeviceGetTemperature, device, library.NVML_TEMPERATURE_GPU),
        )

    def _told(self, ask: Callable[..., Any], *about: Any) -> Any:
        """The driver's answer, None where it has none: a laptop's GPU may not tell its power, say."""
        try:
            return ask(*about)
        except (self._library.NVMLError, self._library.NVMLLibraryMismatchError):
            return None


class LoadReader:
    """Reads this machine's load; keeps what the next reading compares with."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._nvml: Nvml | None = None
        self._busy: tuple[int, int] | None = None

    def read(self) -> Load:
        if self._nvml is None:
            self._nvml = Nvml()
        used, total = self._memory()
        return Load(self._nvml.gpus(), self._cpu(), os.cpu_count() or 1, used, total)

    def _cpu(self) -> float | None:
        try:
            first = (self._proc / "stat").read_text().splitlines()[0]
        except (OSError, IndexError):
            return None
        ticks = [int(word) for word in first.split()[1:9]]
        total, idle = sum(ticks), ticks[3] + ticks[4]  # idle, and waiting for a disk
        before, self._busy = self._busy, (total, total - idle)
        if before is None or total <= before[0]:
            return None
        return max(0.0, (total - idle - before[1]) / (total - before[0]))

    def _memory(self) -> tuple[int | None, int | None]:
        values = {}
        with contextlib.suppress(OSError, ValueError):
            for line in (self._proc / "meminfo").read_text().splitlines():
                name, _, value = line.partition(":")
                values[name] = int(value.split()[0]) * 1024  # it says kB and means KiB
        total, available = values.get("MemTotal"), values.get("MemAvailable")
        return (total - available if total and available is not None else None), total
