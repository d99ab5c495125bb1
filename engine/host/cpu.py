"""The CPU of this machine, by what the kernel says of it."""

from __future__ import annotations

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def bf16_instructions() -> tuple[str, ...]:
    """The kernel's names of what multiplies bf16 matrices in this CPU, empty where nothing does."""
    return tuple(sorted({"amx_bf16", "avx512_bf16"} & set(_cpu_field("flags").split())))


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 matrices in hardware (AMX or AVX512-BF16)."""
    return bool(bf16_instructions())


def bf16_is_fast() -> bool:
    """Whether the CPU multiplies matrices faster in bf16 than in fp32.

    With AMX it does, and with AVX512-BF16 of AMD. With that of Intel it does not: a Xeon whose virtual
    machine hides AMX reached 160 GFLOP/s in bf16 and 300 in fp32 (torch 2.14, two cores).
    """
    instructions = bf16_instructions()
    return "amx_bf16" in instructions or (bool(instructions) and _cpu_field("vendor_id") != "GenuineIntel")


def cpu_name() -> str:
    return _cpu_field("model name") or platform.processor() or platform.machine()


def _cpu_field(field: str) -> str:
    """The first value of a field of /proc/cpuinfo, empty where there is none."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")
