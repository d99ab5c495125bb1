"""Numbers as they are told: of how many runs a mean is, how large a loss may be, what a table leaves out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from engine.report.compare import compare
from engine.report.compare_formats import comparison_text, difference, number, numbers_table
from engine.report.compare_latex import comparison_latex
from engine.report.compare_ood import OodLine
from engine.report.compare_page import comparison_markdown
from engine.report.figures.classes import classes_figure
from engine.report.figures.curves import curves_figure, entry_curves
from engine.report.measures import ComparedRun, Metric, Value, summarised
from engine.report.tables import LEFT_OUT, Column, score, text_table
from engine.store import Store
from seg_tui.run_order import Spread
from tests.engine.made_up_runs import add_run, finished_journal, ingest, open_store

LOSS = Metric("val_loss", "val loss", "lower", "loss")


@pytest.fixture
def make(tmp_path) -> Callable[..., ComparedRun]:
    store: Store = open_store(tmp_path)

    def made(run_id: str, seed: int, scored: bool = True, **card: object) -> ComparedRun:
        from engine.config.keys import with_values
        from engine.config.recipes import get_recipe

        add_run(store, run_id, with_values(get_recipe("quick"), {"seed": seed, "data.root": "/d"}), **card)
        ingest(store, run_id, finished_journal().events)
        row = store.run(run_id)
        return ComparedRun(row if scored else replace(row, best_dice=None), store.results.epochs(run_id))

    return made


def test_a_mean_of_some_says_of_how_many_in_every_format(make: Callable[..., ComparedRun]) -> None:
    runs = [make("aaaaaaaa", 0), make("bbbbbbbb", 1), make("cccccccc", 2, scored=False)]
    (entry,) = (comparison := compare(runs, fold_seeds=True)).entries
    assert len(entry.rows) == 3
    assert entry.values["best_dice"].n == 2
    for told in (
        comparison_text(comparison, None).plain,
        comparison_latex(comparison),
        comparison_markdown(comparison),
    ):
        assert "(n=2)" in told
    assert "(n=" not in comparison_text(compare(runs[:2], fold_seeds=True), None).plain


def test_a_difference_keeps_of_how_many_the_mean_is() -> None:
    value = summarised([0.5, None, 0.7])
    assert value is not None
    assert (value.n, value.missing) == (2, 1)
    assert number(LOSS, replace(value, difference=0.1)).endswith(" (n=2)")


def test_detection_tells_it_for_each_of_its_means() -> None:
    line = OodLine("A", "d", "pixel", "energy", 0.5, None, 0.25, seeds=3, counts=(3, 0, 2))
    assert line.told == ["0.5000", "undefined", "0.2500 (n=2)"]


def test_a_legend_says_of_how_many_runs_its_curve_or_bars_are(make: Callable[..., ComparedRun]) -> None:
    runs = [make("aaaaaaaa", 0), make("bbbbbbbb", 1), replace(make("cccccccc", 2), epochs=())]
    comparison = compare(runs, fold_seeds=True)
    curve = entry_curves(comparison, runs)[0]
    assert curve.title("dice") == f"{comparison.entries[0].title} (n=2)"
    shorter = replace(curve, runs=(curve.runs[0], curve.runs[0][:2], ()))
    assert shorter.title("dice").endswith("3 seeds (n=1 to 2)")
    for figure in (curves_figure([curve]), classes_figure(comparison)):
        assert "3 seeds (n=2)" in legends(figure)
    assert replace(curve, runs=curve.runs[:2], seeds=(0, 1)).title("dice") == curve.label


def legends(figure: Figure) -> str:
    found = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    return "\n".join(text.get_text() for legend in found if legend for text in legend.get_texts())


@pytest.mark.parametrize(
    ("values", "width", "told"),
    [
        ([0.5, None, 0.7], 26, "0.6000 ± 0.1414 (n=2)"),
        ([0.5, None, 0.7], 18, "0.6000 (n=2)"),
        ([0.5, None, 0.7], 9, "0.600 n=2"),
        ([0.5, None, 0.7], 6, "n=2"),
        ([0.5, None], 18, "0.5000 (n=1)"),
        ([0.5, 0.7], 18, "0.6000 ± 0.1414"),
        ([0.5, 0.7], 9, "0.6000"),
        ([1e9, None], 9, "n=1"),
    ],
)
def test_a_group_in_the_dashboard_says_it_too_or_no_mean(
    values: list[float | None], width: int, told: str
) -> None:
    spread = Spread.of(values)
    assert spread is not None
    assert spread.text(width) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.12345, "0.1235"), (99999.0, "99999.0000"), (135069236024661.3281, "1.351e+14"), (-3e9, "-3.000e+09")],
)
def test_a_loss_of_any_size_has_at_most_ten_characters(value: float, told: str) -> None:
    assert score(value) == told
    assert score(math.inf) == "inf"
    assert len(difference(LOSS, Value(value, None, 1, difference=value))) <= 11


def test_a_table_names_the_columns_that_it_has_no_room_for() -> None:
    columns = [Column("id", ["a" * 10]), Column("recipe", ["b" * 10], rank=2), Column("age", ["1"], rank=1)]
    assert LEFT_OUT not in text_table(columns, 40).plain
    lines = text_table(columns, 16).plain.splitlines()
    assert lines[-1] == f"{LEFT_OUT}re…"
    assert max(map(len, lines)) <= 16


def test_compare_shows_every_number_of_two_runs_in_eighty_columns(make: Callable[..., ComparedRun]) -> None:
    comparison = compare([make("aaaaaaaa", 0, name="one"), make("bbbbbbbb", 1, name="two")])
    assert LEFT_OUT in numbers_table(comparison, 80).plain
    text = comparison_text(comparison, 80).plain
    assert LEFT_OUT not in text
    assert all(metric.title in text for metric in comparison.metrics)
    assert "one" in text
    assert max(map(len, text.splitlines())) <= 80
