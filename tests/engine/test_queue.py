"""The queue: who is next, what people do to runs, and sweeps; nothing here starts a process."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.agent.devices import cores_of, slot_of, visible_device, words_for
from engine.config.grids import grid, point_name, values_of
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.data.synthetic import synthesize
from engine.exits import BAD_USE
from engine.host.processes import identify
from engine.requests.lifecycle import change_tags
from engine.run.directory import RunCard
from engine.store import Store
from engine.workspace import Workspace
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import MadeUpJournal, finished_journal

ANY = ("auto", "cpu", "cuda")


@pytest.fixture(autouse=True)
def _on_both(either_workspace: Workspace) -> None:
    """All of this goes for a file and for a server."""


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    with workspace.open_store() as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> list[Workspace]:
    """The workspaces for which the commands wanted an agent; none is started."""
    wanted: list[Workspace] = []
    for module in ("engine.cli.queue", "engine.requests.lifecycle"):
        monkeypatch.setattr(f"{module}.ensure_agent", wanted.append)
    return wanted


def add(store: Store, run_id: str, device: str = "auto", priority: int = 0, after: str = "") -> None:
    config = with_values(RunConfig(), {"device": device})
    store.lifecycle.create(RunCard(run_id, run_id, "queue", 1.0, priority=priority, after=after), config)


def claim_all(store: Store, devices: tuple[str, ...] = ANY) -> list[str]:
    ids = []
    while (row := store.queue.claim_next(identify(), "cpu", devices)) is not None:
        ids.append(row.id)
    return ids


# --- Who is next ---------------------------------------------------------------------------------


def test_priority_goes_before_age(store: Store) -> None:
    for run_id, priority in (("old", 0), ("urgent", 5), ("young", 0), ("patient", -1), ("urgent2", 5)):
        add(store, run_id, priority=priority)
    order = ["urgent", "urgent2", "old", "young", "patient"]
    assert [row.id for row in store.queue.waiting()] == order
    assert claim_all(store) == order


def test_a_claim_says_who_and_where(store: Store) -> None:
    add(store, "aaaaaaaa")
    row = store.queue.claim_next(identify(), "cuda:1", ANY)
    assert row is not None
    assert row.status == "starting"
    assert row.claimed_by == {**identify().as_json(), "slot": "cuda:1", "attempt": 1}


def test_paused_runs_and_those_for_other_devices_are_passed_over(store: Store) -> None:
    add(store, "paused00", priority=3)
    add(store, "gpu00000", device="cuda", priority=2)
    add(store, "gpu10000", device="cuda:1", priority=1)
    add(store, "cpu00000", device="cpu")
    store.queue.set_place("paused00", paused=True)
    assert claim_all(store, ("cpu", "auto")) == ["cpu00000"]
    assert claim_all(store, ("cuda", "cuda:0", "auto")) == ["gpu00000"]
    store.queue.set_place("paused00", paused=False)
    assert claim_all(store, ("cpu", "auto")) == ["paused00"]


def test_a_run_waits_until_the_one_before_it_has_finished(store: Store) -> None:
    add(store, "first000")
    add(store, "second00", after="first000", priority=9)
    assert claim_all(store) == ["first000"]
    for status in ("running", "stopped"):  # a stopped one may still go on and finish
        store.lifecycle.set_status("first000", status)
        assert claim_all(store) == []
        assert store.queue.fail_dependents() == []
    store.lifecycle.set_status("first000", "finished", "completed")
    assert claim_all(store) == ["second00"]


@pytest.mark.parametrize(("end", "fate"), [("failed", "failed"), ("lost", "was lost"), (None, "was deleted")])
def test_a_run_fails_with_the_one_before_it(store: Store, end: str | None, fate: str) -> None:
    add(store, "first000")
    add(store, "second00", after="first000")
    if end is None:
        store.lifecycle.delete("first000")
    else:
        store.lifecycle.set_status("first000", end, "exception")
    assert store.queue.fail_dependents() == ["second00"]
    row = store.run("second00")
    assert (row.status, row.cause) == ("failed", "dependency")
    assert row.message == f"it was waiting for first000, which {fate}"
    assert store.queue.fail_dependents() == []


def test_of_two_who_adopt_one_run_one_does(store: Store) -> None:
    add(store, "aaaaaaaa")
    store.queue.take("aaaaaaaa", identify(), ("queued",))
    before = store.run("aaaaaaaa").claimed_by
    assert store.queue.adopt("aaaaaaaa", identify(1), "cpu", before)
    assert not store.queue.adopt("aaaaaaaa", identify(), "cpu", before)


def test_what_was_deleted_meanwhile_or_taken_is_not_deleted(store: Store) -> None:
    add(store, "aaaaaaaa")
    assert claim_all(store) == ["aaaaaaaa"]
    assert not store.lifecycle.delete("aaaaaaaa", expect=("queued", "finished"))
    assert store.run("aaaaaaaa").status == "starting"


# --- Devices -------------------------------------------------------------------------------------


def test_each_gpu_takes_what_asks_for_it_and_the_cpu_what_asks_for_no_gpu() -> None:
    box = {"cuda:0": 1, "cuda:1": 1, "cpu": 1}
    assert words_for("cuda:1", box) == ("auto", "cuda", "cuda:1")
    assert words_for("cpu", box) == ("cpu",)
    assert words_for("cpu", {"cpu": 1}) == ("cpu", "auto")


def test_runs_of_one_kind_of_device_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.agent.devices.available_cores", lambda: 16)
    box = {"cuda:0": 2, "cuda:1": 2, "cpu": 1}
    assert cores_of("cpu", {"cpu": 2}) == 8
    assert cores_of("cpu", {"cpu": 100}) == 1
    assert cores_of("cuda:1", box) == 4
    assert cores_of("cuda:0,cuda:1", box) == 8
    assert cores_of("cpu", box) == 16


def test_a_worker_sees_the_gpu_of_its_slot_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_device("cuda:1", "auto") == "1"
    assert visible_device("cuda:1", "cuda:1") is None  # its config says so, and counts among all
    assert visible_device("cpu", "cpu") is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-77")
    assert visible_device("cuda:1", "auto") == "GPU-77"


def test_a_run_of_several_gpus_waits_for_them_and_is_not_overtaken(store: Store) -> None:
    config = with_values(RunConfig(), {"devices": 2})
    store.lifecycle.create(RunCard("wide0000", "wide", "queue", 1.0), config)
    add(store, "narrow00")
    me, words = identify(), ("auto", "cuda")
    assert store.queue.claim_next(me, "cuda:0", words, [], 3) is None
    row = store.queue.claim_next(me, "cuda:0", words, ["cuda:2"], 3)
    assert row is not None
    assert row.id == "wide0000"
    assert slot_of(row, {"cuda:0": 1, "cuda:1": 1, "cuda:2": 1, "cpu": 1}) == "cuda:0,cuda:2"
    assert visible_device("cuda:0,cuda:2", "auto") == "0,2"
    row = store.queue.claim_next(me, "cuda:1", words, [], 3)
    assert row is not None
    assert (row.id, (row.claimed_by or {})["slot"]) == ("narrow00", "cuda:1")


def test_the_slot_of_a_run_that_another_started_is_told_or_guessed(store: Store) -> None:
    box = {"cuda:0": 1, "cuda:1": 1, "cpu": 1}
    add(store, "aaaaaaaa", device="cuda")
    assert slot_of(store.run("aaaaaaaa"), box) == "cuda:0"
    store.queue.claim_next(identify(), "cuda:1", ANY)
    assert slot_of(store.run("aaaaaaaa"), box) == "cuda:1"
    add(store, "bbbbbbbb", device="cpu")
    assert slot_of(store.run("bbbbbbbb"), box) == "cpu"


# --- Commands ------------------------------------------------------------------------------------


def test_queue_lists_what_waits_in_its_order_with_its_reasons(seg: Command, store: Store) -> None:
    add(store, "aaaaaaaa")
    add(store, "bbbbbbbb", priority=2, after="aaaaaaaa")
    add(store, "cccccccc")
    assert seg("queue pause aaa").status == 0
    lines = [line.split() for line in seg("queue").out.splitlines()[1:]]
    assert [line[:4] for line in lines] == [
        ["1", "cccccccc", "queued", "cccccccc"],
        ["-", "aaaaaaaa", "paused", "aaaaaaaa"],
        ["-", "bbbbbbbb", "after", "aaaaaaaa"],
    ]
    told = [
        (run["place"], run["why"], run["begins_in_seconds"], run["device"])
        for run in seg("queue --json").json["queued"]
    ]
    assert told == [
        (1, "no agent", None, "auto"),
        (None, "paused", None, "auto"),
        (None, "after aaaaaaaa", None, "auto"),
    ]
    assert seg("queue unpause").status == 0
    assert seg("queue priority 3 aaa").status == 0
    assert [run["id"] for run in seg("queue --json").json["queued"]] == ["aaaaaaaa", "bbbbbbbb", "cccccccc"]
    assert not any(run["paused"] for run in seg("queue --json").json["queued"])


def test_queue_numbers_runs_as_runs_does(seg: Command, store: Store) -> None:
    for run_id, priority, after in (("aaaaaaaa", 0, ""), ("bbbbbbbb", 5, "aaaaaaaa"), ("cccccccc", 1, "")):
        add(store, run_id, priority=priority, after=after)
    add(store, "dddddddd", priority=9)
    store.queue.set_place("dddddddd", paused=True)
    queue = {words[1]: words[0] for words in map(str.split, seg("queue").out.splitlines()[1:5])}
    assert queue == {"cccccccc": "1", "aaaaaaaa": "2", "bbbbbbbb": "3", "dddddddd": "-"}
    runs = seg("runs").out
    for run_id, place in queue.items():
        line = next(line for line in runs.splitlines() if run_id in line)
        assert (f"queued #{place}" in line) == (place != "-"), line
    for run_id in ("aaaaaaaa", "cccccccc"):
        assert seg("queue --json").json["queued"][int(queue[run_id]) - 1]["id"] == run_id


def test_runs_behind_a_stopped_one_have_no_place_and_keep_nobody_waiting(seg: Command, store: Store) -> None:
    for run_id, after in (("aaaaaaaa", ""), ("bbbbbbbb", "aaaaaaaa"), ("cccccccc", "bbbbbbbb")):
        add(store, run_id, after=after)
    assert store.queue.goes_on()
    store.lifecycle.set_status("aaaaaaaa", "stopped", "preempted")
    assert store.queue.goes_on(), "it is queued again by itself"
    store.lifecycle.set_status("aaaaaaaa", "stopped", "stopped")
    assert not store.queue.goes_on()
    assert "nothing is running or queued" in seg("queue on-end true").err
    add(store, "dddddddd")
    told = [(run["id"], run["place"], run["why"]) for run in seg("queue --json").json["queued"]]
    assert sorted(told) == [
        ("bbbbbbbb", None, "after aaaaaaaa, stopped"),
        ("cccccccc", None, "after bbbbbbbb"),
        ("dddddddd", 1, "no agent"),
    ]
    assert seg("queue on-end true").status == 0
    store.lifecycle.set_status("dddddddd", "running")
    assert not store.notices.due()
    store.lifecycle.set_status("dddddddd", "finished", "completed")
    assert [notice.scope for notice in store.notices.due()] == ["queue"]
    store.lifecycle.set_status("aaaaaaaa", "finished", "completed")
    assert store.queue.goes_on()


def test_resuming_a_run_in_the_foreground_wants_an_agent_for_what_comes_after_it(
    seg: Command, store: Store, tmp_path: Path, no_agent: list[Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cli.run.ensure_agent", no_agent.append)
    monkeypatch.setattr("engine.cli.run.follow", lambda *_: 0)
    synthesize(tmp_path / "data", images=6, size=(64, 64), seed=1)
    line = f"run quick data.size=32x32 --data {tmp_path / 'data'} --queue"
    assert seg(f"{line} --name first").status == 0
    assert seg("stop first").status == 0
    no_agent.clear()
    assert seg("resume first").status == 0
    assert no_agent == []
    store.lifecycle.set_status(store.resolve("first"), "stopped", "stopped")
    assert seg(f"{line} --name second --after first").status == 0
    no_agent.clear()
    assert seg("resume first").status == 0
    assert len(no_agent) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("stop good", "aaaa1111: is finished; there is nothing to stop"),
        ("requeue good", "aaaa1111: is finished; only stopped, failed and lost runs are queued again"),
        ("delete busy -y", "cccc3333: is running; `seg-engine stop` it first"),
        ("queue priority 3 good", "aaaa1111: is finished, not queued"),
        ("queue pause good", "aaaa1111: is finished, not queued"),
        ("tag good --remove day", "aaaa1111: has no tag day"),
        ("tag good 'two words'", "'two words': is not a tag"),
        ("run quick --priority 3 --data .", "--after and --priority order the queue; add --queue"),
        ("sweep quick seed=5..1 --data .", "seed: '5..1' is not a range; it must be FIRST..LAST"),
        ("sweep quick seed=0..999999 --data .", "seed: '0..999999' has more than 100,000 values"),
        ("sweep quick sed=0..4 --data .", "sed: no such key; did you mean seed?"),
        ("sweep quick seed=0, --data .", "seed: '0,' has an empty value"),
    ],
)
@pytest.mark.usefixtures("two_runs")
def test_wrong_words_are_one_line_and_change_nothing(
    seg: Command, workspace: Workspace, line: str, says: str
) -> None:
    journal = MadeUpJournal()
    journal.begin()
    import_made_up_run(workspace, "cccc3333", journal, name="busy").write_proc(identify(), 1)
    before = seg("runs --json").json
    done = seg(line)
    assert done.status == BAD_USE
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert says in done.err
    assert seg("runs --json").json == before


@pytest.mark.usefixtures("two_runs")
def test_requeue_puts_a_failed_run_back_and_wants_an_agent(seg: Command, no_agent: list[Workspace]) -> None:
    done = seg("requeue bad --priority 4 --json")
    assert done.json == {"event": "queued", "run": "bbbb2222", "name": "bad"}
    (row,) = seg("runs bad --json").json
    assert (row["status"], row["priority"], row["cause"]) == ("queued", 4, "")
    assert len(no_agent) == 1
    assert "stopped: removed from the queue" in seg("stop bad").out
    assert seg("runs bad --json").json[0]["status"] == "stopped"


@pytest.mark.usefixtures("two_runs", "no_agent")
def test_a_run_that_was_paused_and_stopped_is_queued_again_to_start(seg: Command, store: Store) -> None:
    for line in ("requeue bad", "queue pause bad", "stop bad", "requeue bad"):
        assert seg(line).status == 0
    assert claim_all(store) == ["bbbb2222"]


def test_stopping_a_run_that_nobody_looks_after_wants_an_agent(
    seg: Command, workspace: Workspace, store: Store, no_agent: list[Workspace]
) -> None:
    journal = MadeUpJournal()
    journal.begin()
    import_made_up_run(workspace, "aaaa1111", journal).write_proc(identify(), 1)
    assert seg("stop aaaa").status == 0
    assert store.run("aaaa1111").status == "stopping"
    assert len(no_agent) == 1
    store.queue.take("aaaa1111", identify(), ("stopping",))  # now somebody who lives does
    assert seg("stop aaaa").status == 0
    assert len(no_agent) == 1


@pytest.mark.usefixtures("two_runs")
def test_tags_and_notes_survive_a_rebuild(seg: Command) -> None:
    assert "tags: best, night" in seg("tag good best").out
    assert "tags: best" in seg("tag good --remove night").out
    assert seg("note good 'with the old labels'").status == 0
    assert seg("db rebuild").status == 0
    (row,) = seg("runs good --json").json
    assert (row["tags"], row["note"]) == (["best"], "with the old labels")
    assert seg("note good").out == "with the old labels\n"


@pytest.mark.usefixtures("two_runs")
def test_two_who_tag_a_run_at_once_lose_no_tag(workspace: Workspace) -> None:
    def add_ten(who: str) -> None:
        with workspace.open_store() as store:
            (row,) = (row for row in store.runs() if row.name == "good")
            for number in range(10):
                change_tags(workspace, store, row.id, add=[f"{who}{number}"], remove=["night"])

    with ThreadPoolExecutor() as two:
        for done in [two.submit(add_ten, who) for who in "ab"]:
            done.result()
    with workspace.open_store() as store:
        (row,) = (row for row in store.runs() if row.name == "good")
    assert set(row.tags) == {f"{who}{number}" for who in "ab" for number in range(10)}


@pytest.mark.usefixtures("two_runs")
def test_delete_says_how_where_nobody_can_answer(seg: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    done = seg("delete good bad")
    assert done.status == BAD_USE
    assert done.err.splitlines()[-1] == "error: this would delete these 2 runs; add --yes to confirm"
    assert len(seg("runs --json").json) == 2


@pytest.mark.usefixtures("two_runs")
def test_delete_asks_and_removes_files_and_rows(
    seg: Command, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def no(question: str, **options: object) -> bool:
        asked.append(question)
        raise KeyboardInterrupt

    monkeypatch.setattr("typer.confirm", no)
    assert seg("delete good bad").status == 130
    assert asked == ["delete these 2 runs for good?"]
    assert len(seg("runs --json").json) == 2
    assert seg("delete good --yes").status == 0
    assert [row["id"] for row in seg("runs --json").json] == ["bbbb2222"]
    assert [folder.name for folder in workspace.runs.iterdir()] == ["bbbb2222"]


def test_a_run_whose_worker_still_lives_is_neither_deleted_nor_queued(
    seg: Command, workspace: Workspace, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.requests.refusals.LEAVING_SECONDS", 0.1)
    run = import_made_up_run(workspace, "aaaa1111", finished_journal())
    run.write_proc(identify(), 1)
    store.lifecycle.set_status("aaaa1111", "lost", "lost_host")
    for line in ("delete aaaa -y", "requeue aaaa"):
        done = seg(line)
        assert done.status == BAD_USE
        assert "its worker still lives" in done.err
    assert run.path.is_dir()


@pytest.mark.usefixtures("two_runs")
def test_watching_a_run_that_is_over_shows_it_whole(seg: Command) -> None:
    done = seg("watch good")
    assert done.status == 0
    assert "best validation Dice 0.60000 at epoch 2" in done.out
    lines = seg("watch bad --json").out.splitlines()
    assert json.loads(lines[-1])["cause"] == "diverged"
    assert seg("watch bad").status == 1


def test_logs_are_what_the_worker_printed(seg: Command, workspace: Workspace) -> None:
    run = import_made_up_run(workspace, "aaaa1111", finished_journal())
    assert "does not exist yet; the run was never started" in seg("logs aaaa").err
    run.log.write_text("one\ntwo\nthree\n")
    assert seg("logs aaaa").out == "one\ntwo\nthree\n"
    assert seg("logs aaaa -f -n 2").out == "two\nthree\n"


def test_a_character_that_is_half_written_when_the_log_is_looked_at_stays_whole(
    seg: Command, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = import_made_up_run(workspace, "aaaa1111", finished_journal())
    first, rest = "Straß".encode()[:-1], "Straße\n".encode()[5:]
    run.log.write_bytes(first)

    def write_on(seconds: float) -> None:
        with run.log.open("ab") as log:
            log.write(rest)

    looks = iter([False, True])
    monkeypatch.setattr("engine.cli.watch.is_settled", lambda row: next(looks))
    monkeypatch.setattr("engine.cli.watch.time.sleep", write_on)
    assert seg("logs aaaa -f").out == "Straße\n"


# --- Sweeps --------------------------------------------------------------------------------------


def test_a_grid_is_every_combination() -> None:
    points = grid(["optimizer.lr=0.1,0.01", "epochs=5", "seed=0..2"])
    assert len(points) == 6
    assert points[1] == ["optimizer.lr=0.1", "epochs=5", "seed=1"]
    assert values_of("seed", "7,0..2,1") == ["7", "0", "1", "2"]
    assert point_name("quick", points[1], ["optimizer.lr", "seed"]) == "quick lr=0.1 seed=1"
    with pytest.raises(ConfigError, match=r"seed: '0\.\.1000000000' has more than 100,000 values"):
        values_of("seed", "0..1000000000")
    with pytest.raises(ConfigError, match="is not a range"):
        values_of("seed", "4..0")


def test_a_sweep_queues_the_grid_after_it_was_checked_and_confirmed(
    seg: Command, workspace: Workspace, store: Store, tmp_path: Path
) -> None:
    synthesize(tmp_path / "data", images=6, size=(64, 64), seed=1)
    line = f"sweep quick optimizer.lr=0.1,0.01 seed=0..2 data.size=32x32 --data {tmp_path / 'data'}"
    bad = seg(line.replace("0.01", "-1"))
    assert (bad.status, store.queue.waiting()) == (BAD_USE, [])
    unsure = seg(line)
    assert "this would queue 6 runs; add --yes" in unsure.err
    assert store.queue.waiting() == []
    assert seg(f"{line} --yes --experiment lr --priority 2").status == 0
    rows = store.queue.waiting()
    assert len({row.id for row in rows}) == 6
    assert {row.experiment for row in rows} == {"lr"}
    assert {row.priority for row in rows} == {2}
    assert sorted((row.config["optimizer"]["lr"], row.seed) for row in rows) == [
        (lr, seed) for lr in (0.01, 0.1) for seed in (0, 1, 2)
    ]
    assert {row.name for row in rows} >= {"quick lr=0.1 seed=0", "quick lr=0.01 seed=2"}
    assert all((workspace.run_dir(row.id).config_file).exists() for row in rows)


def test_a_sample_of_a_sweep_is_the_same_each_time(seg: Command, store: Store, tmp_path: Path) -> None:
    synthesize(tmp_path / "data", images=6, size=(64, 64), seed=1)
    line = f"sweep quick seed=0..99 data.size=32x32 --data {tmp_path / 'data'} --yes --sample 4"
    for experiment in ("one", "two"):
        assert seg(f"{line} --experiment {experiment}").status == 0
    seeds = [[run.seed for run in store.runs(experiment=name, sort="seed")] for name in ("one", "two")]
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 4


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('"rider,train",bus', ["rider,train", "bus"]),
        ("'rider,train'", ["rider,train"]),
        ("[rider,train],[bus]", ["[rider,train]", "[bus]"]),
        (r'"say \"a, b\"","c\\d"', ['say "a, b"', r"c\d"]),
        ('"",rider', ["", "rider"]),
    ],
)
def test_quotes_and_brackets_hold_a_swept_value_together(text: str, values: list[str]) -> None:
    assert values_of("data.hold_out", text) == values


@pytest.mark.parametrize("text", ["rider,train", r"rider\,train", '"rider,train', "a[1,2]", "a,,b", '"a"b'])
def test_a_comma_that_may_belong_to_the_value_is_refused_with_how_to_quote(text: str) -> None:
    with pytest.raises(ConfigError, match='"'):
        values_of("data.hold_out", text)


def test_a_sweep_of_too_many_points_is_refused_before_they_are_made() -> None:
    with pytest.raises(ConfigError, match="10,000,000,000 runs"):
        grid(["seed=0..99999", "epochs=1..100000"])
