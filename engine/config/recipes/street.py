"""Recipes of street scenes: from scratch, from two CPU cores to one GPU."""

from __future__ import annotations

from engine.augment.builtin import AUGMENTATIONS
from engine.config.run_config import RunConfig
from engine.config.sections import DataConfig, EmaConfig, ValidationConfig
from engine.losses.builtin import LOSSES
from engine.models.builtin import StreetNetConfig
from engine.optimizers.builtin import AdamWConfig, SGDConfig
from engine.schedules.builtin import CosineConfig, PolyConfig


def street_fast() -> RunConfig:
    """A small StreetNet for two CPU cores: about an hour on CamVid, from scratch.

    1.9 million parameters, crops of 192x256 of images at 240x320, 200 epochs: with the 367 training images of
    CamVid 73,400 crops. Cross-entropy and soft Dice, AdamW at 0.003 with warm-up and cosine, scale 0.5 to 2,
    changes of colour, half of each epoch chosen class by class, an average of the weights. For images that
    are twice as wide as high, take data.size=192x384 augment.crop=160x320.
    """
    return RunConfig(
        recipe="street-fast",
        epochs=200,
        batch_size=8,
        data=DataConfig(size=(240, 320), split="official", split_rule="threshold", class_uniform=0.5),
        model=StreetNetConfig(width=16, head_stride=2, deep_supervision=1),
        optimizer=AdamWConfig(lr=0.003, weight_decay=0.01),
        schedule=CosineConfig(warmup_epochs=2),
        loss=LOSSES.new(dice=1.0),
        augment=AUGMENTATIONS.new(
            crop="192x256",
            scale_min=0.5,
            scale_max=2.0,
            cat_max_ratio=0.75,
            flip=0.5,
            brightness=0.3,
            contrast=0.3,
            saturation=0.3,
        ),
        ema=EmaConfig(decay=0.998),
        validation=ValidationConfig(every=5),
    )


def street() -> RunConfig:
    """StreetNet on Cityscapes at full size, from scratch on one GPU: crops of 512x1024, 500 epochs.

    7.6 million parameters. OHEM, SGD at 0.05 with warm-up and poly, scale 0.4 to 1.6, half of each epoch
    chosen class by class: mostly the settings of RegSeg (Gao 2021), which reaches a mean IoU of 0.782 on the
    validation images of Cityscapes from scratch in 1,000 epochs. Not measured here: docs/recipes.md says what
    it costs by its arithmetic.
    """
    return RunConfig(
        recipe="street",
        epochs=500,
        batch_size=8,
        data=DataConfig(size=(1024, 2048), split="official", split_rule="threshold", class_uniform=0.5),
        model=StreetNetConfig(width=32, deep_supervision=1),
        optimizer=SGDConfig(lr=0.05, momentum=0.9, weight_decay=0.0001),
        schedule=PolyConfig(by="iterations", warmup_iterations=3000),
        loss=LOSSES.new(cross_entropy=0.0, ohem=1.0, ohem_threshold=0.7, ohem_min_kept=100_000),
        augment=AUGMENTATIONS.new(
            crop="512x1024",
            scale_min=0.4,
            scale_max=1.6,
            cat_max_ratio=0.75,
            flip=0.5,
            brightness=0.3,
            contrast=0.3,
            saturation=0.3,
        ),
        ema=EmaConfig(decay=0.999),
        validation=ValidationConfig(every=10),
    )


def street_max() -> RunConfig:
    """StreetNet on ResNet-34's encoder, for Cityscapes on one GPU; takes ImageNet's weights from a file.

    22 million parameters. init.weights=resnet34.pth starts from ImageNet's weights, a file of torchvision or
    timm; then take a lower rate, optimizer.lr=0.01. All else as in `street`. Not measured here.
    """
    config = street().model_dump()
    model = {"name": "street_net", "encoder": "resnet34", "width": 64, "deep_supervision": 1}
    return RunConfig.model_validate({**config, "recipe": "street-max", "model": model})
