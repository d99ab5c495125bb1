"""How fast this device multiplies matrices: the ceiling that a network's speed is held against."""

from __future__ import annotations

import time

import torch

from engine.learning.hardware import Hardware

SECONDS = 0.3
"""Time spent measuring, warm-up aside."""
SIZES = {"cpu": 2048, "cuda": 8192}
"""Rows of the square matrices, as large as a layer's, so that memory is no limit."""
LEAST_SIZE = 256


def matrix_ceiling(hardware: Hardware) -> float:
    """FLOP/s of the best of several square matrix products in the run's precision and threads.

    A convolution is a matrix product in disguise, so no network on this device exceeds it by much. Where the
    run has left too little memory for the matrices, they are smaller.
    """
    size = SIZES[hardware.device.type]
    while True:
        try:
            return _rate(hardware, size)
        except torch.OutOfMemoryError:
            if size <= LEAST_SIZE:
                raise
            size //= 2


def _rate(hardware: Hardware, size: int) -> float:
    """FLOP/s of the best product of matrices of so many rows."""
    # A generator of its own: the run's must not be moved by a measurement.
    generator = torch.Generator(hardware.device).manual_seed(0)
    left, right = (
        torch.randn(size, size, device=hardware.device, generator=generator).to(hardware.dtype) for _ in "ab"
    )
    best = float("inf")
    spent = 0.0
    torch.mm(left, right)
    _wait(hardware)
    while spent < SECONDS:
        begun = time.perf_counter()
        torch.mm(left, right)
        _wait(hardware)
        seconds = time.perf_counter() - begun
        best, spent = min(best, seconds), spent + seconds
    return 2 * size**3 / best


def _wait(hardware: Hardware) -> None:
    if hardware.device.type == "cuda":
        torch.cuda.synchronize(hardware.device)
