"""`seg-engine study beyond`: which runs it plans, that they are fair to each other, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.config.files import to_toml
from engine.config.keys import ConfigError, with_values
from engine.config.recipes import UnknownRecipe, get_recipe
from engine.config.run_config import RunConfig
from engine.data.synthetic import synthesize
from engine.requests.configs import check_components
from engine.requests.studies.beyond import Contest, beyond_plan
from engine.requests.studies.plan import hours_of, run_count
from engine.workspace import Workspace
from tests.engine.conftest import Command

QUICK = Contest("quick", hours=0.5, images=1000, seeds=2)


def planned(root: Path, contest: Contest = QUICK, *assignments: str) -> dict[str, RunConfig]:
    return {run.name: run.config for run in beyond_plan(root, contest, assignments)}


def test_all_systems_get_both_budgets_and_the_recipe_loses_its_ingredients_at_equal_time(
    tmp_path: Path,
) -> None:
    plan = beyond_plan(tmp_path, QUICK, [])
    assert [run.name for run in plan] == [
        "paper-unet (0.5 h)",
        "paper-modern-unet (0.5 h)",
        "quick (0.5 h)",
        "paper-unet (1000 images)",
        "paper-modern-unet (1000 images)",
        "quick (1000 images)",
        "quick without flips (0.5 h)",
        "quick without warm-up (0.5 h)",
        "quick without its schedule (0.5 h)",
        "quick without weight decay (0.5 h)",
    ]
    budgets = {(run.config.budget.hours, run.config.budget.images) for run in plan}
    assert budgets == {(0.5, 0), (0.0, 1000)}
    assert [name for name, _ in plan[0].runs()] == ["paper-unet (0.5 h) seed=0", "paper-unet (0.5 h) seed=1"]
    assert [config.seed for _, config in plan[0].runs()] == [0, 1]
    assert (run_count(plan), hours_of(plan)) == (20, 7.0)


def test_opponents_see_the_same_images_at_the_same_size(tmp_path: Path) -> None:
    changes = ("data.class_uniform=0.5", "data.split=official", "validation.every=3", "runtime.threads=1")
    recipe = tmp_path / "mine.toml"
    recipe.write_text(to_toml(with_values(get_recipe("quick"), dict(c.split("=") for c in changes))))
    configs = planned(tmp_path, replace(QUICK, recipe=str(recipe), breadth=8))
    unet, quick = configs["paper-unet (0.5 h)"], configs["quick (0.5 h)"]
    assert quick.data.class_uniform == 0.5
    assert unet.data == quick.data.model_copy(update={"class_uniform": 0.0})
    assert (unet.data.size, unet.data.split) == ((96, 192), "official")
    assert (unet.validation, unet.runtime) == (quick.validation, quick.runtime)
    assert (unet.optimizer, unet.batch_size) == (get_recipe("paper-unet").optimizer, 64)
    assert (unet.model.width, quick.model.width) == (8, 16)  # type: ignore[attr-defined]


def test_changes_are_for_all_and_the_recipe_without_something_keeps_them(tmp_path: Path) -> None:
    configs = planned(tmp_path, replace(QUICK, size="64x64"), "batch_size=4", "ema.decay=0.9", "seed=7")
    assert {config.batch_size for config in configs.values()} == {4}
    assert {config.data.size for config in configs.values()} == {(64, 64)}
    assert {name for name, config in configs.items() if not config.ema.decay} == {"quick without EMA (0.5 h)"}
    assert beyond_plan(tmp_path, QUICK, ["seed=7"])[0].seeds == (7, 8)


def test_the_network_is_an_ingredient_of_a_recipe_that_has_another(tmp_path: Path) -> None:
    configs = planned(tmp_path, replace(QUICK, recipe="quick-modern", breadth=8))
    swapped = configs["quick-modern without its network (0.5 h)"]
    assert swapped.model == configs["paper-unet (0.5 h)"].model
    assert swapped.optimizer == get_recipe("quick-modern").optimizer


def test_the_network_is_left_out_without_its_auxiliary_heads(tmp_path: Path) -> None:
    """They are an ingredient of their own: what both bought together would be nobody's."""
    contest = replace(QUICK, recipe="street-fast", breadth=8)
    configs = planned(tmp_path, contest)
    swapped = configs["street-fast without its network (0.5 h)"].model.model_dump()
    baseline = configs["paper-unet (0.5 h)"].model.model_dump()
    assert (swapped["deep_supervision"], baseline["deep_supervision"]) == (1, 0)
    assert swapped == baseline | {"deep_supervision": 1}


def test_what_came_with_initial_weights_goes_with_them(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(to_toml(with_values(get_recipe("resnet38"), {"init.weights": "/w/resnet38.pth"})))
    configs = planned(tmp_path, replace(QUICK, recipe=str(recipe), images=0))
    begun = {name: (config.init.weights, config.batch_norm) for name, config in configs.items()}
    assert begun["resnet38 (0.5 h)"] == ("/w/resnet38.pth", "frozen_statistics")
    for left_out in ("initial weights", "its network"):
        assert begun[f"resnet38 without {left_out} (0.5 h)"] == ("", "local")
    for config in configs.values():
        check_components(config)


def test_a_tuned_unet_has_a_run_for_each_learning_rate(tmp_path: Path) -> None:
    configs = planned(tmp_path, replace(QUICK, images=0, ablate="none", rates=(0.001, 0.01)))
    assert list(configs) == [
        "paper-unet (0.5 h)",
        "paper-modern-unet (0.5 h)",
        "tuned-unet lr=0.001 (0.5 h)",
        "tuned-unet lr=0.01 (0.5 h)",
        "quick (0.5 h)",
    ]
    tuned = configs["tuned-unet lr=0.01 (0.5 h)"]
    assert (tuned.optimizer.name, tuned.optimizer.lr, tuned.batch_size) == ("adamw", 0.01, 8)
    assert tuned.recipe == ""  # or the report would take it for the study's baseline
    assert (tuned.schedule.name, tuned.model) == ("cosine", configs["paper-unet (0.5 h)"].model)


def test_ingredients_are_left_out_at_the_budgets_that_are_asked_for(tmp_path: Path) -> None:
    for ablate, ends in (("images", {"1000 images"}), ("both", {"0.5 h", "1000 images"}), ("none", set())):
        configs = planned(tmp_path, replace(QUICK, ablate=ablate))
        assert {name.partition("(")[2].rstrip(")") for name in configs if "without" in name} == ends


@pytest.mark.parametrize(
    ("contest", "assignments", "says"),
    [
        (
            replace(QUICK, hours=0, images=0),
            [],
            "--budget and --images: are both 0; one of them must be above",
        ),
        (replace(QUICK, images=0, ablate="images"), [], "--ablate images: needs --images above 0"),
        (replace(QUICK, images=0, ablate="both"), [], "--ablate both: needs --budget and --images above 0"),
        (
            replace(QUICK, rates=(0.1, 0.2)),
            ["optimizer.lr=0.3"],
            "optimizer.lr: is set by --lr for the tuned U-Net; a TOML file",
        ),
        (
            replace(QUICK, recipe="paper-unet"),
            [],
            "--recipe paper-unet: is one of those that it is held against",
        ),
        (
            replace(QUICK, recipe="paper-modern-unet-pt"),
            [],
            "--recipe paper-modern-unet-pt: a budget has no pre-training; pretrain.epochs must be 0",
        ),
        (replace(QUICK, rates=(-1.0,)), [], "--lr -1: optimizer.lr: -1.0 is not allowed"),
        (QUICK, ["budget.hours=3"], "budget.hours: is set by --budget and --images"),
        (QUICK, ["epoch=3"], "epoch: no such key; did you mean epochs?"),
        (replace(QUICK, size="40x64"), [], "quick: data.size: 40x64 does not suit unet"),
        (
            replace(QUICK, size="32x40", recipe="deeplab"),
            [],
            "paper-unet: data.size: 32x40 does not suit unet",
        ),
        (QUICK, ["model.hidden=4"], "quick: model.hidden"),
    ],
)
def test_what_cannot_be_planned_is_one_line(
    tmp_path: Path, contest: Contest, assignments: list[str], says: str
) -> None:
    with pytest.raises(ConfigError) as error:
        beyond_plan(tmp_path, contest, assignments)
    assert error.value.problems[0].startswith(says)


def test_a_recipe_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownRecipe, match="quik: no such recipe; did you mean quick"):
        beyond_plan(tmp_path, replace(QUICK, recipe="quik"), [])


# --- The command -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "data"
    synthesize(root, images=10, size=(64, 64), seed=1)
    return root


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> list[Workspace]:
    """The workspaces for which an agent was called, which none is."""
    workspaces: list[Workspace] = []
    monkeypatch.setattr("engine.cli.queue.ensure_agent", workspaces.append)
    return workspaces


SMALL = "--recipe quick --hidden 4 --size 32x64 --seeds 2"


def test_equal_images_are_the_recipes_epochs_and_nothing_is_queued_without_a_yes(
    seg: Command, workspace: Workspace, scenes: Path
) -> None:
    done = seg(f"study beyond --data '{scenes}' {SMALL} --budget 0.25 epochs=6 data.split=official")
    assert done.status == 2
    assert "quick (48 images)" in done.err  # 8 images to train on
    assert done.err.splitlines()[-1].endswith(
        "this would queue 20 runs, 3.5 hours of them by budget.hours; add --yes to confirm"
    )
    assert not workspace.database.exists()


def test_what_cannot_run_is_told_with_the_run_that_it_is_of(seg: Command, scenes: Path) -> None:
    asked = "--recipe resnet38 --images 0 --ablate none --size 64x64 --yes"
    done = seg(f"study beyond --data '{scenes}' {asked}")
    assert done.status == 2
    assert "resnet38 (1 h): batch_norm: frozen_statistics keeps the statistics" in " ".join(done.err.split())


def test_a_seed_of_all_comes_before_the_next_seed(
    seg: Command, workspace: Workspace, scenes: Path, called: list[Workspace]
) -> None:
    done = seg(f"study beyond --data '{scenes}' {SMALL} --budget 0 --images 16 --ablate none --yes --json")
    assert done.status == 0
    names = [json.loads(line)["name"] for line in done.out.splitlines()]
    systems = ["paper-unet", "paper-modern-unet", "quick"]
    assert names == [f"{system} (16 images) seed={seed}" for seed in (0, 1) for system in systems]
    with workspace.open_store() as store:
        rows = store.queue.waiting()
    assert [row.name for row in rows] == names
    assert {(row.experiment, row.config["budget"]["images"]) for row in rows} == {("beyond", 16)}
    assert called == [workspace]


def test_a_study_that_is_asked_for_twice_gets_what_is_missing(
    seg: Command, workspace: Workspace, scenes: Path
) -> None:
    study = f"study beyond --data '{scenes}' {SMALL} --budget 0 --images 16 --ablate none"
    assert "already" not in seg(f"{study} --yes").err
    again = seg(f"{study} --yes")
    told = "beyond has 6 of these 6 runs already: nothing is queued; --experiment NAME keeps a study apart"
    assert (again.status, told in " ".join(again.err.split()), again.out) == (0, True, "")
    seeds = seg(f"{study} seed=1")
    told = "beyond has 3 of these 6 runs already: only those that are missing are queued"
    assert told in " ".join(seeds.err.split())
    assert "this would queue the 3 missing runs" in seeds.err
    assert "seed=2" in seeds.err
    assert "seed=1 " not in seeds.err
    assert "already" not in seg(f"{study} --experiment other").err
    other = seg(f"{study} batch_size=1")
    assert "has runs of these names with other values, paper-unet (16 images)" in " ".join(other.err.split())
    assert "this would queue 6 runs" in other.err
    with workspace.open_store() as store:
        assert len(store.queue.waiting()) == 6


def test_rates_without_a_tuned_unet_are_a_slip(seg: Command, tmp_path: Path) -> None:
    done = seg(f"study beyond --data {tmp_path} --lr 0.1")
    assert (
        "error: --lr: is for the tuned U-Net; add --tuned-unet, or optimizer.lr=RATE for all runs" in done.err
    )
    assert "--data: which images?" in seg("study beyond").err
    assert "--ablate" in seg(f"study beyond --data {tmp_path} --ablate everything").err
