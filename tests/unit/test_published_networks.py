"""Networks of the literature against their published sizes and against numbers from other programs, and the
weights of other programs by their names. Sizes and names are those of the meta device, without memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.models import ModelSection
from engine.models.builtin import DeepLabLargeFOVConfig, ResNet38Config
from engine.models.contract import SegmentationNetwork
from engine.models.conversions import GENERAL
from engine.models.deeplab_largefov.network import DeepLabLargeFOV, from_vgg16
from engine.models.registry import build_model, count_parameters
from engine.models.resnet38.network import ResNet38
from engine.models.weight_fit import Fit, fit_weights


def on_meta(config: ModelSection, classes: int = 19) -> SegmentationNetwork:
    with torch.device("meta"):
        return build_model(config, classes)


# ---------------------------------------------------------------------- DeepLab-LargeFOV


@pytest.mark.parametrize(("classes", "parameters"), [(19, 20_503_379), (21, 20_505_429)])
def test_deeplab_has_its_known_number_of_parameters(classes: int, parameters: int) -> None:
    assert count_parameters(on_meta(DeepLabLargeFOVConfig(), classes)) == parameters


@pytest.mark.parametrize(
    ("size", "map_size"), [((256, 512), (33, 65)), ((321, 321), (41, 41)), ((180, 240), (24, 31))]
)
def test_the_maps_of_deeplab_have_the_size_that_caffe_gives(
    size: tuple[int, int], map_size: tuple[int, int]
) -> None:
    network = on_meta(DeepLabLargeFOVConfig(width=2))
    seen: list[Tensor] = []
    network.bottleneck().register_forward_hook(lambda part, given, output: seen.append(output))
    assert network(torch.empty(1, 3, *size, device="meta")).shape == (1, 19, *size)
    assert seen[0].shape[-2:] == map_size


def test_deeplab_aligns_the_corners_of_sizes_of_8_k_and_1_and_cuts_off_others() -> None:
    network = DeepLabLargeFOV(3, 5, width=2, dropout=0.0).eval()
    low: list[Tensor] = []
    network.head.register_forward_hook(lambda part, given, output: low.append(output))
    aligned, other = network(torch.randn(1, 3, 33, 65)), network(torch.randn(1, 3, 30, 60))
    wanted = [functional.interpolate(each, (33, 65), mode="bilinear", align_corners=True) for each in low]
    torch.testing.assert_close(aligned, wanted[0])
    torch.testing.assert_close(other, wanted[1][..., :30, :60])


# ---------------------------------------------------------------------- ResNet-38


@pytest.mark.parametrize(
    ("layers", "trunk", "whole"),
    [(38, 105_070_912, 124_033_363), (20, 78_515_520, 97_477_971), (16, 59_635_008, 78_597_459)],
)
@pytest.mark.parametrize("variant", ["a1", "a2"])
def test_resnet38_has_its_known_number_of_parameters(
    variant: str, layers: int, trunk: int, whole: int
) -> None:
    network = on_meta(ResNet38Config(variant=variant, layers=layers))
    own = sum(each.numel() for name, each in network.named_parameters() if network.is_encoder(name))
    assert (own, count_parameters(network)) == (trunk, whole)
    if layers == 38:
        assert own + (network.bottleneck()[0].num_features + 1) * 1000 == 109_167_912, "with a classifier"


def test_resnet38_scales_all_its_widths() -> None:
    assert ResNet38Config(width=0.25) == ResNet38Config(width="1/4")
    network = on_meta(ResNet38Config(width="1/4"))
    assert (network.stem.out_channels, network.context.in_channels, network.head.in_channels) == (
        16,
        1024,
        128,
    )
    with pytest.raises(ConfigError) as refusal:
        with_values(RunConfig(), {"model.name": "resnet38", "model.width": "1/3"})
    assert refusal.value.problems == [
        "model.width: '1/3' is not allowed; it must be a number (1, 1/2, 1/4 or 1/8)"
    ]


def test_resnet38_strides_before_its_shortcuts_and_not_in_them() -> None:
    """On the CPU such a convolution with few channels ends the process, or spoils its memory."""
    network = on_meta(ResNet38Config(width="1/8"))
    pointwise = [
        each for each in network.modules() if isinstance(each, nn.Conv2d) and each.kernel_size == (1, 1)
    ]
    assert {each.stride for each in pointwise} == {(1, 1)}


@pytest.fixture(scope="module")
def known_weights() -> dict[str, Tensor]:
    """The weights of the reference: a sequence by the position of each number."""
    weights = on_meta(ResNet38Config(layers=16)).state_dict()
    for name, tensor in weights.items():
        if tensor.ndim >= 2:
            count, fan_in = tensor.numel(), tensor[0].numel()
            drawn = (torch.arange(count) * 2654435761 % 2**32).double() / 2**32 - 0.5
            weights[name] = (drawn * (24 / fan_in) ** 0.5).reshape(tensor.shape)
        else:
            one = name.endswith(("weight", "running_var"))
            weights[name] = torch.full(tensor.shape, float(one), dtype=torch.float64)
    return weights


@pytest.mark.parametrize(
    ("variant", "total", "most"), [("a2", 285.302294, 0.029288327), ("a1", 251.910227, 0.0206750298)]
)
def test_resnet38_computes_what_the_reference_does(
    known_weights: dict[str, Tensor], variant: str, total: float, most: float
) -> None:
    network = on_meta(ResNet38Config(layers=16, variant=variant)).eval()
    network.load_state_dict(known_weights, assign=True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.eps == 1.001e-5
            module.eps = 1e-5  # as in the reference
    images = torch.arange(3 * 32 * 64).double().sin().reshape(1, 3, 32, 64)
    assert isinstance(network, ResNet38)
    with torch.no_grad():
        features = network.trunk(images)
    assert features.shape == (1, 4096, 4, 8)
    assert float(features.sum()) == pytest.approx(total, rel=1e-6)
    assert float(features.max()) == pytest.approx(most, rel=1e-6)
    if variant == "a2":
        assert float(features[0, 5, 1, 3]) == pytest.approx(0.0110359549, rel=1e-6)


# ---------------------------------------------------------------------- names of other programs


class Wrapped(SegmentationNetwork):
    """A network of a library within one of ours, its encoder at a place of its own."""

    encoder_names = ("network.encoder",)
    head_names = ("network.segmentation_head",)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def bottleneck(self) -> nn.Module:
        return self.network


class Named(nn.Module):
    """An encoder alone, in the place that `Wrapped` names."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.segmentation_head = nn.Conv2d(8, 19, 1)


def fitted(network: SegmentationNetwork, make: Callable[[], nn.Module], prefix: str = "") -> Fit:
    with torch.device("meta"):
        weights = make().state_dict()
    return fit_weights(network, {f"{prefix}{name}": each for name, each in weights.items()})


@pytest.mark.parametrize("program", ["torchvision", "timm"])
def test_deeplab_takes_all_of_vgg16_but_its_classifier(program: str) -> None:
    models = pytest.importorskip("torchvision.models" if program == "torchvision" else "timm.models")
    fit = fitted(on_meta(DeepLabLargeFOVConfig()), models.vgg16)
    assert (fit.problem, fit.new, fit.source) == ("", ["head.weight", "head.bias"], "VGG16")
    last = "classifier.6" if program == "torchvision" else "head.fc"
    assert fit.unused == [f"{last}.weight", f"{last}.bias"]


def test_deeplab_refuses_what_is_no_vgg16() -> None:
    models = pytest.importorskip("torchvision.models")
    for other in (models.vgg19, models.vgg16_bn):
        assert "do not fit" in fitted(on_meta(DeepLabLargeFOVConfig()), other).problem
    narrow = fitted(on_meta(DeepLabLargeFOVConfig(width=32)), models.vgg16)
    assert "the first conv1.0.weight, 64x3x3x3 there and 32x3x3x3 here" in narrow.problem


def test_every_fourth_filter_and_third_position_of_vgg16_is_kept() -> None:
    positions = torch.arange(512 * 7 * 7)
    (first,) = from_vgg16("classifier.0.weight", positions.expand(4096, -1)).values()
    assert first.shape == (1024, 512, 3, 3)
    assert torch.equal(first[7], positions.reshape(512, 7, 7)[:, [0, 3, 6]][:, :, [0, 3, 6]])
    (second,) = from_vgg16("classifier.3.weight", torch.arange(4096).expand(4096, -1)).values()
    assert torch.equal(second[0, :, 0, 0], torch.arange(0, 4096, 4))
    assert from_vgg16("classifier.3.bias", torch.arange(4096))["fc7.0.bias"].tolist() == [*range(0, 4096, 4)]
    assert from_vgg16("classifier.0.weight", torch.ones(2))["fc6.0.weight"].shape == (2,)


def resnet38_names(form: str) -> Iterator[tuple[str, str]]:
    """Names of ResNet-38's weights in another program, and here."""
    kinds = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_var"}
    branches = ["branch2a", "branch2b1", "branch2b2"]

    def mxnet(place: str, here: str) -> str:
        group = "aux" if here.startswith("running") else "arg"
        return f"{group}:{place}_{kinds[here] if place.startswith('bn') else here}"

    def named(level: int, block: int, what: str, index: int, here: str) -> str:
        if form == "wider":
            place = f"mod{level}.block{block + 1}."
            norm = f"{'convs.' if index else ''}bn{index + 1}.0."
            return (
                place + {"norm": norm, "conv": f"convs.conv{index + 1}.", "short": "proj_conv."}[what] + here
            )
        part = "branch1" if what == "short" else branches[index]
        if form == "affinity":
            kind = "bn" if what == "norm" else "conv"
            return f"b{level}{f'_{block}' if block else ''}.{kind}_{part}.{here}"
        kind = "bn" if what == "norm" else "res"
        return mxnet(f"{kind}{level}{f'b{block}' if block else 'a'}_{part}", here)

    first = {"wider": "mod1.conv1.weight", "affinity": "conv1a.weight", "mxnet": "arg:conv1a_weight"}
    yield first[form], "stem.weight"
    for level, count in zip(range(2, 8), (3, 3, 6, 3, 1, 1), strict=True):
        for block in range(count):
            ours = f"level{level}.{block}."
            for index in range(2 if level < 6 else 3):
                for here in kinds:
                    yield named(level, block, "norm", index, here), f"{ours}norms.{index}.{here}"
                yield named(level, block, "conv", index, "weight"), f"{ours}convolutions.{index}.weight"
            if block == 0:
                yield named(level, block, "short", 0, "weight"), f"{ours}shortcut.weight"
    for here in kinds:
        last = {"wider": f"bn_out.0.{here}", "affinity": f"bn7.{here}", "mxnet": mxnet("bn7", here)}
        yield last[form], f"end.0.{here}"


@pytest.mark.parametrize(
    ("form", "prefix", "classifier"),
    [
        ("mxnet", "", "arg:linear1000_weight"),
        ("affinity", "", "fc8.weight"),
        ("wider", "module.", "module.classifier.fc.weight"),
    ],
)
def test_resnet38_takes_the_weights_of_others(form: str, prefix: str, classifier: str) -> None:
    network = on_meta(ResNet38Config())
    own = network.state_dict()
    names = {f"{prefix}{theirs}": ours for theirs, ours in resnet38_names(form)}
    fit = fit_weights(
        network, {**{theirs: own[ours] for theirs, ours in names.items()}, classifier: own["stem.weight"]}
    )
    assert fit.problem == ""
    assert {name.split(".")[0] for name in fit.new} == {"context", "head"}
    assert fit.unused == [classifier]
    assert all(fit.taken[ours] is own[ours] for ours in names.values())


def test_encoders_of_other_programs_find_their_place_in_a_network_of_smp() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    timm = pytest.importorskip("timm")
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        network = Wrapped(smp.Unet("resnet18", encoder_weights=None, classes=19))
        atto = Wrapped(Named(timm.create_model("convnext_atto", features_only=True)))
        deep = Wrapped(Named(timm.create_model("resnet50c")))

    own = fitted(network, lambda: smp.Unet("resnet18", encoder_weights=None, classes=21))
    assert (own.problem, own.new) == (
        "",
        [f"network.segmentation_head.0.{kind}" for kind in ("weight", "bias")],
    )
    for make, prefix in (
        (models.resnet18, ""),
        (lambda: timm.create_model("resnet18"), "model."),
        (models.resnet18, "backbone."),  # of mmsegmentation
    ):
        fit = fitted(network, make, prefix)
        assert (fit.problem, fit.unused) == ("", [f"{prefix}fc.weight", f"{prefix}fc.bias"])
        assert not any(network.is_encoder(name) for name in fit.new)
    assert "network.encoder.layer2.0.conv1.weight" in fit.taken
    assert "do not fit" in fitted(network, models.resnet34).problem
    assert "do not fit" in fitted(network, models.resnet50).problem

    fit = fitted(atto, lambda: timm.create_model("convnext_atto"))
    assert (fit.problem, fit.source) == ("", "timm")
    with torch.device("meta"):
        weights = timm.create_model("resnet50c").state_dict()
    stem = {"conv1.": "stem.", "bn1.": "stem.7."}
    theirs = {
        "backbone."
        + next((stem[old] + name.removeprefix(old) for old in stem if name.startswith(old)), name): each
        for name, each in weights.items()
    }
    fit = fit_weights(deep, {**theirs, "decode_head.conv_seg.weight": weights["conv1.0.weight"]})
    assert (fit.problem, fit.source) == ("", "mmsegmentation ResNetV1c")


def test_a_segformer_encoder_of_mmsegmentation_finds_its_place() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    network = Wrapped(smp.Segformer("mit_b0", encoder_weights=None, classes=19))
    own = {name.removeprefix("network.encoder."): each for name, each in network.state_dict().items()}
    theirs: dict[str, Tensor] = {}
    for stage in range(1, 5):
        names = {
            f"patch_embed{stage}.proj": "0.projection",
            f"patch_embed{stage}.norm": "0.norm",
            f"norm{stage}": "2",
        }
        for block in range(2):
            inner = {
                "norm1": "norm1",
                "norm2": "norm2",
                "attn.proj": "attn.attn.out_proj",
                "attn.sr": "attn.sr",
            }
            inner |= {"attn.norm": "attn.norm", "mlp.dwconv.dwconv": "ffn.layers.1"}
            inner |= {"mlp.fc1": "ffn.layers.0", "mlp.fc2": "ffn.layers.4"}
            names |= {f"block{stage}.{block}.{ours}": f"1.{block}.{other}" for ours, other in inner.items()}
            for kind in ("weight", "bias"):
                query, rest = (own[f"block{stage}.{block}.attn.{part}.{kind}"] for part in ("q", "kv"))
                theirs[f"backbone.layers.{stage - 1}.1.{block}.attn.attn.in_proj_{kind}"] = torch.cat(
                    [query, rest]
                )
        for ours, other in names.items():
            for kind in ("weight", "bias"):
                if (tensor := own.get(f"{ours}.{kind}")) is not None:
                    linear = ours.endswith(("fc1", "fc2")) and kind == "weight"
                    name = f"backbone.layers.{stage - 1}.{other}.{kind}"
                    theirs[name] = tensor[..., None, None] if linear else tensor
    fit = fit_weights(network, {**theirs, "decode_head.conv_seg.weight": torch.ones(19, 256, 1, 1)})
    assert (fit.problem, fit.source) == ("", "mmsegmentation MiT")
    encoder = {name: each for name, each in network.state_dict().items() if network.is_encoder(name)}
    assert fit.taken.keys() == encoder.keys()
    assert all(torch.equal(fit.taken[name], each) for name, each in encoder.items())


SWIN = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.qkv": "attn.w_msa.qkv",
    "attn.proj": "attn.w_msa.proj",
    "attn.relative_position_bias_table": "attn.w_msa.relative_position_bias_table",
    "mlp.fc1": "ffn.layers.0.0",
    "mlp.fc2": "ffn.layers.1",
}
VIT = {
    "norm1": "ln1",
    "norm2": "ln2",
    "attn.qkv.": "attn.attn.in_proj_",
    "attn.proj": "attn.attn.out_proj",
    "mlp.fc1": "ffn.layers.0.0",
    "mlp.fc2": "ffn.layers.1",
}
CONVNEXT = {"conv_dw": "dwconv", "mlp.fc1": "pwconv1", "mlp.fc2": "pwconv2"}
MM_CONVNEXT = {"conv_dw": "depthwise_conv", "mlp.fc1": "pointwise_conv1", "mlp.fc2": "pointwise_conv2"}


def named_elsewhere(name: str, blocks: str, inner: dict[str, str]) -> str:
    """The name of a tensor of timm's in a program that calls its parts otherwise: in the one after the last
    number, by `inner`; `blocks` is where it has them, with the numbers of stage and block."""
    where = re.match(r"(?:(?:layers|stages)_(\d)\.)?blocks\.(\d+)\.", name)
    if where is None:
        return name.replace("patch_embed.proj.", "patch_embed.projection.")
    rest = name[where.end() :]
    part = next((part for part in inner if rest.startswith(part)), "")
    return blocks.format(*where.groups()) + inner.get(part, "") + rest.removeprefix(part)


@pytest.mark.parametrize(
    ("encoder", "program", "blocks", "inner"),
    [
        ("swin_tiny_patch4_window7_224", "mmsegmentation Swin", "stages.{0}.blocks.{1}.", SWIN),
        ("swin_tiny_patch4_window7_224", "Swin", "layers.{0}.blocks.{1}.", {}),
        ("convnext_tiny", "mmsegmentation ConvNeXt", "stages.{0}.{1}.", MM_CONVNEXT),
        ("convnext_tiny", "ConvNeXt", "stages.{0}.{1}.", CONVNEXT),
        ("vit_tiny_patch16_224", "mmsegmentation ViT", "layers.{1}.", VIT),
    ],
)
def test_transformers_and_convnext_of_others_find_their_place(
    encoder: str, program: str, blocks: str, inner: dict[str, str]
) -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        network = Wrapped(Named(timm.create_model(encoder, features_only=True)))
    place = "network.encoder.model." if "vit" in encoder else "network.encoder."
    theirs: dict[str, Tensor] = {}
    own: dict[str, str] = {}
    for name, tensor in network.state_dict().items():
        if network.is_encoder(name):
            other = name.removeprefix(place)
            other = re.sub(r"^stem_(\d)", r"downsample_layers.0.\1", other)
            other = re.sub(r"^stages_(\d)\.downsample\.(\d)", r"downsample_layers.\1.\2", other)
            if merging := re.match(r"layers_(\d)\.downsample", other):
                kind = blocks.partition(".")[0]
                other = f"{kind}.{int(merging[1]) - 1}.downsample{other[merging.end() :]}"
            if program.startswith("mm") or "blocks." in other:
                other = named_elsewhere(other, blocks, inner)
            theirs[f"backbone.{other}"] = tensor
            own[f"backbone.{other}"] = name
    assert len(theirs) > 100
    more = {"backbone.norm3.weight": torch.ones(768), "decode_head.conv_seg.bias": torch.ones(19)}
    if "Swin" in program:
        at = "stages.0.blocks.1.attn.w_msa." if program.startswith("mm") else "layers.0.blocks.1.attn."
        more[f"backbone.{at}relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    fit = fit_weights(network, {**theirs, **more})
    assert (fit.problem, fit.source, fit.unused) == ("", program, list(more))
    assert fit.taken.keys() == set(own.values())
    moved = [other for other, name in own.items() if fit.taken[name] is not theirs[other]]
    assert all(".downsample." in name for name in moved), "in another order"
    assert len(moved) == (9 if program == "mmsegmentation Swin" else 0)


def test_merged_patches_of_mmsegmentation_mean_the_same_pixels_here() -> None:
    swin = pytest.importorskip("timm.models.swin_transformer")
    torch.manual_seed(0)
    here = swin.PatchMerging(8).eval()
    maps = torch.randn(2, 6, 10, 8)
    norm, reduction = nn.LayerNorm(32), nn.Linear(32, 16, bias=False)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    unfolded = functional.unfold(maps.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)
    wanted = reduction(norm(unfolded)).reshape(2, 3, 5, 16)
    (convert,) = (each.convert for each in GENERAL if each.source == "mmsegmentation Swin")
    theirs = {"norm.weight": norm.weight, "norm.bias": norm.bias, "reduction.weight": reduction.weight}
    taken: dict[str, Tensor] = {}
    for name, tensor in theirs.items():
        taken |= convert(f"stages.1.downsample.{name}", tensor)
    here.load_state_dict({name.removeprefix("layers_2.downsample."): each for name, each in taken.items()})
    torch.testing.assert_close(here(maps), wanted)
    assert convert("stages.1.downsample.norm.bias", torch.ones(3))["layers_2.downsample.norm.bias"].shape == (
        3,
    )
