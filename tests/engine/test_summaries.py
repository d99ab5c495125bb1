"""Following many runs: what changed since, what is gone, and which runs are one variant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.store import Store, StoreError
from engine.store.variant import variant_of
from tests.conftest import NewDatabase
from tests.engine.made_up_runs import add_run, finished_journal, ingest


@pytest.fixture
def store(tmp_path: Path, new_database: NewDatabase) -> Iterator[Store]:
    with Store(new_database(tmp_path), timeout=5.0) as opened:
        yield opened


def test_only_runs_written_to_since_are_told_again(store: Store) -> None:
    for run_id in ("aaaaaaaa", "bbbbbbbb", "cccccccc"):
        add_run(store, run_id)
    before = store.changes()
    assert [run.id for run in before.runs] == ["aaaaaaaa", "bbbbbbbb", "cccccccc"]
    assert store.changes(before.latest).runs == ()

    ingest(store, "bbbbbbbb", finished_journal().events)
    store.lifecycle.update_card("aaaaaaaa", tags=["night"])
    after = store.changes(before.latest)
    assert [run.id for run in after.runs] == ["bbbbbbbb", "aaaaaaaa"]
    assert after.runs[0].best_dice == store.run("bbbbbbbb").best_dice
    assert after.runs[1].tags == ("night",)


def test_every_verb_that_writes_a_run_is_a_change(store: Store) -> None:
    add_run(store)
    latest = store.changes().latest
    for write in (
        lambda: store.lifecycle.set_status("aaaaaaaa", "running"),
        lambda: store.queue.set_place("aaaaaaaa", priority=3),
        lambda: store.lifecycle.update_card("aaaaaaaa", name="another"),
        lambda: store.lifecycle.update_card("aaaaaaaa", tags=[]),
        lambda: ingest(store, "aaaaaaaa", finished_journal().events[:2]),
    ):
        write()
        changes = store.changes(latest)
        assert [run.id for run in changes.runs] == ["aaaaaaaa"]
        latest = changes.latest


def test_a_deleted_run_shows_in_the_count(store: Store) -> None:
    for run_id in ("aaaaaaaa", "bbbbbbbb"):
        add_run(store, run_id)
    before = store.changes()
    store.lifecycle.delete("aaaaaaaa")
    after = store.changes(before.latest)
    assert (after.runs, after.count) == ((), 1)
    assert store.run_ids() == ["bbbbbbbb"]


def test_ids_are_filtered_and_ordered_as_runs_are(store: Store) -> None:
    for run_id, lr in (("aaaaaaaa", 0.1), ("bbbbbbbb", 0.3), ("cccccccc", 0.2)):
        add_run(store, run_id, with_values(RunConfig(), {"optimizer.lr": lr}))
    assert store.run_ids(["optimizer.lr>0.15"], "-optimizer.lr") == ["bbbbbbbb", "cccccccc"]
    with pytest.raises(StoreError, match="did you mean optimizer"):
        store.run_ids(["optimiser.lr>1"])


@pytest.mark.parametrize(
    ("change", "same"), [({"seed": 9}, True), ({"optimizer.lr": 0.5}, False), ({"data.root": "/d"}, False)]
)
def test_a_variant_is_all_but_the_seed(change: dict[str, object], same: bool) -> None:
    def variant(values: dict[str, object]) -> str:
        return variant_of(with_values(RunConfig(), values).model_dump(mode="json"))

    assert (variant(change) == variant({})) is same


def test_a_config_that_lacks_newer_keys_is_the_same_variant() -> None:
    whole = RunConfig(epochs=7).model_dump(mode="json")
    older = {key: value for key, value in whole.items() if key not in ("limits", "runtime")}
    assert variant_of(older) == variant_of(whole)
