"""All kernels of Triton against torch's own operators, by the interpreter: `test_norm_kernels.py` runs it."""

from __future__ import annotations

from tests.unit import batch_norm_cases, norm_cases, pixel_cases

if __name__ == "__main__":
    norm_cases.check_all()
    batch_norm_cases.check_all()
    pixel_cases.check_all()
