"""Recipes of VLTSeg."""

from __future__ import annotations

from engine.augment.builtin import AUGMENTATIONS
from engine.config.run_config import RunConfig
from engine.config.sections import DataConfig, GalleryConfig, RuntimeConfig
from engine.models.builtin import VLTSegConfig
from engine.optimizers.builtin import AdamWConfig
from engine.schedules.builtin import PolyConfig


def vltseg() -> RunConfig:
    """VLTSeg (Huemmer et al. 2023) on EVA-02-CLIP large: crops of 1024x1024, about 20,000 iterations of 8.

    As published: AdamW at 0.0001 with weight decay 0.05, a tenth of the rate for the backbone, gradients
    clipped at 0.01, a frozen backbone for 1,000 iterations, a warm-up of 500, then (1 - t)^0.9; features of
    blocks 9, 14, 19 and 23, drop path 0.2. 54 epochs of the 2975 training images of Cityscapes are 20,034
    iterations. It starts from CLIP's weights: model.weights=FILE takes those of EVA-CLIP or timm. Without
    them it trains from scratch, which the paper does not. The head is the paper's Mask2Former, with a feature
    pyramid for its pixel decoder; model.head=fpn is the simpler one. The paper has a mean IoU of 0.8483 on
    Cityscapes' validation images; nothing of it was measured here. Activations are computed again
    (runtime.recompute), as a batch of 8 does not fit into 80 GB otherwise.
    """
    return RunConfig(
        recipe="vltseg",
        epochs=54,
        batch_size=8,
        data=DataConfig(size=(1024, 2048), split="official", split_rule="threshold"),
        model=VLTSegConfig(backbone="eva02_large_patch14_clip", drop_path=0.2, head="mask2former"),
        optimizer=AdamWConfig(
            lr=0.0001,
            weight_decay=0.05,
            clip_norm=0.01,
            encoder_lr_factor=0.1,
            freeze_encoder=1000,
        ),
        schedule=PolyConfig(by="iterations", warmup_iterations=500),
        augment=AUGMENTATIONS.new(
            crop="1024x1024", flip=0.5, scale_min=0.5, scale_max=2.0, cat_max_ratio=0.75
        ),
        runtime=RuntimeConfig(recompute=True),
    )


def vltseg_tiny() -> RunConfig:
    """VLTSeg on EVA-02 tiny at 112x224, from scratch: learns something on two CPU cores.

    Vision transformers from scratch want far more images than convolutions do, so this is a recipe to try the
    network, its text head and its weights with. AdamW at 0.0005, a warm-up of one epoch, then poly.
    """
    return RunConfig(
        recipe="vltseg-tiny",
        epochs=20,
        batch_size=8,
        data=DataConfig(size=(112, 224), split_rule="threshold"),
        model=VLTSegConfig(backbone="eva02_tiny_patch14", channels=64),
        optimizer=AdamWConfig(lr=0.0005, weight_decay=0.05, clip_norm=1.0),
        schedule=PolyConfig(by="iterations", warmup_epochs=1),
        augment=AUGMENTATIONS.new(flip=0.5, brightness=0.2, contrast=0.2, saturation=0.2),
        gallery=GalleryConfig(every=5),
    )
