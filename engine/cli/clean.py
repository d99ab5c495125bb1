"""`seg-engine clean`: what takes the disk, and freeing what is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from engine.cli.console import notices, output, print_json
from engine.cli.control import named
from engine.cli.reading import open_existing
from engine.cli.usage import choice
from engine.config.keys import ConfigError
from engine.data.prune import CacheInfo
from engine.exits import first_few
from engine.report.tables import Column, data_size, text_table
from engine.requests.cleaning import KINDS, OF_RUNS, Usage, Users, caches, free, free_caches, survey
from engine.store import NoSuchRun, Store
from engine.typed import typed
from engine.workspace import Workspace

_LARGEST = 10


def clean(
    workspace: Workspace, kinds: Sequence[str], prefixes: Sequence[str], sure: bool, as_json: bool
) -> None:
    """Say what takes the disk; of the `kinds` that are named what would be freed or, if `sure`, free it.

    Raises WrongUse, ConfigError and StoreError before anything is freed.
    """
    kinds = [choice("KIND", kind, list(KINDS)) for kind in dict.fromkeys(kinds)]
    if sure and not kinds:
        raise ConfigError([f"--yes: what should be freed? name some of {', '.join(KINDS)}"])
    if prefixes and "caches" in kinds:
        raise ConfigError(["caches: belong to no run; omit --run or caches"])
    # Nothing of the database changes: it may be on a full disk, where this is how to get room.
    with open_existing(workspace) as store:
        users = Users(store)
        rows = named(store, prefixes) if prefixes else store.runs(sort="created_at")
        found = survey(workspace, rows, users)
        cached = None if prefixes else caches(workspace)
        if as_json and not sure:
            print_json(_record(found, cached))
        elif not kinds:
            _overview(found, cached)
        elif sure:
            _free(workspace, store, kinds, found, users, as_json)
        else:
            _would_free(kinds, found, cached or ())


def _overview(found: Sequence[Usage], cached: Sequence[CacheInfo] | None) -> None:
    """What takes the disk; without `cached`, which are of no run, of some runs alone."""
    sizes: dict[str, int] = {} if cached is None else {"caches": sum(cache.bytes for cache in cached)}
    free_of = dict(sizes)
    for kind in OF_RUNS:
        sizes[kind] = sum(usage.bytes[kind] for usage in found)
        free_of[kind] = sum(usage.free(kind) for usage in found)
    columns = [
        Column("kind", [(kind, "bold") for kind in sizes]),
        Column("on disk", [data_size(size) for size in sizes.values()], right=True),
        Column("can be freed", [data_size(free_of[kind]) for kind in sizes], right=True),
        Column("what it is", [KINDS[kind] for kind in sizes], least=20, rank=1),
    ]
    output.say(text_table(columns, output.table_width))
    rest = sum(usage.bytes["best"] + usage.bytes["other"] for usage in found)
    whose = f"{len(found)} run{'' if len(found) == 1 else 's'}"
    output.say(f"\nbest checkpoints and everything else of {whose}, never freed: {data_size(rest)}\n")
    largest = [usage for usage in found[:_LARGEST] if usage.total]
    if largest:
        parts = (*OF_RUNS, "best", "other")
        columns = [
            Column("run", [(usage.row.id, "bold") for usage in largest]),
            Column("name", [usage.row.name for usage in largest], least=12),
            Column("status", [usage.row.status for usage in largest], rank=1),
            *(
                Column(part, [data_size(usage.bytes[part]) for usage in largest], right=True, rank=2)
                for part in parts
            ),
            Column("in all", [data_size(usage.total) for usage in largest], right=True),
        ]
        output.say(text_table(columns, output.table_width))
    notices.say(f"next: {typed('clean')} {'|'.join(sizes)}")


def _would_free(kinds: Sequence[str], found: Sequence[Usage], cached: Sequence[CacheInfo]) -> None:
    total = 0
    if "caches" in kinds:
        total += sum(cache.bytes for cache in cached)
        some = first_few(cached)
        for cache in some:
            output.say(f"{data_size(cache.bytes):>9}  cache {cache.key} of {cache.root}")
        if len(some) < len(cached):
            output.say(f"and {len(cached) - len(some):,} more caches; --json lists all")
    of_runs = [(kind, usage) for kind in kinds if kind in OF_RUNS for usage in found if usage.free(kind)]
    total += sum(usage.free(kind) for kind, usage in of_runs)
    shown = first_few(of_runs)
    for kind, usage in shown:
        output.say(f"{data_size(usage.free(kind)):>9}  {kind} of {usage.row.id}  {usage.row.name}")
    if len(shown) < len(of_runs):
        output.say(f"and {len(of_runs) - len(shown):,} more; --json lists all")
    reasons = Counter(
        f"{kind}: {usage.kept[kind]}" for kind in kinds for usage in found if kind in usage.kept
    )
    for reason, count in reasons.most_common():
        output.say(f"kept of {count} run{'s' if count > 1 else ''}, {reason}")
    if total:
        output.say(f"would free {data_size(total)}; this cannot be undone; add --yes to free it")
    else:
        output.say("nothing to free")


def _free(
    workspace: Workspace,
    store: Store,
    kinds: Sequence[str],
    found: Sequence[Usage],
    users: Users,
    as_json: bool,
) -> None:
    freed: list[dict[str, object]] = []
    if "caches" in kinds:
        freed += [{"kind": "caches", "key": c.key, "bytes": c.bytes} for c in free_caches(workspace)]
    for kind in kinds:
        for usage in found if kind in OF_RUNS else ():
            if not usage.free(kind):
                continue
            try:
                why = free(workspace, store, usage.row.id, kind, users)
            except NoSuchRun:
                why = "the run was deleted meanwhile"
            except OSError as error:
                why = f"{error.filename}: {error.strerror}"
            if why:
                notices.say(f"{usage.row.id}: {kind} kept: {why}")
            else:
                freed.append({"kind": kind, "run": usage.row.id, "bytes": usage.bytes[kind]})
    if as_json:
        print_json(freed)
    else:
        total = sum(int(str(each["bytes"])) for each in freed)
        output.say(f"freed {data_size(total)} ({len(freed)} of {', '.join(kinds)})")


def _record(found: Sequence[Usage], cached: Sequence[CacheInfo] | None) -> dict[str, object]:
    """As JSON values; without `cached`, which are of no run, of some runs alone."""
    record: dict[str, object] = {}
    if cached is not None:
        record["caches"] = [{"key": cache.key, "bytes": cache.bytes, "root": cache.root} for cache in cached]
    return record | {
        "runs": [
            {
                "run": usage.row.id,
                "name": usage.row.name,
                "bytes": dict(usage.bytes),
                "kept": dict(usage.kept),
            }
            for usage in found
        ],
    }
