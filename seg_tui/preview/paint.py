"""The pixels of a panel: a photograph, a class map, the errors. A new kind of panel is one more painter.

Nothing here reads a file or knows the screen; a painter gets arrays and gives a picture of so many cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.classes import VOID
from engine.report.score_maps import greyed, heat
from engine.report.triptych import HATCH_DARK, HATCH_LIGHT, WRONG
from seg_tui.preview.view import Kind, Panel, View
from seg_tui.widgets.class_colors import VOID_COLOR, Color
from seg_tui.widgets.label_image import (
    HALF_BLOCKS,
    LETTERS,
    Picture,
    Pixels,
    class_map_at,
    fit,
    halfblock_strips,
    letter_strips,
    photo_at,
    share_at,
)

UNKNOWN = "?"
"""The letter of what is rejected, where there are no colours."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A panel as it is shown. `labels` are the train ids of its pixels on the screen, uint8 [h, w];
    `rejected` is the share of the pixels of a score map that are above the threshold."""

    panel: Panel
    picture: Picture | None
    labels: Pixels | None = None
    problem: str = ""
    rejected: float | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """What there is of the part that is looked at: image uint8 [H, W, 3], target and prediction uint8 [H, W]
    train ids. `paints` and `letters` are what the classes are shown as. `shares`, where there are any, is for
    each pixel the share of in-distribution pixels that score lower, float32 [H, W]. `band`, where only errors
    near true boundaries are wanted, is where those count, bool [H, W]."""

    image: Pixels
    target: Pixels
    prediction: Pixels
    paints: Sequence[Color]
    letters: Sequence[str]
    shares: NDArray[np.float32] | None = None
    band: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Canvas:
    """The cells that a picture takes and the pixels that it has in them."""

    lines: int
    cols: int
    rows: int
    columns: int

    @classmethod
    def of(cls, scene: Scene, view: View, dots: tuple[int, int]) -> Canvas:
        """As large as the view has room for, in the shape of the scene."""
        height, width = scene.target.shape
        lines, cols = fit(height, width, view.lines, view.cols)
        return cls(lines, cols, dots[0] * lines, dots[1] * cols)


def paint(panel: Panel, scene: Scene, view: View) -> Drawn:
    """A panel of a view."""
    return _PAINTERS[panel.kind](panel, scene, view)


def _photograph(panel: Panel, scene: Scene, view: View) -> Drawn:
    canvas = Canvas.of(scene, view, view.dots)
    return Drawn(panel, _rgb_picture(photo_at(scene.image, canvas.rows, canvas.columns), canvas, view))


def _class_map(panel: Panel, scene: Scene, view: View) -> Drawn:
    without_colors = view.depth == "none"
    canvas = Canvas.of(scene, view, LETTERS if without_colors else view.dots)
    train_ids = scene.target if panel.kind == "target" else scene.prediction
    labels = class_map_at(train_ids, canvas.rows, canvas.columns, view.rule)
    rejected = _rejected(panel, scene, view, canvas)
    if without_colors:
        shown = labels.copy()
        shown[rejected] = len(scene.letters)
        return Drawn(panel, _letter_picture(shown, (*scene.letters, UNKNOWN), canvas), labels)
    palette = np.full((256, 3), VOID_COLOR, dtype=np.uint8)
    palette[: len(scene.paints)] = scene.paints
    if view.overlay < 1:
        photo = photo_at(scene.image, canvas.rows, canvas.columns)
        mixed = view.overlay * palette[labels] + (1 - view.overlay) * photo
        mixed = greyed(mixed.round().astype(np.uint8), rejected)
        return Drawn(panel, _rgb_picture(mixed, canvas, view), labels)
    if rejected.any():
        return Drawn(panel, _rgb_picture(greyed(palette[labels], rejected), canvas, view), labels)
    if view.dots == HALF_BLOCKS:
        return Drawn(panel, _rgb_picture(palette[labels], canvas, view), labels)
    # An indexed picture keeps its colours: whoever resizes or encodes it has no others to take.
    indexed = Image.fromarray(labels, mode="P")
    indexed.putpalette(palette.tobytes())
    return Drawn(panel, Picture((), canvas.cols, canvas.lines, image=indexed), labels)


def _errors(panel: Panel, scene: Scene, view: View) -> Drawn:
    """The photograph in pale grey; the more of a pixel is wrong, the redder it is. Void is hatched. With a
    `band`, what is wrong outside of it is not shown."""
    without_colors = view.depth == "none"
    canvas = Canvas.of(scene, view, LETTERS if without_colors else view.dots)
    rows, columns = canvas.rows, canvas.columns
    void = scene.target == VOID
    is_wrong = (scene.target != scene.prediction) & ~void
    wrong = share_at(is_wrong if scene.band is None else is_wrong & scene.band, rows, columns)
    is_void = share_at(void, rows, columns) > 0.5
    if without_colors:
        marks = np.where(is_void, 2, (wrong >= 0.5).astype(np.uint8)).astype(np.uint8)
        return Drawn(panel, _letter_picture(marks, ("·", "x", "/"), canvas))
    photo = photo_at(scene.image, rows, columns)
    grey = np.asarray(Image.fromarray(photo).convert("L"), dtype=np.float64)
    pale = (96 + 0.55 * grey)[..., None]
    # Colours between two classes would lie; colours between right and wrong tell how much of a cell is wrong.
    share = wrong[..., None] if view.depth == "true" else (wrong[..., None] >= 0.5).astype(np.float32)
    rgb = (share * np.array(WRONG) + (1 - share) * pale).round().astype(np.uint8)
    rgb[is_void] = np.where(_diagonals(rows, columns)[..., None], HATCH_LIGHT, HATCH_DARK)[is_void]
    return Drawn(panel, _rgb_picture(rgb, canvas, view))


def _score_map(panel: Panel, scene: Scene, view: View) -> Drawn:
    """How far out each pixel is: dark where most in-distribution pixels score as high, bright where none
    does."""
    assert scene.shares is not None
    above = float((scene.shares > view.accept).mean())
    without_colors = view.depth == "none"
    canvas = Canvas.of(scene, view, LETTERS if without_colors else view.dots)
    if without_colors:
        marks = np.where(share_at(scene.shares > view.accept, canvas.rows, canvas.columns) > 0.5, 1, 0)
        return Drawn(panel, _letter_picture(marks.astype(np.uint8), ("·", UNKNOWN), canvas), rejected=above)
    rgb = photo_at(heat(scene.shares), canvas.rows, canvas.columns)
    return Drawn(panel, _rgb_picture(rgb, canvas, view), rejected=above)


def _rejected(panel: Panel, scene: Scene, view: View, canvas: Canvas) -> NDArray[np.bool_]:
    """Where most of a pixel of the screen is above the threshold: bool [rows, columns]."""
    if scene.shares is None or panel.kind != "prediction":
        return np.zeros((canvas.rows, canvas.columns), dtype=np.bool_)
    return share_at(scene.shares > view.accept, canvas.rows, canvas.columns) > 0.5


_PAINTERS: Mapping[Kind, Callable[[Panel, Scene, View], Drawn]] = {
    "image": _photograph,
    "target": _class_map,
    "prediction": _class_map,
    "error": _errors,
    "score": _score_map,
}


def _rgb_picture(rgb: Pixels, canvas: Canvas, view: View) -> Picture:
    if view.dots == HALF_BLOCKS:
        return Picture(tuple(halfblock_strips(rgb)), canvas.cols, canvas.lines)
    return Picture((), canvas.cols, canvas.lines, image=Image.fromarray(rgb))


def _letter_picture(labels: Pixels, letters: Sequence[str], canvas: Canvas) -> Picture:
    return Picture(tuple(letter_strips(labels, letters)), canvas.cols, canvas.lines, dots=LETTERS)


def _diagonals(rows: int, columns: int) -> NDArray[np.bool_]:
    return np.add.outer(np.arange(rows), np.arange(columns)) % 4 < 1
