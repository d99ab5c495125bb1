"""The search whose CRF parameters a run is to take, where it has not ended yet."""

from __future__ import annotations

from engine.config.run_config import RunConfig
from engine.requests.refusals import Refused
from engine.store import RunRow, Store
from engine.typed import typed

_UNDER_WAY = ("queued", "starting", "running")


def search_to_wait_for(store: Store, config: RunConfig, after: str = "") -> str:
    """The id of the search, queued or at work, that is to find the CRF's parameters for a run of this config;
    "" where there is none. `after` is the run that it waits for anyway, by id, "" for none.

    Raises Refused where that is another one: the search may not have ended by then.
    """
    found = _search_under_way(store, config)
    if found is None or after == found.id:
        return found.id if found is not None else ""
    if after:
        raise Refused([f"--after {after}: {_told(found)}; `--after {found.id}` waits for it"])
    return found.id


def refuse_unsearched(store: Store, config: RunConfig) -> None:
    """Raise Refused where a run that starts at once would miss the parameters that a search is to find."""
    found = _search_under_way(store, config)
    if found is not None:
        wait = f"add --queue, which waits for it, or `{typed('stop', found.id)}` first"
        raise Refused([f"--crf: {_told(found)}; {wait}"])


def _told(search: RunRow) -> str:
    return f"{search.id} ({search.name}), which searches the CRF's parameters, is {search.status}"


def _search_under_way(store: Store, config: RunConfig) -> RunRow | None:
    """The last one in line for the same checkpoint and size."""
    about = config.of_network
    if config.crf.mode != "searched" or about is None:
        return None
    wanted = (about.source, about.checkpoint, config.evaluate.at if config.evaluate else "original")
    found = [
        row
        for row in (*store.queue.active(), *store.queue.waiting())
        if row.status in _UNDER_WAY
        and (section := row.config.get("crf_search"))
        and (section["source"], section["checkpoint"], section["at"]) == wanted
    ]
    return found[-1] if found else None
