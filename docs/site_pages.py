"""What the site has beside the files of docs/: README.md as its first page, and reference made from the code.

A hook of MkDocs (mkdocs.yml); `make docs` builds the site.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are no files of docs/. MkDocs calls it once for a build."""
    pages: dict[str, Callable[[], str]] = {
        "index.md": lambda: page_of(ROOT / "README.md"),
        "changes.md": lambda: page_of(ROOT / "CHANGELOG.md"),
        "cli.md": command_line_page,
        "api.md": python_page,
        "tables.md": tables_page,
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content()))
    return files


def page_of(path: Path) -> str:
    """A page of the project's root, whose links begin with docs/."""
    return re.sub(r"\]\(docs/", "](", path.read_text())


def command_line_page() -> str:
    """Every command with its help, in the order of `seg-engine --help`."""
    from engine.cli.main import app

    lines = ["# Command line", "", "What `seg-engine COMMAND --help` prints, for each command.", ""]
    root = typer.main.get_command(app)
    for words, command, context in _commands(
        root, root.make_context("seg-engine", [], resilient_parsing=True)
    ):
        lines += [f"{'#' * min(2, len(words))}# {' '.join(words)}", "", "```text"]
        lines += [command.get_help(context).strip(), "```", ""]
    return "\n".join(lines)


def _commands(command: Any, context: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """A command and all below it."""
    words = words or ("seg-engine",)
    yield words, command, context
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        inner = command.get_command(context, name)
        if not inner.hidden:
            inner_context = type(context)(inner, info_name=name, parent=context)
            yield from _commands(inner, inner_context, *words, name)


def python_page() -> str:
    """What notebooks and scripts use, with signatures and docstrings."""
    import engine
    from engine.api.run import Run
    from engine.loading import LoadedNetwork

    lines = ["# Python", "", "[From Python](python.md) shows how these are used.", ""]
    lines += _about("engine.load", engine.load)
    for title, kind in (
        ("engine.Workspace", engine.Workspace),
        ("Run", Run),
        ("LoadedNetwork", LoadedNetwork),
    ):
        lines += [f"## {title}", "", _text(kind), ""]
        ours = [base for base in kind.__mro__ if base.__module__.startswith("engine.")]
        for name, member in (item for base in ours for item in vars(base).items()):
            if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                lines += _about(f"{title.rpartition('.')[2]}.{name}", member, "###")
    return "\n".join(lines)


def _about(title: str, member: Any, level: str = "##") -> list[str]:
    function = member.fget if isinstance(member, property) else member
    # Annotations are quoted text in `from __future__ import annotations`.
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function)))
    signature = signature.replace("(self, ", "(").replace("(self)", "()")
    if isinstance(member, property):
        signature = signature.removeprefix("()").replace(" ->", ":")
    return [f"{level} {title}", "", "```python", f"{title}{signature}", "```", "", _text(member), ""]


def _text(member: Any) -> str:
    return inspect.cleandoc(member.__doc__ or "")


def tables_page() -> str:
    """The database's tables as the program declares them."""
    from engine.store.schema import metadata

    lines = [
        "# Tables",
        "",
        "Every table and column. [The database](database.md) says what they mean, and has the",
    ]
    lines += ["views, which are the public interface.", ""]
    for table in metadata.sorted_tables:
        lines += [f"## {table.name}", "", "| column | type | |", "|---|---|---|"]
        for column in table.columns:
            notes = ["primary key"] if column.primary_key else []
            notes += [f"of `{key.target_fullname}`" for key in column.foreign_keys]
            notes += [] if column.nullable or column.primary_key else ["never NULL"]
            lines.append(f"| `{column.name}` | {column.type} | {', '.join(notes)} |")
        lines.append("")
    return "\n".join(lines)
