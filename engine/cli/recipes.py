"""`seg-engine recipes` and `seg-engine config`: what can be run, and what can be set."""

from __future__ import annotations

import difflib
import inspect

from engine.cli.console import output, print_json
from engine.config.described import ConfigKey, config_keys, format_value
from engine.config.files import to_toml
from engine.config.keys import ConfigError
from engine.config.old_keys import new_name, note_on, warn
from engine.config.recipes import RECIPES, get_recipe
from engine.config.run_config import RunConfig
from engine.report.tables import Column, text_table


def list_recipes(as_json: bool) -> None:
    """One line a recipe."""
    configs = {name: make() for name, make in RECIPES.items()}
    if as_json:
        records = [
            {"name": name, "help": description(name), "config": config.model_dump(mode="json")}
            for name, config in configs.items()
        ]
        print_json(records)
        return
    columns = [
        Column("recipe", [(name, "bold") for name in configs]),
        Column("size", [format_value(config.data.size) for config in configs.values()], right=True, rank=3),
        Column("epochs", [epochs(config) for config in configs.values()], right=True, rank=1),
        Column("batch", [str(config.batch_size) for config in configs.values()], right=True, rank=2),
        Column("what it is", [description(name).split("\n")[0] for name in configs], least=30),
    ]
    output.say(text_table(columns, output.table_width))


def epochs(config: RunConfig) -> str:
    """The epochs of a run, or its budget; those of the pre-training run before it first."""
    own = config.told_length.removesuffix(" epochs")
    return f"{config.pretrain.epochs} + {own}" if config.pretrain.epochs else own


def show_recipe(name: str, as_json: bool) -> None:
    """A recipe as TOML that `seg-engine run` takes, its description as comments. Raises UnknownRecipe."""
    config = get_recipe(name)
    if as_json:
        record = {"name": name, "help": description(name), "config": config.model_dump(mode="json")}
        print_json(record)
        return
    comment = "\n".join(f"# {line}".rstrip() for line in description(name).split("\n"))
    print(f"{comment}\n\n{to_toml(config)}", end="")


def description(name: str) -> str:
    return inspect.getdoc(RECIPES[name]) or ""


def show_config(prefix: str, as_json: bool) -> None:
    """Every config key that is `prefix` or lies below it. Raises ConfigError when there is none."""
    keys = keys_below(prefix)
    if as_json:
        print_json([record_of(key) for key in keys])
        return
    columns = [
        Column("key", [(key.key, "bold") for key in keys]),
        Column("default", [typed(key) for key in keys], least=8),
        Column("allowed", [key.allowed or key.kind for key in keys], rank=1, least=16),
        Column("unit", [key.unit or "-" for key in keys], rank=2),
        Column("what it is", [key.story for key in keys], rank=3, least=40),
    ]
    width = output.table_width
    if width is None or width >= 140:
        output.say(text_table(columns, width))
        return
    # There is no room for five columns: three lines a key say all of it.
    for key in keys:
        unit = f" {key.unit}" if key.unit else ""
        output.print(f"{key.key} = {typed(key)}{unit}", style="bold")
        output.print(f"    {key.story}")
        output.print(f"    {key.allowed or key.kind}", style="dim")


def typed(key: ConfigKey) -> str:
    """The default as it would be typed."""
    return format_value(key.default) or '""'


def keys_below(prefix: str) -> list[ConfigKey]:
    if note := note_on(prefix.rstrip(".")):
        warn(note)
    wanted = new_name(prefix.rstrip("."))
    known = config_keys()
    keys = [about for key, about in known.items() if not wanted or f"{key}.".startswith(f"{wanted}.")]
    if not keys:
        sections = list(dict.fromkeys(key.rpartition(".")[0] for key in known if "." in key))
        near = difflib.get_close_matches(wanted, [*sections, *known], n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sections)}"
        raise ConfigError([f"{prefix}: no such key or group of keys; {hint}"])
    return keys


def record_of(key: ConfigKey) -> dict[str, object]:
    default = list(key.default) if isinstance(key.default, tuple) else key.default
    return {
        "key": key.key,
        "kind": key.kind,
        "default": default,
        "allowed": key.allowed,
        "choices": list(key.choices),
        "unit": key.unit,
        "help": key.help,
        "variants": list(key.variants),
    }
