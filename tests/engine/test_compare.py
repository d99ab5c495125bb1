"""Comparisons: what is subtracted from what, what is left aside, and what a reader is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.classes import CITYSCAPES
from engine.cli.export import provenance
from engine.config.export import ExportConfig
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.report import compare_config
from engine.report.compare import (
    MOST_RUNS,
    ComparedRun,
    CompareError,
    Comparison,
    Entry,
    compare,
    same_but_for_the_seed,
)
from engine.report.compare_config import is_external
from engine.report.compare_latex import comparison_latex
from engine.report.compared_runs import compared_run
from engine.report.measures import Evaluation, Value
from engine.report.model_card import model_card
from engine.report.published import PUBLISHED_RESULTS, TABLES, literature_results, published_results
from engine.requests.derive import find_baseline
from engine.store import Store
from tests.engine.made_up_runs import (
    CLASSES,
    MadeUpJournal,
    add_run,
    epoch_event,
    evaluation_config,
    evaluation_journal,
    ingest,
    open_store,
)

Make = Callable[..., ComparedRun]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


@pytest.fixture
def make(store: Store) -> Make:
    """A finished run of one epoch with the given validation Dice, by class where asked for."""

    def made(
        run_id: str,
        dice: float | None = 0.5,
        keys: Mapping[str, Any] | None = None,
        by_class: dict[str, float | None] | None = None,
        device_name: str = "Some CPU",
        **card: object,
    ) -> ComparedRun:
        config = with_values(get_recipe("quick"), {"data.root": "/data/city", **(keys or {})})
        add_run(store, run_id, config, **card)
        if dice is not None:
            journal = MadeUpJournal()
            journal.begin(device_name=device_name)
            journal.add(epoch_event(1, "train", dice))
            journal.add(epoch_event(1, "val", dice, by_class, seconds=1.0))
            journal.finish(1)
            ingest(store, run_id, journal.events)
        return ComparedRun(store.run(run_id), store.results.epochs(run_id))

    return made


def differences(comparison: Comparison, metric: str) -> list[float | None]:
    return [entry.values[metric].difference for entry in comparison.entries]


def named(comparison: Comparison, letter: str) -> Entry:
    return next(entry for entry in comparison.entries if entry.letter == letter)


def keys_of(comparison: Comparison) -> dict[str, tuple[str | None, ...]]:
    return {row.key: row.values for row in comparison.config}


def test_a_config_is_taken_apart_once_however_often_it_is_compared(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [
        make("aaaaaaaa", name="a"),
        make("bbbbbbbb", name="b", keys={"seed": 2}),
        make("cccccccc", keys={"epochs": 2}),
    ]
    taken = []
    usual = compare_config.flat_config
    monkeypatch.setattr(compare_config, "flat_config", lambda *of: taken.append(of) or usual(*of))
    for _ in range(3):
        assert [len(group) for group in same_but_for_the_seed(runs)] == [2, 1]
    assert len(taken) == 3


# --- Numbers -----------------------------------------------------------------------------------


def test_every_number_is_told_against_the_pinned_baseline(make: Make) -> None:
    runs = [make("aaaaaaaa", 0.5), make("bbbbbbbb", 0.625), make("cccccccc", 0.25)]
    assert differences(compare(runs), "best_dice") == [None, 0.125, -0.25]
    pinned = compare(runs, baseline="bbbbbbbb")
    assert pinned.baseline == 1
    assert differences(pinned, "best_dice") == [-0.125, None, -0.375]
    # The order is the one asked for; pinning moves nothing.
    assert [entry.ids for entry in pinned.entries] == [("aaaaaaaa",), ("bbbbbbbb",), ("cccccccc",)]
    assert [entry.letter for entry in pinned.entries] == ["A", "B", "C"]


def test_which_way_is_better_belongs_to_the_metric(make: Make) -> None:
    comparison = compare([make("aaaaaaaa", 0.5), make("bbbbbbbb", 0.625)])
    metrics = {metric.name: metric for metric in comparison.metrics}
    values = named(comparison, "B").values
    verdicts = {name: metrics[name].verdict(value.difference) for name, value in values.items()}
    assert verdicts["best_dice"] == "better"
    assert values["val_loss"].difference == -0.125
    assert verdicts["val_loss"] == "better"
    assert verdicts["parameters"] == ""
    assert metrics["best_dice"].verdict(-0.1) == "worse"
    assert metrics["seconds"].verdict(+5) == "worse"
    assert metrics["parameters"].verdict(+5) == ""
    assert metrics["best_dice"].verdict(None) == ""


def test_time_and_speed_come_of_the_epochs(make: Make) -> None:
    (entry,) = compare([make("aaaaaaaa")]).entries
    assert entry.values["seconds"].mean == 11.0
    assert entry.values["images_per_second"].mean == 8.0
    assert entry.values["epochs"].mean == 1


def test_one_run_is_its_own_baseline_and_has_no_differences(make: Make) -> None:
    comparison = compare([make("aaaaaaaa")])
    assert set(differences(comparison, "best_dice")) == {None}
    assert [row.name for row in comparison.classes] == list(CLASSES)
    assert comparison.config == ()
    assert comparison.notes == ()


def test_a_run_without_scores_has_no_numbers_and_is_told_of(make: Make) -> None:
    comparison = compare([make("aaaaaaaa", None), make("bbbbbbbb", 0.5)])
    assert dict(named(comparison, "A").values) == {}
    # The baseline has none, so there is nothing to subtract.
    assert named(comparison, "B").values["best_dice"].difference is None
    assert comparison.classes[0].dice[0] is None
    assert comparison.notes == ("run aaaaaaaa (aaaaaaaa) is queued, epoch 0/12",)


def test_a_run_that_learns_no_classes_takes_none_from_the_others(make: Make, store: Store) -> None:
    journal = MadeUpJournal()
    journal.begin()
    for split in ("train", "val"):
        journal.add(epoch_event(1, split, None, {}).model_copy(update={"loss": 0.25}))
    journal.finish(1)
    add_run(
        store, "pppppppp", with_values(get_recipe("quick"), {"task": "pretrain", "data.root": "/data/city"})
    )
    ingest(store, "pppppppp", journal.events)
    pretrained = ComparedRun(store.run("pppppppp"), store.results.epochs("pppppppp"))
    comparison = compare([pretrained, make("aaaaaaaa", 0.5)])
    assert [row.name for row in comparison.classes] == list(CLASSES)
    assert "common_dice" not in [metric.name for metric in comparison.metrics]
    assert named(comparison, "A").values["val_loss"].mean == 0.25
    assert comparison.notes == ()


def test_pretraining_is_counted_in_the_epochs_of_all(make: Make) -> None:
    runs = [make("aaaaaaaa"), make("bbbbbbbb", keys={"pretrain.epochs": 40})]
    totals = [entry.values["total_epochs"].mean for entry in compare(runs).entries]
    assert totals == [1, 41]
    assert "total_epochs" not in named(compare(runs[:1]), "A").values


def test_what_evaluate_made_of_runs_is_compared_kind_by_kind(make: Make, store: Store) -> None:
    runs = []
    for source, run_id, dice in (("aaaaaaaa", "eeeeeee1", 0.25), ("bbbbbbbb", "eeeeeee2", 0.5)):
        run = make(source)
        add_run(store, run_id, evaluation_config(source))
        ingest(store, run_id, evaluation_journal(source, {"a": dice, "b": dice}).events)
        found = [Evaluation(scores, external=True) for scores in store.results.evaluations_of(source)]
        runs.append(replace(run, evaluations=found))
    runs.append(make("cccccccc"))
    comparison = compare(runs)
    name = "dice: external at original, 20 images"
    assert [entry.values.get(name) and entry.values[name].difference for entry in comparison.entries] == [
        None,
        0.25,
        None,
    ]
    metric = next(metric for metric in comparison.metrics if metric.name == name)
    assert (metric.title, metric.better) == ("Dice, external at original, 20 images", "higher")
    assert named(comparison, "A").values["latency_seconds"].mean == 0.02
    # What scored another checkpoint is no later score of the best one.
    (best,) = store.results.evaluations_of("aaaaaaaa")
    last = replace(best, dice=0.125, checkpoint="../aaaaaaaa/checkpoints/last.pt")
    both = replace(runs[0], evaluations=[Evaluation(each, external=True) for each in (best, last)])
    values = named(compare([both]), "A").values
    assert values[name].mean == 0.25
    assert values[f"{name}, last.pt"].mean == 0.125
    # Nor of a file of elsewhere that has its name.
    other = replace(best, dice=0.125, checkpoint="/elsewhere/best.pt")
    both = replace(runs[0], evaluations=[Evaluation(each, external=True) for each in (best, other)])
    assert named(compare([both]), "A").values[name].mean == 0.25
    # Nor is what scored the raw weights that lie beside the average.
    keys = {"data.root": "/data", "ema.decay": 0.9}
    trained = add_run(store, "dddddddd", with_values(RunConfig(), keys))
    for run_id, use, dice in (("eeeeeee3", "average", 0.75), ("eeeeeee4", "raw", 0.5)):
        config = with_values(evaluation_config(trained), {**keys, "ema.use": use})
        add_run(store, run_id, config)
        ingest(store, run_id, evaluation_journal(trained, {"a": dice, "b": dice}).events)
    values = compare([compared_run(store, trained)]).entries[0].values
    of_val = "dice: val at original, 20 images"
    assert (values[of_val].mean, values[f"{of_val}, raw weights"].mean) == (0.75, 0.5)
    wanted = with_values(evaluation_config("bbbbbbbb"), {"data.root": "/data"})
    assert find_baseline(store, trained, wanted).run_id == "eeeeeee3"
    # An evaluation itself is compared by its own scores.
    (alone,) = store.results.evaluations("eeeeeee2")
    itself = ComparedRun(store.run("eeeeeee2"), [], [Evaluation(alone, external=False)])
    assert compare([itself]).classes[0].dice[0] == Value(0.5, None, 1)


@pytest.mark.parametrize(
    ("split", "trained", "scored", "outside"),
    [
        ("val", {}, {}, False),
        ("train", {}, {"data.split": "official"}, False),
        ("val", {}, {"data.split": "official"}, True),
        ("val", {"data.split": "official"}, {"data.split": "official"}, False),
        ("val", {"data.split": "folders", "data.val_folders": "ulm"}, {"data.split": "official"}, True),
        ("test", {}, {}, True),
        ("val", {}, {"data.root": "/other"}, True),
    ],
)
def test_which_images_are_external(
    store: Store, split: str, trained: dict[str, str], scored: dict[str, str], outside: bool
) -> None:
    for run_id, keys in (("aaaaaaaa", trained), ("eeeeeeee", scored)):
        add_run(store, run_id, with_values(get_recipe("quick"), {"data.root": "/data", **keys}))
    assert is_external(split, store.run("aaaaaaaa"), store.run("eeeeeeee")) is outside


def test_nobody_has_scores(make: Make) -> None:
    comparison = compare([make("aaaaaaaa", None), make("bbbbbbbb", None)])
    assert (comparison.metrics, comparison.classes) == ((), ())
    assert len(comparison.notes) == 2


def test_metrics_come_in_one_order_and_only_those_that_anyone_has(make: Make) -> None:
    names = [metric.name for metric in compare([make("aaaaaaaa")]).metrics]
    assert names[:4] == ["best_dice", "best_epoch", "best_train_dice", "best_miou"]
    assert names[-3:] == ["parameters", "flops_per_sample", "peak_memory_bytes"]
    assert "common_dice" not in names


# --- Classes -----------------------------------------------------------------------------------


def test_the_class_that_lost_most_comes_first(make: Make) -> None:
    one = make("aaaaaaaa", by_class={"road": 0.9, "person": 0.5, "car": 0.5})
    two = make("bbbbbbbb", by_class={"road": 0.9, "person": 0.75, "car": 0.25})
    three = make("cccccccc", by_class={"road": 0.8, "person": None, "car": 0.5})
    rows = compare([one, two, three]).classes
    assert [row.name for row in rows] == ["car", "road", "person"]
    assert rows[0].worst == -0.25
    assert [value.difference if value else None for value in rows[2].dice] == [None, 0.25, None]
    assert rows[0].color == "#00008e"


def test_of_different_class_sets_only_the_common_classes_are_compared_and_that_is_said(make: Make) -> None:
    one = make("aaaaaaaa", by_class={"road": 0.9, "person": 0.5, "car": 0.1})
    two = make("bbbbbbbb", by_class={"car": 0.3, "road": 0.7})
    comparison = compare([one, two])
    assert [row.name for row in comparison.classes] == ["road", "car"]
    assert named(comparison, "A").values["common_dice"].mean == pytest.approx(0.5)
    assert named(comparison, "B").values["common_dice"].difference == pytest.approx(0.0)
    assert comparison.notes[0].startswith("class sets differ: the 2 that all share are compared by class")


def test_class_sets_with_nothing_in_common(make: Make) -> None:
    one = make("aaaaaaaa", by_class={"road": 0.9})
    two = make("bbbbbbbb", by_class={"sky": 0.3})
    comparison = compare([one, two])
    assert comparison.classes == ()
    assert "common_dice" not in [metric.name for metric in comparison.metrics]
    assert "none is shared" in comparison.notes[0]


# --- Config ------------------------------------------------------------------------------------


def test_only_keys_that_differ_are_told(make: Make) -> None:
    runs = [make("aaaaaaaa"), make("bbbbbbbb", keys={"optimizer.lr": 0.1, "data.size": "64x96"})]
    assert keys_of(compare(runs)) == {
        "data.size": ("96x192", "64x96"),
        "optimizer.lr": ("0.003", "0.1"),
    }


def test_paths_and_names_are_aside_until_they_mean_something_else(make: Make) -> None:
    here = make("aaaaaaaa")
    moved = make("bbbbbbbb", keys={"data.root": "/mnt/other/city", "recipe": "mine"})
    other = make("cccccccc", keys={"data.root": "/data/village"})
    assert keys_of(compare([here, moved])) == {}
    assert keys_of(compare([here, other])) == {"data.root": ("/data/city", "/data/village")}


def test_a_config_of_an_earlier_version_has_the_defaults_of_what_it_does_not_know(make: Make) -> None:
    run = make("aaaaaaaa", keys={"limits.hours": 0.0})
    other = make("bbbbbbbb", keys={"limits.hours": 0.0})
    del other.row.stored_config["limits"]
    assert keys_of(compare([run, other])) == {}


def test_a_config_that_this_version_cannot_read_is_compared_as_it_is(make: Make) -> None:
    run, other = make("aaaaaaaa"), make("bbbbbbbb")
    other.row.stored_config["optimizer"] = {"name": "lion", "rho": 0.5}
    told = keys_of(compare([run, other]))
    assert told["optimizer.name"] == ("adamw", "lion")
    assert told["optimizer.rho"] == (None, "0.5")


def test_scores_of_other_pixels_and_times_of_other_devices_are_told(make: Make) -> None:
    runs = [
        make("aaaaaaaa"),
        make("bbbbbbbb", keys={"data.split_seed": 1, "data.size": "64x96"}, device_name="Some GPU"),
    ]
    assert compare(runs).notes == (
        "not scored on the same pixels: data.size, data.split_seed differ",
        "time, images/s and memory are of different devices: Some CPU, Some GPU",
    )


def test_an_evaluation_counts_no_training_images_and_is_on_the_data_of_its_run(make: Make) -> None:
    def counted(run: ComparedRun, images: int | None) -> ComparedRun:
        return replace(run, row=replace(run.row, train_images=images, val_images=images))

    run, more = (counted(make(name), images) for name, images in (("aaaaaaaa", 9), ("bbbbbbbb", 10)))
    scored = counted(make("cccccccc"), None)
    elsewhere = counted(make("dddddddd", keys={"data.root": "/mnt/city"}), None)
    assert compare([run, scored]).notes == ()
    for others in ([run, more], [run, more, scored], [run, elsewhere]):
        assert compare(others).notes == ("not scored on the same pixels: data.root differs",)


def test_an_evaluation_is_of_the_split_and_the_size_that_it_chose(make: Make, store: Store) -> None:
    trained = make("aaaaaaaa", 0.5)

    def evaluation(run_id: str, split: str, at: str, **keys: object) -> ComparedRun:
        config = with_values(get_recipe("quick"), {"data.root": "/data/city", **keys}).model_dump(mode="json")
        about = {"source": "aaaaaaaa", "checkpoint": "../aaaaaaaa/checkpoints/best.pt"}
        config |= {"task": "evaluate", "evaluate": about | {"split": split, "at": at}}
        add_run(store, run_id, RunConfig.model_validate(config))
        ingest(store, run_id, evaluation_journal("aaaaaaaa", {"a": 0.75}, at).events)
        (scores,) = store.results.evaluations(run_id)
        return ComparedRun(store.run(run_id), [], [Evaluation(scores, external=split == "test")])

    own = evaluation("eeeeeee1", "val", "input")
    test = evaluation("eeeeeee2", "test", "original")
    smaller = evaluation("eeeeeee3", "test", "original", **{"data.size": "64x96", "data.split_seed": 1})
    assert compare([trained, own]).notes == compare([test, smaller]).notes == ()
    pixels = "not scored on the same pixels: evaluate.split, evaluate.at differ"
    assert compare([trained, test]).notes == compare([own, test]).notes == (pixels,)
    # Its Dice is not that of a last epoch.
    assert "last_dice" not in named(compare([trained, test]), "B").values
    told = comparison_latex(compare([own, test]))
    assert "Dice, external at original, 20 images" in told
    assert "& 0.7500 &" in told
    assert "Last Dice" not in told


# --- Seeds -------------------------------------------------------------------------------------


def test_runs_equal_but_for_the_seed_fold_into_mean_and_deviation(make: Make) -> None:
    runs = [
        make("aaaaaaaa", 0.4, {"seed": 0}, name="narrow seed=0"),
        make("bbbbbbbb", 0.7, {"seed": 0, "model.width": 32}, name="wide seed=0"),
        make("cccccccc", 0.6, {"seed": 1}, name="narrow seed=1"),
        make("dddddddd", 0.8, {"seed": 1, "model.width": 32}, name="wide seed=1"),
    ]
    comparison = compare(runs, fold_seeds=True)
    assert [(entry.label, entry.ids) for entry in comparison.entries] == [
        ("narrow", ("aaaaaaaa", "cccccccc")),
        ("wide", ("bbbbbbbb", "dddddddd")),
    ]
    narrow, wide = (entry.values["best_dice"] for entry in comparison.entries)
    assert (narrow.mean, narrow.n) == (0.5, 2)
    assert narrow.sd == pytest.approx(0.2 / 2**0.5)
    assert wide.difference == pytest.approx(0.25)
    assert comparison.classes[0].dice[1] is not None
    assert comparison.classes[0].dice[1].n == 2
    assert keys_of(comparison) == {"model.width": ("16", "32")}
    # Any of the folded runs names its entry as the baseline.
    assert compare(runs, baseline="dddddddd", fold_seeds=True).baseline == 1


def test_seeds_are_told_when_the_folded_entries_do_not_have_the_same(make: Make) -> None:
    runs = [
        make("aaaaaaaa", keys={"seed": 0}),
        make("bbbbbbbb", keys={"seed": 1}),
        make("cccccccc", keys={"seed": 7, "epochs": 3}),
    ]
    assert keys_of(compare(runs, fold_seeds=True)) == {"seed": ("0 1", "7"), "epochs": ("12", "3")}
    assert keys_of(compare(runs[:2])) == {"seed": ("0", "1")}


def test_runs_that_others_start_or_follow_fold_too(make: Make) -> None:
    elsewhere = {"seed": 1, "executor": "slurm", "slurm.partition": "gpu", "report.tensorboard": True}
    (entry,) = compare([make("aaaaaaaa"), make("bbbbbbbb", keys=elsewhere)], fold_seeds=True).entries
    assert entry.seeds == 2


def test_a_seed_without_scores_is_not_counted(make: Make) -> None:
    runs = [make("aaaaaaaa", 0.4, {"seed": 0}), make("bbbbbbbb", None, {"seed": 1})]
    (entry,) = compare(runs, fold_seeds=True).entries
    value = entry.values["best_dice"]
    assert (entry.seeds, value.mean, value.sd, value.n, value.missing) == (2, 0.4, None, 1, 1)


def test_a_run_that_has_not_opened_its_data_folds_with_those_that_have(make: Make) -> None:
    failed, again, elsewhere = (
        make("aaaaaaaa", None, {"seed": 0}),
        make("bbbbbbbb", 0.4, {"seed": 0}),
        make("cccccccc", None, {"seed": 1, "data.root": "/other/city"}),
    )
    failed = replace(failed, row=replace(failed.row, status="failed"))
    groups = same_but_for_the_seed([failed, elsewhere, again])
    assert [[run.row.id for run in group] for group in groups] == [["aaaaaaaa", "bbbbbbbb"], ["cccccccc"]]
    (entry,) = compare([failed, again], fold_seeds=True).entries
    assert entry.ids == ("bbbbbbbb",)


def test_a_seed_that_failed_and_was_made_again_counts_once(make: Make) -> None:
    failed, again, other = (
        make("aaaaaaaa", 0.2, {"seed": 0}, name="first"),
        make("bbbbbbbb", 0.4, {"seed": 0}, name="again"),
        make("cccccccc", 0.6, {"seed": 1}),
    )
    failed = replace(failed, row=replace(failed.row, status="failed"))
    folded = compare([failed, again, other], baseline="aaaaaaaa", fold_seeds=True)
    (entry,) = folded.entries
    value = entry.values["best_dice"]
    assert (entry.ids, value.n, folded.baseline) == (("bbbbbbbb", "cccccccc"), 2, 0)
    assert value.mean == pytest.approx(0.5)
    assert folded.notes == (
        "first (aaaaaaaa) is failed, epoch 1/12, and left out: another of its seed has finished",
    )
    assert [entry.ids for entry in compare([failed, again]).entries] == [("aaaaaaaa",), ("bbbbbbbb",)]
    assert compare([failed, other], fold_seeds=True).entries[0].ids == ("aaaaaaaa", "cccccccc")


# --- Labels and limits -------------------------------------------------------------------------


def test_entries_of_one_name_are_told_apart_by_their_ids(make: Make) -> None:
    runs = [make("aaaaaaaa", name="same"), make("bbbbbbbb", name="same"), make("cccccccc", name="")]
    assert [entry.label for entry in compare(runs).entries] == [
        "same (aaaaaaaa)",
        "same (bbbbbbbb)",
        "cccccccc",
    ]


def test_what_cannot_be_compared_is_one_line(make: Make) -> None:
    runs = [make(f"{i:08d}") for i in range(MOST_RUNS + 1)]
    assert len(compare(runs[:-1]).entries) == MOST_RUNS
    with pytest.raises(CompareError, match="13 runs are too many to compare; at most 12"):
        compare(runs)
    with pytest.raises(CompareError, match="00000001: is given twice"):
        compare([runs[1], runs[1]])
    with pytest.raises(CompareError, match="--baseline zzzz: is not among the runs compared: 00000000"):
        compare(runs[:1], baseline="zzzz")
    with pytest.raises(CompareError, match="give at least one run"):
        compare([])


# --- Published ---------------------------------------------------------------------------------


def test_the_studys_tables_as_they_are_printed() -> None:
    table = {
        (result.table, result.system, result.epochs): (result.train_dice, result.val_dice, result.test_dice)
        for result in PUBLISHED_RESULTS
    }
    assert len(table) == len(PUBLISHED_RESULTS) == 11
    assert table["I", "U-Net (2015)", 60] == (0.31615, 0.31719, None)
    assert table["II", "Modern U-Net", 100] == (0.57843, 0.55278, None)
    assert table["II", "Modern U-Net PT", 180] == (0.68704, 0.63450, None)
    assert table["III", "Modern U-Net PT", 180] == (None, None, 0.48619)
    assert {result.table for result in PUBLISHED_RESULTS} == set(TABLES)
    assert all(result.label.endswith("(published)") for result in PUBLISHED_RESULTS)


def test_reference_rows_are_of_the_systems_compared() -> None:
    assert {result.recipe for result in published_results(["paper-unet", "quick"])} == {"paper-unet"}
    assert published_results(["quick"]) == PUBLISHED_RESULTS


def test_published_numbers_are_no_entries(make: Make) -> None:
    run = make("aaaaaaaa", keys={"recipe": "paper-unet"})
    comparison = compare([run], with_published=True)
    assert len(comparison.entries) == 1
    assert comparison.published == published_results(["paper-unet"])
    assert compare([run]).published == ()


def test_the_literature_is_beside_runs_of_the_same_classes() -> None:
    camvid = ["Sky", "Building", "Pole", "Road", "Pavement", "Tree", "Sign", "Fence", "Car", "Person", "Bike"]
    assert {row.images for row in literature_results(CITYSCAPES.names)} == {"Cityscapes val", "CamVid test"}
    assert {row.images for row in literature_results(camvid)} == {"CamVid test"}
    assert literature_results(["road", "sky"]) == literature_results([]) == ()


@pytest.mark.parametrize("weights", ["imagenet", "/home/somebody/mine.safetensors"])
def test_a_model_card_names_the_licences_of_weights_and_data(
    make: Make, tmp_path: Path, weights: str
) -> None:
    (tmp_path / "source.json").write_text(json.dumps({"licence": ["Cameras: CC BY-NC 4.0"]}))
    keys = {"model.name": "smp", "model.weights": weights, "data.root": str(tmp_path)}
    run, config = make("aaaaaaaa", keys=keys), with_values(get_recipe("quick"), keys)
    about = {"epoch": 1, "sha256": "0", "classes": CLASSES, "multiple_of": 32, "mean": [1.0], "std": [2.0]}
    about |= provenance(run, config, "../aaaaaaaa/checkpoints/best.pt")
    made = {"about": about, "name": "model.onnx", "bytes": 9, "weights": "model.onnx.data"}
    wanted = ExportConfig(format="onnx", size=(96, 192))
    card = model_card(run, wanted, made | {"largest_difference": 0.0, "pixels_differing": 0.0})
    assert "Of the data: Cameras: CC BY-NC 4.0" in card
    assert "Its weights are in model.onnx.data, which has to lie beside it" in card
    if weights == "imagenet":
        assert "weights imagenet of encoder resnet34; their licence, bsd-3-clause, applies as well" in card
    else:
        assert "weights mine.safetensors; their licence applies as well" in card
    assert "somebody" not in card


def test_an_export_tells_the_dice_of_the_best_epoch_of_that_epoch_alone(make: Make) -> None:
    run, config = make("aaaaaaaa", 0.5), get_recipe("quick")
    names = *(f"../aaaaaaaa/checkpoints/{name}" for name in ("best.pt", "last.pt")), "/elsewhere/best.pt"
    assert [provenance(run, config, name)["val_dice"] for name in names] == [0.5, None, None]
    assert provenance(run, config, names[2])["checkpoint"] == "best.pt"
