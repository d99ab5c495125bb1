"""Recipes of ResNet-38."""

from __future__ import annotations

from engine.augment.builtin import AUGMENTATIONS
from engine.config.run_config import RunConfig
from engine.config.sections import DataConfig
from engine.losses.builtin import LOSSES
from engine.models.builtin import ResNet38Config
from engine.optimizers.builtin import SGDConfig
from engine.schedules.builtin import LinearConfig


def resnet38() -> RunConfig:
    """ResNet-38 A1 (Wu et al. 2016) at 256x512 from ImageNet's weights: OHEM, frozen norms, 204 epochs.

    As published: the cross-entropy of pixels whose class has a probability below 0.6, 256 of them at least;
    statistics of batch norm as they came; SGD with momentum 0.9 and weight decay 0.0005, biases at twice the
    rate and without decay; 0.0016 for 140 epochs, then from 0.0008 down to 0 in 64; scale 0.7 to 1.3, batch
    16. It needs init.weights=FILE; without such a file, batch_norm=local trains from scratch. The paper has a
    mean IoU of 0.7808 on Cityscapes' validation images, learned from crops of 500x500 of the full size, which
    do not fit into 256x512. As sides divide by 8 here, data.size=1024x2048 augment.crop=504x504 is near.
    """
    return RunConfig(
        recipe="resnet38",
        epochs=204,
        batch_size=16,
        batch_norm="frozen_statistics",
        data=DataConfig(size=(256, 512), split="official", split_rule="threshold"),
        model=ResNet38Config(variant="a1"),
        optimizer=SGDConfig(lr=0.0016, momentum=0.9, weight_decay=0.0005, bias_lr_factor=2.0),
        schedule=LinearConfig(hold=140.0, fall_from=0.5),
        loss=LOSSES.new(cross_entropy=0.0, ohem=1.0, ohem_threshold=0.6, ohem_min_kept=256),
        augment=AUGMENTATIONS.new(flip=0.5, scale_min=0.7, scale_max=1.3),
    )
