"""What a training step of each recipe asks of a CUDA device, counted on a machine without one.

    python -m benchmarks.null_cuda [--recipe NAME] [--compile MODE] [--graph MODE] [--json] [KEY=VALUE ...]

Runs the engine's own training loop on the null CUDA of `tests/null_cuda`, which needs gcc and the CUDA wheels
of torch. A row is a recipe, with and without a CUDA graph of the whole step: what the host launches in one
steady step, a graph being one launch, what the device runs, copies among it, host waits, peak memory, and the
time that an H100 and an H200 need at least: operations over the peak of the tensor cores or bytes over the
memory's rate, whichever is longer, operator by operator. Bytes are those of each operator's inputs and
outputs; nothing is known of caches.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.ending import told_in_lines
from engine.config.keys import parse_assignments, with_values
from engine.config.recipes import RECIPES, get_recipe
from engine.data.batches import ResidentBatches
from engine.learning.hardware import choose_hardware, settle_arithmetic
from engine.learning.step_graph import GraphDecision
from engine.run.directory import RunDir
from engine.training.distillation import load_teacher
from engine.training.loop import train_epoch
from engine.training.state import new_state
from engine.training.validate import score_split
from engine.worker.job import Job
from tests.null_cuda.build import build, environment
from tests.null_cuda.counts import Counts

PROGRAM = "benchmarks.null_cuda"
STEPS = 6
"""Of an epoch; the last is counted, when the allocator and the libraries have settled."""
MODES = ("off", "on")
GRAPHS = ("off", "auto")


@dataclass(frozen=True)
class Gpu:
    """Dense bf16 operations a second and bytes a second, from NVIDIA's data sheets (H100 SXM, H200 SXM)."""

    name: str
    flops: float
    bytes: float


GPUS = (Gpu("H100", 989e12, 3.35e12), Gpu("H200", 989e12, 4.8e12))


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {PROGRAM}", description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", action="append", help="only this one; may be given several times")
    parser.add_argument("--compile", choices=MODES, action="append", help="runtime.compile; default: off")
    parser.add_argument("--graph", choices=GRAPHS, action="append", help="runtime.graph; default: both")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    if not options.inside:
        return _on_null_cuda(sys.argv[1:])
    recipes = options.recipe or list(RECIPES)
    rows = [
        measure(recipe, {"runtime.compile": mode, "runtime.graph": graph}, options.changes)
        for recipe in recipes
        for mode in options.compile or ["off"]
        for graph in options.graph or GRAPHS
    ]
    print(json.dumps(rows) if options.json else table(rows))
    return 0


def _on_null_cuda(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        variables = {**os.environ, **environment(build(Path(folder)))}
        command = [sys.executable, "-m", PROGRAM, "--inside", *arguments]
        return subprocess.run(command, env=variables, check=False).returncode


def measure(
    recipe: str, mode: dict[str, Any], changes: list[str], steps_of_epoch: int = STEPS, roofline: bool = True
) -> dict[str, Any]:
    """The row of a recipe: counts of one steady training step and of a validation batch, and without
    `roofline` no times."""
    config = with_values(get_recipe(recipe), {**mode, **parse_assignments(changes)})
    hardware = choose_hardware(config)
    settle_arithmetic(config, hardware)
    classes = [str(index) for index in range(19)] if config.needs_labels else []
    torch.cuda.empty_cache()
    decisions: list[GraphDecision] = []
    teacher = load_teacher(config, Path("/"), hardware)
    state = new_state(config, hardware, classes, on_graph=decisions.append, teacher=teacher)
    height, width = config.data.size
    images = steps_of_epoch * config.batch_size
    pixels = torch.zeros(images, height, width, 3, dtype=torch.uint8, device=hardware.device)
    labels = torch.zeros(images, height, width, dtype=torch.uint8, device=hardware.device)
    batches = ResidentBatches(pixels, labels, torch.arange(images, device=hardware.device))
    steps: list[Counts] = []

    class CountingJob(Job):
        def step_done(self) -> None:
            steps.append(Counts.now())
            super().step_done()

    with tempfile.TemporaryDirectory() as folder:
        job = CountingJob(RunDir(Path(folder)), config, None, Path(folder))
        begun = torch.cuda.memory_allocated()
        train_epoch(job, state, batches, images)
        while state.graph.is_settling or state.autotune.decision is None:
            state.finish_epoch()
            train_epoch(job, state, batches, images)
        state.finish_epoch()
        train_epoch(job, state, batches, images)
        step, peak = steps[-1] - steps[-2], state.meter.peak_memory() - begun
        state.finish_epoch()
        least = Roofline()
        # A replay runs no operators, and inductor's own kernels are none.
        if roofline and not state.graph.is_held and config.runtime.compile == "off":
            with least:
                train_epoch(job, state, batches, images)
        before = Counts.now()
        score_split(job, state.model, state.objective, batches, images, len(classes), hardware, 1)
        validation = Counts.now() - before
    return {
        "recipe": recipe,
        "compile": config.runtime.compile,
        "graph": state.graph.is_held,
        "graph_outcome": "yes" if state.graph.is_held else decisions[-1].reason if decisions else "off",
        "compiled": state.autotune.decision is not None and state.autotune.decision.kept,
        "batch": config.batch_size,
        "size": f"{height}x{width}",
        "step": asdict(step),
        "device_work": step.device_work,
        "validation_waits": validation.wait,
        "validation_work": validation.device_work / steps_of_epoch,
        "peak_gib": peak / 2**30,
        "roofline_ms": {name: 1e3 * seconds / steps_of_epoch for name, seconds in least.seconds.items()},
    }


class Roofline(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up, operator by operator, what each GPU needs at least."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds = dict.fromkeys((gpu.name for gpu in GPUS), 0.0)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self._add(func, args, kwargs or {}, out)
        return out

    def _add(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
        moved = sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor.is_cuda)
        count = flop_registry.get(func._overloadpacket)
        operations = count(*args, **kwargs, out_val=out) if count else 0
        for gpu in GPUS:
            self.seconds[gpu.name] += max(operations / gpu.flops, moved / gpu.bytes)


def table(rows: list[dict[str, Any]]) -> str:
    titles = [
        "recipe",
        "compile",
        "graph",
        "batch",
        "size",
        "host launches",
        "device work",
        "copies",
        "waits",
        "peak GiB",
    ]
    titles += [f"least ms, {gpu.name}" for gpu in GPUS]
    lines = [titles, ["---"] * len(titles)]
    for row in rows:
        step = row["step"]
        cells = [row[name] for name in ("recipe", "compile")]
        cells += [row["graph_outcome"], row["batch"], row["size"]]
        copies = step["device_copy"] + step["upload"] + step["download"]
        counts = step["host_launch"], row["device_work"], copies, step["wait"]
        least = [
            f"{milliseconds:.2f}" if milliseconds else "" for milliseconds in row["roofline_ms"].values()
        ]
        lines.append([*cells, *counts, f"{row['peak_gib']:.2f}", *least])
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(told_in_lines(main))
