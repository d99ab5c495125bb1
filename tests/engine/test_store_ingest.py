"""Folding journals into the database: curves, ends, resumed runs, imports and rebuilds."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.host.processes import identify
from engine.report.run_facts import told_cost
from engine.report.runs import done, runs_table
from engine.run.directory import RunDir
from engine.run.events import AnyEvent, Failed, Finished, Started, Stopped, Used
from engine.run.journal import read_pieces
from engine.store import IngestConflict, Store, StoreError
from engine.store import rebuild as rebuild_module
from engine.store.rebuild import rebuild
from tests.conftest import NewDatabase
from tests.engine.made_up_runs import (
    CLASSES,
    COLORS,
    MadeUpJournal,
    add_run,
    epoch_event,
    everything,
    finished_journal,
    ingest,
    iou,
    make_run_dir,
    open_store,
    progress,
    result_event,
    resumed_journal,
)


@pytest.fixture
def store(tmp_path: Path, new_database: NewDatabase) -> Iterator[Store]:
    with Store(new_database(tmp_path), timeout=5.0) as opened:
        yield opened


# ---------------------------------------------------------------------- one attempt


def test_costs_are_summed_over_the_attempts_that_told_them(store: Store) -> None:
    run_id = add_run(store)
    journal = MadeUpJournal()
    journal.begin()
    journal.epoch(1, 0.1, 0.2)
    nothing = ingest(store, run_id, journal.events)
    assert (nothing.device_hours, nothing.energy_kwh, nothing.disk_bytes) == (None, None, None)
    used = Used(devices=2, seconds=1800.0, gpu_joules=1.8e6, cpu_joules=None, disk_bytes=10)
    journal.add(used)
    journal.add(Stopped(cause="stopped", epoch=1))
    first = ingest(store, run_id, journal.events)
    assert (first.device_hours, first.energy_kwh, first.cpu_kwh, first.disk_bytes) == (1.0, 0.5, None, 10)
    journal.begin(1)  # killed, so that it told nothing
    journal.begin(1)
    journal.add(used.model_copy(update={"cpu_joules": 3.6e6, "disk_bytes": 30}))
    journal.finish(1)
    last = ingest(store, run_id, journal.events)
    assert (last.device_hours, last.gpu_kwh, last.cpu_kwh, last.energy_kwh) == (2.0, 1.0, 1.0, 2.0)
    assert (last.attempt, last.attempts_measured, last.disk_bytes) == (3, 2, 30)
    assert told_cost(last) == (
        "2 device hours, 2 kWh (GPU 1, CPU 1), 30 B on disk; 1 of 3 attempts not measured"
    )
    cheap = [row.id for row in store.runs(["energy<=2", "disk>=30", "device_hours>1"])]
    assert cheap == [run_id]
    assert store.runs(["energy<2"]) == []


def test_a_finished_run_has_best_and_last_values(store: Store) -> None:
    journal = finished_journal()
    run = ingest(store, add_run(store), journal.events)
    assert (run.status, run.cause, run.attempt, run.ended) == ("finished", "completed", 1, True)
    assert (run.started_at, run.ended_at) == (journal.events[0].t, journal.t)
    assert (run.best_epoch, run.best_dice, run.best_train_dice) == (2, 0.6, 0.4)
    assert (run.best_miou, run.last_miou) == (iou(0.6), iou(0.5))
    assert (run.last_dice, run.last_train_dice) == (0.5, 0.5)
    assert (run.last_loss, run.last_val_loss) == (0.5, 0.5)
    assert (run.epoch, run.peak_memory_bytes) == (3, 3000)
    assert (run.host, run.pid, run.device, run.device_name, run.precision) == (
        "box",
        4001,
        "cpu",
        "Some CPU",
        "fp32",
    )
    assert (run.parameters, run.flops_per_sample, run.train_images, run.val_images) == (
        31_000_000,
        10**11,
        80,
        20,
    )
    assert (run.classes, run.colors) == (CLASSES, COLORS)
    assert (run.phase, run.eta_seconds) == ("", None)


def test_the_share_of_a_budget_follows_a_run(store: Store) -> None:
    journal = MadeUpJournal()
    journal.begin()
    run_id = add_run(store, config=with_values(RunConfig(), {"budget.images": 100}))
    run = ingest(store, run_id, journal.events)
    assert (run.epochs, run.budget_used, done(run)) == (0, None, "0 (0 %)")
    journal.add(progress(1, "train").model_copy(update={"budget_used": 0.4}))
    assert ingest(store, run_id, journal.events[-1:]).budget_used == 0.4
    for split in ("train", "val"):
        journal.add(epoch_event(1, split, 0.5).model_copy(update={"budget_used": 0.8}))
    journal.add(progress(2, "val"))
    run = ingest(store, run_id, journal.events[-3:])
    assert (run.budget_used, done(run)) == (0.8, "1 (80 %)")
    assert store.changes().runs[0].budget_used == 0.8
    assert [row.budget_used for row in store.results.epochs(run_id)] == [0.8, 0.8]
    journal.add(Finished(epoch=1, seconds=10, cause="budget"))
    run = ingest(store, run_id, journal.events[-1:])
    assert (run.status, run.cause) == ("finished", "budget")


def test_curves_events_and_evaluations_come_back_as_they_were_written(store: Store) -> None:
    journal = finished_journal()
    run_id = add_run(store)
    ingest(store, run_id, journal.events)
    curve = store.results.epochs(run_id)
    assert [(row.epoch, row.split) for row in curve] == [(e, s) for e in (1, 2, 3) for s in ("train", "val")]
    assert [row.dice for row in store.results.epochs(run_id, "val")] == [0.3, 0.6, 0.5]
    assert curve[0].class_dice == dict.fromkeys(CLASSES, 0.2)
    assert curve[0].class_iou == dict.fromkeys(CLASSES, iou(0.2))
    assert (curve[0].lr, curve[0].seconds, curve[0].images_per_second) == (0.001, 10.0, 8.0)

    log = store.results.events(run_id)
    written = [e for e in journal.events if e.event != "progress"]
    assert [(row.seq, row.t, row.attempt, row.event) for row in log] == [
        (e.seq, e.t, e.attempt, e.event) for e in written
    ]
    assert log[0].payload["versions"] == {"torch": "2.10"}
    assert log[3].payload == {"epoch": 1, "split": "train"}  # the scores are in their own table

    (evaluation,) = store.results.evaluations(run_id)
    assert (evaluation.split, evaluation.at, evaluation.epoch, evaluation.images) == ("val", "input", 2, 20)
    assert evaluation.confusion == [[10, 1, 0, 0], [1, 10, 0, 0], [0, 0, 10, 1]]
    for verb in (store.results.epochs, store.results.events, store.results.evaluations, store.run):
        with pytest.raises(StoreError, match="nothere0: no such run"):
            verb("nothere0")


def test_a_running_run_shows_where_it_is(store: Store) -> None:
    journal = MadeUpJournal()
    journal.begin()
    journal.epoch(1, 0.2, 0.3)
    journal.add(progress(2, "train", step=7))
    run = ingest(store, add_run(store), journal.events)
    assert (run.status, run.phase, run.step, run.steps) == ("running", "train", 7, 10)
    assert (run.images_per_second, run.eta_seconds, run.progress_at) == (8.0, 60.0, journal.t)
    assert run.epoch == 1
    journal.add(progress(2, "val", step=1))
    run = ingest(store, run.id, journal.events[-1:])
    assert (run.phase, run.images_per_second, run.eta_seconds) == ("val", 8.0, 60.0)


def test_scores_that_are_missing_are_no_best(store: Store) -> None:
    journal = MadeUpJournal()
    journal.begin()
    journal.epoch(1, None, None)
    run = ingest(store, add_run(store), journal.events)
    assert (run.epoch, run.best_dice, run.best_epoch, run.last_dice) == (1, None, None, None)
    journal.add(epoch_event(2, "val", 0.0, {"road": 0.0, "person": None, "car": 0.0}))
    run = ingest(store, run.id, journal.events[-1:])
    assert (run.epoch, run.best_dice, run.best_epoch, run.best_train_dice) == (2, 0.0, 2, None)
    assert store.results.epochs(run.id)[-1].class_dice["person"] is None


def test_without_classes_the_best_epoch_is_that_of_the_lowest_loss(store: Store) -> None:
    config = with_values(RunConfig(), {"task": "pretrain"})
    journal = MadeUpJournal()
    journal.begin()
    for epoch, loss in enumerate((0.9, 0.7, 0.8), start=1):
        none: dict[str, object] = dict.fromkeys(("dice", "dice_image", "miou", "pixel_accuracy"))
        scores = {**none, "class_dice": {}, "class_iou": {}, "loss": loss}
        for split in ("train", "val"):
            journal.add(epoch_event(epoch, split, 0.5).model_copy(update=scores))  # type: ignore[arg-type]
    run = ingest(store, add_run(store, config=config), journal.events)
    assert (run.task, run.best_epoch, run.best_val_loss, run.best_dice) == ("pretrain", 2, 0.7, None)
    assert store.changes().runs[0].best_val_loss == 0.7
    assert [row.id for row in store.runs(["best_loss<0.75"])] == [run.id]
    assert store.leaderboard() == []
    assert "loss 0.7000 @   2" in runs_table([run], now=0.0, width=None).plain


def test_of_equal_bests_the_earliest_counts(store: Store) -> None:
    journal = MadeUpJournal()
    journal.begin()
    for epoch in (1, 2, 3):
        journal.epoch(epoch, epoch / 10, 0.5)
    run = ingest(store, add_run(store), journal.events)
    assert (run.best_epoch, run.best_train_dice) == (1, 0.1)


# ---------------------------------------------------------------------- nothing twice, nothing lost


def test_who_comes_second_writes_nothing(store: Store) -> None:
    run_id = add_run(store)
    events = finished_journal().events
    store.journals.ingest(run_id, events[:5], 500, 0)
    before = everything(store)
    with pytest.raises(IngestConflict, match="read up to byte 500, not 0"):
        store.journals.ingest(run_id, events[:5], 500, 0)
    assert everything(store) == before


def test_events_that_are_known_are_left_out(store: Store) -> None:
    run_id = add_run(store)
    events = finished_journal().events
    ingest(store, run_id, events)
    before = everything(store)
    offset = store.run(run_id).journal_offset
    store.journals.ingest(run_id, events, offset, offset)
    assert everything(store) == before


@pytest.mark.parametrize("seed", range(8))
def test_pieces_of_a_journal_give_the_same_rows_as_the_whole(
    tmp_path: Path, new_database: NewDatabase, seed: int
) -> None:
    events = resumed_journal().events
    rows = []
    for pieces in (1, 2 + seed * 4):
        folder = tmp_path / str(pieces)
        folder.mkdir()
        with Store(new_database(folder)) as store:
            run_id = add_run(store)
            cuts = sorted(random.Random(seed).choices(range(len(events)), k=pieces - 1))
            for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
                ingest(store, run_id, events[start:end])
            rows.append(everything(store))
    assert rows[0] == rows[1]


def test_a_transaction_that_fails_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = add_run(store)
    before = everything(store)

    def fail(connection: object, run_id: str, by_loss: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.store.ingest.summary", fail)  # after the rows, before the offset
    with pytest.raises(KeyboardInterrupt):
        ingest(store, run_id, finished_journal().events)
    assert everything(store) == before


# ---------------------------------------------------------------------- several attempts


def test_a_resumed_run_continues_its_curve(store: Store) -> None:
    run = ingest(store, add_run(store), resumed_journal().events)
    assert [(row.epoch, row.dice, row.attempt) for row in store.results.epochs(run.id, "val")] == [
        (1, 0.1, 1),
        (2, 0.2, 1),
        (3, 0.4, 2),
        (4, 0.35, 2),
        (5, 0.38, 2),
    ]
    assert (run.best_epoch, run.best_dice, run.last_dice, run.epoch) == (3, 0.4, 0.38, 5)
    assert (run.status, run.cause, run.attempt, run.message, run.traceback) == (
        "finished",
        "completed",
        2,
        "",
        "",
    )
    assert [(row.epoch, row.dice) for row in store.results.evaluations(run.id)] == [(1, 0.1), (3, 0.4)]


def test_an_abandoned_attempt_is_gone_as_soon_as_the_next_begins(store: Store) -> None:
    events = resumed_journal().events
    second = next(i for i, e in enumerate(events) if isinstance(e, Started) and e.attempt == 2)
    run_id = add_run(store)
    run = ingest(store, run_id, events[:second])
    assert (run.status, run.cause, run.message) == ("failed", "out_of_memory", "no memory left")
    assert (run.traceback, run.best_dice, run.epoch) == ("Traceback ...", 0.9, 4)
    run = ingest(store, run_id, events[second : second + 1])
    assert (run.status, run.cause, run.traceback, run.ended_at, run.pid) == ("running", "", "", None, 4002)
    assert (run.best_dice, run.best_epoch, run.last_dice, run.epoch) == (0.2, 2, 0.2, 2)
    assert run.started_at == events[0].t
    assert max(row.epoch for row in store.results.epochs(run_id)) == 2


def test_an_epoch_told_again_replaces_the_row_and_the_best(store: Store) -> None:
    journal = MadeUpJournal()
    journal.begin()
    journal.epoch(1, 0.3, 0.3)
    journal.epoch(2, 0.9, 0.9)
    run_id = add_run(store)
    ingest(store, run_id, journal.events)
    journal.add(epoch_event(2, "val", 0.4))
    run = ingest(store, run_id, journal.events[-1:])
    assert (run.best_dice, run.best_epoch, len(store.results.epochs(run_id))) == (0.4, 2, 4)


def test_a_checkpoint_scored_again_has_one_row_for_each_size(store: Store) -> None:
    journal = MadeUpJournal()
    journal.begin()
    for result in (result_event(1, 0.3), result_event(1, 0.5, "original"), result_event(1, 0.4)):
        journal.add(result)
    run_id = add_run(store)
    ingest(store, run_id, journal.events)
    assert [(row.at, row.dice) for row in store.results.evaluations(run_id)] == [
        ("original", 0.5),
        ("input", 0.4),
    ]


# ---------------------------------------------------------------------- status


def test_a_stopped_run_says_why(store: Store) -> None:
    journal = MadeUpJournal()
    journal.begin()
    journal.add(Stopped(cause="preempted", epoch=0))
    run = ingest(store, add_run(store), journal.events)
    assert (run.status, run.cause, run.ended_at) == ("stopped", "preempted", journal.t)


def test_a_failure_before_the_start_is_told_too(store: Store) -> None:
    journal = MadeUpJournal()
    journal.attempt = 1
    journal.add(Failed(cause="exception", message="no module named torch"))
    run = ingest(store, add_run(store), journal.events)
    assert (run.status, run.cause, run.attempt, run.started_at) == ("failed", "exception", 1, journal.t)


def test_a_stop_asked_for_while_the_worker_comes_up_stays_asked_for(store: Store) -> None:
    journal = MadeUpJournal()
    journal.begin()
    run_id = add_run(store)
    store.lifecycle.set_status(run_id, "stopping")
    assert ingest(store, run_id, journal.events).status == "stopping"
    journal.add(Stopped(cause="stopped", epoch=0))
    assert ingest(store, run_id, journal.events[-1:]).status == "stopped"


def test_the_word_of_a_worker_replaces_what_others_presumed(store: Store) -> None:
    journal = finished_journal()
    run_id = add_run(store)
    ingest(store, run_id, journal.events[:-1])
    store.lifecycle.set_status(run_id, "lost", "lost_host", "box does not answer")
    run = ingest(store, run_id, journal.events[-1:])
    assert (run.status, run.cause, run.message, run.ended_at) == ("finished", "completed", "", journal.t)


def test_old_news_of_a_dead_worker_does_not_revive_it(store: Store) -> None:
    journal = finished_journal()
    run_id = add_run(store)
    assert store.queue.take(run_id, identify(), ("queued",))
    store.lifecycle.set_status(run_id, "failed", "killed", "signal 9")
    run = ingest(store, run_id, journal.events[:-1])  # written long before the worker was found dead
    assert (run.status, run.cause, run.message) == ("failed", "killed", "signal 9")
    assert (run.best_dice, run.epoch, run.host) == (0.6, 3, "box")


def test_an_end_of_the_attempt_before_does_not_end_a_queued_run(store: Store) -> None:
    journal = finished_journal()
    run_id = add_run(store)
    ingest(store, run_id, journal.events[:-1])
    store.lifecycle.set_status(run_id, "failed", "killed")
    store.lifecycle.set_status(run_id, "queued")
    assert ingest(store, run_id, journal.events[-1:]).status == "queued"
    journal.begin(resumed_from_epoch=3)
    assert ingest(store, run_id, journal.events[-3:]).status == "running"


@pytest.mark.parametrize("end", [Finished(epoch=3, seconds=1.0), Stopped(cause="stopped", epoch=3)])
def test_a_run_that_ended_can_be_started_again(store: Store, end: AnyEvent) -> None:
    journal = MadeUpJournal()
    journal.begin()
    journal.add(end)
    run_id = add_run(store)
    assert ingest(store, run_id, journal.events).ended
    journal.begin()
    run = ingest(store, run_id, journal.events[-3:])
    assert (run.status, run.attempt, run.ended_at, run.cause) == ("running", 2, None, "")


# ---------------------------------------------------------------------- imports


def test_an_imported_folder_gives_what_ingest_gave(tmp_path: Path, store: Store) -> None:
    run_dir = make_run_dir(tmp_path / "runs", "aaaaaaaa", resumed_journal(), tags=("t",), note="n")
    assert store.journals.import_run(run_dir) == "aaaaaaaa"
    run = store.run("aaaaaaaa")
    assert (run.status, run.best_dice, run.tags, run.note) == ("finished", 0.4, ("t",), "n")
    assert run.journal_offset == run_dir.journal.stat().st_size

    once = everything(store)
    assert store.journals.import_run(run_dir) == "aaaaaaaa"
    assert everything(store) == once


def test_an_import_goes_on_where_the_last_one_ended(tmp_path: Path, store: Store) -> None:
    journal = finished_journal()
    run_dir = make_run_dir(tmp_path / "runs", "aaaaaaaa", journal)
    whole = run_dir.journal.read_bytes()
    run_dir.journal.write_bytes(whole[: len(whole) // 2])  # torn in the middle of a line
    store.journals.import_run(run_dir)
    half = store.run("aaaaaaaa")
    assert half.status == "running"
    assert 0 < half.journal_seq < len(journal.events) - 1
    run_dir.journal.write_bytes(whole)
    store.journals.import_run(run_dir)
    run = store.run("aaaaaaaa")
    assert (run.status, run.best_dice, run.journal_seq) == ("finished", 0.6, len(journal.events) - 1)
    assert len(store.results.epochs("aaaaaaaa")) == 6


def test_a_long_journal_is_imported_in_pieces(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "engine.store.journals.read_pieces", lambda path, offset: read_pieces(path, offset, limit=1500)
    )
    store.journals.import_run(make_run_dir(tmp_path / "runs", "aaaaaaaa", resumed_journal()))
    assert store.run("aaaaaaaa").best_dice == 0.4


def test_a_folder_without_a_journal_is_a_queued_run(tmp_path: Path, store: Store) -> None:
    store.journals.import_run(make_run_dir(tmp_path / "runs", "aaaaaaaa"))
    assert store.run("aaaaaaaa").status == "queued"


def test_a_folder_that_cannot_be_imported_says_why(tmp_path: Path, store: Store) -> None:
    run_dir = make_run_dir(tmp_path / "runs", "aaaaaaaa", finished_journal())
    run_dir.card_file.unlink()
    with pytest.raises(StoreError, match=r"run\.json: cannot be read: No such file"):
        store.journals.import_run(run_dir)

    run_dir = make_run_dir(tmp_path / "runs", "bbbbbbbb")
    run_dir.config_file.write_text('{"epochs": "many"}')
    with pytest.raises(StoreError, match=r"config\.json: is not a valid config for this version"):
        store.journals.import_run(run_dir)

    run_dir = make_run_dir(tmp_path / "runs", "cccccccc")
    renamed = RunDir(run_dir.path.rename(tmp_path / "runs" / "copy of c"))
    with pytest.raises(StoreError, match=r"copy of c: belongs to run cccccccc"):
        store.journals.import_run(renamed)
    assert store.runs() == []

    run_dir = make_run_dir(tmp_path / "runs", "dddddddd", finished_journal())
    run_dir.journal.write_bytes(run_dir.journal.read_bytes() + b"{}\n")
    with pytest.raises(StoreError, match=r"journal\.jsonl: the line at byte \d+ is no event"):
        store.journals.import_run(run_dir)


# ---------------------------------------------------------------------- rebuilding


def workspace_with_runs(folder: Path) -> Path:
    """A database that lacks one of three run folders, one of which cannot be read; returns the database."""
    make_run_dir(folder / "runs", "aaaaaaaa", finished_journal())
    make_run_dir(folder / "runs", "bbbbbbbb", resumed_journal())
    make_run_dir(folder / "runs", "cccccccc").card_file.write_text("half a ca")
    with open_store(folder) as store:
        add_run(store, "zzzzzzzz", name="only in the old one")
    return folder / "experiments.db"


def test_rebuild_makes_the_database_from_the_run_folders(tmp_path: Path) -> None:
    path = workspace_with_runs(tmp_path)
    with open_store(tmp_path) as store:
        store.notices.wish("run", "aaaaaaaa", "poweroff")
    steps: list[tuple[int, int]] = []
    report = rebuild(path, tmp_path / "runs", lambda done, total: steps.append((done, total)))
    assert report.imported == ("aaaaaaaa", "bbbbbbbb")
    ((unreadable, reason),) = report.unreadable
    assert unreadable == tmp_path / "runs" / "cccccccc"
    assert "run.json: is not JSON" in reason
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    with open_store(tmp_path) as store:
        assert {run.id: run.best_dice for run in store.runs()} == {"aaaaaaaa": 0.6, "bbbbbbbb": 0.4}
        assert [(wish.subject, wish.target, wish.state) for wish in store.notices.recent(9)] == [
            ("aaaaaaaa", "poweroff", "waiting")
        ]
    assert report.keeps_notices
    assert report.backup is not None
    with Store(f"sqlite:///{report.backup}") as old:
        assert [run.id for run in old.runs()] == ["zzzzzzzz"]
    assert not list(tmp_path.glob(".rebuild-*"))


def test_rebuild_replaces_a_damaged_database_and_keeps_it(tmp_path: Path) -> None:
    path = workspace_with_runs(tmp_path)
    path.write_bytes(b"damaged " * 1000)
    log = path.with_name(path.name + "-wal")
    log.write_bytes(b"its log")  # must not be taken for the new database's
    report = rebuild(path, tmp_path / "runs")
    with open_store(tmp_path) as store:
        assert len(store.runs()) == 2
    assert report.backup is not None
    assert not report.keeps_notices
    assert report.backup.read_bytes().startswith(b"damaged")
    assert report.backup.with_name(report.backup.name + "-wal").read_bytes() == b"its log"


def test_a_database_behind_a_link_is_rebuilt_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "disk").mkdir()
    there, link = tmp_path / "disk" / "all.db", tmp_path / "experiments.db"
    link.symlink_to(there)
    with Store(f"sqlite:///{link}") as store:
        assert store.label == str(there)
    done = rebuild(link, tmp_path / "runs")
    assert link.resolve() == there
    assert not there.is_symlink()
    assert done.backup is not None
    assert done.backup.parent == there.parent
    assert not done.backup.is_symlink()
    assert not there.samefile(done.backup)


def test_rebuild_makes_a_database_where_there_was_none(tmp_path: Path) -> None:
    make_run_dir(tmp_path / "runs", "aaaaaaaa", finished_journal())
    report = rebuild(tmp_path / "experiments.db", tmp_path / "runs")
    assert (report.imported, report.backup) == (("aaaaaaaa",), None)
    with open_store(tmp_path) as store:
        assert store.run("aaaaaaaa").status == "finished"


def test_rebuild_waits_for_nobody_who_has_the_database_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild_module, "LOCK_SECONDS", 0.1)
    path = workspace_with_runs(tmp_path)
    reader = sqlite3.connect(path)
    reader.execute("SELECT * FROM runs").fetchall()
    with pytest.raises(StoreError, match="another program has locked the database"):
        rebuild(path, tmp_path / "runs")
    assert reader.execute("SELECT id FROM runs").fetchall() == [("zzzzzzzz",)]
    reader.close()
    with open_store(tmp_path) as store:
        assert store.run("zzzzzzzz").name == "only in the old one"
    assert len(list(tmp_path.glob("experiments.db*"))) == 1


def test_a_rebuild_that_fails_leaves_the_old_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workspace_with_runs(tmp_path)

    def fail(old: object, new: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.store.rebuild.os.replace", fail)
    with pytest.raises(StoreError, match=r"No space left on device.*the old one is unchanged"):
        rebuild(path, tmp_path / "runs")
    with pytest.raises(StoreError, match="missing: cannot be read"):
        rebuild(path, tmp_path / "missing")
    monkeypatch.undo()
    with open_store(tmp_path) as store:
        assert [run.id for run in store.runs()] == ["zzzzzzzz"]
