"""docs/config.md from the config itself: `python -m engine.report.config_page > docs/config.md`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from engine.config.described import ConfigKey, config_keys, format_value
from engine.config.run_config import RunConfig

HEAD = """# Configuration keys

Every key of a run's config, its default and what is allowed. `seg-engine config` shows the same, and
`KEY=VALUE` after `seg-engine run RECIPE` changes one. A recipe may have other defaults.
This page is made from `engine/config/` and, for the keys of components, such as networks and
optimizers, from their sections. Those of plugins are not on it.
"""


def config_page() -> str:
    """The page as Markdown: one table for each group of keys."""
    return "\n".join([HEAD, *_groups()])


def _groups() -> Iterator[str]:
    for group, keys in groupby(config_keys().values(), key=lambda about: about.key.rpartition(".")[0]):
        title = f"{group}: {_story(group)}" if group else "the run"
        rows = [f"| `{k.key}` | {_default(k)} | {_allowed(k)} | {k.story} |" for k in keys]
        table = ["| key | default | allowed | what it is |", "|---|---|---|---|", *rows]
        yield "\n".join([f"## {title}", "", *table, ""])


def _story(group: str) -> str:
    """What a section of the config says of itself, or the first line of its docstring; no full stop."""
    section = RunConfig.model_fields[group]
    story = section.description or getattr(section.annotation, "__doc__", None) or group
    return str(story).strip().splitlines()[0].rstrip(".")


def _default(about: ConfigKey) -> str:
    value = format_value(about.default) or '""'
    return f"`{value}` {about.unit}".strip()


def _allowed(about: ConfigKey) -> str:
    return " ".join([about.kind, about.allowed]).strip().replace("|", "\\|")


if __name__ == "__main__":
    print(config_page(), end="")
