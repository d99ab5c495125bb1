"""Peer: the way of torchvision's own training script, references/segmentation of its repository.

Image and label go through one chain of transforms on Pillow images; batches are padded to a common size by
the collate function; the loss is read after each step; the score is a confusion matrix filled by one bincount
a batch. fp32 unless `--amp` was asked for, which is fp16 with a gradient scaler on CUDA, as there. Their
random crop, mirror images and learning rate over time are left out, since nobody else here has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler
from torchvision.transforms import functional as transforms
from torchvision.transforms.functional import InterpolationMode

from benchmarks.peers.protocol import LOADER_WORKERS, VOID, Clock, PairOfFiles, Settings, arguments
from engine.models.unet.network import UNet

Batch = tuple[Tensor, Tensor]
JointTransform = Callable[[Image.Image, Image.Image], Batch]


class JointResize:
    """Resize an image and its label alike, then make tensors of them."""

    def __init__(self, settings: Settings) -> None:
        self.size = list(settings.size)
        self.mean, self.std = list(settings.mean), list(settings.std)
        self.train_ids = torch.tensor(settings.train_ids)

    def __call__(self, image: Image.Image, target: Image.Image) -> Batch:
        image = transforms.resize(image, self.size, antialias=True)
        target = transforms.resize(target, self.size, interpolation=InterpolationMode.NEAREST)
        pixels = transforms.convert_image_dtype(transforms.pil_to_tensor(image), torch.float)
        labels = torch.as_tensor(np.array(target), dtype=torch.int64)
        return transforms.normalize(pixels, mean=self.mean, std=self.std), self.train_ids[labels]


class Streets(Dataset[Batch]):
    """Images [3, H, W] and train ids [H, W]."""

    def __init__(self, pairs: list[PairOfFiles], transform: JointTransform) -> None:
        self.pairs, self.transform = pairs, transform

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Batch:
        image, label = self.pairs[index]
        return self.transform(Image.open(image).convert("RGB"), Image.open(label))


def collate(samples: list[Batch]) -> Batch:
    """A batch of samples of any size: the smaller are padded, images with 0, labels with void."""
    return pad([image for image, _ in samples], 0), pad([label for _, label in samples], VOID)


def pad(tensors: list[Tensor], fill: int) -> Tensor:
    shape = [max(sides) for sides in zip(*(tensor.shape for tensor in tensors), strict=True)]
    batch = tensors[0].new_full((len(tensors), *shape), fill)
    for place, tensor in zip(batch, tensors, strict=True):
        place[..., : tensor.shape[-2], : tensor.shape[-1]].copy_(tensor)
    return batch


class ConfusionMatrix:
    """Counts [C, C] of truth against prediction; a label outside 0..C-1 is not counted."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts: Tensor | None = None

    def update(self, target: Tensor, prediction: Tensor) -> None:
        """`target` and `prediction` int64, flat."""
        if self.counts is None:
            self.counts = torch.zeros((self.classes, self.classes), dtype=torch.int64, device=target.device)
        with torch.inference_mode():
            known = (target >= 0) & (target < self.classes)
            cells = self.classes * target[known] + prediction[known]
            self.counts += torch.bincount(cells, minlength=self.classes**2).reshape(
                self.classes, self.classes
            )

    def dice(self) -> float:
        """Mean over the classes that occur. Their script prints IoU, and a mean of it that is NaN as soon as
        a class is in neither truth nor prediction; Dice is added here from the same counts."""
        assert self.counts is not None
        counts = self.counts.double()
        size = counts.sum(1) + counts.sum(0)
        return float((2 * counts.diag() / size)[size > 0].mean())


def dice(batches: Iterable[Batch], classes: int) -> float:
    """Dice of (prediction, target) pairs, both int64 [B, H, W]."""
    matrix = ConfusionMatrix(classes)
    for prediction, target in batches:
        matrix.update(target.flatten(), prediction.flatten())
    return matrix.dice()


def loaders(settings: Settings) -> tuple[DataLoader[Batch], DataLoader[Batch]]:
    transform = JointResize(settings)
    train, val = Streets(settings.train, transform), Streets(settings.val, transform)
    size = settings.batch_size
    return (
        DataLoader(train, size, sampler=RandomSampler(train), num_workers=LOADER_WORKERS, collate_fn=collate),
        DataLoader(val, size, sampler=SequentialSampler(val), num_workers=LOADER_WORKERS, collate_fn=collate),
    )


def criterion(outputs: dict[str, Tensor], target: Tensor) -> Tensor:
    """Cross-entropy of the main output, and of an auxiliary one at half weight where a network has it."""
    losses = {
        name: nn.functional.cross_entropy(logits, target, ignore_index=VOID)
        for name, logits in outputs.items()
    }
    return losses["out"] + 0.5 * losses["aux"] if "aux" in losses else losses["out"]


def main() -> None:
    settings, folder = arguments()
    clock = Clock(folder, "fp16 (--amp)" if settings.amp else "fp32")
    device = torch.device(settings.device)
    torch.manual_seed(settings.seed)
    train_loader, val_loader = loaders(settings)
    model = UNet(3, settings.classes, settings.width).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=0.0)
    scaler = torch.amp.GradScaler(device.type, enabled=settings.amp)

    seen = 0
    for epoch in range(1, settings.epochs + 1):
        model.train()
        for images, target in train_loader:
            images, target = images.to(device), target.to(device)
            with torch.autocast(device.type, dtype=torch.float16, enabled=settings.amp):
                loss = criterion({"out": model(images)}, target)
            optimizer.zero_grad()
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
            loss.item()  # for their log, a line every ten batches
            seen += len(images)
        clock.trained()

        model.eval()
        matrix = ConfusionMatrix(settings.classes)
        with torch.inference_mode():
            for images, target in val_loader:
                images, target = images.to(device), target.to(device)
                matrix.update(target.flatten(), model(images).argmax(1).flatten())
        clock.validated(epoch, seen, matrix.dice())
        print(f"epoch {epoch}: val dice {matrix.dice():.4f}", flush=True)


if __name__ == "__main__":
    main()
