"""All kernels of Triton against torch's own operators, by the interpreter: `test_norm_kernels.py` runs it."""

from __future__ import annotations

from tests.unit import added_cases, batch_norm_cases, norm_cases, optimizer_cases, pixel_cases, pool_cases

if __name__ == "__main__":
    for cases in (norm_cases, batch_norm_cases, added_cases, pool_cases, pixel_cases, optimizer_cases):
        cases.check_all()
