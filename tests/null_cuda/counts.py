"""What the null CUDA has counted, read inside a process that runs on it."""

from __future__ import annotations

import ctypes
import tempfile
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Counts:
    """Launches, copies and waits; the order is that of `Counter` in shim/null_cuda.h.

    `kernel` to `download` count what the device does, single nodes of launched graphs included. `wait` is
    what the host waited for, `host_launch` the calls by which it started work, a launched graph being one.
    """

    kernel: int
    gemm: int
    cudnn: int
    collective: int
    memset: int
    device_copy: int
    upload: int
    download: int
    wait: int
    device_malloc: int
    graph_launch: int
    graph_node: int
    host_launch: int

    @classmethod
    def now(cls) -> Counts:
        """Raises ValueError in a process that does not run on the null CUDA."""
        return cls(*(ctypes.c_long * len(fields(cls))).in_dll(ctypes.CDLL(None), "null_cuda_counts"))

    def __sub__(self, before: Counts) -> Counts:
        names = [field.name for field in fields(self)]
        return Counts(*(getattr(self, name) - getattr(before, name) for name in names))

    @property
    def device_work(self) -> int:
        """Everything that the device ran: kernels of all libraries, fills and copies."""
        kernels = self.kernel + self.gemm + self.cudnn + self.collective
        return kernels + self.memset + self.device_copy + self.upload + self.download


def kernels() -> Counter[str]:
    """How often each kernel has been launched or captured: of CUDA C++ by its mangled name, of Triton, where
    several may share a name, by that of its function. Those of cuDNN, cuBLAS and NCCL have none."""
    found: Counter[str] = Counter()
    with tempfile.NamedTemporaryFile() as file:
        ctypes.CDLL(None).null_cuda_write_kernels(file.name.encode())
        for line in Path(file.name).read_text().splitlines():
            count, _, name = line.partition(" ")
            found[name] += int(count)
    return found
