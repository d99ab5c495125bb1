"""Networks of segmentation_models_pytorch and torchvision: sizes, what is refused, what they start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import save_file

from engine.components.origin import ComponentError
from engine.components.stored import reading_stored
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.config.stored import flat_config
from engine.data.batches import normalise
from engine.learning.activation_checkpointing import checkpoint_activations
from engine.learning.checkpoint import CheckpointError, check_fits
from engine.learning.enough_images import is_lack_of_images
from engine.learning.mixstyle import layers_by_number
from engine.models import ModelSection
from engine.models.builtin import MODELS, SmpConfig, TorchvisionConfig
from engine.models.contract import check_shapes, outputs_of
from engine.models.make_sizes import measured
from engine.models.pretrained import NORMALISATIONS, WeightsError
from engine.models.registry import build_model, count_parameters
from engine.models.sizes import SIZE, sizes
from engine.models.smp import config as smp_config
from engine.models.smp.config import DECODERS
from engine.models.smp.encoders import Encoder, encoders, made_with, near_names, normalisation_of
from engine.models.smp.network import SmpNetwork
from engine.models.torchvision.network import TorchvisionNetwork
from engine.models.weight_fit import fit_weights
from engine.optimizers.builtin import AdamWConfig
from engine.optimizers.groups import parameter_groups
from engine.requests.configs import check_components

SIZES = {
    "Unet": (24_438_979, 32_523_715),
    "UnetPlusPlus": (26_081_219, 48_988_355),
    "MAnet": (31_786_243, 147_442_603),
    "Linknet": (21_772_531, 31_178_371),
    "FPN": (23_157_715, 26_118_355),
    "PSPNet": (21_520_947, 24_383_955),
    "PAN": (21_481_018, 24_265_018),
    "DeepLabV3": (26_011_731, 39_638_355),
    "DeepLabV3Plus": (22_442_083, 26_682_211),
    "UPerNet": (29_604_307, 37_289_299),
    "Segformer": (21_881_171, 24_841_811),
}
"""Parameters for 19 classes on resnet34 and resnet50, as counted by another program."""


def smp_parameters(**keys: Any) -> int:
    with torch.device("meta"):
        return count_parameters(SmpNetwork(SmpConfig(**keys), 3, 19))


@pytest.mark.parametrize("decoder", SIZES)
def test_networks_of_smp_have_their_known_numbers_of_parameters(decoder: str) -> None:
    counted = [smp_parameters(decoder=decoder, encoder=encoder) for encoder in ("resnet34", "resnet50")]
    assert counted == list(SIZES[decoder])


@pytest.mark.parametrize(
    ("encoder", "parameters"),
    [
        ("mobilenet_v2", 4_383_139),
        ("tu-convnext_tiny", 29_312_131),
        ("tu-mobilenetv4_conv_small", 3_003_075),
    ],
)
def test_deeplabv3plus_has_its_known_size_on_small_encoders(encoder: str, parameters: int) -> None:
    assert smp_parameters(decoder="DeepLabV3Plus", encoder=encoder) == parameters


@pytest.mark.parametrize(
    ("architecture", "aux", "parameters"),
    [
        ("deeplabv3_resnet50", False, 39_638_355),
        ("deeplabv3_resnet50", True, 42_003_046),
        ("deeplabv3_resnet101", False, 58_630_483),
        ("fcn_resnet50", False, 32_955_987),
        ("deeplabv3_mobilenet_v3_large", False, 11_024_963),
        ("lraspp_mobilenet_v3_large", False, 3_221_198),
    ],
)
def test_networks_of_torchvision_have_their_known_numbers_of_parameters(
    architecture: str, aux: bool, parameters: int
) -> None:
    with torch.device("meta"):
        network = TorchvisionNetwork(TorchvisionConfig(architecture=architecture, aux=aux), 3, 19)  # type: ignore[arg-type]
    assert count_parameters(network) == parameters


# ------------------------------------------------------------------ the contract

SMALL = "tu-mobilenetv4_conv_small"
OF_ALL_KINDS: list[ModelSection] = [
    SmpConfig(decoder="DeepLabV3Plus", encoder=SMALL, aux=True),
    SmpConfig(decoder="UPerNet", encoder="tu-convnext_atto", aux=True),
    SmpConfig(decoder="PSPNet", encoder="resnet18", aux=True),
    SmpConfig(decoder="PAN", encoder="resnet18"),
    SmpConfig(decoder="Segformer", encoder="mit_b0"),
    SmpConfig(decoder="FPN", encoder="tu-swin_tiny_patch4_window7_224"),
    SmpConfig(decoder="DPT", encoder="tu-vit_tiny_patch16_224", aux=True),
    TorchvisionConfig(architecture="deeplabv3_mobilenet_v3_large", aux=True),
    TorchvisionConfig(architecture="fcn_resnet50", aux=True),
    TorchvisionConfig(architecture="lraspp_mobilenet_v3_large"),
]


@pytest.mark.parametrize("section", OF_ALL_KINDS, ids=lambda section: " ".join(map(str, section)))
def test_a_network_keeps_the_contract_and_says_how_few_images_it_trains_on(section: Any) -> None:
    with torch.device("meta"):
        network = build_model(section, 4)  # which checks its names
    check_shapes(network, section, 3, 4)
    height, width = section.least_side(), section.least_side()
    image = torch.empty(1, 3, max(16, height), max(16, width), device="meta")
    values = section.values_per_channel(*image.shape[2:])
    try:
        outputs = outputs_of(network.train(), image)
    except ValueError as error:
        if not is_lack_of_images(error):
            raise
        assert values == 1
    else:
        assert values is None or values > 1
        assert outputs.logits.shape == (1, 4, *image.shape[2:])
    pair = outputs_of(network, torch.empty(2, *image.shape[1:], device="meta"))
    assert len(pair.auxiliary) == bool(getattr(section, "aux", False))
    sum(each.float().sum() for each in (pair.logits, *pair.auxiliary)).backward()  # type: ignore[union-attr]
    idle = {name for name, each in network.named_parameters() if each.requires_grad and each.grad is None}
    assert not idle, "ranks would wait for the gradient of a parameter that has none"
    with torch.no_grad():
        assert outputs_of(network.eval(), image).auxiliary == ()


@pytest.mark.parametrize(
    ("encoder", "spared"),
    [
        ("tu-swin_tiny_patch4_window7_224", "layers_0.blocks.0.attn.relative_position_bias_table"),
        ("tu-swinv2_tiny_window8_256", "layers_3.blocks.1.attn.logit_scale"),
        ("tu-tiny_vit_5m_224", "stages_1.blocks.0.attn.attention_biases"),
    ],
)
def test_what_timm_spares_the_weight_decay_has_none_in_its_list_of_stages(encoder: str, spared: str) -> None:
    with torch.device("meta"):
        network = build_model(SmpConfig(decoder="FPN", encoder=encoder), 4)
    parameters = dict(network.named_parameters())
    name = f"encoder.model.{spared}"
    assert parameters[name].ndim >= 2
    assert not network.decays(name, parameters[name])
    last = [name for name, each in parameters.items() if network.is_encoder(name) and each.ndim == 2][-1]
    assert network.decays(last, parameters[last])


def test_layers_of_an_encoder_that_the_decoder_does_not_look_at_are_none() -> None:
    with torch.device("meta"):
        network = build_model(SmpConfig(decoder="PSPNet", encoder="resnet18"), 4)
    assert [names[-1] for names in network.layers()] == [
        "encoder.bn1",
        *(f"encoder.layer{level}.{block}" for level in (1, 2) for block in (0, 1)),
    ]
    rates = {
        name: group["lr_factor"]
        for group in parameter_groups(AdamWConfig(layer_decay=0.5), network)
        for name in group["names"]
    }
    assert rates["encoder.layer2.1.conv1.weight"] == 0.5
    assert rates["encoder.conv1.weight"] == 0.5**5
    with pytest.raises(ComponentError, match=r"mixstyle_layers: 6 is not allowed; .* has 5 layers"):
        layers_by_number(network, [6])


def test_layers_go_from_the_input_to_the_bottleneck_and_hold_the_whole_encoder() -> None:
    for encoder, first, last in (
        ("tu-convnext_atto", "encoder.model.stem_0", "encoder.model.stages_3"),
        ("mit_b0", "encoder.patch_embed1", "encoder.norm4"),
    ):
        with torch.device("meta"):
            network = build_model(SmpConfig(encoder=encoder), 4)
        layers = network.layers()
        assert layers[0][0] == first
        assert last in layers[-1]
        parameters = [name for name, _ in network.named_parameters() if network.is_encoder(name)]
        assert all(network.layer_of(name) is not None for name in parameters), encoder


def test_activation_checkpointing_changes_no_bit() -> None:
    section = TorchvisionConfig(architecture="lraspp_mobilenet_v3_large")
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        network = build_model(section, 4).train()
        if recompute:
            checkpoint_activations(network)
        outputs_of(network, images).logits.square().sum().backward()
        gradients.append([each.grad for each in network.parameters()] + list(network.buffers()))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


# ------------------------------------------------------------------ what is refused

REFUSED = [
    ({"encoder": "resnet43"}, "model.encoder: there is no encoder 'resnet43'; did you mean resnet"),
    ({"encoder": "ResNet34"}, "did you mean resnet34?"),
    ({"encoder": "timm-resnest14d"}, "did you mean tu-resnest14d?"),
    ({"encoder": "tu-resnet18.a1_in1k"}, "model.encoder=tu-resnet18 model.weights=a1_in1k names both"),
    ({"decoder": "DeepLabV3Plus", "encoder": "vgg16"}, "vgg16 cannot be dilated to output stride 16"),
    (
        {"decoder": "DeepLabV3Plus", "encoder": "tu-swin_tiny_patch4_window7_224"},
        "cannot be dilated to output stride 16, as DeepLabV3Plus asks; Unet and UPerNet need no dilation",
    ),
    ({"decoder": "PAN", "encoder": "vgg16"}, "model.output_stride=32 works"),
    ({"output_stride": 16}, "model.output_stride: Unet works at 32, not at 16"),
    ({"decoder": "DeepLabV3", "output_stride": 32}, "DeepLabV3 works at 8 or 16, not at 32"),
    ({"decoder": "DPT"}, "model.decoder: DPT does not work with resnet34"),
    ({"encoder": "tu-vit_tiny_patch16_224"}, "only DPT can use; model.decoder=DPT works"),
    ({"encoder": "tu-eva02_tiny_patch14_224"}, "there is no encoder 'tu-eva02_tiny_patch14_224'"),
    ({"decoder": "Linknet", "encoder": "mit_b0"}, "Linknet of smp does not take mit_b0"),
    (
        {"weights": "imagenett"},
        "no weights 'imagenett' of encoder resnet34; it has imagenet; none or the path",
    ),
]


@pytest.mark.parametrize(("keys", "told"), REFUSED)
def test_combinations_that_cannot_work_are_refused_with_the_reason(keys: dict[str, Any], told: str) -> None:
    values = {"model.name": "smp", **{f"model.{key}": value for key, value in keys.items()}}
    with pytest.raises(ConfigError) as refusal:
        with_values(RunConfig(), values)
    (line,) = refusal.value.problems
    assert told in line
    assert line.startswith("model.")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"model.decoder": "PAN", "data.size": "64x128"}, "whose input sides must be at least 128"),
        ({"model.decoder": "PAN", "data.size": "128x128", "model.output_stride": 32}, "at least 256"),
        ({"data.size": "180x240"}, "must divide by 32; the nearest that do are 192x256"),
        ({"model.decoder": "DeepLabV3Plus", "data.size": "360x480"}, "must divide by 16"),
    ],
)
def test_sizes_that_a_decoder_cannot_take_are_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        with_values(RunConfig(), {"model.name": "smp", **values})


def test_what_is_refused_does_fail_and_what_is_advised_works() -> None:
    """The facts that the refusals rely on, of the installed version."""
    network = SmpNetwork(SmpConfig(decoder="PAN", encoder="resnet18"), 3, 2).eval()
    with torch.no_grad():
        with pytest.raises(RuntimeError):
            network(torch.zeros(1, 3, 64, 128))
        assert network(torch.zeros(1, 3, 128, 144)).logits.shape == (1, 2, 128, 144)
    for encoder in ("vgg11", "tu-vgg11"):
        section = SmpConfig.model_construct(decoder="DeepLabV3Plus", encoder=encoder)
        with pytest.raises((ValueError, AssertionError)), torch.device("meta"):
            SmpNetwork(section, 3, 2)


def test_torchvision_refuses_what_it_does_not_have() -> None:
    with pytest.raises(ConfigError, match=r"model\.aux: LR-ASPP has no auxiliary head"):
        change_torchvision(architecture="lraspp_mobilenet_v3_large", aux=True)
    with pytest.raises(ConfigError, match="there are no weights 'voc' of fcn_resnet50; it has COCO_WITH_VOC"):
        change_torchvision(architecture="fcn_resnet50", weights="voc")


def change_torchvision(**keys: Any) -> RunConfig:
    return with_values(
        RunConfig(), {"model.name": "torchvision", **{f"model.{key}": value for key, value in keys.items()}}
    )


def test_without_the_extra_a_config_reads_and_a_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = with_values(RunConfig(), {"model.name": "smp", "data.size": "64x64"})
    check_components(config)
    monkeypatch.setattr(smp_config, "find_spec", lambda package: None)
    assert with_values(config, {"seed": 1}).model.name == "smp"
    with pytest.raises(ConfigError, match=r"needs segmentation_models_pytorch and timm; `pip install"):
        check_components(config)
    assert config.missing() == [f"model.name=smp: {smp_config.NEEDS_EXTRA}"]


def test_a_stored_config_whose_encoder_is_gone_still_reads_and_says_what_is_missing() -> None:
    table = with_values(RunConfig(), {"model.name": "smp"}).model_dump(mode="json")
    table["model"]["encoder"] = "tu-long_gone"
    with reading_stored():
        config = RunConfig.of_stored(table)
    assert config.model.encoder == "tu-long_gone"  # type: ignore[attr-defined]
    assert config.missing()[0].startswith("model.encoder: there is no encoder 'tu-long_gone'")


# ------------------------------------------------------------------ how images are normalised

VIT = {"decoder": "DPT", "encoder": "tu-vit_tiny_patch16_224", "weights": "augreg_in21k"}


@pytest.mark.parametrize(
    ("keys", "mean", "std"),
    [
        ({"encoder": "resnet18", "weights": "imagenet"}, 0.485, 0.229),
        ({"encoder": "efficientnet-b0", "weights": "advprop"}, 0.5, 0.5),
        (VIT, 0.5, 0.5),
        (VIT | {"normalisation": "imagenet"}, 0.485, 0.229),
        (VIT | {"weights": "vit.safetensors"}, 0.485, 0.229),
        (VIT | {"weights": "vit.safetensors", "normalisation": "none"}, 0.0, 1.0),
    ],
)
def test_an_encoder_sees_images_normalised_as_its_weights_want_them(
    keys: dict[str, Any], mean: float, std: float
) -> None:
    network = build_model(SmpConfig(**keys), 2).eval()
    seen: list[torch.Tensor] = []
    network.encoder.register_forward_pre_hook(lambda part, given: seen.append(given[0]))  # type: ignore[operator]
    pixels = torch.arange(256, dtype=torch.uint8).repeat(24)[: 64 * 32 * 3].view(1, 64, 32, 3)
    with torch.no_grad():
        outputs_of(network, normalise(pixels))
    torch.testing.assert_close(seen[0][0, 0], (pixels[0, :, :, 0] / 255 - mean) / std, rtol=0, atol=1e-5)


def test_a_network_of_before_the_key_sees_what_it_was_trained_on() -> None:
    section = SmpConfig(**VIT)
    saved = section.model_dump()
    del saved["normalisation"]
    table = {**RunConfig().model_dump(mode="json"), "model": saved}
    former = RunConfig.of_stored(table).model
    assert former.input_normalisation() == "imagenet"
    assert flat_config(table)["model.normalisation"] == "imagenet"
    content = {"model_config": saved, "classes": ["a"]}
    check_fits(Path("best.pt"), content, former, ["a"])
    with pytest.raises(CheckpointError):
        check_fits(Path("best.pt"), content, section, ["a"])
    usual = {**saved, "encoder": "resnet18", "weights": "imagenet", "decoder": "Unet"}
    assert flat_config({**table, "model": usual})["model.normalisation"] == "auto"


# ------------------------------------------------------------------ the list of encoders


def test_the_list_names_the_encoders_of_the_installed_packages() -> None:
    import segmentation_models_pytorch as smp
    import timm

    assert made_with() == {"segmentation_models_pytorch": smp.__version__, "timm": timm.__version__}, (
        "make it anew: python -m engine.models.smp.make_encoders --anew"
    )
    known, of_timm = encoders(), {f"tu-{name}" for name in timm.list_models()}
    own = {name for name in known if not name.startswith("tu-")}
    assert own == set(smp.encoders.encoders)
    assert {name for name in known if name.startswith("tu-")} <= of_timm
    assert len(known) > 1000
    for name in own:
        assert list(known[name].weights) == list(smp.encoders.encoders[name]["pretrained_settings"])
    assert "a1_in1k" in known["tu-resnet50"].weights


@pytest.mark.parametrize(
    "name",
    [
        *("resnet34", "vgg11", "mit_b0", "timm-skresnet18"),
        *(
            "tu-mobilenetv4_conv_small",
            "tu-vit_tiny_patch16_224",
            "tu-resnest14d",
            "tu-eva02_tiny_patch14_224",
        ),
    ],
)
def test_the_list_says_of_an_encoder_what_is_found_when_it_is_tried(name: str) -> None:
    from engine.models.smp.make_encoders import entry_of

    found = entry_of(name)
    if found is None:
        assert name not in encoders()
    else:
        fields: Any = {key: tuple(v) if isinstance(v, list) else v for key, v in found.items()}
        assert encoders()[name] == Encoder(name=name, **fields)


def test_the_list_says_how_weights_of_timm_want_images_normalised() -> None:
    import timm

    seen = set()
    for encoder in encoders().values():
        for weights in encoder.weights if encoder.is_of_timm else ():
            about = timm.get_pretrained_cfg(f"{encoder.name[3:]}.{weights}")
            assert about is not None
            wanted = normalisation_of(encoder.name, weights)
            mean, std = NORMALISATIONS[wanted]
            assert (*about.mean, *about.std) == pytest.approx((*mean, *std), abs=1e-4), encoder.name
            seen.add(wanted)
    assert seen == NORMALISATIONS.keys()


@pytest.mark.parametrize(
    ("name", "of_timm"),
    [
        (("dpn68", "imagenet"), "dpn68.mx_in1k"),
        (("inceptionv4", "imagenet"), "inception_v4.tf_in1k"),
        (("inceptionresnetv2", "imagenet+background"), "inception_resnet_v2.tf_in1k"),
        (("xception", "imagenet"), "legacy_xception.tf_in1k"),
        (("timm-efficientnet-b3", "advprop"), "tf_efficientnet_b3.ap_in1k"),
        (("timm-efficientnet-b3", "noisy-student"), "tf_efficientnet_b3.ns_jft_in1k"),
        (("timm-tf_efficientnet_lite1", "imagenet"), "tf_efficientnet_lite1.in1k"),
        (("se_resnet50", "imagenet"), "legacy_seresnet50.in1k"),
        (("mobileone_s1", "imagenet"), "mobileone_s1.apple_in1k"),
    ],
)
def test_weights_of_smp_want_images_as_timm_has_it_of_the_same(name: tuple[str, str], of_timm: str) -> None:
    import timm

    assert name[1] in encoders()[name[0]].weights
    about = timm.get_pretrained_cfg(of_timm)
    assert about is not None
    mean, std = NORMALISATIONS[normalisation_of(*name)]
    assert (*about.mean, *about.std) == pytest.approx((*mean, *std), abs=1e-4)


def test_licences_that_forbid_commerce_are_in_the_list() -> None:
    assert encoders()["mit_b2"].licences == ("nvidia-noncommercial",)
    assert encoders()["mobileone_s1"].licences == ("apple",)
    assert encoders()["resnet50"].weights == {
        "imagenet": "bsd-3-clause",
        "ssl": "cc-by-nc-4.0",
        "swsl": "cc-by-nc-4.0",
    }


def test_near_names_are_those_of_the_same_letters_first() -> None:
    assert near_names("tu_convnext-tiny") == ["tu-convnext_tiny"]
    assert near_names("efficientnet_b0")[0] == "efficientnet-b0"
    assert near_names("nothing like it at all") == []
    assert get_args(smp_config.DecoderName) == tuple(DECODERS)


# ------------------------------------------------------------------ weights


def saved(tmp_path: Path, weights: dict[str, torch.Tensor]) -> Path:
    path = tmp_path / "weights.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)
    return path


def of_others(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights with the names and shapes of a network, and other values."""
    return {name: torch.full_like(tensor, 0.5) for name, tensor in network.state_dict().items()}


def test_weights_of_makers_for_other_classes_leave_the_head_and_say_so() -> None:
    section = TorchvisionConfig(architecture="lraspp_mobilenet_v3_large")
    offered = of_others(build_model(section, 21))
    network = build_model(section, 5)
    fit = fit_weights(network, offered)
    assert not fit.problem
    assert sorted(line.partition(",")[0] for line in fit.shapes) == [
        f"classifier.{level}_classifier.{kind}" for level in ("high", "low") for kind in ("bias", "weight")
    ]
    assert fit.new == [name for name in network.state_dict() if "_classifier." in name]


@pytest.mark.parametrize("own_names", [True, False])
def test_weights_of_an_encoder_fill_it_by_its_own_names(own_names: bool) -> None:
    network = build_model(SmpConfig(encoder="resnet18"), 4)
    offered = of_others(network.encoder)
    offered = offered if own_names else {f"encoder.{name}": tensor for name, tensor in offered.items()}
    fit = fit_weights(network, offered)
    assert not fit.problem
    assert not [name for name in fit.new if network.is_encoder(name)]


def test_weights_by_name_are_those_that_the_makers_give(monkeypatch: pytest.MonkeyPatch) -> None:
    import segmentation_models_pytorch as smp

    asked: list[tuple[str, Any]] = []

    def get_encoder(name: str, weights: Any = None, **options: Any) -> torch.nn.Module:
        asked.append((name, weights))
        encoder: torch.nn.Module = smp.encoders.get_encoder(name.partition(".")[0], weights=None, **options)
        return encoder

    monkeypatch.setattr("engine.models.smp.network.get_encoder", get_encoder)
    for encoder, weights in (("resnet18", "imagenet"), (SMALL, "e2400_r224_in1k")):
        section = SmpConfig(encoder=encoder, weights=weights)
        fit = fit_weights(build_model(section, 4), section.named_weights())
        assert not fit.problem
        assert all(name.startswith(("decoder.", "segmentation_head.")) for name in fit.new)
    assert asked == [("resnet18", "imagenet"), (f"{SMALL}.e2400_r224_in1k", True)]


def no_network(*args: object, **options: object) -> Any:
    raise OSError("Name or service not known")


@pytest.mark.parametrize(
    ("section", "patched"),
    [
        (SmpConfig(weights="imagenet"), "engine.models.smp.network.get_encoder"),
        (TorchvisionConfig(weights="IMAGENET1K_V2"), "torchvision.models._api.load_state_dict_from_url"),
    ],
)
def test_without_a_network_one_line_says_what_to_do(
    section: ModelSection, patched: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patched, no_network)
    with pytest.raises(WeightsError) as refusal:
        section.named_weights()
    line = str(refusal.value)
    assert line.startswith("model.weights: ")
    assert "cannot be downloaded: Name or service not known; where there is no network" in line
    assert "\n" not in line


def test_without_a_network_the_line_tells_what_a_file_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.models.smp.network.get_encoder", no_network)
    with pytest.raises(WeightsError, match=r"give its path with model\.normalisation=inception, or copy"):
        SmpConfig(encoder="efficientnet-b0", weights="advprop").named_weights()
    with pytest.raises(WeightsError, match="give its path, or copy"):
        SmpConfig(weights="imagenet").named_weights()


# ------------------------------------------------------------------ what is listed


def test_the_sizes_that_are_listed_are_those_of_the_networks() -> None:
    listed = {
        name: section
        for kind in MODELS.sections().values()
        if MODELS.is_built_in(kind.model_fields["name"].default)
        for name, section in kind(name=kind.model_fields["name"].default).listed()
    }
    assert list(sizes()) == list(listed), "make them anew: python -m engine.models.make_sizes"
    assert sizes()["smp UPerNet"].params == SIZES["UPerNet"][0]
    assert sizes()["unet"].params == 31_038_803
    for name in ("unet", "torchvision lraspp_mobilenet_v3_large"):
        known = sizes()[name]
        assert measured(listed[name], SIZE) == (known.params, known.gflops)
