"""`seg-engine report`: an experiment written up, whatever state its runs are in."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest

from engine.cli.report import folder_name
from engine.config.files import load_config
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.report.compare import MOST_RUNS
from engine.report.figures.classes import MOST_ENTRIES
from engine.run.events import Failed
from engine.workspace import Workspace
from tests.engine.conftest import Command, failed_journal, import_made_up_run
from tests.engine.made_up_runs import (
    MadeUpJournal,
    evaluation_config,
    evaluation_journal,
    finished_journal,
    robustness_config,
    robustness_journal,
)
from tests.engine.test_cli import write_gallery


def test_a_report_holds_all_that_is_known(seg: Command, workspace: Workspace) -> None:
    config = with_values(get_recipe("paper-unet"), {"data.root": "/data/city"})
    run = import_made_up_run(
        workspace, "aaaa1111", finished_journal(), config=config, name="good", experiment="my study"
    )
    write_gallery(run, epoch=3)
    import_made_up_run(workspace, "bbbb2222", failed_journal(), name="bad", experiment="my study")
    done = seg("report 'my study'")
    folder = workspace.root / "reports" / "my study"
    assert (done.status, done.out.strip()) == (0, str(folder / "report.html"))
    figures = {path.name for path in (folder / "figures").iterdir()}
    kinds = ("curves", "loss", "classes", "samples", "confusion")
    assert figures == {f"{kind}.{ending}" for kind in kinds for ending in ("png", "pdf")}
    page, markdown = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert page.count("data:image/png;base64,") == len(kinds)
    for fact in ("0.31719", "0.6000", "31.0 M", "torch 2.10", "Some CPU", "bad (bbbb2222)"):
        assert fact in page
        assert fact in markdown
    assert "seg-engine run paper-unet --data /data/city --name good --experiment 'my study'" in markdown
    assert all(
        (folder / f"figures/{kind}.png").is_file() for kind in kinds if f"figures/{kind}.png" in markdown
    )
    assert load_config(folder / "configs" / "aaaa1111.toml") == config
    assert [row["id"] for row in csv.DictReader((folder / "runs.csv").open())] == ["aaaa1111", "bbbb2222"]
    assert json.loads((folder / "comparison.json").read_text())["entries"][0]["runs"] == ["aaaa1111"]


def test_what_a_report_no_longer_has_is_removed(seg: Command, workspace: Workspace) -> None:
    import_made_up_run(workspace, "aaaa1111", finished_journal(), experiment="lr")
    folder = workspace.root / "reports" / "lr"
    of_before = [
        folder / name for name in ("ablation.json", "figures/robustness.png", "figures/hours-0.5.pdf")
    ]
    (folder / "figures").mkdir(parents=True)
    for path in of_before:
        path.write_text("of runs that are gone")
    own = folder / "figures" / "mine.png"
    own.write_text("mine")
    assert seg("report lr").status == 0
    assert not any(path.exists() for path in of_before)
    assert own.read_text() == "mine"


def test_a_seed_that_failed_and_was_made_again_counts_once(seg: Command, workspace: Workspace) -> None:
    config = with_values(get_recipe("paper-unet"), {"data.root": "/data/city"})
    failed = MadeUpJournal()
    failed.begin()
    failed.epoch(1, 0.1, 0.2)
    failed.add(Failed(cause="diverged", message="the loss became nan", traceback="Traceback"))
    for run_id, journal in (("aaaa1111", failed), ("bbbb2222", finished_journal())):
        import_made_up_run(workspace, run_id, journal, config=config, name=run_id[:4], experiment="seeds")
    assert seg("report seeds").status == 0
    folder = workspace.root / "reports" / "seeds"
    markdown = (folder / "report.md").read_text()
    assert (
        "Not counted, as another run of the same config and seed has finished: aaaa (aaaa1111)." in markdown
    )
    assert "left out" not in markdown
    (entry,) = json.loads((folder / "comparison.json").read_text())["entries"]
    assert entry["runs"] == ["bbbb2222"]
    done = seg(f"figure curves aaaa bbbb --fold-seeds --out '{folder / 'curve.png'}'")
    assert "left out: aaaa: another run of the same seed has finished" in done.err


def test_runs_that_ended_without_a_score_are_named(seg: Command, workspace: Workspace) -> None:
    """Tables of scores cannot have them, and a system that always diverges says something, too."""
    diverged = MadeUpJournal()
    diverged.begin()
    diverged.add(Failed(cause="diverged", message="the loss became nan in epoch 1", traceback=""))
    import_made_up_run(workspace, "aaaa1111", finished_journal(), name="good", experiment="study")
    import_made_up_run(workspace, "bbbb2222", diverged, name="too fast", experiment="study")
    late = MadeUpJournal()
    late.begin()
    late.epoch(1, 0.1, 0.2)
    late.add(Failed(cause="diverged", message="the loss became nan in epoch 2", traceback=""))
    import_made_up_run(workspace, "cccc3333", late, name="late", experiment="study")
    assert seg("report study").status == 0
    markdown = (workspace.root / "reports" / "study" / "report.md").read_text()
    told = [line for line in markdown.splitlines() if "without a score" in line]
    assert told == ["Ended without a score, and so in no table of scores: too fast (bbbb2222: diverged)."]


def test_no_two_experiments_share_a_folder_and_none_leaves_it() -> None:
    names = ["a b", "a-b", "a/b", "a%2Fb", "..", ".", "straße", "a\n", 300 * "x", 301 * "x", 130 * "ß"]
    folders = [folder_name(name) for name in names]
    assert folders[:2] == ["a b", "a-b"]
    assert len(set(folders)) == len(names)
    assert max(len(folder.encode()) for folder in folders) == 255
    assert all("/" not in folder and not folder.startswith(".") for folder in folders)


def test_an_experiment_without_any_score_has_a_report_without_figures(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    import_made_up_run(workspace, "aaaa1111", name="waits", experiment="new")
    done = seg(f"report new --out {tmp_path / 'there'}")
    assert done.status == 0
    markdown = (tmp_path / "there" / "report.md").read_text()
    assert "waits (aaaa1111) is queued, epoch 0/60" in markdown
    assert "## Curves" not in markdown
    assert not (tmp_path / "there" / "figures").exists()


def test_of_many_runs_the_best_are_compared_and_that_is_said(seg: Command, workspace: Workspace) -> None:
    for i in range(MOST_RUNS + 2):
        config = with_values(get_recipe("quick"), {"model.width": i + 1})
        journal = finished_journal() if i > 1 else failed_journal()
        import_made_up_run(
            workspace, f"run{i:05d}", journal, config=config, name=f"w{i}", experiment="x", created=900.0 + i
        )
    assert seg("report x").status == 0
    markdown = (workspace.root / "reports" / "x" / "report.md").read_text()
    assert "These are the best 12; 2 other runs are left out." in markdown
    assert f"at each run's best epoch. The best {MOST_ENTRIES} of 12." in markdown
    assert (workspace.root / "reports" / "x" / "figures" / "classes.png").is_file()
    assert "seg-engine run quick model.width=1 " in markdown


def test_of_many_evaluations_alone_the_first_are_compared_and_that_is_said(
    seg: Command, workspace: Workspace
) -> None:
    for i in range(MOST_RUNS + 1):
        config = with_values(evaluation_config("gone0000"), {"seed": 0, "data.size": f"{16 * (i + 1)}x16"})
        journal = evaluation_journal("gone0000", {"a": 0.5})
        import_made_up_run(
            workspace, f"eval{i:04d}", journal, config=config, experiment="x", created=900.0 + i
        )
    assert seg("report x").status == 0
    markdown = (workspace.root / "reports" / "x" / "report.md").read_text()
    assert "These are the first 12; 1 other run is left out." in markdown


@pytest.mark.parametrize("name", ["a (second) try", "x or y", '"quoted"'])
def test_archived_runs_are_told_whatever_the_experiment_is_called(
    seg: Command, workspace: Workspace, name: str
) -> None:
    import_made_up_run(workspace, "aaaa1111", finished_journal(), name="kept", experiment=name)
    import_made_up_run(workspace, "bbbb2222", finished_journal(), name="away", experiment=name)
    import_made_up_run(workspace, "cccc3333", finished_journal(), name="y", experiment="other")
    seg("archive bbbb cccc")
    assert "archived runs are left out: bbbb2222\n" in seg(shlex.join(["report", name])).err
    seg("archive aaaa")
    none = seg(shlex.join(["report", name]))
    assert (none.status, none.err) == (
        2,
        f"error: {name}: all its runs are archived; `seg-engine unarchive RUN` shows one again\n",
    )


def test_what_a_figure_has_no_room_for_is_told_below_it(seg: Command, workspace: Workspace) -> None:
    for i in range(MOST_ENTRIES + 1):
        source, robust = f"aaaa{i:04d}", f"robu{i:04d}"
        import_made_up_run(workspace, source, finished_journal(), name=f"n{i}", experiment="x")
        import_made_up_run(workspace, robust, robustness_journal(), config=robustness_config(source))
    assert seg("report x").status == 0
    markdown = (workspace.root / "reports" / "x" / "report.md").read_text()
    assert f"0: images as they are. The first {MOST_ENTRIES} of {MOST_ENTRIES + 1} runs." in markdown


def test_a_report_is_written_again_over_itself(seg: Command, workspace: Workspace) -> None:
    import_made_up_run(workspace, "aaaa1111", finished_journal(), name="good", experiment="x")
    assert seg("report x").status == 0
    assert seg("report x").status == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [("report papr", "papr: no such experiment; did you mean paper?"), ("report", "missing argument")],
)
@pytest.mark.usefixtures("two_runs")
def test_what_cannot_be_reported_is_one_line(
    seg: Command, workspace: Workspace, line: str, says: str
) -> None:
    done = seg(line)
    assert (done.status, done.out) == (2, "")
    assert says in done.err
    assert len(done.err.splitlines()) == 1
    assert not (workspace.root / "reports").exists()
