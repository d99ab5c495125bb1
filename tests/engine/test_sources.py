"""Where weights come from, as people say it: a run, a checkpoint, a pre-training run that is made first."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.cli.arguments import InQueue
from engine.cli.run import queue_or_start
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.config.sections import PluginFile
from engine.requests.crf_parameters import refuse_unsearched
from engine.requests.deleting import needed_by
from engine.requests.derive import checkpoint_of
from engine.requests.initial_weights import pretraining_of, settle_sources
from engine.requests.queueing import Place, enqueue
from engine.requests.refusals import Refused
from engine.run.directory import RunCard, RunDir
from engine.store import Store
from engine.workspace import Workspace
from tests.engine.conftest import import_made_up_run
from tests.engine.made_up_runs import CLASSES, evaluation_config, finished_journal, search_config

EMPTY_SAFETENSORS = (8).to_bytes(8, "little") + b"{}      "
CONFIG = with_values(RunConfig(), {"model.width": 8})


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    with workspace.open_store() as opened:
        yield opened


def made(
    workspace: Workspace,
    store: Store,
    run_id: str,
    *checkpoints: str,
    status: str = "finished",
    config: RunConfig = CONFIG,
) -> RunDir:
    """A run that left checkpoints."""
    card = RunCard(run_id, f"run {run_id}", "tests", 1.0)
    run = workspace.run_dir(run_id)
    run.create(card, config)
    store.lifecycle.create(card, config, status)
    for name in checkpoints:
        (run.checkpoints / name).write_bytes(b"weights")
    return run


def settled(workspace: Workspace, store: Store, source: str, waits_for: str = "", **values: object) -> str:
    config = with_values(CONFIG, {"init.weights": source, **values})
    return settle_sources(workspace, store, config, waits_for).init.weights


def test_a_run_stands_for_its_best_checkpoint_beside_the_new_run(workspace: Workspace, store: Store) -> None:
    made(workspace, store, "aaaaaaaa", "best.pt", "last.pt")
    made(workspace, store, "bbbbbbbb", "last.pt", status="stopped")
    for name in ("aaaaaaaa", "aaa", "run aaaaaaaa"):
        assert settled(workspace, store, name) == "../aaaaaaaa/checkpoints/best.pt"
    assert settled(workspace, store, "bbb") == "../bbbbbbbb/checkpoints/last.pt"
    again = "../aaaaaaaa/checkpoints/best.pt"
    assert settled(workspace, store, again) == again  # a run made anew from its config
    path = workspace.run_dir("aaaaaaaa").checkpoints / "last.pt"
    assert settled(workspace, store, str(path)) == "../aaaaaaaa/checkpoints/last.pt"


def test_a_checkpoint_anywhere_is_named_by_its_path(
    workspace: Workspace, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("elsewhere.pt", "vgg16.pth", "resnet50.Safetensors", "./no_suffix"):
        (tmp_path / name).write_bytes(EMPTY_SAFETENSORS)
        assert settled(workspace, store, name) == str(tmp_path / name)
    with pytest.raises(ConfigError, match=rf"init\.weights: {tmp_path}/gone\.pt is not there; it must"):
        settled(workspace, store, "gone.pt")
    with pytest.raises(ConfigError, match=r"init\.weights: /gone/vgg16\.pth is not there; it must"):
        settled(workspace, store, "/gone/vgg16.pth")  # the folder above its folder has no name
    with pytest.raises(ConfigError, match=rf"init\.weights: {tmp_path}: is not a regular file but a folder"):
        settled(workspace, store, str(tmp_path))


def test_what_looks_at_a_run_takes_a_checkpoint_of_it_or_any_file(
    workspace: Workspace, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(workspace, store, "aaaaaaaa", "best.pt", "epoch_0010.pt")
    row = store.run("aaaaaaaa")
    elsewhere = tmp_path / "best.pt"
    zipfile.ZipFile(elsewhere, "w").close()
    own = "../aaaaaaaa/checkpoints/"
    for which, path in (
        ("best", f"{own}best.pt"),
        ("epoch_0010.pt", f"{own}epoch_0010.pt"),
        (str(run.checkpoints / "epoch_0010.pt"), f"{own}epoch_0010.pt"),
        (str(elsewhere), str(elsewhere)),
    ):
        assert checkpoint_of(workspace, row, which, waits=False) == path
        assert (run.path / path).is_file()
    monkeypatch.chdir(run.checkpoints)
    assert checkpoint_of(workspace, row, "best", waits=False) == f"{own}best.pt"
    with pytest.raises(
        Refused, match=r"--checkpoint /gone/net\.pt: aaaaaaaa has no such checkpoint; it has best\.pt"
    ):
        checkpoint_of(workspace, row, "/gone/net.pt", waits=False)


@pytest.mark.parametrize(
    ("name", "start", "problem"),
    [
        ("rna-a1.params", bytes.fromhex("1201000000000000"), "is of MXNet; convert it to safetensors"),
        ("r50.pkl", b"\x80\x04\x95", "is a pickle, which may run any code when it is read; convert it"),
        ("net.h5", b"\x89HDF\r\n\x1a\n", "is HDF5, as Keras writes it; convert it"),
        ("net.pth", b"<!DOCTYPE html>", "is a web page or XML, not weights"),
        ("net.pth", b"version https://git-lfs.github.com/spec/v1", "is a pointer of Git LFS; `git lfs pull`"),
        ("net.tar", bytes(257) + b"ustar", "is a tar archive; unpack it first"),
        ("net.pth", b"PK", "is damaged: File is not a zip file"),
        ("net.safetensors", (99).to_bytes(8, "little") + b"{", "is damaged: it ends within its header"),
        ("net.pth", b"", "is damaged or not a file of weights; files of torch.save and safetensors can"),
    ],
)
def test_a_file_without_readable_weights_is_refused_before_a_run_is_made(
    workspace: Workspace, store: Store, tmp_path: Path, name: str, start: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(start)
    with pytest.raises(ConfigError) as refusal:
        settled(workspace, store, str(tmp_path / name))
    (line,) = refusal.value.problems
    assert line.startswith(f"init.weights: {tmp_path / name}: {problem}")
    assert "\n" not in line


def test_what_is_no_source_is_said(workspace: Workspace, store: Store) -> None:
    made(workspace, store, "aaaaaaaa", status="running")
    with pytest.raises(ConfigError, match=r"init\.weights: .*nobody"):
        settled(workspace, store, "nobody")
    with pytest.raises(
        ConfigError, match=r"aaaaaaaa is running and has no checkpoint; with --queue --after aaaaaaaa"
    ):
        settled(workspace, store, "aaaaaaaa")
    assert settled(workspace, store, "aaa", waits_for="aaaaaaaa") == "../aaaaaaaa/checkpoints/best.pt"
    made(workspace, store, "dddddddd", status="failed")
    with pytest.raises(
        ConfigError, match=r"dddddddd is failed and has no checkpoint; `seg-engine .*resume dddddddd` goes on"
    ):
        settled(workspace, store, "dddddddd")
    with pytest.raises(ConfigError, match=r"cccccccc/checkpoints/best\.pt is not there"):
        settled(workspace, store, "../cccccccc/checkpoints/best.pt")


def test_another_network_is_refused_before_anything_is_made(workspace: Workspace, store: Store) -> None:
    made(workspace, store, "aaaaaaaa", "best.pt")
    with pytest.raises(ConfigError) as refusal:
        settled(workspace, store, "aaa", **{"model.width": 16})
    assert str(refusal.value) == (
        "init.weights: aaaaaaaa has another network: model.width 8, not 16; "
        "init.strict=false loads the weights that fit"
    )
    assert settled(workspace, store, "aaa", **{"model.width": 16, "init.strict": False}).startswith("../aaa")
    of_part = {"model.width": 16, "init.parts": "encoder"}  # of which the worker judges
    assert settled(workspace, store, "aaa", **of_part).startswith("../aaa")


def test_keys_that_change_no_weights_make_no_other_network(workspace: Workspace, store: Store) -> None:
    made(workspace, store, "aaaaaaaa", "best.pt")
    assert settled(workspace, store, "aaa", **{"model.deep_supervision": 2}).startswith("../aaa")
    zoo = {"model.name": "torchvision", "model.architecture": "lraspp_mobilenet_v3_large"}
    other = with_values(CONFIG, {**zoo, "model.weights": "IMAGENET1K_V1"})
    made(workspace, store, "bbbbbbbb", "best.pt", config=other)
    assert settled(workspace, store, "bbb", **zoo).startswith("../bbb")


def test_weights_that_saw_images_normalised_otherwise_are_refused(workspace: Workspace, store: Store) -> None:
    zoo = {"model.name": "smp", "model.encoder": "efficientnet-b0"}
    made(
        workspace,
        store,
        "aaaaaaaa",
        "best.pt",
        config=with_values(CONFIG, zoo | {"model.weights": "advprop"}),
    )
    for parts in ("all", "encoder"):
        with pytest.raises(ConfigError) as refusal:
            settled(workspace, store, "aaa", **zoo, **{"init.parts": parts})
        assert str(refusal.value) == (
            "init.weights: aaaaaaaa has images normalised as inception, this network as imagenet; "
            "model.normalisation=inception keeps what its weights were trained on"
        )
    for changes in ({"model.normalisation": "inception"}, {"init.parts": "decoder"}):
        assert settled(workspace, store, "aaa", **zoo, **changes).startswith("../aaa")


def test_a_run_that_wants_pretraining_is_queued_behind_it(workspace: Workspace, store: Store) -> None:
    made(workspace, store, "aaaaaaaa", status="queued")
    config = with_values(CONFIG, {"pretrain.epochs": 5, "data.label_fraction": 0.1, "epochs": 20})
    card = RunCard("bbbbbbbb", "two", "tests", 2.0, ("night",))
    first, second = enqueue(workspace, store, card, config, Place(3, "aaa"))
    assert (first.name, first.tags) == ("two pretrain", ("night",))
    assert second == replace(card, priority=3, after=first.id)
    rows = [store.run(first.id), store.run(second.id)]
    assert [row.after for row in rows] == ["aaaaaaaa", first.id]
    assert [row.priority for row in rows] == [3, 3]
    assert [row.task for row in rows] == ["pretrain", "train"]
    pretraining = workspace.run_dir(first.id).read_config()
    assert (pretraining.epochs, pretraining.data.label_fraction) == (5, 1.0)
    assert pretraining.model == config.model
    training = workspace.run_dir(second.id).read_config()
    assert training.init.weights == f"../{first.id}/checkpoints/best.pt"
    assert (training.epochs, training.pretrain.epochs) == (20, 5)
    # Made anew, it starts from the same weights and makes no pre-training again.
    again = RunCard("cccccccc", "again", "tests", 3.0)
    (workspace.run_dir(first.id).checkpoints / "best.pt").write_bytes(b"weights")
    assert enqueue(workspace, store, again, training, Place()) == [again]


def test_runs_queued_together_share_what_pretrains_alike(workspace: Workspace, store: Store) -> None:
    shared: dict[RunConfig, str] = {}
    cards = []
    for index, values in enumerate(
        ({"data.label_fraction": 0.1}, {"data.label_fraction": 0.5}, {"optimizer.lr": 0.5})
    ):
        config = with_values(CONFIG, {"pretrain.epochs": 5, **values})
        card = RunCard(f"{index}" * 8, str(index), "tests", float(index))
        cards += enqueue(workspace, store, card, config, Place(), shared)
    assert [card.name for card in cards] == ["0 pretrain", "0", "1", "2 pretrain", "2"]
    assert store.run("1" * 8).after == cards[0].id


def test_what_looks_at_a_network_that_is_not_there_yet_waits_for_its_training(
    workspace: Workspace, store: Store
) -> None:
    training = made(workspace, store, "aaaaaaaa", status="running")
    made(workspace, store, "bbbbbbbb", status="queued")
    config = evaluation_config("aaaaaaaa")

    def after(run_id: str, behind: str = "") -> str:
        card = RunCard(run_id, "scores", "tests", 3.0)
        (queued,) = enqueue(workspace, store, card, config, Place(after=behind))
        return queued.after

    assert after("cccccccc") == "aaaaaaaa"
    assert after("dddddddd", "bbb") == "bbbbbbbb"
    (training.checkpoints / "best.pt").write_bytes(b"weights")
    assert after("eeeeeeee") == ""


def test_what_takes_the_parameters_of_a_crf_waits_for_their_search(
    workspace: Workspace, store: Store
) -> None:
    made(workspace, store, "aaaaaaaa", "best.pt")
    made(workspace, store, "eeeeeeee", "best.pt")
    search, config = search_config("aaaaaaaa"), evaluation_config("aaaaaaaa")
    refined = config.model_copy(update={"crf": config.crf.model_copy(update={"mode": "searched"})})
    refuse_unsearched(store, refined)  # nobody searches, so the run says that it takes the defaults
    enqueue(workspace, store, RunCard("bbbbbbbb", "search", "tests", 2.0), search, Place())

    def after(run_id: str, config: RunConfig, behind: str = "") -> str:
        card = RunCard(run_id, "scores", "tests", 3.0)
        (queued,) = enqueue(workspace, store, card, config, Place(after=behind))
        return queued.after

    assert after("cccccccc", refined) == "bbbbbbbb"
    assert after("dddddddd", refined, "bbb") == "bbbbbbbb"
    assert after("ffffffff", config) == ""
    assert refined.evaluate is not None
    at_input = refined.model_copy(update={"evaluate": refined.evaluate.model_copy(update={"at": "input"})})
    assert after("gggggggg", at_input) == ""
    says = r"bbbbbbbb \(search\), which searches the CRF's parameters, is queued"
    with pytest.raises(Refused, match=f"^--after eeeeeeee: {says}; `--after bbbbbbbb` waits for it$"):
        after("hhhhhhhh", refined, "eee")
    with pytest.raises(Refused, match=f"^--crf: {says}; add --queue, which waits for it"):
        refuse_unsearched(store, refined)
    store.lifecycle.set_status("bbbbbbbb", "stopped", "stopped")
    refuse_unsearched(store, refined)


@pytest.mark.parametrize(
    ("status", "checkpoint", "behind", "is_told"),
    [
        ("running", "best.pt", "", True),
        ("finished", "best.pt", "", False),
        ("running", "epoch_0001.pt", "", False),
        ("running", "best.pt", "aaaaaaaa", False),
    ],
)
def test_it_is_told_where_a_queued_evaluation_looks_at_a_network_that_still_learns(
    workspace: Workspace,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: str,
    checkpoint: str,
    behind: str,
    is_told: bool,
) -> None:
    monkeypatch.setattr("engine.cli.queue.ensure_agent", lambda workspace: None)
    made(workspace, store, "aaaaaaaa", checkpoint, status=status)
    config = evaluation_config("aaaaaaaa")
    assert config.evaluate is not None
    about = config.evaluate.model_copy(update={"checkpoint": f"../aaaaaaaa/checkpoints/{checkpoint}"})
    config = config.model_copy(update={"evaluate": about})
    card = RunCard("cccccccc", "scores", "tests", 3.0)
    assert queue_or_start(workspace, store, card, config, InQueue(queue=True, after=behind), False) == 0
    told = "aaaaaaaa is running: cccccccc looks at its checkpoint as that is when it starts; with --queue"
    assert (told in " ".join(capsys.readouterr().err.split())) == is_told


def test_a_schedule_that_does_not_suit_the_pretraining_is_refused() -> None:
    config = with_values(CONFIG, {"pretrain.epochs": 3, "schedule.warmup_epochs": 5})
    with pytest.raises(ConfigError, match=r"of the pre-training run, schedule\.warmup_epochs: 5 "):
        pretraining_of(config)
    with pytest.raises(ConfigError, match=r"pretrain\.epochs: works with task=train only"):
        with_values(CONFIG, {"task": "pretrain", "pretrain.epochs": 3})


def taught(workspace: Workspace, store: Store, teacher: str, waits_for: str = "", **values: object) -> str:
    config = with_values(CONFIG, {"distill.from": teacher, **values})
    return settle_sources(workspace, store, config, waits_for).distill.teacher


def test_a_teacher_is_a_run_that_has_ended(workspace: Workspace, store: Store) -> None:
    made(workspace, store, "aaaaaaaa", "best.pt")
    made(workspace, store, "bbbbbbbb", "best.pt", status="running")
    assert taught(workspace, store, "run aaaaaaaa") == "../aaaaaaaa/checkpoints/best.pt"
    assert taught(workspace, store, "bbb", waits_for="bbbbbbbb") == "../bbbbbbbb/checkpoints/best.pt"
    other = {"model.width": 16, "data.size": "64x64"}
    assert taught(workspace, store, "aaa", **other) == "../aaaaaaaa/checkpoints/best.pt"
    with pytest.raises(
        ConfigError, match=r"distill\.from: bbbbbbbb is running and its network still changes"
    ):
        taught(workspace, store, "bbb")
    with pytest.raises(ConfigError, match=r"distill\.from: .*nobody"):
        taught(workspace, store, "nobody")


def test_a_teacher_that_cannot_teach_is_refused_before_a_run_is_made(
    workspace: Workspace, store: Store, tmp_path: Path
) -> None:
    made(workspace, store, "aaaaaaaa", "best.pt")
    other = {"model.name": "deeplab_largefov", "data.size": "40x40"}
    with pytest.raises(ConfigError, match=r"aaaaaaaa cannot see data\.size: 40x40 does not suit unet"):
        taught(workspace, store, "aaa", **other)
    run = import_made_up_run(workspace, "dddddddd", finished_journal())
    (run.checkpoints / "best.pt").write_bytes(b"weights")
    with pytest.raises(
        ConfigError, match=rf"dddddddd knows the {len(CLASSES)} classes .*; the run's 19 are road,"
    ):
        taught(workspace, store, "ddd")

    plugin = tmp_path / "mine.py"
    config = CONFIG.model_copy(update={"plugins": (PluginFile(path=str(plugin), sha256="0" * 64),)})
    card = RunCard("cccccccc", "made by a plugin", "tests", 1.0)
    workspace.run_dir("cccccccc").create(card, config)
    store.lifecycle.create(card, config, "finished")
    (workspace.run_dir("cccccccc").checkpoints / "best.pt").write_bytes(b"weights")
    with pytest.raises(ConfigError) as refusal:
        taught(workspace, store, "ccc")
    (told,) = refusal.value.problems
    problem = f"{plugin}: the plugin that the run was made with is not there; if it has moved, `ln -s NEW "
    assert told.startswith(f"distill.from: cccccccc: {problem}")


def test_whoever_deletes_a_run_hears_which_others_need_it(workspace: Workspace, store: Store) -> None:
    made(workspace, store, "aaaaaaaa", "best.pt")

    def needing(run_id: str, key: str, status: str) -> None:
        card = RunCard(run_id, f"run {run_id}", "tests", 1.0)
        config = with_values(CONFIG, {key: "../aaaaaaaa/checkpoints/best.pt"})
        workspace.run_dir(run_id).create(card, config)
        store.lifecycle.create(card, config, status)

    needing("bbbbbbbb", "distill.from", "finished")
    needing("cccccccc", "init.weights", "stopped")  # has weights of its own by now
    row = store.run("aaaaaaaa")
    assert needed_by(store, [row]) == ""
    needing("dddddddd", "distill.from", "stopped")
    needing("eeeeeeee", "init.weights", "queued")
    told = needed_by(store, [row])
    assert "dddddddd run dddddddd (its teacher; stopped)" in told
    assert "eeeeeeee run eeeeeeee (its initial weights; queued)" in told
    assert needed_by(store, [row, store.run("dddddddd"), store.run("eeeeeeee")]) == ""


def test_whoever_deletes_a_run_is_told_what_looks_at_it_averages_it_or_comes_after_it(
    workspace: Workspace, store: Store
) -> None:
    made(workspace, store, "aaaaaaaa", "best.pt")
    row = store.run("aaaaaaaa")
    average = {"checkpoints": ["../aaaaaaaa/checkpoints/best.pt", "../zzzzzzzz/checkpoints/best.pt"]}
    averaging = RunConfig.model_validate({**CONFIG.model_dump(), "task": "average", "average": average})
    for run_id, config, status, after in (
        ("bbbbbbbb", evaluation_config("aaaaaaaa"), "stopped", ""),
        ("cccccccc", averaging, "queued", ""),
        ("dddddddd", CONFIG, "queued", "aaaaaaaa"),
        ("eeeeeeee", evaluation_config("aaaaaaaa"), "finished", ""),
        ("ffffffff", CONFIG, "stopped", "aaaaaaaa"),
    ):
        card = RunCard(run_id, f"run {run_id}", "tests", 1.0, after=after)
        store.lifecycle.create(card, config, status)
    assert sorted(needed_by(store, [row]).removeprefix("needed by ").split(", ")) == [
        "bbbbbbbb run bbbbbbbb (the network that it looks at; stopped)",
        "cccccccc run cccccccc (weights that it averages; queued)",
        "dddddddd run dddddddd (it comes after it; queued)",
        "which cannot go on without it",
    ]


def test_a_pre_training_run_has_no_teacher(workspace: Workspace, store: Store) -> None:
    first = pretraining_of(with_values(CONFIG, {"pretrain.epochs": 2, "distill.from": "a.pt"}))
    assert first is not None
    assert first.distill == RunConfig().distill
