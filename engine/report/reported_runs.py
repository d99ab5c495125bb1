"""The runs of a report one by one: what they took, their configs, and how to make them again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.config.files import to_toml
from engine.config.keys import ConfigError, validate
from engine.report.commands import command_lines
from engine.report.compare import ComparedRun, Comparison
from engine.report.compare_page import keys_block
from engine.report.page import Block, Cell, Code, Details, Marked, table, text
from engine.report.tables import data_size, duration, large
from engine.store import EvaluationRow, EventRow, RunRow
from engine.tasks import TASKS

MOST_CONFIGS = 30
"""Of more runs the whole configs are files only."""


@dataclass(frozen=True)
class ReportedRun:
    """All that is known of one run of the experiment."""

    compared: ComparedRun
    events: Sequence[EventRow]
    evaluations: Sequence[EvaluationRow]

    @property
    def row(self) -> RunRow:
        return self.compared.row

    def last(self, event: str) -> dict[str, Any]:
        """What its latest event of that kind says; nothing without one."""
        found = [entry.payload for entry in self.events if entry.event == event]
        return found[-1] if found else {}


def cost_blocks(runs: Sequence[ReportedRun]) -> Iterator[Block]:
    """How fast each training was, and what it took."""
    rows: list[list[Cell]] = []
    for run in (run for run in runs if TASKS[run.row.task].learns):
        row = run.row
        seconds = sum(epoch.seconds or 0.0 for epoch in run.compared.epochs)
        share = "-" if row.utilisation is None else f"{100 * row.utilisation:.0f} %"
        rows.append(
            [
                row.name or row.id,
                f"{row.device_name or row.device or '-'}, {row.precision or '-'}",
                "-" if row.images_per_second is None else f"{row.images_per_second:.1f}",
                large(row.achieved_flops, "FLOP/s"),
                share,
                large(row.parameters),
                large(row.flops_per_sample, "FLOP"),
                data_size(row.peak_memory_bytes),
                duration(row.first_step_seconds),
                duration(seconds or None),
                "-" if row.device_hours is None else f"{row.device_hours:.3g}",
                *("-" if kwh is None else f"{kwh:.3g}" for kwh in (row.gpu_kwh, row.cpu_kwh)),
            ]
        )
    header = ["run", "device and precision", "images/s", "achieved", "of the ceiling", "parameters"]
    header += ["a sample", "memory", "first step", "all epochs", "device hours", "GPU kWh", "CPU kWh"]
    yield text(
        "Images a second are of training. What is achieved counts three times the forward pass; the ceiling "
        "is a large matrix product on the same device in the same precision. Energy is of whole GPUs and "
        "processors, whoever used them, from the start of each attempt to its end; -: not measured."
    )
    yield table(header, rows, numbers_from=2)


def config_blocks(runs: Sequence[ReportedRun], comparison: Comparison) -> Iterator[Block]:
    """The keys in which the entries differ, and the whole config of each run."""
    if comparison.config:
        names = ", ".join(f"{entry.letter} {entry.title}" for entry in comparison.entries)
        yield text(f"Keys that differ ({names}):")
        yield keys_block(comparison)
    else:
        yield text("All runs have the same config." if len(runs) > 1 else "The whole config:")
    for run in runs if len(runs) <= MOST_CONFIGS else ():
        name = f"{run.row.name or run.row.id} ({run.row.id})"
        yield Details(f"Config of {name}", (Code(config_toml(run.row), "toml"),))


def config_toml(row: RunRow) -> str:
    """The config of a run as a file that `seg-engine run FILE` takes; one that this version cannot read, as
    it lies in the database."""
    try:
        return to_toml(validate(row.config))
    except ConfigError as error:
        told = [*(f"# {problem}" for problem in error.problems), json.dumps(row.config, indent=1)]
        return "\n# ".join("\n".join(told).splitlines()) + "\n"


def repetition_blocks(runs: Sequence[ReportedRun]) -> Iterator[Block]:
    """The commands that make the runs again, and with what they were made."""
    yield text(
        "With the versions named below and the same data, these lines make the runs again. On the same kind "
        "of CPU with as many threads they repeat to the same bits, on CUDA with runtime.deterministic=true; "
        "elsewhere rounding differs, which in the end may matter as much as another seed does."
    )
    yield Code("\n".join(command_lines([run.row for run in runs])), "sh")
    yield text(
        "The whole configs lie beside this page in ",
        Marked("configs/", "code"),
        "; ",
        Marked("seg-engine run configs/ID.toml", "code"),
        " takes one.",
    )
    header = ["run", "id", "seed", "split seed", "images", "classes", "host", "device", "versions"]
    rows: list[list[Cell]] = []
    for run in runs:
        row, started = run.row, run.last("started")
        versions = started.get("versions", {})
        images = "-" if row.train_images is None else f"{row.train_images} + {row.val_images}"
        rows.append(
            [
                row.name or row.id,
                Marked(row.id, "code"),
                str(row.seed),
                str(row.config.get("data", {}).get("split_seed", "-")),
                images,
                str(len(row.classes) or "-"),
                row.host or "-",
                f"{row.device_name or '-'} ({row.device or '-'}), {row.precision or '-'}",
                ", ".join(f"{name} {version}" for name, version in versions.items()) or "-",
            ]
        )
    yield table(header, rows, numbers_from=len(header))
