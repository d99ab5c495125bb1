"""Peer: a plain PyTorch script, as one writes it from the tutorials.

The PNG files are opened and resized whenever they are needed, by two DataLoader processes; fp32, torch's and
glibc's defaults, Dice counted class by class in NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.peers.protocol import LOADER_WORKERS, VOID, Clock, PairOfFiles, Settings, arguments
from engine.models.unet.network import UNet


class Streets(Dataset[tuple[Tensor, Tensor]]):
    """Images [3, H, W] and train ids [H, W]."""

    def __init__(self, pairs: list[PairOfFiles], settings: Settings) -> None:
        self.pairs = pairs
        self.height, self.width = settings.size
        self.train_ids = np.array(settings.train_ids, dtype=np.int64)
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(settings.mean, settings.std)]
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image_path, label_path = self.pairs[index]
        image = Image.open(image_path).convert("RGB")
        image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        label = Image.open(label_path).resize((self.width, self.height), Image.Resampling.NEAREST)
        return self.transform(image), torch.from_numpy(self.train_ids[np.array(label)])


class Dice:
    """Mean over classes of 2TP / (2TP + FP + FN), pooled over all pixels that are not void."""

    def __init__(self, classes: int) -> None:
        self.true_positive = np.zeros(classes)
        self.false_positive = np.zeros(classes)
        self.false_negative = np.zeros(classes)

    def add(self, prediction: NDArray[np.int64], target: NDArray[np.int64]) -> None:
        valid = target != VOID
        for c in range(len(self.true_positive)):
            predicted, true = (prediction == c) & valid, target == c
            self.true_positive[c] += (predicted & true).sum()
            self.false_positive[c] += (predicted & ~true).sum()
            self.false_negative[c] += (~predicted & true).sum()

    def value(self) -> float:
        size = 2 * self.true_positive + self.false_positive + self.false_negative
        there = size > 0
        return float((2 * self.true_positive[there] / size[there]).mean())


def dice(batches: Iterable[tuple[Tensor, Tensor]], classes: int) -> float:
    """Dice of (prediction, target) pairs, both int64 [B, H, W]."""
    score = Dice(classes)
    for prediction, target in batches:
        score.add(prediction.cpu().numpy(), target.cpu().numpy())
    return score.value()


def loaders(
    settings: Settings,
) -> tuple[DataLoader[tuple[Tensor, Tensor]], DataLoader[tuple[Tensor, Tensor]]]:
    size = settings.batch_size
    train = DataLoader(
        Streets(settings.train, settings), batch_size=size, shuffle=True, num_workers=LOADER_WORKERS
    )
    return train, DataLoader(Streets(settings.val, settings), batch_size=size, num_workers=LOADER_WORKERS)


def main() -> None:
    settings, folder = arguments()
    clock = Clock(folder, "fp32")
    device = torch.device(settings.device)
    torch.manual_seed(settings.seed)
    train_loader, val_loader = loaders(settings)
    model = UNet(3, settings.classes, settings.width).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=0.0)
    criterion = nn.CrossEntropyLoss(ignore_index=VOID)

    seen = 0
    for epoch in range(1, settings.epochs + 1):
        model.train()
        total = 0.0
        for images, labels in train_loader:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(images)
            seen += len(images)
        clock.trained()

        model.eval()
        score = Dice(settings.classes)
        with torch.no_grad():
            for images, labels in val_loader:
                prediction = model(images.to(device)).argmax(1)
                score.add(prediction.cpu().numpy(), labels.numpy())
        clock.validated(epoch, seen, score.value())
        print(
            f"epoch {epoch}: loss {total / len(settings.train):.4f}, val dice {score.value():.4f}", flush=True
        )


if __name__ == "__main__":
    main()
