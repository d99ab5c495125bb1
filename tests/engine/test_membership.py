"""A run keeps the samples that it began with, and what has become of the data set since is told."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.cli.evaluate import refuse_other_images
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.config.sections import DataConfig
from engine.config.task_sections import EvaluateConfig, OodConfig
from engine.data.cases import open_material
from engine.data.catalog import DataError
from engine.data.dataset import Dataset, open_dataset
from engine.data.fingerprints import fingerprints
from engine.data.membership import Membership, Trained
from engine.data.pairs import open_pairs
from engine.data.search_images import open_search_images
from engine.metrics.image_confusions import ImageConfusions
from engine.metrics.scores import MetricsError
from engine.requests.derive import derived_config
from engine.workspace import Workspace
from tests.engine.conftest import Command, failed_journal
from tests.engine.made_up_runs import make_run_dir

CLASSES = 'name = "toy"\nvoid = [0]\n' + "".join(
    f'[[class]]\nname = "{name}"\ncolor = "#{value}0{value}0{value}0"\nids = [{value}]\n'
    for value, name in enumerate(("sky", "road"), start=1)
)


def add(root: Path, *names: str, seed: int = 0) -> None:
    rng = np.random.default_rng([seed, *map(ord, "".join(names))])
    for name in names:
        for folder in ("images", "labels"):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(root / "images" / f"{name}.png")
        Image.fromarray(rng.integers(1, 3, (16, 16), np.uint8)).save(root / "labels" / f"{name}.png")


def redraw(root: Path, name: str) -> None:
    """Other labels in a file of the same length and time of modification."""
    path = root / "labels" / f"{name}.png"
    before = path.stat()
    pixels = 3 - np.asarray(Image.open(path))
    Image.fromarray(pixels).save(path)
    with open(path, "ab") as file:
        file.truncate(before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    (root / "classes.toml").write_text(CLASSES)
    add(root, *(f"img{i:03d}" for i in range(10)))
    return root


def config(root: Path, **changes: object) -> DataConfig:
    values = {"root": str(root), "size": (16, 16), "split_rule": "rank", **changes}
    return DataConfig.model_validate(values)


def opened(data: DataConfig, root: Path, began_with: Membership | None = None, **more: object) -> Dataset:
    return open_dataset(data, root.parent / "cache", began_with=began_with, **more)  # type: ignore[arg-type]


def names(dataset: Dataset) -> tuple[set[str], set[str]]:
    sides = dataset.train, dataset.val
    train, val = ({side.name(i) for i in range(len(side))} for side in sides)
    return train, val


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("rule", ["rank", "threshold"])
def test_a_run_goes_on_with_the_split_that_it_began_with(root: Path, cache: bool, rule: str) -> None:
    data = config(root, cache=cache, split_rule=rule)
    first = opened(data, root)
    assert first.notes == ()
    add(root, "img010", "img011", "img012")
    (root / "images" / "lonely.png").write_bytes(b"no image")  # what was added stops nothing
    again = opened(data, root, first.membership)
    assert names(again) == names(first)
    assert len(again.notes) == 1
    assert "3 samples (img010, img011, img012) added to" in again.notes[0]
    if cache:
        assert again.caches[0].key == first.caches[0].key  # nothing is decoded again


def test_lost_samples_are_refused_or_left_out_as_asked(root: Path) -> None:
    data = config(root)
    first = opened(data, root)
    lost = min(first.membership.train)
    (root / "labels" / f"{lost}.png").unlink()
    with pytest.raises(DataError, match=rf"1 sample \({lost}\) of this run missing or incomplete"):
        opened(data, root, first.membership)
    again = opened(data.model_copy(update={"skip_bad": True}), root, first.membership)
    assert names(again) == (names(first)[0] - {lost}, names(first)[1])
    assert "left out (data.skip_bad)" in again.notes[0]


def test_redrawn_labels_are_noticed_whatever_their_length_and_time(root: Path) -> None:
    first = opened(config(root), root)
    redraw(root, min(first.membership.val))
    redraw(root, min(first.membership.train))
    again = opened(config(root), root, first.membership)
    assert names(again) == names(first)
    assert again.notes[-1].startswith("the labels of 2 samples (")
    assert "1 of them validate" in again.notes[-1]


def test_a_copy_of_the_data_is_the_same_data(root: Path, tmp_path: Path) -> None:
    first = opened(config(root), root)
    shutil.copytree(root, tmp_path / "copy")
    again = opened(config(tmp_path / "copy"), root, first.membership)
    assert again.notes == ()


def test_samples_beyond_the_label_fraction_and_faulty_ones_are_known(root: Path) -> None:
    (root / "images" / "img004.png").write_bytes(b"no image")
    data = config(root, label_fraction=0.5, skip_bad=True)
    first = opened(data, root)
    assert "img004" in first.membership.unused
    assert len(first.membership.names) == 10
    again = opened(data, root, first.membership)
    (note,) = again.notes
    assert note == "1 faulty image or label left out (data.skip_bad): images/img004.png"
    assert names(again) == names(first)


def test_the_record_holds_names_that_are_no_utf8(tmp_path: Path) -> None:
    member = Membership({"a\udcff": ("1", "2")}, {"ü": ("3", "")}, frozenset({"c"}))
    member.write(tmp_path / "split.json")
    assert Membership.read(tmp_path / "split.json") == member
    assert Membership.read(tmp_path / "none.json") is None


@pytest.mark.parametrize("text", ["", "[]", '{"train": 3}', '{"train": {}, "val": {"a": 1}}', "[" * 100_000])
def test_a_damaged_record_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(DataError, match="is not known") as refusal:
        Membership.read(path)
    assert "\n" not in str(refusal.value)


def test_a_file_is_read_for_its_digest_once(root: Path, tmp_path: Path) -> None:
    files = sorted((root / "images").iterdir())
    counts: list[int] = []
    first = fingerprints(files, root, tmp_path / "cache", lambda done, total: counts.append(total))
    assert counts == [10] * 10
    assert fingerprints(files, root, tmp_path / "cache", lambda done, total: counts.append(total)) == first
    assert len(counts) == 10
    (next((tmp_path / "cache").glob("*.contents.json"))).write_text("[1, 2")  # a damaged memory is none
    assert fingerprints(files, root, tmp_path / "cache") == first


def test_what_pretraining_learned_from_does_not_validate(root: Path) -> None:
    data = config(root)
    before = opened(data, root, labels=False).membership
    add(root, "img010", "img011", "img012")  # the boundary in the ranking moves
    assert set(opened(data, root).membership.val) & set(before.train)
    chained = opened(data, root, trained_before=before)
    assert not set(chained.membership.val) & set(before.train)
    assert set(before.val) <= set(chained.membership.val)
    assert "the pre-training learned from them" in chained.notes[0]


# --- whoever looks at the network ----------------------------------------------------------------


def trained(root: Path, **changes: object) -> Trained:
    data = config(root, **changes)
    return Trained("source00", data, opened(data, root).membership)


def test_what_a_run_held_out_is_scored_whatever_was_added(root: Path, tmp_path: Path) -> None:
    source = trained(root)
    add(root, "img010", "img011", "img012")
    member = source.membership
    assert member is not None
    for split in ("train", "val"):
        pairs = open_pairs(source.data, split, tmp_path / "cache", trained=source)
        assert {s.name for s in pairs.samples} == set(member.part(split))
        assert "3 samples (img010, img011, img012) added to" in pairs.notes[0]


def test_folders_that_a_run_held_out_are_scored(root: Path, tmp_path: Path) -> None:
    add(root, "bremen/img0", "bremen/img1", "ulm/img0")
    source = trained(root, split="folders", val_folders="bremen")
    assert source.membership is not None
    assert set(source.membership.val) == {"bremen/img0", "bremen/img1"}
    assert len(source.membership.train) == 11
    for known in (source, None):
        pairs = open_pairs(source.data, "val", tmp_path / "cache", trained=known)
        assert {s.name for s in pairs.samples} == set(source.membership.val)
    assert not source.is_of(config(root, split="folders", val_folders="ulm"), root)


def test_a_search_is_made_on_training_images_and_first_on_those_that_were_left_aside(
    root: Path, tmp_path: Path
) -> None:
    about = config(root, label_fraction=0.5)
    run = trained(root, label_fraction=0.5)
    assert run.membership is not None
    left_aside, learned = run.membership.unused, set(run.membership.train)

    def chosen(count: int, seed: int = 0, data: DataConfig = about) -> tuple[set[str], bool]:
        found = open_search_images(data, count, seed, tmp_path / "cache", run)
        return {sample.name for sample in found.pairs.samples}, found.learned

    few, are_learned = chosen(2)
    assert (len(few), few <= left_aside, are_learned) == (2, True, False)
    assert (few, False) == chosen(2)
    assert any(chosen(2, seed)[0] != few for seed in range(1, 9))
    assert chosen(99) == (learned, True)
    many, are_learned = chosen(len(left_aside) + 1)
    assert many <= learned
    assert are_learned
    shutil.copytree(root, tmp_path / "elsewhere")
    with pytest.raises(DataError, match="is not the data that the run was trained on"):
        chosen(2, data=config(tmp_path / "elsewhere"))


def test_lost_and_redrawn_samples_are_told_of_an_evaluation(root: Path, tmp_path: Path) -> None:
    source = trained(root)
    assert source.membership is not None
    lost, redrawn = sorted(source.membership.val)
    (root / "images" / f"{lost}.png").unlink()
    redraw(root, redrawn)
    pairs = open_pairs(source.data, "val", tmp_path / "cache", trained=source)
    assert [s.name for s in pairs.samples] == [redrawn]
    assert any(f"1 sample ({lost}) of the val split missing or incomplete" in note for note in pairs.notes)
    assert any(f"the labels of 1 sample ({redrawn}) have changed" in note for note in pairs.notes)
    (root / "images" / f"{redrawn}.png").unlink()
    with pytest.raises(DataError, match="nothing is left to score"):
        open_pairs(source.data, "val", tmp_path / "cache", trained=source)


def test_a_baseline_of_other_images_is_refused_before_anything_is_scored(root: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    about = EvaluateConfig(source="source00", checkpoint="../source00/checkpoints/best.pt", split="train")
    wanted = RunConfig(task="evaluate", data=config(root, split="official"), evaluate=about)
    baseline: Any = SimpleNamespace(run_id="eval0000")
    with pytest.raises(MetricsError, match="does not exist"):
        refuse_other_images(workspace, wanted, baseline)
    scored = ImageConfusions(("sky", "road"))
    for index in range(10):
        scored.add(f"img{index:03d}", np.array([[3, 1, 0], [0, 2, 0]]))
    outputs = workspace.run_dir("eval0000").outputs
    outputs.mkdir(parents=True)
    scored.save(outputs / "confusions.npz")
    refuse_other_images(workspace, wanted, baseline)
    add(root, "img010")
    with pytest.raises(MetricsError, match="differ in 1 images, img010 for one"):
        refuse_other_images(workspace, wanted, baseline)


def test_copies_of_training_images_are_noticed_in_another_data_set(root: Path, tmp_path: Path) -> None:
    source = trained(root)
    assert source.membership is not None
    other = tmp_path / "other"
    add(other, "val/strange", seed=7)
    (other / "classes.toml").write_text(CLASSES)
    for folder in ("images", "labels"):
        copied = root / folder / f"{min(source.membership.train)}.png"
        shutil.copy(copied, other / folder / "val" / "renamed.png")
    elsewhere = config(other, split="official")
    pairs = open_pairs(elsewhere, "val", tmp_path / "cache", trained=source)
    assert pairs.notes == ("1 sample (val/renamed) of the 2 in val are images that source00 trained on",)


def test_an_earlier_run_whose_numbers_no_longer_agree_is_refused(root: Path, tmp_path: Path) -> None:
    source = replace(trained(root), membership=None, counts=frozenset({(8, 2)}))
    assert len(open_pairs(source.data, "val", tmp_path / "cache", trained=source)) == 2
    add(root, "img010", "img011", "img012")
    with pytest.raises(DataError, match=r"8 \+ 2 training and validation images then, 10 \+ 3 now"):
        open_pairs(source.data, "val", tmp_path / "cache", trained=source)


def test_copies_of_training_images_are_no_ood_cases(root: Path, tmp_path: Path) -> None:
    source = trained(root)
    assert source.membership is not None
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        Image.fromarray(np.full((16, 16, 3), 7, np.uint8)).save(folder / "strange.png")
    shutil.copy(root / "images" / f"{min(source.membership.train)}.png", inside / "renamed.png")
    about = OodConfig(source="source00", checkpoint="x", in_root=str(inside), out_root=str(outside))
    material = open_material(source.data, about, tmp_path / "cache", trained=source)
    assert [case.name for case in material.cases if case.origin == "in"] == ["strange.png"]
    assert any("1 images were used for training or calibration" in note for note in material.notes)


# ---------------------------------------------------------------------- queued again


def made(workspace: Workspace, run_id: str, config: RunConfig, member: Membership | None = None) -> None:
    """A run that has stopped."""
    run = make_run_dir(workspace.runs, run_id, failed_journal(), config)
    if member is not None:
        member.write(run.split_file)
    with workspace.open_store() as store:
        store.journals.import_run(run)


def test_another_data_set_has_its_own_folders(root: Path, tmp_path: Path, workspace: Workspace) -> None:
    add(root, "ulm/img0")
    made(workspace, "aaaa1111", RunConfig(data=config(root, split="folders", val_folders="ulm")))
    shutil.copytree(root, tmp_path / "other")
    about = {"source": "aaaa1111", "checkpoint": "../aaaa1111/checkpoints/best.pt", "split": "val"}
    with workspace.open_store() as store:
        row = store.run("aaaa1111")
    for data, changes in ((tmp_path / "other", []), (None, ["data.split=official"])):
        derived = derived_config(workspace, row, about, changes, data).data
        assert (derived.split, derived.val_folders) == ("official", "")
    assert derived_config(workspace, row, about, []).data.val_folders == "ulm"


def test_a_link_to_the_data_of_a_run_is_no_other_data_set(
    root: Path, tmp_path: Path, workspace: Workspace
) -> None:
    """Its images took part in the training: they are not external, whatever the way to them."""
    add(root, "ulm/img0")
    made(workspace, "aaaa1111", RunConfig(data=config(root, split="official")))
    (tmp_path / "link").symlink_to(root)
    about = {"source": "aaaa1111", "checkpoint": "../aaaa1111/checkpoints/best.pt", "split": "val"}
    with workspace.open_store() as store:
        row = store.run("aaaa1111")
    own = derived_config(workspace, row, about, []).data
    assert derived_config(workspace, row, about, [], tmp_path / "link").data == own


def test_that_a_network_was_compiled_for_training_asks_nothing_of_its_evaluation(
    root: Path, workspace: Workspace
) -> None:
    about = {"source": "aaaa1111", "checkpoint": "../aaaa1111/checkpoints/best.pt", "split": "val"}
    for run_id, mode, derived in (("aaaa1111", "on", "auto"), ("bbbb2222", "off", "off")):
        trained = with_values(RunConfig(data=config(root)), {"runtime.compile": mode})
        made(workspace, run_id, trained)
        with workspace.open_store() as store:
            row = store.run(run_id)
        assert derived_config(workspace, row, about, []).runtime.compile == derived
        assert derived_config(workspace, row, about, ["runtime.compile=on"]).runtime.compile == "on"


def test_a_run_without_its_data_is_not_queued_again(
    root: Path, workspace: Workspace, seg: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cli.queue.ensure_agent", lambda workspace: None)
    data = config(root)
    made(workspace, "aaaa1111", RunConfig(data=data), opened(data, root).membership)
    scoring = EvaluateConfig(source="aaaa1111", checkpoint="../aaaa1111/checkpoints/best.pt", split="val")
    made(workspace, "bbbb2222", RunConfig(task="evaluate", data=data, evaluate=scoring))
    for run_id in ("aaaa1111", "bbbb2222"):
        assert seg(f"requeue {run_id}").status == 0
        assert seg(f"stop {run_id}").status == 0
    away = root.parent / "away"
    for gone in (root / "images" / "img003.png", root, root / "labels"):
        gone.rename(away)
        for command in ("requeue", "resume"):
            done = seg(f"{command} aaaa1111")
            assert done.status == 2
            assert str(root) in done.err
            assert done.err.startswith("error: ")
            assert "Traceback" not in done.err
        if gone != root / "images" / "img003.png":  # without one image the others are scored
            assert seg("requeue bbbb2222").status == 2
        if gone == root:  # moved, and its new place has to be known
            told = f"{root}: no such folder; if the data of the run has moved, `ln -s NEW {root}` leads to it"
            assert told in seg("requeue aaaa1111").err
            assert told in seg("requeue bbbb2222").err
            root.symlink_to(away)
            for run_id in ("aaaa1111", "bbbb2222"):
                assert seg(f"requeue {run_id}").status == 0
                assert seg(f"stop {run_id}").status == 0
            root.unlink()
        assert {row["status"] for row in seg("runs --json").json} == {"stopped"}
        away.rename(gone)
    assert seg("requeue aaaa1111 bbbb2222").status == 0
