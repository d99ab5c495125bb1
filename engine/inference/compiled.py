"""The network of a task that looks at many images, compiled where that pays."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from engine.inference.network import Network
from engine.learning.compile_autotune import CompileAutotune
from engine.learning.compiled_passes import CompiledPasses, LogitsOf
from engine.training.begin import record_compile_decision
from engine.training.graph_rules import compile_mode
from engine.worker.job import Job


def compiled_for(job: Job, network: Network, images: int) -> Network:
    """The network to predict so many images with, as `runtime.compile` says: with `auto`, a few are timed
    before and after compiling. On CUDA, its passes are replayed as CUDA graphs."""
    autotune = CompileAutotune(
        LogitsOf(network.model),
        network.hardware.device,
        compile_mode(job.config),
        partial(record_compile_decision, job, of="images"),
    )
    return replace(network, passes=CompiledPasses(autotune, images))
