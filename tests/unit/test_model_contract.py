"""What a network's section and the network itself must offer, and what is said of one that does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn

from engine.augment.builtin import FlipKeys
from engine.components.origin import BUILT_IN, ComponentError, Origin, registering
from engine.components.parts import PartRegistry
from engine.components.sections import Registry
from engine.config.described import config_keys
from engine.config.fields import Section, option
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.learning.activation_checkpointing import checkpoint_activations
from engine.learning.checkpoint import check_fits
from engine.learning.flops import flops_per_sample
from engine.models import MODELS, ModelSection, UnknownModel
from engine.models.builtin import ModernUNetConfig, StreetNetConfig, UNetConfig
from engine.models.contract import Outputs, SegmentationNetwork, check_shapes, outputs_of
from engine.models.registry import build_model
from engine.plugins import load_plugin, place_in_plugin

PLUGIN = '''
from typing import ClassVar, Literal

from engine import models
from engine.config.fields import option


@models.register
class TinyConfig(models.ModelSection):
    """A network of one hidden layer."""

    stride: ClassVar[int] = 2
    name: Literal["{name}"] = option("{name}", "Architecture")
    depth: int = option(3, "Channels of the hidden layer", ge=1)

    def build(self, inputs, outputs):
        raise RuntimeError("not here")
'''


class Small(SegmentationNetwork):
    """Half the size and back; what the tests break on purpose."""

    encoder_names = ("encode",)

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.encode = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.grow = nn.Upsample(scale_factor=2)
        self.head = nn.Conv2d(4, outputs, 1)
        self.stranger = [nn.Identity()]  # no part of the network: a list hides it

    def forward(self, images: Tensor) -> Tensor | Outputs:
        logits: Tensor = self.head(self.grow(self.encode(images)))
        return Outputs(logits, (logits,))

    def bottleneck(self) -> nn.Module:
        return self.encode


class SmallConfig(ModelSection):
    stride: ClassVar[int] = 2
    name: Literal["small"] = option("small", "Architecture")
    network: ClassVar[type[SegmentationNetwork]] = Small

    def build(self, inputs: int, outputs: int) -> SegmentationNetwork:
        return self.network(outputs)  # type: ignore[call-arg]


class HeadElsewhere(Small):
    head_names = ("classifier",)


class BottleneckElsewhere(Small):
    def bottleneck(self) -> nn.Module:
        return self.stranger[0]


class HeadWithoutWeights(Small):
    head_names = ("grow",)


class LostLayer(Small):
    def layers(self) -> list[tuple[str, ...]]:
        return [("encode",), ("decode",)]


class HeadInLayers(Small):
    def layers(self) -> list[tuple[str, ...]]:
        return [("encode",), ("head",)]


class HeadInEncoder(Small):
    encoder_names = ("encode", "head")


class HalfSize(Small):
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encode(images))
        return logits


class WrongAuxiliary(Small):
    def forward(self, images: Tensor) -> Outputs:
        encoded = self.encode(images)
        return Outputs(self.head(self.grow(encoded)), (encoded,))


class Fails(Small):
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(images)
        return logits


class FlatBottleneck(Small):
    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.pool = nn.Flatten()

    def forward(self, images: Tensor) -> Tensor:
        self.pool(images)
        logits: Tensor = self.head(self.grow(self.encode(images)))
        return logits

    def bottleneck(self) -> nn.Module:
        return self.pool


def section_of(network: type[SegmentationNetwork]) -> ModelSection:
    return type("OwnConfig", (SmallConfig,), {"network": network, "__module__": __name__})()


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        (nn.Identity, "build() gives a Identity, not a SegmentationNetwork"),
        (HeadElsewhere, "head_names has 'classifier', which no part of the network is called"),
        (HeadWithoutWeights, "no parameter belongs to its head (grow)"),
        (LostLayer, "layers() has 'decode', which no part of the network is called"),
        (HeadInLayers, "head.weight belongs to one of its layers() and not to its encoder"),
        (HeadInEncoder, "head.weight belongs to its head and to its encoder"),
        (BottleneckElsewhere, "bottleneck() is no part of the network"),
        (HalfSize, "its logits are [2, 5, 32, 64], they must be [2, 5, 64, 128]"),
        (WrongAuxiliary, "its auxiliary logits are [2, 4, 32, 64], they must be [2, 5, 64, 128]"),
        (Fails, "forward of images [2, 3, 64, 128] fails:"),
        (FlatBottleneck, "its bottleneck is [2, 24576], it must be a map [B, D, h, w] computed once"),
    ],
)
def test_a_network_that_breaks_the_contract_is_refused_before_it_trains(
    network: type[SegmentationNetwork], problem: str
) -> None:
    section = section_of(network)
    with pytest.raises(ComponentError) as refused, torch.device("meta"):
        check_shapes(build_model(section, 5), section, 3, 5)
    assert str(refused.value).startswith("model.name=small (tests.unit.test_model_contract): " + problem)
    assert "\n" not in str(refused.value)


def test_a_network_may_answer_with_logits_alone_or_with_auxiliary_ones() -> None:
    images = torch.zeros(2, 3, 16, 16)
    assert outputs_of(build_model(UNetConfig(width=2), 5), images).auxiliary == ()
    both = outputs_of(build_model(SmallConfig(), 5), images)
    assert both.logits.shape == both.auxiliary[0].shape == (2, 5, 16, 16)


@pytest.mark.parametrize("config", [UNetConfig(width=2), ModernUNetConfig(hidden=2), StreetNetConfig()])
def test_the_built_in_networks_keep_the_contract(config: ModelSection) -> None:
    assert flops_per_sample(with_values(RunConfig(), {"data.size": "32x32"}), 5) > 0
    with torch.device("meta"):
        network = build_model(config, 5)
    check_shapes(network, config, 3, 5)
    assert all(network.is_head(name) == name.startswith("head.") for name in network.state_dict())


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize(
    "config", [UNetConfig(width=2), ModernUNetConfig(hidden=2), ModernUNetConfig(hidden=2, norm=False)]
)
def test_levels_of_the_decoder_have_heads_of_their_own_in_training(config: ModelSection, levels: int) -> None:
    deep = config.model_copy(update={"deep_supervision": levels})
    torch.manual_seed(1)
    plain = build_model(config, 5)
    torch.manual_seed(1)
    network = build_model(deep, 5)
    images = torch.randn(2, 3, 32, 64)
    made = outputs_of(network, images)
    assert [tuple(each.shape[2:]) for each in made.auxiliary] == [(4, 8), (8, 16), (16, 32)][-levels:]
    assert torch.equal(made.logits, outputs_of(plain, images).logits), "all else is drawn as without them"
    sum(each.square().sum() for each in made.auxiliary).backward()
    heads = {name: each for name, each in network.named_parameters() if name.startswith("auxiliary.")}
    for name, each in heads.items():
        assert network.is_head(name)
        assert each.grad is not None
        assert each.grad.any()
    assert network.head.weight.grad is None
    assert next(network.parameters()).grad is not None, "they teach the encoder"
    assert outputs_of(network.eval(), images).auxiliary == ()


def test_a_network_without_blocks_cannot_be_recomputed() -> None:
    with pytest.raises(ComponentError, match=r"runtime.recompute: Small offers no blocks\(\)"):
        checkpoint_activations(build_model(SmallConfig(), 5))


def test_a_checkpoint_from_before_a_key_existed_fits() -> None:
    content = {"model_config": {"name": "modern_unet", "hidden": 4}, "classes": ["road"]}
    check_fits(Path("best.pt"), content, ModernUNetConfig(hidden=4), ["road"])
    with pytest.raises(Exception, match="is of the model"):
        check_fits(Path("best.pt"), content, ModernUNetConfig(hidden=4, norm=False), ["road"])
    with pytest.raises(Exception, match="is of the model"):
        check_fits(Path("best.pt"), content, UNetConfig(width=4), ["road"])


@pytest.fixture
def registry() -> Registry[ModelSection]:
    return Registry("model", "tests.nothing", ModelSection, default="small", unknown=UnknownModel)


def test_what_a_section_must_have(registry: Registry[ModelSection]) -> None:
    class Nameless(ModelSection):
        pass

    class Helpless(ModelSection):
        name: Literal["helpless"] = option("helpless", "Architecture")
        width: int = 3

    class Other(Section):
        name: Literal["other"] = option("other", "Architecture")

    with pytest.raises(ComponentError, match=r"Nameless: needs a field such as name: Literal\[\"mine\"\]"):
        registry.register(Nameless)
    with pytest.raises(ComponentError, match=r"Helpless.width: needs a line of help"):
        registry.register(Helpless)
    with pytest.raises(ComponentError, match=r"Other: a model's section derives from ModelSection"):
        registry.register(Other)  # type: ignore[type-var]
    registry.register(SmallConfig)
    with pytest.raises(ComponentError, match="model small: seg-engine offers a name"):
        registry.register(SmallConfig)
    assert registry.origin("small") == BUILT_IN


@pytest.fixture
def forget_plugins() -> Iterator[None]:
    before = dict(MODELS._sections)
    yield
    for name in set(MODELS._sections) - set(before):
        del MODELS._sections[name], MODELS._origins[name]
    MODELS._changed()


@pytest.mark.usefixtures("forget_plugins")
def test_a_plugin_brings_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(name="tiny"))
    plugin = load_plugin(file)
    assert load_plugin(file) == plugin
    assert MODELS.origin("tiny").source == str(file)
    assert config_keys()["model.depth"].variants == ("tiny",)
    config = with_values(RunConfig(), {"model.name": "tiny", "model.depth": "4"})
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config
    with pytest.raises(RuntimeError, match="not here") as raised:
        build_model(config.model, 5)
    assert place_in_plugin(raised.value) == f"{file}:17"


@pytest.mark.usefixtures("forget_plugins")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = (", "{file}:1: SyntaxError: "),
        ("import torch\n\n1 / 0\n", "{file}:3: ZeroDivisionError: division by zero"),
        (
            "import nothing_of_the_kind",
            "{file}:1: ModuleNotFoundError: No module named 'nothing_of_the_kind'",
        ),
        (PLUGIN.format(name="unet"), "{file}:8: model unet: {file} offers a name that seg-engine has taken"),
    ],
)
def test_an_error_in_a_plugin_names_file_and_line(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(text)
    with pytest.raises(ComponentError) as refused:
        load_plugin(file)
    assert str(refused.value).startswith(problem.format(file=file))


STRANGER = Origin("package", "stranger 1.2")


def test_what_is_built_in_keeps_its_names_whoever_came_first(
    registry: Registry[ModelSection], tmp_path: Path
) -> None:
    parts: PartRegistry[Any] = PartRegistry("loss", "tests.nothing", Section, ("keys", "classes"))
    with registering(STRANGER):
        registry.register(type("Foreign", (SmallConfig,), {"__module__": "stranger"}))
        parts.register(PinkKeys)(_named("pink"))
        registry.register(UNetConfig)  # which a stranger's import has brought
    registry.register(SmallConfig)
    parts.register(GreenKeys)(_named("green"))
    assert registry.sections()["small"] is SmallConfig
    assert registry.broken() == {"small": "stranger 1.2: offers a name that seg-engine has taken"}
    assert list(parts.parts()) == ["green"]
    assert parts.broken() == {"pink": "stranger 1.2: offers a key green that seg-engine has taken"}
    assert registry.is_built_in("unet")

    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(name="unet"))
    program = "import sys, pathlib, engine.plugins as p; p.load_plugin(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True)
    assert f"{file}:8: model unet: {file} offers a name that seg-engine has taken" in done.stderr


def test_the_sections_are_read_without_torch() -> None:
    program = "import sys, engine.config.run_config, engine.models.builtin; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


class GreenKeys(Section):
    green: float = option(0.0, "Weight of a loss that hates green", ge=0)


class PinkKeys(Section):
    green: float = option(0.0, "Another key of that name", ge=0)


class BareKeys(Section):
    bare: float = 0.0


def test_parts_make_up_one_section_in_their_order() -> None:
    parts: PartRegistry[Any] = PartRegistry("loss", "tests.nothing", Section, ("keys", "classes"))

    @parts.register(GreenKeys, order=2)
    def green(keys: GreenKeys, classes: int) -> float:
        return keys.green * classes

    @parts.register(FlipKeys, order=1)
    def early(keys: FlipKeys, classes: int) -> float:
        return keys.flip

    assert list(parts.parts()) == ["early", "green"]
    section = parts.new(green=0.5)
    assert (section.green, section.flip) == (0.5, 0)
    assert parts.parts()["green"].build(section, 4) == 2
    with pytest.raises(ComponentError, match="pink: seg-engine offers a key green that green of"):
        parts.register(PinkKeys)(_named("pink"))
    with pytest.raises(ComponentError, match=r"bare.bare: needs a line of help"):
        parts.register(BareKeys)(_named("bare"))


def _named(name: str) -> Any:
    def build(keys: Section, classes: int) -> None: ...

    build.__name__ = name
    return build
