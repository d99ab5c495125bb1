"""`seg-engine figure`: where the files go, and what is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image

from engine.cli.figure import OF_KINDS, refuse_meaningless
from engine.cli.figure_options import FIGURES, FigureOptions
from engine.config.keys import ConfigError
from engine.config.run_config import RunConfig
from engine.workspace import Workspace
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import (
    MadeUpJournal,
    evaluation_config,
    evaluation_journal,
    finished_journal,
    generalise_config,
    generalise_journal,
    robustness_config,
    robustness_journal,
)
from tests.engine.test_cli import write_gallery


@pytest.fixture(autouse=True)
def _runs(workspace: Workspace) -> None:
    write_gallery(import_made_up_run(workspace, "aaaa1111", finished_journal(), name="good"), epoch=3)
    import_made_up_run(workspace, "bbbb2222", name="empty")


@pytest.mark.parametrize("kind", ["samples", "curves", "classes", "confusion"])
def test_each_kind_becomes_a_png_and_a_pdf_in_the_folder_of_the_run(
    seg: Command, workspace: Workspace, kind: str
) -> None:
    done = seg(f"figure {kind} good")
    folder = workspace.run_dir("aaaa1111").outputs
    assert done.status == 0
    assert done.out.splitlines() == [str(folder / f"{kind}.png"), str(folder / f"{kind}.pdf")]
    with Image.open(folder / f"{kind}.png") as picture:
        picture.load()
        assert picture.info["Description"] == "seg-engine runs aaaa1111"
    assert (folder / f"{kind}.pdf").read_bytes().startswith(b"%PDF")


def test_the_confusion_of_a_split_that_only_evaluations_scored_is_theirs(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    for run, begins in (("cccc3333", 3000.0), ("dddd4444", 4000.0)):
        journal = evaluation_journal("aaaa1111", {"a": 0.5}, begins=begins)
        import_made_up_run(workspace, run, journal, config=evaluation_config("aaaa1111"))
    done = seg(f"figure confusion good --at original --out '{tmp_path / 'c.png'}'")
    assert (done.status, done.err.strip()) == (0, "of the evaluation dddd4444 of val at original")
    assert seg(f"figure confusion good --out '{tmp_path / 'd.png'}'").err == ""


def test_the_ending_of_out_says_what_is_written(seg: Command, tmp_path: Path) -> None:
    there = tmp_path / "new folder" / "curve.pdf"
    assert seg(f"figure curves good --published --columns 2 --out '{there}'").out.strip() == str(there)
    assert [path.name for path in there.parent.iterdir()] == ["curve.pdf"]
    assert len(seg(f"figure curves good --out '{there.parent / 'both'}'").out.splitlines()) == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "figure curve good",
            "curve: is not a kind of figure; it must be one of samples, curves, classes, conf",
        ),
        ("figure curves good --out x.jpg", "x.jpg: a figure is a PNG or PDF"),
        ("figure curves empty", "no epoch of these runs has a Dice"),
        ("figure curves good --measure dise", "dise: is nothing a curve can be of"),
        (
            "figure curves good --published --against hours",
            "--published: its scores have epochs but no hours",
        ),
        ("figure classes empty", "these runs have no scores by class"),
        ("figure confusion good empty", "a confusion matrix shows one run; 2 were given"),
        ("figure confusion empty", "bbbb2222 has no evaluation of val; it has none yet"),
        ("figure confusion good --at original", "no evaluation of val at original; it has val at input"),
        ("figure samples empty", "no gallery yet"),
        ("figure samples good --epoch 2", "the gallery has no epoch 2; it has 3"),
        ("figure samples good empty", "aaaa1111 and bbbb2222 have different classes"),
        (
            "figure ood good --fold-seeds",
            "--fold-seeds: has no effect on figure ood; it is for samples, curves, classes",
        ),
        (
            "figure curves good --experiment default",
            "--experiment: has no effect on figure curves; it is for speed, explain",
        ),
        ("figure speed good --at input", "--at: of figure speed, is for --evaluation; add that"),
        ("figure curves good --columns 3", "must be less than or equal to 2"),
        ("figure curves zzzz", "zzzz: no run has that id or name"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_leaves_nothing(
    seg: Command, workspace: Workspace, line: str, says: str
) -> None:
    done = seg(line)
    assert (done.status, done.out) == (2, "")
    assert says in done.err
    assert len(done.err.splitlines()) == 1
    assert list(workspace.run_dir("aaaa1111").outputs.iterdir()) == []


def test_each_option_says_for_which_kinds_it_is() -> None:
    chosen = FigureOptions(
        fold_seeds=True, measure="miou", against="hours", published=True, epoch=1, samples=1, split="test",
        at="input", score="msp", accept=0.5, evaluation=True, experiment="lr", protocol="literature",
        precision="fp32", size="8x8", compiled=True, runtime="onnxruntime", columns=1, out=Path("x.png"),
    )  # fmt: skip
    assert all(getattr(chosen, each.name) != each.default for each in fields(FigureOptions))
    for kind in FIGURES:
        with pytest.raises(ConfigError) as caught:
            refuse_meaningless(kind, chosen)
        refused = {line.split(":")[0][2:].replace("-", "_") for line in caught.value.problems}
        assert refused == {name for name, kinds in OF_KINDS.items() if kind not in kinds}


@pytest.mark.parametrize(
    ("kind", "config", "journal"),
    [
        ("robustness", robustness_config, robustness_journal),
        ("generalise", generalise_config, generalise_journal),
    ],
)
def test_runs_that_have_nothing_to_be_drawn_are_told(
    seg: Command,
    workspace: Workspace,
    kind: str,
    config: Callable[[str], RunConfig],
    journal: Callable[[], MadeUpJournal],
) -> None:
    import_made_up_run(workspace, "looks000", journal(), config=config("aaaa1111"))
    done = seg(f"figure {kind} good empty")
    assert done.status == 0, done.err
    assert "left out: empty: not scored " in done.err
    assert f"`seg-engine {kind} RUN`" in done.err
    assert "left out" not in seg(f"figure {kind} good").err
