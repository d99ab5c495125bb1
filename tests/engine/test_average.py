"""`seg-engine average`: which checkpoints it takes, and what it refuses before a run is made."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.requests.average import averaged_config, begun_apart, checkpoints_of
from engine.requests.refusals import Refused
from engine.store import RunRow
from engine.workspace import Workspace
from tests.engine.made_up_runs import finished_journal, make_run_dir

CONFIG = with_values(RunConfig(), {"model.width": 8, "ema.decay": 0.9, "pretrain.epochs": 3})
FILES = ("best.pt", "last.pt", "epoch_0010.pt", "epoch_0020.pt", "epoch_0030.pt")


def made(workspace: Workspace, run_id: str, config: RunConfig = CONFIG) -> RunRow:
    run = make_run_dir(workspace.runs, run_id, finished_journal(), config)
    for name in FILES:
        (run.checkpoints / name).write_bytes(b"weights")
    with workspace.open_store() as store:
        store.journals.import_run(run)
        return store.run(run_id)


def names(config: RunConfig) -> list[str]:
    assert config.average is not None
    return [path.removeprefix("../").replace("checkpoints/", "") for path in config.average.checkpoints]


def test_of_one_run_the_kept_epochs_and_of_several_the_best(workspace: Workspace) -> None:
    one, other = made(workspace, "aaaaaaaa"), made(workspace, "bbbbbbbb", with_values(CONFIG, {"seed": 1}))
    config = averaged_config(workspace, [one], "", None, ["device=cpu"])
    assert names(config) == ["aaaaaaaa/epoch_0010.pt", "aaaaaaaa/epoch_0020.pt", "aaaaaaaa/epoch_0030.pt"]
    assert (config.task, config.epochs, config.ema.decay, config.pretrain.epochs) == ("average", 1, 0.0, 0)
    assert config.model == CONFIG.model
    both = averaged_config(workspace, [one, other], "", None, [])
    assert names(both) == ["aaaaaaaa/best.pt", "bbbbbbbb/best.pt"]


def test_runs_may_differ_in_how_their_network_was_trained(workspace: Workspace) -> None:
    network = with_values(CONFIG, {"model.name": "deeplab_largefov", "model.width": 2})
    one = made(workspace, "aaaaaaaa", network)
    other = made(workspace, "bbbbbbbb", with_values(network, {"model.dropout": 0.1}))
    config = averaged_config(workspace, [one, other], "", None, [])
    assert names(config) == ["aaaaaaaa/best.pt", "bbbbbbbb/best.pt"]
    assert config.model == network.model


def test_runs_that_began_with_different_weights_are_told(workspace: Workspace) -> None:
    number = itertools.count()

    def told(*changes: dict[str, object]) -> str:
        configs = [with_values(CONFIG, {"pretrain.epochs": 0} | change) for change in changes]
        return begun_apart(
            workspace, [made(workspace, f"run{next(number):05d}", config) for config in configs]
        )

    assert told({"seed": 1}, {"seed": 2}).startswith("these runs began with different weights")
    assert told({"seed": 1, "optimizer.lr": 0.1}, {"seed": 1, "optimizer.lr": 0.2}) == ""
    start = {"init.weights": "../pppppppp/checkpoints/best.pt"}
    assert told({"seed": 1} | start, {"seed": 2} | start) == ""
    assert told(start, {"init.weights": "../qqqqqqqq/checkpoints/best.pt"}) != ""


@pytest.mark.parametrize(
    ("which", "found"),
    [
        ("15..30", ["epoch_0020.pt", "epoch_0030.pt"]),
        ("10,best", ["epoch_0010.pt", "best.pt"]),
        ("kept,20", ["epoch_0010.pt", "epoch_0020.pt", "epoch_0030.pt"]),
    ],
)
def test_checkpoints_are_chosen_by_name_and_by_epoch(
    workspace: Workspace, which: str, found: list[str]
) -> None:
    made(workspace, "aaaaaaaa")
    assert checkpoints_of(workspace.run_dir("aaaaaaaa"), which) == found


def test_what_cannot_be_averaged_is_refused_in_a_line(workspace: Workspace, tmp_path: Path) -> None:
    one = made(workspace, "aaaaaaaa")
    (tmp_path / "there.pt").write_bytes(b"")

    def refused(rows: list[RunRow], which: str = "", out: Path | None = None, *changes: str) -> str:
        with pytest.raises(Refused) as refusal:
            averaged_config(workspace, rows, which, out, changes)
        (line,) = refusal.value.problems
        return line

    there = "it has best.pt, epoch_0010.pt, epoch_0020.pt, epoch_0030.pt, last.pt"
    assert refused([one], "11..19") == f"--checkpoints 11..19: aaaaaaaa has no such checkpoint; {there}"
    assert refused([one], "worst").startswith("--checkpoints worst: must be best, last, kept, an epoch N")
    few = "--checkpoints: aaaaaaaa has only best.pt of these; an average takes two; checkpoint.keep_every=N"
    assert refused([one], "best").startswith(few)
    assert (
        refused([one], "", tmp_path / "there.pt")
        == f"--out {tmp_path}/there.pt: already exists; name another file"
    )
    assert "there is no folder" in refused([one], "", tmp_path / "gone" / "a.pt")
    assert refused([one], "", None, "optimizer.lr=1").startswith("optimizer.lr: is fixed by the training; ")
    wide = made(workspace, "bbbbbbbb", with_values(CONFIG, {"model.width": 16}))
    for path in workspace.run_dir("bbbbbbbb").checkpoints.glob("epoch_*.pt"):
        path.unlink()
    assert refused([wide]) == (
        "--checkpoints kept: bbbbbbbb has kept no epochs: it has best.pt, last.pt; a run keeps those of "
        "epochs by checkpoint.keep_every"
    )
    expected = "bbbbbbbb: has another network than aaaaaaaa: model.width 16, not 8"
    assert refused([one, wide]) == expected
    zoo = {"model.name": "smp", "model.encoder": "efficientnet-b0"}
    plain = made(workspace, "dddddddd", with_values(CONFIG, zoo))
    advprop = made(workspace, "eeeeeeee", with_values(CONFIG, zoo | {"model.weights": "advprop"}))
    assert refused([plain, advprop]) == "eeeeeeee: has images normalised as inception, dddddddd as imagenet"
    split = made(workspace, "cccccccc", with_values(CONFIG, {"data.split_seed": 5}))
    assert refused([one, split]).startswith("cccccccc: has other data than aaaaaaaa: data.split_seed 5, not ")
    with workspace.open_store() as store:
        store.lifecycle.set_status("cccccccc", "running")
        assert refused([store.run("cccccccc"), one]) == "cccccccc: is running; its weights still change"
