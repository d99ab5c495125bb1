"""The gallery picture: what its panels, legend and errors tell whoever reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.report.figures.samples import Predictions, samples_figure
from engine.report.figures.style import FigureError
from engine.report.gallery import PictureError, Sample, image_scores
from engine.report.triptych import (
    GAP,
    HATCH_DARK,
    HATCH_LIGHT,
    MARGIN,
    VOID_COLOR,
    WRONG,
    boundary_band,
    boundary_legend,
    class_map_panel,
    classes_present,
    error_panel,
    gallery_picture,
    gallery_samples,
    image_panel,
    panel_factor,
    parse_colors,
)

NAMES = ("road", "car", "sky", "train")
COLORS = ("#804080", "#00008e", "#4682b4", "#0af00a")
RGB = ((128, 64, 128), (0, 0, 142), (70, 130, 180), (10, 240, 10))
VOID = 255


def made_up_sample(height: int = 64, width: int = 128, name: str = "one") -> Sample:
    """Sky over road; the upper right quarter is predicted as car, the lower left eighth is void."""
    target = np.zeros((height, width), dtype=np.uint8)
    target[: height // 2] = 2
    prediction = target.copy()
    prediction[: height // 2, width // 2 :] = 1
    target[height // 2 :, : width // 4] = VOID
    image = np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Sample(name, image, target, prediction)


def write_sample(gallery: Path, sample: Sample, epoch: int) -> None:
    folder, inputs = gallery / f"epoch_{epoch:04d}", gallery / "inputs"
    folder.mkdir(parents=True, exist_ok=True)
    inputs.mkdir(exist_ok=True)
    Image.fromarray(sample.image).save(inputs / f"{sample.name}_image.png")
    for path, train_ids in (
        (inputs / f"{sample.name}_target.png", sample.target),
        (folder / f"{sample.name}.png", sample.prediction),
    ):
        class_map = Image.fromarray(train_ids, mode="P")
        class_map.putpalette([channel for color in RGB for channel in color] + [0] * 756)
        class_map.save(path)


def colors_in(panel: NDArray[np.uint8]) -> set[tuple[int, ...]]:
    return {tuple(color) for color in np.unique(panel.reshape(-1, 3), axis=0).tolist()}


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    for name in ("val__a__one", "val__a__two", "val__b__three"):
        write_sample(tmp_path / "gallery", made_up_sample(name=name), epoch=3)
    return tmp_path / "gallery"


@pytest.mark.parametrize(
    ("width", "factor"),
    [(96, (3, 1)), (128, (2, 1)), (192, (2, 1)), (256, (1, 1)), (288, (1, 1)), (512, (1, 2)), (1024, (1, 4))],
)
def test_a_panel_is_a_whole_multiple_or_fraction_of_its_input_near_the_wanted_width(
    width: int, factor: tuple[int, int]
) -> None:
    assert panel_factor(width) == factor


@pytest.mark.parametrize("factor", [(1, 1), (3, 1), (1, 2), (1, 3)])
def test_all_panels_of_a_row_have_the_same_size_even_when_the_factor_does_not_divide(
    factor: tuple[int, int],
) -> None:
    sample = made_up_sample(67, 131)
    height, width = 67 // factor[1] * factor[0], 131 // factor[1] * factor[0]
    assert image_panel(sample.image, factor).shape == (height, width, 3)
    assert class_map_panel(sample.target, RGB, factor).shape == (height, width, 3)
    assert error_panel(sample, factor).shape == (height, width, 3)


@pytest.mark.parametrize("factor", [(1, 1), (3, 1), (1, 2), (1, 3)])
def test_scaling_a_class_map_invents_no_colour(factor: tuple[int, int]) -> None:
    train_ids = np.random.default_rng(3).choice([0, 1, 3, VOID], (66, 126)).astype(np.uint8)
    panel = class_map_panel(train_ids, RGB, factor)
    assert colors_in(panel) == {RGB[0], RGB[1], RGB[3], VOID_COLOR}


def test_an_enlarged_class_map_repeats_each_pixel_as_a_block() -> None:
    panel = class_map_panel(np.array([[0, 1], [VOID, 3]], dtype=np.uint8), RGB, (3, 1))
    assert colors_in(panel[:3, :3]) == {RGB[0]}
    assert colors_in(panel[:3, 3:]) == {RGB[1]}
    assert colors_in(panel[3:, :3]) == {VOID_COLOR}
    assert colors_in(panel[3:, 3:]) == {RGB[3]}


def test_the_error_panel_tells_wrong_correct_and_void_pixels_apart() -> None:
    sample = made_up_sample()
    panel = error_panel(sample, (2, 1))
    target = sample.target.repeat(2, axis=0).repeat(2, axis=1)
    prediction = sample.prediction.repeat(2, axis=0).repeat(2, axis=1)
    void = target == VOID
    wrong = ~void & (target != prediction)
    correct = ~void & ~wrong
    assert colors_in(panel[wrong]) == {WRONG}
    assert colors_in(panel[void]) == {HATCH_DARK, HATCH_LIGHT}
    grey = panel[correct].astype(int)
    assert (grey == grey[:, :1]).all()
    assert grey.min() > max(HATCH_LIGHT)


def test_errors_near_a_true_boundary_can_be_drawn_alone() -> None:
    """The `d` of boundary IoU is 2 pixels for 64x96; what is wrong in the middle of a class is left out."""
    target = np.zeros((64, 96), dtype=np.uint8)
    target[:, 48:] = 1
    target[:8] = VOID
    prediction = target.copy()
    prediction[:, 45:48] = 1  # three columns, of which two are within 2 pixels of class 1
    prediction[30:34, 10:14] = 2
    prediction[:8] = 0
    sample = Sample("street", np.zeros((64, 96, 3), dtype=np.uint8), target, prediction)
    panel = error_panel(sample, (1, 1), boundary_band(sample))
    shown = (panel == WRONG).all(axis=2)
    assert np.argwhere(shown.any(axis=0)).ravel().tolist() == [46, 47]
    assert shown.sum() == 2 * 56
    assert boundary_legend([sample]) == "wrong within 2 px of a boundary, 61 % of the errors"  # 112 of 184


def test_correct_pixels_of_the_error_panel_still_show_the_image() -> None:
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    image[:, 2:] = 255
    nothing_wrong = np.zeros((4, 4), dtype=np.uint8)
    panel = error_panel(Sample("half", image, nothing_wrong, nothing_wrong), (1, 1)).astype(int)
    assert panel[:, 2:].min() - panel[:, :2].max() > 100


def test_a_valid_pixel_predicted_as_void_is_wrong() -> None:
    sample = made_up_sample(2, 2)
    prediction = np.full((2, 2), VOID, dtype=np.uint8)
    predicted_void = Sample("v", sample.image, np.zeros((2, 2), dtype=np.uint8), prediction)
    assert colors_in(error_panel(predicted_void, (1, 1))) == {WRONG}
    assert image_scores(predicted_void, 4).pixel_accuracy == 0.0


def test_the_scores_of_an_image_leave_void_out() -> None:
    scores = image_scores(made_up_sample(), len(NAMES))
    # 64 x 128 pixels: 1024 void, 2048 sky seen as car, 2048 sky and 3072 road right.
    assert scores.valid_pixels == 7168
    assert scores.pixel_accuracy == pytest.approx(5120 / 7168)
    assert scores.class_dice == (1.0, 0.0, 2 * 2048 / (4096 + 2048), None)


def test_classes_present_are_those_of_ground_truth_or_prediction_without_void() -> None:
    assert classes_present([made_up_sample()]) == [0, 1, 2]


def test_the_picture_lays_four_panels_side_by_side(gallery: Path) -> None:
    picture = np.asarray(gallery_picture(gallery, NAMES, COLORS, samples=1))
    assert picture.shape[1] == 2 * MARGIN + 4 * 256 + 3 * GAP
    sample = made_up_sample()
    panels = (
        image_panel(sample.image, (2, 1)),
        class_map_panel(sample.target, RGB, (2, 1)),
        class_map_panel(sample.prediction, RGB, (2, 1)),
        error_panel(sample, (2, 1)),
    )
    # The first row of the picture that is one ground truth from end to end is the top of the panels.
    left = MARGIN + 256 + GAP
    top = int(np.argmax((picture[:, left : left + 256] == RGB[2]).all(axis=(1, 2))))
    for column, panel in enumerate(panels):
        left = MARGIN + column * (256 + GAP)
        assert (picture[top : top + 128, left : left + 256] == panel).all()


def test_the_legend_has_the_classes_present_and_no_other(gallery: Path) -> None:
    picture = np.asarray(gallery_picture(gallery, NAMES, COLORS))
    void_rows = np.flatnonzero((picture == HATCH_LIGHT).all(axis=2).sum(axis=1) > 8)
    below_panels = colors_in(picture[void_rows.max() + 1 :])
    assert {RGB[0], RGB[1], RGB[2], WRONG, VOID_COLOR, HATCH_DARK, HATCH_LIGHT} <= below_panels
    assert RGB[3] not in colors_in(picture)


def test_a_gallery_without_void_has_no_void_in_its_legend(tmp_path: Path) -> None:
    sample = made_up_sample()
    write_sample(tmp_path, Sample("a", sample.image, sample.prediction, sample.prediction), epoch=1)
    assert HATCH_DARK not in colors_in(np.asarray(gallery_picture(tmp_path, NAMES, COLORS)))


def test_samples_bound_the_rows_and_a_title_takes_room(gallery: Path) -> None:
    heights = [gallery_picture(gallery, NAMES, COLORS, samples=samples).height for samples in (1, 2, 3, 9)]
    assert heights[1] - heights[0] == heights[2] - heights[1] > 128
    assert heights[3] == heights[2]
    assert gallery_picture(gallery, NAMES, COLORS, samples=1, title="A run").height > heights[0]


def test_long_names_and_nineteen_classes_leave_the_width_alone(tmp_path: Path) -> None:
    names = [f"a class with quite a long name, number {number} " * 3 for number in range(19)]
    colors = [f"#{number * 13:02x}4080" for number in range(19)]
    sample = made_up_sample(name="clip__" + "long" * 40)
    sample.prediction[0] = np.arange(128) % 19
    write_sample(tmp_path, sample, epoch=1)
    picture = gallery_picture(tmp_path, names, colors, title="title " * 40)
    assert picture.width == 2 * MARGIN + 4 * 256 + 3 * GAP
    right_margin = np.asarray(picture)[:, -MARGIN:]
    assert (right_margin == 255).all()


def test_without_an_epoch_the_last_one_with_predictions_is_drawn(gallery: Path) -> None:
    sample = made_up_sample(name="val__a__one")
    write_sample(gallery, Sample(sample.name, sample.image, sample.target, sample.target % 5), epoch=12)
    (gallery / "epoch_0020").mkdir()
    last = gallery_picture(gallery, NAMES, COLORS)
    assert last.tobytes() == gallery_picture(gallery, NAMES, COLORS, epoch=12).tobytes()
    assert last.tobytes() != gallery_picture(gallery, NAMES, COLORS, epoch=3, samples=1).tobytes()


def test_no_gallery_yet(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no gallery yet"):
        gallery_picture(tmp_path / "gallery", NAMES, COLORS)


def test_no_such_epoch_names_those_there_are(gallery: Path) -> None:
    write_sample(gallery, made_up_sample(name="val__a__one"), epoch=10)
    with pytest.raises(PictureError, match=r"no epoch 7; it has 3, 10$"):
        gallery_picture(gallery, NAMES, COLORS, epoch=7)


@pytest.mark.parametrize("kept", [0, 20, 60, -20])
@pytest.mark.parametrize("damaged", ["epoch_0003/val__a__one.png", "inputs/val__a__one_image.png"])
def test_a_damaged_png_is_named_in_one_line(gallery: Path, damaged: str, kept: int) -> None:
    path = gallery / damaged
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(PictureError, match="is damaged") as caught:
        gallery_picture(gallery, NAMES, COLORS)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_the_pixels_is_damage_and_not_another_picture(gallery: Path) -> None:
    path = gallery / "epoch_0003" / "val__a__one.png"
    intact = path.read_bytes()
    pixels = intact.index(b"IDAT") + 4
    for position in range(pixels, intact.index(b"IEND") - 8):
        path.write_bytes(intact[:position] + bytes([intact[position] ^ 1]) + intact[position + 1 :])
        with pytest.raises(PictureError, match="is damaged"):
            gallery_picture(gallery, NAMES, COLORS)


def test_a_missing_input_is_named(gallery: Path) -> None:
    (gallery / "inputs" / "val__b__three_target.png").unlink()
    with pytest.raises(PictureError, match=r"val__b__three_target\.png is missing"):
        gallery_picture(gallery, NAMES, COLORS)


def test_a_prediction_of_another_size_is_refused(gallery: Path) -> None:
    Image.new("P", (64, 64)).save(gallery / "epoch_0003" / "val__a__two.png")
    with pytest.raises(PictureError, match="is 64x64, its ground truth is 64x128"):
        gallery_picture(gallery, NAMES, COLORS)


def test_samples_of_different_sizes_have_rows_of_their_own_height(gallery: Path) -> None:
    alike = gallery_picture(gallery, NAMES, COLORS)
    tall = made_up_sample(128, 32, name="val__a__two")
    write_sample(gallery, tall, epoch=3)
    for boundaries in (False, True):
        mixed = gallery_picture(gallery, NAMES, COLORS, boundaries=boundaries)
        up, down = panel_factor(32)
        assert mixed.height - alike.height == 128 * up // down - 64 * panel_factor(128)[0]
    predictions = Predictions("a", gallery_samples(gallery, len(NAMES), None, 6)[1])
    with pytest.raises(FigureError, match="one size, and one is 64x128, two is 128x32; `seg-engine picture"):
        samples_figure([predictions], NAMES, parse_colors(NAMES, COLORS))


def test_a_class_map_that_holds_no_train_ids_is_refused(gallery: Path) -> None:
    Image.new("RGB", (128, 64)).save(gallery / "epoch_0003" / "val__a__one.png")
    with pytest.raises(PictureError, match="is no class map"):
        gallery_picture(gallery, NAMES, COLORS)


def test_a_train_id_without_a_class_is_refused(gallery: Path) -> None:
    with pytest.raises(PictureError, match="holds train id 2; with 2 classes 0 to 1"):
        gallery_picture(gallery, NAMES[:2], COLORS[:2])


def test_colours_and_samples_are_checked(gallery: Path) -> None:
    with pytest.raises(PictureError, match="4 class names and 3 colours"):
        gallery_picture(gallery, NAMES, COLORS[:3])
    with pytest.raises(PictureError, match="'car' is 'blue', wanted #rrggbb"):
        gallery_picture(gallery, NAMES, ("#804080", "blue", "#4682b4", "#0af00a"))
    with pytest.raises(PictureError, match="at least 1 sample"):
        gallery_picture(gallery, NAMES, COLORS, samples=0)
