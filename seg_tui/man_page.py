"""docs/man/seg-tui.1 from the help itself: `python -m seg_tui.man_page > docs/man/seg-tui.1`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.metadata import version

from engine.report.roff import Entry, Section, manual_page
from seg_tui.program import BROWSER, command_line_parser

KEYS = "In the dashboard, f1 shows the keys of each screen, ctrl+q quits."


def man_page() -> str:
    """The page, with every option."""
    parser = command_line_parser()
    groups = parser._action_groups
    own = tuple(entry for group in groups if group.title != BROWSER for entry in _entries(group))
    web = tuple(entry for group in groups if group.title == BROWSER for entry in _entries(group))
    sections = [
        Section("Description", f"{parser.description}\n\n{KEYS}"),
        Section("Options", entries=own),
        Section(BROWSER, entries=web),
        Section("See also", "seg-engine(1)"),
    ]
    what = "the dashboard of seg-engine"
    return manual_page("seg-tui", version("seg-engine"), what, "[OPTIONS] [DIR]", sections)


def _entries(group: argparse._ArgumentGroup) -> Iterator[Entry]:
    for action in group._group_actions:
        if "--help" in action.option_strings:
            continue
        names = ", ".join(action.option_strings)
        takes = f" {action.metavar}" if action.metavar else ""
        yield f"{names}{takes}".strip(), action.help or ""


if __name__ == "__main__":
    print(man_page(), end="")
