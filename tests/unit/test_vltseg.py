"""VLTSeg: sizes as published, maps as timm has them, weights by their makers' names, class embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn import functional

from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.models.class_embeddings import ClassEmbeddings, read_embeddings, write_embeddings
from engine.models.contract import check_shapes
from engine.models.pretrained import WeightsError
from engine.models.registry import build_model, count_parameters
from engine.models.vltseg.backbone import Backbone
from engine.models.vltseg.config import VLTSegConfig
from engine.models.vltseg.fixed import on_device, resampling, sines
from engine.models.vltseg.network import Similarity, VLTSeg
from engine.models.weight_fit import fit_weights
from engine.training.warm_start import take_embeddings

TINY = VLTSegConfig(backbone="eva02_tiny_patch14", channels=8)
TAKEN = (3, 5, 7, 11)


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """timm's own network, for images of any size."""
    torch.manual_seed(0)
    return timm.create_model(
        "eva02_tiny_patch14_224", num_classes=0, dynamic_img_size=True, dynamic_img_pad=True
    ).eval()


@pytest.mark.parametrize(
    ("backbone", "published"),
    [
        ("eva02_tiny_patch14", 5_502_144),
        ("eva02_small_patch14", 21_621_120),
        ("eva02_base_patch14", 85_758_720),
        ("eva02_large_patch14", 303_268_800),
        ("eva02_base_patch16_clip", 85_869_312),
        ("eva02_large_patch14_clip", 303_317_952),
    ],
)
def test_backbones_have_their_published_number_of_parameters_less_the_last_norm(
    backbone: str, published: int
) -> None:
    section = VLTSegConfig.model_validate({"backbone": backbone})
    with torch.device("meta"):
        network = build_model(section, 19)
        check_shapes(network, section, 3, 19)
    assert isinstance(network, VLTSeg)
    assert count_parameters(network.backbone) == published - 2 * network.backbone.width


@pytest.mark.parametrize("size", [(224, 224), (100, 200), (56, 28)])
def test_maps_are_those_of_timm_at_any_size(theirs: nn.Module, size: tuple[int, int]) -> None:
    own = Backbone("eva02_tiny_patch14_224", TAKEN, 0.0, 3).eval()
    own.load_state_dict({name: each for name, each in theirs.state_dict().items() if "fc_norm" not in name})
    images = torch.randn(1, 3, *size)
    with torch.no_grad():
        wanted = theirs.forward_intermediates(  # type: ignore[operator]
            images, indices=list(TAKEN), norm=False, intermediates_only=True
        )
        for made, expected in zip(own(images), wanted, strict=True):
            torch.testing.assert_close(made, expected, atol=2e-6, rtol=0)


def test_a_compiled_network_has_all_that_depends_on_its_size_in_one_graph() -> None:
    def mixed(map: Tensor) -> Tensor:
        down, across = (on_device(resampling, sides, map) for sides in ((4, 6), (5, 3)))
        places = on_device(sines, (2, 6, 3), map) + on_device(sines, (2, 3, 6), map)
        return down @ map @ across.mT + places.sum()

    compiled = torch.compile(mixed, backend="aot_eager", fullgraph=True, dynamic=False)
    one, other = (torch.randn(4, 5, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    for network, map in ((mixed, one.requires_grad_()), (compiled, other.requires_grad_())):
        network(map).square().sum().backward()
    assert one.grad is not None
    assert other.grad is not None
    torch.testing.assert_close(one.grad, other.grad)


def test_images_whose_sides_are_no_multiple_of_the_patch_are_padded_and_the_logits_cut() -> None:
    network = build_model(TINY, 5).eval()
    images = torch.randn(1, 3, 56, 84)
    with torch.no_grad():
        padded = functional.pad(images[..., :50, :80], (0, 4, 0, 6))
        cut, whole = network(images[..., :50, :80]).logits, network(padded).logits
    assert cut.shape == (1, 5, 50, 80)
    torch.testing.assert_close(cut, whole[..., :50, :80])


def names_of_makers(state: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """timm's weights of eva02_tiny under the names of EVA-CLIP, with what such files have besides."""
    for name, tensor in state.items():
        renamed = name.replace("mlp.norm", "mlp.ffn_ln").replace("attn.norm", "attn.inner_attn_ln")
        renamed = renamed.replace("mlp.fc1.", "mlp.w12.").replace("mlp.fc2.", "mlp.w3.")
        yield f"visual.{renamed.replace('fc_norm', 'norm')}", tensor
    yield "visual.rope.freqs_cos", torch.zeros(256, 64)
    yield "visual.head.weight", torch.zeros(10, 192)
    yield "text.token_embedding.weight", torch.zeros(7, 3)


def test_files_of_eva_clip_fill_the_backbone_to_the_bit(theirs: nn.Module) -> None:
    network = build_model(TINY, 5)
    fit = fit_weights(network, dict(names_of_makers(theirs.state_dict())))
    assert fit.source == "EVA-02"
    assert not fit.misfits
    network.load_state_dict(fit.taken, strict=False)
    own, state = network.backbone.state_dict(), theirs.state_dict()
    assert set(own) == {name for name in state if "fc_norm" not in name}
    assert all(torch.equal(own[name], state[name]) for name in own)
    assert set(fit.unused) >= {"visual.head.weight", "text.token_embedding.weight"}


@pytest.mark.parametrize("makers", [False, True])
def test_a_file_may_have_blocks_beyond_the_last_one_that_is_used(theirs: nn.Module, makers: bool) -> None:
    network = build_model(TINY.model_copy(update={"blocks": "2,4,6,8"}), 5)
    state = theirs.state_dict()
    fit = fit_weights(network, dict(names_of_makers(state)) if makers else state)
    assert not fit.problem
    assert {name for name in network.state_dict() if network.is_encoder(name)} <= set(fit.taken)
    assert any("blocks.9." in name for name in fit.unused)


def test_position_embeddings_and_patches_of_another_size_are_resampled() -> None:
    larger = timm.create_model("eva02_tiny_patch14_336", num_classes=0)
    network = build_model(TINY, 5)
    fit = fit_weights(network, larger.state_dict())
    assert not fit.misfits
    assert fit.taken["backbone.pos_embed"].shape == (1, 257, 192)


def test_base_and_large_keep_query_key_and_value_apart() -> None:
    with torch.device("meta"):
        own = Backbone("eva02_base_patch14_224", TAKEN, 0.0, 3)
    bias = torch.zeros(768)
    assert set(own.conversion().convert("blocks.0.attn.q_bias", bias)) == {"blocks.0.attn.q_proj.bias"}
    assert set(own.conversion().convert("blocks.0.mlp.w1.weight", bias)) == {"blocks.0.mlp.fc1_g.weight"}


def test_weight_decay_spares_positions_and_layers_begin_with_the_patches() -> None:
    network = build_model(TINY, 5)
    parameters = dict(network.named_parameters())
    assert not network.decays("backbone.pos_embed", parameters["backbone.pos_embed"])
    assert network.layer_of("backbone.patch_embed.proj.weight") == network.layer_of("backbone.cls_token") == 0
    assert network.layer_of("backbone.blocks.11.norm1.weight") == 12


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            {"blocks": "3,5,7"},
            "model.blocks: 3,5,7 is not allowed for eva02_large_patch14_clip; it must be 4",
        ),
        ({"blocks": "1,2,3,24"}, "from 0 to 23, such as 9,14,19,23"),
        ({"blocks": "a,b"}, "model.blocks: 'a,b' is not allowed"),
        ({"weights": "imagenet"}, "model.weights: 'imagenet' is no file; none or the path of a file works"),
        ({"text_size": 512}, "model.text_size: follows from model.text, which is not given; it must be 0"),
    ],
)
def test_keys_that_cannot_be_are_refused_with_what_can(keys: dict[str, object], told: str) -> None:
    values = {"model.name": "vltseg", **{f"model.{key}": value for key, value in keys.items()}}
    with pytest.raises(ConfigError) as refusal:
        with_values(RunConfig(), values)
    (line,) = refusal.value.problems
    assert told in line


# ---------------------------------------------------------------------- class embeddings


def test_logits_are_cosines_over_a_learned_temperature() -> None:
    head = Similarity(4, classes=3, size=6)
    features = torch.randn(2, 4, 3, 5)
    directions = functional.normalize(head.project(features), dim=1)
    wanted = torch.einsum("bdhw,cd->bchw", directions, functional.normalize(head.embeddings, dim=1)) / 0.07
    torch.testing.assert_close(head(features), wanted)
    assert "embeddings" in head.state_dict()


def test_a_text_head_trains_with_an_auxiliary_loss_and_shows_none_after_training() -> None:
    network = build_model(TINY.model_copy(update={"text": "a.safetensors", "text_size": 6}), 3)
    images = torch.randn(1, 3, 28, 42)
    (auxiliary,) = network.train()(images).auxiliary
    assert auxiliary.shape == (1, 3, 28, 42)
    assert auxiliary.abs().max() <= 1 / 0.07 + 1e-3
    assert network.eval()(images).auxiliary == ()


def test_class_embeddings_come_back_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "classes.safetensors"
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_embeddings(path, ClassEmbeddings(("sky", "road", "car"), vectors, "CLIP"))
    read = read_embeddings(path)
    assert read.source == "CLIP"
    assert read.of(["car", "sky"], path).tolist() == [[4, 5], [0, 1]]
    with pytest.raises(WeightsError, match=r"has no embedding of bus; it has sky, road, car"):
        read.of(["road", "bus"], path)


def test_embeddings_that_have_another_length_since_the_run_was_made_are_told(tmp_path: Path) -> None:
    path = tmp_path / "classes.safetensors"
    model = TINY.model_copy(update={"text": str(path), "text_size": 6})
    job: Any = SimpleNamespace(config=SimpleNamespace(model=model), say=print)
    state: Any = SimpleNamespace(model=build_model(model, 2), classes=["sky", "road"], average=None)
    write_embeddings(path, ClassEmbeddings(("road", "sky"), np.ones((2, 6), np.float32)))
    take_embeddings(job, state)
    assert torch.equal(state.model.head.embeddings, torch.ones(2, 6))
    write_embeddings(path, ClassEmbeddings(("road", "sky"), np.ones((2, 7), np.float32)))
    with pytest.raises(
        WeightsError, match=r"embeddings of 7 numbers, those that the run was made with had 6"
    ):
        take_embeddings(job, state)


def test_files_that_are_no_class_embeddings_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    good = {"embeddings": np.ones((2, 4), np.float32)}
    for tensors, classes, told in (
        ({"weight": np.ones(3, np.float32)}, ["a"], "holds no class embeddings"),
        (good, ["a"], "its embeddings are 2x4 for 1 classes"),
        ({"embeddings": np.zeros((2, 4), np.float32)}, ["a", "b"], "NaN, infinite or 0"),
    ):
        save_file(tensors, path, {"classes": json.dumps(classes)})
        with pytest.raises(WeightsError, match=told):
            read_embeddings(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(WeightsError):
        read_embeddings(path)
    with pytest.raises(WeightsError, match="does not exist"):
        read_embeddings(tmp_path / "none.safetensors")


def test_a_text_encoder_embeds_the_names_of_classes_without_a_network(tmp_path: Path) -> None:
    import open_clip

    from engine.models.embed_text import made

    torch.manual_seed(0)
    name, file = "ViT-S-32-alt", tmp_path / "classes.safetensors"
    clip = open_clip.create_model(name, load_weights=False).eval()
    weights = {key: each.numpy() for key, each in clip.state_dict().items() if not key.startswith("visual.")}
    save_file(weights, tmp_path / "clip.safetensors")
    order = {
        "model": name,
        "checkpoint": str(tmp_path / "clip.safetensors"),
        "classes": ["road", "traffic light"],
        "templates": ["a photo of a {}.", "{}"],
        "file": str(file),
    }
    assert made(order)["size"] == 256
    read = read_embeddings(file)
    with torch.inference_mode():
        prompts = open_clip.get_tokenizer(name)(["a photo of a road.", "road"])
        mean = functional.normalize(clip.encode_text(prompts), dim=1).mean(0)
    np.testing.assert_allclose(read.vectors[0], functional.normalize(mean, dim=0).numpy(), atol=1e-6)
    assert read.classes == ("road", "traffic light")

    del weights["ln_final.weight"]
    save_file(weights, tmp_path / "clip.safetensors")
    with pytest.raises(WeightsError, match=r"no text encoder of ViT-S-32-alt: ln_final\.weight is not there"):
        made(order)
    with pytest.raises(WeightsError, match="open_clip has no"):
        made({**order, "model": "ViT-L-15"})
