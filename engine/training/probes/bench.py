"""Measuring a config on this machine: `python -m engine.training.probes.bench CONFIG.json`.

Needs neither data nor a run.
Prints one JSON object a line: the device, the latency of one image, then training speed by batch size; with
--latency the device, then the latency of each setting.
The steps are a run's own `training_step` on random images: augmentation, micro-batches, clipping, the CUDA
graph of the step and, with runtime.compile=on, the compiled network included. With runtime.compile=auto all
batch sizes are measured uncompiled and, on CUDA, the config's own compiled, too: a minute or two for what a
run decides by. A run on several devices is measured on one.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.config.step_parts import smallest_part
from engine.config.task_sections import TimingConfig
from engine.exits import DONE, FAILED, tell
from engine.host.leaving import leave
from engine.plugins import config_of_file
from engine.training.probes.fit import release_memory
from engine.worker.process import prepare_process

if TYPE_CHECKING:
    from engine.learning.hardware import Hardware

WARM_STEPS, MOST_STEPS = 3, 100
"""The first steps compile, time algorithms and record graphs; at most so many are timed after them."""
OUT_OF_MEMORY = "out of memory"
TOO_FEW = "too few images for the network's norm layers at this size"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m engine.training.probes.bench", description=__doc__.splitlines()[0]
    )
    parser.add_argument("config", type=Path, help="a RunConfig as JSON")
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--largest", type=int, default=0, help="largest batch tried; 0: twice the config's")
    parser.add_argument("--seconds", type=float, default=3.0, help="time spent on each batch size")
    parser.add_argument("--latency", metavar="JSON", help="measure latency alone: a TimingConfig")
    parser.add_argument("--exported", nargs="*", default=(), help="ONNX files to measure with it")
    options = parser.parse_args()
    try:
        config = config_of_file(options.config)
        prepare_process(config.runtime)
        if options.latency is not None:
            wanted = TimingConfig.model_validate_json(options.latency)
            lines = measure_latencies(config, options.classes, wanted, tuple(options.exported))
        else:
            lines = measure(config, options.classes, options.largest, options.seconds)
        for line in lines:
            print(json.dumps(line), flush=True)
    except BrokenPipeError:
        return FAILED
    except Exception as error:
        return tell(error)
    return DONE


def measure_latencies(
    config: RunConfig, classes: int, wanted: TimingConfig, files: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """The latency of a config's network, whose weights are drawn, and of exported files. Raises
    ExportedError."""
    import torch

    from engine.inference.latency import LatencyTable
    from engine.learning.hardware import choose_hardware, settle_arithmetic
    from engine.models.registry import build_model
    from engine.training.objectives import output_channels

    hardware = choose_hardware(config)
    settle_arithmetic(config, hardware)
    table = LatencyTable(config, wanted, hardware, files)
    model = build_model(config.model, output_channels(config, classes)).to(hardware.device).eval()
    if config.runtime.channels_last:
        model = model.to(memory_format=torch.channels_last)
    yield _machine(config, classes, hardware, model)
    for result in table.measure(model):
        yield {"kind": "latency"} | result.model_dump(exclude={"seq", "t", "attempt", "event"})


def measure(config: RunConfig, classes: int, largest: int, seconds: float) -> Iterator[dict[str, Any]]:
    """What there is to know about a config on this machine, one finding after the other."""
    import torch

    from engine.learning.ceiling import matrix_ceiling
    from engine.learning.enough_images import enough_by_network
    from engine.learning.hardware import choose_hardware, settle_arithmetic
    from engine.learning.latency import measure_latency
    from engine.learning.windows import Windows
    from engine.training.graph_rules import compile_mode
    from engine.training.objectives import output_channels
    from engine.training.state import new_state

    mode = compile_mode(config)
    config = with_values(config, {"devices": 1, "runtime.compile": "on" if mode == "on" else "off"})
    hardware = choose_hardware(config)
    settle_arithmetic(config, hardware)
    ceiling = matrix_ceiling(hardware)
    names = [str(index) for index in range(classes)] if config.needs_labels else []
    state = new_state(config, hardware, names)
    machine = _machine(config, classes, hardware, state.model)
    flops = machine["flops_per_sample"]
    yield machine | {"ceiling_flops": ceiling, "memory_bytes": _memory_at_hand(hardware.device)}
    enough = enough_by_network(output_channels(config, classes))
    timing = measure_latency(state.model, config.data.size, hardware, Windows.of(config.windowed))
    yield {
        "kind": "latency",
        "median_seconds": timing.median,
        "p95_seconds": timing.percentile(0.95),
        "frames_per_second": 1 / timing.median,
    }
    del state

    def at(sized: RunConfig) -> dict[str, Any]:
        line: dict[str, Any] = {"kind": "training", "batch_size": sized.batch_size}
        if not enough(sized, smallest_part(sized, None, ranks=1)):
            return line | {"kind": "skipped", "reason": TOO_FEW}
        try:
            line |= _training(sized, hardware, classes, seconds)
        except (torch.OutOfMemoryError, MemoryError):
            return line | {"error": OUT_OF_MEMORY}
        line["achieved_flops"] = 3 * flops * line["images_per_second"]
        line["utilisation"] = line["achieved_flops"] / ceiling
        return line

    done: dict[int, dict[str, Any]] = {}
    for batch_size in _batch_sizes(largest or 2 * config.batch_size):
        line = done[batch_size] = at(with_values(config, {"batch_size": batch_size}))
        yield line
        if "error" in line:
            break
    if mode == "auto" and hardware.device.type == "cuda":
        own = min(config.batch_size, largest or config.batch_size)
        if "error" not in line or own < line["batch_size"]:
            yield from _as_auto_decides(with_values(config, {"batch_size": own}), at, done.get(own))


def _as_auto_decides(
    config: RunConfig, at: Callable[[RunConfig], dict[str, Any]], plain: dict[str, Any] | None
) -> Iterator[dict[str, Any]]:
    """What `at` measures of a config's batch compiled, beside the `plain` step, and whether a run with
    runtime.compile=auto would keep it; before that, that it begins."""
    from engine.learning.compile_autotune import WORTH_SECONDS, WORTH_SHARE

    plain = plain or at(config)
    if "step_seconds" not in plain:
        return
    yield {"kind": "compiling", "batch_size": config.batch_size}
    line = at(with_values(config, {"runtime.compile": "on"}))
    line |= {"kind": "compiled", "plain_step_seconds": plain["step_seconds"]}
    line["least_run_seconds"] = WORTH_SECONDS
    if "error" in line:
        line["problem"] = "there is too little memory for it"
    faster = line.get("step_seconds", math.inf) <= (1 - WORTH_SHARE) * plain["step_seconds"]
    yield line | {"kept": "problem" not in line and faster}


def _machine(config: RunConfig, classes: int, hardware: Hardware, model: Any) -> dict[str, Any]:
    """Where is measured, and how large the network is."""
    import torch

    from engine.learning.flops import flops_per_sample
    from engine.models.registry import count_parameters
    from engine.training.objectives import output_channels

    return {
        "kind": "machine",
        "device": str(hardware.device),
        "device_name": hardware.name,
        "precision": hardware.precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "parameters": count_parameters(model),
        "flops_per_sample": flops_per_sample(config, output_channels(config, classes), config.train_size),
    }


def _batch_sizes(largest: int) -> Iterator[int]:
    batch_size = 1
    while batch_size <= largest:
        yield batch_size
        batch_size *= 2


def _training(config: RunConfig, hardware: Hardware, classes: int, seconds: float) -> dict[str, Any]:
    """Median step of a few, in images a second, and the most memory it took in bytes; of a network that was
    to be compiled, whether it was, and why not, and the seconds that the first steps took for it."""
    import torch

    from engine.training.probes.steps import random_batch, state_for_steps
    from engine.training.step import training_step

    torch.compiler.reset()  # what was compiled for another batch size counts towards dynamo's limit
    release_memory()
    images = (WARM_STEPS + MOST_STEPS) * config.batch_size
    state = state_for_steps(config, hardware, classes, images)
    batch = random_batch(config, hardware, classes, config.batch_size)

    def timed_step() -> float:
        begun = time.perf_counter()
        training_step(state, batch, config.batch_size)
        _wait(hardware.device)
        return time.perf_counter() - begun

    settling: list[float] = []
    while state.graph.is_settling:
        settling.append(timed_step())
    state.step = 0  # those steps were none of a run's
    times: list[float] = []
    while len(times) <= WARM_STEPS or (
        sum(times[WARM_STEPS:]) < seconds and len(times) < WARM_STEPS + MOST_STEPS
    ):
        times.append(timed_step())
    step = statistics.median(times[WARM_STEPS:])
    decision = state.autotune.decision
    line: dict[str, Any] = {
        "step_seconds": step,
        "images_per_second": config.batch_size / step,
        "peak_memory_bytes": state.meter.peak_memory(),
        "compiled": decision is not None and decision.kept,
    }
    if config.runtime.compile == "on" and decision is not None:
        first = settling + times[:WARM_STEPS]
        line["compile_seconds"] = max(0.0, sum(first) - len(first) * step)
        if not decision.kept:
            line["problem"] = decision.reason
    return line


def _memory_at_hand(device: Any) -> int:
    """Bytes that a run could take: free memory of the GPU, or available memory of the machine."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _wait(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    leave(main())
