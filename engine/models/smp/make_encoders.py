"""Makes encoders.json, the list of encoders that front ends read without torch.

    python -m engine.models.smp.make_encoders [--jobs N]

Each encoder of segmentation_models_pytorch and each network of timm is built on the meta device and tried:
what maps it has, what sizes it takes, which output strides it can be dilated to, and where its batch norms
are. An encoder that neither kind of decoder can use is left out. Takes about half an hour on two cores; what
is known already is kept unless `--anew` is given, but for the weights.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import warnings
from collections.abc import Callable
from itertools import chain
from multiprocessing import get_context
from types import SimpleNamespace
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from segmentation_models_pytorch.encoders import get_encoder, timm_universal
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from engine.models.pretrained import IMAGENET, NORMALISATIONS
from engine.models.smp.encoders import FILE, FLOPS_SIZE

MULTIPLES = (32, 64, 128, 224, 256, 384)
"""What the sides of an image may have to be multiples of; the first that works is noted."""
DPT_MULTIPLES = (1, 2, 4, 8)
"""The same for DPT, in patches."""
LEVELS = 5
TRIED_SIZE = (288, 480)
"""Height and width of the image that is tried, or the nearest that suits: odd multiples of 32."""

OPTIONS: tuple[dict[str, Any], ...] = ({}, {"dynamic_img_size": True}, {"strict_img_size": False})
"""Options of timm without which some networks take one size only; the first that works is noted."""

TORCHVISION, NO_COMMERCE = "bsd-3-clause", "cc-by-nc-4.0"
SMP_LICENCES = {
    "mit_b": "nvidia-noncommercial",
    "mobileone": "apple",
    "resnet": TORCHVISION,
    "resnext50": TORCHVISION,
    "resnext101_32x8d": TORCHVISION,
    "vgg": TORCHVISION,
    "densenet": TORCHVISION,
    "mobilenet_v2": TORCHVISION,
    "efficientnet": "apache-2.0",
    "timm-": "apache-2.0",
}
"""Licences of the weights that smp names, by how an encoder's name begins; "" where it is not known."""
SMP_WEIGHTS_LICENCES = {"ssl": NO_COMMERCE, "swsl": NO_COMMERCE, "instagram": NO_COMMERCE}

SMP_NORMALISATIONS = {
    ("efficientnet-", "advprop"): "inception",
    ("timm-efficientnet-", "advprop"): "inception",
    ("timm-tf_efficientnet_lite", ""): "inception",
    ("inception", ""): "inception",
    ("xception", ""): "inception",
    ("dpn", ""): "dpn",
}
"""How weights that smp names want images normalised, by how the encoder's name begins and a part of theirs,
as timm has it of the same weights; the others as ImageNet's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--anew", action="store_true", help="try again what is in the list")
    wanted = parser.parse_args()
    names = [*smp_encoders, *(f"tu-{name}" for name in timm.list_models())]
    known = {} if wanted.anew else known_entries()
    left = [name for name in names if name not in known]
    facts = {family_of(name): facts_in(entry) for name, entry in known.items() if "only_dpt" not in entry}
    with get_context("spawn").Pool(wanted.jobs, FAMILIES.update, (facts,)) as pool:
        for done, (name, entry) in enumerate(pool.imap(described, left, chunksize=4), start=1):
            print(f"{done}/{len(left)} {name}: {'left out' if entry is None else entry}", flush=True)
            if entry is not None:
                known[name] = entry
            if done % 50 == 0:
                write(known)
    for name, entry in known.items():
        entry.pop("normalisations", None)
        entry.update(weights_entry(name))
    write({name: known[name] for name in names if name in known})


def known_entries() -> dict[str, Any]:
    if not FILE.exists():
        return {}
    known: dict[str, Any] = json.loads(FILE.read_text())["encoders"]
    return known


def facts_in(entry: dict[str, Any]) -> dict[str, Any]:
    """The part of an entry that is that of its family."""
    return {key: entry[key] for key in ("dilates", "fine", "no_depth_3") if key in entry}


def write(entries: dict[str, Any]) -> None:
    """One encoder a line, so that what an update changes can be read."""
    head = {"segmentation_models_pytorch": smp.__version__, "timm": timm.__version__}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items())
    FILE.write_text(f'{{"made_with": {json.dumps(head)},\n"encoders": {{\n{lines}\n}}}}\n')


def described(name: str) -> tuple[str, dict[str, Any] | None]:
    """An encoder's entry; None for one that no decoder can use."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if not isinstance(timm_universal.timm, SimpleNamespace):
        timm_universal.timm = SimpleNamespace(create_model=create_once(timm.create_model))
    return name, entry_of(name)


def entry_of(name: str) -> dict[str, Any] | None:
    """What is known of an encoder; None when no decoder can use it."""
    entry = levels_of(name) or (dpt_of(name) if name.startswith("tu-") else {})
    return {**entry, **weights_entry(name)} if entry else None


def levels_of(name: str) -> dict[str, Any]:
    """An encoder as those decoders use it that fuse maps of rising stride; empty when it is none."""
    for options in OPTIONS if name.startswith("tu-") else OPTIONS[:1]:
        encoder = built(name, options)
        if encoder is None and not options:
            return {}  # its maps are of other strides
        for multiple in () if encoder is None else MULTIPLES:
            if multiple > 2**LEVELS and not has_levels(encoder, 2**LEVELS, multiple):
                continue  # the size below suits windows that others do not
            facts = measured(encoder, multiple)
            if facts is not None:
                break
        else:
            continue
        break
    else:
        return {}
    entry: dict[str, Any] = {
        "params": sum(each.numel() for each in encoder.parameters()),
        "gflops": facts[0],
        "channels": list(encoder.out_channels),
    }
    if multiple != 2**LEVELS:
        entry["multiple"] = multiple
    if options:
        entry["options"] = options
    if facts[1]:
        entry["norm"] = facts[1]
    family = family_of(name)
    if family not in FAMILIES:
        FAMILIES[family] = changed_forms(name, options, multiple)
    return {**entry, **FAMILIES[family]}


FAMILIES: dict[tuple[str, str], dict[str, Any]] = {}
"""What is known of dilation and depth of the networks of a family: it is a matter of their code."""


def family_of(name: str) -> tuple[str, str]:
    """The networks of one file whose names begin with the same word; each of smp's is tried by itself."""
    if not name.startswith("tu-"):
        return "", name
    module = timm.models.model_entrypoint(name[3:]).__module__
    word = re.match("[a-z]+", name[3:])
    return module, word[0] if word else name


def changed_forms(name: str, options: dict[str, Any], multiple: int) -> dict[str, Any]:
    """What an encoder can be dilated to, and whether it can be cut off at stride 8."""
    facts: dict[str, Any] = {}
    dilated = {stride: built(name, options, output_stride=stride) for stride in (8, 16)}
    for key, sides in (("dilates", (multiple, multiple)), ("fine", (8, 16))):
        works = [
            stride
            for stride, each in dilated.items()
            if each is not None and has_levels(each, stride, sides[stride == 16])
        ]
        if works:
            facts[key] = works
    short = built(name, options, depth=3)
    if short is None or not has_levels(short, 8, multiple):
        facts["no_depth_3"] = True
    return facts


def dpt_of(name: str) -> dict[str, Any]:
    """An encoder as DPT uses it; empty when it cannot."""
    for options in ({"dynamic_img_size": True}, {}):
        with torch.device("meta"):
            try:
                network = smp.DPT(name, encoder_weights=None, classes=2, **options)
            except Exception:
                continue
        patch = max(int(stride) for stride in network.encoder.output_strides)
        for multiple in [patch * times for times in DPT_MULTIPLES]:
            if all(
                dpt_works(network, *size)
                for size in ((3 * multiple, 5 * multiple), (8 * multiple, 6 * multiple))
            ):
                encoder = network.encoder
                facts = measured(encoder, multiple, 0)
                return {
                    "params": sum(each.numel() for each in encoder.parameters()),
                    "gflops": facts[0] if facts is not None else 0.0,
                    "channels": list(encoder.out_channels),
                    "only_dpt": True,
                    "dpt": multiple,
                    **({"dpt_options": options} if options else {}),
                    **({"dpt_no_prefix": True} if not encoder.has_prefix_tokens else {}),
                }
    return {}


def create_once(create: Callable[..., Any]) -> Callable[..., Any]:
    """timm's `create_model`, for encoders of smp: it builds each network twice, the first time to look at its
    strides; where the second is no other, it gets the first again."""
    last: dict[str, Any] = {}

    def create_model(name: str, **options: Any) -> Any:
        wanted = {key: value for key, value in options.items() if key != "pretrained"}
        if options == {"features_only": True}:
            last.clear()
            last[name] = create(name, **options)
            return last[name]
        known = last.pop(name, None)
        usual = known is not None and wanted == {
            "in_chans": 3,
            "features_only": True,
            "out_indices": tuple(known.feature_info.out_indices),
        }
        return known if usual else create(name, **options)

    return create_model


def built(name: str, options: dict[str, Any], **more: Any) -> Any:
    """An encoder on the meta device; None when it cannot be built. Some can be built on the CPU only."""
    for device in ("meta", "cpu"):
        with torch.device(device):
            try:
                return get_encoder(name, weights=None, **{"depth": LEVELS, **more}, **options).to("meta")
            except NotImplementedError:  # what it asks of a tensor the meta device does not know
                continue
            except Exception as error:
                if "meta" not in str(error):
                    return None
    return None


def has_levels(encoder: Any, deepest: int, multiple: int) -> bool:
    """Whether images whose sides are multiples of `multiple` give maps at strides 1, 2, 4 and so on."""
    height, width = (3, 5) if multiple <= 128 else (2, 3)
    return maps_fit(encoder, multiple * height, multiple * width, deepest)


def maps_fit(encoder: Any, height: int, width: int, deepest: int, images: int = 2) -> bool:
    maps = tried(encoder, height, width, images)
    channels = list(encoder.out_channels)
    return (
        isinstance(maps, list | tuple)
        and [each.shape[1] for each in maps] == channels
        and all(
            tuple(each.shape[2:]) == (height // stride, width // stride)
            for each, stride in zip(maps, strides(len(maps), deepest), strict=True)
        )
    )


def strides(count: int, deepest: int) -> list[int]:
    return [min(2**level, deepest) for level in range(count)]


def tried(network: nn.Module, height: int, width: int, images: int = 2) -> Any:
    """What a network makes of images on the meta device; None when it fails."""
    try:
        with torch.no_grad():
            return network.eval()(torch.empty(images, 3, height, width, device="meta"))
    except Exception:
        return None


def dpt_works(network: nn.Module, height: int, width: int) -> bool:
    made = tried(network, height, width)
    return isinstance(made, Tensor) and tuple(made.shape) == (2, 2, height, width)


def measured(encoder: Any, multiple: int, deepest: int = 2**LEVELS) -> tuple[float, int] | None:
    """GFLOPs of one image of FLOPS_SIZE, a multiply-add as two, by area where an encoder takes no such size;
    and the stride of the smallest map that a batch norm sees, -1 for one of one pixel whatever the image's
    size, 0 without batch norm. None unless its maps are at strides up to `deepest`; 0: whatever they are."""
    seen: list[tuple[int, int]] = []

    def look(part: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(tuple(given[0].shape[2:]) if given[0].ndim == 4 else (1, 1))  # type: ignore[arg-type]

    norms = [part for part in encoder.modules() if isinstance(part, _BatchNorm)]
    hooks = [part.register_forward_pre_hook(look) for part in norms]
    wanted = FLOPS_SIZE[0] * FLOPS_SIZE[1]
    height, width = (max(1, round(side / multiple)) * multiple for side in TRIED_SIZE)
    counter = FlopCounterMode(display=False)
    with counter:
        fits = (
            maps_fit(encoder, height, width, deepest, images=1)
            if deepest
            else tried(encoder, height, width, 1)
        )
    for hook in hooks:
        hook.remove()
    if not fits:
        return None
    flops = float(f"{counter.get_total_flops() * wanted / (height * width) / 1e9:.4g}")
    smallest = min(seen, default=(0, 0))
    return flops, 0 if not seen else -1 if smallest == (1, 1) else height // smallest[0]


def weights_entry(name: str) -> dict[str, Any]:
    """The part of an entry that is about weights."""
    weights = weights_of(name)
    wanted = {each: normalisation_by_makers(name, each) for each in weights}
    unusual = {each: how for each, how in wanted.items() if how != IMAGENET}
    return {"weights": weights, **({"normalisations": unusual} if unusual else {})}


def normalisation_by_makers(name: str, weights: str) -> str:
    """How the makers of weights want images normalised. Raises LookupError where NORMALISATIONS lacks it."""
    if not name.startswith("tu-"):
        found = (
            wanted
            for (start, of), wanted in SMP_NORMALISATIONS.items()
            if name.startswith(start) and of in weights
        )
        return next(found, IMAGENET)
    about = timm.get_pretrained_cfg(f"{name[3:]}.{weights}")
    assert about is not None
    for known, values in NORMALISATIONS.items():
        pairs = zip((*about.mean, *about.std), chain(*values), strict=True)
        if all(math.isclose(one, other, abs_tol=1e-4) for one, other in pairs):
            return known
    raise LookupError(f"{name}.{weights}: mean {about.mean}, std {about.std} are not in NORMALISATIONS")


def weights_of(name: str) -> dict[str, str]:
    """The weights that an encoder has by name, and their licences; the usual ones first."""
    if not name.startswith("tu-"):
        licence = next((word for start, word in SMP_LICENCES.items() if name.startswith(start)), "")
        return {
            weights: SMP_WEIGHTS_LICENCES.get(weights, licence)
            for weights in smp_encoders[name]["pretrained_settings"]
        }
    known: dict[str, str] = {}
    for full in timm.list_models(f"{name[3:]}.*", pretrained=True):
        about = timm.get_pretrained_cfg(full)
        known[full.partition(".")[2]] = str(about.license or "") if about is not None else ""
    usual = timm.get_pretrained_cfg(name[3:])
    first_tag = usual.tag if usual is not None else ""
    return dict(sorted(known.items(), key=lambda item: item[0] != first_tag))


if __name__ == "__main__":
    main()
