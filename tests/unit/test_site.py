"""The site that `make docs` builds: its links, the pages made from the code, and what it loads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from engine.cli.main import app
from engine.store.schema import metadata
from tests.conftest import REPOSITORY, run_module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = run_module("mkdocs", "build", "--strict", "--site-dir", str(folder), NO_MKDOCS_2_WARNING="1")
    assert done.returncode == 0, done.stdout + done.stderr  # a broken link or anchor is one
    return folder


def test_reference_is_that_of_the_program(site: Path) -> None:
    found = json.loads((site / "search/search_index.json").read_text())["docs"]
    titles = {page["title"] for page in found if page["location"].startswith("cli/")}
    root: Any = typer.main.get_command(app)
    assert {f"seg-engine {name}" for name in root.commands} <= titles
    tables = {page["title"] for page in found if page["location"].startswith("tables/")}
    assert set(metadata.tables) <= tables
    python = {page["title"] for page in found if page["location"].startswith("api/")}
    assert {"engine.load", "Workspace.runs", "Workspace.start", "Run.wait"} <= python


def test_every_page_is_in_the_menu_and_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    first = (site / "index.html").read_text()
    for page in (REPOSITORY / "docs").glob("*.md"):
        assert f'href="{page.stem}/"' in first, page.name
    loaded = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]+)"', first)
    assert loaded == []
