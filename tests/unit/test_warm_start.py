"""Beginning with the weights of another checkpoint or of a file that was made elsewhere: what is taken, what
is new, what is refused."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.data.dataset import open_dataset
from engine.data.membership import Membership
from engine.learning.checkpoint import CheckpointError, DamagedCheckpoint, save_checkpoint
from engine.learning.hardware import Hardware
from engine.run.directory import RunDir
from engine.run.events import WarmStart, Warned
from engine.run.journal import JournalWriter, read_all
from engine.training.begin import begin, describe_model, start
from engine.training.state import TrainState, new_state
from engine.training.warm_start import start_from_source
from engine.worker.job import Job

CPU = Hardware(torch.device("cpu"), "a CPU", "fp32")
BASE = with_values(RunConfig(), {"model.name": "modern_unet", "model.hidden": 2, "data.size": "16x16"})
STREET, HOUSE = ["road", "car"], ["wall", "door", "roof"]


class Beginning:
    """A run directory beside a source checkpoint, in a folder `runs`."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "runs" / "aaaaaaaa" / "checkpoints" / "best.pt"
        self.source.parent.mkdir(parents=True)
        self.run = RunDir(folder / "runs" / "bbbbbbbb")
        self.run.path.mkdir()

    def keep(self, state: TrainState) -> None:
        identity = {"model_config": state.config.model.model_dump(mode="json"), "classes": state.classes}
        save_checkpoint(self.source, {**identity, "epoch": 7, "model": state.model.state_dict()})

    def start(self, classes: list[str], **values: object) -> tuple[TrainState, WarmStart]:
        changes = {key.replace("__", "."): value for key, value in values.items()}
        config = with_values(BASE, {"seed": 1, "init.weights": "../aaaaaaaa/checkpoints/best.pt", **changes})
        state = new_state(config, CPU, classes)
        with JournalWriter(self.run.journal) as journal:
            start_from_source(Job(self.run, config, journal, self.run.path), state)
        (event,) = read_all(self.run.journal)
        assert isinstance(event, WarmStart)
        return state, event


@pytest.fixture
def beginning(tmp_path: Path) -> Beginning:
    return Beginning(tmp_path)


def same(one: TrainState, other: TrainState) -> dict[str, bool]:
    return {
        name: tensor.shape == other.model.state_dict()[name].shape
        and bool(torch.equal(tensor, other.model.state_dict()[name]))
        for name, tensor in one.model.state_dict().items()
    }


def test_of_the_same_classes_everything_is_taken_at_another_size_too(beginning: Beginning) -> None:
    source = new_state(BASE, CPU, STREET)
    beginning.keep(source)
    state, event = beginning.start(STREET, data__size="32x64")
    assert all(same(source, state).values())
    assert (event.taken, event.epoch, event.new, event.unused) == (len(same(source, state)), 7, [], [])
    assert event.source == str(beginning.source)
    assert event.told == f"weights loaded from {beginning.source}, epoch 7: {event.taken} tensors"


@pytest.mark.parametrize("parts", ["encoder", "decoder"])
def test_a_part_is_loaded_and_the_other_begins_as_it_would(beginning: Beginning, parts: str) -> None:
    source = new_state(with_values(BASE, {"seed": 9}), CPU, STREET)
    beginning.keep(source)
    state, event = beginning.start(STREET, init__parts=parts)
    alone = new_state(with_values(BASE, {"seed": 1}), CPU, STREET).model.state_dict()
    names = {name for name in alone if state.model.is_encoder(name) == (parts == "encoder")}
    assert 0 < len(names) < len(alone)
    for name, each in state.model.state_dict().items():
        expected = source.model.state_dict() if name in names else alone
        assert torch.equal(each, expected[name]), name
    assert event.taken == len(names)
    assert set(event.new) == set(event.unused) == set(alone) - names


def test_what_is_left_out_need_not_fit(beginning: Beginning) -> None:
    street_net = {"model.name": "street_net", "model.width": 4, "data.size": "32x32"}
    beginning.keep(new_state(with_values(BASE, {**street_net, "model.head_stride": 2}), CPU, STREET))
    keys = {key.replace(".", "__"): value for key, value in street_net.items()}
    for parts in ("all", "decoder"):
        with pytest.raises(CheckpointError, match=r"another network: 12 tensors do not fit, the first up\.2"):
            beginning.start(STREET, **keys, init__parts=parts)
    state, event = beginning.start(STREET, **keys, init__parts="encoder")
    assert event.taken == sum(state.model.is_encoder(name) for name in state.model.state_dict())
    with pytest.raises(CheckpointError, match=r"of another network: .* the first encoder"):
        beginning.start(STREET, **{**keys, "model__encoder": "resnet18"}, init__parts="encoder")


def test_weights_made_elsewhere_need_not_fit_where_they_are_left_out(
    beginning: Beginning, tmp_path: Path
) -> None:
    network = {**UNET, "data.size": "16x16"}
    weights = unet().model.state_dict()
    file = tmp_path / "other_decoder.pt"
    others = {"merge.0.7.weight": torch.ones(2), "merge.1.0.weight": torch.ones(3, 3)}
    torch.save({**weights, **others}, file)
    keys = {key.replace(".", "__"): value for key, value in network.items()} | {"init__weights": str(file)}
    with pytest.raises(CheckpointError, match="of another network: 2 tensors do not fit"):
        beginning.start(STREET, **keys)
    state, event = beginning.start(STREET, **keys, init__parts="encoder")
    assert event.taken == sum(state.model.is_encoder(name) for name in weights)


@pytest.mark.parametrize("classes", [HOUSE, ["car", "road"]])
def test_of_other_classes_all_but_the_head_is_taken(beginning: Beginning, classes: list[str]) -> None:
    source = new_state(BASE, CPU, STREET)
    beginning.keep(source)
    state, event = beginning.start(classes)
    assert {name for name, equal in same(source, state).items() if not equal} == {"head.weight", "head.bias"}
    assert sorted(event.new) == sorted(event.unused) == ["head.bias", "head.weight"]
    assert "new here: head.weight, head.bias; not used: head.weight, head.bias" in event.told


def test_after_pretraining_the_head_is_swapped(beginning: Beginning) -> None:
    source = new_state(with_values(BASE, {"task": "pretrain"}), CPU, [])
    beginning.keep(source)
    three = ["road", "car", "sky"]  # as many as there are colours: the shapes fit, the meaning does not
    state, event = beginning.start(three)
    assert not same(source, state)["head.weight"]
    assert same(source, state)["stem.weight"]
    assert len(event.new) == 2


def test_another_network_is_refused_by_name_unless_told_otherwise(beginning: Beginning) -> None:
    source = new_state(with_values(BASE, {"model.attention": "middle", "model.hidden": 3}), CPU, STREET)
    beginning.keep(source)
    with pytest.raises(CheckpointError, match=r"best\.pt: is of another network: \d+ tensors") as no:
        beginning.start(STREET)
    assert "the first stem.weight, 3x3x3x3 there and 2x3x3x3 here" in str(no.value)
    assert "init.strict=false" in str(no.value)
    with pytest.raises(CheckpointError, match="none of its weights fits"):
        beginning.start(HOUSE, init__strict=False)

    beginning.keep(new_state(with_values(BASE, {"model.attention": "middle"}), CPU, STREET))
    state, event = beginning.start(STREET, init__strict=False)
    assert event.taken == len(state.model.state_dict())
    assert event.new == []
    assert all(name.startswith("middle.0.attention.") for name in event.unused)


OF_TORCHVISION = {"model.name": "torchvision", "model.architecture": "deeplabv3_mobilenet_v3_large"}


@pytest.mark.parametrize(
    ("network", "auxiliary", "part"),
    [
        ({"model.name": "street_net", "model.width": 4}, {"model.deep_supervision": 1}, "auxiliary."),
        (OF_TORCHVISION, {"model.aux": True}, "aux_classifier."),
    ],
    ids=["street_net", "torchvision"],
)
@pytest.mark.parametrize("there", [True, False], ids=["there", "here"])
def test_an_auxiliary_head_that_only_one_of_both_networks_has_makes_no_other_network(
    beginning: Beginning, network: dict[str, object], auxiliary: dict[str, object], part: str, there: bool
) -> None:
    plain = {**network, "data.size": "32x32"}
    source, target = (plain | auxiliary, plain) if there else (plain, plain | auxiliary)
    beginning.keep(new_state(with_values(BASE, source), CPU, STREET))
    state, event = beginning.start(STREET, **{key.replace(".", "__"): value for key, value in target.items()})
    left, other = (event.unused, event.new) if there else (event.new, event.unused)
    assert left
    assert all(name.startswith(part) for name in left)
    assert other == []
    assert event.taken == sum(not name.startswith(part) for name in state.model.state_dict())


def test_a_network_that_gets_no_weights_says_so_and_warns_of_a_frozen_encoder(beginning: Beginning) -> None:
    pytest.importorskip("segmentation_models_pytorch", reason="comes with the extra zoo")
    keys = {"model.name": "smp", "model.encoder": "resnet18", "data.size": "32x32"}
    frozen = with_values(RunConfig(), {**keys, "optimizer.freeze_encoder": 5})
    for config in (with_values(RunConfig(), keys), frozen):
        with JournalWriter(beginning.run.journal) as journal:
            start(Job(beginning.run, config, journal, beginning.run.path), new_state(config, CPU, STREET))
    (event,) = read_all(beginning.run.journal)
    assert isinstance(event, Warned)
    assert event.message.startswith(
        "optimizer.freeze_encoder freezes an encoder with random weights; model.w"
    )


def test_the_log_tells_of_images_that_are_normalised_unlike_imagenets(
    beginning: Beginning, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("segmentation_models_pytorch", reason="comes with the extra zoo")
    keys = {"model.name": "smp", "model.encoder": "resnet18", "data.size": "32x32"}
    for normalisation in ("auto", "inception"):
        config = with_values(RunConfig(), {**keys, "model.normalisation": normalisation})
        with JournalWriter(beginning.run.journal) as journal:
            job = Job(beginning.run, config, journal, beginning.run.path)
            describe_model(job, new_state(config, CPU, STREET).model, len(STREET))
    (told,) = [line for line in capfd.readouterr().out.splitlines() if "images are normalised" in line]
    assert told.endswith(
        "its images are normalised as inception: mean 0.5, 0.5, 0.5, standard deviation 0.5, 0.5, 0.5"
    )


def test_a_frozen_random_encoder_is_warned_of_where_the_network_has_no_weights_of_its_makers(
    beginning: Beginning,
) -> None:
    config = with_values(RunConfig(), {"model.width": 4, "optimizer.encoder_lr_factor": 0})
    with JournalWriter(beginning.run.journal) as journal:
        start(Job(beginning.run, config, journal, beginning.run.path), new_state(config, CPU, STREET))
    (event,) = read_all(beginning.run.journal)
    assert isinstance(event, Warned)
    told = "optimizer.encoder_lr_factor=0 freezes an encoder with random weights"
    assert event.message == f"{told}; init.weights=FILE gives it some"


def test_a_frozen_encoder_stays_random_where_only_the_decoder_is_loaded(beginning: Beginning) -> None:
    frozen = {"model.name": "unet", "model.width": 2, "optimizer.encoder_lr_factor": 0}
    config = with_values(BASE, {**frozen, "init.weights": "../aaaaaaaa/checkpoints/best.pt"})
    beginning.keep(new_state(config, CPU, STREET))
    for parts in ("encoder", "decoder"):
        partly = with_values(config, {"init.parts": parts})
        with JournalWriter(beginning.run.journal) as journal:
            start(Job(beginning.run, partly, journal, beginning.run.path), new_state(partly, CPU, STREET))
    warned = [event.message for event in read_all(beginning.run.journal) if isinstance(event, Warned)]
    told = "optimizer.encoder_lr_factor=0 freezes an encoder with random weights"
    assert warned == [f"{told}; init.parts=all gives it some"]


def test_weights_that_have_learned_from_validation_images_are_warned_of(beginning: Beginning) -> None:
    """As teachers are. Beside a file from elsewhere a split.json may be anything."""
    root, source = beginning.run.path.parent / "data", RunDir(beginning.source.parents[1])
    pixels = np.random.default_rng(0).integers(0, 2, (10, 16, 16), np.uint8)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
        for number, each in enumerate(pixels):
            Image.fromarray(each).save(root / folder / f"{number}.png")
    tables = [
        f'[[class]]\nname = "{name}"\nids = [{i}]\ncolor = "#00000{i}"' for i, name in enumerate(STREET)
    ]
    (root / "classes.toml").write_text("\n".join(['name = "two"', *tables]))
    of_data = {"data.root": str(root), "device": "cpu", "batch_size": 4, "runtime.deterministic": False}
    config = with_values(BASE, of_data | {"init.weights": "../aaaaaaaa/checkpoints/best.pt"})
    own = open_dataset(config.data, root / "cache").membership
    beginning.keep(new_state(config, CPU, STREET))

    def warned() -> list[str]:
        beginning.run.journal.unlink(missing_ok=True)
        with JournalWriter(beginning.run.journal) as journal:
            begin(Job(beginning.run, config, journal, root / "cache"))
        return [event.message for event in read_all(beginning.run.journal) if isinstance(event, Warned)]

    source.split_file.write_text("[1]")
    assert warned() == []
    source.config_file.write_text("{}")  # which makes it a run
    (damaged,) = warned()
    assert damaged.endswith("so which images the run trained on is not known")
    own.write(source.split_file)
    assert warned() == []
    Membership(own.val, own.train).write(source.split_file)
    (told,) = warned()
    count = len(own.val)
    assert told.startswith(
        f"the network of the initial weights has learned from {count} of the {count} validation images"
    )


def test_a_source_that_is_gone_or_damaged_is_named(beginning: Beginning) -> None:
    with pytest.raises(CheckpointError, match=r"aaaaaaaa/checkpoints/best\.pt: does not exist"):
        beginning.start(STREET)
    beginning.source.write_bytes(b"nonsense")
    with pytest.raises(DamagedCheckpoint, match=r"best\.pt: is damaged"):
        beginning.start(STREET)


# ---------------------------------------------------------------------- files that were made elsewhere

Weights = dict[str, Tensor]
UNET = {"model.name": "unet", "model.width": 2}


def unet(width: int = 2) -> TrainState:
    return new_state(with_values(BASE, {**UNET, "model.width": width}), CPU, STREET)


def safetensors(weights: Weights, path: Path) -> None:
    save_file({name: weight.contiguous() for name, weight in weights.items()}, path)


def old_torch(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


FORMS: dict[str, Callable[[Weights, Path], None]] = {
    "plain": torch.save,
    "before torch 1.6": old_torch,
    "safetensors": safetensors,
    "DataParallel": lambda weights, path: torch.save({f"module.{n}": w for n, w in weights.items()}, path),
    "nested, compiled": lambda weights, path: torch.save(
        {"model": {"state_dict": {f"module._orig_mod.{n}": w for n, w in weights.items()}}, "epoch": 3}, path
    ),
    "Lightning": lambda weights, path: torch.save(
        {
            "state_dict": {"criterion.weight": torch.ones(2), **{f"net.{n}": w for n, w in weights.items()}},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}}],
        },
        path,
    ),
    "a number beside": lambda weights, path: torch.save(
        {"best": torch.tensor(0.5), "state_dict": weights}, path
    ),
    "EMA beside": lambda weights, path: torch.save(
        {"ema": {n: w.float() * 0 for n, w in weights.items()}, "model": weights}, path
    ),
    "bfloat16": lambda weights, path: torch.save({n: w.bfloat16() for n, w in floats(weights).items()}, path),
    "fp16": lambda weights, path: safetensors({n: w.half() for n, w in floats(weights).items()}, path),
}


def floats(weights: Weights) -> Weights:
    """Those without the counters of batch norm, which old files lack."""
    return {name: weight for name, weight in weights.items() if weight.is_floating_point()}


@pytest.mark.parametrize("form", list(FORMS))
def test_weights_made_elsewhere_are_read_in_every_form(
    beginning: Beginning, tmp_path: Path, form: str
) -> None:
    source = unet()
    path = tmp_path / "weights of a friend.pth"
    FORMS[form](source.model.state_dict(), path)
    state, event = beginning.start(
        STREET, **{key.replace(".", "__"): each for key, each in UNET.items()}, init__weights=str(path)
    )
    close = {"rtol": 0.01, "atol": 0.01} if form in ("bfloat16", "fp16") else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(state.model.state_dict(), source.model.state_dict(), **close)
    assert (event.epoch, event.new, event.other_shapes) == (None, [], [])
    assert event.unused == (["criterion.weight"] if form == "Lightning" else [])
    assert event.told.startswith(f"weights loaded from {path}: {event.taken} tensors")


def test_an_encoder_is_enough_and_half_of_one_is_not(beginning: Beginning, tmp_path: Path) -> None:
    path, weights = tmp_path / "encoder.pth", unet().model.state_dict()
    encoder = {f"backbone.{name}": each for name, each in weights.items() if name.startswith("down.")}
    classifier = {"fc.weight": torch.ones(1000, 32), "fc.bias": torch.ones(1000)}
    torch.save({**encoder, **classifier}, path)
    options = {"model__name": "unet", "model__width": 2, "init__weights": str(path)}
    state, event = beginning.start(STREET, **options)
    assert torch.equal(state.model.state_dict()["down.4.3.weight"], weights["down.4.3.weight"])
    assert event.unused == ["fc.weight", "fc.bias"]
    assert {name.split(".")[0] for name in event.new} == {"up", "merge", "head"}

    beginning.run.journal.unlink()
    with pytest.raises(
        CheckpointError, match=r"encoder\.pth: has nothing of the decoder, which is all that in"
    ):
        beginning.start(STREET, **options, init__parts="decoder")

    del encoder["backbone.down.4.3.weight"]
    torch.save(encoder, path)
    with pytest.raises(CheckpointError, match=r"the first down\.4\.3\.weight, absent there"):
        beginning.start(STREET, **options)
    _, event = beginning.start(STREET, **options, init__strict=False)
    assert "down.4.3.weight" in event.new


NOT_A_NUMBER = torch.tensor([1.0, torch.nan])
NO_WEIGHTS: dict[str, Callable[[Weights], object]] = {
    "none of its weights fits this network": lambda weights: {"conv1.weight": torch.ones(64, 3, 7, 7)},
    "the first down.0.0.weight, 3x3x3x3 there and 2x3x3x3 here": lambda weights: unet(3).model.state_dict(),
    "1 tensor does not fit, the first down.4.9.weight, absent here": lambda weights: {
        **weights,
        "down.4.9.weight": torch.ones(1),
    },
    "head.bias has values that are NaN or infinite": lambda weights: {**weights, "head.bias": NOT_A_NUMBER},
    "holds several groups of weights, a, b; save": lambda weights: {"a": weights, "b": {**weights}},
    "holds no weights by name, only epoch, optimizer": lambda weights: {"epoch": 3, "optimizer": weights},
    "holds a list, not weights by name": lambda weights: [1, 2],
    "holds argparse.Namespace, which only unpickling": lambda weights: {"args": argparse.Namespace()},
}


@pytest.mark.parametrize(("problem", "change"), NO_WEIGHTS.items())
def test_a_file_of_something_else_is_refused_in_one_line(
    beginning: Beginning, tmp_path: Path, problem: str, change: Callable[[Weights], object]
) -> None:
    path = tmp_path / "net.pth"
    torch.save(change(unet().model.state_dict()), path)
    with pytest.raises(CheckpointError) as refusal:
        beginning.start(STREET, model__name="unet", model__width=2, init__weights=str(path))
    assert str(refusal.value).startswith(f"{path}: ")
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("save", [torch.save, old_torch, safetensors])
def test_a_file_that_ends_early_is_damaged(
    beginning: Beginning, tmp_path: Path, save: Callable[[Weights, Path], None]
) -> None:
    path = tmp_path / "net.pth"
    save(unet().model.state_dict(), path)
    whole = path.read_bytes()
    for length in (0, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"net\.pth: (is damaged|holds|is a pickle)"):
            beginning.start(STREET, model__name="unet", model__width=2, init__weights=str(path))
