"""`seg-engine tune` up to the queue: which trials there are, and what becomes of those that cannot be."""

from __future__ import annotations

import itertools
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from engine.config.files import to_toml
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.synthetic import synthesize
from engine.exits import BAD_USE, FAILED, INTERRUPTED
from engine.requests.queueing import Place, enqueue
from engine.requests.tuning.goals import most_epochs
from engine.requests.tuning.search import study_file
from engine.requests.tuning.space import parse_space
from engine.run.directory import RunCard
from engine.store.lifecycle import Lifecycle
from engine.workspace import Workspace
from tests.engine.conftest import Command
from tests.engine.made_up_runs import evaluation_journal, finished_journal, make_run_dir

pytest.importorskip("optuna", reason="comes with the extra tune")


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    synthesize(tmp_path / "scenes", 8, (64, 64), 0, 0.25)
    return tmp_path / "scenes"


@pytest.fixture
def narrow(workspace: Workspace) -> str:
    """A finished run of a network that is 4 channels wide."""
    config = with_values(get_recipe("quick"), {"model.width": 4})
    run = make_run_dir(workspace.runs, "narrow00", finished_journal(), config)
    (run.checkpoints / "best.pt").write_bytes(b"weights")
    with workspace.open_store() as store:
        store.journals.import_run(run)
    return run.id


def searched(scenes: Path, *words: str) -> str:
    tiny = ("data.size=64x64", "batch_size=4", "device=cpu", "--data", str(scenes), "--parallel", "1")
    return " ".join(["tune quick", *words, *tiny, "--sampler grid"])


def test_a_trial_whose_weights_do_not_fit_its_network_fails_and_the_search_goes_on(
    seg: Command, workspace: Workspace, scenes: Path, narrow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cli.tune.MOST_CHECKED", 0)  # as if there were more ends than are checked
    words = searched(scenes, "model.width=8,16", f"init.weights={narrow}")
    done = seg(words)
    assert done.status == FAILED, done.err
    failed = [line for line in done.out.splitlines() if "failed" in line]
    assert len(failed) == 2, done.out
    for width, line in zip((8, 16), failed, strict=True):
        assert f"narrow00 has another network: model.width 4, not {width}" in line
    assert seg(words).status == FAILED  # which has no trial left, and none that nobody can get past


def test_weights_that_fit_no_end_of_a_range_are_told_before_the_first_trial(
    seg: Command, workspace: Workspace, scenes: Path, narrow: str
) -> None:
    for weights, problem in (
        (narrow, "narrow00 has another network"),
        ("nobody", "no run has that id or name"),
    ):
        refused = seg(searched(scenes, "model.width=4,8", f"init.weights={weights}"))
        assert refused.status == BAD_USE
        assert problem in refused.err
        assert not (workspace.root / "tune").exists()
        with workspace.open_store() as store:
            assert [row.id for row in store.runs()] == [narrow]


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("augment.flip=0.1..0.7:0.1", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ("augment.flip=0.1..1:0.3", [0.1, 0.4, 0.7, 1.0]),
        ("augment.flip=0.1..0.3:0.2", [0.1, 0.3]),
        ("augment.flip=0.1..0.75:0.3", [0.1, 0.4, 0.7]),
        ("epochs=10..45:10", [10, 20, 30, 40]),
    ],
)
def test_a_range_in_steps_has_the_values_that_people_mean(typed: str, values: list[float]) -> None:
    (axis,), _ = parse_space([typed])
    assert axis.grid() == values
    assert [axis.typed(value) for value in values][:: len(values) - 1] == list(axis.ends)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna warns of a range that its steps do not fill
        distribution = axis.distribution()
    assert all(distribution._contains(distribution.to_internal_repr(value)) for value in axis.grid())


def test_the_pre_training_of_a_trial_is_no_trial(workspace: Workspace) -> None:
    config = with_values(get_recipe("quick-modern"), {"pretrain.epochs": 1, "data.root": "/data"})
    card = RunCard("aaaa0000", "tune trial 3", "tune", 900.0, trial=3)
    with workspace.open_store() as store:
        enqueue(workspace, store, card, config, Place())
        assert {row.name: row.trial for row in store.runs()} == {
            "tune trial 3 pretrain": None,
            "tune trial 3": 3,
        }
        assert [row.id for row in store.runs(["trial>=0"])] == ["aaaa0000"]


class FakeAgent:
    """Runs all that waits, at once: an evaluation is lost the first time. Leaves when the queue is empty."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def __call__(self, workspace: Workspace) -> None:
        with workspace.open_store() as store:
            for row in store.queue.waiting():
                run = workspace.run_dir(row.id)
                self.begun.append(row.task)
                if row.source and self.begun.count(row.task) == 1:
                    store.lifecycle.set_status(row.id, "lost", "lost", "its machine is gone")
                    continue
                (run.checkpoints / "best.pt").write_bytes(b"weights")
                journal = evaluation_journal(row.source, {"a": 0.5}) if row.source else finished_journal()
                journal.write(run.journal)
                store.journals.import_run(run)


def test_an_evaluation_of_speed_that_waits_or_is_lost_is_looked_after(
    seg: Command, workspace: Workspace, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, looks = FakeAgent(), itertools.count()
    monkeypatch.setattr("engine.requests.tuning.search.ensure_agent", agent)
    monkeypatch.setattr("engine.requests.tuning.search.POLL_SECONDS", 0)
    monkeypatch.setattr(
        "time.sleep", lambda seconds: None if next(looks) < 50 else pytest.fail("goes on for ever")
    )
    done = seg(searched(scenes, "model.width=4,8", "--metric latency --trials 1 --json"))
    assert done.status == 0, done.err
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [each["event"] for each in events] == ["started", "resumed", "finished", "best"]
    assert events[1]["message"] == "its machine is gone"
    assert events[2]["scores"] == {"latency": 0.02}
    assert agent.begun == ["train", "evaluate", "evaluate"]


def test_a_trial_whose_checkpoint_is_gone_fails_and_the_search_goes_on(
    seg: Command, workspace: Workspace, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(FakeAgent):
        """Loses the checkpoint of the first training."""

        def __call__(self, workspace: Workspace) -> None:
            super().__call__(workspace)
            if self.begun == ["train"]:
                (kept,) = workspace.runs.glob("*/checkpoints/best.pt")
                kept.unlink()

    monkeypatch.setattr("engine.requests.tuning.search.ensure_agent", Forgetful())
    monkeypatch.setattr("engine.requests.tuning.search.POLL_SECONDS", 0)
    done = seg(searched(scenes, "model.width=4,8", "--metric latency --trials 2 --json"))
    assert done.status == 0, done.err
    events = [json.loads(line) for line in done.out.splitlines()]
    assert "has no such checkpoint" in next(each["message"] for each in events if each["event"] == "failed")
    assert [each["trial"] for each in events if each["event"] == "finished"] == [1]


def test_the_name_of_a_search_may_be_longer_than_that_of_a_file(
    seg: Command, workspace: Workspace, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.requests.tuning.search.ensure_agent", FakeAgent())
    monkeypatch.setattr("engine.requests.tuning.search.POLL_SECONDS", 0)
    name = "ü" * 100  # six bytes each in the name of a file
    for trials in (1, 2):
        done = seg(searched(scenes, "model.width=4,8", f"--trials {trials} --experiment {name}"))
        assert done.status == 0, done.err
    with workspace.open_store() as store:
        assert sorted(row.trial for row in store.runs(experiment=name) if row.trial is not None) == [0, 1]
    assert study_file(workspace, "short").name == "short.study"
    done = seg(searched(scenes, "model.width=4,8", "--experiment ''"))
    assert (done.status, "experiment: is empty" in done.err) == (BAD_USE, True)


def test_a_search_goes_on_after_the_disk_was_full_or_it_was_killed(
    seg: Command, workspace: Workspace, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.requests.tuning.search.ensure_agent", FakeAgent())
    monkeypatch.setattr("engine.requests.tuning.search.POLL_SECONDS", 0)
    assert seg(searched(scenes, "model.width=4,8", "--trials 1")).status == 0
    study = workspace.root / "tune" / "tune.study"
    with study.open("ab") as file:
        file.write(b'{"op_code":8,"worker')
    (study.parent / "tune.study.lock").symlink_to(study)  # of Optuna, for which it would wait half a minute
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("waits") if seconds else None)
    for trials in (2, 2):
        done = seg(searched(scenes, "model.width=4,8", f"--trials {trials} --json"))
        assert done.status == 0, done.err
    with workspace.open_store() as store:
        assert sorted(row.trial for row in store.runs() if row.trial is not None) == [0, 1]
    study.write_bytes(b"{ {\n" + study.read_bytes())
    done = seg(searched(scenes, "model.width=4,8", "--trials 2"))
    assert done.status == BAD_USE
    assert f"{study}: is damaged" in done.err


def test_a_trial_whose_pre_training_was_lost_is_queued_again_with_it(
    seg: Command, workspace: Workspace, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def agent(workspace: Workspace) -> None:
        with workspace.open_store() as store:
            (row, *_) = [row for row in store.queue.waiting() if not row.after] or store.queue.waiting()
            begun.append(row.task)
            if begun == ["pretrain"]:
                store.lifecycle.set_status(row.id, "lost", "lost", "its machine is gone")
            else:
                finished_journal().write(workspace.run_dir(row.id).journal)
                store.journals.import_run(workspace.run_dir(row.id))
            store.queue.fail_dependents()

    monkeypatch.setattr("engine.requests.tuning.search.ensure_agent", agent)
    monkeypatch.setattr("engine.requests.tuning.search.POLL_SECONDS", 0)
    done = seg(searched(scenes, "optimizer.lr=0.1,0.01", "pretrain.epochs=1 --trials 1 --json"))
    assert done.status == 0, done.err
    events = [json.loads(line) for line in done.out.splitlines()]
    told = [(each["event"], each.get("message")) for each in events if each["event"] != "epoch"]
    assert told[:3] == [("started", ""), ("resumed", "its machine is gone"), ("finished", "")]
    assert begun == ["pretrain", "pretrain", "train"]


@pytest.mark.parametrize("task", ["train", "evaluate"])
def test_a_run_of_which_a_kill_left_the_folder_alone_is_taken_in(
    seg: Command, workspace: Workspace, scenes: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setattr("engine.requests.tuning.search.ensure_agent", FakeAgent())
    monkeypatch.setattr("engine.requests.tuning.search.POLL_SECONDS", 0)
    words = searched(scenes, "model.width=4,8", "--metric latency --trials 1 --json")

    def killed(self: Lifecycle, card: RunCard, config: RunConfig, *others: Any) -> None:
        if config.task == task:
            raise KeyboardInterrupt
        return create(self, card, config, *others)

    create = Lifecycle.create
    with monkeypatch.context() as patch:
        patch.setattr(Lifecycle, "create", killed)
        patch.setattr("engine.requests.queueing.remove_folder", lambda run: None)
        assert seg(words).status == INTERRUPTED
    done = seg(words)
    assert done.status == 0, done.err
    with workspace.open_store() as store:
        assert sorted(row.task for row in store.runs()) == ["evaluate", "train"]


@pytest.mark.parametrize("is_old", [False, True])
def test_a_grid_is_gone_through_point_by_point(
    seg: Command, workspace: Workspace, scenes: Path, monkeypatch: pytest.MonkeyPatch, is_old: bool
) -> None:
    """Optuna takes minutes to be given a thousand points, so they are not given before their turn."""
    import optuna

    monkeypatch.setattr("engine.requests.tuning.search.ensure_agent", FakeAgent())
    monkeypatch.setattr("engine.requests.tuning.search.POLL_SECONDS", 0)
    words = searched(scenes, "model.width=4,8", "epochs=2,3")
    assert seg(f"{words} --trials 1").status == 0
    file = optuna.storages.journal.JournalFileBackend(str(workspace.root / "tune" / "tune.study"))
    study = optuna.load_study(study_name="tune", storage=optuna.storages.JournalStorage(file))
    assert [trial.params for trial in study.trials] == [{"model.width": "4", "epochs": "2"}]
    if is_old:  # earlier versions gave it all points at the beginning
        for width, epochs in (("4", "3"), ("8", "2"), ("8", "3")):
            study.enqueue_trial({"model.width": width, "epochs": epochs})
    assert seg(f"{words} --trials 9").status == 0
    with workspace.open_store() as store:
        configs = [row.config for row in store.runs(experiment="tune", sort="trial")]
    tried = [(config["model"]["width"], config["epochs"]) for config in configs]
    assert tried == [(4, 2), (4, 3), (8, 2), (8, 3)]


def test_speed_is_measured_on_the_cluster_that_trains(
    seg: Command, workspace: Workspace, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(sbatch.parent), prepend=":")
    monkeypatch.setattr("engine.requests.tuning.search.ensure_agent", FakeAgent())
    monkeypatch.setattr("engine.requests.tuning.search.POLL_SECONDS", 0)
    done = seg(searched(scenes, "model.width=4,8", "--metric latency --trials 1 executor=slurm"))
    assert done.status == 0, done.err
    with workspace.open_store() as store:
        where = {row.task: row.config["executor"] for row in store.runs(experiment="tune")}
    assert where == {"train": "slurm", "evaluate": "slurm"}


@pytest.mark.parametrize(
    ("typed", "epochs"),
    [
        (["epochs=1..27"], 27),
        (["epochs=9,81,3", "model.width=4,8"], 81),
        (["optimizer.lr=0.1,0.01"], get_recipe("quick").epochs),
        (["budget.hours=0,1"], 0),
    ],
)
def test_a_pruner_knows_the_longest_trial(typed: list[str], epochs: int) -> None:
    axes, _ = parse_space(typed)

    def config_of(values: dict[str, Any]) -> RunConfig:
        return with_values(get_recipe("quick"), {axis.key: axis.typed(values[axis.key]) for axis in axes})

    assert most_epochs(axes, config_of) == epochs


def test_a_search_does_not_go_on_with_other_data_of_the_workspace(
    seg: Command, workspace: Workspace, scenes: Path, narrow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cli.tune.MOST_CHECKED", 0)
    words = searched(scenes, "model.width=8,16", f"init.weights={narrow}").replace(f"--data {scenes}", "")
    other = shutil.copytree(scenes, scenes.parent / "other")
    for data, problem in ((scenes, "has another network"), (other, "was begun with another data")):
        (workspace.root / "seg.toml").write_text(f'[run]\ndata = "{data}"\n')
        assert problem in "".join(seg(words)[1:])


def test_a_recipe_that_is_edited_is_another_search(
    seg: Command, workspace: Workspace, scenes: Path, narrow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cli.tune.MOST_CHECKED", 0)
    recipe = scenes.parent / "mine.toml"
    recipe.write_text(to_toml(get_recipe("quick")))
    words = searched(scenes, "model.width=8,16", f"init.weights={narrow}").replace("quick", str(recipe))
    assert "has another network" in seg(words).out
    recipe.write_text("# the same, with a comment\n" + to_toml(get_recipe("quick")))
    assert "begun with another" not in seg(words).err
    recipe.write_text(to_toml(with_values(get_recipe("quick"), {"epochs": 7})))
    assert "was begun with another content of the recipe's file; repeat its command" in seg(words).err


def test_a_recipe_that_is_edited_during_a_search_is_not_read_again(
    seg: Command, workspace: Workspace, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = scenes.parent / "mine.toml"
    recipe.write_text(to_toml(with_values(get_recipe("quick"), {"epochs": 3})))
    agent = FakeAgent()

    def edited_after_the_first_trial(workspace: Workspace) -> None:
        agent(workspace)
        recipe.write_text(to_toml(with_values(get_recipe("quick"), {"epochs": 9})))

    monkeypatch.setattr("engine.requests.tuning.search.ensure_agent", edited_after_the_first_trial)
    monkeypatch.setattr("engine.requests.tuning.search.POLL_SECONDS", 0)
    done = seg(searched(scenes, "model.width=4,8").replace("quick", str(recipe)))
    assert done.status == 0, done.err
    with workspace.open_store() as store:
        assert [row.config["epochs"] for row in store.runs(experiment="tune")] == [3, 3]
