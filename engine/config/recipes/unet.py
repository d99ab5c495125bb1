"""Recipes of U-Net."""

from __future__ import annotations

from engine.augment.builtin import AUGMENTATIONS
from engine.config.run_config import RunConfig
from engine.config.sections import STUDY_SEED, DataConfig, GalleryConfig
from engine.models.builtin import UNetConfig
from engine.optimizers.builtin import AdamWConfig, SGDConfig
from engine.schedules.builtin import CosineConfig


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
        data=DataConfig(
            size=(128, 128), split="random", val_fraction=0.2, split_seed=STUDY_SEED, split_rule="rank"
        ),
        model=UNetConfig(width=64),
        optimizer=SGDConfig(lr=0.001),
    )


def quick() -> RunConfig:
    """A narrow U-Net that learns something within a minute on two CPU cores; used by `make demo`.

    16 channels at 96x192, AdamW with a cosine schedule and mirror images: for a first look at a new data set.
    """
    return RunConfig(
        recipe="quick",
        epochs=12,
        batch_size=8,
        data=DataConfig(size=(96, 192), split_rule="threshold"),
        model=UNetConfig(width=16),
        optimizer=AdamWConfig(lr=0.003, weight_decay=0.01),
        schedule=CosineConfig(warmup_epochs=0.5),
        augment=AUGMENTATIONS.new(flip=0.5),
        gallery=GalleryConfig(every=4),
    )
