"""Letters that the usual fonts lack: another font draws them, or they are written as codes; nothing warns."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from PIL import Image, ImageFont

from engine.report import fonts
from engine.report.figures import style
from engine.report.figures.confusion import confusion_figure
from engine.report.figures.style import paper_style, save_figure, settle_letters
from engine.report.fonts import escaped, font_for, missing_letters
from engine.report.triptych import gallery_picture

NAMES = ("歩道", "보도", "人行道")


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (fonts, style):
        monkeypatch.setattr(module, "east_asian_fonts", tuple)


def words(figure: Figure) -> str:
    labels = [label.get_text() for axes in figure.axes for label in axes.get_xticklabels()]
    return " ".join([*labels, *(text.get_text() for text in figure.findobj(style.Text))])


@pytest.mark.usefixtures("no_fonts")
@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_without_a_font_names_are_codes_and_it_is_told_once(suffix: str, tmp_path: Path) -> None:
    figure = confusion_figure(np.eye(3, 4, dtype=np.int64).tolist(), NAMES)
    figure.text(0, 0, "costs $5 and $6_x^")  # no formula
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        note = save_figure(figure, tmp_path / f"a{suffix}", "runs")
        assert save_figure(figure, tmp_path / f"b{suffix}", "runs") == ""
    assert "no font here has" in note
    assert len(note.splitlines()) == 1
    for name in NAMES:
        assert escaped(name, name) in words(figure)
    assert escaped("歩道", "歩道") == r"\u6b69\u9053"


def test_a_font_that_has_the_letters_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    letter, font = "\u2312", Path(findfont("STIXGeneral"))  # an arc, which DejaVu Sans lacks
    for module in (fonts, style):
        monkeypatch.setattr(module, "east_asian_fonts", lambda: (font,))
    figure = Figure()
    figure.text(0.5, 0.5, f"arc {letter}")
    with paper_style(), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert settle_letters(figure) == set()
        figure.savefig(tmp_path / "a.png")
    usual = ImageFont.load_default(size=14)
    chosen, lacking = font_for([letter], usual, 14)
    assert chosen is not usual
    assert lacking == set()
    assert missing_letters(letter, chosen) == set()


@pytest.mark.usefixtures("no_fonts")
def test_a_picture_writes_names_that_no_font_has_as_codes(tmp_path: Path) -> None:
    for folder in ("inputs", "epoch_0001"):
        (tmp_path / folder).mkdir()
    target = np.zeros((16, 32), np.uint8)
    target[8:] = 1
    Image.new("RGB", (32, 16)).save(tmp_path / "inputs/a_image.png")
    Image.fromarray(target).save(tmp_path / "inputs/a_target.png")
    Image.fromarray(target).save(tmp_path / "epoch_0001/a.png")
    colors = ["#804080", "#dc143c", "#00008e"]
    pictures = [
        np.asarray(gallery_picture(tmp_path, names, colors))
        for names in (NAMES, ("車道", *NAMES[1:]), tuple(escaped(name, name) for name in NAMES))
    ]
    assert not np.array_equal(pictures[0], pictures[1])  # boxes would look alike
    assert np.array_equal(pictures[0], pictures[2])
