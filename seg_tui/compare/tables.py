"""The tables of a comparison, each on a tab."""

from __future__ import annotations

from dataclasses import replace

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import TabbedContent, TabPane

from engine.report.compare import Comparison
from engine.report.compare_formats import (
    LITERATURE_TITLE,
    PUBLISHED_TITLE,
    class_table,
    crf_tables,
    environment_lines_table,
    key_table,
    literature_table,
    numbers_by_metric,
    numbers_table,
    published_table,
)
from engine.report.compare_ood import ood_lines_table
from engine.report.short_names import ShortNames
from engine.typed import typed
from engine.visible import one_line
from seg_tui.compare.speed import speed_text
from seg_tui.widgets.text_pane import TextPane, hint

TABS = {
    "numbers": "Numbers",
    "classes": "Classes",
    "config": "Config",
    "speed": "Speed",
    "environments": "Environments",
    "ood": "OOD",
    "crf": "CRF",
    "published": "Published",
}


class ComparedTables(TabbedContent):
    """Numbers, scores by class, keys that differ, speed, environments, out-of-distribution detection and
    CRFs; the published numbers only where asked for."""

    def __init__(self) -> None:
        super().__init__(initial="numbers", classes="pane around-focus")
        self._shown = list(TABS)

    def compose(self) -> ComposeResult:
        for name, title in TABS.items():
            self.compose_add_child(TabPane(title, TextPane(id=f"{name}-text", classes="wide"), id=name))
        yield from super().compose()

    def show(self, comparison: Comparison, styles: dict[str, str]) -> None:
        """Fill all tables; `styles` are Rich styles of verdicts and of the entries' letters."""
        base = comparison.entries[comparison.baseline]
        self.border_title = Text(f"Against {base.letter} {one_line(base.title)}")
        self._table("numbers").show(lambda width: _numbers(comparison, styles, width))
        self._table("classes").show(lambda width: _classes(comparison, styles))
        self._table("config").show(lambda width: _config(comparison))
        self._table("speed").show(lambda width: speed_text(comparison.speed, styles, width))
        self._table("environments").show(lambda width: _environments(comparison, styles, width))
        self._table("ood").show(lambda width: _ood(comparison, styles, width))
        self._table("crf").show(lambda width: _crf(comparison, styles, width))
        self._table("published").show(lambda width: _published(comparison))

    def offer_published(self, offered: bool) -> None:
        """Whether there is a tab of the published numbers."""
        self._shown = [name for name in TABS if offered or name != "published"]
        (self.show_tab if offered else self.hide_tab)("published")

    def go_on(self) -> None:
        """To the next table; after the last comes the first."""
        self.active = self._shown[(self._shown.index(self.active) + 1) % len(self._shown)]

    def go_to(self, place: int) -> None:
        """To the table of that place, from 1 on, where there is one."""
        if place <= len(self._shown):
            self.active = self._shown[place - 1]

    def scroll_lines(self, lines: int) -> None:
        """Scroll the table that is shown, wherever the focus is."""
        self._table(self.active).scroll_relative(y=lines, animate=False)

    def _table(self, name: str) -> TextPane:
        return self.query_one(f"#{name}-text", TextPane)


def _numbers(comparison: Comparison, styles: dict[str, str], width: int) -> Text:
    """Every number: one line a metric where the runs fit beside each other, else one line a run."""
    table = numbers_by_metric(comparison, styles)
    if max(map(len, table.plain.splitlines())) > width:
        names = ShortNames(entry.label for entry in comparison.entries)
        entries = [
            replace(entry, label=names.fit(entry.label, max(12, width // 5))) for entry in comparison.entries
        ]
        table = numbers_table(replace(comparison, entries=tuple(entries)), None, styles)
    notes = [Text(f"note: {one_line(note)}", "yellow") for note in comparison.notes]
    return Text("\n").join([table, *([Text()] if notes else []), *notes])


def _classes(comparison: Comparison, styles: dict[str, str]) -> Text:
    if not comparison.classes:
        return Text("no scores by class: the runs share no class, or none has been scored yet", "dim")
    base = comparison.entries[comparison.baseline]
    heading = Text(f"Dice by class at each run's best epoch, largest drop from {base.letter} first", "dim")
    return Text("\n").join([heading, class_table(comparison, None, styles)])


def _config(comparison: Comparison) -> Text:
    if not comparison.config:
        return Text("no config key differs", "dim")
    return key_table(comparison, None)


def _environments(comparison: Comparison, styles: dict[str, str], width: int) -> Text:
    if not comparison.environments:
        command = typed("generalise", "RUN", "--data", "DIR")
        return hint(f"scored in no other environment yet; `{command}` does that", width)
    table = environment_lines_table(comparison.environments, width, styles)
    return Text("\n").join([Text("Dice and mIoU, and the difference to the run's own images", "dim"), table])


def _ood(comparison: Comparison, styles: dict[str, str], width: int) -> Text:
    if not comparison.ood:
        command = typed("ood", "RUN", "--ood-data", "DIR")
        return hint(f"no out-of-distribution scores yet; `{command}` measures them", width)
    return ood_lines_table(comparison.ood, width, styles)


def _crf(comparison: Comparison, styles: dict[str, str], width: int) -> Text:
    if not comparison.crf:
        command = typed("evaluate", "RUN", "--crf")
        return hint(f"scored with no CRF yet; `{command}` does that", width)
    return Text("\n\n").join(crf_tables(comparison.crf, width, styles))


def _published(comparison: Comparison) -> Text:
    if not comparison.published:
        return Text("published numbers are hidden; P shows them", "dim")
    parts = [Text(PUBLISHED_TITLE, "dim"), published_table(comparison.published, None)]
    if comparison.literature:
        parts += [Text(""), Text(LITERATURE_TITLE, "dim"), literature_table(comparison.literature, None)]
    return Text("\n").join(parts)
