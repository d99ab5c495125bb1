"""`seg-engine explain`: which keys mattered, by how much, of which runs, and what cannot be told."""

from __future__ import annotations

from itertools import product

import pytest
from PIL import Image

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.report.explain import epsilon_squared, spearman
from engine.workspace import Workspace
from tests.engine.conftest import Command, failed_journal, import_made_up_run
from tests.engine.made_up_runs import evaluation_config, evaluation_journal
from tests.engine.test_cli_compare import scored

RATES, WIDTHS, SEEDS = (0.0001, 0.001, 0.01), (32, 64), (0, 1)


@pytest.fixture
def sweep(workspace: Workspace) -> None:
    """A grid in which the learning rate matters most, the width a little and the seed less; a patience that
    goes with the rate; and runs that no sweep can be explained by."""
    for number, (rate, width, seed) in enumerate(product(RATES, WIDTHS, SEEDS)):
        dice = 0.5 + 0.1 * RATES.index(rate) + 0.04 * WIDTHS.index(width) + 0.01 * seed
        values = {"optimizer.lr": rate, "model.width": width, "seed": seed, "note": f"run {number}"}
        values |= {"data.workers": RATES.index(rate)}
        config = with_values(get_recipe("paper-unet"), {k: v for k, v in values.items() if k != "note"})
        import_made_up_run(
            workspace,
            f"aaaa{number:04d}",
            scored(dice),
            config=config,
            name=f"run{number}",
            experiment="grid",
        )
    import_made_up_run(workspace, "bbbb0000", failed_journal(), name="broken", experiment="grid")
    import_made_up_run(
        workspace,
        "cccc0000",
        evaluation_journal("aaaa0000", {"one": 0.5}),
        config=evaluation_config("aaaa0000"),
        name="scored",
        experiment="grid",
    )


def test_epsilon_squared_is_the_share_between_less_what_chance_gives() -> None:
    # Within 1 + 1 on 2 degrees of freedom; in all 0.5 + 0.5 + 4.5 + 4.5 = 10 on 3: 1 - 0.5 / (10 / 3).
    assert epsilon_squared([[1.0, 2.0], [4.0, 3.0]]) == pytest.approx(1 - 0.5 / (5.0 / 3))
    assert epsilon_squared([[1.0], [2.0]]) is None
    assert epsilon_squared([[1.0, 1.0], [1.0]]) == 0
    assert epsilon_squared([[1.0, 3.0], [2.0, 2.0]]) == 0
    # The mean of equal numbers may be rounded to another one.
    for score in (0.1, 0.3, 0.57, 0.61, 0.7, 0.83):
        assert epsilon_squared([[score] * 3, [score] * 3, [score]]) == 0


def test_spearman_takes_the_mean_rank_of_ties() -> None:
    assert spearman([(1, 10), (10, 20), (100, 400)]) == pytest.approx(1)
    assert spearman([(1, 2), (1, 4), (2, 1)]) == pytest.approx(-0.8660254)
    assert spearman([(1, 2), (1, 3)]) is None


@pytest.mark.usefixtures("sweep")
def test_the_keys_come_by_importance_with_what_was_left_out(seg: Command, workspace: Workspace) -> None:
    told = seg("explain --experiment grid --json").json
    rate, width = told["factors"]
    assert [rate["key"], rate["same_as"], rate["is_log"]] == ["optimizer.lr", ["data.workers"], True]
    assert width["key"] == "model.width"
    assert 0.85 < rate["importance"] < 1
    assert width["importance"] < 0.1
    assert rate["trend"] == pytest.approx(0.94, abs=0.02)
    assert [level["score"]["n"] for level in width["levels"]] == [6, 6]
    assert told["seed_sd"] == pytest.approx(0.01 / 2**0.5)
    assert 0 < told["seed_noise"] < 0.02
    assert told["settings"][0]["ids"] == ["aaaa0010", "aaaa0011"]
    assert [note.split(",")[0] for note in told["notes"]] == ["left out: broken", "left out: scored"]

    text = seg("explain 'experiment=grid'").out
    assert text.startswith("best Dice of 12 runs, 6 configs\n")
    assert "optimizer.lr = data.workers" in text
    assert "(seed)" in text
    assert "A signed number such as +0.95: Spearman's rank correlation of key and score." in " ".join(
        text.split()
    )
    assert "one-way analysis of variance" in text

    alone = seg("explain " + " ".join(f"run{number}" for number in range(0, 12, 2)) + " --json").json
    assert alone["seed_noise"] is None
    assert alone["notes"] == ["one seed for each config: how much of a difference is chance cannot be told"]

    done = seg("figure explain 'experiment=grid' --columns 1")
    assert done.out.splitlines() == [
        str(workspace.root / "exports" / f"explain.{ending}") for ending in ("png", "pdf")
    ]
    with Image.open(workspace.root / "exports" / "explain.png") as picture:
        picture.load()


def test_the_keys_that_all_have_alike_are_those_of_all_networks(seg: Command, workspace: Workspace) -> None:
    for number, model in enumerate(("unet", "street_net", "unet", "street_net")):
        config = with_values(get_recipe("quick"), {"model.name": model, "seed": number})
        import_made_up_run(workspace, f"aaaa{number:04d}", scored(0.5 + 0.01 * number), config=config)
    constant = [
        seg(f"explain {' '.join(f'aaaa{number:04d}' for number in order)} --json").json["constant_keys"]
        for order in ((0, 1, 2, 3), (3, 2, 1, 0))
    ]
    assert constant[0] == constant[1]


@pytest.mark.usefixtures("sweep")
def test_a_seed_that_was_run_twice_counts_once(seg: Command, workspace: Workspace) -> None:
    before = seg("explain --experiment grid --json").json
    config = with_values(get_recipe("paper-unet"), {"optimizer.lr": 0.0001, "model.width": 32, "seed": 1})
    for run_id, name in (("dddd0000", "again"), ("dddd0001", "and-again")):
        import_made_up_run(workspace, run_id, scored(0.51), config=config, name=name, experiment="grid")
    after = seg("explain --experiment grid --json").json
    worst = after["settings"][-1]
    assert worst["ids"] == ["aaaa0000", "aaaa0001", "dddd0000", "dddd0001"]
    assert worst["seeds"] == [0, 1]
    assert worst["scores"] == pytest.approx(before["settings"][-1]["scores"])
    assert after["seed_sd"] == pytest.approx(before["seed_sd"])
    for one, other in zip(before["factors"], after["factors"], strict=True):
        assert one["importance"] == pytest.approx(other["importance"])
    assert after["notes"][-1] == "run1, again, and-again: runs of one seed count once, by their mean"


@pytest.mark.usefixtures("sweep")
def test_a_run_that_was_made_again_is_left_out_where_unfinished_ones_count(
    seg: Command, workspace: Workspace
) -> None:
    config = with_values(get_recipe("paper-unet"), {"optimizer.lr": 0.0001, "model.width": 32, "seed": 1})
    journal = scored(0.9)
    journal.events.pop()
    import_made_up_run(workspace, "dddd0000", journal, config=config, name="first-try", experiment="grid")
    told = seg("explain --experiment grid --unfinished --json").json
    assert told["settings"][-1]["ids"] == ["aaaa0000", "aaaa0001"]
    assert "left out: first-try, another of the same seed has finished" in told["notes"]


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("explain run0 run1", "explaining takes 3 runs, and 2 of 2 can be used"),
        (
            "explain run0 broken scored",
            "explaining takes 3 runs, and 1 of 3 can be used: left out: broken, failed",
        ),
        (
            "explain run0 broken scored",
            "left out: broken, failed, with no score yet; scored, of the task evaluate",
        ),
        ("explain run0 'dice>0.1'", "dice>0.1: is a filter beside names of runs"),
        ("explain nobody", "nobody"),
        ("explain 'dice>0.99'", "no run matches"),
        ("explain --measure dise", "dise: is nothing to explain; it must be one of dice, miou"),
    ],
)
def test_what_cannot_be_explained_is_one_line(seg: Command, line: str, says: str) -> None:
    done = seg(line)
    assert done.status != 0
    assert says in done.err
    assert done.err.count("\n") == 1
