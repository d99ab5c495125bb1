"""Device and precision: what a config asks for, what the machine has, and what is used."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from engine.config.run_config import RunConfig
from engine.data.faults import counted
from engine.errors import EngineError
from engine.host.cpu import bf16_is_fast, cpu_name

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class HardwareError(EngineError):
    """The config asks for hardware that is not here; the message is one line."""


@dataclass(frozen=True)
class Hardware:
    """Where a run computes and in what precision; `name` is the device's own name."""

    device: torch.device
    name: str
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.precision]

    def autocast(self) -> AbstractContextManager[object]:
        """Matrix products and convolutions in `precision`; weights, norms and losses stay in float32."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.precision != "fp32")


def choose_hardware(config: RunConfig, rank: int = 0) -> Hardware:
    """Resolve `auto`, for one of several ranks to its own GPU. Raises HardwareError for a device that is not
    there or a precision it lacks."""
    device = _device(config.device, rank)
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        bf16 = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        name = cpu_name()
        bf16 = bf16_is_fast()
    precision = ("bf16" if bf16 else "fp32") if config.precision == "auto" else config.precision
    if precision == "fp16" and device.type == "cpu":
        raise HardwareError("precision: fp16 needs CUDA; on the CPU it must be auto, bf16 or fp32")
    return Hardware(device, name, precision)


def settle_arithmetic(config: RunConfig, hardware: Hardware) -> None:
    """Set what torch keeps for the whole process.

    `fp32` on CUDA means 24 bits of mantissa: TF32, which multiplies with 11, is only for what autocast
    leaves in float32. Unless bits must repeat, cuDNN times its algorithms for each new shape.
    """
    deterministic = config.runtime.deterministic
    if deterministic != torch.are_deterministic_algorithms_enabled():  # telling torch imports its compiler
        torch.use_deterministic_algorithms(deterministic, warn_only=False)
    # Nothing reads memory that was not written; filling it takes a kernel a tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if hardware.device.type == "cuda":
        allow_tf32(hardware.precision != "fp32")
        torch.backends.cudnn.benchmark = not deterministic


def allow_tf32(allowed: bool) -> None:
    """Whether products and convolutions of float32 on CUDA may use TF32. By torch's older switches: inductor
    reads them, and raises once the newer ones, `fp32_precision`, have been set."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(TF32|tf32)")  # they are to be replaced one day
        torch.set_float32_matmul_precision("high" if allowed else "highest")
        torch.backends.cudnn.allow_tf32 = allowed


def count_devices(config: RunConfig) -> int:
    """Resolve `devices`: how many ranks a run has on this machine. Raises HardwareError for more GPUs than
    there are."""
    gpus = torch.cuda.device_count() if config.device != "cpu" and torch.cuda.is_available() else 0
    if config.devices == "auto":
        count = max(1, gpus)
        if count * config.slurm.nodes > config.batch_size:
            count *= config.slurm.nodes
            raise HardwareError(f"devices: {count} GPUs cannot share a batch of {config.batch_size} images")
        return count
    count = int(config.devices)
    if count > gpus > 0 or (config.device == "cuda" and not gpus):
        here = counted(gpus, "usable CUDA device")
        raise HardwareError(f"devices: {count} are asked for; this machine has {here}")
    return count


def _device(wanted: str, rank: int) -> torch.device:
    if wanted == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return torch.device("cuda", rank) if count else torch.device("cpu")
    index = int(wanted.partition(":")[2] or rank)
    if index >= count:
        here = counted(count, "CUDA device") if count else "no usable CUDA device"
        raise HardwareError(
            f"device: {wanted} is not here; this machine has {here}; device=cpu runs on the CPU"
        )
    return torch.device("cuda", index)
