"""Why no run meets a filter: which of its parts emptied the list, and what was perhaps meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from engine.store.filters import Filter, query_of
from engine.store.query import Not, Query, Term, conjuncts
from engine.store.store import Store


def why_none(store: Store, filters: Iterable[Filter]) -> str:
    """A line on a filter that no run meets. Raises StoreError."""
    parts = conjuncts(query_of(filters))
    if not parts:
        return "There are no runs."
    alone = [part for part in parts if not store.run_ids([part])]
    if alone:
        hints = [hint for part in alone if (hint := _hint(store, part))]
        told = f"No run matches {' nor '.join(map(str, alone))}"
        return f"{told}; did you mean {' or '.join(hints)}?" if hints else f"{told}."
    # Each is met by some runs: the first that leaves nothing of what the ones before it leave.
    place = next((place for place in range(2, len(parts) + 1) if not store.run_ids(parts[:place])), 0)
    if not place:
        return "No run matched; one does now."
    left = len(store.run_ids(parts[: place - 1]))
    before, last = " ".join(map(str, parts[: place - 1])), parts[place - 1]
    if isinstance(last, Not):
        all_of = "The only run that matches" if left == 1 else f"All {left:,} runs that match"
        return f"{all_of} {before} {'matches' if left == 1 else 'match'} {last.of}, too."
    who = "The only run that matches" if left == 1 else f"None of the {left:,} runs that match"
    return f"{who} {before} {'does not match' if left == 1 else 'matches'} {last}."


def _hint(store: Store, part: Query) -> str:
    """The term with the nearest value that a run has; "" where none is near."""
    if not isinstance(part, Term) or part.operator not in ("=", ""):
        return ""
    known = {value.lower(): value for value in store.distinct(part.name)}
    near = difflib.get_close_matches(part.value.lower(), known, n=1, cutoff=0.6)
    if not near:
        return ""
    value = known[near[0]]
    quote = '"' if "'" in value else "'"
    told = f"{quote}{value}{quote}" if any(sign.isspace() or sign in "()'\"" for sign in value) else value
    return f"tag:{told}" if part.name == "tag" else f"{part.name}={told}"
