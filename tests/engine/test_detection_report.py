"""What a network does not know, in `show`, `compare`, `figure` and `report`."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import engine
from engine.config.run_config import RunConfig
from engine.report.compare_ood import OodResults, ood_lines
from engine.report.environments import environment_lines, told_apart
from engine.report.gallery import PictureError
from engine.report.score_maps import FULL, heat, read_score_map
from engine.run.events import Stopped
from engine.run.scoring_events import EnvironmentResult
from engine.store import EnvironmentRow, OodRow
from engine.workspace import Workspace
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import (
    COLORS,
    detection_config,
    detection_journal,
    finished_journal,
    generalise_config,
    generalise_journal,
    robustness_config,
    robustness_journal,
)

GOOD, OTHER = "aaaa1111", "bbbb2222"


@pytest.fixture
def looked_at(workspace: Workspace) -> Workspace:
    """Two trained runs; the first was looked at for what it does not know and in other environments, both
    were scored corrupted."""
    import_made_up_run(workspace, GOOD, finished_journal(), name="good")
    import_made_up_run(workspace, OTHER, finished_journal(), name="other")
    import_made_up_run(
        workspace, "dddd1111", detection_journal(), config=detection_config(GOOD), name="strange"
    )
    for run_id, source in (("rrrr1111", GOOD), ("rrrr2222", OTHER)):
        import_made_up_run(
            workspace, run_id, robustness_journal(), config=robustness_config(source), name=f"rain {source}"
        )
    import_made_up_run(
        workspace, "gggg1111", generalise_journal(), config=generalise_config(GOOD), name="away"
    )
    write_score_maps(workspace.run_dir("dddd1111").gallery)
    return workspace


def write_score_maps(gallery: Path) -> None:
    """One image of 16x32, whose right half scores above 0.99 of the known pixels."""
    for folder in ("inputs", "epoch_0003", "scores"):
        (gallery / folder).mkdir(parents=True)
    classes = Image.new("P", (32, 16), 1)
    classes.putpalette([channel for color in COLORS for channel in bytes.fromhex(color[1:])])
    classes.save(gallery / "inputs" / "out__a_target.png")
    classes.save(gallery / "epoch_0003" / "out__a.png")
    Image.new("RGB", (32, 16), (90, 90, 90)).save(gallery / "inputs" / "out__a_image.png")
    shares = np.full((16, 32), 0.3)
    shares[:, 16:] = 0.995
    Image.fromarray((shares * FULL).astype(np.uint16)).save(gallery / "scores" / "out__a_energy.png")


def test_show_tells_the_newest_of_each(seg: Command, looked_at: Workspace) -> None:
    page = seg("show good").out
    assert "out-of-distribution, by run dddd1111" in page
    assert "undefined" in page  # of whole images there was no in-distribution one
    assert "Dice by corruption and strength, by run rrrr1111" in page
    assert "unseen environments, by run gggg1111" in page
    assert "town: no label is moving" in page
    record = seg("show good --json").json
    assert [row["environment"] for row in record["environments"]] == ["validation", "fog 3", "town"]
    assert [(row["level"], row["score"]) for row in record["ood"]][-1] == ("image", "knn")
    assert len(record["corruptions"]) == 5


def test_a_run_that_was_stopped_takes_no_place_of_one_that_measured_everything(
    seg: Command, looked_at: Workspace
) -> None:
    begun = robustness_journal()
    begun.events = begun.events[:-2]
    begun.add(Stopped(cause="stopped", epoch=0))
    import_made_up_run(looked_at, "ssss1111", begun, config=robustness_config(GOOD), name="half of it")
    assert "Dice by corruption and strength, by run rrrr1111" in seg("show good").out
    assert "Dice by corruption and strength\n" in seg("show ssss1111").out
    assert {row["run_id"] for row in seg("show good --json").json["corruptions"]} == {"rrrr1111", "ssss1111"}
    with looked_at.open_store() as store:
        assert {row.run_id for row in store.results.newest_corruptions(GOOD)} == {"rrrr1111"}


def test_the_mean_over_strengths_waits_for_all_of_them(seg: Command, looked_at: Workspace) -> None:
    page = seg("show good").out
    line = next(line for line in page.splitlines() if line.startswith("corruption"))
    assert "mean 1-2" in line
    under_way = robustness_journal()
    under_way.events = under_way.events[:-2]  # fog is known at strength 1 alone
    import_made_up_run(looked_at, "cccc1111", finished_journal(), name="third")
    config = robustness_config("cccc1111")
    import_made_up_run(looked_at, "rrrr3333", under_way, config=config, name="under way")
    noise, fog = (
        next(line.split() for line in seg("show rrrr3333").out.splitlines() if line.startswith(kind))
        for kind in ("noise", "fog")
    )
    assert noise == ["noise", "0.8000", "0.7000", "0.5000", "0.6000", "75.0", "%"]
    assert fog == ["fog", "0.8000", "0.5000", "-", "-", "-"]
    assert seg("report test").status == 0
    page = (looked_at.root / "reports" / "test" / "report.md").read_text()
    assert "| run | corruption | clean | 1 | 2 | mean 1-2 | kept |" in page
    assert "| third | fog | 0.8000 | 0.5000 | - | - | - |" in page


def test_the_report_says_which_images_were_corrupted(seg: Command, looked_at: Workspace) -> None:
    def page() -> str:
        assert seg("report test").status == 0
        return (looked_at.root / "reports" / "test" / "report.md").read_text()

    assert "Dice on validation images corrupted at five strengths" in page()
    on_test = robustness_journal()
    on_test.events = [
        event.model_copy(update={"split": "test"}) if event.event == "corruption_result" else event
        for event in on_test.events
    ]
    config = robustness_config(OTHER)
    import_made_up_run(looked_at, "rrrr4444", on_test, config=config, name="on test", created=2000.0)
    both = page()
    assert "Dice on validation and test images corrupted at five strengths" in both
    assert "| good, val | noise |" in both
    assert "| other, test | noise |" in both


def test_compare_has_a_table_of_scores(seg: Command, looked_at: Workspace) -> None:
    table = seg("compare good other").out
    assert "out-of-distribution detection" in table
    line = next(line.split() for line in table.splitlines() if "energy" in line)
    assert line == ["out", "pixel", "energy", "A", "0.8000", "0.4000", "0.6000"]
    assert "| out | pixel | energy | A | 0.8000 |" in seg("compare good other --format md").out
    (first, *_) = seg("compare good other --format json").json["ood"]
    assert (first["letter"], first["data"], first["score"]) == ("A", "out", "msp")
    assert "out-of-distribution" not in seg("compare other").out
    line = next(line.split() for line in table.splitlines() if line.startswith("town"))
    assert line == ["town", "A", "3", "0.5000", "-0.3000", "0.2500", "-0.1500"]
    assert "| town | A | 3 | 0.5000 (-0.3000) | 0.2500 (-0.1500) |" in seg("compare good --format md").out


def test_environments_are_a_table_for_programs(looked_at: Workspace) -> None:
    ws = engine.Workspace(looked_at.root, frames="pandas")
    table = ws.environments()
    assert list(table["name"]) == ["good"] * 3
    assert list(table["generalisation"]) == ["gggg1111"] * 3
    assert list(table["environment"]) == ["validation", "fog 3", "town"]
    assert list(table["dice_difference"])[1:] == pytest.approx([-0.2, -0.3])
    assert list(table["never_labelled"])[-1] == "moving"
    assert list(ws.run("good").environments()["dice"]) == list(table["dice"])
    assert len(ws.environments("other")) == 0
    (row, *_) = engine.Workspace(looked_at.root, frames="rows").environments("good")
    assert row.scores.class_dice == {"road": 0.8, "moving": None}


def test_seeds_are_averaged_over_what_is_defined() -> None:
    def results(auroc: float | None, data: str = "animals") -> OodResults:
        values = {"run_id": "r", "source": "s", "seq": 0, "t": 0.0, "level": "pixel", "score": "msp"}
        numbers = {"positives": 1, "negatives": 1, "error": 0.0, "threshold": 0.0, "risk_coverage": []}
        others = ("average_precision", "fpr95", "rejected_in", "rejected_out", "aurc")
        parts = ("component_f1", "best_component_f1", "best_threshold")
        return OodResults(
            data, [OodRow(**values, **numbers, auroc=auroc, **dict.fromkeys((*others, *parts)))]
        )

    lines = ood_lines(
        [
            ("A", [(0, [results(0.1), results(0.6)]), (1, [results(0.8)]), (2, [results(None)])]),
            ("B", [(0, [results(0.5)])]),
        ]
    )
    # Of two results on the same data the newer one counts.
    assert [(line.letter, line.auroc) for line in lines] == [("A", pytest.approx(0.7)), ("B", 0.5)]
    assert lines[0].told[0] == "0.7000 (n=2)"
    (line,) = ood_lines([("A", [(0, [results(None)])])])
    assert line.auroc is None
    # A seed that was run twice counts once, by the mean of its runs.
    (line,) = ood_lines([("A", [(0, [results(0.2)]), (0, [results(0.4)]), (1, [results(0.7)])])])
    assert (line.auroc, line.told[0]) == (pytest.approx(0.5), "0.5000")


def test_data_of_one_name_in_two_folders_is_told_apart(seg: Command, workspace: Workspace) -> None:
    import_made_up_run(workspace, GOOD, finished_journal(), name="good")
    for run_id, folder, auroc in (("oooo1111", "/a/images", 0.25), ("oooo2222", "/b/images", 0.75)):
        stored = detection_config(GOOD).model_dump(mode="json")
        stored["ood"]["out_root"] = folder
        journal = detection_journal({("pixel", "msp"): auroc})
        import_made_up_run(workspace, run_id, journal, config=RunConfig.model_validate(stored))
    lines = seg("compare good --format json").json["ood"]
    assert [(line["data"], line["auroc"]) for line in lines] == [("a/images", 0.25), ("b/images", 0.75)]


def test_environments_count_a_seed_that_was_run_twice_once(looked_at: Workspace) -> None:
    with looked_at.open_store() as store:
        rows = store.results.newest_environments(GOOD)

    def measured(dice: float) -> list[EnvironmentRow]:
        return [replace(row, dice=dice, dice_difference=dice - 1) for row in rows]

    runs = [(0, measured(0.2)), (0, measured(0.4)), (1, measured(0.7))]
    for line in environment_lines([("A", runs)]):
        assert line.dice is not None
        assert (line.dice.mean, line.dice.difference, line.dice.n) == pytest.approx((0.5, -0.5, 2))


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("ood", "good --accept 0.99"),
        ("ood", "strange"),
        ("coverage", "good"),
        ("robustness", "good other"),
        ("robustness", "rrrr1111 --columns 1 --measure miou"),
        ("generalise", "good --measure miou"),
    ],
)
def test_figures_are_drawn(seg: Command, looked_at: Workspace, tmp_path: Path, kind: str, line: str) -> None:
    done = seg(f"figure {kind} {line} --out '{tmp_path / 'drawn.png'}'")
    assert (done.status, done.err) == (0, "")
    with Image.open(tmp_path / "drawn.png") as picture:
        assert picture.width > 900


def test_the_former_name_of_a_figure_draws_it_with_a_note(seg: Command, looked_at: Workspace) -> None:
    done = seg("figure unknown good")
    assert done.status == 0
    assert done.err == "note: figure unknown is now figure ood\n"
    assert [Path(line).name for line in done.out.splitlines()] == ["ood.png", "ood.pdf"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "figure ood other",
            "has no out-of-distribution results; `seg-engine ood bbbb2222 --ood-data ROOT` measures some",
        ),
        ("figure ood good --score mps", "--score mps: must be one of msp, entropy"),
        ("figure ood good --score msp", "out__a_msp.png is missing from the gallery"),
        ("figure ood good other", "out-of-distribution results are drawn of one run; 2 were given"),
        ("figure coverage good other", "out-of-distribution results are drawn of one run; 2 were given"),
        ("figure generalise other", "no run was scored in other environments"),
        ("figure robustness strange", "no run was scored on corrupted images"),
        ("figure robustness good --measure loss", "loss: corrupted images have dice"),
    ],
)
def test_what_cannot_be_drawn_is_said(seg: Command, looked_at: Workspace, line: str, says: str) -> None:
    done = seg(line)
    assert done.status == 2
    assert says in done.err


def test_a_report_has_both_and_how_to_make_them_again(
    seg: Command, looked_at: Workspace, tmp_path: Path
) -> None:
    (experiment,) = {row["experiment"] for row in seg("runs --json").json}
    assert seg(f"report {experiment} --out '{tmp_path / 'report'}'").status == 0
    page = (tmp_path / "report" / "report.md").read_text()
    assert "## Out-of-distribution detection" in page
    assert "## Robustness" in page
    assert "figures/robustness.png" in page
    assert "| good | fog | 0.8000 | 0.5000 | 0.3000 |" in page
    assert "seg-engine ood good --id-data /in --ood-data /out --split val --accept 0.95" in page
    assert "seg-engine robustness other --split val" in page
    assert "## Unseen environments" in page
    assert "| good | town | 3 | 0.5000 | -0.3000 | -0.4000 to -0.2000 " in page
    assert "merged before scoring: moving: person + car" in page
    town = "/data/town,name=town,layout=auto,classes=auto,split=test"
    assert f"seg-engine generalise good --split val --data {town} --corruptions fog --strength 3" in page
    assert "--class-map /maps/two.toml" in page


def test_data_sets_of_one_name_are_told_apart_by_their_paths(
    seg: Command, looked_at: Workspace, tmp_path: Path
) -> None:
    elsewhere = generalise_journal()
    elsewhere.events = [
        event.model_copy(update={"root": "/mnt/town"})
        if isinstance(event, EnvironmentResult) and event.kind == "data"
        else event
        for event in elsewhere.events
    ]
    assert "/town" not in seg("compare good --format md").out
    import_made_up_run(looked_at, "gggg2222", elsewhere, config=generalise_config(OTHER), name="elsewhere")
    lines = seg("compare good other --format json").json["environments"]
    told = [line["environment"] for line in lines]
    assert told == [*["validation"] * 2, *["fog 3"] * 2, "data/town", "mnt/town"]
    assert seg(f"report test --out '{tmp_path / 'report'}'").status == 0
    page = (tmp_path / "report" / "report.md").read_text()
    assert "| good | data/town | 3 |" in page
    assert "| other | mnt/town | 3 |" in page
    assert "mnt/town: no label is moving" in page


def test_only_data_sets_that_share_a_name_are_called_by_more_of_their_paths() -> None:
    def told(*runs: list[tuple[str, str]]) -> list[list[str]]:
        rows = [[environment(name, root) for name, root in run] for run in runs]
        return [[row.environment for row in run] for run in told_apart(rows)]

    def environment(name: str, root: str) -> EnvironmentRow:
        event = generalise_journal().events[-2]
        assert isinstance(event, EnvironmentResult)
        known = {key: value for key, value in event.model_dump().items() if key in NAMES_OF_ROW}
        return EnvironmentRow(run_id="r", source="s", **known | {"environment": name, "root": root})

    assert told([("town", "/a/town"), ("rain", "/b/rain")]) == [["town", "rain"]]
    assert told([("town", "/a/town"), ("town 2", "/b/town")]) == [["a/town", "b/town"]]
    assert told([("town", "/b/town")], [("town", "/a/town"), ("town 2", "/b/town")]) == [
        ["b/town"],
        ["a/town", "b/town"],
    ]
    assert told([("town", "/a/x/town")], [("town", "/b/x/town")]) == [["a/x/town"], ["b/x/town"]]
    assert told([("night", "/a/one")], [("night", "/a/two")]) == [["night (one)"], ["night (two)"]]
    own = replace(environment("town", "/own"), kind="own")
    (rows,) = told_apart([[own, environment("town 2", "/b/town")]])
    assert [row.environment for row in rows] == ["town", "town 2"]
    # Two splits of one folder are not two places.
    assert told([("town", "/a/town"), ("town 2", "/a/town")]) == [["town", "town 2"]]


NAMES_OF_ROW = {each.name for each in fields(EnvironmentRow)}


def test_a_score_map_is_read_as_shares_or_its_fault_is_named(tmp_path: Path) -> None:
    write_score_maps(tmp_path)
    like = np.zeros((16, 32), np.uint8)
    shares = read_score_map(tmp_path, "out__a", "energy", like)
    assert (shares[0, 0], shares[0, 31]) == (pytest.approx(0.3, abs=1e-4), pytest.approx(0.995, abs=1e-4))
    coloured = heat(shares)
    assert coloured[0, 31].sum() > coloured[0, 0].sum()
    with pytest.raises(PictureError, match="is 16x32, its ground truth is 4x4"):
        read_score_map(tmp_path, "out__a", "energy", like[:4, :4])
    path = tmp_path / "scores" / "out__a_energy.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(PictureError, match="is damaged"):
        read_score_map(tmp_path, "out__a", "energy", like)
