"""What README.md and docs/ name is there: commands, options, config keys, files, links and their headings."""

from __future__ import annotations

import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from engine.cli.main import app
from engine.config.described import config_keys
from engine.config.keys import parse_assignments, with_values
from engine.config.recipes import get_recipe
from tests.conftest import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BY_NAME = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def shell_lines(page: Path) -> Iterator[str]:
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()


def written_commands(page: Path) -> Iterator[list[str]]:
    """The words of each `seg-engine` line: those of shell blocks, and those in backticks."""
    lines = [*shell_lines(page), *re.findall(r"`([^`\n]+)`", page.read_text())]
    for line in lines:
        if line.startswith("seg-engine "):
            words = shlex.split(re.sub(r"[][]", " ", line), comments=True)
            end = next((at for at, word in enumerate(words) if word in ("|", "&&")), len(words))
            yield words[1:end]


@BY_NAME
def test_commands_and_their_options_are_there(page: Path) -> None:
    top: Any = typer.main.get_command(app)
    for words in written_commands(page):
        command, name = top, "seg-engine"
        for before, word in itertools.pairwise(["", *words]):
            commands = getattr(command, "commands", {})
            if word.startswith("--") or (word.startswith("-") and not before.startswith("--")):
                option = word.split("=")[0]
                names = {each for one in command.params for each in (*one.opts, *one.secondary_opts)}
                names |= {each for one in top.params for each in one.opts} | {"--help", "--plugin"}
                assert option in names, f"{page.name}: {name} {option}"
            elif commands and re.fullmatch(r"[a-z-]+", word):
                assert word in commands, f"{page.name}: {name} {word}"
                command, name = command.get_command(None, word), f"{name} {word}"


@BY_NAME
def test_config_keys_are_there(page: Path) -> None:
    keys = set(config_keys())
    sections = {key.split(".")[0] for key in keys if "." in key}
    text = page.read_text()
    named = re.findall(r"`([a-z_]+\.[a-z_0-9]+)(?:=[^`]*)?`", text)
    named += [word.split("=")[0] for words in written_commands(page) for word in words if "=" in word]
    for key in named:
        section, dot, _ = key.partition(".")
        if dot and section in sections and not key.endswith((".py", ".md", ".toml", ".json", ".pt")):
            assert key in keys | OTHERS, f"{page.name}: {key}"


OTHERS = {"loss.poly1", "loss.poly1_epsilon", "augment.grey", "data.class_set"}
"""Keys that the examples of docs/extending.md add, and the one that seg-engine itself writes."""


def test_the_runs_that_the_tutorial_compares_are_different() -> None:
    runs = [words for words in written_commands(REPOSITORY / "docs" / "tutorial.md") if words[0] == "run"]
    configs = [
        with_values(get_recipe(recipe), parse_assignments(word for word in words if "=" in word))
        for _, recipe, *words in runs
    ]
    assert len(set(configs)) == len(configs) == 2


@BY_NAME
def test_files_and_folders_are_there(page: Path) -> None:
    roots = ("engine/", "seg_tui/", "docs/", "benchmarks/", "tests/")
    for name in re.findall(r"`([\w./<>{},*-]+)`", page.read_text()):
        if name.startswith(roots) and not set(name) & set("<>{},*"):
            assert (REPOSITORY / name).exists(), f"{page.name}: {name}"


@BY_NAME
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {anchor_of(heading) for heading in headings}, f"{page.name}: {target}"


def test_every_extra_is_told() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    page = (REPOSITORY / "docs" / "installing.md").read_text()
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(extras)


def anchor_of(heading: str) -> str:
    """How GitHub names a heading in a link."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
