"""Dice against frames a second: which runs are points and on the front, and why others are left out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from engine.cli.latency import rows_of
from engine.report.figures.speed import speed_figure
from engine.report.figures.style import FigureError, save_figure
from engine.report.latency import latency_text
from engine.report.speed import Contender, SpeedChoice, speed_plot, speed_table
from engine.store import LatencyRow
from tests.engine.made_up_runs import latency_result

SIZE = (128, 128)


def row(run_id: str, frames: float, t: float = 1.0, **fields: object) -> LatencyRow:
    (found,) = rows_of([latency_result(seconds=1 / frames, **fields)])
    return LatencyRow(**asdict(found) | {"source": run_id, "run_id": "measured", "t": t})


def contender(run_id: str, dice: float | None = 0.5, size: tuple[int, int] = SIZE) -> Contender:
    return Contender(run_id, run_id, size, dice)


def test_a_network_that_another_beats_in_both_is_not_on_the_front() -> None:
    runs = [contender("slow", 0.8), contender("beaten", 0.6), contender("fast", 0.6), contender("same", 0.8)]
    rows = [row("slow", 10), row("beaten", 20), row("fast", 30), row("same", 10)]
    plot = speed_plot(runs, rows)
    assert [(point.label, point.on_front) for point in plot.points] == [
        ("fast", True),
        ("beaten", False),
        ("slow", True),
        ("same", True),
    ]
    assert plot.left_out == ()
    assert plot.conditions == "protocol engine, torch fp32, each at its input size, A CPU, 2 threads"


def test_what_was_measured_otherwise_is_in_no_figure_with_the_rest_and_is_named() -> None:
    runs = [contender(name) for name in ("a", "b", "other", "bare")] + [contender("new", None)]
    rows = [
        *(row("a", 10), row("b", 20), row("a", 12, t=2.0)),
        *(
            row("other", 99, t=3.0, device_name="Another"),
            row("new", 30),
            row("a", 70, protocol="literature"),
        ),
        *(row("a", 80, compiled=True), row("a", 90, height=64), row("b", 50, runtime="onnxruntime")),
    ]
    plot = speed_plot(runs, rows)
    assert [(point.label, point.frames_per_second) for point in plot.points] == [("b", 20), ("a", 12)]
    assert plot.notes == [
        "left out: other: measured otherwise, not at 128x128 by the protocol engine in torch fp32 on A CPU, "
        "2 threads",
        "left out: bare: no latency measured, which `seg-engine bench bare --latency` does",
        "left out: new: has no validation Dice yet",
    ]
    chosen = speed_plot(runs, rows, SpeedChoice(protocol="literature"))
    assert [point.frames_per_second for point in chosen.points] == [pytest.approx(70)]
    assert not speed_plot(runs, rows, SpeedChoice(precision="bf16")).points
    at_size = speed_plot(runs, rows, SpeedChoice(size=(64, 128)))
    assert [point.frames_per_second for point in at_size.points] == [pytest.approx(90)]


def test_each_run_is_taken_at_its_own_input_size() -> None:
    runs = [contender("small"), contender("large", 0.7, size=(256, 512))]
    rows = [row("small", 50), row("large", 40), row("large", 5, height=256, width=512)]
    plot = speed_plot(runs, rows)
    assert [(point.label, point.frames_per_second) for point in plot.points] == [("small", 50), ("large", 5)]
    table = speed_table(plot, 100).plain
    assert "256x512" in table


def test_a_figure_of_many_networks_is_the_same_again_and_one_of_none_says_why(tmp_path: Path) -> None:
    runs = [contender(f"network {i} of a long name", 0.5 + 0.001 * (i % 3)) for i in range(12)]
    rows = [row(run.run_id, 10 + i / 10) for i, run in enumerate(runs)]
    plot = speed_plot(runs, rows)
    for name in ("a.png", "b.png"):
        save_figure(speed_figure(plot), tmp_path / name, "runs")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    figure = speed_figure(plot, 2)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 12
    overlapping = sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert overlapping <= 2
    with pytest.raises(FigureError, match="bare: no latency measured"):
        speed_figure(speed_plot([contender("bare")], []))


def test_the_newest_measurement_of_each_kind_is_told_and_problems_below() -> None:
    rows = [row("a", 10), row("a", 20, t=2.0), row("a", 5, t=3.0, precision="bf16")]
    failed = latency_result(compiled=True, median_seconds=None, frames_per_second=None, problem="too large")
    told = latency_text([*rows, *rows_of([failed])], 100).plain
    assert told.count("torch fp32") == 3  # compiled in the table and below it
    assert "50 ms" in told
    assert "100 ms" not in told
    assert told.endswith("128x128 engine torch fp32, compiled: too large")
