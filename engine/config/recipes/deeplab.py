"""Recipes of DeepLab."""

from __future__ import annotations

from engine.augment.builtin import AUGMENTATIONS
from engine.config.run_config import RunConfig
from engine.config.sections import DataConfig
from engine.models.builtin import DeepLabLargeFOVConfig
from engine.optimizers.builtin import SGDConfig
from engine.schedules.builtin import PolyConfig


def deeplab() -> RunConfig:
    """DeepLab-LargeFOV (Chen et al. 2017) at 256x512: SGD, poly, about 20,000 iterations of 10 images.

    As published: momentum 0.9, weight decay 0.0005, a rate of 0.001, ten times as much for the classifier and
    twice as much for biases, which do not decay; (1 - t)^0.9 after every iteration. 67 epochs of the 2975
    training images of Cityscapes are 19,966 iterations. It was trained from VGG16's weights of ImageNet:
    init.weights=FILE takes torchvision's or timm's. Without them it learns slowly and not as well. The
    published crops do not fit into 256x512; data.size=1024x2048 augment.crop=321x321 has them.
    """
    return RunConfig(
        recipe="deeplab",
        epochs=67,
        batch_size=10,
        data=DataConfig(size=(256, 512), split="official", split_rule="threshold"),
        model=DeepLabLargeFOVConfig(),
        optimizer=SGDConfig(
            lr=0.001, momentum=0.9, weight_decay=0.0005, head_lr_factor=10.0, bias_lr_factor=2.0
        ),
        schedule=PolyConfig(by="iterations"),
        augment=AUGMENTATIONS.new(flip=0.5),
    )
