"""The recipes: named, documented configs. A recipe is a function without arguments and its docstring.

`seg-engine recipes` shows the first line of each docstring, `seg-engine recipes show NAME` the rest.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from engine.config import (
    STUDY_SEED,
    AugmentConfig,
    DataConfig,
    GalleryConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
    UNetConfig,
)


class UnknownRecipe(ValueError):
    """No recipe has that name; the message names the nearest."""


def paper_unet() -> RunConfig:
    """The study's baseline: U-Net of 2015 at 128x128, SGD, 60 epochs.

    80/20 split of the training folder with the study's seed, cross-entropy, batch 64 and plain SGD at
    0.001: the study states no momentum, so there is none. On the 2975 training images of Cityscapes the
    study reports a mean Dice (train/val) of 0.21858/0.22154 after 25 epochs, 0.25815/0.26083 after 35 and
    0.31615/0.31719 after 60. On a small data set take a smaller batch (batch_size=8): the number of
    steps, not of epochs, is what SGD lives on.
    """
    return RunConfig(
        recipe="paper-unet",
        seed=STUDY_SEED,
        epochs=60,
        batch_size=64,
        data=DataConfig(size=(128, 128), split="random", val_fraction=0.2, split_seed=STUDY_SEED),
        model=UNetConfig(width=64),
        optimizer=OptimizerConfig(name="sgd", lr=0.001),
    )


def quick() -> RunConfig:
    """A narrow U-Net that learns something within a minute on two CPU cores; used by `make demo`.

    16 channels at 96x192, AdamW with a cosine schedule and mirror images: for a first look at a new data set.
    """
    return RunConfig(
        recipe="quick",
        epochs=12,
        batch_size=8,
        data=DataConfig(size=(96, 192)),
        model=UNetConfig(width=16),
        optimizer=OptimizerConfig(name="adamw", lr=0.003, weight_decay=0.01),
        schedule=ScheduleConfig(name="cosine", warmup_epochs=0.5),
        augment=AugmentConfig(flip=0.5),
        gallery=GalleryConfig(every=4),
    )


RECIPES: dict[str, Callable[[], RunConfig]] = {
    "paper-unet": paper_unet,
    "quick": quick,
}


def get_recipe(name: str) -> RunConfig:
    """The config of a recipe. Raises UnknownRecipe."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(RECIPES)}"
        raise UnknownRecipe(f"{name}: no such recipe; {hint}")
    return RECIPES[name]()
