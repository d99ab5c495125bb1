"""`seg-engine compare`: every format, against a pinned baseline, and what it refuses."""

from __future__ import annotations

import csv
import io

import pytest

from engine.classes import CITYSCAPES
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.workspace import Workspace
from tests.engine.conftest import Command, failed_journal, import_made_up_run
from tests.engine.made_up_runs import MadeUpJournal, epoch_event, evaluation_config, evaluation_journal


def scored(dice: float, by_class: dict[str, float | None] | None = None) -> MadeUpJournal:
    journal = MadeUpJournal()
    journal.begin()
    journal.add(epoch_event(1, "train", dice))
    journal.add(epoch_event(1, "val", dice, by_class, seconds=1.0))
    journal.finish(1)
    return journal


@pytest.fixture(autouse=True)
def _runs(workspace: Workspace) -> None:
    def make(run_id: str, name: str, dice: float, lr: float, seed: int) -> None:
        config = with_values(get_recipe("paper-unet"), {"optimizer.lr": lr, "seed": seed})
        by_class = {"road": dice + 0.25, "person": 0.5, "car": dice - 0.25}
        import_made_up_run(workspace, run_id, scored(dice, by_class), config=config, name=name)

    make("aaaa1111", "slow seed=0", 0.50, 0.001, 0)
    make("bbbb2222", "slow seed=1", 0.54, 0.001, 1)
    make("cccc3333", "fast_100%", 0.60, 0.1, 0)
    import_made_up_run(workspace, "dddd4444", failed_journal(), name="broken")


def test_the_table_shows_differences_classes_keys_and_notes(seg: Command) -> None:
    done = seg("compare aaaa cccc broken")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0].split()[:3] == ["run", "name", "best"]
    assert lines[1].startswith("A  aaaa1111  slow seed=0     0.5000  baseline")
    assert lines[2].startswith("B  cccc3333  fast_100%       0.6000   +0.1000")
    assert "Dice by class, largest drop from A first" in lines
    assert "optimizer.lr" in done.out
    assert lines[-1] == "note: broken (dddd4444) is failed, epoch 0/60"
    assert "published" not in done.out


def test_another_baseline_and_folded_seeds(seg: Command) -> None:
    done = seg("compare aaaa bbbb cccc --fold-seeds --baseline cccc")
    row = next(line for line in done.out.splitlines() if line.startswith("A"))
    assert row.split()[:7] == ["A", "aaaa1111", "slow", "2", "0.5200", "±", "0.0283"]
    assert "-0.0800" in row


def test_json_holds_values_and_the_published_rows_apart_from_them(seg: Command) -> None:
    record = seg("compare aaaa cccc --published --format json").json
    assert record["baseline"] == "A"
    one, other = record["entries"]
    assert one["runs"] == ["aaaa1111"]
    assert other["values"]["best_dice"]["difference"] == pytest.approx(0.1)
    assert record["config"] == {"optimizer.lr": {"A": "0.001", "B": "0.1"}}
    assert record["classes"][0]["name"] == "person"
    assert {row["recipe"] for row in record["published"]} == {"paper-unet"}
    assert [row["val_dice"] for row in record["published"]] == [0.22154, 0.26083, 0.31719, None]


def test_csv_keeps_measured_and_published_in_columns_of_their_own(seg: Command) -> None:
    rows = list(csv.DictReader(io.StringIO(seg("compare aaaa cccc --published --format csv").out)))
    assert [row["source"] for row in rows] == ["measured"] * 2 + ["published"] * 4
    assert float(rows[1]["best_dice_difference"]) == pytest.approx(0.1)
    assert float(rows[1]["dice:road"]) == pytest.approx(0.85)
    assert rows[1]["optimizer.lr"] == "0.1"
    assert {row["best_dice"] for row in rows[2:]} == {""}
    assert rows[5]["published_test_dice"] == "0.24736"


def test_markdown_has_a_table_for_each_question(seg: Command) -> None:
    out = seg("compare aaaa cccc --published --format md").out
    tables = [part for part in out.split("\n\n") if part.startswith("|")]
    assert len(tables) == 4
    assert all(len({line.count("|") for line in table.splitlines()}) == 1 for table in tables)
    assert r"|  | A: slow seed=0 (baseline) | B: fast\_100% |" in out
    assert "| best Dice | 0.5000 | 0.6000 (+0.1000) |" in out
    assert "| *I: U-Net (2015)* | *128x128* | *60* | *0.31615* | *0.31719* | *-* |" in out


def test_latex_is_escaped_bold_where_best_and_marks_what_was_published(seg: Command) -> None:
    out = seg("compare aaaa bbbb cccc --fold-seeds --published --format latex").out
    assert r"fast\_100\% & \textbf{0.6000}" in out
    assert r"slow, 2 seeds & 0.5200 $\pm$ 0.0283" in out
    assert r"U-Net (2015)$^\dagger$ & 0.31719 & 0.31615" in out
    assert out.count(r"\begin{tabular}") == out.count(r"\end{tabular}") == 2
    for table in out.split(r"\begin{tabular}")[1:]:
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert len({row.count(" & ") for row in rows}) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("compare", "give the runs to compare, or --where FILTER"),
        ("compare zzzz", "zzzz: no run has that id or name"),
        ("compare aaaa aaaa", "aaaa1111: is given twice"),
        ("compare aaaa --baseline bbbb", "--baseline bbbb2222: is not among the runs compared: aaaa1111"),
        ("compare aaaa --format tex", "--format: 'tex' is not allowed; it must be one of table, csv, md,"),
    ],
)
def test_what_cannot_be_compared_is_one_line(seg: Command, line: str, says: str) -> None:
    done = seg(line)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert says in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("form", ["table", "csv", "md", "latex", "json"])
def test_the_literature_is_beside_runs_of_the_classes_of_cityscapes(
    seg: Command, workspace: Workspace, form: str
) -> None:
    journal = MadeUpJournal()
    colors = [info.hex_color for info in CITYSCAPES.classes]
    journal.begin(classes=CITYSCAPES.names, colors=colors)
    journal.add(epoch_event(1, "val", 0.5, dict.fromkeys(CITYSCAPES.names, 0.5)))
    journal.finish(1)
    import_made_up_run(workspace, "eeee5555", journal, config=get_recipe("paper-unet"), name="nineteen")
    out = seg(f"compare eeee --published --format {form}").out
    assert "LETNet" in out
    assert "0.705" in out
    assert "LETNet" not in seg(f"compare eeee --format {form}").out
    assert "LETNet" not in seg(f"compare aaaa --published --format {form}").out


def test_a_filter_leaves_out_what_is_archived_as_the_list_does(seg: Command, workspace: Workspace) -> None:
    import_made_up_run(workspace, "eeee5555", scored(0.9), name="slow and archived")

    def compared(where: str) -> list[str]:
        return [entry["runs"][0] for entry in seg(f"compare --where '{where}' --format json").json["entries"]]

    assert compared("slow") == ["eeee5555", "bbbb2222", "aaaa1111"]
    seg("archive eeee")
    assert compared("slow") == ["bbbb2222", "aaaa1111"] == [run["id"] for run in seg("runs slow --json").json]
    assert compared("slow archived=true") == ["eeee5555"]
    named = seg("compare --where name~archived")
    assert named.err == (
        "error: --where: The only run that matches name~archived does not match archived=false.\n"
    )
    assert "does not match archived=false" in seg("runs name~archived").err
    assert "no run matches" in seg("explain name~archived").err


def test_evaluations_on_two_other_data_sets_are_not_taken_for_one(seg: Command, workspace: Workspace) -> None:
    scores = {"aaaa1111": {"night": 0.2, "rain": 0.4}, "cccc3333": {"rain": 0.5, "night": 0.1}}
    for source, by_world in scores.items():
        for place, (world, dice) in enumerate(by_world.items()):
            config = with_values(evaluation_config(source), {"data.root": f"/data/{world}"})
            journal = evaluation_journal(source, {"a": dice}, begins=3000.0 + 1000 * place)
            import_made_up_run(workspace, f"{source[:4]}{world:0<4}"[:8], journal, config=config)
    entries = seg("compare aaaa1111 cccc3333 --format json").json["entries"]
    for world in ("night", "rain"):
        name = f"dice: external at original, 20 images, data {world} val"
        means = [entry["values"][name]["mean"] for entry in entries]
        assert means == [scores[source][world] for source in scores]
