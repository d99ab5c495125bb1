"""The manual pages say what the help says, and `man` reads them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from engine.cli import man_page as of_engine
from engine.report.roff import Section, manual_page
from seg_tui import man_page as of_tui
from tests.conftest import REPOSITORY

MANUALS = REPOSITORY / "docs" / "man"


def test_the_pages_are_those_of_this_help() -> None:
    for name, made, module in (
        ("seg-engine.1", of_engine.man_page(), "engine.cli.man_page"),
        ("seg-tui.1", of_tui.man_page(), "seg_tui.man_page"),
    ):
        assert (MANUALS / name).read_text() == made, f"make it anew: python -m {module} > docs/man/{name}"


@pytest.mark.skipif(shutil.which("man") is None, reason="there is no man here")
def test_man_prints_what_is_meant_and_warns_of_nothing(tmp_path: Path) -> None:
    text = ".SH is no request, nor is 'this' or \\fB; --an-option \"quoted\""
    (tmp_path / "x.1").write_text(manual_page("x", "1", "a page", "[WORD]", [Section("Text", text)]))
    for page in (tmp_path / "x.1", MANUALS / "seg-engine.1", MANUALS / "seg-tui.1"):
        shown = subprocess.run(
            ["man", "--warnings=mac", "--nj", "-E", "UTF-8", "-l", str(page)], capture_output=True, text=True
        )
        assert (shown.returncode, shown.stderr) == (0, "")
        if page.parent == tmp_path:
            assert text in " ".join(shown.stdout.split())
