"""What is said to torch's compiler, and what is done without it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from engine.models.compiling import constant_result

USES_A_NETWORK = """
import sys, torch
from engine.config.run_config import RunConfig
from engine.inference import ood, predict, robustness
from engine.learning.hardware import choose_hardware, settle_arithmetic
from engine.models import layers
from engine.models.vltseg import fixed

config = RunConfig(device="cpu")
settle_arithmetic(config, choose_hardware(config, 0))
layers.with_bias(torch.zeros(1, 2, 4, 4), torch.zeros(2))
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""


def test_a_mark_for_the_compiler_is_that_of_torch() -> None:
    def ours() -> int:
        return 1

    def theirs() -> int:
        return 1

    assert constant_result(ours) is ours
    assert vars(ours) == vars(torch.compiler.assume_constant_result(theirs)) != {}


@pytest.mark.cold
def test_a_network_is_used_without_importing_the_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-c", USES_A_NETWORK], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "[]\n"
