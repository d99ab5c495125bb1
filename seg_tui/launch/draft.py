"""A run that is being written down: a config to begin with, what was typed over it, and what people call it.

Plain values without a screen. All that is said about a config is the engine's word.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.config.described import (
    ConfigKey,
    chooses_variant,
    config_keys,
    differences,
    format_value,
    value_of,
)
from engine.config.idle import why_idle
from engine.config.keys import ConfigError, with_values, with_variants
from engine.config.priority import MOST_PRIORITY
from engine.config.recipes import RECIPES
from engine.config.run_config import RunConfig, variant_sections
from engine.config.run_defaults import NO_DEFAULTS, RunDefaults
from engine.plugins import loaded_plugins
from engine.requests.configs import base_config, default_name

NOT_TYPED = ("task", "recipe", "data.root", "slurm.dry_run")
"""Keys that follow from elsewhere in the form, and one that prints."""

OF_OTHER_TASKS = ("crf.",)
"""What keys begin with that have no effect in a run that learns."""


def form_keys() -> dict[str, ConfigKey]:
    """The keys of a config that the form has fields for, in their order."""
    return {key: about for key, about in config_keys().items() if _has_a_field(key)}


def _has_a_field(key: str) -> bool:
    return key not in NOT_TYPED and not key.startswith(OF_OTHER_TASKS)


def exact_text(value: Any) -> str:
    """A config value as text from which the same value is read again."""
    short = format_value(value)
    return repr(value) if isinstance(value, float) and float(short) != value else short


@dataclass(frozen=True)
class Card:
    """What people call a run and where it goes, as typed."""

    name: str = ""
    experiment: str = ""
    tags: str = ""
    note: str = ""
    priority: str = "0"
    after: str = ""

    def words(self) -> tuple[str, ...]:
        """The tags, each once."""
        return tuple(dict.fromkeys(self.tags.replace(",", " ").split()))

    def priority_problem(self) -> str:
        """Why the priority cannot be that, "" when it can."""
        text = self.priority.strip()
        if re.fullmatch(r"-?\d{1,20}", text) and abs(int(text)) <= MOST_PRIORITY:
            return ""
        return f"{text!r} is not allowed; it must be a whole number; higher priorities start first"


@dataclass(frozen=True)
class Checked:
    """What the engine says of a draft: its config, or None and what is wrong by key. A problem of no field is
    under "". `idle` says of keys that were typed why they have no effect."""

    config: RunConfig | None
    problems: Mapping[str, str]
    idle: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Draft:
    """`base` is a recipe's config, or that of the run `like`; `texts` holds what was typed, where it differs;
    `data` is the folder of the data set, `defaults` are those of the workspace."""

    base: RunConfig
    like: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    data: str = ""
    defaults: RunDefaults = NO_DEFAULTS

    @classmethod
    def of_recipe(cls, name: str, defaults: RunDefaults = NO_DEFAULTS) -> Draft:
        """Raises UnknownRecipe."""
        return cls(base_config(name, defaults), defaults=defaults)

    @property
    def title(self) -> str:
        """What it began with."""
        return self.like or self.base.recipe

    def variant(self, section: str) -> str:
        """The variant of a section, such as the model, as far as the engine knows what was typed."""
        key, usual = f"{section}.name", str(getattr(self.base, section).name)
        typed = self.texts.get(key, usual)
        return typed if typed in config_keys()[key].choices else usual

    def is_there(self, key: str) -> bool:
        """Whether the chosen variant of its section has the key."""
        variants = config_keys()[key].variants
        return not variants or self.variant(key.partition(".")[0]) in variants

    def usual(self, key: str) -> str:
        """The text of a key's value before anything was typed, beside the choice of a model and the like."""
        value = value_of(self.base if chooses_variant(key) else self._reference(), key)
        return exact_text(config_keys()[key].default if value is None else value)

    def text(self, key: str) -> str:
        """What the field of a key shows."""
        return self.texts.get(key, self.usual(key))

    def type(self, key: str, text: str) -> None:
        """Take what was typed; the usual value counts as nothing typed."""
        if text.strip() == self.usual(key):
            self.texts.pop(key, None)
        else:
            self.texts[key] = text.strip()

    def changes(self) -> dict[str, str]:
        """What was typed into fields that are there, first what others depend on, such as the model."""
        there = {key: text for key, text in self.texts.items() if self.is_there(key)}
        return dict(sorted(there.items(), key=lambda item: not chooses_variant(item[0])))

    def check(self) -> Checked:
        """Ask the engine."""
        try:
            config = with_values(self.base, {**self.changes(), "data.root": self.data})
        except ConfigError as error:
            problems: dict[str, str] = {}
            for line in error.problems:
                key, _, rest = line.partition(": ")
                known = key in form_keys()
                problems.setdefault(key if known else "", rest if known else line)
            return Checked(None, problems)
        return Checked(config, {}, {key: why for key in self.changes() if (why := why_idle(config, key))})

    def _reference(self) -> RunConfig:
        """The config before anything was typed, but with the chosen model and the like."""
        chosen = {section: self.variant(section) for section in variant_sections()}
        return with_variants(
            self.base,
            {
                f"{section}.name": name
                for section, name in chosen.items()
                if name != getattr(self.base, section).name
            },
        )


def command_line(draft: Draft, config: RunConfig, card: Card, first_card: Card, workspace: str = "") -> str:
    """The `seg-engine` command that queues the same run, for a shell.

    From the recipe with only what differs; `rerun` where the config came from no recipe of this version. That
    takes over `first_card`, the card of the run that it is like. `workspace` is named when it is not the one
    that the command would find by itself.
    """
    words = ["seg-engine"] + (["--workspace", workspace] if workspace else [])
    for plugin in loaded_plugins():  # a run that is queued here has them on its record
        words += ["--plugin", str(plugin.path)]
    from_recipe = config.recipe in RECIPES
    if from_recipe:
        base = base_config(config.recipe, draft.defaults)
        words += ["run", config.recipe]
        words += ["--data", config.data.root] if config.data.root else []
    else:
        base = draft.base
        words += ["rerun", draft.like]
        words += [f"data.root={config.data.root}"] if config.data.root != base.data.root else []
    if config.task != base.task:
        words.append(f"task={config.task}")
    # They come first and bring their own values: what follows is said only where it differs from those.
    chosen = {key: names for key, names in differences(base, config).items() if chooses_variant(key)}
    words += [f"{key}={name}" for key, (_, name) in chosen.items()]
    base = with_variants(base, {key: name for key, (_, name) in chosen.items()})
    changed = [
        key for key in differences(base, config) if key not in ("recipe", "data.root", "slurm.dry_run")
    ]
    words += [f"{key}={exact_text(value_of(config, key))}" for key in changed]
    usual = (
        Card(name=default_name(config), experiment=draft.defaults.experiment) if from_recipe else first_card
    )
    words += _card_words(card, usual)
    words.append("--queue")
    words += ["--priority", card.priority.strip()] if card.priority.strip() not in ("", "0") else []
    words += ["--after", card.after.strip()] if card.after.strip() else []
    return shlex.join(words)


def _card_words(card: Card, usual: Card) -> list[str]:
    """The options that say what differs from the card which the command would give by itself."""
    words = []
    for option in ("name", "experiment", "note"):
        text = getattr(card, option).strip()
        words += [f"--{option}", text] if text not in ("", getattr(usual, option)) else []
    if set(card.words()) != set(usual.words()):
        for tag in card.words() or ("",):
            words += ["--tag", tag]
    return words
