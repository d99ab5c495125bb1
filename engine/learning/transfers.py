"""Copies between host and device for which the host does not wait."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(array: NDArray[np.uint8] | Tensor, device: torch.device) -> Tensor:
    """The array on the device. From other than pinned memory a copy would make the host wait."""
    tensor = array if isinstance(array, Tensor) else torch.tensor(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class Arrival:
    """Tensors on their way from the device to the host, behind the work that computes them."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._event: torch.cuda.Event | None = None
        self._tensors = [tensor.detach() for tensor in tensors]
        if any(tensor.is_cuda for tensor in tensors):
            self._tensors = [_copy(tensor) for tensor in self._tensors]
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def is_here(self) -> bool:
        """Whether `tensors` would not wait."""
        return self._event is None or bool(self._event.query())  # type: ignore[no-untyped-call]

    def tensors(self) -> list[Tensor]:
        """The tensors in the host's memory; waits until they are there."""
        if self._event is not None and not self.is_here():
            self._event.synchronize()
        return self._tensors


def _copy(tensor: Tensor) -> Tensor:
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
