"""How long the confusion matrices of a batch take, and how long other ways to count them take.

    python benchmarks/metrics_speed.py
    python benchmarks/metrics_speed.py --threads 1 --repeats 30
    python benchmarks/metrics_speed.py --device cuda

Every way has to give the same counts before it is timed. Times are medians of wall-clock
milliseconds; the ratio is to the engine's own with a uint8 prediction.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from engine.classes import VOID
from engine.metrics.confusion import ConfusionSum, confusion_per_image

CLASSES = 19
SHAPES = ((64, 128, 128), (8, 256, 512), (1, 1024, 2048))
Counter = Callable[[Tensor, Tensor, int], Tensor]


def example(shape: tuple[int, int, int], device: str) -> tuple[Tensor, Tensor]:
    """A prediction and a target in patches of 16 pixels; 10% is predicted wrong, 5% is void in truth.

    Patches, because equal neighbours are what label maps have and what counting is slow on: each
    addition waits for the one before it to the same cell.
    """
    random = torch.Generator().manual_seed(0)
    batch, height, width = shape
    patches = torch.randint(0, CLASSES, (batch, height // 16, width // 16), generator=random)
    target = patches.repeat_interleave(16, 1).repeat_interleave(16, 2)
    wrong = torch.rand(shape, generator=random) < 0.10
    void = torch.rand(shape, generator=random) < 0.05
    prediction = torch.where(wrong, torch.randint(0, CLASSES, shape, generator=random), target)
    return prediction.to(device), torch.where(void, VOID, target).to(torch.uint8).to(device)


def combined_index(prediction: Tensor, target: Tensor, classes: int) -> tuple[Tensor, int]:
    """The cell of each pixel in int64, void truth in an extra cell an image; and the cells an image."""
    columns = torch.where(prediction == VOID, classes, prediction.long())
    cell = torch.where(target == VOID, classes * (classes + 1), target.long() * (classes + 1) + columns)
    cells = classes * (classes + 1) + 1
    first = torch.arange(len(cell), device=cell.device) * cells
    return (cell + first.view(-1, 1, 1)).flatten(), cells


def without_extra_cell(counts: Tensor, cells: int, classes: int) -> Tensor:
    return counts.view(-1, cells)[:, :-1].reshape(-1, classes, classes + 1)


def bincount_int64(prediction: Tensor, target: Tensor, classes: int) -> Tensor:
    index, cells = combined_index(prediction, target, classes)
    return without_extra_cell(torch.bincount(index, minlength=len(target) * cells), cells, classes)


def scatter_add_int64(prediction: Tensor, target: Tensor, classes: int) -> Tensor:
    index, cells = combined_index(prediction, target, classes)
    zeros = torch.zeros(len(target) * cells, dtype=torch.int64, device=index.device)
    return without_extra_cell(zeros.scatter_add_(0, index, torch.ones_like(index)), cells, classes)


def index_add_int64(prediction: Tensor, target: Tensor, classes: int) -> Tensor:
    index, cells = combined_index(prediction, target, classes)
    zeros = torch.zeros(len(target) * cells, dtype=torch.int64, device=index.device)
    return without_extra_cell(zeros.index_add_(0, index, torch.ones_like(index)), cells, classes)


def histc_int64(prediction: Tensor, target: Tensor, classes: int) -> Tensor:
    """On CUDA only: on the CPU torch.histc counts floats alone."""
    index, cells = combined_index(prediction, target, classes)
    total = len(target) * cells
    return without_extra_cell(torch.histc(index, bins=total, min=0, max=total), cells, classes)


def masked_bincount_each_image(prediction: Tensor, target: Tensor, classes: int) -> Tensor:
    """The usual way: select the valid pixels with a mask, then count."""
    images = []
    for predicted, truth in zip(prediction, target, strict=True):
        valid = truth != VOID
        columns = predicted[valid].long()
        columns[columns == VOID] = classes
        index = truth[valid].long() * (classes + 1) + columns
        images.append(torch.bincount(index, minlength=classes * (classes + 1)).view(classes, classes + 1))
    return torch.stack(images)


def numpy_bincount_each_image(prediction: Tensor, target: Tensor, classes: int) -> Tensor:
    images = []
    for predicted, truth in zip(prediction.cpu().numpy(), target.cpu().numpy(), strict=True):
        valid = truth != VOID
        columns = predicted[valid].astype(np.int64)
        columns[columns == VOID] = classes
        index = truth[valid].astype(np.int64) * (classes + 1) + columns
        counts = np.bincount(index, minlength=classes * (classes + 1))
        images.append(torch.from_numpy(counts.reshape(classes, classes + 1)))
    return torch.stack(images).to(prediction.device)


def one_hot_matmul(prediction: Tensor, target: Tensor, classes: int) -> Tensor:
    """[C, pixels] @ [pixels, C+1]; exact in float32 up to 2**24 pixels in one cell."""
    rows = torch.arange(classes, device=target.device).view(1, -1, 1)
    columns = torch.arange(classes + 1, device=target.device).view(1, 1, -1)
    predicted = torch.where(prediction == VOID, classes, prediction).flatten(1)
    truth_is = (target.flatten(1).unsqueeze(1) == rows).float()
    predicted_is = (predicted.unsqueeze(2) == columns).float()
    return (truth_is @ predicted_is).long()


def median_milliseconds(work: Callable[..., object], *arguments: object, repeats: int) -> float:
    times = []
    for _ in range(repeats + 2):
        wait_for_device()
        start = time.perf_counter()
        work(*arguments)
        wait_for_device()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[2:])  # the first two warm up


def wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on the CPU (default 1)")
    parser.add_argument("--repeats", type=int, default=9, help="timed repetitions of each (default 9)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    ways: list[tuple[str, Counter, torch.dtype]] = [
        ("engine, uint8 prediction", confusion_per_image, torch.uint8),
        ("engine, int64 prediction", confusion_per_image, torch.int64),
        ("bincount, int64 index", bincount_int64, torch.int64),
        ("scatter_add_, int64 index", scatter_add_int64, torch.int64),
        ("index_add_, int64 index", index_add_int64, torch.int64),
        ("bincount of masked pixels, each image", masked_bincount_each_image, torch.int64),
        ("numpy.bincount of masked pixels, each image", numpy_bincount_each_image, torch.int64),
        ("one-hot matrix product", one_hot_matmul, torch.int64),
    ]
    if options.device == "cuda":
        ways.append(("histc, int64 index", histc_int64, torch.int64))

    print(f"torch {torch.__version__}, {options.device}, {options.threads} thread(s), {CLASSES} classes")
    for shape in SHAPES:
        prediction, target = example(shape, options.device)
        expected = masked_bincount_each_image(prediction, target, CLASSES)
        print(f"\n{' x '.join(map(str, shape)):<46}{'ms':>9}{'ratio':>8}")
        rows = []
        for name, count, dtype in ways:
            labels = prediction.to(dtype)
            if not torch.equal(count(labels, target, CLASSES), expected):
                raise SystemExit(f"{name}: counts differ")
            rows.append((name, median_milliseconds(count, labels, target, CLASSES, repeats=options.repeats)))
        update = ConfusionSum(CLASSES, options.device).update
        labels = prediction.to(torch.uint8)
        rows.append(
            (
                "engine, ConfusionSum.update",
                median_milliseconds(update, labels, target, repeats=options.repeats),
            )
        )
        for name, milliseconds in rows:
            print(f"{name:<46}{milliseconds:9.2f}{milliseconds / rows[0][1]:8.1f}")


if __name__ == "__main__":
    main()
