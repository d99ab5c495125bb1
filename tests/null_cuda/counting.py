"""A plugin for runs on the null CUDA: AdamW that writes down after each step what its process has counted."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine import optimizers
from engine.components import option
from engine.optimizers.builtin import AdamWConfig

if TYPE_CHECKING:
    from torch.optim import AdamW


@optimizers.register
class CountingConfig(AdamWConfig):
    """AdamW; a line of counts a step in `counts.RANK` in the folder that NULL_CUDA_COUNTS names.

    NULL_CUDA_BACKEND is what torch.compile takes instead of inductor, which takes minutes for two ranks.
    """

    name: Literal["counting"] = option("counting", "Optimizer")

    def build(self, groups: list[dict[str, Any]]) -> AdamW:
        import torch

        from engine.learning import compile_autotune
        from engine.learning.distributed import made_inside
        from tests.null_cuda.counts import Counts

        if backend := os.environ.get("NULL_CUDA_BACKEND"):
            compile_autotune.compiled = lambda network, *about: made_inside(
                network, partial(torch.compile, backend=backend, dynamic=False)
            )
        file = Path(os.environ["NULL_CUDA_COUNTS"], f"counts.{os.environ['RANK']}")

        def write(*of_step: object) -> None:
            with file.open("a") as lines:
                lines.write(json.dumps(asdict(Counts.now())) + "\n")

        optimizer = super().build(groups)
        optimizer.register_step_post_hook(write)
        return optimizer
