"""What is said to help a network in environments that it has not seen, each with its source.

A remedy is a change to a config. Which of them a config has follows from the config alone, so reports find
the runs that differ in one of them, whoever has made them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.augment.builtin import AUGMENTATIONS
from engine.config.described import config_keys, format_value
from engine.config.run_config import RunConfig

RATE = "optimizer.encoder_lr_factor"
_WEIGHTS = "model.weights"


@dataclass(frozen=True)
class Remedy:
    """`values` are its keys as a study sets them, `plain` as they are without it. One that `needs_weights`
    says something of an encoder whose weights come from a file."""

    name: str
    about: str
    values: Mapping[str, Any]
    plain: Mapping[str, Any] = field(default_factory=dict)
    needs_weights: bool = False

    @property
    def is_known(self) -> bool:
        """Whether this version has its keys."""
        return self.values.keys() <= config_keys().keys()


def _augmentation(**values: Any) -> dict[str, Mapping[str, Any]]:
    """Keys of augmentation, and as they are where nothing is augmented."""
    none = AUGMENTATIONS.new()
    return {
        "values": {f"augment.{key}": value for key, value in values.items()},
        "plain": {f"augment.{key}": getattr(none, key, 0.0) for key in values},
    }


PHOTOMETRIC = Remedy(
    "photometric",
    "random brightness, contrast, saturation, hue and blur, the photometric transformation of Choi et al., "
    "RobustNet, CVPR 2021",
    **_augmentation(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur=0.5),  # type: ignore[arg-type]
)
RANDCONV = Remedy(
    "randconv",
    "random convolutions mixed with the image, Xu et al., Robust and Generalizable Visual Representation "
    "Learning via Random Convolutions, ICLR 2021",
    **_augmentation(randconv=0.5),  # type: ignore[arg-type]
)
MIXSTYLE = Remedy(
    "mixstyle",
    "feature statistics mixed between images, Zhou et al., Domain Generalization with MixStyle, ICLR 2021",
    **_augmentation(mixstyle=0.5),  # type: ignore[arg-type]
)
WEIGHTS = Remedy("weights", "an encoder whose weights come from a file", {}, {}, needs_weights=True)
SLOW = Remedy(
    "slow encoder",
    "that encoder at a tenth of the learning rate, as Hümmer et al., VLTSeg, 2023, train theirs",
    {RATE: 0.1},
    {RATE: 1.0},
    needs_weights=True,
)
FROZEN = Remedy(
    "frozen encoder",
    "that encoder not trained at all, Kumar et al., Fine-Tuning can Distort Pretrained Features and "
    "Underperform Out-of-Distribution, ICLR 2022",
    {RATE: 0.0},
    {RATE: 1.0},
    needs_weights=True,
)

REMEDIES = (PHOTOMETRIC, RANDCONV, MIXSTYLE, WEIGHTS, SLOW, FROZEN)


def known_remedies() -> dict[str, Remedy]:
    """Those that this version can try, by name."""
    return {remedy.name: remedy for remedy in REMEDIES if remedy.is_known}


def without_remedies(config: RunConfig) -> dict[str, Any]:
    """The keys that leave a config without any of them."""
    rate = {RATE: 1.0, "optimizer.freeze_encoder": 0} if hasattr(config.optimizer, "freeze_encoder") else {}
    plain = {key: value for remedy in known_remedies().values() for key, value in remedy.plain.items()}
    weights = {_WEIGHTS: "none"} if "weights" in type(config.model).model_fields else {}
    return {**plain, **rate, **weights}


def remedies_of(flat: Mapping[str, str]) -> tuple[str, ...]:
    """The remedies that a config has, by its dotted keys as they would be typed."""
    found = [
        remedy.name
        for remedy in (PHOTOMETRIC, RANDCONV, MIXSTYLE)
        if any(
            flat.get(key, format_value(plain)) != format_value(plain) for key, plain in remedy.plain.items()
        )
    ]
    if flat.get(_WEIGHTS, "none") == "none" and not flat.get("init.weights"):
        return tuple(found)
    found.append(WEIGHTS.name)
    rate = float(flat.get(RATE, "1") or 1)
    if rate == 0:
        found.append(FROZEN.name)
    elif rate < 1:
        found.append(SLOW.name)
    return tuple(found)


OF_REMEDIES = frozenset({key for remedy in REMEDIES for key in remedy.plain} | {_WEIGHTS, "init.weights"})
"""Keys in which runs differ that have different remedies."""
