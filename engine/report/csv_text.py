"""CSV that a spreadsheet shows instead of computing it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What text may begin with that a spreadsheet takes for a formula (OWASP, CSV injection)."""

_NUMBER = re.compile(r"-\d+(\.\d*)?(e[-+]?\d+)?")
"""Such as the value -0.5 of a config key."""


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A header and rows as CSV. Text that a spreadsheet would compute gets a single quote before it, as names
    and notes may be anybody's; numbers stay as they are. JSON has every text as it is."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow([_shown(value) for value in row])
    return text.getvalue()


def _shown(value: object) -> object:
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    return value if _NUMBER.fullmatch(value) else f"'{value}"
