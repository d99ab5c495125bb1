"""The config of one run as `show` prints it, with what differs from its recipe."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from engine.config.described import config_keys, format_value, value_of
from engine.config.files import new_config
from engine.config.recipes import RECIPES, get_recipe
from engine.config.stored import flat_config
from engine.report.lines import as_lines, quoted
from engine.store import RunRow

_NOT_OF_A_RECIPE = ("data.root", "recipe")


def changed_keys(row: RunRow) -> dict[str, tuple[str, str]]:
    """Config keys in which a run differs from its recipe (from the defaults without one): (run, recipe)."""
    base = get_recipe(row.recipe) if row.recipe in RECIPES else new_config()
    stored = flat_config(row.stored_config)
    changed = {}
    for key in config_keys():
        own, usual = stored.get(key), format_value(value_of(base, key))
        if own is not None and own != usual and key not in _NOT_OF_A_RECIPE:
            changed[key] = (own, usual)
    return changed


def config_lines(row: RunRow, width: int) -> Text:
    """Every key, a line a group, with those that the recipe has otherwise marked and told apart below."""
    changed = changed_keys(row)
    groups: dict[str, list[tuple[str, bool]]] = {}
    stored = flat_config(row.stored_config)
    for key in config_keys():
        value = stored.get(key)
        group, _, leaf = key.rpartition(".")
        if value is not None:
            shown = f"{leaf} {quoted(value)}"
            groups.setdefault(group or "run", []).append((shown + "*" * (key in changed), key in changed))
    usual = f"recipe {row.recipe}" if row.recipe in RECIPES else "default"
    told = f", * differs from the {usual}" if changed else f", all as in the {usual}"
    lines = [Text.assemble(("config", "bold"), told)]
    label = max(len(group) for group in groups)
    for group, entries in groups.items():
        lines += _wrapped(f"  {group:<{label}}", entries, width)
    for key, (own, base) in changed.items():
        lines.append(Text(f"  * {key}: {quoted(own)}, not {quoted(base)}", "yellow"))
    return as_lines(lines)


def _wrapped(label: str, entries: Iterable[tuple[str, bool]], width: int) -> list[Text]:
    """Entries behind their label, on as many lines as they need."""
    lines = [Text(label)]
    for shown, marked in entries:
        if len(lines[-1]) + 2 + len(shown) > width and len(lines[-1]) > len(label):
            lines.append(Text(" " * len(label)))
        lines[-1].append("  ")
        lines[-1].append(shown, "yellow" if marked else None)
    return lines
