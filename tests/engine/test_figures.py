"""Figures for a paper: that they show what is known, in the colours meant, in files that a journal takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from engine.report.compare import ComparedRun, Comparison, compare
from engine.report.figures.classes import MOST_ENTRIES, classes_figure
from engine.report.figures.confusion import confusion_figure
from engine.report.figures.curves import Curve, curves_figure
from engine.report.figures.samples import Predictions, samples_figure
from engine.report.figures.style import DOTS_PER_INCH, FigureError, save_figure
from engine.report.published import published_results
from engine.report.triptych import WRONG, Sample
from engine.store import EpochRow, Store
from tests.engine.made_up_runs import MadeUpJournal, add_run, epoch_event, ingest, open_store

NAMES = ("road", "person", "car")
COLORS = ((128, 64, 128), (220, 20, 60), (0, 0, 142))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


@pytest.fixture
def make(store: Store) -> Callable[..., ComparedRun]:
    """A run whose validation Dice are given, epoch by epoch; training is 0.05 below."""

    def made(run_id: str, *dice: float, by_class: dict[str, float | None] | None = None) -> ComparedRun:
        journal = MadeUpJournal()
        journal.begin()
        for epoch, value in enumerate(dice, start=1):
            journal.add(epoch_event(epoch, "train", value - 0.05))
            journal.add(epoch_event(epoch, "val", value, by_class))
        ingest(store, add_run(store, run_id), journal.events)
        return ComparedRun(store.run(run_id), store.results.epochs(run_id))

    return made


def legend_of(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


# --- Curves ------------------------------------------------------------------------------------


def drawn(figure: Figure) -> list[list[float]]:
    return [[round(float(y), 4) for y in line.get_ydata()] for line in figure.axes[0].lines]


def test_curves_are_those_of_training_and_validation(make: Callable[..., ComparedRun]) -> None:
    run = make("aaaaaaaa", 0.2, 0.4)
    figure = curves_figure([Curve("mine", [run.epochs])])
    assert drawn(figure) == [[0.15, 0.35], [0.2, 0.4]]
    assert legend_of(figure) == ["mine", "validation", "training"]
    assert figure.axes[0].get_ylabel() == "Dice"
    assert drawn(curves_figure([Curve("mine", [run.epochs])], "loss"))[1] == [0.8, 0.6]


def test_seeds_are_a_mean_with_a_band_of_one_deviation(make: Callable[..., ComparedRun]) -> None:
    runs = [make("aaaaaaaa", 0.2, 0.4), make("bbbbbbbb", 0.4, 0.6)]
    figure = curves_figure([Curve("both", [run.epochs for run in runs])])
    assert drawn(figure)[1] == [0.3, 0.5]
    (band,) = figure.axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(0.3 - 0.2 / 2**0.5)
    assert heights.max() == pytest.approx(0.5 + 0.2 / 2**0.5)


def test_a_seed_that_was_run_twice_counts_once_in_mean_and_band(make: Callable[..., ComparedRun]) -> None:
    runs = [make("aaaaaaaa", 0.2), make("bbbbbbbb", 0.3), make("cccccccc", 0.65)]
    curve = Curve("two seeds", [run.epochs for run in runs], seeds=[0, 0, 1])
    assert curve.points("val", "dice") == [(1, pytest.approx([0.25, 0.65]))]
    assert curve.title("dice") == "two seeds"


def test_curves_against_hours_or_images_count_what_was_used_until_then(
    make: Callable[..., ComparedRun],
) -> None:
    # Of each epoch 80 images in 10 s of training, and 10 s of validation.
    curve = Curve("mine", [make("aaaaaaaa", 0.2, 0.4).epochs])
    hours = curves_figure([curve], against="hours").axes[0]
    assert list(hours.lines[1].get_xdata()) == pytest.approx([20 / 3600, 40 / 3600])
    assert hours.get_xlabel() == "Hours of training and validation"
    images = curves_figure([curve], against="images").axes[0]
    assert list(images.lines[1].get_xdata()) == pytest.approx([80, 160])
    with pytest.raises(FigureError, match=r"the energy of epochs was not measured; --against hours works"):
        curves_figure([curve], against="kwh")
    powered = Curve(curve.label, [[replace(row, joules=1.8e6) for row in run] for run in curve.runs])
    kwh = curves_figure([powered], against="kwh").axes[0]
    assert kwh.get_xlabel() == "Energy of training and validation, kWh"
    assert max(max(line.get_xdata()) for line in kwh.lines if len(line.get_xdata())) == len(curve.runs[0]) / 2
    with pytest.raises(FigureError, match="--against days: is nothing to draw a curve against"):
        curves_figure([curve], against="days")


def test_seeds_of_unlike_speed_have_a_mean_at_every_hour(make: Callable[..., ComparedRun]) -> None:
    """The faster has more epochs in the same time: by its number, an epoch is not at one time."""
    slow = make("aaaaaaaa", 0.2, 0.4, 0.6).epochs
    fast = make("bbbbbbbb", *(0.1 * epoch for epoch in range(1, 7))).epochs
    curve = Curve("both", [slow, [replace(row, seconds=5.0) for row in fast]])  # half of slow's
    points = curve.points("val", "dice", "hours")
    assert [hour * 3600 for hour, _ in points] == pytest.approx([20, 30, 40, 50, 60])
    for hour, values in points:
        assert values == pytest.approx([hour * 36, hour * 36])
    assert curve.title("dice", "hours") == "both"

    stopped = Curve("both", [slow, fast[:2]])  # after one epoch
    assert [len(values) for _, values in stopped.points("val", "dice", "hours")] == [2, 1, 1]
    assert stopped.title("dice", "hours") == "both (n=1 to 2)"


def test_published_results_are_marks_called_published(make: Callable[..., ComparedRun]) -> None:
    run = make("aaaaaaaa", 0.2)
    figure = curves_figure([Curve("mine", [run.epochs])], published=published_results(["paper-unet"]))
    marks = figure.axes[0].lines[-1]
    assert marks.get_linestyle() == "None"
    assert list(marks.get_xdata()) == [25, 35, 60]
    assert drawn(figure)[-1] == [0.2215, 0.2608, 0.3172]
    assert "U-Net (2015) (published)" in legend_of(figure)


def test_there_may_be_nothing_to_draw(make: Callable[..., ComparedRun]) -> None:
    empty: Sequence[EpochRow] = []
    with pytest.raises(FigureError, match="no epoch of these runs has a Dice"):
        curves_figure([Curve("mine", [empty])])
    with pytest.raises(FigureError, match=r"dise: is nothing a curve can be of; it must be one of dice, "):
        curves_figure([Curve("mine", [empty])], "dise")


# --- Classes -----------------------------------------------------------------------------------


def bars(figure: Figure, columns: int) -> list[float]:
    found = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    return [round(float(bar.get_width() if columns == 1 else bar.get_height()), 4) for bar in found]


@pytest.mark.parametrize("columns", [1, 2])
def test_bars_are_as_long_as_the_scores_the_best_class_first(
    make: Callable[..., ComparedRun], columns: int
) -> None:
    one = make("aaaaaaaa", 0.5, by_class={"road": 0.4, "person": None, "car": 0.9})
    two = make("bbbbbbbb", 0.5, by_class={"road": 0.6, "person": 0.3, "car": 0.7})
    figure = classes_figure(compare([one, two]), columns)  # type: ignore[arg-type]
    assert bars(figure, columns) == [0.9, 0.4, 0.0, 0.7, 0.6, 0.3]
    axes = figure.axes[0]
    names = axes.get_yticklabels() if columns == 1 else axes.get_xticklabels()
    assert [label.get_text() for label in names] == ["car", "road", "person"]
    assert legend_of(figure) == ["run aaaaaaaa", "run bbbbbbbb"]
    # A class without a score is told apart from one with a score of 0.
    assert [text.get_text() for text in axes.texts] == ["–"]


def test_bars_of_too_many_or_of_nothing(make: Callable[..., ComparedRun]) -> None:
    runs = [make(f"{i:08d}", 0.5) for i in range(MOST_ENTRIES + 1)]
    with pytest.raises(FigureError, match="7 entries are too many for bars; at most 6"):
        classes_figure(compare(runs))
    comparison: Comparison = replace(compare(runs[:1]), classes=())
    with pytest.raises(FigureError, match="no scores by class"):
        classes_figure(comparison)


# --- Confusion ---------------------------------------------------------------------------------


def test_a_confusion_matrix_is_normalised_by_row_and_grey_where_the_truth_has_nothing() -> None:
    figure = confusion_figure([[3, 1, 0, 0], [0, 0, 0, 0], [0, 1, 9, 0]], NAMES)
    axes = figure.axes[0]
    shares = axes.images[0].get_array()
    assert shares.shape == (3, 3)
    np.testing.assert_allclose(shares[0], [0.75, 0.25, 0])
    assert shares.mask[1].all()
    assert [text.get_text() for text in axes.texts] == ["75", "25", "10", "90"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted", "Ground truth")


def test_predicted_void_has_a_column_only_where_it_occurs() -> None:
    figure = confusion_figure([[3, 0, 0, 1], [0, 4, 0, 0], [0, 0, 4, 0]], NAMES)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == [*NAMES, "void"]


def test_cells_too_small_for_numbers_have_none() -> None:
    identity = np.hstack([np.eye(19, dtype=int), np.zeros((19, 1), dtype=int)]).tolist()
    names = [f"class {i}" for i in range(19)]
    assert len(confusion_figure(identity, names, columns=1).axes[0].texts) == 0
    assert len(confusion_figure(identity, names, columns=2).axes[0].texts) == 19


def test_a_confusion_matrix_of_another_shape_or_without_pixels() -> None:
    with pytest.raises(FigureError, match="the confusion matrix is 1x2, not 3x4"):
        confusion_figure([[1, 2]], NAMES)
    with pytest.raises(FigureError, match="no pixel was scored"):
        confusion_figure([[0] * 4] * 3, NAMES)


# --- Samples -----------------------------------------------------------------------------------


def sample(name: str = "one", right: bool = True, size: tuple[int, int] = (32, 64)) -> Sample:
    target = np.zeros(size, dtype=np.uint8)
    target[:, size[1] // 2 :] = 2
    target[0] = 255
    prediction = target.copy() if right else np.full(size, 1, dtype=np.uint8)
    prediction[0] = 0
    return Sample(name, np.full((*size, 3), 90, dtype=np.uint8), target, prediction)


def panels(figure: Figure) -> list[np.ndarray]:
    return [axes.images[0].get_array().data for axes in figure.axes]


def test_every_colour_of_a_class_map_is_of_a_class_and_errors_are_marked() -> None:
    figure = samples_figure([Predictions("mine", [sample(), sample("two", right=False)])], NAMES, COLORS)
    assert len(figure.axes) == 8
    truth, wrong = panels(figure)[2], panels(figure)[7]
    assert {tuple(color) for color in truth.reshape(-1, 3).tolist()} == {COLORS[0], COLORS[2], (0, 0, 0)}
    assert (wrong[1:] == WRONG).all()
    # Void is not scored, whatever was predicted there.
    assert not (wrong[0] == WRONG).all(axis=-1).any()
    assert [text.get_text() for text in figure.texts] == ["Image", "Ground truth", "Prediction", "Error"]
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys == [*NAMES, "wrong", "void, not scored"]


def test_runs_stand_side_by_side_on_the_images_that_all_have() -> None:
    first = Predictions("A", [sample("one"), sample("two")])
    second = Predictions("B", [sample("two", right=False), sample("three")])
    figure = samples_figure([first, second], NAMES, COLORS)
    assert len(figure.axes) == 6
    assert [text.get_text() for text in figure.texts][2:] == ["A", "Error", "B", "Error"]


def test_galleries_that_do_not_go_together() -> None:
    one, other = Predictions("A", [sample("one")]), Predictions("B", [sample("two")])
    with pytest.raises(FigureError, match="A and B kept predictions of different images"):
        samples_figure([one, other], NAMES, COLORS)
    small = Predictions("B", [sample("one", size=(16, 32))])
    with pytest.raises(FigureError, match="A is at 32x64, B at 16x32"):
        samples_figure([one, small], NAMES, COLORS)
    with pytest.raises(FigureError, match="5 runs are too many side by side; at most 4"):
        samples_figure([one] * 5, NAMES, COLORS)


# --- Files -------------------------------------------------------------------------------------


def small_figure(columns: int = 1) -> Figure:
    return confusion_figure([[3, 1, 0, 0], [0, 1, 0, 0], [0, 1, 9, 0]], NAMES, columns)  # type: ignore[arg-type]


@pytest.mark.parametrize(("columns", "inches"), [(1, 3.35), (2, 6.9)])
def test_a_png_is_never_wider_than_its_columns_and_names_its_runs(
    tmp_path: Path, columns: int, inches: float
) -> None:
    figures = [
        small_figure(columns),
        samples_figure([Predictions("mine", [sample()])], NAMES, COLORS, columns),  # type: ignore[arg-type]
    ]
    for figure in figures:
        save_figure(figure, tmp_path / "a.png", "runs aaaaaaaa")
        with Image.open(tmp_path / "a.png") as picture:
            # Half a percent for the margin that keeps the outermost line whole.
            assert picture.width <= (inches + 0.045) * DOTS_PER_INCH
            assert picture.info["dpi"][0] == pytest.approx(DOTS_PER_INCH, abs=1)
            assert picture.info["Description"] == "runs aaaaaaaa"


def test_a_pdf_embeds_truetype_and_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.pdf", "b.pdf"):
        save_figure(small_figure(), tmp_path / name, "runs aaaaaaaa")
    content = (tmp_path / "a.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/Type3" not in content
    assert b"/FontFile2" in content
    assert b"runs aaaaaaaa" in content
    assert content == (tmp_path / "b.pdf").read_bytes()


def test_class_maps_are_in_the_pdf_pixel_by_pixel(tmp_path: Path) -> None:
    save_figure(samples_figure([Predictions("mine", [sample()])], NAMES, COLORS), tmp_path / "a.pdf", "")
    content = (tmp_path / "a.pdf").read_bytes()
    # Photograph, truth, prediction and error at the size that they were kept at.
    assert content.count(b"/Width 64") >= 3
    assert content.count(b"/Height 32") >= 3


def test_a_figure_is_a_png_or_a_pdf(tmp_path: Path) -> None:
    with pytest.raises(FigureError, match=r"x.jpg: a figure is a PNG or a PDF"):
        save_figure(small_figure(), tmp_path / "x.jpg", "")
    assert list(tmp_path.glob("*")) == []
