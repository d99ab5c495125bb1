"""`seg-engine bench`: how fast a recipe is on this machine, without data and without a run."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from engine.cli.console import notices, output, print_json
from engine.cli.mistaken import recipe_expected
from engine.config.described import format_value
from engine.config.keys import ConfigError, parse_assignments, with_values
from engine.config.run_config import RunConfig
from engine.config.run_defaults import load_run_defaults
from engine.errors import EngineError
from engine.exits import FAILED, FAULT
from engine.host.processes import python_command, python_environment
from engine.plugins import with_loaded
from engine.report.tables import Column, data_size, large, text_table
from engine.requests.configs import base_config, check_runnable
from engine.workspace import Workspace


class BenchError(EngineError):
    """The measuring process failed; the message is its last line."""


def bench(
    workspace: Workspace, target: str, assignments: Sequence[str], largest: int, seconds: float, as_json: bool
) -> None:
    """Measure training speed by batch size and the latency of one image. Raises ConfigError, BenchError."""
    values = parse_assignments(assignments)
    with recipe_expected(workspace, target, "--latency measures its network"):
        base = base_config(target, load_run_defaults(workspace.root), values)
    config = with_values(base, values)
    if config.distill.teacher:
        raise ConfigError(["distill.from: bench measures no teacher; empty, it measures the student"])
    check_runnable(config)
    lines = []
    notices.say("importing torch")
    for line in probe(config, "--largest", str(largest), "--seconds", str(seconds)):
        if line["kind"] == "compiling":
            notices.say(
                f"batch {line['batch_size']}: compiling, as runtime.compile=auto would; takes a minute or two"
            )
            continue
        lines.append(line)
        if line["kind"] == "skipped":
            notices.say(f"batch {line['batch_size']}: not measured, {line['reason']}")
        if line["kind"] == "training":
            speed = f"{line['images_per_second']:.1f} images/s" if "error" not in line else line["error"]
            compiled = ", compiled" if line.get("compiled") else ""
            problem = f"; {line['problem']}: measured uncompiled" if "problem" in line else ""
            notices.say(f"batch {line['batch_size']}: {speed}{compiled}{problem}")
    if as_json:
        print_json(lines, indent=2)
    else:
        print_report(config, lines)


def probe(config: RunConfig, *options: str) -> Iterator[dict[str, Any]]:
    """The findings of `engine.training.probes.bench`, as they come from a process of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(with_loaded(config).model_dump_json())
        file.flush()
        command = python_command("engine.training.probes.bench", file.name, *options)
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=python_environment()
            ) as process,
        ):
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    yield json.loads(line)
            except BaseException:
                process.kill()
                raise
            if process.wait() != 0:
                errors.seek(0)
                said = errors.read().strip()
                if process.returncode in (FAILED, FAULT):  # it was told in full
                    print(said, file=sys.stderr)
                    raise typer.Exit(process.returncode)
                last = (said.splitlines() or [f"exit status {process.returncode}"])[-1]
                raise BenchError(f"measuring failed: {last.removeprefix('error: ')}")


def print_report(config: RunConfig, lines: Sequence[dict[str, Any]]) -> None:
    machine, latency = lines[0], lines[1]
    training = [line for line in lines if line["kind"] == "training"]
    output.say(
        f"{config.recipe or config.model.name}: {large(machine['parameters'])} parameters, "
        f"{large(machine['flops_per_sample'], 'FLOP')} a sample at {format_value(config.train_size)}"
    )
    output.say(
        f"{machine['device_name']} ({machine['device']}), {machine['precision']}, "
        f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}, torch {machine['torch']}; "
        f"a matrix product runs at {large(machine['ceiling_flops'], 'FLOP/s')}"
    )
    size = f" of {format_value(config.data.size)}" if config.train_size != config.data.size else ""
    output.say(
        f"one image{size}: {1000 * latency['median_seconds']:.1f} ms "
        f"(95 %: {1000 * latency['p95_seconds']:.1f} ms), {latency['frames_per_second']:.1f} frames/s"
    )
    output.say()
    trial = next((line for line in lines if line["kind"] == "compiled"), None)
    done = [line for line in training if "error" not in line]
    rows = done if trial is None or "problem" in trial else [*done, trial]
    batches = [f"{line['batch_size']}{', compiled' if line['compiled'] else ''}" for line in rows]
    columns = [
        Column("batch", batches, right=True),
        Column("images/s", [f"{line['images_per_second']:.1f}" for line in rows], right=True),
        Column("step", [f"{1000 * line['step_seconds']:.1f} ms" for line in rows], right=True),
        Column("FLOP/s", [large(line["achieved_flops"]) for line in rows], right=True),
        Column("of the product's", [f"{100 * line['utilisation']:.0f} %" for line in rows], right=True),
        Column("memory", [data_size(line["peak_memory_bytes"]) for line in rows], right=True),
    ]
    output.print(text_table(columns, output.table_width))
    output.say()
    if trial is not None:
        output.say(_what_auto_does(trial))
    output.say(_what_fits(machine, training))


def _what_auto_does(trial: dict[str, Any]) -> str:
    """What became of compiling the config's own batch, and what a run does with it."""
    begin = f"runtime.compile=auto, batch {trial['batch_size']}:"
    if "problem" in trial:
        return f"{begin} a run takes its steps uncompiled, as {trial['problem']}"
    share = 100 * trial["step_seconds"] / trial["plain_step_seconds"]
    told = f"a compiled step takes {share:.0f} % of one without"
    if not trial["kept"]:
        return f"{begin} a run takes its steps uncompiled, as {told}"
    steps = math.ceil(trial["compile_seconds"] / (trial["plain_step_seconds"] - trial["step_seconds"]))
    return (
        f"{begin} {told}, which a run of more than {trial['least_run_seconds'] / 60:.0f} minutes keeps; "
        f"compiling took {trial['compile_seconds']:.0f} s, which {steps:,} steps earn back"
    )


def _what_fits(machine: dict[str, Any], training: Sequence[dict[str, Any]]) -> str:
    """The largest batch: found where memory ran out, else estimated from what two batches took."""
    done = [line for line in training if "error" not in line]
    if not done:
        return "not even one image fits"
    best = max(done, key=lambda line: line["images_per_second"])
    words = f"fastest: batch {best['batch_size']}"
    if len(done) < len(training):
        return f"{words}; largest that fits, by doubling: {done[-1]['batch_size']}"
    if len(done) >= 2:
        images = done[-1]["batch_size"] - done[-2]["batch_size"]
        each = (done[-1]["peak_memory_bytes"] - done[-2]["peak_memory_bytes"]) / images
        if each > 0:
            room = machine["memory_bytes"] - done[-1]["peak_memory_bytes"]
            fits = done[-1]["batch_size"] + max(0, int(room / each))
            return f"{words}; largest that fits, estimated at {data_size(each)} an image: about {fits}"
    return f"{words}; the largest tried, {done[-1]['batch_size']}, fits"
