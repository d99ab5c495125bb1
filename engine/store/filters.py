"""What the terms of a filter mean, and what runs are sorted by, as SQL: `dice>0.6`, `model.name=unet`,
`tag:night`, `-created_at`. How terms are joined is in `engine/store/query.py`.

A term is one of
    NAME OP VALUE   OP is one of = != > >= < <=, or ~ for a regular expression that is found somewhere in the
                    value; NAME is a field of a run, a config key, `tag`, or what was measured of a network
                    (`engine/store/measured.py`)
    tag:TAG         runs that have the tag
    WORD            runs whose name contains it
Text compares exactly, `~` and a bare word ignore upper and lower case. Times compare with UTC seconds or an
ISO date such as 2026-03-01 (UTC), lengths of time with 90, 45m or 1h30m.
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
from engine.store.dialects import BooleanInJson, Matches, NumberInJson
from engine.store.errors import StoreError
from engine.store.measured import is_share, measured
from engine.store.query import And, Not, Or, Query, Term, conjuncts, parse, terms_of
from engine.store.rows import CAUSES, END_STATUSES, STATUSES
from engine.store.schema import runs, tags
from engine.store.selects import RUN_FIELDS
from engine.store.values import dump_json
from engine.tasks import TASKS
from engine.tasks.imported import Imported

if TYPE_CHECKING:
    from engine.config.described import ConfigKey

ALIASES = {
    "best_loss": "best_val_loss",
    "created": "created_at",
    "took": "duration",
    "dice": "best_dice",
    "ended": "ended_at",
    "disk": "disk_bytes",
    "energy": "energy_kwh",
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

TAG = ("tag", "tags")
"""What a term on one of a run's tags is called; a column has all of them, as `tags`."""

BEYOND = 2**63
"""Whole numbers from here on fit into no column."""

Element = sa.ColumnElement[Any]

_CHOICES: Mapping[str, Sequence[str]] = {
    "status": STATUSES,
    "cause": ("", *CAUSES),
    "precision": ("", "fp32", "bf16", "fp16"),
}
"""Fields of a run that have but a few values."""

_COMPARE: dict[str, Callable[[Element, Any], sa.ColumnElement[bool]]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column.is_distinct_from(value),
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
}


Filter = str | Query
"""A word of a filter, or all of one."""


def query_of(filters: Iterable[Filter]) -> Query | None:
    """All of a filter, of which each part must hold. Raises StoreError."""
    given = list(filters)
    parts = [one for one in given if not isinstance(one, str)]
    if (said := parse(one for one in given if isinstance(one, str))) is not None:
        parts.append(said)
    return And(tuple(part for one in parts for part in conjuncts(one))) if parts else None


NOT_ARCHIVED = "archived=false"
"""The filter of lists that nobody has asked for archived runs."""


def unless_archived(filters: Iterable[Filter]) -> list[Filter]:
    """A filter that leaves out archived runs, unless it says itself which of them it is about. Raises
    StoreError."""
    query = query_of(filters)
    given: list[Filter] = [] if query is None else [query]
    return given if any(term.name == "archived" for term in terms_of(query)) else [*given, NOT_ARCHIVED]


def conditions(filters: Iterable[Filter]) -> list[sa.ColumnElement[bool]]:
    """A filter as conditions on `runs`, which must all hold. Raises StoreError."""
    return [_condition(part) for part in conjuncts(query_of(filters))]


def _condition(query: Query) -> sa.ColumnElement[bool]:
    match query:
        case Term():
            return _of_term(query)
        case Not():
            # What is unknown does not hold, so its opposite does.
            return sa.not_(sa.func.coalesce(_condition(query.of), sa.false()))
        case And():
            return sa.and_(*map(_condition, query.parts))
        case Or():
            return sa.or_(*map(_condition, query.parts))


def _of_term(term: Term) -> sa.ColumnElement[bool]:
    name, operator, text = term.name, term.operator, term.value
    if not operator:
        return runs.c.name.icontains(text, autoescape=True)
    if name in TAG:
        return _of_tag(term)
    if note := note_on(name, text):
        warn(note)
    meaning = meaning_of(name, text)
    if len(meaning) > 1 and operator in ("=", "!="):
        several = [_compared(now, operator, f"{value:g}") for now, value in meaning.items()]
        return sa.and_(*several) if operator == "=" else sa.or_(*several)
    return _compared(new_name(name), operator, text)


def _of_tag(term: Term) -> sa.ColumnElement[bool]:
    if term.operator not in ("=", "!=", "~"):
        raise StoreError(f"{term}: a tag has no order; write tag:{term.value} or tag~{term.value}")
    fits = _matches("tag", tags.c.tag, term.value) if term.operator == "~" else tags.c.tag == term.value
    found = sa.exists().where(tags.c.run_id == runs.c.id, fits)
    return sa.not_(found) if term.operator == "!=" else found


def _matches(name: str, column: Element, pattern: str) -> sa.ColumnElement[bool]:
    """Whether a regular expression is found in text; upper and lower case are alike."""
    if re.fullmatch(r"[\w\s/:=@,%-]*", pattern):
        return column.icontains(pattern, autoescape=True)
    try:
        re.compile(pattern)
    except re.error as error:
        raise StoreError(
            f"{name}~{pattern}: is not a regular expression: {error}; a backslash before a sign makes it "
            "stand for itself"
        ) from None
    return Matches(column, sa.literal(pattern))


def notes_on(filters: Iterable[Filter]) -> list[str]:
    """A line for each config key of an earlier version in a filter: what it is called now."""
    return [note for term in terms_of(query_of(filters)) if (note := note_on(term.name, term.value))]


def _compared(name: str, operator: str, text: str) -> sa.ColumnElement[bool]:
    """Whether a field of a run, or a value of its config, compares so with what was typed."""
    column, kind = _column(name)
    if operator in ("=", "!="):
        _check_choice(name, text)
    if operator == "~":
        return _matches(name, sa.cast(column, sa.Text), text)
    value = _value(name, kind, text)
    if kind == "share":
        _check_share(name, operator, value)
    return _COMPARE[operator](column, value)


_NEVER: dict[str, Callable[[float], bool]] = {
    "=": lambda value: not 0 <= value <= 1,
    ">": lambda value: value >= 1,
    ">=": lambda value: value > 1,
    "<": lambda value: value <= 0,
    "<=": lambda value: value < 0,
}


def _check_share(name: str, operator: str, value: float) -> None:
    """Refuse what no share meets: nothing would be found, and nothing would say why."""
    if operator in _NEVER and _NEVER[operator](value):
        hint = f"; did you mean {name}{operator}{value / 100:g}?" if 1 < value <= 100 else ""
        raise StoreError(f"{name}{operator}{value:g}: matches nothing, as {name} is from 0 to 1{hint}")


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
    """Every name that filters and `sort` know, but for those of what was measured."""
    return [*_FIELDS, *ALIASES, *_config_keys()]


def column_of(name: str) -> tuple[Element, str]:
    """What a name stands for within `select_runs()`, and its kind: text, number, share, time, duration,
    true/false, bytes, size or another that a config key has. Raises StoreError for a name without
    meaning."""
    return _column(new_name(name))


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


_SHARES = ("auroc", "budget_used", "critical_recall")


def _kind_of(name: str, column: Element) -> str:
    if name in _SHARES or name.endswith(("_dice", "_miou")):
        return "share"
    if name.endswith("_at"):
        return "time"
    if name.endswith("_bytes"):
        return "bytes"
    if isinstance(column.type, sa.Boolean):
        return "true/false"
    return "text" if isinstance(column.type, sa.String) else "number"


_FIELDS = {
    name: (column, _kind_of(name, column))
    for name, column in RUN_FIELDS.items()
    if not isinstance(column.type, sa.JSON)
}
_FIELDS["duration"] = (
    sa.func.coalesce(runs.c.ended_at, sa.case((runs.c.status.not_in(END_STATUSES), runs.c.progress_at)))
    - runs.c.started_at,
    "duration",
)


def _column(name: str) -> tuple[Element, str]:
    """A field of a run, or a value of its config, and the kind of it."""
    field = ALIASES.get(name, name)
    if field in _FIELDS:
        return _FIELDS[field]
    if (found := measured(name)) is not None:
        return found, "share" if is_share(name) else "number"
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
    # A value of another kind is not an absent one, which has a meaning, but for imported records.
    absent = sa.case((runs.c.task != Imported.name, _when_absent(key, typed)))
    return sa.case((value.as_string().is_(None), absent), else_=typed), kind


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
    if kind in ("number", "share", "bytes"):
        return _number(name, text)
    if kind == "duration":
        return _seconds(name, text)
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


def _seconds(name: str, text: str) -> float:
    """A length of time: "90", "45m", "1h30m", "2d"."""
    parts = re.fullmatch(r"(?:([\d.]+)d)?(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?", text)
    if not text or parts is None:
        raise StoreError(f"{name}: {text!r} is not a length of time; write 90, 45m or 1h30m")
    lengths = (86400, 3600, 60, 1)
    return sum(
        length * float(_number(name, part))
        for length, part in zip(lengths, parts.groups(), strict=True)
        if part
    )


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
