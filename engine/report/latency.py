"""Latency of networks as text: how long one image takes, by protocol, precision and size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

from rich.text import Text

from engine.report.tables import Cell, Column, text_table
from engine.store import LatencyRow


def latency_text(rows: Sequence[LatencyRow], width: int | None = None) -> Text:
    """A table for each device, of the newest measurement of each kind."""
    newest = newest_of_each(rows)
    parts = [
        Text.assemble(
            (f"latency on {machine}\n", "bold"),
            latency_table([row for row in newest if machine_of(row) == machine], width),
        )
        for machine in dict.fromkeys(map(machine_of, newest))
    ]
    return Text("\n\n", no_wrap=True, overflow="ignore").join(parts)


def latency_table(rows: Sequence[LatencyRow], width: int | None = None) -> Text:
    """A line for each measurement; what could not be measured says why below."""
    names = names_of_files(row.file for row in rows if row.file)
    columns = [
        Column("size", [size_of(row) for row in rows]),
        Column("protocol", [row.protocol for row in rows]),
        Column("network", [network_of(row, names) for row in rows], least=12),
        Column("median", [milliseconds(row.median_seconds) for row in rows], right=True),
        Column("p95", [milliseconds(row.p95_seconds) for row in rows], right=True, rank=1),
        Column("p99", [milliseconds(row.p99_seconds) for row in rows], right=True, rank=2),
        Column("frames/s", [frames(row) for row in rows], right=True),
        Column("passes", [str(row.passes) for row in rows], right=True, rank=3),
    ]
    problems = [
        f"{size_of(row)} {row.protocol} {network_of(row, names)}: {row.problem}"
        for row in rows
        if row.problem
    ]
    return Text("\n").join([text_table(columns, width), *(Text(line, "yellow") for line in problems)])


def newest_of_each(rows: Sequence[LatencyRow]) -> list[LatencyRow]:
    """The last measurement of each kind, of rows in the order of time; in that order."""
    found: dict[tuple[object, ...], LatencyRow] = {}
    for row in rows:
        kind = (
            machine_of(row),
            size_of(row),
            row.protocol,
            row.runtime,
            row.precision,
            row.compiled,
            row.file,
        )
        found.pop(kind, None)
        found[kind] = row
    return list(found.values())


def machine_of(row: LatencyRow) -> str:
    """What two measurements have to be of to be compared: "Xeon, 2 threads"; threads matter on CPUs alone."""
    if row.device.startswith("cuda"):
        return row.device_name
    return f"{row.device_name or row.device}, {row.threads} thread{'' if row.threads == 1 else 's'}"


def size_of(row: LatencyRow) -> str:
    return f"{row.height}x{row.width}"


def names_of_files(files: Iterable[str]) -> dict[str, str]:
    """What files are called so that they can be told apart: as they are, with the folder or, from the first
    folder on in which others differ, "one/…/model.onnx"."""
    parts = {file: PurePath(file).parts for file in files}
    names = {}
    for file, own in parts.items():
        others = [each for each in parts.values() if each != own]
        lengths = (n for n in range(1, len(own)) if not any(each[-n:] == own[-n:] for each in others))
        end = own[-next(lengths, len(own)) :]
        names[file] = "/".join(end if len(end) < 3 else (end[0], "…", end[-1]))
    return names


def network_of(row: LatencyRow, names: Mapping[str, str]) -> str:
    """What ran: "torch bf16, compiled", "onnxruntime fp32 (model.onnx)"; `names` are those of files."""
    file = f" ({names[row.file]})" if row.file else ""
    return f"{row.runtime} {row.precision}{', compiled' if row.compiled else ''}{file}"


def milliseconds(seconds: float | None) -> str:
    return (
        "-"
        if seconds is None
        else f"{1000 * seconds:.3g} ms"
        if seconds < 0.1
        else f"{1000 * seconds:.0f} ms"
    )


def frames(row: LatencyRow) -> Cell:
    return "-" if row.frames_per_second is None else (f"{row.frames_per_second:.4g}", "bold")
