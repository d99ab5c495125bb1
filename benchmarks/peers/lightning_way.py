"""Peer: PyTorch Lightning with torchmetrics, set up with care.

Mixed precision in bf16 where the hardware has it, loader processes that outlive the epoch, cuDNN's benchmark
left to Lightning's default, checkpoints and the CSV log as Lightning writes them; the sanity check and the
progress bar are off.

Dice is torchmetrics' macro F1, which is the same number and can leave void out. Its `DiceScore` cannot: see
`dice_score_metric`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import lightning
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassF1Score, MulticlassJaccardIndex
from torchmetrics.segmentation import DiceScore
from torchvision import transforms

from benchmarks.peers.protocol import LOADER_WORKERS, VOID, Clock, PairOfFiles, Settings, arguments
from engine.models.unet.network import UNet

Batch = tuple[Tensor, Tensor]


class Streets(Dataset[Batch]):
    """Images [3, H, W] and train ids [H, W]."""

    def __init__(self, pairs: list[PairOfFiles], settings: Settings) -> None:
        self.pairs = pairs
        self.train_ids = np.array(settings.train_ids, dtype=np.int64)
        size = list(settings.size)
        self.image_transform = transforms.Compose(
            [
                transforms.Resize(size, transforms.InterpolationMode.BILINEAR),
                transforms.ToTensor(),
                transforms.Normalize(settings.mean, settings.std),
            ]
        )
        self.label_transform = transforms.Resize(size, transforms.InterpolationMode.NEAREST)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Batch:
        image_path, label_path = self.pairs[index]
        image = self.image_transform(Image.open(image_path).convert("RGB"))
        label = np.array(self.label_transform(Image.open(label_path)))
        return image, torch.from_numpy(self.train_ids[label])


def metrics(classes: int) -> MetricCollection:
    return MetricCollection(
        {
            "dice": MulticlassF1Score(classes, average="macro", ignore_index=VOID),
            "iou": MulticlassJaccardIndex(classes, average="macro", ignore_index=VOID),
        }
    )


def dice(batches: Iterable[Batch], classes: int) -> float:
    """Dice of (prediction, target) pairs, both int64 [B, H, W]."""
    metric = MulticlassF1Score(classes, average="macro", ignore_index=VOID)
    for prediction, target in batches:
        metric.update(prediction.cpu(), target.cpu())
    return float(metric.compute())


def dice_score_metric(batches: Iterable[Batch], classes: int) -> float:
    """torchmetrics' own `DiceScore`, which knows no void: here void is one class more, never predicted.

    Void pixels then count as mistakes of whatever was predicted there, and the void class itself as a 0 in
    the mean.
    """
    metric = DiceScore(classes + 1, average="macro", aggregation_level="global", input_format="index")
    for prediction, target in batches:
        metric.update(prediction.cpu(), target.cpu().where(target.cpu() != VOID, classes))
    return float(metric.compute())


class Segmentation(lightning.LightningModule):
    def __init__(self, settings: Settings, clock: Clock) -> None:
        super().__init__()
        self.settings, self.clock, self.seen = settings, clock, 0
        self.net = UNet(3, settings.classes, settings.width)
        self.val_metrics = metrics(settings.classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: Batch, index: int) -> Tensor:
        images, labels = batch
        loss = functional.cross_entropy(self(images), labels, ignore_index=VOID)
        self.log("train_loss", loss, on_epoch=True, batch_size=len(images))
        self.seen += len(images)
        return loss

    def on_validation_start(self) -> None:
        self.clock.trained()

    def validation_step(self, batch: Batch, index: int) -> None:
        images, labels = batch
        logits = self(images)
        loss = functional.cross_entropy(logits, labels, ignore_index=VOID)
        self.log("val_loss", loss, batch_size=len(images))
        self.val_metrics.update(logits.argmax(1), labels)

    def on_validation_epoch_end(self) -> None:
        values = self.val_metrics.compute()
        self.val_metrics.reset()
        self.log_dict(values)
        self.clock.validated(self.current_epoch + 1, self.seen, float(values["dice"]))
        print(f"epoch {self.current_epoch + 1}: val dice {float(values['dice']):.4f}", flush=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.settings.lr, weight_decay=0.0)


def loaders(settings: Settings) -> tuple[DataLoader[Batch], DataLoader[Batch]]:
    size = settings.batch_size
    pinned = settings.device != "cpu"
    train = DataLoader(
        Streets(settings.train, settings),
        batch_size=size,
        shuffle=True,
        num_workers=LOADER_WORKERS,
        persistent_workers=True,
        pin_memory=pinned,
    )
    val = DataLoader(
        Streets(settings.val, settings),
        batch_size=size,
        num_workers=LOADER_WORKERS,
        persistent_workers=True,
        pin_memory=pinned,
    )
    return train, val


def train(settings: Settings, folder: Path) -> None:
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed" if settings.has_bf16 else "32-true"
    clock = Clock(folder, precision)
    lightning.seed_everything(settings.seed)
    train_loader, val_loader = loaders(settings)
    model = Segmentation(settings, clock)
    trainer = lightning.Trainer(
        accelerator="cpu" if settings.device == "cpu" else "gpu",
        devices=1,
        precision=precision,
        max_epochs=settings.epochs,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_progress_bar=False,
    )
    trainer.fit(model, train_loader, val_loader)


if __name__ == "__main__":
    train(*arguments())
