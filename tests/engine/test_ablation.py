"""What ingredients bought, and systems at equal budgets: which runs belong together, and the numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.report.ablation import ablations_of, paired
from engine.report.beyond import beyond_blocks, beyond_record, findings_of
from engine.report.compare import compare
from engine.report.measures import ComparedRun
from engine.report.page import to_markdown
from engine.report.paired import paired_difference
from engine.store import Store
from tests.engine.made_up_runs import MadeUpJournal, add_run, ingest, open_store

Make = Callable[..., ComparedRun]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return maker(open_store(tmp_path))


def maker(store: Store) -> Make:
    """Makes finished runs of a recipe whose best validation Dice is `dice`, after two epochs of 80 images."""

    def made(
        name: str,
        dice: float,
        seed: int = 0,
        recipe: str = "quick",
        keys: Mapping[str, Any] | None = None,
        finished: bool = True,
    ) -> ComparedRun:
        run_id = f"run{len(store.runs()):05d}"
        config = with_values(
            get_recipe(recipe), {"data.root": "/data/city", "seed": seed, "epochs": 2, **(keys or {})}
        )
        add_run(store, run_id, config, name=f"{name} seed={seed}")
        journal = MadeUpJournal()
        journal.begin()
        journal.epoch(1, 0.1, dice / 2, seconds=1799.0)
        journal.epoch(2, 0.2, dice, seconds=1799.0)
        if finished:
            journal.finish(2)
        ingest(store, run_id, journal.events)
        return ComparedRun(store.run(run_id), store.results.epochs(run_id))

    return made


# --- The numbers -------------------------------------------------------------------------------


def test_a_difference_is_paired_by_seed_with_an_interval_by_students_t() -> None:
    # Differences 0.1, 0.2, 0.3: mean 0.2, deviation 0.1; t of 2 degrees of freedom at 97.5 % is 4.30265.
    found = paired_difference({0: 0.6, 1: 0.5, 2: 0.7, 9: 0.1}, {2: 0.4, 1: 0.3, 0: 0.5, 8: 0.9})
    assert found is not None
    assert found.interval is not None
    assert found.n == 3
    assert found.mean == pytest.approx(0.2)
    assert found.interval == pytest.approx(
        (0.2 - 4.30265 * 0.1 / 3**0.5, 0.2 + 4.30265 * 0.1 / 3**0.5), abs=1e-5
    )
    assert found.is_noise is True


def test_what_seeds_agree_on_is_no_noise_and_one_seed_says_nothing_of_it() -> None:
    agreed = paired_difference({0: 0.61, 1: 0.60}, {0: 0.50, 1: 0.491})
    assert agreed is not None
    assert agreed.is_noise is False
    alone = paired_difference({0: 0.6}, {0: 0.5})
    assert alone is not None
    assert (alone.interval, alone.is_noise) == (None, None)
    assert paired_difference({0: 0.6}, {1: 0.5}) is None


def test_of_several_runs_of_a_seed_the_mean_is_paired_in_whatever_order_they_come(make: Make) -> None:
    whole = [make("quick", 0.6, 0), make("quick", 0.7, 1)]
    flipless = [
        make("mine", 0.2, 0, keys={"augment.flip": 0}, finished=False),
        make("mine", 0.5, 0, keys={"augment.flip": 0}),
        make("mine", 0.6, 1, keys={"augment.flip": 0}),
    ]
    for without in (flipless, flipless[::-1]):
        found = paired(whole, without, "best_dice")
        assert found is not None
        assert (found.n, found.mean) == (2, pytest.approx(((0.6 - 0.35) + (0.7 - 0.6)) / 2))


def test_a_seed_that_was_run_twice_counts_once_in_every_mean(make: Make) -> None:
    keys = {"budget.hours": 1.0}
    runs = [
        make("quick", 0.6, 0, keys=keys),
        make("quick", 0.6, 0, keys=keys),
        make("quick", 0.6, 0, keys=keys),
        make("quick", 0.8, 1, keys=keys),
        make("modern", 0.4, 0, recipe="quick-modern", keys=keys),
        make("modern", 0.4, 1, recipe="quick-modern", keys=keys),
    ]
    (equal,) = findings_of(runs).budgets
    dice, behind = equal.standings[0].dice, equal.standings[1].behind
    assert (dice.mean, dice.n, dice.sd) == (pytest.approx(0.7), 2, pytest.approx(0.02**0.5))
    assert behind is not None
    assert behind.mean == pytest.approx(0.3)
    entry, other = compare(runs, fold_seeds=True).entries
    assert (entry.title, other.title) == ("quick, 2 seeds", "modern, 2 seeds")
    assert entry.values["best_dice"].mean == pytest.approx(0.7)


# --- Which runs belong together ----------------------------------------------------------------


def test_runs_that_lack_one_ingredient_are_found_by_their_configs(make: Make) -> None:
    whole = [make("quick", 0.60 + 0.01 * seed, seed) for seed in range(2)]
    flipless = [make("mine", 0.50 + 0.011 * seed, seed, keys={"augment.flip": 0}) for seed in range(2)]
    constant = [make("c", 0.61, seed, keys={"schedule.name": "constant"}) for seed in range(2)]
    two_things = make("two", 0.3, keys={"augment.flip": 0, "optimizer.weight_decay": 0})
    other = make("other", 0.9, keys={"model.width": 8})
    (found,) = ablations_of([*flipless, *constant, two_things, other, *whole])
    assert found.name == "quick"
    assert [(each.ingredient.name, len(each.without)) for each in found.bought] == [
        ("flips", 2),
        ("its schedule", 2),
    ]
    flips, schedule = (each.dice for each in found.bought)
    assert flips is not None
    assert schedule is not None
    assert (flips.mean, flips.is_noise) == (pytest.approx(0.0995), False)
    assert (schedule.mean, schedule.is_noise) == (pytest.approx(-0.005), True)


def test_the_network_of_the_baseline_is_an_ingredient_too(make: Make) -> None:
    whole = make("modern", 0.6, recipe="quick-modern")
    flipless = make("flipless", 0.5, recipe="quick-modern", keys={"augment.flip": 0})
    narrow = make("unet", 0.4, recipe="quick-modern", keys={"model.name": "unet", "model.width": 5})
    (found,) = ablations_of([whole, flipless, narrow])
    assert [each.ingredient.name for each in found.bought] == ["its network", "flips"]


def test_two_runs_that_differ_are_no_ablation(make: Make) -> None:
    assert ablations_of([make("quick", 0.6), make("flipless", 0.5, keys={"augment.flip": 0})]) == []


# --- Equal budgets -----------------------------------------------------------------------------


def hours(**keys: Any) -> dict[str, Any]:
    return {"budget.hours": 1.0, **{key.replace("__", "."): value for key, value in keys.items()}}


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> list[ComparedRun]:
    """Three systems at equal time over two seeds, one of them at two learning rates, and an ablation."""
    make, runs = maker(open_store(tmp_path_factory.mktemp("store"))), []
    for seed in range(2):
        more = 0.01 * seed
        runs += [
            make("quick (1 h)", 0.60 + more, seed, keys=hours()),
            make("modern (1 h)", 0.40 + more, seed, recipe="quick-modern", keys=hours()),
            make("tuned lr=0.1 (1 h)", 0.30, seed, keys=hours(optimizer__lr=0.1, batch_size=4)),
            make("tuned lr=0.2 (1 h)", 0.50, seed, keys=hours(optimizer__lr=0.2, batch_size=4)),
            make("quick without flips (1 h)", 0.50 + more, seed, keys=hours(augment__flip=0)),
            make("quick without wd (1 h)", 0.70, seed, keys=hours(optimizer__weight_decay=0)),
        ]
    runs.append(make("alone", 0.9, keys={"budget.images": 99}))
    return runs


def test_systems_at_one_budget_are_held_against_the_recipe_that_was_taken_apart(
    contest: list[ComparedRun],
) -> None:
    (equal,) = findings_of(contest).budgets
    assert (equal.budget.title, equal.leading.name) == ("At equal time: 1 hour", "quick (1 h)")
    assert [standing.name for standing in equal.standings] == [
        "quick (1 h)",
        "tuned lr=0.2 (1 h)",
        "modern (1 h)",
    ]
    quick, tuned, modern = equal.standings
    assert quick.behind is None
    assert tuned.rates == ("0.1", "0.2")
    assert modern.behind is not None
    assert modern.behind.interval == pytest.approx((0.2, 0.2))
    assert quick.images is not None
    assert quick.hours is not None
    assert (quick.images.mean, quick.hours.mean) == (160, 1.0)


def test_the_report_says_what_was_bought_what_is_noise_and_what_was_chosen(
    contest: list[ComparedRun],
) -> None:
    page = to_markdown(beyond_blocks(findings_of(contest), {}))
    assert "quick (1 h) has 1.21 times the Dice of the best other, tuned lr=0.2 (1 h)." in page
    assert "tuned lr=0.2 (1 h) is the best of 2 learning rates (0.1, 0.2): 0.2 was chosen" in page
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines() if line[:2] == "| "}
    assert "| +0.1000 \\[+0.1000, +0.1000] |" in lines["flips"]
    assert lines["flips"].endswith("| helps |")
    # 0.60 and 0.61 against 0.70: the mean -0.095, deviation 0.00707, t of 1 degree of freedom 12.7062.
    assert "| -0.0950 \\[-0.1585, -0.0315] |" in lines["weight decay"]
    assert lines["weight decay"].endswith("| harms |")


def test_a_score_without_an_ingredient_is_of_the_seeds_that_the_recipe_has(make: Make) -> None:
    """Or the difference beside it would not be that of the two scores."""
    runs = [
        make("quick", 0.6, 0),
        *(make("flipless", 0.5 + 0.2 * seed, seed, keys={"augment.flip": 0}) for seed in range(2)),
        *(make("wdless", 0.4, seed, keys={"optimizer.weight_decay": 0}) for seed in range(2)),
    ]
    page = to_markdown(beyond_blocks(findings_of(runs), {}))
    (line,) = (line for line in page.splitlines() if line.startswith("| flips"))
    assert "| 1 | 0.5000 | +0.1000 |" in line


def test_runs_that_have_not_finished_are_named_below_their_tables(make: Make) -> None:
    keys = {"budget.hours": 1.0}
    runs = [
        make("quick", 0.6, keys=keys),
        make("without flips", 0.5, keys={**keys, "augment.flip": 0}, finished=False),
        make("without wd", 0.4, keys={**keys, "optimizer.weight_decay": 0}),
        make("modern", 0.7, recipe="quick-modern", keys=keys, finished=False),
    ]
    findings = findings_of(runs)
    told = [line for line in to_markdown(beyond_blocks(findings, {})).splitlines() if "Not finished" in line]
    assert told == [
        "Not finished, and here with the best so far: modern seed=0 (running, epoch 2 (0 %)).",
        "Not finished, and here with the best so far: without flips seed=0 (running, epoch 2 (0 %)).",
    ]
    (budget,) = beyond_record(findings)["budgets"]
    assert budget["unfinished"] == [runs[3].row.id]


def test_programs_get_the_same_numbers(contest: list[ComparedRun]) -> None:
    record = beyond_record(findings_of(contest))
    (budget,), (ablation,) = record["budgets"], record["ablations"]
    assert (budget["kind"], budget["amount"], budget["leading"]) == ("hours", 1.0, "quick (1 h)")
    assert budget["systems"][1]["rates"] == [0.1, 0.2]
    assert budget["systems"][1]["behind"]["mean"] == pytest.approx(0.105)
    flips, decay = ablation["ingredients"]
    assert (flips["ingredient"], decay["ingredient"]) == ("flips", "weight decay")
    assert (decay["dice"]["n"], decay["dice"]["noise"]) == (2, False)


def test_runs_without_budgets_and_ablations_have_no_such_sections(make: Make) -> None:
    findings = findings_of([make("a", 0.5), make("b", 0.6, keys={"model.width": 8})])
    assert not findings
    assert beyond_blocks(findings, {}) == []
