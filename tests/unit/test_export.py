"""Exported networks: the file gives what the network gives, and is refused where it does not; its use."""

from __future__ import annotations

import hashlib
import json
import re
import resource
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from engine import load
from engine.cli.export import exported, refuse_strange_folder
from engine.cli.torch_process import ProcessFailed
from engine.config.export import MAKING, METADATA, SUFFIXES, ExportConfig
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.config.task_sections import TimingConfig
from engine.config.windows import WindowGrid
from engine.data.catalog import DataError
from engine.exported.class_maps import class_map as numpy_class_map
from engine.exported.class_maps import probability_map
from engine.exported.latency import file_settings
from engine.exported.network import ExportedError, ExportedModel
from engine.inference.export.__main__ import export
from engine.inference.export.agreement import ExportError, compare, images_of
from engine.inference.export.formats import quiet
from engine.inference.export.network import ExportedNetwork, PoolingByMatrices
from engine.inference.export.quantize import calibration_images
from engine.inference.network import PredictionError, load_model
from engine.learning.checkpoint import load_checkpoint, save_checkpoint
from engine.learning.class_maps import class_map, logit_bands
from engine.loading import NetworkOfRun, opened
from engine.models.builtin import MODELS
from engine.models.registry import build_model
from engine.models.smp.config import DECODERS
from engine.models.vltseg.mask2former import class_scores, logits_of
from engine.run.directory import RunCard, RunDir
from tests.conftest import REPOSITORY

CLASSES = ["road", "car", "sky"]


def trained(config: RunConfig, folder: Path) -> Path:
    """A run folder with a checkpoint of a network that has seen a few images."""
    run = RunDir(folder / "abcd1234")
    run.create(RunCard(id="abcd1234", name="tiny", experiment="x", created=0.0), config)
    torch.manual_seed(0)
    model = build_model(config.model, len(CLASSES))
    with torch.no_grad():
        model(torch.randn(4, 3, 32, 32))  # norms get statistics that are not those of a new network
    content = {"model": model.state_dict(), "model_config": config.model.model_dump(), "classes": CLASSES}
    save_checkpoint(run.checkpoints / "best.pt", {**content, "epoch": 1})
    return run.path


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = with_values(get_recipe("quick"), {"model.width": 2, "data.size": "32x32"})
    return trained(config, tmp_path_factory.mktemp("unet"))


def order(run: Path, folder: Path, format: str, **words: Any) -> dict[str, Any]:
    about = {"made_by": "seg-engine", "version": "1", "checkpoint": "best.pt", "colors": ["#000000"] * 3}
    wanted = ExportConfig.model_validate({"format": format, "size": (32, 48), **words})
    return {
        "export": wanted.model_dump(mode="json"),
        "run": str(run),
        "checkpoint": str(run / "checkpoints" / "best.pt"),
        "file": str(folder / f"model{SUFFIXES[format]}"),
        "about": about,
    }


def test_onnx_takes_any_images_and_tells_what_it_is(unet: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="comes with the extra export")
    made = export(order(unet, tmp_path, "onnx", dynamic=True, uint8_input=True, argmax=True))
    assert made["pixels_differing"] <= 1e-3
    session = onnxruntime.InferenceSession(made["file"])
    about = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
    assert about["classes"] == CLASSES
    assert about["multiple_of"] == 16
    (ids,) = session.run(None, {"images": np.zeros((5, 64, 16, 3), np.uint8)})
    assert ids.shape == (5, 64, 16)
    assert ids.dtype == np.uint8
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_file_without_what_it_needs_to_say_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="comes with the extra export")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ExportedError, match=r"text\.onnx: is no ONNX file that onnxruntime can run"):
        load(tmp_path / "text.onnx")
    with pytest.raises(ExportedError, match="there is no such file"):
        load(tmp_path / "gone.onnx")


@pytest.mark.parametrize("label_resize", ["bilinear-logits", "nearest"])
@pytest.mark.parametrize("size", [(8, 12), (21, 50), (5, 7), (8, 30)])
def test_class_maps_without_torch_are_those_of_torch(label_resize: str, size: tuple[int, int]) -> None:
    logits = torch.randn(1, 5, 8, 12, generator=torch.Generator().manual_seed(0))
    right = class_map(logits, size, label_resize).numpy()
    assert (numpy_class_map(logits[0].numpy(), size, label_resize) == right).all()
    if label_resize == "bilinear-logits" and size != (8, 12):
        full = torch.cat(list(logit_bands(logits, size, 1 << 20)), dim=1)
        highest = full.softmax(dim=0).amax(dim=0).numpy()
        np.testing.assert_allclose(probability_map(logits[0].numpy(), size), highest, rtol=1e-5)


@pytest.mark.parametrize("format", ["torchscript", "pt2"])
def test_formats_of_torch_give_the_same_logits(unet: Path, tmp_path: Path, format: str) -> None:
    made = export(order(unet, tmp_path, format))
    assert made["largest_difference"] < 1e-5
    with zipfile.ZipFile(made["file"]) as archive:
        name = next(n for n in archive.namelist() if n.endswith(f"{METADATA}.json"))
        assert json.loads(archive.read(name))["output"].startswith("logits")


def test_a_network_whose_maps_follow_each_others_sizes_is_exported_for_any_size(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="comes with the extra export")
    keys = {"model.name": "street_net", "model.width": 4, "data.size": "32x48"}
    run = trained(with_values(get_recipe("quick"), keys), tmp_path)
    (tmp_path / "out").mkdir()
    for words in ({"format": "pt2"}, {"format": "onnx"}):
        made = export(order(run, tmp_path / "out", dynamic=True, **words))
        assert made["largest_difference"] < 1e-4


def test_sizes_that_torch_cannot_follow_are_told_in_a_line(tmp_path: Path) -> None:
    keys = {"model.name": "deeplab_largefov", "model.width": 2, "data.size": "40x56"}
    run = trained(with_values(get_recipe("quick"), keys), tmp_path)
    with pytest.raises(ExportError) as refused:
        export(order(run, tmp_path, "pt2", dynamic=True))
    assert str(refused.value) == (
        "deeplab_largefov cannot be exported as pt2 with --dynamic: torch cannot make sure that the file "
        "would take every size; leave out --dynamic, or export it with --format onnx"
    )


def test_the_modern_unet_can_be_exported(tmp_path: Path) -> None:
    keys = {"model.hidden": 8, "data.size": "32x32"}
    run = trained(with_values(get_recipe("quick-modern"), keys), tmp_path)
    for format in ("pt2", "torchscript"):
        assert export(order(run, tmp_path, format, argmax=True))["pixels_differing"] == 0


def test_a_vision_transformer_is_exported_for_one_size(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="comes with the extra zoo")
    keys = {"model.name": "vltseg", "model.backbone": "eva02_tiny_patch14", "model.channels": 8}
    run = trained(with_values(get_recipe("quick"), {**keys, "data.size": "32x48"}), tmp_path)
    for _ in range(2):  # a trace leaves nothing behind that the network would use later
        assert export(order(run, tmp_path, "pt2"))["largest_difference"] < 1e-4
    with pytest.raises(ExportError, match="--dynamic: vltseg is exported for one size"):
        export(order(run, tmp_path, "pt2", dynamic=True))


def test_a_file_that_gives_nan_is_refused(unet: Path) -> None:
    model = load_model(unet / "checkpoints" / "best.pt", None, ()).model.eval()
    network = ExportedNetwork(model, ExportConfig(format="pt2", size=(32, 32)))
    tries = [images_of((32, 32), 1, 0)]

    def spoilt(images: torch.Tensor) -> torch.Tensor:
        logits = network(images)
        logits[0, 1, 5, 5] = torch.nan  # one pixel of a thousand
        return logits

    assert compare(network, network, tries).problem == ""
    with pytest.raises(ExportError, match=r"^the file's output is NaN or infinite on images of 32x32$"):
        compare(network, spoilt, tries)
    with torch.no_grad():
        next(model.parameters()).fill_(torch.inf)
    with pytest.raises(ExportError, match=r"^the network's output is NaN or infinite on images of 32x32$"):
        compare(network, network, tries)


def test_sizes_that_a_file_cannot_see_are_refused_before_it_is_run() -> None:
    session = SimpleNamespace(
        get_outputs=lambda: [SimpleNamespace(name="logits")],
        get_inputs=lambda: [SimpleNamespace(type="tensor(uint8)", shape=["batch", "height", "width", 3])],
    )
    about = {"size": [48, 48], "multiple_of": 8, "least_side": 24}
    model = ExportedModel(Path("net.onnx"), ("road", "sky"), ("#000000",) * 2, (48, 48), about, session)
    for size, told in (((32, 44), "that divide by 8, not 32x44"), ((16, 32), "of at least 24, not 16x32")):
        with pytest.raises(ExportedError, match=rf"^net\.onnx: sees sides {told}$"):
            model.at(size, WindowGrid())
        with pytest.raises(ExportedError, match=rf"^net\.onnx: sees sides {told}$"):
            file_settings(model, TimingConfig(sizes=((32, 48), size)))
    assert model.at((24, 32), WindowGrid()).size == (24, 32)
    assert len(file_settings(model, TimingConfig(sizes=((24, 32),), protocols=("engine",)))) == 1


def test_a_network_is_told_by_the_file_that_it_was_read_from(
    unet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, newer = tmp_path / "last.pt", tmp_path / "newer.pt"
    shutil.copy(unet / "checkpoints" / "best.pt", path)
    save_checkpoint(newer, {**load_checkpoint(path), "epoch": 2})

    def replaced_meanwhile(of: Path) -> dict[str, Any]:
        content = load_checkpoint(of)
        if newer.exists():
            newer.replace(of)  # as a training does that is under way
        return content

    monkeypatch.setattr("engine.learning.checkpoint.load_checkpoint", replaced_meanwhile)
    loaded = load_model(path, None, ())
    assert (loaded.epoch, loaded.sha256) == (2, hashlib.sha256(path.read_bytes()).hexdigest())


def test_an_exported_network_that_gives_nan_is_no_class_map() -> None:
    logits = np.zeros((1, 2, 4, 4), np.float32)
    session = SimpleNamespace(
        get_outputs=lambda: [SimpleNamespace(name="logits")],
        get_inputs=lambda: [SimpleNamespace(type="tensor(uint8)", shape=[1, 4, 4, 3])],
        run=lambda names, given: [logits],
    )
    model = ExportedModel(
        Path("net.onnx"), ("road", "sky"), ("#000000",) * 2, (4, 4), {"size": [4, 4]}, session
    )
    image = Image.new("RGB", (4, 4))
    assert not model.class_map(image, (4, 4), "nearest").any()
    logits[0, 1, 2, 2] = np.nan
    with pytest.raises(ExportedError, match=r"^net\.onnx: the network's output is NaN or infinite$"):
        model.class_map(image, (4, 4), "nearest")


def test_a_loaded_network_that_gives_nan_is_no_class_map() -> None:
    logits = torch.zeros(1, 2, 4, 4)
    network = NetworkOfRun(
        ("road", "sky"), ("#000000",) * 2, (4, 4), SimpleNamespace(logits=lambda views: logits)
    )
    image = Image.new("RGB", (8, 6))
    assert network.predict(image).ids.shape == network.class_map(image).shape == (6, 8)
    logits[0, 1, 2, 2] = torch.inf
    for ask in (network.predict, network.class_map):
        with pytest.raises(PredictionError, match="the network's output is NaN or infinite"):
            ask(image)


def test_pixels_of_16_bits_are_refused_and_not_cut_off(tmp_path: Path) -> None:
    deep = Image.fromarray(np.full((4, 4), 4000, np.uint16))
    deep.save(tmp_path / "deep.png")
    for given in (deep, tmp_path / "deep.png", str(tmp_path / "deep.png")):
        with pytest.raises(ValueError, match="has pixels of type I;16; it must have 8 bits per channel"):
            opened(given)
    assert opened(Image.new("LA", (3, 2))).mode == "RGB"
    with pytest.raises(ValueError, match=r"is uint8 \[0, 3, 3\]; it must be uint8 \[H, W, 3\], RGB"):
        opened(np.zeros((0, 3, 3), np.uint8))


@pytest.mark.filterwarnings("error")
def test_transparency_is_dropped_without_a_word(tmp_path: Path) -> None:
    Image.new("P", (4, 4)).save(tmp_path / "palette.png", transparency=bytes([0, 255]))
    assert opened(tmp_path / "palette.png").mode == "RGB"


def test_images_for_calibration_are_spread_over_those_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    samples = [SimpleNamespace(image=tmp_path / f"{number}.png") for number in range(9)]
    found = SimpleNamespace(samples=samples)
    monkeypatch.setattr("engine.inference.export.quantize.open_pairs", lambda *given, **named: found)

    def chosen(count: int) -> list[int]:
        images = calibration_images(RunConfig(), RunDir(tmp_path), tmp_path, (8, 8), count)
        return [int(image[0, 0, 0, 0]) for image in images]

    assert chosen(5) == [0, 2, 4, 6, 8], "not the first five"
    assert chosen(20) == list(range(9))
    assert chosen(1) == [0]
    (tmp_path / "8.png").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"8\.png: "):
        chosen(20)


def test_the_table_of_exports_has_every_network() -> None:
    page = (REPOSITORY / "docs" / "models.md").read_text().partition("## Export\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in page.splitlines() if re.match(r"\| \w", line)]
    families = {row.split()[0] for row in rows}
    assert families == {name for name in MODELS.sections() if MODELS.is_built_in(name)}
    decoders = {row.partition(",")[0].removeprefix("smp ") for row in rows if row.startswith("smp ")}
    assert decoders == set(DECODERS)


def test_low_scores_of_masks_are_the_same_by_onnxruntime() -> None:
    """Its own sigmoid is off by a tenth at -13, which shows in a logarithm."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="comes with the extra export")
    generator = torch.Generator().manual_seed(0)
    classes, masks = torch.randn(1, 4, 4, generator=generator), -13 + torch.rand(1, 4, 3, 5)
    with quiet():
        program = torch.onnx.export(Scores(), (classes, masks), dynamo=True, verbose=False)
    assert program is not None
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, (classes.numpy(), masks.numpy()), strict=True)))
    np.testing.assert_allclose(found, Scores()(classes, masks).numpy(), atol=1e-4)


def test_pooling_into_bins_is_right_at_any_size() -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="comes with the extra export")
    pooling = Pooling()
    sides = {2: torch.export.Dim("height", min=2, max=64), 3: torch.export.Dim("width", min=2, max=64)}
    with quiet():
        program = torch.onnx.export(
            pooling, (torch.randn(1, 2, 7, 8),), dynamo=True, dynamic_shapes={"map": sides}, verbose=False
        )
    assert program is not None
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for size in ((7, 8), (5, 11), (2, 3)):
        map = torch.randn(1, 2, *size)
        (found,) = session.run(None, {"map": map.numpy()})
        right = functional.adaptive_avg_pool2d(map, (3, 2))
        np.testing.assert_allclose(found, torch.cat([right, right], 1).numpy(), atol=1e-5)


class Pooling(torch.nn.Module):
    def forward(self, map: torch.Tensor) -> torch.Tensor:
        with PoolingByMatrices():
            area = functional.interpolate(map, size=(3, 2), mode="area")  # as smp's PSPNet in an export
            return torch.cat([torch.nn.AdaptiveAvgPool2d((3, 2))(map), area], 1)


class Scores(torch.nn.Module):
    def forward(self, classes: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        return logits_of(class_scores(classes, masks))


def test_a_file_that_computes_something_else_is_refused() -> None:
    network = ExportedNetwork(build_model(get_recipe("quick").model, 3).eval(), wanted_onnx())
    tries = [images_of((32, 32), 1, 0)]
    off = compare(network, lambda images: network(images) + 0.01, tries)
    assert off.problem.startswith("its logits differ from the network's by up to 0.01")
    assert compare(network, network, tries).problem == ""
    with pytest.raises(ExportError, match="cannot be run on images of 32x32: no such operator"):
        compare(network, broken, tries)


def test_class_ids_that_differ_are_refused() -> None:
    wanted = wanted_onnx(argmax=True)
    network = ExportedNetwork(build_model(get_recipe("quick").model, 3).eval(), wanted)
    right = network(network.prepared(images_of((32, 32), 1, 0)))
    assert compare(network, lambda images: right, [images_of((32, 32), 1, 0)]).problem == ""
    assert (
        "another class"
        in compare(network, lambda images: (right + 1) % 3, [images_of((32, 32), 1, 0)]).problem
    )


def wanted_onnx(**words: Any) -> ExportConfig:
    return ExportConfig.model_validate({"format": "onnx", "size": (32, 32), **words})


def broken(images: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("no such operator\nand more")


@pytest.mark.parametrize("format", ["onnx", "pt2"])
def test_a_network_that_no_file_can_hold_is_told_in_a_line(
    unet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    format: str,
) -> None:
    """Torch prints its own program, and its exporter to ONNX hides the reason behind its steps."""
    pytest.importorskip("onnxruntime", reason="comes with the extra export")
    monkeypatch.setattr(
        ExportedNetwork, "forward", lambda self, images: images if images.sum() > 0 else -images
    )
    with pytest.raises(ExportError) as refused:
        export(order(unet, tmp_path, format))
    assert str(refused.value) == (
        f"unet cannot be exported as {format}: what it does depends on values of its maps, which only a run "
        "knows"
    )
    assert capfd.readouterr() == ("", "")


def test_nothing_is_left_of_a_file_that_cannot_be_made(
    unet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.jit, "trace", lambda network, images, **words: broken(images))
    with pytest.raises(ExportError, match=r"^unet cannot be exported as torchscript: no such operator$"):
        export(order(unet, tmp_path, "torchscript"))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_an_export_whose_process_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next export would be refused for what it finds in the folder."""

    def killed(module: str, order: dict[str, Any], doing: str) -> None:
        Path(order["file"]).write_bytes(b"half of it")
        raise ProcessFailed("the exporting process was killed by SIGKILL; is there enough memory?")

    monkeypatch.setattr("engine.cli.export.asked", killed)
    with pytest.raises(ProcessFailed):
        exported(tmp_path / "model.onnx", {})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / f"{MAKING}x").mkdir()  # of a command that was killed itself
    refuse_strange_folder(tmp_path)


@pytest.mark.parametrize("format", ["torchscript", "pt2"])
def test_a_full_disk_is_told_as_such(unet: Path, tmp_path: Path, format: str) -> None:
    """Torch's own writer of these formats ends the process instead."""
    wanted = order(unet, tmp_path, format)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            export(wanted)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_the_weights_of_a_large_network_lie_beside_its_file_under_its_name(
    unet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="comes with the extra export")
    monkeypatch.setattr("torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD", 0)
    folder, elsewhere = tmp_path / "export", tmp_path / "elsewhere"
    folder.mkdir()
    made = export(order(unet, folder, "onnx"))
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert made["weights"] == "model.onnx.data"
    assert made["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    shutil.copytree(folder, elsewhere)
    shutil.rmtree(folder)
    assert load(elsewhere / "model.onnx").predict(Image.new("RGB", (48, 32))).ids.shape == (32, 48)
