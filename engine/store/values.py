"""What a database can keep: JSON as text, and text without the characters that it refuses."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from engine.store.errors import DamagedRow


def dump_json(value: object) -> str:
    """JSON without the escape of the character NUL, at which PostgreSQL's operators end the whole query."""
    from pydantic_core import to_json  # takes long to import, and a table of runs has no JSON

    text = to_json(value).decode()
    return _NUL.sub(r"\1\\ufffd", text) if r"\u0000" in text else text


_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def load_json(text: str) -> object:
    """What `dump_json` has written. Raises DamagedRow for anything else."""
    from pydantic_core import from_json

    try:
        return from_json(text)
    except ValueError as error:
        raise DamagedRow(f"a JSON value of the database is damaged: {error}") from error


JSON = {"json_serializer": dump_json, "json_deserializer": load_json}
"""How every engine writes and reads JSON columns."""


def without_nul(
    connection: sa.Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> tuple[str, Any]:
    """Send text without the character NUL, which PostgreSQL cannot keep and C programs end at, and without
    lone surrogates, which are not UTF-8; U+FFFD stands in their place. To be called before a statement is
    executed.
    """
    return statement, [_clean(one) for one in parameters] if many else _clean(parameters)


def _clean(values: Any) -> Any:
    all_values = values.values() if isinstance(values, dict) else values
    if not any(isinstance(value, str) and _UNKEEPABLE.search(value) for value in all_values):
        return values
    if isinstance(values, dict):
        return {name: printable(value) for name, value in values.items()}
    return tuple(printable(value) for value in values)


def printable(value: Any) -> Any:
    """The value, text without the characters that a database cannot keep."""
    return _UNKEEPABLE.sub("\ufffd", value) if isinstance(value, str) else value


_UNKEEPABLE = re.compile("[\0\ud800-\udfff]")
