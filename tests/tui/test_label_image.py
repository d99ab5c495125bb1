"""Class maps at another size: no class is invented, thin things stay; colours that terminals have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from rich.color import Color as RichColor
from rich.color import ColorSystem

from engine.classes import CITYSCAPES
from seg_tui.widgets.class_colors import Depth, class_letters, class_paints
from seg_tui.widgets.label_image import (
    RULES,
    Rule,
    class_map_at,
    fit,
    halfblock_strips,
    letter_strips,
    photo_at,
    share_at,
)

VOID = 255
Labels = NDArray[np.uint8]

labels_of_some = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.sampled_from([0, 1, 2, 7, VOID])
)
side = st.integers(1, 60)


@given(labels_of_some, side, side, st.sampled_from(RULES))
def test_no_size_and_no_rule_invents_a_class(labels: Labels, rows: int, cols: int, rule: Rule) -> None:
    at = class_map_at(labels, rows, cols, rule)
    assert at.shape == (rows, cols)
    assert at.dtype == np.uint8
    assert set(np.unique(at)) <= set(np.unique(labels))


@given(labels_of_some, st.integers(1, 3), st.sampled_from(RULES))
def test_a_whole_factor_repeats_each_pixel(labels: Labels, factor: int, rule: Rule) -> None:
    height, width = labels.shape
    at = class_map_at(labels, factor * height, factor * width, rule)
    assert (at == labels.repeat(factor, axis=0).repeat(factor, axis=1)).all()


@given(st.integers(4, 300), st.integers(0, 299), st.integers(4, 60), st.integers(8, 60), st.integers(1, 30))
def test_a_pole_one_pixel_wide_stays_where_rare_classes_come_first(
    width: int, column: int, cols: int, height: int, rows: int
) -> None:
    column %= width
    labels = np.zeros((height, width), dtype=np.uint8)
    labels[height // 2 :] = 1
    labels[:, column] = 5
    at = class_map_at(labels, rows, cols, "rare")
    assert (at == 5).any(axis=1).all()


def test_the_other_rules_lose_it_and_that_is_why_rare_comes_first() -> None:
    labels = np.zeros((64, 64), dtype=np.uint8)
    labels[:, 33] = 5
    assert RULES[0] == "rare"
    assert 5 not in class_map_at(labels, 8, 8, "majority")
    assert 5 not in class_map_at(labels, 8, 8, "nearest")


def test_the_majority_has_the_cell_and_of_two_equal_ones_the_rarer() -> None:
    labels = np.array([[0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 2, 2], [0, 0, 0, 0]], dtype=np.uint8)
    assert class_map_at(labels, 2, 2, "majority").tolist() == [[0, 0], [0, 2]]


@pytest.mark.parametrize("rule", ["rare", "majority"])
def test_void_shows_only_where_it_is_more_than_half(rule: Rule) -> None:
    labels = np.array([[VOID, VOID, 0, 0], [VOID, 0, VOID, VOID]], dtype=np.uint8)
    assert class_map_at(labels, 1, 2, rule).tolist() == [[VOID, 0]]
    assert (class_map_at(np.full((4, 4), VOID, dtype=np.uint8), 2, 2, rule) == VOID).all()


def test_photographs_and_shares_are_means_of_areas() -> None:
    image = np.zeros((2, 4, 3), dtype=np.uint8)
    image[:, 1::2] = 200
    assert (photo_at(image, 1, 2) == 100).all()
    wrong = np.array([[True, False, False, False], [True, True, False, False]])
    assert share_at(wrong, 1, 2).tolist() == [[0.75, 0.0]]


def test_a_cell_has_its_upper_pixel_as_foreground_and_its_lower_one_as_background() -> None:
    rgb = np.zeros((2, 3, 3), dtype=np.uint8)
    rgb[0, :2] = (255, 0, 0)
    rgb[1, :2] = (0, 0, 255)
    (strip,) = halfblock_strips(rgb)
    assert strip.text == "▀▀ "
    first, second = list(strip)
    assert first.style is not None
    assert second.style is not None
    assert first.style.color == RichColor.parse("#ff0000")
    assert first.style.bgcolor == RichColor.parse("#0000ff")
    assert second.style.bgcolor == RichColor.parse("#000000")


def test_without_colours_classes_are_letters_and_void_is_blank() -> None:
    letters = class_letters(("road", "rider", "person", "pole"))
    assert letters == ["r", "R", "p", "P"]
    (strip,) = letter_strips(np.array([[0, 1, 3, VOID]], dtype=np.uint8), letters)
    assert strip.text == "rRP "
    assert len(set(class_letters(CITYSCAPES.names))) == len(CITYSCAPES)
    assert len(set(class_letters(tuple(f"class {i}" for i in range(120))))) == 120


@pytest.mark.parametrize(("depth", "system"), [("256", ColorSystem.EIGHT_BIT), ("16", ColorSystem.STANDARD)])
def test_few_colours_keep_classes_apart_and_survive_the_way_to_the_terminal(
    depth: Depth, system: ColorSystem
) -> None:
    colors = [info.color for info in CITYSCAPES.classes]
    count = len(colors) if depth == "256" else 12
    paints = class_paints(colors[:count], depth)
    shown = [RichColor.from_rgb(*paint).downgrade(system).number for paint in paints]
    assert len(set(shown)) == count
    black = RichColor.from_rgb(0, 0, 0).downgrade(system).number
    assert black not in shown  # it is void's


def test_all_colours_are_the_label_colours_where_the_terminal_has_them() -> None:
    colors = [info.color for info in CITYSCAPES.classes]
    assert class_paints(colors, "true") == colors


def test_more_classes_than_colours_still_get_the_nearest() -> None:
    colors = [(value, 255 - value, value // 2) for value in range(0, 250, 10)]
    assert len(class_paints(colors, "16")) == len(colors)


@pytest.mark.parametrize(
    ("size", "cells", "fitted"), [((32, 64), (20, 40), (10, 40)), ((64, 32), (8, 99), (8, 8))]
)
def test_a_picture_keeps_its_shape_in_cells_twice_as_high_as_wide(
    size: tuple[int, int], cells: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert fit(*size, *cells) == fitted
