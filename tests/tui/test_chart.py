"""The chart: what it draws of curves, what it reads off, and when it does not draw at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from textual.app import App, ComposeResult
from textual.theme import BUILTIN_THEMES, Theme

from seg_tui.palette import CURVES, _luminance, legible, with_legible_text
from seg_tui.widgets.chart import Chart, Curve
from seg_tui.widgets.curves import log_ticks, reading, tick_labels, ticks, time_label, time_ticks
from seg_tui.widgets.plot import smoothed
from seg_tui.widgets.raster import DOWN, SHARED, Raster


class ChartApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Chart("Dice")

    @property
    def chart(self) -> Chart:
        return self.query_one(Chart)

    def text(self) -> list[str]:
        return [self.chart.render_line(y).text for y in range(self.chart.size.height)]


def curve(*values: float | None, name: str = "val") -> Curve:
    return Curve(name, CURVES[0], tuple(range(1, len(values) + 1)), values)


def drawn_columns(width: int, *values: float) -> list[bool]:
    """Which columns of dots have one, of a line through `values` at equal distances."""
    raster = Raster(width, 4)
    raster.line(np.linspace(0, 1, len(values)), np.array(values), 0)
    return raster.dots.any(axis=0).tolist()


# ---------------------------------------------------------------------- dots


def test_a_line_is_unbroken_and_goes_up() -> None:
    raster = Raster(10, 5)
    raster.line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0)
    assert raster.dots.any(axis=0).all()
    assert raster.dots[-1, 0]
    assert raster.dots[0, -1]


def test_none_is_a_gap_and_a_point_alone_a_dot() -> None:
    nan = float("nan")
    columns = drawn_columns(10, 0.5, 0.5, nan, nan, 0.5, 0.5)
    assert columns[:4] == [True] * 4
    assert not any(columns[5:14])
    assert columns[-4:] == [True] * 4
    alone = drawn_columns(10, nan, 0.5, nan, nan)
    assert sum(alone) == 1


def test_one_high_value_among_thousands_is_still_seen() -> None:
    values = np.full(5000, 0.1)
    values[2617] = 0.95
    raster = Raster(20, 10)
    raster.line(np.linspace(0, 1, 5000), values, 0)
    assert raster.dots[:DOWN, :].any()


def test_a_line_is_cut_where_it_leaves_what_is_in_sight() -> None:
    raster = Raster(10, 4)
    raster.line(np.array([-1.0, 2.0]), np.array([-1.0, 2.0]), 0)
    inside = Raster(10, 4)
    inside.line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0)
    assert (raster.dots == inside.dots).all()


def test_a_cell_shows_the_dots_of_all_lines_and_says_that_they_share_it() -> None:
    raster = Raster(2, 1)
    raster.line(np.array([0.0, 1.0]), np.array([1.0, 1.0]), 0)
    raster.line(np.array([0.0, 0.3]), np.array([0.0, 0.0]), 1)
    assert raster.characters() == [["⣉", "⠉"]]
    assert raster.marks.tolist() == [[SHARED, 0]]


def test_where_lines_run_together_both_of_their_colours_are_seen() -> None:
    raster = Raster(6, 1)
    raster.line(np.array([0.0, 1.0]), np.array([0.5, 0.5]), 0)
    raster.line(np.array([0.3, 1.0]), np.array([0.5, 0.5]), 1)
    assert raster.inks().tolist() == [[0, SHARED, 0, 1, 0, 1]]


# ---------------------------------------------------------------------- numbers


def test_smoothing_keeps_a_constant_and_begins_at_the_first_value() -> None:
    assert smoothed(np.full(200, 0.5), 0.9) == pytest.approx(np.full(200, 0.5))
    line = smoothed(np.array([1.0, np.nan, 0.0, np.nan]), 0.5)
    assert line == pytest.approx([1.0, np.nan, 1 / 3, np.nan], nan_ok=True)


def test_smoothing_in_blocks_is_the_moving_average_of_the_book() -> None:
    values = np.random.default_rng(0).normal(size=300)
    average, expected = 0.0, []
    for count, value in enumerate(values, 1):
        average = 0.97 * average + 0.03 * value
        expected.append(average / (1 - 0.97**count))
    assert smoothed(values, 0.97) == pytest.approx(expected)


def test_ticks_are_round_and_not_too_many() -> None:
    assert ticks(0.03, 0.61, 4) == pytest.approx([0.2, 0.4, 0.6])
    assert tick_labels([0.2, 0.4, 0.6]) == ["0.2", "0.4", "0.6"]
    assert time_ticks(0, 7000, 5) == [0, 1800, 3600, 5400, 7000]
    assert tick_labels([100_000.0, 100_010.0]) == ["1.0000e+05", "1.0001e+05"]
    assert [time_label(t) for t in (0, 1800, 5400)] == ["0", "30m", "1h30m"]
    assert [10**t for t in log_ticks(-2.2, 0.5, 6)] == pytest.approx([0.01, 0.1, 1.0])
    assert [10**t for t in log_ticks(-0.6, -0.18, 4)] == pytest.approx([0.4, 0.6]), "round, too"


def test_what_is_read_off_a_curve_tells_small_values_apart() -> None:
    assert [reading(x) for x in (None, 0.0, 0.00125, 0.0013, 0.6031, 12.345, 2e-4, 1e6)] == [
        "-",
        "0.0000",
        "0.00125",
        "0.00130",
        "0.6031",
        "12.35",
        "2.00e-04",
        "1.00e+06",
    ]


@pytest.mark.parametrize("background", ["#121212", "#e0e0e0", "#ffffff", "#282a36"])
def test_every_curve_can_be_told_from_the_background(background: str) -> None:
    for color in CURVES:
        lights = sorted([_luminance(legible(color, background)), _luminance(background)])
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 3


@pytest.mark.parametrize("theme", BUILTIN_THEMES.values(), ids=BUILTIN_THEMES.keys())
def test_text_and_cursor_can_be_read_in_every_theme(theme: Theme) -> None:
    variables = with_legible_text(theme.to_color_system().generate())
    if not variables["panel"].startswith("#"):
        assert variables == theme.to_color_system().generate(), "the terminal's own colours"
        return
    inks = [f"text-{ink}" for ink in ("primary", "secondary", "success", "warning", "error", "accent")]
    pairs = [(ink, ground) for ink in inks for ground in ("background", "surface", "panel")]
    for ink, ground in [*pairs, ("block-cursor-foreground", "block-cursor-background")]:
        lights = sorted(_luminance(variables[name]) for name in (ink, ground))
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5, (ink, ground)


# ---------------------------------------------------------------------- the widget


@pytest.mark.asyncio
async def test_it_draws_only_when_something_changed() -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 15)) as pilot:
        app.chart.show([curve(0.1, 0.2, 0.3)])
        await pilot.pause()
        before = app.chart.draws
        app.chart.show([curve(0.1, 0.2, 0.3)])
        app.chart.refresh()
        await pilot.pause()
        assert app.chart.draws == before
        app.chart.show([curve(0.1, 0.2, 0.3, 0.4)])
        await pilot.pause()
        assert app.chart.draws == before + 1


@pytest.mark.asyncio
async def test_the_legend_reads_every_curve_off_under_the_cursor() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 15)) as pilot:
        app.chart.show([curve(0.1, 0.25, 0.3), curve(0.2, None, 0.6, name="train")])
        await pilot.pause()
        assert "val 0.3000" in app.text()[0]
        app.chart.focus()
        await pilot.press("left", "left")
        assert app.chart.cursor == 2
        assert "@ 2" in app.text()[0]
        assert "val 0.2500" in app.text()[0]
        assert "train -" in app.text()[0]
        await pilot.press("left", "left", "left")
        assert app.chart.cursor == 1


@pytest.mark.asyncio
async def test_the_mouse_reads_off_and_zooms_where_it_is() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 15)) as pilot:
        app.chart.show([curve(*(k / 100 for k in range(100)))])
        await pilot.pause()
        await pilot.hover(Chart, offset=(79, 6))
        assert app.chart.cursor >= 99
        await pilot.hover(Chart, offset=(5, 6))
        assert app.chart.cursor is not None
        assert app.chart.cursor <= 3


@pytest.mark.asyncio
async def test_zoom_and_pan_stay_within_the_data_and_survive_new_data() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        values = [k / 100 for k in range(100)]
        app.chart.show([curve(*values)])
        app.chart.focus()
        await pilot.press(*["plus"] * 3)
        await pilot.press(*["shift+right"] * 20)
        labels = app.text()[-1].split()
        assert float(labels[0]) > 60
        app.chart.show([curve(*values, 1.0)])
        await pilot.pause()
        assert app.text()[-1].split()[0] == labels[0]
        await pilot.press("0")
        assert float(app.text()[-1].split()[0]) < 30


@pytest.mark.asyncio
async def test_a_log_scale_leaves_out_what_is_not_positive_and_says_when_nothing_is() -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 15)) as pilot:
        app.chart.show([curve(1.0, 0.1, 0.0, 0.01)])
        app.chart.focus()
        await pilot.press("L")
        text = "\n".join(app.text())
        assert "log" in app.text()[0]
        assert "0.1" in text
        app.chart.show([curve(0.0, -1.0)])
        await pilot.pause()
        assert "no value above 0" in "\n".join(app.text())


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [(30, 8), (12, 5), (80, 24)])
async def test_it_fits_where_it_is_put(size: tuple[int, int]) -> None:
    app = ChartApp()
    async with app.run_test(size=size) as pilot:
        many = [curve(0.1, 0.2, math.nan, 0.4, name=f"a run with a long name {i}") for i in range(12)]
        app.chart.show(many)
        await pilot.pause()
        for weight in (0.0, 0.9):
            app.chart.smoothing = weight
            lines = app.text()
            assert {len(line) for line in lines} == {size[0]}
            assert any("⠀" < c <= "⣿" for line in lines for c in line)
            assert size[0] > 40 or any("…" in line for line in lines)


@pytest.mark.asyncio
async def test_without_values_it_says_so() -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 15)) as pilot:
        app.chart.show([curve(None, math.nan)])
        await pilot.pause()
        assert "nothing to draw yet" in "\n".join(app.text())


# ---------------------------------------------------------------------- colours and axes


@pytest.mark.asyncio
@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "nord"])
@pytest.mark.parametrize("values", [(0.1, 0.5, 0.4), ()])
async def test_every_cell_has_the_theme_s_background(theme: str, values: tuple[float, ...]) -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 15)) as pilot:
        app.theme = theme
        app.chart.show([curve(*values)])
        await pilot.pause()
        ground = app.chart.rich_style.bgcolor
        assert ground is not None
        for y in range(15):
            strip = app.chart.render_line(y)
            assert strip.cell_length == 60
            assert {segment.style and segment.style.bgcolor for segment in strip} == {ground}


@pytest.mark.asyncio
async def test_without_colours_each_curve_has_a_sign_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = ChartApp()
    async with app.run_test(size=(60, 15)) as pilot:
        rising = [k / 30 for k in range(30)]
        app.chart.show(
            [curve(*rising, name="val"), curve(*rising[::-1], name="train"), curve(0.5, name="one")]
        )
        await pilot.pause()
        head, *lines = app.text()
        for sign, name in (("●", "val"), ("▲", "train"), ("■", "one")):
            assert f"{sign} {name}" in head
            assert any(sign in line for line in lines)


@pytest.mark.parametrize("values", [(0.34567,), (0.3457, 0.3459), (0.0,), (99.0, 100.0), (3e-5, 3.1e-5)])
@pytest.mark.parametrize("size", [(30, 6), (80, 24)])
@pytest.mark.asyncio
async def test_there_are_always_two_ticks_at_the_y_axis(
    values: tuple[float, ...], size: tuple[int, int]
) -> None:
    app = ChartApp()
    async with app.run_test(size=size) as pilot:
        app.chart.show([curve(*values)])
        for log_scale in (False, True)[: 1 + (min(values) > 0)]:
            app.chart.log_scale = log_scale
            await pilot.pause()
            ticks_there = [line.split("┤")[0] for line in app.text() if "┤" in line]
            assert len(set(ticks_there)) >= 2
            low, high = min(values), max(values)
            room = 0.1 * (high - low) or 0.2 * abs(high) or 0.6
            assert all(low - room <= float(text) <= high + room for text in ticks_there)


@pytest.mark.parametrize("size", [(40, 8), (120, 30)])
@pytest.mark.asyncio
async def test_the_last_place_of_the_x_axis_is_for_a_number(size: tuple[int, int]) -> None:
    app = ChartApp()
    async with app.run_test(size=size) as pilot:
        for last in (30, 173):
            app.chart.show([curve(*(k / last for k in range(last)))])
            await pilot.pause()
            *_, rule, labels = app.text()
            assert float(labels.split()[-1]) == last
            assert "epoch" in rule + labels


@pytest.mark.asyncio
async def test_outliers_are_counted_and_shown_on_request_and_scores_are_never_hidden() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 15)) as pilot:
        losses = [1 + 0.5**epoch for epoch in range(1, 41)]
        app.chart.show([curve(*losses, 80.0, 135069236024661.3, math.nan, -9.0, *losses)])
        app.chart.focus()
        await pilot.pause()
        assert "↑2 ↓1 hidden (O)" in app.text()[0]
        assert "↑" in app.text()[1]
        assert "↓" in app.text()[12]
        assert max(float(line.split("┤")[0]) for line in app.text() if "┤" in line) < 2
        await pilot.press("O")
        assert "hidden" not in "".join(app.text())
        assert max(float(line.split("┤")[0]) for line in app.text() if "┤" in line) == 1e14
        app.chart.clipped = True
        app.chart.show([curve(0.01, 0.3, *[0.9 + k / 1000 for k in range(40)])])
        await pilot.pause()
        assert "hidden" not in "".join(app.text())


@pytest.mark.asyncio
async def test_curves_that_cross_keep_their_colours_and_share_a_cell_in_none_of_them() -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 15)) as pilot:
        rising = [k / 30 for k in range(31)]
        up, down = curve(*rising), Curve("train", CURVES[1], tuple(range(1, 32)), tuple(rising[::-1]))
        app.chart.show([up, down])
        await pilot.pause()
        dots = [
            segment.style.color
            for y in range(1, 13)
            for segment in app.chart.render_line(y)
            if segment.style is not None and any("⠀" < c <= "⣿" for c in segment.text)
        ]
        shared = app.chart.get_component_rich_style("chart--shared").color
        assert {color.name for color in dots if color} >= {CURVES[0], CURVES[1]}
        assert 1 <= dots.count(shared) <= 3
        assert "━ shared" in app.text()[0]
        app.chart.show([up])
        await pilot.pause()
        assert "shared" not in app.text()[0]
