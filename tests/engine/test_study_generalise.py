"""`seg-engine study generalise`: what it plans and queues, and what the report says of each remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.config.keys import ConfigError, with_values
from engine.config.recipes import get_recipe
from engine.config.remedies import PHOTOMETRIC, RANDCONV, RATE, REMEDIES, remedies_of
from engine.config.stored import flat_config
from engine.data.checks import Known, Log
from engine.data.environments import check_environments
from engine.data.synthetic import synthesize
from engine.report.ablation import ablations_of
from engine.report.experiment import experiment_of
from engine.report.generalisation import generalisation_blocks, what_helped
from engine.report.measures import ComparedRun
from engine.report.page import to_markdown
from engine.report.reported_runs import ReportedRun
from engine.requests.derive import classes_of
from engine.requests.generalise import Unseen
from engine.requests.studies.generalisation import (
    Journey,
    generalisation_config,
    generalisation_plan,
    left_out,
)
from engine.requests.studies.plan import queue_plan, run_count
from engine.store import EnvironmentRow
from engine.workspace import Workspace
from tests.engine.made_up_runs import add_run, finished_journal, ingest, open_store

TRIED = [remedy.name for remedy in REMEDIES if remedy.is_known and not remedy.needs_weights]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of a day, and the same streets at night."""
    root = tmp_path_factory.mktemp("worlds")
    synthesize(root / "day", images=4, size=(64, 64), seed=1)
    synthesize(root / "night", images=4, size=(64, 64), seed=1, style="night")
    return root


def journey(worlds: Path, **changes: object) -> Journey:
    unseen = Unseen(data=[f"{worlds / 'night'},split=train"], class_map="camvid", corruptions="fog")
    small = Journey(unseen, networks=("unet", "zoo"), images=100, breadth=4, size="64x64")
    return replace(small, **changes)  # type: ignore[arg-type]


def test_networks_differ_in_nothing_but_their_remedy_and_are_tested_after_each_seed(
    worlds: Path, tmp_path: Path
) -> None:
    plan = generalisation_plan(worlds / "day", journey(worlds), ["epochs=3"])
    assert [each.name for each in plan] == [
        f"{network} {arm}" for network in ("unet", "zoo") for arm in ("baseline", *TRIED)
    ]
    base, photometric = plan[0].config, plan[1].config
    assert (base.model.name, base.augment.flip, base.budget.images, base.epochs) == ("unet", 0.5, 100, 3)
    assert photometric == with_values(base, PHOTOMETRIC.values)
    assert remedies_of(flat_config(base.model_dump(mode="json"))) == ()
    for each in plan[:3]:
        assert each.config.data == base.data
    assert left_out(journey(worlds))[0].startswith("unet: no weights, slow encoder, frozen encoder, as")

    about = generalisation_config(plan[0])
    found = check_environments(about, Known(tmp_path, None, classes_of(about).names), Log())
    assert found.notes == ()
    workspace = Workspace(tmp_path)
    small = [each for each in plan if each.name == "unet randconv"]
    with workspace.open_store() as store:
        cards = queue_plan(workspace, store, small, "generalise", 0)
        rows = [store.run(card.id) for card in cards]
    assert len(cards) == run_count(small) == 4
    assert [row.name for row in rows[:2]] == ["unet randconv seed=0", "unet randconv seed=0-away"]
    assert (rows[1].task, rows[1].after, rows[1].source) == ("generalise", rows[0].id, rows[0].id)
    assert rows[1].config["generalise"]["environments"][0]["name"] == "night"
    assert rows[1].config["generalise"]["groups"][0]["name"] == "building"


def test_a_recipe_with_crops_takes_part_at_a_size_that_they_fit_into(worlds: Path) -> None:
    own = get_recipe("street-fast").augment
    cropped = journey(worlds, networks=("street-fast",), size="192x256")
    config = generalisation_plan(worlds / "day", cropped, [])[0].config
    assert (config.data.size, config.augment.crop) == ((192, 256), own.crop)
    smaller = generalisation_plan(worlds / "day", replace(cropped, size=""), ["augment.crop=96x128"])
    assert smaller[0].config.augment.crop_size == (96, 128)
    with pytest.raises(ConfigError, match=r"street-fast: augment\.crop: 192x256 is larger than the images"):
        generalisation_plan(worlds / "day", replace(cropped, size=""), [])


def test_weights_of_an_encoder_come_before_what_is_done_with_them(worlds: Path) -> None:
    file = Path("/w/encoder.pt")
    asked = journey(worlds, remedies=("slow encoder",), weights={"zoo": file}, networks=("unet", "zoo"))
    plan = generalisation_plan(worlds / "day", asked, [])
    assert [each.name for each in plan] == [
        "unet baseline",
        "zoo baseline",
        "zoo weights",
        "zoo slow encoder",
    ]
    slow = plan[-1].config
    assert (getattr(slow.model, "weights", ""), slow.optimizer.encoder_lr_factor) == (str(file), 0.1)
    assert remedies_of(flat_config(slow.model_dump(mode="json"))) == ("weights", "slow encoder")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"remedies": ("magic",)}, "--option 'magic': is none that is known"),
        ({"images": 0}, "--budget and --images: one of them must be above 0"),
        ({"weights": {"vltseg": Path("w.pt")}}, "--weights vltseg: is none of the networks"),
        ({"unseen": Unseen(data=["/x,split=all"])}, "unet: --data /x,split=all: split: 'all' is not allowed"),
        ({"unseen": Unseen(corruptions="hail")}, "unet: --corruptions 'hail': is none"),
    ],
)
def test_what_cannot_be_asked_is_refused(worlds: Path, changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        generalisation_plan(worlds / "day", journey(worlds, **changes), [])
    assert problem in str(error.value)


@pytest.mark.parametrize(
    "key", ["augment.mixstyle=0.3", "augment.hue=0.1", "optimizer.encoder_lr_factor=0.5"]
)
def test_a_remedy_is_no_change_for_all(worlds: Path, key: str) -> None:
    with pytest.raises(
        ConfigError, match=f"unet: {key.partition('=')[0]}: is a remedy, which the study tries"
    ):
        generalisation_plan(worlds / "day", journey(worlds), [key])


def test_a_network_that_begins_with_weights_of_its_own_is_refused(worlds: Path, tmp_path: Path) -> None:
    """They would replace those of the remedies, so that all of these would be the baseline."""
    recipe = tmp_path / "mine.toml"
    recipe.write_text('[model]\nname = "unet"\n[init]\nweights = "street.pt"\n')
    with pytest.raises(ConfigError, match=r"mine\.toml: init\.weights: is street\.pt; .* must be empty"):
        generalisation_plan(worlds / "day", journey(worlds, networks=(str(recipe),)), [])


def test_the_report_says_what_each_remedy_bought_where(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    base = with_values(get_recipe("quick"), {"data.root": "/data/day"})
    scores = {
        "baseline": (base, [0.20, 0.22, 0.21]),
        "photometric": (with_values(base, PHOTOMETRIC.values), [0.30, 0.321, 0.31]),
        "randconv": (with_values(base, RANDCONV.values), [0.10, 0.35, 0.20]),
    }
    runs = []
    for name, (config, found) in scores.items():
        for seed, miou in enumerate(found):
            run_id = f"{name[:4]}000{seed}"
            add_run(store, run_id, with_values(config, {"seed": seed}), name=f"unet {name} seed={seed}")
            rows = [_environment("validation", 0.5), _environment("town", miou)]
            runs.append(ComparedRun(store.run(run_id), (), environments=rows))
    (away,) = what_helped(runs)
    assert (away.name, away.environments) == ("unet", ("validation", "town"))
    page = to_markdown(generalisation_blocks([away]))
    assert "### unet" in page
    assert "| photometric | town | 3 | 0.2100 ± 0.0100 | 0.3103 ± 0.0105 | +0.1003 \\[" in page
    assert "Beyond noise, what helps is photometric in town." in page
    assert "| randconv | validation | 3 |" in page
    assert "Not finished, and here with the best so far: unet baseline seed=0 (queued, epoch 0/" in page
    assert "Merged before scoring: rider: rider + bicycle." in page
    assert generalisation_blocks(what_helped(runs[:3])) == []


def test_runs_of_one_remedy_with_other_values_are_lines_of_their_own(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    base = with_values(get_recipe("quick"), {"data.root": "/data/day"})
    weights = {"init.weights": "/weights/a.pt"}
    scores = {
        "baseline": (base, 0.20),
        "slow": (with_values(base, {RATE: 0.1}), 0.90),  # of random weights, which is no remedy
        "half": (with_values(base, {"augment.randconv": 0.5}), 0.30),
        "fifth": (with_values(base, {"augment.randconv": 0.2}), 0.25),
        "weights": (with_values(base, weights), 0.40),
        "both": (with_values(base, weights | {"augment.randconv": 0.5}), 0.50),
        "frozen": (with_values(base, weights | {RATE: 0.0}), 0.45),
    }
    runs = []
    for number, (name, (config, miou)) in enumerate(scores.items()):
        run_id = add_run(store, f"away000{number}", config, name=f"{name} seed=0")
        runs.append(ComparedRun(store.run(run_id), (), environments=[_environment("town", miou)]))
    (away,) = what_helped(runs)
    assert away.name == "baseline"
    bought = {helped.remedy: helped.miou.mean for helped in away.helped if helped.miou is not None}
    assert bought == {
        "randconv (augment.randconv=0.5)": pytest.approx(0.10),
        "randconv (augment.randconv=0.2)": pytest.approx(0.05),
        "weights": pytest.approx(0.20),
        "randconv + weights": pytest.approx(0.30),
        "frozen encoder": pytest.approx(0.05),
    }


def test_what_a_remedy_bought_is_no_ablation_besides(worlds: Path, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    runs = []
    for number, each in enumerate(generalisation_plan(worlds / "day", journey(worlds), [])):
        run_id = add_run(store, f"away000{number}", each.config, name=f"{each.name} seed=0")
        row = ingest(store, run_id, finished_journal().events)
        runs.append(ComparedRun(row, (), environments=[_environment("town", 0.2)]))
    assert ablations_of(runs), "for who knows nothing of environments, networks and remedies are ingredients"
    report = experiment_of("away", [ReportedRun(run, (), ()) for run in runs], 1000.0, "1")
    assert [found.name for found in report.away] == ["unet", "zoo"]
    assert not report.findings


def _environment(name: str, miou: float) -> EnvironmentRow:
    return EnvironmentRow(
        run_id="r",
        source="s",
        place=0,
        environment=name,
        kind="data",
        root="/",
        layout="",
        corruption="clean",
        strength=0,
        split="val",
        images=3,
        dice=miou,
        dice_image=miou,
        miou=miou,
        pixel_accuracy=miou,
        class_dice={},
        class_iou={},
        dice_difference=None,
        dice_low=None,
        dice_high=None,
        miou_difference=None,
        miou_low=None,
        miou_high=None,
        never_labelled=[],
        merged="rider: rider + bicycle",
    )
