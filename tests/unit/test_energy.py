"""Energy: the counters of driver and kernel, and what is told where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml
import pytest

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.host.energy import EnergyMeter
from engine.worker import costs


@pytest.fixture
def package(tmp_path: Path) -> Callable[[int, int], None]:
    """Sets the counter of a processor package, in microjoules."""

    def put(number: int, value: int) -> None:
        zone = tmp_path / f"intel-rapl:{number}"
        zone.mkdir(exist_ok=True)
        (zone / "name").write_text(f"package-{number}\n")
        (zone / "max_energy_range_uj").write_text("9999999\n")
        (zone / "energy_uj").write_text(f"{value}\n")

    (tmp_path / "intel-rapl:9").mkdir()
    (tmp_path / "intel-rapl:9/name").write_text("psys\n")  # the whole machine: not once more
    return put


def test_processors_are_added_up_and_counters_start_again(
    package: Callable[[int, int], None], tmp_path: Path
) -> None:
    package(0, 1_000_000)
    package(1, 9_000_000)
    meter = EnergyMeter([], tmp_path)
    package(0, 3_500_000)
    package(1, 500_000)  # by way of 10 J
    energy = meter.read()
    assert (energy.gpu, energy.cpu) == (None, 4.0)
    package(0, 3_600_000)
    assert meter.read().cpu == pytest.approx(4.1)
    assert meter.read().joules == pytest.approx(4.1)


def test_what_may_not_be_read_is_missing_and_not_zero(
    package: Callable[[int, int], None], tmp_path: Path
) -> None:
    package(0, 1)
    (tmp_path / "intel-rapl:0/energy_uj").unlink()
    assert EnergyMeter([], tmp_path).read().joules is None
    package(0, 1)
    meter = EnergyMeter([], tmp_path)
    (tmp_path / "intel-rapl:0/energy_uj").write_text("nonsense")
    assert meter.read().cpu is None
    package(0, 5_000_000)
    assert meter.read().cpu is None  # there is a gap


@pytest.mark.parametrize(("refused", "expected"), [((), 5.5), (("b",), None)])
def test_gpus_count_together_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: tuple[str, ...], expected: float | None
) -> None:
    told = {"a": 1_000_000, "b": 7_000_000}

    def energy(device: str) -> int:
        if device in refused:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return told[device]

    answers: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid.removeprefix("GPU-"),
        "nvmlDeviceGetTotalEnergyConsumption": energy,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    meter = EnergyMeter(["a", "b"], tmp_path)
    told["a"] += 500
    told["b"] += 5000
    assert meter.read().gpu == expected


@pytest.mark.parametrize(
    ("gpus", "values", "devices"),
    [
        ((), {"device": "cpu", "devices": "2"}, 3),
        (("a", "b", "c"), {"device": "cuda", "devices": "2"}, 6),
        (("a", "b", "c"), {"device": "cuda", "devices": "auto"}, 9),
    ],
)
def test_the_time_of_a_run_on_several_nodes_is_that_of_all_their_devices(
    gpus: tuple[str, ...],
    values: dict[str, str],
    devices: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(costs, "device_uuids", lambda: gpus)
    slurm = {"executor": "slurm", "slurm.nodes": 3, "slurm.gpus": len(gpus), "batch_size": 16}
    config = with_values(RunConfig(), {**slurm, **values})
    assert costs.CostMeter(config).used(tmp_path).devices == devices
