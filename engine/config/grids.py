"""The values that one command asks for of a config key: `KEY=V1,V2` and `KEY=FIRST..LAST`."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence

from engine.config.described import config_keys
from engine.config.keys import ConfigError, split_assignments
from engine.config.old_keys import new_name

MOST_VALUES = MOST_POINTS = 100_000
"""Values one range, and runs one sweep may have; more is a slip of the keyboard."""

QUOTING = "quote a value that contains a comma or a quote, such as 'data.hold_out=\"rider,train\"'"
"""What to say where a comma may belong to a value; the outer quotes are the shell's."""


def grid(assignments: Sequence[str]) -> list[list[str]]:
    """Every combination of the values of `KEY=V1,V2` and `KEY=FIRST..LAST`, the last key changing fastest.

    Raises ConfigError for values that are none and for more than MOST_POINTS combinations.

    >>> grid(["optimizer.lr=0.1,0.01", "seed=0..1"])[1]
    ['optimizer.lr=0.1', 'seed=1']
    """
    axes = [
        [f"{key}={value}" for value in values_of(key, text)] for key, text in choices_of(assignments).items()
    ]
    count = math.prod(map(len, axes))
    if count > MOST_POINTS:
        raise ConfigError([f"these values combine to {count:,} runs; at most {MOST_POINTS:,} can be queued"])
    return [list(point) for point in itertools.product(*axes)]


def values_of(key: str, text: str) -> list[str]:
    """The values that one key takes, each once: between commas; `FIRST..LAST` stands for whole numbers.

    Quotes, "a,b" or 'a,b', and brackets, [a,b], hold a value together; quotes are taken away, and a backslash
    before a quote or a backslash in them keeps it. Raises ConfigError for a value that is empty without
    quotes, a range that goes nowhere, and where it is not clear which values are meant.
    """
    values: list[str] = []
    parts = list(_parts(key, text))
    about = config_keys().get(new_name(key))
    if len(parts) > 1 and about is not None and about.commas and not any(is_held for _, is_held in parts):
        one, several = f'"{text}"', ",".join(f'"{part}"' for part, _ in parts)
        raise ConfigError(
            [f"{key}: {text!r} may be one value or {len(parts)}; write '{key}={one}' or '{key}={several}'"]
        )
    for part, is_held in parts:
        bounds = None if is_held else re.fullmatch(r"(-?\d{1,20})\.\.(-?\d{1,20})", part)
        if not part and not is_held:
            hint = f'write such as {key}=1,2,3, and "" in quotes for the empty value'
            raise ConfigError([f"{key}: {text!r} has an empty value; {hint}"])
        if bounds is None:
            values.append(part)
            continue
        first, last = int(bounds[1]), int(bounds[2])
        if last < first:
            raise ConfigError([f"{key}: {part!r} is not a range; it must be FIRST..LAST such as 0..4"])
        if last >= first + MOST_VALUES:
            raise ConfigError([f"{key}: {part!r} has more than {MOST_VALUES:,} values"])
        values += map(str, range(first, last + 1))
    return list(dict.fromkeys(values))


_QUOTED = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')\s*(?:,|$)""", re.DOTALL)
_BRACKETED = re.compile(r"""\s*(\[(?:[^\[\]"']|"(?:[^"\\]|\\.)*"|'[^']*')*\])\s*(?:,|$)""", re.DOTALL)
_PLAIN = re.compile(r"([^,]*)(?:,|$)", re.DOTALL)


def _parts(key: str, text: str) -> Iterator[tuple[str, bool]]:
    """The values between the commas, and whether each was held together by quotes or brackets."""
    at, ended_in_comma = 0, True
    while ended_in_comma:
        found = _QUOTED.match(text, at)
        if found is not None:
            inner = found[1] if found[1] is not None else found[2]
            yield re.sub(r"""\\(["'\\])""", r"\1", inner), True
        else:
            found = _BRACKETED.match(text, at) or _PLAIN.match(text, at)
            assert found is not None
            value = found[1].strip()
            if value != text.strip() and not value.startswith("[") and re.search(r"""["'\[\]]|\\$""", value):
                raise ConfigError([f"{key}: {text!r} is ambiguous; {QUOTING}"])
            if value.startswith(('"', "'")) or (value.startswith("[") and not value.endswith("]")):
                raise ConfigError([f"{key}: {text!r} is not closed; {QUOTING}"])
            yield value, value.startswith("[")
        at, ended_in_comma = found.end(), found[0].endswith(",")


def swept_keys(assignments: Sequence[str]) -> list[str]:
    return [key for key, text in choices_of(assignments).items() if len(values_of(key, text)) > 1]


def choices_of(assignments: Sequence[str]) -> dict[str, str]:
    """The values of each key as typed. An old key that became several is left as it is: each of its values
    means something else."""
    return dict(split_assignments(assignments))


def point_name(base: str, point: Sequence[str], swept: Sequence[str]) -> str:
    """The name of one run of a sweep: the base and what the run has otherwise than the others."""
    own = dict(assignment.split("=", 1) for assignment in point)
    return " ".join([base, *(f"{key.rpartition('.')[2]}={own[key]}" for key in swept)])
