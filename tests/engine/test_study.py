"""`seg-engine study paper`: what it plans, what it queues, and that half a study is never left."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.keys import ConfigError
from engine.config.recipes import get_recipe
from engine.data.synthetic import synthesize
from engine.requests.deleting import delete
from engine.requests.initial_weights import pretraining_of
from engine.requests.studies.paper import SYSTEMS, Scale, paper_configs
from engine.requests.studies.plan import evaluations_after
from engine.workspace import Workspace
from tests.engine.conftest import Command


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


SMALL = "--fraction 0.5 --epochs-scale 0.1 --hidden 4 --size 32x64 batch_size=2"

NAMES = [
    "paper-unet",
    "paper-unet-val-original",
    "paper-unet-external-original",
    "paper-modern-unet",
    "paper-modern-unet-val-original",
    "paper-modern-unet-external-original",
    "paper-modern-unet-pt pretrain",
    "paper-modern-unet-pt",
    "paper-modern-unet-pt-val-original",
    "paper-modern-unet-pt-external-original",
]


def test_at_full_scale_the_configs_are_the_recipes(tmp_path: Path) -> None:
    for config, recipe in zip(paper_configs(tmp_path, Scale(), []), SYSTEMS, strict=True):
        assert config.model_copy(update={"data": get_recipe(recipe).data}) == get_recipe(recipe)
        assert config.data.root == str(tmp_path)


def test_a_smaller_study_keeps_the_proportions_of_the_large_one(tmp_path: Path) -> None:
    unet, modern, pretrained = paper_configs(tmp_path, Scale(0.1, 0.5, 8, "64x128"), ["seed=3"])
    assert [config.epochs for config in (unet, modern, pretrained)] == [30, 50, 100]
    assert {config.data.label_fraction for config in (unet, modern, pretrained)} == {0.1}
    assert {config.data.size for config in (unet, modern, pretrained)} == {(64, 128)}
    assert (unet.model.width, modern.model.hidden) == (8, 8)  # type: ignore[union-attr]
    assert {config.seed for config in (unet, modern, pretrained)} == {3}
    assert modern.schedule.warmup_epochs == 2.5
    # Ten times as many images in a tenth of the epochs.
    assert pretrained.pretrain.epochs == 5
    assert pretraining_of(pretrained) is not None


def test_the_smallest_study_is_still_one(tmp_path: Path) -> None:
    configs = paper_configs(tmp_path, Scale(0.001, 0.001), [])
    assert [config.epochs for config in configs] == [1, 1, 1]
    assert configs[2].pretrain.epochs == 1


@pytest.mark.parametrize(
    ("scale", "assignments", "says"),
    [
        (Scale(fraction=0), [], "--fraction: 0 is not allowed; it must be above 0 and at most 1"),
        (Scale(epochs=11), [], "--epochs-scale: 11 is not allowed; it must be above 0 and at most 10"),
        (Scale(size="33x64"), [], "paper-unet: data.size: 33x64 does not suit unet"),
        (Scale(size="big"), [], "paper-unet: data.size: 'big' is not allowed"),
        (Scale(), ["model.hidden=4"], "paper-unet: model.hidden"),
        (Scale(), ["epoch=4"], "epoch: no such key; did you mean epochs?"),
    ],
)
def test_what_does_not_suit_is_said_of_the_system(
    tmp_path: Path, scale: Scale, assignments: list[str], says: str
) -> None:
    with pytest.raises(ConfigError) as error:
        paper_configs(tmp_path, scale, assignments)
    assert error.value.problems[0].startswith(says)


def test_on_a_cluster_evaluations_are_jobs_with_one_gpu(
    seg: Command, workspace: Workspace, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login node is no place for them."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(sbatch.parent), prepend=":")
    slurm = "executor=slurm slurm.gpus=2 slurm.partition=gpu device=cuda"
    done = seg(f"study paper --data '{scenes}' {SMALL} {slurm} --yes")
    assert done.status == 0, done.err
    with workspace.open_store() as store:
        configs = [row.config for row in store.queue.waiting()]
    assert {(config["executor"], config["slurm"]["partition"]) for config in configs} == {("slurm", "gpu")}
    gpus = {config["task"]: config["slurm"]["gpus"] for config in configs}
    assert gpus == {"train": 2, "pretrain": 2, "evaluate": 1}


def test_a_folder_that_took_no_part_is_scored_too(scenes: Path) -> None:
    (unet, *_) = paper_configs(scenes, Scale(size="32x64"), [])
    assert [planned.name for planned in evaluations_after(unet)] == ["val", "external"]
    (official, *_) = paper_configs(scenes, Scale(size="32x64"), ["data.split=official"])
    assert [planned.name for planned in evaluations_after(official)] == ["val"]


def test_the_whole_set_is_queued_with_what_waits_for_what(
    seg: Command, workspace: Workspace, scenes: Path, called: list[Workspace]
) -> None:
    done = seg(f"study paper --data '{scenes}' {SMALL} --experiment 'my study' --yes")
    assert done.status == 0
    assert "10 runs queued; when they have finished: seg-engine report 'my study'" in done.err
    with workspace.open_store() as store:
        rows = store.queue.waiting()
        after = {row.name: row.after and store.run(row.after).name for row in rows}
    assert list(after) == NAMES
    assert after == {
        name: "paper-modern-unet-pt pretrain"
        if name == "paper-modern-unet-pt"
        else name.partition("-val")[0].partition("-external")[0]
        if name.endswith("-original")
        else ""
        for name in NAMES
    }
    outside = next(row for row in rows if row.name == "paper-unet-external-original")
    assert (outside.config["data"]["split"], outside.config["evaluate"]["at"]) == ("official", "original")
    assert {row.experiment for row in rows} == {"my study"}
    assert called == [workspace]


@pytest.mark.parametrize("left", [2, 7, 8])
def test_what_a_kill_kept_from_being_queued_is_queued_by_the_next_call(
    seg: Command, workspace: Workspace, scenes: Path, left: int
) -> None:
    """The kill comes before an evaluation, after a pre-training, or after a training that waits for one."""
    study = f"study paper --data '{scenes}' {SMALL} --yes"
    assert seg(study).status == 0
    with workspace.open_store() as store:
        rows = store.queue.waiting()
        for row in reversed(rows[left:]):
            delete(workspace, store, row)
    done = seg(study)
    assert done.status == 0, done.err
    assert f"paper has {left} of these 10 runs already: only those that are missing" in " ".join(
        done.err.split()
    )
    assert f"the {10 - left} missing runs queued" in done.err
    with workspace.open_store() as store:
        again = store.queue.waiting()
        ids = {row.name: row.id for row in again}
        assert [row.name for row in again] == NAMES
        assert [row.id for row in again[:left]] == [row.id for row in rows[:left]]
        for row in again:
            trained = row.name.partition("-val")[0].partition("-external")[0]
            waits_for = f"{trained} pretrain" if trained == row.name else trained
            assert row.after == ids.get(waits_for, "")
        weights = store.run(ids["paper-modern-unet-pt"]).config["init"]["weights"]
    assert weights == f"../{ids['paper-modern-unet-pt pretrain']}/checkpoints/best.pt"


def test_without_a_yes_it_shows_the_list_and_queues_nothing(
    seg: Command, workspace: Workspace, scenes: Path
) -> None:
    done = seg(f"study paper --data '{scenes}' {SMALL}")
    assert done.status == 2
    assert all(name in done.err for name in NAMES)
    assert done.err.splitlines()[-1].endswith("this would queue 10 runs; add --yes to confirm")
    assert not workspace.database.exists()


def test_half_a_study_is_taken_back(
    seg: Command, workspace: Workspace, scenes: Path, monkeypatch: pytest.MonkeyPatch, called: list[Workspace]
) -> None:
    def full(*arguments: object) -> None:
        raise ConfigError(["the disk is full"])

    monkeypatch.setattr("engine.requests.studies.plan.derived_config", full)
    done = seg(f"study paper --data '{scenes}' {SMALL} --yes")
    assert (done.status, done.err.splitlines()[-1]) == (2, "error: the disk is full")
    with workspace.open_store() as store:
        assert store.runs() == []
    assert list(workspace.runs.iterdir()) == []
    assert called == []


def test_a_study_needs_data(seg: Command, tmp_path: Path) -> None:
    assert seg("study paper").err == "error: --data: which images? name the folder of the data set\n"
    assert "no such folder" in seg(f"study paper --data {tmp_path / 'nowhere'} --yes").err
