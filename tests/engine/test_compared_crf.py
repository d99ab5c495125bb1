"""What a CRF made of predictions, in `compare` and `report`."""

from __future__ import annotations

import pytest

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.workspace import Workspace
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import (
    MadeUpJournal,
    crf_event,
    evaluation_config,
    finished_journal,
    refined_journal,
    robustness_config,
)

GOOD, OTHER = "aaaa1111", "bbbb2222"
BEFORE = {"road": 0.8, "person": 0.6, "car": 0.4}
AFTER = {"road": 0.9, "person": 0.7, "car": 0.2}
"""Thin cars suffer."""


@pytest.fixture(autouse=True)
def _refined(workspace: Workspace) -> None:
    import_made_up_run(workspace, GOOD, finished_journal(), name="good", experiment="x")
    wide = with_values(RunConfig(), {"model.width": 16})
    import_made_up_run(workspace, OTHER, finished_journal(), config=wide, name="other", experiment="x")
    for run_id, after in (("eeee1111", BEFORE), ("eeee2222", AFTER)):  # the newest of a kind counts
        journal = refined_journal(GOOD, BEFORE, after)
        created = 2000.0 if after is BEFORE else 2001.0
        import_made_up_run(
            workspace, run_id, journal, config=evaluation_config(GOOD), name=run_id, created=created
        )


def test_compare_tells_scores_without_and_with_it_and_the_class_that_lost_most_first(seg: Command) -> None:
    lines = seg("compare good other").out.splitlines()
    begin = lines.index("with and without a CRF")
    told = lines[begin + 2].split("  ")
    assert told[0] == "val at original, 3 images"
    assert lines[begin + 2].split()[5:11] == ["A", "0.6000", "0.6000", "+0.0000", "0.4286", "0.4286"]
    by_class = lines.index("IoU by class, val at original, 3 images: with and without a CRF")
    assert [line.split() for line in lines[by_class + 2 : by_class + 5]] == [
        ["car", "0.2500", "0.1111", "-0.1389"],
        ["person", "0.4286", "0.5385", "+0.1099"],
        ["road", "0.6667", "0.8182", "+0.1515"],
    ]
    assert "CRF" not in seg("compare other").out


def test_programs_get_the_same_numbers(seg: Command) -> None:
    (line,) = seg("compare good other --format json").json["crf"]
    assert (line["letter"], line["scored_on"], line["seconds"]) == ("A", "val at original, 3 images", 0.5)
    assert line["class_iou"]["car"]["difference"] == pytest.approx(0.2 / 1.8 - 0.4 / 1.6)
    markdown = seg("compare good other --format md").out
    assert "| car | 0.2500 | 0.1111 (-0.1389) |" in markdown


def test_the_report_has_a_section_of_it(seg: Command, workspace: Workspace) -> None:
    assert seg("report x").status == 0
    page = (workspace.root / "reports" / "x" / "report.md").read_text()
    section = page[page.index("## With and without a CRF") :]
    assert "A is good; B is other." in section
    assert "bilateral 2, 24 px, 5 rgb; Gaussian 1, 1 px; 10 iterations" in section
    assert "| car | 0.2500 | 0.1111 (-0.1389) |" in section
    assert "| person | 0.4286 | 0.5385 (+0.1099) |" in section


def test_seeds_are_averaged_and_those_without_a_crf_are_told(seg: Command, workspace: Workspace) -> None:
    for seed, run_id in enumerate(("cccc3333", "dddd4444"), start=1):
        config = with_values(RunConfig(), {"seed": seed})
        import_made_up_run(workspace, run_id, finished_journal(), config=config, name=run_id, created=2003.0)
    journal = refined_journal("cccc3333", BEFORE, BEFORE)
    import_made_up_run(workspace, "eeee3333", journal, config=evaluation_config("cccc3333"), created=2002.0)
    (line,) = seg("compare good cccc3333 dddd4444 --fold-seeds --format json").json["crf"]
    assert (line["letter"], line["miou"]["n"], line["miou"]["missing"]) == ("A", 2, 1)
    assert line["class_iou"]["car"]["difference"] == pytest.approx((0.2 / 1.8 - 0.4 / 1.6) / 2)


def test_a_seed_that_was_run_twice_counts_once(seg: Command, workspace: Workspace) -> None:
    for place, (run_id, seed, car) in enumerate((("cccc3333", 0, 0.4), ("dddd4444", 1, 0.8))):
        config = with_values(RunConfig(), {"seed": seed})
        import_made_up_run(workspace, run_id, finished_journal(), config=config, name=run_id, created=2003.0)
        journal = refined_journal(run_id, BEFORE, {**BEFORE, "car": car})
        evaluation = evaluation_config(run_id)
        import_made_up_run(workspace, f"eeee333{place}", journal, config=evaluation, created=2004.0)
    (line,) = seg("compare good cccc3333 dddd4444 --fold-seeds --format json").json["crf"]
    # With the CRF cars have 0.2 and 0.4 of the two runs of seed 0, and 0.8 of the one of seed 1.
    found = [(0.9 + 0.7 + 0.2) / 3, (0.8 + 0.6 + 0.4) / 3, (0.8 + 0.6 + 0.8) / 3]
    assert line["dice"]["mean"] == pytest.approx(((found[0] + found[1]) / 2 + found[2]) / 2)
    assert (line["dice"]["n"], line["dice"]["missing"]) == (2, 0)


def test_scores_without_a_crf_have_a_deviation_over_seeds_too(seg: Command, workspace: Workspace) -> None:
    for seed, (run_id, car) in enumerate((("cccc3333", 0.4), ("dddd4444", 0.8)), start=1):
        config = with_values(RunConfig(), {"seed": seed})
        import_made_up_run(workspace, run_id, finished_journal(), config=config, name=run_id, created=2003.0)
        journal = refined_journal(run_id, {**BEFORE, "car": car}, AFTER)
        evaluation = evaluation_config(run_id)
        import_made_up_run(workspace, f"eeee333{seed}", journal, config=evaluation, created=2004.0)
    words = "compare cccc3333 dddd4444 --fold-seeds"
    (line,) = seg(f"{words} --format json").json["crf"]
    before = line["dice"]["before"]
    # The mean of three classes differs by a third of what cars differ by.
    assert before["sd"] == pytest.approx(0.4 / 3 / 2**0.5)
    assert before["mean"] == pytest.approx(line["dice"]["mean"] - line["dice"]["difference"])
    assert f"{before['mean']:.4f} ± {before['sd']:.4f}" in seg(f"{words} --format md").out


def test_of_robustness_there_are_clean_images_and_the_mean_over_corruptions(
    seg: Command, workspace: Workspace
) -> None:
    journal = MadeUpJournal()
    journal.begin()
    for corruption, strength, after in (("clean", 0, 0.9), ("fog", 5, 0.8), ("noise", 5, 0.5)):
        event = crf_event({"road": 0.7}, {"road": after})
        journal.add(event.model_copy(update={"corruption": corruption, "strength": strength}))
    journal.finish(0)
    import_made_up_run(workspace, "rrrr1111", journal, config=robustness_config(OTHER), created=2004.0)
    lines = seg("compare other --format json").json["crf"]
    told = {line["scored_on"]: line["dice"]["difference"] for line in lines}
    assert told == {
        "val at original, 3 images, clean": pytest.approx(0.2),
        "val at original, 3 images, mean of 2 corruptions": pytest.approx(-0.05),
    }


def test_predictions_without_labels_are_no_line(seg: Command, workspace: Workspace) -> None:
    journal = MadeUpJournal()
    journal.begin()
    unscored = crf_event(BEFORE, AFTER).model_copy(update={"before": None, "after": None, "split": ""})
    journal.add(unscored)
    journal.finish(0)
    import_made_up_run(workspace, "pppp1111", journal, config=evaluation_config(OTHER), created=2005.0)
    assert seg("compare other --format json").json["crf"] == []
