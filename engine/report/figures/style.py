"""What all figures share: a paper's column widths, colours that everybody can tell apart, how they are saved.

Figures are made without pyplot: no display, no state that outlives them. Importing matplotlib takes about as
long as listing the runs does, so only what draws imports this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.text import Text
from matplotlib.ticker import Formatter

from engine.errors import EngineError
from engine.report.fonts import east_asian_fonts, escaped, missing_letters, open_font
from engine.run.files import replacing

Columns = Literal[1, 2]

WIDTHS: dict[Columns, float] = {1: 3.35, 2: 6.9}
"""Width in inches of a figure over one or two columns of a two-column paper (IEEE, CVPR)."""

SUFFIXES = (".png", ".pdf")

DOTS_PER_INCH = 300

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito, "Color Universal Design", 2008, without its yellow, which is too pale for lines on white."""

DASHES = ("-", (0, (1, 1)))
"""Line styles for more entries than there are colours."""

INK = "#1c1c1e"
FAINT = "#8a8a90"
GRID = "#e4e4e8"

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    # It comes with matplotlib: a figure looks the same wherever it is drawn.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.25,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.borderaxespad": 0.2,
    # TrueType in the PDF: journals refuse Type 3, and the text stays text.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "savefig.dpi": DOTS_PER_INCH,
    "figure.dpi": DOTS_PER_INCH,
}


class FigureError(EngineError):
    """A figure that cannot be drawn; the message is one line a person can act on."""


@contextmanager
def paper_style() -> Iterator[None]:
    """Inside, matplotlib draws for a paper, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(columns: Columns, height: float) -> Figure:
    """An empty figure over `columns` of a paper, `height` inches high, whose parts never overlap."""
    return Figure(figsize=(WIDTHS[columns], height), layout="constrained")


def color_of(place: int) -> str:
    return PALETTE[place % len(PALETTE)]


def dashes_of(place: int) -> str | tuple[int, tuple[int, int]]:
    return DASHES[place // len(PALETTE) % len(DASHES)]


def legend_above(axes: Axes, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """A legend above the plot, where it hides nothing, flush with its left side and no wider than it."""
    figure = axes.get_figure(root=True)
    width = figure.get_figwidth() if figure else WIDTHS[1]
    most = max(1, int(width / (0.45 + 0.062 * max(map(len, labels)))))
    axes.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=min(most, len(labels)),
        columnspacing=1.0,
    )


def save_figure(figure: Figure, path: Path, about: str) -> str:
    """Write a PNG or a PDF, as the ending of `path` says, with `about` (the runs) in its metadata.

    The same figure gives the same bytes: no time of making goes into the file. Returns what to tell about
    letters that no font has, "" when all are drawn. Raises FigureError.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FigureError(f"{path}: a figure is a PNG or a PDF; its name must end in .png or .pdf")
    metadata = {"Subject": about, "CreationDate": None} if suffix == ".pdf" else {"Description": about}
    path.parent.mkdir(parents=True, exist_ok=True)
    with paper_style(), replacing(path) as stream:
        missing = settle_letters(figure)
        figure.savefig(stream, format=suffix[1:], metadata=metadata, bbox_inches="tight", pad_inches=0.02)
    if not missing:
        return ""
    return (
        f"no font here has {''.join(sorted(missing)[:10])}: written as codes such as "
        f"{escaped(min(missing), missing)}; a font such as Noto Sans CJK draws them"
    )


def settle_letters(figure: Figure) -> set[str]:
    """See that every letter of the figure can be drawn, within `paper_style`.

    Fonts of this machine that have what is missing come after the usual one; letters that none has are
    written as their codes and returned. A dollar sign in a name is one, and begins no formula.
    """
    texts = figure.findobj(Text)
    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    ticks = [label for axis in axes for label in axis.get_ticklabels(which="both")]
    for text in (*texts, *ticks):
        if not text.get_text().startswith(r"$\mathdefault"):  # how matplotlib itself writes powers of ten
            text.set_parse_math(False)
    letters = "".join(text.get_text() for text in (*texts, *ticks))
    usual = open_font(Path(findfont(_STYLE["font.sans-serif"][0])), 12)
    missing = missing_letters(letters, usual) if usual is not None else set()
    families = list(_STYLE["font.sans-serif"])
    for path in east_asian_fonts() if missing else ():
        font = open_font(path, 12)
        had = missing - missing_letters("".join(missing), font) if font is not None else set()
        if had:
            fontManager.addfont(path)
            families.append(FontProperties(fname=path).get_name())
            missing = missing - had
    if len(families) > 1:
        for text in (*texts, *ticks):  # one by one: of a generic family matplotlib takes a single font
            text.set_fontfamily(families)
    if missing:
        for text in texts:
            text.set_text(escaped(text.get_text(), missing))
        for axis in axes:
            axis.set_major_formatter(_Escaping(axis.get_major_formatter(), missing))
    return missing


class _Escaping(Formatter):
    """What another formatter writes, with some letters as their codes."""

    def __init__(self, inner: Formatter, letters: set[str]) -> None:
        self._inner, self._letters = inner, letters

    def __call__(self, x: float, pos: int | None = None) -> str:
        return escaped(self._inner(x, pos), self._letters)

    def set_locs(self, locs: Any) -> None:
        self._inner.set_locs(locs)

    def format_ticks(self, values: Any) -> list[str]:
        return [escaped(text, self._letters) for text in self._inner.format_ticks(values)]

    def get_offset(self) -> str:
        return self._inner.get_offset()
