"""`seg-engine study pt`: what it plans, that pre-training is shared, and what the report makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config.keys import ConfigError, with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.synthetic import synthesize
from engine.exits import BAD_USE
from engine.report.measures import ComparedRun
from engine.report.page import to_markdown
from engine.report.pretraining import held_against_scratch, pretraining_blocks
from engine.requests.studies.plan import PlannedRun, hours_of, queue_plan, run_count
from engine.requests.studies.pretraining import Question, pretraining_plan
from engine.store import Store
from engine.workspace import Workspace
from tests.engine.conftest import Command
from tests.engine.made_up_runs import MadeUpJournal, add_run, ingest, open_store

SMALL = Question("quick-modern", 3.0, 0, labels=(0.2, 1.0), noises=(0.22, 0.5), rates=(1, 3), seeds=2)


def planned(question: Question, *changes: str) -> list[PlannedRun]:
    return pretraining_plan(Path("/data"), question, changes)


def test_each_arm_costs_the_same_and_pre_training_is_shared() -> None:
    plan = planned(SMALL)
    assert [each.name for each in plan] == [
        "scratch (20% labels, 3 h)",
        "pt (20% labels, 3 h)",
        "pt decoder (20% labels, 3 h)",
        "scratch (100% labels, 3 h)",
        "pt (100% labels, 3 h)",
        "pt decoder (100% labels, 3 h)",
        "pt noise=0.5 (100% labels, 3 h)",
        "scratch lr=0.003 (100% labels, 3 h)",
        "pt lr=0.003 (100% labels, 3 h)",
    ]
    for each in plan:
        spent = 0.0 if each.first is None else each.first.budget.hours
        assert each.config.budget.hours + spent == pytest.approx(3)
        assert (each.first is None) == each.name.startswith("scratch")
    few, whole, decoder = plan[1], plan[4], plan[5]
    assert few.first == whole.first == decoder.first
    assert few.first is not None
    assert (few.first.task, few.first.data.label_fraction) == ("pretrain", 1.0)
    assert (few.config.init.parts, decoder.config.init.parts) == ("all", "decoder")
    assert few.config.validation.every == 5 * whole.config.validation.every
    # Nine trainings of two seeds, and one pre-training each for noise, noise 0.5 and the other rate.
    assert run_count(plan) == 2 * (9 + 3)
    assert hours_of(plan) == pytest.approx(2 * (3 * 3 + 6 * 2 + 3 * 1))


def test_budgets_are_images_too() -> None:
    question = Question("quick-modern", 2.0, 1000, labels=(1.0,), noises=(), rates=(), seeds=1)
    plan = planned(question, "seed=4")
    assert [each.config.budget.images for each in plan] == [0, 0, 0, 1000, 667, 667]
    assert plan[4].first is not None
    assert plan[4].first.budget.images == 333
    assert {each.seeds for each in plan} == {(4,)}


@pytest.mark.parametrize(
    ("question", "changes", "problem"),
    [
        (Question("quick-modern", 0, 0), [], "--budget and --images: are both 0"),
        (Question("quick-modern", labels=(1.5,)), [], r"--labels: 1\.5 is not allowed"),
        (Question("quick-modern", share=0), [], "--share: 0 is not allowed"),
        (Question("quick-modern", 0, 1), [], "--images 1: is too little .* nothing for pre-training"),
        (Question("quick-modern", 1, 9, share=0.99), [], "--images 9: .* leaves nothing for training"),
        (Question("quick-modern", 1e-6, 9), [], "--budget 1e-06: is too little to be divided"),
        (Question("quick-modern"), ["budget.hours=2"], r"budget\.hours: is set by the study itself"),
    ],
)
def test_what_cannot_be_asked_is_refused(question: Question, changes: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        planned(question, *changes)


def test_a_share_that_is_named_twice_is_one() -> None:
    once, twice = (Question("quick-modern", labels=labels) for labels in ((0.5, 1), (0.5, 1, 0.5)))
    assert planned(twice) == planned(once)


def test_a_recipe_that_begins_with_weights_of_its_own_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('[model]\nname = "unet"\n[init]\nweights = "street.pt"\n')
    with pytest.raises(
        ConfigError, match=r"--recipe .*mine\.toml: init\.weights: is street\.pt; .* must be empty"
    ):
        planned(Question(str(recipe), images=900))


def test_trainings_start_from_the_weights_of_their_shared_pre_training(workspace: Workspace) -> None:
    plan = [each for each in planned(SMALL) if "20%" in each.name]
    with workspace.open_store() as store:
        cards = queue_plan(workspace, store, plan, "pt", 0)
        rows = {card.name: store.run(card.id) for card in cards}
    assert len(cards) == run_count(plan) == 2 * 4
    for seed in (0, 1):
        first = rows[f"pt (20% labels, 3 h) seed={seed} pretrain"]
        for name in ("pt", "pt decoder"):
            row = rows[f"{name} (20% labels, 3 h) seed={seed}"]
            assert (row.after, row.seed) == (first.id, seed)
            assert row.config["init"]["weights"] == f"../{first.id}/checkpoints/best.pt"
        assert rows[f"scratch (20% labels, 3 h) seed={seed}"].after == ""


class Runs:
    """Runs of an experiment in a database."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def add(self, config: RunConfig, name: str, dice: float | None) -> ComparedRun:
        run_id = f"run{len(self.store.runs()):05d}"
        add_run(self.store, run_id, with_values(config, {"data.root": "/data/city"}), name=name)
        journal = MadeUpJournal()
        journal.begin()
        if dice is not None:
            journal.epoch(1, 0.1, dice)
        journal.finish(1)
        ingest(self.store, run_id, journal.events)
        return ComparedRun(self.store.run(run_id), self.store.results.epochs(run_id))


def test_images_that_only_pre_training_sees_are_opened_before_anything_is_queued(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    scenes = tmp_path / "scenes"
    synthesize(scenes, images=10, size=(64, 64), seed=1)
    extra = scenes / "leftImg8bit/train_extra/town/town_000000_000019_leftImg8bit.png"
    extra.parent.mkdir(parents=True)
    extra.write_bytes(b"no image")
    asked = "--recipe quick --budget 1 --images 0 --labels 1 --noise 0.22 --rate 1 --seeds 1 --yes"
    done = seg(f"study pt --data {scenes} {asked} --size 64x64 batch_size=4 device=cpu")
    assert done.status == BAD_USE
    assert "1 fault: 1 unreadable" in done.err
    assert not workspace.database.exists()


def test_the_report_says_where_it_pays(tmp_path: Path) -> None:
    runs, trained = Runs(open_store(tmp_path)), []
    base = with_values(get_recipe("quick-modern"), {"epochs": 12})
    dice: dict[str, dict[float, list[float]]] = {
        "scratch": {0.2: [0.30, 0.31, 0.32], 1.0: [0.50, 0.51, 0.52]},
        "all": {0.2: [0.40, 0.41, 0.425], 1.0: [0.40, 0.60, 0.50]},
    }
    for seed in range(3):
        first = {"task": "pretrain", "seed": seed, "budget.hours": 1.0}
        before = runs.add(with_values(base, first), "first", None)
        for arm, by_labels in dice.items():
            for labels, values in by_labels.items():
                keys: dict[str, Any] = {"seed": seed, "data.label_fraction": labels, "budget.hours": 3.0}
                if arm != "scratch":
                    weights = f"../{before.row.id}/checkpoints/best.pt"
                    keys |= {"budget.hours": 2.0, "init.weights": weights, "init.parts": arm}
                trained.append(runs.add(with_values(base, keys), f"{arm} {labels}", values[seed]))
    rows = {row.id: row for row in runs.store.runs()}
    found = held_against_scratch(trained, rows)
    assert [(each.labels, len(each.pretrained), len(each.scratch)) for each in found] == [
        (0.2, 3, 3), (1.0, 3, 3)
    ]  # fmt: skip
    assert [each.gain is not None and each.gain.is_noise for each in found] == [False, True]
    told = to_markdown(pretraining_blocks(found))
    assert "Where pre-training pays, at equal time: 3 hours" in told
    assert "Beyond noise, it pays in 1 of 2 cases (20 % of the labels, whole network, noise 0.22" in told
    assert held_against_scratch(trained[:4], {}) == []
