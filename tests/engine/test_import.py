"""`db import`, `db check` and `db rebuild` of run folders that nobody made well: each is judged by itself."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from engine.agent.check import check
from engine.agent.ingest import catch_up
from engine.cli.database import import_runs
from engine.exits import BAD_USE
from engine.run.directory import RunDir
from engine.run.events import Failed
from engine.run.journal import JournalError
from engine.store import Store
from engine.store.rebuild import rebuild
from engine.workspace import Workspace
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import (
    MadeUpJournal,
    add_run,
    detection_config,
    detection_journal,
    evaluation_config,
    evaluation_journal,
    everything,
    finished_journal,
    generalise_config,
    generalise_journal,
    latency_config,
    latency_journal,
    make_run_dir,
    open_store,
    robustness_config,
    robustness_journal,
    search_config,
    search_journal,
)

DEEP = b"[" * 100_000
LONG = "1" * 10_000


def in_card(key: str, value: str) -> Callable[[RunDir], None]:
    """Damage that writes a JSON text as the value of a key of the card."""

    def damage(run: RunDir) -> None:
        card = json.loads(run.card_file.read_bytes()) | {key: "HERE"}
        run.card_file.write_text(json.dumps(card).replace('"HERE"', value))

    return damage


def in_config(key: str, value: str) -> Callable[[RunDir], None]:
    def damage(run: RunDir) -> None:
        config = json.loads(run.config_file.read_bytes()) | {key: "HERE"}
        run.config_file.write_text(json.dumps(config).replace('"HERE"', value))

    return damage


def in_journal(event: str, key: str, value: str) -> Callable[[RunDir], None]:
    """Damage that writes a JSON text as the value of a key of the first such event."""

    def damage(run: RunDir) -> None:
        lines = run.journal.read_text().splitlines()
        place = next(i for i, line in enumerate(lines) if f'"event":"{event}"' in line)
        told = json.loads(lines[place]) | {key: "HERE"}
        lines[place] = json.dumps(told).replace('"HERE"', value)
        run.journal.write_text("".join(f"{line}\n" for line in lines))

    return damage


def as_line(line: bytes) -> Callable[[RunDir], object]:
    """Damage that adds a line to the journal."""
    return lambda run: run.journal.write_bytes(run.journal.read_bytes() + line + b"\n")


UNFIT: dict[str, tuple[Callable[[RunDir], object], str]] = {
    "a time of the year 285200616": (in_card("created", "9e15"), "created: "),
    "a time that is not a number": (in_card("created", "NaN"), "NaN is not a number"),
    "a time beyond floats": (in_card("created", "1e999"), "created: "),
    "a priority of 30 digits": (in_card("priority", "9" * 30), "priority: "),
    "a priority of 10,000 digits": (in_card("priority", LONG), "is not JSON"),
    "a priority that is true": (in_card("priority", "true"), "priority: "),
    "a name that is a number": (in_card("name", "5"), "name: "),
    "a name that no index holds": (in_card("name", json.dumps("n" * 5000)), "name: "),
    "half a surrogate pair": (in_card("note", r'"\ud800"'), "is not a run's card"),
    "tags that are one text": (in_card("tags", '"night"'), "tags: "),
    "a tag with a space": (in_card("tags", '["a b"]'), "is not a tag"),
    "a predecessor that is a path": (in_card("after", '"../../xx"'), "after: "),
    "a deep card": (lambda run: run.card_file.write_bytes(DEEP), "nested too deeply"),
    "a card in Latin-1": (lambda run: run.card_file.write_bytes(b'{"name": "\xe9"}'), "is not UTF-8"),
    "a key that is there twice": (
        lambda run: run.card_file.write_bytes(
            run.card_file.read_bytes().replace(b'"note": ""', b'"note": "a", "note": "b"')
        ),
        "'note' is there twice",
    ),
    "a deep config": (lambda run: run.config_file.write_bytes(b'{"data":' + DEEP), "nested too deeply"),
    "a config that is not so deep": (
        in_config("recipe", "[" * 300 + "]" * 300),
        "recursion limit exceeded",
    ),
    "epochs of 30 digits": (in_config("epochs", "9" * 30), "epochs: 9999"),
    "epochs that are true": (in_config("epochs", "true"), "epochs: True is not allowed"),
    "a seed beyond 64 bits": (in_config("seed", str(2**70)), "seed: "),
    "a learning rate that is not a number": (in_config("optimizer", '{"lr": NaN}'), "NaN is not a number"),
    "an unknown key": (in_config("wizardry", "1"), "wizardry: no such key"),
    "an epoch of 30 digits": (in_journal("epoch", "epoch", "9" * 30), "epoch: "),
    "an epoch beyond any": (in_journal("epoch", "epoch", "1000001"), "epoch: "),
    "an epoch that is true": (in_journal("epoch", "epoch", "true"), "epoch: "),
    "an epoch below 0": (in_journal("epoch", "epoch", "-1"), "epoch: "),
    "a Dice above 1": (in_journal("epoch", "dice", "1.5"), "dice: "),
    "a Dice that is not a number": (in_journal("epoch", "dice", "NaN"), "dice: "),
    "a Dice that is a text": (in_journal("epoch", "dice", '"0.5"'), "dice: "),
    "an infinite loss": (in_journal("epoch", "loss", "1e999"), "loss: "),
    "the loss of a class": (in_journal("epoch", "class_dice", '{"road": 2}'), "class_dice.road: "),
    "memory beyond 64 bits": (in_journal("epoch", "peak_memory_bytes", str(2**63)), "peak_memory_bytes: "),
    "memory of 10,000 digits": (in_journal("epoch", "peak_memory_bytes", LONG), "number out of range"),
    "a process beyond 32 bits": (in_journal("started", "pid", str(2**40)), "pid: "),
    "a moment before all": (in_journal("started", "t", "-1"), "t: "),
    "a moment of the year 285200616": (in_journal("epoch", "t", "9e15"), "t: "),
    "an attempt beyond any": (in_journal("epoch", "attempt", str(2**31)), "attempt: "),
    "a number of an event beyond 32 bits": (in_journal("epoch", "seq", str(2**31)), "seq: "),
    "a color that is none": (in_journal("data", "colors", '["red", "#dc143c", "#00008e"]'), "colors.0: "),
    "a color too few": (in_journal("data", "colors", '["#dc143c"]'), "3 classes have 1 colours"),
    "256 classes": (
        in_journal("data", "classes", json.dumps([f"c{i}" for i in range(256)])),
        "classes: ",
    ),
    "a confusion of another shape": (in_journal("result", "confusion", "[[1, 2], [3]]"), "confusion: "),
    "an event without a number": (as_line(b'{"event":"warning","message":"m","attempt":1}'), "its seq"),
    "an event that nobody knows": (as_line(b'{"event":"magic"}'), "is no event"),
    "a checkpoint elsewhere": (
        as_line(
            b'{"seq":99,"t":1.0,"attempt":1,"event":"checkpoint","kind":"last","epoch":1,'
            b'"path":"../../../etc/passwd","dice":null}'
        ),
        "path: ",
    ),
    "a gallery elsewhere": (
        as_line(b'{"seq":99,"t":1.0,"attempt":1,"event":"gallery","epoch":1,"path":"/etc","samples":["a"]}'),
        "path: ",
    ),
    "a deep line": (as_line(b'{"event":"warning","message":' + DEEP), "recursion limit exceeded"),
    "a deep line beside the event": (
        as_line(
            b'{"seq":99,"t":1.0,"attempt":1,"event":"warning","message":"","x":'
            + b"[" * 500
            + b"]" * 500
            + b"}"
        ),
        "recursion limit exceeded",
    ),
    "a line in Latin-1": (as_line(b'{"event":"warning","message":"\xe9"}'), "invalid unicode"),
    "half a surrogate pair in a line": (as_line(rb'{"event":"warning","message":"\ud800"}'), "is no event"),
    "a line of nothing": (as_line(b""), "is no event"),
    "a line of zeros": (as_line(b"\0" * 4096), "is no event"),
    "a journal that is a FIFO": (
        lambda run: (run.journal.unlink(), os.mkfifo(run.journal)),
        "is not a regular file",
    ),
    "a card that is a folder": (
        lambda run: (run.card_file.unlink(), run.card_file.mkdir()),
        "is not a regular file",
    ),
}


def test_unfit_runs_are_refused_whole_and_the_others_go_on(
    seg: Command, either_workspace: Workspace, tmp_path: Path
) -> None:
    good = make_run_dir(tmp_path / "usb", "aaaa1111", finished_journal())
    bad = {}
    for number, (name, (damage, says)) in enumerate(UNFIT.items()):
        run = make_run_dir(tmp_path / "usb", f"bbbb{number:04}", finished_journal())
        damage(run)
        bad[run.id] = name, says
    done = seg(f"db import {' '.join(str(tmp_path / 'usb' / run_id) for run_id in bad)} {good.path}")
    assert done.status == 1
    lines = [line for line in done.err.splitlines() if line.startswith("left out: ")]
    assert len(lines) == len(bad)
    for line, (run_id, (name, says)) in zip(lines, bad.items(), strict=True):
        assert f"/usb/{run_id}" in line
        assert says in line, name
        assert len(line) < 650, name
    assert [run["id"] for run in seg("runs --json").json] == ["aaaa1111"]
    assert os.listdir(either_workspace.runs) == ["aaaa1111"]

    # The same folders put into the workspace by hand: named by the check, set aside by a rebuild.
    for run_id in bad:
        (tmp_path / "usb" / run_id).rename(either_workspace.runs / run_id)
    for command in ("db check", "db check --fix"):
        found = seg(f"{command} --json")
        assert found.status == 1
        assert {one["run"] for one in found.json["differences"]} == bad.keys()
    done = seg("db rebuild")
    assert done.status == 1
    assert sum(line.startswith("left out: bbbb") for line in done.err.splitlines()) == len(bad)
    assert [run["id"] for run in seg("runs --json").json] == ["aaaa1111"]
    assert seg("show aaaa").status == 0


def test_when_none_is_fit_nothing_is_made(seg: Command, workspace: Workspace, tmp_path: Path) -> None:
    bad = make_run_dir(tmp_path / "usb", "bbbb2222")
    bad.card_file.write_text("{}")
    archive = tmp_path / "usb" / "cccc3333.zip"
    archive.write_bytes(b"PK")
    logs = tmp_path / "usb" / "logs"
    logs.mkdir()
    done = seg(f"db import {bad.path} {archive} {tmp_path / 'nowhere'} {logs}")
    assert (done.status, done.out) == (BAD_USE, "")
    assert "run.json: is not a run's card: id is missing" in done.err
    assert "cccc3333.zip: is not a folder; unpack an archive first" in done.err
    assert "nowhere: no such folder" in done.err
    assert "logs: is no run folder: it has no run.json; --from WHAT" in done.err
    assert os.listdir(workspace.root) == []


# ---------------------------------------------------------------------- links and special files


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as made, contextlib.chdir(path.parent):
        made.bind(path.name)


STRANGERS: dict[str, Callable[[RunDir, Path], object]] = {
    "a link to a file outside": lambda run, out: (run.outputs / "x").symlink_to(out / "secret"),
    "a relative link outside": lambda run, out: (run.outputs / "x").symlink_to("../../../secret"),
    "a link to a folder outside": lambda run, out: (run.path / "x").symlink_to(out),
    "a link to its parent": lambda run, out: (run.outputs / "x").symlink_to(".."),
    "a link that leads nowhere": lambda run, out: (run.outputs / "x").symlink_to("nothing"),
    "a link to itself": lambda run, out: (run.outputs / "x").symlink_to("x"),
    "a journal that is a link": lambda run, out: (
        run.journal.rename(out / "journal"),
        run.journal.symlink_to(out / "journal"),
    ),
    "a card that is a link": lambda run, out: (
        run.card_file.rename(out / "card"),
        run.card_file.symlink_to(out / "card"),
    ),
    "outputs that are a link": lambda run, out: (run.outputs.rmdir(), run.outputs.symlink_to(out)),
    "a FIFO": lambda run, out: fifo(run.outputs / "x"),
    "a socket": lambda run, out: unix_socket(run.outputs / "x"),
    "folders nested without end": lambda run, out: (run.outputs / "/".join("x" * 900)).mkdir(parents=True),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_nothing_outside_a_run_comes_with_it(
    seg: Command, workspace: Workspace, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret").write_text("not yours")
    run = make_run_dir(tmp_path / "usb", "aaaa1111", finished_journal())
    STRANGERS[name](run, tmp_path)
    done = seg(f"db import {run.path}")
    assert (done.status, done.out) == (BAD_USE, "")
    assert re.search(r"is a link|is not a regular file|nested more than", done.err)
    assert not workspace.runs.exists()
    assert not workspace.database.exists()


def test_paths_of_a_config_stay_in_the_workspace(seg: Command, workspace: Workspace, tmp_path: Path) -> None:
    config = evaluation_config("aaaa1111").model_dump()
    config["evaluate"]["checkpoint"] = "../../../home/best.pt"
    run = make_run_dir(
        tmp_path / "usb", "bbbb2222", config=type(evaluation_config("x")).model_validate(config)
    )
    done = seg(f"db import {run.path}")
    assert done.status == BAD_USE
    assert "evaluate.checkpoint: ../../../home/best.pt points outside the folder of runs" in done.err


def test_a_folder_that_is_named_by_a_link_is_imported(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    run = make_run_dir(tmp_path / "disk", "aaaa1111", finished_journal())
    (tmp_path / "aaaa1111").symlink_to(run.path)
    assert seg(f"db import {tmp_path / 'aaaa1111'}").status == 0
    assert not (workspace.runs / "aaaa1111").is_symlink()


# ---------------------------------------------------------------------- runs on another disk


def moved(workspace: Workspace, run: RunDir, disk: Path) -> Path:
    """Put the folder of a run on another disk and link it back; returns where it lies."""
    disk.mkdir(exist_ok=True)
    there = run.path.rename(disk / run.id)
    run.path.symlink_to(there)
    return there


def test_a_newer_copy_goes_to_where_a_linked_run_lies(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    journal = MadeUpJournal()
    journal.begin()
    away = make_run_dir(tmp_path / "usb", "aaaa1111", journal)
    seg(f"db import {away.path}")
    there = moved(workspace, workspace.run_dir("aaaa1111"), tmp_path / "disk")
    journal.epoch(1, 0.1, 0.2)
    journal.finish(1)
    journal.write(away.journal)
    assert "finished, epoch 1/60, updated" in seg(f"db import {away.path}").out
    assert (workspace.runs / "aaaa1111").is_symlink()
    assert (there / "journal.jsonl").read_bytes() == away.journal.read_bytes()
    assert seg("db check").status == 0
    assert seg("db rebuild").status == 0
    assert [run["id"] for run in seg("runs --json").json] == ["aaaa1111"]


def test_a_disk_that_is_not_there_is_told(seg: Command, workspace: Workspace, tmp_path: Path) -> None:
    run = import_made_up_run(workspace, "aaaa1111", finished_journal(), queued_for=0)
    there = moved(workspace, run, tmp_path / "disk")
    there.rename(tmp_path / "unmounted")
    for command in ("db check", "db rebuild"):
        done = seg(command)
        assert done.status == 1
        assert f"is a link to {there}, where no folder is" in done.out + done.err
    done = seg(f"db import {tmp_path / 'unmounted'}")
    assert done.status == BAD_USE


# ---------------------------------------------------------------------- the age of experiments


def test_an_experiment_is_as_old_as_its_oldest_run(
    seg: Command, either_workspace: Workspace, tmp_path: Path
) -> None:
    runs = [
        make_run_dir(tmp_path / "usb", run_id, finished_journal(), created=created, queued_for=0)
        for run_id, created in (("aaaa1111", 700.5), ("bbbb2222", 500.25), ("cccc3333", 600.0))
    ]
    assert seg("db import " + " ".join(str(run.path) for run in runs)).status == 0

    def ages() -> list[float]:
        with either_workspace.open_store() as store:
            return [experiment.created_at for experiment in store.experiments()]

    assert ages() == [500.25]
    for _ in range(2):
        assert seg("db check").out.endswith("the database matches their folders\n")
        with either_workspace.open_store() as store:
            before = {name: rows for name, rows in everything(store).items() if name != "runs"}
        assert seg("db rebuild").status == 0
        with either_workspace.open_store() as store:
            after = everything(store)
        for name, rows in before.items():
            if name != "experiments":
                assert after[name] == rows
        assert len(ages()) == 1
        seg("delete bbbb2222 --yes")  # the second time round the oldest one is another
        assert ages() == [600.0]


def test_an_experiment_of_another_age_is_found_and_mended(seg: Command, workspace: Workspace) -> None:
    import_made_up_run(workspace, "aaaa1111", finished_journal(), created=900.0, queued_for=0)
    with workspace.open_store() as store, store.database.write() as connection:
        connection.exec_driver_sql("UPDATE experiments SET created_at = 1.0")
    done = seg("db check")
    assert done.status == 1
    assert "test: created_at is 1.0, its runs give 900.0" in done.out
    assert seg("db check --fix").status == 0
    assert seg("db check").status == 0


def test_check_compares_the_scores_of_images_and_how_a_run_failed(seg: Command, workspace: Workspace) -> None:
    journal = MadeUpJournal()
    journal.begin()
    journal.add(Failed(cause="exception", message="no such file", traceback="Traceback ..."))
    import_made_up_run(workspace, "aaaa1111", journal, queued_for=0)
    scores = evaluation_journal("aaaa1111", {"a": 0.5, "b": 0.7})
    run = make_run_dir(workspace.runs, "bbbb2222", scores, evaluation_config("aaaa1111"), queued_for=0)
    with workspace.open_store() as store:
        store.journals.import_run(run)
        assert seg("db check").status == 0
        with store.database.write() as connection:
            connection.exec_driver_sql("UPDATE images SET dice = 0.9 WHERE image = 'a'")
            connection.exec_driver_sql("UPDATE runs SET message = 'rotten' WHERE id = 'aaaa1111'")
    done = seg("db check")
    assert done.status == 1
    assert "1 of 2 rows in images are missing or wrong" in done.out
    assert "message is 'rotten', the journal gives 'no such file'" in done.out
    assert seg("db check --fix").status == 0
    assert seg("db check").status == 0


# ---------------------------------------------------------------------- rows that are there already


def test_rows_of_an_odd_age_are_shown(seg: Command, workspace: Workspace) -> None:
    import_made_up_run(workspace, "aaaa1111", finished_journal(), queued_for=0)
    with workspace.open_store() as store, store.database.write() as connection:
        connection.exec_driver_sql("UPDATE runs SET created_at = 9e15, started_at = -9e300, ended_at = 1e308")
    for command in ("runs", "show aaaa1111", "queue", "runs --json", "db check", "report test"):
        assert seg(command).status in (0, 1)
    assert "made no date" in seg("show aaaa1111").out


def test_a_json_value_that_rotted_is_no_traceback(seg: Command, workspace: Workspace) -> None:
    import_made_up_run(workspace, "aaaa1111", finished_journal(), queued_for=0)
    import_made_up_run(workspace, "bbbb2222", finished_journal(), queued_for=0)
    with workspace.open_store() as store, store.database.write() as connection:
        connection.exec_driver_sql("UPDATE runs SET classes = '[[[' WHERE id = 'aaaa1111'")
    assert "a JSON value of the database is damaged" in seg("show aaaa1111").err
    done = seg("db check")
    assert done.status == 1
    assert "db rebuild" in done.out
    assert seg("show bbbb2222").status == 0
    assert seg("db rebuild").status == 0
    assert seg("db check").status == 0


def test_the_files_beside_the_journal_may_hold_anything(workspace: Workspace) -> None:
    run = make_run_dir(workspace.runs, "aaaa1111")
    for content in (DEEP, b"{" * 5000, b"null", b"[]", b"\xff", b'{"attempt": ' + LONG.encode() + b"}", b""):
        run.proc_file.write_bytes(content)
        run.exit_file.write_bytes(content)
        assert run.read_proc() is None
        assert run.read_proc_attempt() == 0
        assert run.read_exit() is None
        assert not run.met_oom_killer()
    told = {"attempt": 1, "status": "failed", "cause": "killed", "message": "m", "time": 1.0}
    for key, value in (("attempt", "1"), ("attempt", True), ("cause", 5), ("time", 9e15), ("message", None)):
        run.exit_file.write_text(json.dumps(told | {key: value}))
        assert run.read_exit() is None
    run.exit_file.write_text(json.dumps(told))
    assert run.read_exit() is not None


# ---------------------------------------------------------------------- anything at all

JOURNALS = {
    "train": (finished_journal(), None),
    "evaluate": (evaluation_journal("aaaa1111", {"a": 0.5, "b": None}), evaluation_config("aaaa1111")),
    "ood": (detection_journal(), detection_config("aaaa1111")),
    "robustness": (robustness_journal(), robustness_config("aaaa1111")),
    "generalise": (generalise_journal(), generalise_config("aaaa1111")),
    "crf-search": (search_journal("aaaa1111"), search_config("aaaa1111")),
    "latency": (latency_journal("aaaa1111"), latency_config("aaaa1111")),
}

ODD = st.one_of(
    st.sampled_from(
        ["NaN", "Infinity", "-1", "true", "null", "1e999", '"x"', "[]", r'"\u0000"', r'"\ud800"']
    ),
    st.sampled_from([str(2**31), str(2**53), str(2**63), "9" * 30, LONG, "0.1", "-0.0", "1e-320", "[" * 300]),
    st.integers().map(str),
    st.floats().map(json.dumps),
    st.text().map(json.dumps),
    st.lists(st.none() | st.booleans() | st.integers() | st.text(), max_size=3).map(json.dumps),
)


@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(chance=st.randoms(use_true_random=True), data=st.data())
def test_whatever_a_folder_holds_it_is_taken_whole_or_not_at_all(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    workspace = Workspace(folder / "ws")
    odd = []
    for number in range(50):
        journal, config = JOURNALS[chance.choice(sorted(JOURNALS))]
        odd.append(make_run_dir(folder / "usb", f"bbbb{number:04}", journal, config, queued_for=0))
        _spoil(odd[-1], chance, data.draw(ODD))
    good = make_run_dir(folder / "usb", "aaaa1111", finished_journal())
    import_runs(workspace, [run.path for run in (*odd, good)])
    with workspace.open_store() as store:
        taken = {row.id for row in store.runs(limit=None)}
        assert "aaaa1111" in taken
        assert set(os.listdir(workspace.runs)) == taken
        # A number that leaps ahead hides what follows, so that such a run never ends; `check` says that.
        assert {each.kind for each in check(store, workspace).differences} <= {"status"}
        before = everything(store)
    report = rebuild(workspace.database, workspace.runs)
    assert (set(report.imported), report.unreadable) == (taken, ())
    with workspace.open_store() as store:
        after = everything(store)
    for name in before.keys() - {"runs", "experiments"}:
        assert after[name] == before[name]
    assert sorted(row[1:] for row in after["experiments"]) == sorted(row[1:] for row in before["experiments"])


def _spoil(run: RunDir, chance: random.Random, odd: str) -> None:
    """Write an odd value over a field of card, config or an event, or any byte over another."""
    file = chance.choice([run.card_file, run.config_file, run.journal, run.journal])
    if chance.random() < 0.25:
        content = bytearray(file.read_bytes())
        content[chance.randrange(len(content))] = chance.randrange(256)
        file.write_bytes(content)
        return
    lines = file.read_bytes().splitlines() if file == run.journal else [file.read_bytes()]
    place = chance.randrange(len(lines))
    value: dict[str, Any] = json.loads(lines[place])
    value[chance.choice(sorted(value))] = "HERE"
    lines[place] = json.dumps(value).replace('"HERE"', odd).encode(errors="surrogatepass")
    file.write_bytes(b"".join(line + b"\n" for line in lines))


def test_a_bad_line_of_a_live_journal_stops_nobody_else(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for run_id in ("aaaa1111", "bbbb2222"):
            add_run(store, run_id)
        good = make_run_dir(tmp_path / "runs", "aaaa1111", finished_journal())
        bad = make_run_dir(tmp_path / "runs", "bbbb2222", finished_journal())
        in_journal("epoch", "dice", "9" * 30)(bad)
        with pytest.raises(
            JournalError, match=r"bbbb2222/journal\.jsonl: the line at byte \d+ is no event: .*dice"
        ):
            catch_up(store, bad)
        assert catch_up(store, good)
        assert store.run("bbbb2222").journal_offset == 0
        assert store.run("aaaa1111").status == "finished"


def test_the_character_nul_is_the_same_in_both_databases(
    seg: Command, either_workspace: Workspace, tmp_path: Path
) -> None:
    run = make_run_dir(tmp_path / "usb", "aaaa1111", finished_journal(), name="a\0b", queued_for=0)
    in_journal("data", "classes", r'["ro\u0000ad", "person", "car"]')(run)
    assert seg(f"db import {run.path}").status == 0
    assert seg("db check").status == 0
    assert seg("db rebuild").status == 0
    assert seg("db check").status == 0
    with either_workspace.open_store() as store:
        assert isinstance(store, Store)
        row = store.run("aaaa1111")
    assert (row.name, row.classes[0]) == ("a�b", "ro�ad")
