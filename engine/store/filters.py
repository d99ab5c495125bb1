"""What people type to pick and order runs, as SQL: `dice>0.6`, `model.name=unet`, `tag:night`, `-created_at`.

A term is one of
    NAME OP VALUE   OP is one of = != > >= < <=, or ~ for "contains"; NAME is a field of a run or a config key
    tag:TAG         runs that have the tag
    WORD            runs whose name contains it
Text compares exactly, `~` and a bare word ignore upper and lower case. Times compare with UTC seconds or an
ISO date such as 2026-03-01 (UTC).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from engine.config.old_keys import meaning_of, new_name, note_on, warn
from engine.store.dialects import BooleanInJson, NumberInJson
from engine.store.errors import StoreError
from engine.store.rows import CAUSES, STATUSES
from engine.store.schema import runs, tags
from engine.store.selects import RUN_FIELDS
from engine.store.values import dump_json
from engine.tasks import TASKS

if TYPE_CHECKING:
    from engine.config.described import ConfigKey

ALIASES = {
    "best_loss": "best_val_loss",
    "created": "created_at",
    "dice": "best_dice",
    "ended": "ended_at",
    "flops": "flops_per_sample",
    "last": "last_dice",
    "loss": "last_loss",
    "memory": "peak_memory_bytes",
    "miou": "best_miou",
    "queued": "queued_at",
    "run": "id",
    "started": "started_at",
    "train_dice": "last_train_dice",
    "val_loss": "last_val_loss",
}
"""Names people type, and the field of a run that they mean."""

BEYOND = 2**63
"""Whole numbers from here on fit into no column."""

Element = sa.ColumnElement[Any]

_CHOICES: Mapping[str, Sequence[str]] = {
    "status": STATUSES,
    "cause": ("", *CAUSES),
    "precision": ("", "fp32", "bf16", "fp16"),
}
"""Fields of a run that have but a few values."""

_TERM = re.compile(r"([A-Za-z_][\w.]*)\s*(!=|>=|<=|=|>|<|~)\s*(.*)", re.DOTALL)

_COMPARE: dict[str, Callable[[Element, Any], sa.ColumnElement[bool]]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column.is_distinct_from(value),
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
}


def condition(term: str) -> sa.ColumnElement[bool]:
    """One filter term as a condition on `runs`. Raises StoreError."""
    term = term.strip()
    if not term:
        raise StoreError("an empty filter; write one such as dice>0.6, status=failed or tag:night")
    if term.startswith("tag:"):
        tag = term.removeprefix("tag:").strip()
        return sa.exists().where(tags.c.run_id == runs.c.id, tags.c.tag == tag)
    match = _TERM.fullmatch(term)
    if match is None:
        return runs.c.name.icontains(term, autoescape=True)
    name, operator, text = match.groups()
    if note := note_on(name, text):
        warn(note)
    meaning = meaning_of(name, text)
    if len(meaning) > 1 and operator in ("=", "!="):
        several = [_compared(now, operator, f"{value:g}") for now, value in meaning.items()]
        return sa.and_(*several) if operator == "=" else sa.or_(*several)
    return _compared(new_name(name), operator, text)


def notes_on(terms: Iterable[str]) -> list[str]:
    """A line for each config key of an earlier version among filter terms: what it is called now."""
    found = (_TERM.fullmatch(term.strip()) for term in terms)
    return [note for match in found if match and (note := note_on(match[1], match[3]))]


def _compared(name: str, operator: str, text: str) -> sa.ColumnElement[bool]:
    """Whether a field of a run, or a value of its config, compares so with what was typed."""
    column, kind = _column(name)
    if operator in ("=", "!="):
        _check_choice(name, text)
    if operator == "~":
        return sa.cast(column, sa.Text).icontains(text, autoescape=True)
    return _COMPARE[operator](column, _value(name, kind, text))


def ordering(sort: str) -> list[sa.ColumnElement[Any]]:
    """`dice` or `-dice` (falling) as an ORDER BY, empty values last, ties newest first. Raises StoreError."""
    name = sort.removeprefix("-")
    if note := note_on(name):
        warn(note)
    column, _ = _column(new_name(name))
    first = column.desc() if sort.startswith("-") else column.asc()
    # Said only where there are empty values: PostgreSQL finds no index for what its order does not match.
    never_empty = isinstance(column, sa.Column) and not column.nullable
    return [first if never_empty else first.nulls_last(), runs.c.created_at.desc(), runs.c.id]


def _config_keys() -> Mapping[str, ConfigKey]:
    # Their models are made at import, which takes a fifth of the time until the first list of runs.
    from engine.config.described import config_keys

    return config_keys()


def sortable_names() -> list[str]:
    """Every name that filters and `sort` know."""
    return [*_FIELDS, *ALIASES, *_config_keys()]


def _is_misspelt(text: str, known: Sequence[str]) -> bool:
    """Whether a word is the beginning of one that is known, or all but one."""
    near = difflib.get_close_matches(text.lower(), known, n=1, cutoff=0.8)
    return text not in known and bool(near or any(word.startswith(text.lower()) for word in known))


def _check_choice(name: str, text: str) -> None:
    """Refuse a value that no run can have: nothing would meet the term, and nothing would say why."""
    if name == "task" and not _is_misspelt(text, TASKS.names()):
        return  # a plugin that is not loaded may have brought it
    choices = TASKS.names() if name == "task" else _CHOICES.get(ALIASES.get(name, name))
    if choices is None and ALIASES.get(name, name) not in _FIELDS:
        key = _config_keys().get(name)
        choices = key.choices if key is not None else None
        if name == "data.layout" and not _is_misspelt(text, choices or ()):
            return
    if not choices or text in choices:
        return
    starts = [known for known in choices if text and known.startswith(text.lower())]
    near = starts or difflib.get_close_matches(text.lower(), choices, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise StoreError(f"{name}: {text!r} is none of {', '.join(filter(None, choices))}{hint}")


def _kind_of(name: str, column: Element) -> str:
    if name.endswith("_at"):
        return "time"
    if isinstance(column.type, sa.Boolean):
        return "true/false"
    return "text" if isinstance(column.type, sa.Text) else "number"


_FIELDS = {
    name: (column, _kind_of(name, column))
    for name, column in RUN_FIELDS.items()
    if not isinstance(column.type, sa.JSON)
}


def _column(name: str) -> tuple[Element, str]:
    """A field of a run, or a value of its config, and the kind of it."""
    field = ALIASES.get(name, name)
    if field in _FIELDS:
        return _FIELDS[field]
    key = _config_keys().get(name)
    if key is None:
        near = difflib.get_close_matches(name, sortable_names(), n=1, cutoff=0.5)
        near += [known for known in _config_keys() if known.rpartition(".")[2] == name]
        hint = f"did you mean {near[-1]}?" if near else "such as dice, status, name or model.name"
        raise StoreError(f"{name}: is neither a field of a run nor a config key; {hint}")
    value = runs.c.config[tuple(name.split("."))]
    typed: Element = value.as_string()
    kind = "number" if key.kind == "whole number" else key.kind
    if kind == "number":
        typed = NumberInJson(value)
    elif kind == "true/false":
        typed = BooleanInJson(value)
    # A value of another kind is not an absent one, which has a meaning.
    return sa.case((value.as_string().is_(None), _when_absent(key, typed)), else_=typed), kind


def _when_absent(key: ConfigKey, typed: Element) -> Element:
    """What a stored config means that lacks a key: its default, or that of the section's variant."""

    def literal(default: Any) -> Element:
        if isinstance(default, tuple | list):
            default = dump_json(default)
        return sa.literal(default if isinstance(default, str | int | float) else None, typed.type)

    if not key.variant_defaults:
        return literal(key.when_absent)
    from engine.config.run_config import variant_sections

    section = key.key.partition(".")[0]
    name = runs.c.config[section, "name"].as_string()
    name = sa.func.coalesce(name, variant_sections()[section].default)
    return sa.case(*((name == variant, literal(value)) for variant, value in key.variant_defaults.items()))


def _value(name: str, kind: str, text: str) -> Any:
    """What was typed behind the operator, as a value of that kind."""
    if kind == "number":
        return _number(name, text)
    if kind == "time":
        return _time(name, text)
    if kind == "true/false":
        if text.lower() not in ("true", "false"):
            raise StoreError(f"{name}: {text!r} must be true or false")
        return text.lower() == "true"
    if kind == "size":
        sides = re.fullmatch(r"(\d+)\s*[x×,]\s*(\d+)", text)
        if sides is None:
            raise StoreError(f"{name}: {text!r} is not a size; it must be HEIGHTxWIDTH such as 256x512")
        return f"[{sides[1]},{sides[2]}]"  # as SQLite's JSON functions write a list
    return text


def _number(name: str, text: str) -> int | float:
    """A number that a database can compare with. Raises StoreError."""
    try:
        number = int(text) if re.fullmatch(r"[+-]?\d{1,30}", text) else float(text)
    except ValueError:
        raise StoreError(f"{name}: {text[:40]!r} is not a number") from None
    if not math.isfinite(number):
        raise StoreError(f"{name}: {text[:40]!r} is not a finite number")
    if isinstance(number, int) and not -BEYOND <= number < BEYOND:
        raise StoreError(f"{name}: {text} is too large; it must be below 2^63")
    return number


def _time(name: str, text: str) -> float:
    if re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?|[+-]?(inf|infinity|nan)", text, re.IGNORECASE):
        return float(_number(name, text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise StoreError(
            f"{name}: {text!r} is not a time; write a date such as 2026-03-01 or UTC seconds"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
