"""What is told of the machine's GPUs, by a driver that answers some questions and not others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from engine.host.load import Gpu, Nvml
from engine.host.occupancy import Held


def refuse(*about: Any) -> Any:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A driver with two GPUs, the second of which has fallen off the bus."""

    def handle(index: int) -> int:
        if index == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return index

    answers = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": handle,
        "nvmlDeviceGetName": lambda device: "NVIDIA H100",
        "nvmlDeviceGetUtilizationRates": lambda device: SimpleNamespace(gpu=87, memory=40),
        "nvmlDeviceGetMemoryInfo": lambda device: SimpleNamespace(total=80, free=50, used=30),
        "nvmlDeviceGetPowerUsage": lambda device: 350_500,
        "nvmlDeviceGetTemperature": lambda device, sensor: 61,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    return monkeypatch


@pytest.mark.usefixtures("driver")
def test_each_gpu_that_answers_is_told_of() -> None:
    assert Nvml().gpus() == (Gpu(0, "H100", 87, 350.5, 30, 80, 61),)


def test_what_a_driver_does_not_tell_is_left_open(driver: pytest.MonkeyPatch) -> None:
    for question in ("Name", "PowerUsage", "Temperature", "UtilizationRates", "MemoryInfo"):
        driver.setattr(pynvml, f"nvmlDeviceGet{question}", refuse)
    assert Nvml().gpus() == (Gpu(0, "GPU", None, None, None, None, None),)


def test_without_a_driver_there_are_no_gpus(driver: pytest.MonkeyPatch) -> None:
    driver.setattr(pynvml, "nvmlInit", refuse)
    assert Nvml().gpus() == ()


def test_an_older_driver_and_a_slice_of_a_gpu_tell_who_holds_it(driver: pytest.MonkeyPatch) -> None:
    """It has the second version of the question, and the first of that for memory."""

    def unknown(*about: Any) -> Any:
        raise pynvml.NVMLLibraryMismatchError("the library is newer than the driver")

    def by_uuid(uuid: str) -> int:
        if uuid != "MIG-a":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return 0

    def memory(device: int, version: int | None = None) -> Any:
        return SimpleNamespace(total=80, free=50, used=30) if version is None else refuse()

    for kind, pids in {"MPSCompute": {7: 5}, "Compute": {7: 5, 8: None}, "Graphics": {}}.items():
        told = [SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in pids.items()]
        driver.setattr(pynvml, f"nvmlDeviceGet{kind}RunningProcesses_v3", unknown)
        driver.setattr(pynvml, f"nvmlDeviceGet{kind}RunningProcesses_v2", lambda device, told=told: told)
    driver.setattr(pynvml, "nvmlDeviceGetHandleByUUID", by_uuid)
    driver.setattr(pynvml, "nvmlDeviceGetMemoryInfo", memory)
    assert Nvml(()).held("a") == Held(80, 50, 87, {7: 5, 8: None}, {})
    assert Nvml(()).held("b") is None
