"""What the kernel says of a CPU decides in what precision `auto` computes on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.host import cpu
from engine.learning.hardware import choose_hardware

CPUINFO = "processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: A CPU\nflags\t\t: fpu avx2 {flags}\n"


@pytest.mark.parametrize(
    ("vendor", "flags", "precision"),
    [
        ("GenuineIntel", "avx512f", "fp32"),
        ("GenuineIntel", "avx512f avx512_bf16", "fp32"),  # has it, but is slower with it
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16 amx_tile", "bf16"),
        ("AuthenticAMD", "avx512f avx512_bf16", "bf16"),
        ("AuthenticAMD", "avx2", "fp32"),
    ],
)
def test_auto_takes_the_faster_precision_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: str, flags: str, precision: str
) -> None:
    said = tmp_path / "cpuinfo"
    said.write_text(CPUINFO.format(vendor=vendor, flags=flags))
    monkeypatch.setattr(cpu, "CPUINFO", said)
    config = with_values(get_recipe("quick"), {"device": "cpu"})
    assert choose_hardware(config).precision == precision
    assert choose_hardware(with_values(config, {"precision": "bf16"})).precision == "bf16"
