"""What is wrong with a config, in lines that a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from engine.components.parts import READ_AS
from engine.config.described import config_keys, format_value, unknown_key

MOST_PROBLEMS = 100
"""Problems of a config that are put into words: a file may have any number, and each costs a search."""


def problems_of(error: ValidationError) -> tuple[list[str], int]:
    """A line for each thing that is wrong, and how many more things are."""
    details = error.errors(include_url=False)
    problems = [_problem(detail) for detail in details[:MOST_PROBLEMS]]
    return list(dict.fromkeys(problems)), max(0, len(details) - MOST_PROBLEMS)


def _problem(detail: Any) -> str:
    """One pydantic error as a line: key, value, what is allowed."""
    location = [str(part) for part in detail["loc"]]
    given = detail["input"]
    if detail["type"] == "union_tag_invalid":  # a section whose name is that of no variant
        location.append("name")
        given = detail["ctx"]["tag"]
    if len(location) > 1 and location[1] in READ_AS:
        del location[1]
    variant = location.pop(1) if len(location) > 2 and _is_variant(*location[:2]) else ""
    if detail["type"] == "value_error" and ".".join(location) not in config_keys():
        return str(detail["ctx"]["error"])
    if detail["type"] == "extra_forbidden":
        key = ".".join(location)
        return _key_of_another(key, variant) if key in config_keys() else unknown_key(key)
    while location and ".".join(location) not in config_keys() and location[-1].isdigit():
        location.pop()
    key = ".".join(location)
    about = config_keys().get(key)
    about = about and about.of(variant)
    wrong = detail["msg"].removeprefix("Input should be ")
    if about is None and wrong != detail["msg"] and detail["type"] != "model_type":
        return f"{key}: must be {wrong}, got {given!r}"  # of a section that a command fills in
    if about is None and detail["type"] in ("too_short", "too_long", "missing", "string_pattern_mismatch"):
        return f"{key}: {detail['msg'][0].lower()}{detail['msg'][1:]}"
    if about is None:
        return f"{key or 'config'}: must be a table of keys, got {given!r}"
    wanted = {
        "size": "a size HEIGHTxWIDTH such as 256x512",
        "choice": "one of",
        "text": "text",
        "true/false": "true or false",
    }.get(about.kind, f"a {about.kind}")
    allowed = (
        f" {about.allowed}" if about.kind == "choice" else f" ({about.allowed})" if about.allowed else ""
    )
    if about.kind == "text" and about.allowed != "not empty" and about.allowed:
        wanted, allowed = about.allowed, ""
    near = difflib.get_close_matches(str(given), about.choices, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    unit = f", in {about.unit}" if about.unit else ""
    return f"{key}: {_shown(given)} is not allowed; it must be {wanted}{allowed}{unit}{hint}"


def _is_variant(section: str, name: str) -> bool:
    about = config_keys().get(f"{section}.name")
    return about is not None and name in about.choices


def _key_of_another(key: str, variant: str) -> str:
    """The line that says a key belongs to another variant of its section than the config's."""
    section = key.rpartition(".")[0]
    owners = config_keys()[key].variants
    own = [
        about.key
        for about in config_keys().values()
        if about.key.startswith(f"{section}.") and variant in about.variants
    ]
    has = f"; {section}.name={variant} has {', '.join(own)}" if own else f", not to {variant}"
    return f"{key}: belongs to {section}.name={_either(owners)}{has}"


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _shown(value: Any) -> str:
    return (
        repr(value)
        if isinstance(value, str)
        else format_value(value)
        if isinstance(value, tuple)
        else str(value)
    )
