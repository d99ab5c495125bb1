"""The database of runs: opening it, intentions and lists."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from engine.config.keys import with_values
from engine.config.old_keys import OldKey
from engine.config.run_config import RunConfig
from engine.store import Store, StoreError, migrate
from engine.store.filters import notes_on
from engine.store.schema import metadata
from engine.store.views import VIEWS
from engine.store.why_none import why_none
from tests.conftest import NewDatabase
from tests.engine.made_up_runs import MadeUpJournal, add_run, everything, finished_journal, ingest


@pytest.fixture
def store(tmp_path: Path, new_database: NewDatabase) -> Iterator[Store]:
    with Store(new_database(tmp_path), timeout=5.0) as opened:
        yield opened


# ---------------------------------------------------------------------- opening


def test_opening_again_keeps_the_runs(tmp_path: Path, new_database: NewDatabase) -> None:
    with Store(new_database(tmp_path)) as store:
        add_run(store)
    with Store(new_database(tmp_path)) as store:
        assert [run.id for run in store.runs()] == ["aaaaaaaa"]


def test_the_migrations_make_the_tables_that_the_queries_expect(store: Store) -> None:
    def is_alike(thing: object, name: str | None, kind: str, *rest: object) -> bool:
        return name not in ("runs_by_dice", "runs_by_experiment")  # whose order differs between the two

    with store.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_alike})
        assert compare_metadata(context, metadata) == []
        assert set(sa.inspect(connection).get_view_names()) == set(VIEWS[connection.dialect.name])


def test_the_known_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


# ---------------------------------------------------------------------- intentions


def test_a_new_run_is_queued_with_its_config(store: Store) -> None:
    config = RunConfig(recipe="quick", seed=7, epochs=12)
    add_run(store, "abcd1234", config, name="first", experiment="paper", tags=("night", "lab"), note="hi")
    run = store.run("abcd1234")
    assert (run.name, run.experiment, run.tags, run.note) == ("first", "paper", ("lab", "night"), "hi")
    assert (run.status, run.recipe, run.seed, run.epochs, run.created_at) == ("queued", "quick", 7, 12, 900.0)
    assert RunConfig.model_validate(run.config) == config
    assert not run.ended
    assert run.best_dice is None


def test_an_id_is_taken_once(store: Store) -> None:
    add_run(store)
    with pytest.raises(StoreError, match="aaaaaaaa is already in the database"):
        add_run(store)


def test_a_run_that_is_refused_leaves_no_trace(store: Store) -> None:
    with pytest.raises(StoreError, match="one word without spaces or commas"):
        add_run(store, experiment="new", tags=("two words",))
    assert store.runs() == []
    assert store.experiments() == []


def test_resolve_takes_ids_beginnings_and_names(store: Store) -> None:
    add_run(store, "abc11111", name="unet")
    add_run(store, "abc22222", name="wide")
    add_run(store, "xyz00000", name="wide")
    assert store.resolve("abc11111") == "abc11111"
    assert store.resolve("abc2") == "abc22222"
    assert store.resolve("unet") == "abc11111"
    with pytest.raises(
        StoreError, match=r"abc: could be abc11111 \(unet\), abc22222 \(wide\); give a longer"
    ):
        store.resolve("abc")
    with pytest.raises(StoreError, match=r"wide: could be abc22222 \(wide\), xyz00000 \(wide\); give an id$"):
        store.resolve("wide")
    for text in ("nothing", "%", "a_c"):
        with pytest.raises(StoreError, match="no run has that id or name"):
            store.resolve(text)
    with pytest.raises(StoreError, match="give a run id"):
        store.resolve(" ")


def test_resolve_lists_at_most_five_candidates(store: Store) -> None:
    for index in range(7):
        add_run(store, f"q{index}aaaaaa", created=float(index))
    with pytest.raises(StoreError) as caught:
        store.resolve("q")
    assert str(caught.value).count("(run q") == 5
    assert "q6aaaaaa" in str(caught.value)  # the newest are the likeliest
    assert ", ...;" in str(caught.value)


def test_of_two_who_claim_a_run_one_gets_it(store: Store) -> None:
    run_id = add_run(store)
    assert store.lifecycle.set_status(run_id, "starting", expect=["queued"])
    assert not store.lifecycle.set_status(run_id, "starting", expect=["queued"])
    with pytest.raises(StoreError, match="bbbbbbbb: no such run"):
        store.lifecycle.set_status("bbbbbbbb", "starting")
    with pytest.raises(StoreError, match="paused: is not a status; it must be one of queued, starting"):
        store.lifecycle.set_status(run_id, "paused")


def test_an_end_set_from_outside_has_time_cause_and_message_until_queued_again(store: Store) -> None:
    run_id = add_run(store)
    before = time.time()
    store.lifecycle.set_status(run_id, "lost", "lost_host", "box does not answer")
    run = store.run(run_id)
    assert (run.status, run.cause, run.message) == ("lost", "lost_host", "box does not answer")
    assert run.ended_at is not None
    assert before <= run.ended_at <= time.time()
    store.lifecycle.set_status(run_id, "queued")
    again = store.run(run_id)
    assert (again.status, again.cause, again.message, again.ended_at) == ("queued", "", "", None)
    assert again.queued_at is not None
    assert again.queued_at >= run.ended_at


def test_the_card_changes_in_part(store: Store) -> None:
    run_id = add_run(store, tags=("old",), note="first")
    store.lifecycle.update_card(run_id, name="better")
    store.lifecycle.update_card(run_id, tags=["x", "y", "x"])
    run = store.run(run_id)
    assert (run.name, run.tags, run.note) == ("better", ("x", "y"), "first")
    store.lifecycle.update_card(run_id, tags=(), note="")
    assert (store.run(run_id).tags, store.run(run_id).note) == ((), "")
    with pytest.raises(StoreError, match="no such run"):
        store.lifecycle.update_card("bbbbbbbb", note="x")


def test_deleting_a_run_takes_all_its_rows_and_an_empty_experiment(store: Store) -> None:
    add_run(store, "aaaaaaaa", experiment="one", tags=("t",))
    add_run(store, "bbbbbbbb", experiment="two")
    ingest(store, "aaaaaaaa", finished_journal().events)
    store.lifecycle.delete("aaaaaaaa")
    left = everything(store)
    assert {table: len(rows) for table, rows in left.items() if rows} == {"experiments": 1, "runs": 1}
    assert [e.name for e in store.experiments()] == ["two"]
    with pytest.raises(StoreError, match="no such run"):
        store.lifecycle.delete("aaaaaaaa")


def test_experiments_sum_up_their_runs(store: Store) -> None:
    add_run(store, "aaaaaaaa", experiment="old", created=1.0)
    add_run(store, "bbbbbbbb", experiment="new", created=2.0)
    add_run(store, "cccccccc", experiment="new", created=3.0)
    ingest(store, "bbbbbbbb", finished_journal().events)
    new, old = store.experiments()
    assert (new.name, new.runs, new.active, new.best_dice, new.created_at) == ("new", 2, 1, 0.6, 2.0)
    assert (old.name, old.runs, old.active, old.best_dice) == ("old", 1, 1, None)


# ---------------------------------------------------------------------- listing


@pytest.fixture
def listed(store: Store) -> Store:
    """Three runs: a finished one with scores, a failed one, a queued one."""
    night = with_values(RunConfig(), {"optimizer.lr": 0.01, "data.size": "64x128"})
    narrow = with_values(RunConfig(), {"seed": 3, "model.width": 16})
    add_run(
        store, "aaaaaaaa", night, name="CamVid unet", experiment="paper", tags=("night", "lab"), created=1e9
    )
    add_run(store, "bbbbbbbb", name="wide", experiment="paper", tags=("day",), created=1.1e9)
    add_run(store, "cccccccc", narrow, name="100%_narrow", created=1.2e9)
    ingest(store, "aaaaaaaa", finished_journal().events)
    store.lifecycle.set_status("bbbbbbbb", "failed", "killed")
    return store


@pytest.mark.parametrize(
    ("term", "ids"),
    [
        ("dice>0.5", "a"),
        ("dice>=0.6", "a"),
        ("best_dice < 0.6", ""),
        ("last=0.5", "a"),
        ("tag:night", "a"),
        ("tag:nigh", ""),
        ("tags~day", "b"),
        ("tags=night", "a"),
        ("tags!=night", "bc"),
        ("status=failed", "b"),
        ("status!=failed", "ac"),
        ("cause!=killed", "ac"),
        ("dice!=0.6", "bc"),
        ("experiment=paper", "ab"),
        ("name~camvid", "a"),
        ("UNET", "a"),
        ("100%", "c"),
        ("%", "c"),
        ("model.width=16", "c"),
        ("model.width>16", "ab"),
        ("model.name=unet", "abc"),
        ("optimizer.lr>=0.01", "a"),
        ("optimizer.name~SGD", "abc"),
        ("data.size=64x128", "a"),
        ("data.skip_bad=false", "abc"),
        ("runtime.deterministic=true", ""),
        ("batch_size=64", "abc"),
        ("seed=3", "c"),
        ("created>2004-11-01", "bc"),
        ("created<2001-09-09T01:46:41", "a"),
        ("run=bbbbbbbb", "b"),
        ("dice>0.5 or status=failed", "ab"),
        ("not dice>0.5", "bc"),
        ("(dice>0.5 OR status=failed) and not name~camvid", "b"),
        ("not (dice>0.5 or status=failed)", "c"),
        ("name~^cam(vid|era)", "a"),
        ("not tag:none dice > 0.5", "a"),
        ("duration>1h", ""),
    ],
)
def test_filters_pick_runs(listed: Store, term: str, ids: str) -> None:
    assert sorted(run.id[0] for run in listed.runs([term])) == list(ids)


@pytest.mark.parametrize(
    ("term", "ids"),
    [
        ("evaluation.every>=2", "a"),
        ("evaluation.batch_size=0", "abc"),
        ("init.from~net", "b"),
        ("loss.name=cross_entropy_dice", "c"),
        ("loss.name!=cross_entropy_dice", "ab"),
    ],
)
def test_filters_know_keys_of_earlier_versions(store: Store, term: str, ids: str) -> None:
    for run_id, key, value in (
        ("aaaaaaaa", "validation.every", 2),
        ("bbbbbbbb", "init.weights", "/net.pt"),
        ("cccccccc", "loss.dice", 0.5),
    ):
        half = {"loss.cross_entropy": 0.5} if key == "loss.dice" else {}
        add_run(store, run_id, with_values(RunConfig(), {key: value} | half))
    with pytest.warns(OldKey, match=" is now "):
        assert sorted(run.id[0] for run in store.runs([term])) == list(ids)
    assert len(notes_on([term, "dice>0.5", "word"])) == 1


def test_runs_are_ordered_by_a_key_of_an_earlier_version(listed: Store) -> None:
    with pytest.warns(OldKey, match="evaluation.every is now validation.every"):
        assert len(listed.runs(sort="-evaluation.every")) == 3


def test_a_shell_may_split_a_filter(listed: Store) -> None:
    def found(*filters: str) -> str:
        return "".join(sorted(run.id[0] for run in listed.runs(filters)))

    assert found("dice>0.5", "or", "status=failed") == "ab"
    assert found("(dice>0.5", "or", "status=failed)", "not", "name~camvid") == "b"
    assert found("(", "dice>0.5", "or", "seed=3", ")", "status!=failed") == "ac"
    assert found("name~no such") == "", "what a shell has freed of quotes stays one term"


def test_an_empty_list_is_explained_with_what_was_perhaps_meant(listed: Store) -> None:
    assert why_none(listed, ["experiment=papre"]) == (
        "No run matches experiment=papre; did you mean experiment=paper?"
    )
    why = why_none(listed, ["dice>0.5 not experiment=paper"])
    assert why == "The only run that matches dice>0.5 matches experiment=paper, too."


def test_filters_must_all_hold_and_go_with_experiment_and_status(listed: Store) -> None:
    assert [run.id for run in listed.runs(["experiment=paper", "dice>0"])] == ["aaaaaaaa"]
    assert [run.id for run in listed.runs(experiment="paper", status="failed")] == ["bbbbbbbb"]
    with pytest.raises(StoreError, match="done: is not a status"):
        listed.runs(status="done")


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("bset_dice>0.5", "bset_dice: is neither a field of a run nor a config key; did you mean best_dice?"),
        ("modle.width=3", "did you mean model.width?"),
        ("lr>0.1", "did you mean optimizer.lr?"),
        ("dice>high", "dice: 'high' is not a number"),
        ("created>yesterday", "created: 'yesterday' is not a time; write a date such as 2026-03-01"),
        ("data.size=big", "data.size: 'big' is not a size"),
        ("data.skip_bad=perhaps", "data.skip_bad: 'perhaps' must be true or false"),
        ("  ", "an empty filter"),
        ("status=fail", "status: 'fail' is none of queued, starting, running, "),
        ("status!=Finished", "did you mean finished?"),
        ("cause=oom", "cause: 'oom' is none of completed, "),
        ("task=eval", "did you mean evaluate?"),
        ("precision=fp8", "precision: 'fp8' is none of fp32, bf16, fp16"),
        ("model.name=un", "did you mean unet?"),
        ("optimizer.name=adamv", "did you mean adam?"),
        ("dice>60", "dice>60: matches nothing, as dice is from 0 to 1; did you mean dice>0.6?"),
        ("name~(", "name~(: is not a regular expression"),
        ("(dice>0.5 or seed=1", "a parenthesis is not closed"),
        ("dice>0.5 or", "the filter lacks a term behind 'or'"),
        ("duration>soon", "duration: 'soon' is not a length of time; write 90, 45m or 1h30m"),
        ("not tag>night", "a tag has no order"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(store: Store, term: str, message: str) -> None:
    with pytest.raises(StoreError) as caught:
        store.runs([term])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("term", "ids"), [("model.hidden=8", "d"), ("model.name=modern_unet", "d"), ("model.width>0", "abc")]
)
def test_a_key_of_one_model_finds_runs_of_that_model(listed: Store, term: str, ids: str) -> None:
    modern = with_values(RunConfig(), {"model.name": "modern_unet", "model.hidden": 8})
    add_run(listed, "dddddddd", modern)
    assert "".join(sorted(run.id[0] for run in listed.runs([term]))) == ids


@pytest.mark.parametrize(
    ("sort", "ids"),
    [
        ("-created_at", "cba"),
        ("created", "abc"),
        ("dice", "acb"),  # empty values last, the newest of them first
        ("-dice", "acb"),
        ("model.width", "cba"),
        ("-optimizer.lr", "acb"),
        ("name", "cab"),
        ("experiment", "bac"),
    ],
)
def test_runs_are_sorted_with_empty_values_last(listed: Store, sort: str, ids: str) -> None:
    assert "".join(run.id[0] for run in listed.runs(sort=sort)) == ids


def test_an_unknown_sort_names_the_nearest(store: Store) -> None:
    with pytest.raises(StoreError, match=r"dcie: .*did you mean dice\?"):
        store.runs(sort="-dcie")


def test_the_leaderboard_has_scored_runs_best_first(listed: Store) -> None:
    better = MadeUpJournal()
    better.begin()
    better.epoch(1, 0.9, 0.7)
    ingest(listed, "cccccccc", better.events)
    assert [run.id for run in listed.leaderboard()] == ["cccccccc", "aaaaaaaa"]
    assert [run.id for run in listed.leaderboard(limit=1)] == ["cccccccc"]
    assert [run.id for run in listed.leaderboard(experiment="paper")] == ["aaaaaaaa"]
    assert [run.id for run in listed.leaderboard(filters=["seed=3"])] == ["cccccccc"]
