"""What a fully connected CRF costs at full size, against a plain way to compute it.

    python benchmarks/crf.py [--image FILE] [--rounds 1]

2048x1024, 19 classes, 10 iterations, one thread. The plain way is the same lattice with NumPy and
scipy.sparse as one writes it down: np.unique over all vertices, sparse products for splat and slice, a
softmax over the last axis. Both run in turns, so that what else the machine does meets both. Seconds are of
the processor (they leave out waiting for it) and of the clock. The memory is the process's peak over what it
had before."""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from engine.config.sections import RuntimeConfig
from engine.worker.process import prepare_process

prepare_process(RuntimeConfig(threads=1))  # threads and allocator, before torch is imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from PIL import Image  # noqa: E402
from scipy.sparse import csr_array  # noqa: E402

from engine.config.crf import CrfParameters  # noqa: E402
from engine.data.synthetic import synthesize  # noqa: E402
from engine.inference.crf import lattice  # noqa: E402
from engine.inference.crf.mean_field import DenseCrf, bilateral_features, gaussian_features  # noqa: E402

SIZE = (1024, 2048)
CLASSES = 19
SETS = {
    "defaults (bilateral 2, 24, 5; Gaussian 1, 1)": CrfParameters(),
    "Pascal VOC (bilateral 4, 49, 5; Gaussian 3, 3)": CrfParameters(
        bilateral_weight=4, bilateral_sigma_xy=49, gaussian_weight=3, gaussian_sigma=3
    ),
}
Floats = NDArray[np.float32]


class PlainFilter:
    """A normalised Gaussian filter over features [d, N], written down as the papers have it."""

    def __init__(self, features: torch.Tensor) -> None:
        rounded, rank, offset = lattice._embed(features)
        corners, points = rank.shape
        packing = lattice._Packing.of(rounded.amin(1), rounded.amax(1))
        keys, shares = lattice._corners(rounded, rank, offset, packing)
        known, ids = np.unique(keys.numpy(), return_inverse=True)
        self.around = []
        for step in packing.axes():
            found = np.searchsorted(known, [known - step, known + step]).clip(max=len(known) - 1)
            there = known[found] == np.stack([known - step, known + step])
            self.around.append(np.where(there, found, len(known)))
        starts = np.arange(0, points * corners + 1, corners)
        self.slicing = csr_array((shares.numpy().ravel(), ids.ravel(), starts), (points, len(known)))
        self.splatting = self.slicing.T.tocsr()
        self.root: Floats = np.ones((points, 1), np.float32)
        self.root = np.asarray(1 / np.sqrt(self(self.root)), np.float32)

    def __call__(self, values: Floats) -> Floats:
        at = np.asarray(self.splatting @ (self.root * values), np.float32)
        for before, after in self.around:
            padded = np.vstack([at, np.zeros((1, at.shape[1]), np.float32)])
            at = at + np.float32(0.5) * (padded[before] + padded[after])
        return np.asarray(self.root * (self.slicing @ at), np.float32)


def plain(about: CrfParameters, image: torch.Tensor, unary: torch.Tensor) -> Floats:
    """Mean field; [N, C]."""
    kernels = [
        (about.gaussian_weight, PlainFilter(gaussian_features(about, image))),
        (about.bilateral_weight, PlainFilter(bilateral_features(about, image))),
    ]
    energy = unary.reshape(-1, unary.shape[2]).numpy()
    beliefs = softmax(energy)
    for _ in range(about.iterations):
        total = energy
        for weight, kernel in kernels:
            total = total + np.float32(weight) * kernel(beliefs)
        beliefs = softmax(total)
    return beliefs


def softmax(energy: Floats) -> Floats:
    shares = np.exp(energy - energy.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the processor and of the clock."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - processor, time.perf_counter() - clock


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", type=Path, help="a photograph of 2048x1024 [default: a synthetic street]")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    image = read(options.image)
    torch.manual_seed(0)
    coarse = 3 * torch.randn(1, CLASSES, 32, 64)
    logits = (
        torch.nn.functional.interpolate(coarse, size=SIZE, mode="bilinear")[0].permute(1, 2, 0).contiguous()
    )
    for name, about in SETS.items():
        before = peak_gib()
        crf = DenseCrf(about)
        ours = [timed(partial(crf.refined, image, logits)) for _ in range(options.rounds + 1)]
        memory = peak_gib() - before
        others = [timed(partial(plain, about, image, logits)) for _ in range(options.rounds)]
        first, best, other = ours[0], min(ours[1:]), min(others)
        print(f"{name}, {about.iterations} iterations, {CLASSES} classes")
        print(f"  first image  {first[0]:5.1f} s of the processor, {first[1]:5.1f} s of the clock")
        print(f"  each further {best[0]:5.1f} s of the processor, {best[1]:5.1f} s of the clock")
        if memory > 0:  # more than the one before needed
            print(f"  memory       {memory:5.2f} GiB")
        print(f"  plain        {other[0]:5.1f} s of the processor: {other[0] / best[0]:.1f} times as long")
        del crf


def read(path: Path | None) -> torch.Tensor:
    """uint8 [H, W, 3]."""
    with tempfile.TemporaryDirectory() as folder:
        if path is None:
            synthesize(Path(folder) / "data", images=2, size=SIZE, seed=0)
            path = min(Path(folder).rglob("*leftImg8bit.png"))
        with Image.open(path) as opened:
            return torch.from_numpy(np.array(opened.convert("RGB").resize(SIZE[::-1])))


if __name__ == "__main__":
    main()
