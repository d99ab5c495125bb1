"""Letters that the fonts of pictures and figures lack, such as Chinese, Japanese and Korean ones.

A font of the machine that has them is taken. Where there is none, they are written as codes, such as \\u6b69:
two names stay apart, where boxes would look alike. Needs Pillow only.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_FOLDERS = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    *("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts", "C:/Windows/Fonts"),
)

_EAST_ASIAN = re.compile(
    r"noto ?sans ?(mono)?cjk|notosans(sc|tc|hk|jp|kr)|sourcehan|wqy|wenquanyi|droidsansfallback|uming|ukai"
    r"|nanum|baekmuk|undotum|ipa(ex)?g|takao|vl-?gothic|unifont|arialuni|arial unicode|msyh|simhei|simsun"
    r"|malgun|meiryo|yugoth|msgothic|pingfang|hiragino|applesdgothic|applegothic|stheiti|songti",
    re.IGNORECASE,
)

_NO_LETTER = "\uffff"


@cache
def east_asian_fonts() -> tuple[Path, ...]:
    """Files of the installed fonts that have Chinese, Japanese or Korean letters, regular ones first."""
    found = []
    for folder in _FOLDERS:
        for here, _, files in os.walk(Path(os.path.expanduser(folder))):
            found += [Path(here, file) for file in files if _EAST_ASIAN.search(file)]
    fonts = [path for path in found if path.suffix.lower() in (".ttf", ".ttc", ".otf")]
    return tuple(sorted(fonts, key=lambda path: ("regular" not in path.name.lower(), path.name, str(path))))


def _bundled() -> tuple[Path, ...]:
    """The font that comes with matplotlib, found without importing that, which takes long."""
    package = importlib.util.find_spec("matplotlib")
    if package is None or package.origin is None:
        return ()
    return (Path(package.origin).with_name("mpl-data") / "fonts" / "ttf" / "DejaVuSans.ttf",)


def missing_letters(text: str, font: Font) -> set[str]:
    """The letters of a text that a font has no glyph for."""
    if not isinstance(font, ImageFont.FreeTypeFont):
        return {letter for letter in text if ord(letter) > 0xFF}
    nothing = _picture_of(_NO_LETTER, font)
    return {letter for letter in set(text) if ord(letter) > 0x7F and _picture_of(letter, font) == nothing}


def open_font(path: Path, size: float) -> ImageFont.FreeTypeFont | None:
    """None for a file that is no font after all."""
    try:
        return ImageFont.truetype(str(path), size)
    except (OSError, ValueError):
        return None


def escaped(text: str, letters: Iterable[str]) -> str:
    """The text with each of these letters written as its code, such as \\u6b69."""
    codes = {ord(letter): letter.encode("unicode_escape").decode() for letter in letters}
    return text.translate(codes)


def font_for(texts: Iterable[str], usual: Font, size: float) -> tuple[Font, set[str]]:
    """The font to write some texts with, and the letters that it lacks: `usual`, unless another has more."""
    text = "".join(texts)
    best, lacking = usual, missing_letters(text, usual)
    for path in (*_bundled(), *east_asian_fonts()) if lacking else ():
        font = open_font(path, size)
        fewer = missing_letters(text, font) if font is not None else lacking
        if font is not None and len(fewer) < len(lacking):
            best, lacking = font, fewer
        if not lacking:
            break
    return best, lacking


def _picture_of(letter: str, font: ImageFont.FreeTypeFont) -> tuple[tuple[int, int], bytes] | None:
    """None for a letter that cannot stand alone, as some combining marks."""
    try:
        mask = font.getmask(letter)
    except RuntimeError:
        return None
    return mask.size, bytes(mask)
