"""Tables, sparklines and the page of a run: what they say, and that they fit."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from rich.cells import cell_len

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.report.run import Files, RunPage, next_commands, run_page
from engine.report.run_config import changed_keys
from engine.report.runs import SHORT_CAUSES, runs_csv, runs_table, status_cell, status_within
from engine.report.tables import (
    Column,
    age,
    bar,
    class_table,
    data_size,
    duration,
    large,
    score,
    sparkline,
    text_table,
)
from engine.run.events import Failed, Warned
from engine.store import CAUSES, RunRow, Store
from tests.engine.made_up_runs import (
    MadeUpJournal,
    add_run,
    finished_journal,
    ingest,
    open_store,
    progress,
    resumed_journal,
)

NOW = 5000.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def page_of(store: Store, run_id: str, files: Files | None = None) -> RunPage:
    here = files or Files(Path("/w/runs") / run_id, None, (), (), None, None, None)
    return RunPage(
        store.run(run_id),
        store.results.epochs(run_id),
        store.results.events(run_id),
        store.results.evaluations(run_id),
        here,
        NOW,
    )


def text_of(store: Store, run_id: str, files: Files | None = None, width: int | None = None) -> str:
    return run_page(page_of(store, run_id, files), width).plain


# --- Tables ------------------------------------------------------------------------------------


def test_a_table_aligns_its_columns_and_leaves_no_blanks_at_line_ends() -> None:
    table = text_table([Column("name", ["a", "long name"]), Column("n", ["1", "100"], right=True)])
    assert table.plain == "name         n\na            1\nlong name  100"


def test_a_table_counts_wide_characters_by_the_cells_they_take() -> None:
    lines = text_table([Column("name", ["街景", "ab"]), Column("n", ["1", "2"])]).plain.split("\n")
    assert [cell_len(line) for line in lines] == [7, 7, 7]


def test_a_narrow_table_loses_columns_of_high_rank_first_and_then_cuts_what_may_be_cut() -> None:
    columns = [
        Column("id", ["a1b2c3d4"]),
        Column("name", ["a very long name of a run"], least=10),
        Column("device", ["Some GPU"], rank=2),
        Column("age", ["3h"], rank=1),
    ]
    assert text_table(columns, 80).plain.split("\n")[0].split() == ["id", "name", "device", "age"]
    narrow = text_table(columns, 26).plain.split("\n")
    assert narrow[0].split() == ["id", "name", "age"]
    assert narrow[1] == "a1b2c3d4  a very lon…  3h"


def test_without_a_width_nothing_is_cut() -> None:
    name = "x" * 500
    assert name in text_table([Column("name", [name], least=5), Column("b", ["1"])], None).plain


def test_what_a_terminal_would_act_upon_is_not_printed() -> None:
    assert "\x1b" not in text_table([Column("name", ["evil \x1b[2J\n"])]).plain


def test_a_sparkline_runs_from_the_lowest_to_the_highest_value() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▄▇"
    assert sparkline([0.3, None, 0.3]) == "▁ ▁"
    assert sparkline([None, None]) == ""
    assert sparkline([]) == ""


def test_a_long_curve_is_averaged_into_the_width_and_keeps_its_ends() -> None:
    line = sparkline([float(i) for i in range(1000)], 20)
    assert len(line) == 20
    assert (line[0], line[-1]) == ("▁", "▇")
    assert list(line) == sorted(line)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0s"), (9.94, "9.9s"), (9.96, "10s"), (59.4, "59s"), (59.6, "1m00s"), (3599, "59m59s"),
     (3600, "1h00m"), (86399, "23h59m"), (2 * 86400 + 3600, "2d01h"), (None, "-"), (float("inf"), "-")],
)  # fmt: skip
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
    assert len(text) <= 6


def test_numbers_read_as_people_say_them() -> None:
    assert (score(0.61234), score(None)) == ("0.6123", "-")
    assert [data_size(n) for n in (512, 1536, 500 << 20, 3 << 40)] == [
        "512 B",
        "1.5 KiB",
        "500 MiB",
        "3.0 TiB",
    ]
    assert (large(31_038_803), large(5.69e10, "FLOP"), large(12)) == ("31.0 M", "56.9 GFLOP", "12")
    assert [age(s) for s in (-1, 59, 61, 7200, 90_000, 400_000)] == ["0s", "59s", "1m", "2h", "25h", "4d"]
    assert (len(bar(1.0, 10)), bar(0.0), bar(None), bar(0.05, 10)) == (10, "", "", "▌")


def test_the_class_table_keeps_the_order_of_the_class_set_and_leaves_absent_classes_out_of_the_mean() -> None:
    table = class_table({"road": 0.9, "train": None, "car": 0.5}, {"road": 0.8, "car": 0.4}, ["#804080"] * 3)
    lines = [line.split() for line in table.plain.split("\n")]
    assert [line[0] for line in lines] == ["class", "road", "train", "car", "mean"]
    assert lines[2][1:3] == ["-", "-"]
    assert lines[4][1:3] == ["0.7000", "0.6000"]
    assert any(span.style == "on #804080" for span in table.spans)


# --- Runs --------------------------------------------------------------------------------------


def three_runs(store: Store) -> list[RunRow]:
    ingest(
        store, add_run(store, "aaaaaaaa", name="good, truly", tags=("night", "x")), finished_journal().events
    )
    broken = MadeUpJournal()
    broken.begin()
    broken.add(Failed(cause="out_of_memory", message="no memory left", traceback="Traceback\n  MemoryError"))
    ingest(store, add_run(store, "bbbbbbbb"), broken.events)
    add_run(store, "cccccccc")
    return store.runs(sort="id")


def test_the_table_of_runs_says_how_each_fares(store: Store) -> None:
    lines = runs_table(three_runs(store), NOW, None).plain.split("\n")
    assert "best Dice @ epoch" in lines[0]
    assert "0.6000 @   2" in lines[1]
    assert "finished" in lines[1]
    assert "failed: out_of_memory" in lines[2]
    assert "queued" in lines[3]
    assert "0/60" in lines[3]


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_table_of_runs_fits_and_keeps_what_matters(store: Store, width: int) -> None:
    lines = runs_table(three_runs(store), NOW, width).plain.split("\n")
    assert max(map(cell_len, lines)) <= width
    assert {"id", "name"} <= set(lines[0].split())
    assert "best Dice @ epoch" in lines[0]


def test_a_cause_is_told_only_when_the_end_was_bad(store: Store) -> None:
    good, bad, _ = three_runs(store)
    assert status_cell(good)[0] == "finished"
    assert status_cell(bad)[0] == "failed: out_of_memory"
    assert status_cell(replace(good, status="stopped", cause="stopped"))[0] == "stopped"
    assert status_cell(replace(good, status="stopped", cause="preempted"))[0] == "stopped: preempted"


def test_where_there_is_little_room_a_status_is_told_in_shorter_words(store: Store) -> None:
    good = three_runs(store)[0]
    ends = [*product(("failed", "lost"), CAUSES), ("stopped", "preempted")]
    for (status, cause), width in product(ends, range(16, 25)):
        row = replace(good, status=status, cause=cause)
        told = status_within(row, width)
        assert len(told) <= width
        assert told == status_cell(row)[0] or len(status_cell(row)[0]) > width
        assert set(told.split(": ")) <= {status, cause, *SHORT_CAUSES.values()}
    assert status_within(replace(good, status="failed", cause="out_of_memory"), 20) == "failed: memory"
    assert status_within(replace(good, status="failed", cause="out_of_memory"), 13) == "failed"


def test_csv_survives_commas_and_holds_one_value_a_field(store: Store) -> None:
    records = list(csv.DictReader(io.StringIO(runs_csv(three_runs(store)))))
    assert [record["id"] for record in records] == ["aaaaaaaa", "bbbbbbbb", "cccccccc"]
    assert records[0]["name"] == "good, truly"
    assert records[0]["tags"] == "night,x"
    assert float(records[0]["best_dice"]) == 0.6
    assert records[2]["best_dice"] == ""
    assert runs_csv([]).startswith("id,")


# --- One run -----------------------------------------------------------------------------------


def test_the_page_of_a_finished_run_has_its_curves_classes_and_costs(store: Store) -> None:
    ingest(store, add_run(store, name="demo", tags=("night",), note="a try"), finished_journal().events)
    text = text_of(store, "aaaaaaaa")
    curve = next(line for line in text.splitlines() if line.startswith("Dice val")).split()
    assert curve[2] == "▁▇▅"
    assert curve[3:] == ["0.3000", "0.5000", "0.6000", "@", "2"]
    assert "by class, validation, epoch 2" in text
    assert "31,000,000 parameters" in text
    assert "80 training, 20 validation" in text
    assert "Some CPU (cpu), fp32, host box, attempt 1" in text
    assert "10s training an epoch, 1.0s scoring; 10.0 % of training waited for data" in text
    assert "tags night" in text
    assert "note: a try" in text


def test_a_failed_run_shows_its_traceback_before_everything_else(store: Store) -> None:
    three_runs(store)
    text = text_of(store, "bbbbbbbb")
    assert "out_of_memory: no memory left" in text
    assert text.index("MemoryError") < text.index("config")
    assert "seg-engine resume bbbbbbbb" in text


def test_a_resumed_run_has_one_curve_and_no_trace_of_the_failure_before(store: Store) -> None:
    ingest(store, add_run(store), resumed_journal().events)
    text = text_of(store, "aaaaaaaa")
    assert "attempt 2" in text
    assert "no memory left" not in text
    assert "0.4000 @ 3" in text


def test_a_running_run_tells_alive_and_advancing_apart(store: Store) -> None:
    journal = MadeUpJournal(NOW - 100)
    journal.begin()
    journal.add(progress(1, "train"))
    journal.add(Warned(message="two images are odd"))
    ingest(store, add_run(store), journal.events)
    files = Files(Path("/w/r"), Path("/w/r/log.txt"), (), (), None, True, NOW - 2)
    text = text_of(store, "aaaaaaaa", files)
    assert "running  epoch 0/60, train step 5/10" in text
    assert "process 4001 on box: alive, heartbeat 2s ago, progress 1m ago, about 1m00s left" in text
    assert "warning: two images are odd" in text
    assert "tail -f /w/r/log.txt" in text


def test_config_keys_that_the_recipe_has_otherwise_are_marked(store: Store) -> None:
    config = with_values(get_recipe("quick"), {"optimizer.lr": 0.5, "data.size": "64x96", "data.root": "/x"})
    add_run(store, config=config)
    assert changed_keys(store.run("aaaaaaaa")) == {
        "optimizer.lr": ("0.5", "0.003"),
        "data.size": ("64x96", "96x192"),
    }
    text = text_of(store, "aaaaaaaa")
    assert "config, * differs from the recipe quick" in text
    assert "lr 0.5*" in text
    assert "* optimizer.lr: 0.5, not 0.003" in text


def test_a_config_of_another_version_is_shown_as_far_as_it_goes(store: Store) -> None:
    add_run(store)
    page = page_of(store, "aaaaaaaa")
    old = {"recipe": "gone", "epochs": 3, "optimizer": {"name": "lion"}}
    text = run_page(replace(page, row=replace(page.row, stored_config=old, recipe="gone")), None).plain
    assert "optimizer   name lion*" in text
    assert "epochs 3*" in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_config_is_wrapped_to_the_terminal(store: Store, width: int) -> None:
    add_run(store, config=get_recipe("quick"))
    text = text_of(store, "aaaaaaaa", width=width)
    config = text[text.index("config") : text.index("files")]
    assert max(map(len, config.splitlines())) <= width


def test_a_run_whose_folder_is_elsewhere_says_so(store: Store) -> None:
    add_run(store)
    assert "(not on this machine)" in text_of(store, "aaaaaaaa")


def test_what_to_type_next_fits_the_state(store: Store) -> None:
    ingest(store, add_run(store, experiment="two words"), finished_journal().events)
    files = Files(Path("/r"), Path("/r/log.txt"), (), (Path("/r/gallery/epoch_0003"),), None, None, None)
    assert next_commands(page_of(store, "aaaaaaaa", files)) == [
        "seg-engine picture aaaaaaaa",
        "seg-engine runs --experiment 'two words'",
    ]
