"""How long the dashboard's chart takes to draw 4 curves of 2,000 points, from data to painted lines.

python -m benchmarks.tui_chart
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time

from textual.app import App, ComposeResult

from seg_tui.palette import CURVES
from seg_tui.widgets.chart import Chart, Curve

CURVE_COUNT, POINTS, REPEATS = 4, 2000, 50
SIZES = ((80, 24), (120, 40), (200, 60))


class ChartApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Chart("Dice")


def noisy_curves(seed: int) -> list[Curve]:
    draw = random.Random(seed)
    epochs = tuple(range(1, POINTS + 1))
    return [
        Curve(
            f"run {i}",
            CURVES[i],
            epochs,
            tuple(0.6 - 0.5 * 0.998**epoch - 0.05 * i + draw.gauss(0, 0.02) for epoch in epochs),
        )
        for i in range(CURVE_COUNT)
    ]


async def redraw_times(size: tuple[int, int], smoothing: float) -> list[float]:
    """Milliseconds of each redraw: new data given, every line of the widget rendered."""
    app = ChartApp()
    async with app.run_test(size=size) as pilot:
        chart = app.query_one(Chart)
        chart.smoothing = smoothing
        samples = []
        for seed in range(REPEATS):
            curves = noisy_curves(seed)
            begin = time.perf_counter()
            chart.show(curves)
            for line in range(chart.size.height):
                chart.render_line(line)
            samples.append(1000 * (time.perf_counter() - begin))
            await pilot.pause()
        return samples


def main() -> None:
    print(f"{CURVE_COUNT} curves x {POINTS:,} points, {REPEATS} redraws, milliseconds")
    print(f"{'size':>8}  {'smoothing':>9}  {'median':>7}  {'95th':>7}")
    for size in SIZES:
        for smoothing in (0.0, 0.9):
            samples = asyncio.run(redraw_times(size, smoothing))
            high = statistics.quantiles(samples, n=20)[-1]
            name = f"{size[0]}x{size[1]}"
            print(f"{name:>8}  {smoothing:>9g}  {statistics.median(samples):>7.1f}  {high:>7.1f}")


if __name__ == "__main__":
    main()
