"""docs/man/seg-engine.1 from the help itself: `python -m engine.cli.man_page > docs/man/seg-engine.1`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import typer

from engine.cli.main import GROUPS, app
from engine.cli.usage import help_record
from engine.report.roff import Entry, Section, Topic, manual_page
from engine.typed import PROGRAM

VARIABLES = (
    ("SEG_WORKSPACE", "The workspace, where --workspace names none."),
    ("SEG_CACHE", "A cache folder that several workspaces share."),
    ("SEG_DATABASE_URL", "postgresql://USER@HOST/DATABASE, where the database is on a server."),
    ("NO_COLOR", "If set, nothing is printed in colour."),
)

FILES = (
    ("seg.toml", "Settings of the workspace; seg-engine config --effective lists what holds."),
    ("experiments.db", "The database: every run, epoch and class score."),
    ("runs/ID/", "A run: its config, journal, log, checkpoints and outputs."),
    ("cache/", "Decoded, resized images and labels."),
)


def man_page() -> str:
    """The page, with every command and its options."""
    root: Any = typer.main.get_command(app)
    context = root.make_context(PROGRAM, [], resilient_parsing=True)
    epilog = [" ".join(part.split()) for part in root.epilog.split("\n\n")]
    statuses = next(part for part in epilog if part.startswith("Exit status:"))
    sections = [
        Section("Description", f"{root.help}\n\n" + "\n\n".join(part for part in epilog if part != statuses)),
        Section("Options", entries=tuple(_options(root, context))),
    ]
    for group in GROUPS:
        topics = tuple(topic for name in group.listed for topic in _topics(root, context, name, name))
        sections.append(Section(f"{group.panel} commands", topics=topics))
    sections += [
        Section("Exit status", statuses.partition(": ")[2]),
        Section("Environment", entries=VARIABLES),
        Section("Files", "In the workspace:", FILES),
        Section("See also", "seg-tui(1)"),
    ]
    what = root.help.partition("\n")[0].rstrip(".")
    synopsis = "[OPTIONS] COMMAND [ARGS]..."
    return manual_page(PROGRAM, version(PROGRAM), what[0].lower() + what[1:], synopsis, sections)


def _topics(group: Any, context: Any, name: str, path: str) -> Iterator[Topic]:
    """A command with its options, then those below it."""
    command = group.get_command(context, name)
    if command.hidden:
        return
    own = type(context)(command, info_name=name, parent=context)
    usage = [piece for piece in command.collect_usage_pieces(own) if piece != "[OPTIONS]"]
    yield Topic(" ".join([path, *usage]), command.help or "", tuple(_options(command, own)))
    for below in getattr(command, "commands", {}):
        yield from _topics(command, own, below, f"{path} {below}")


def _options(command: Any, context: Any) -> Iterator[Entry]:
    """What the help says of each argument and option but --help."""
    for parameter in command.get_params(context):
        record = help_record(parameter, context)
        if record is not None and "--help" not in parameter.opts:
            yield record


if __name__ == "__main__":
    print(man_page(), end="")
