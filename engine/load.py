"""How busy this machine is: its GPUs by the driver's own library, its processors and memory by /proc.

Sources: proc(5) of Linux for /proc/stat and /proc/meminfo; NVIDIA's NVML API reference for the calls.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass
from pathlib import Path


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


class _Utilisation(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Memory(ctypes.Structure):
    _fields_ = [
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    ]


class Nvml:
    """NVIDIA's management library, loaded where it is; without a driver there are no GPUs."""

    def __init__(self) -> None:
        self._library: ctypes.CDLL | None = None
        with contextlib.suppress(OSError):
            library = ctypes.CDLL("libnvidia-ml.so.1")
            if library.nvmlInit_v2() == 0:
                self._library = library

    def gpus(self) -> tuple[Gpu, ...]:
        if self._library is None:
            return ()
        count = ctypes.c_uint()
        if self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return ()
        read = (self._gpu(self._library, index) for index in range(count.value))
        return tuple(gpu for gpu in read if gpu is not None)

    def _gpu(self, library: ctypes.CDLL, index: int) -> Gpu | None:
        device = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) != 0:
            return None
        name = ctypes.create_string_buffer(96)
        use, memory = _Utilisation(), _Memory()
        milliwatts, celsius = ctypes.c_uint(), ctypes.c_uint()
        named = library.nvmlDeviceGetName(device, name, len(name)) == 0
        used = library.nvmlDeviceGetUtilizationRates(device, ctypes.byref(use)) == 0
        held = library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == 0
        powered = library.nvmlDeviceGetPowerUsage(device, ctypes.byref(milliwatts)) == 0
        warm = library.nvmlDeviceGetTemperature(device, 0, ctypes.byref(celsius)) == 0
        return Gpu(
            index=index,
            name=name.value.decode(errors="replace").removeprefix("NVIDIA ") if named else "GPU",
            utilisation=use.gpu if used else None,
            watts=milliwatts.value / 1000 if powered else None,
            memory_used=memory.used if held else None,
            memory_total=memory.total if held else None,
            celsius=celsius.value if warm else None,
        )


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
