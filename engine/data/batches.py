"""Batches: one interface, an implementation for each place where the samples may lie.

`ResidentBatches` gathers rows of arrays that already lie where the network computes: the memory-mapped
cache itself on the CPU, a copy of it in device memory on CUDA. `StreamedBatches` serves a device whose memory
the cache does not fit: a thread gathers ahead into pinned memory while the device computes. `LoaderBatches`
decodes files in processes of its own, for data sets that no disk can hold decoded.
"""

from __future__ import annotations

import contextlib
import signal
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from engine.data.cache_files import Cache
from engine.data.decode import result_of
from engine.data.sample_readers import CachedSplit, FileSplit, Split
from engine.host.leaving import die_with_the_parent
from engine.host.processes import available_cores
from engine.learning.constants import constant
from engine.learning.transfers import to_device
from engine.models.pretrained import IMAGENET, NORMALISATIONS
from engine.plugins import load_plugin, loaded_plugins

MEAN, STD = (tuple(round(255 * each, 3) for each in values) for values in NORMALISATIONS[IMAGENET])
"""Mean and standard deviation of red, green and blue in ImageNet's training images, from 0 to 255: most
weights from elsewhere want it, and it is close enough to that of street scenes."""

RESIDENT_SHARE = 0.5
"""Largest share of a device's free memory that the caches may take."""

AHEAD = 2
"""Batches a stream prepares while the device computes."""

LEAVING_SECONDS = 2.0
"""How long loaders that were killed are waited for."""


def wait_on() -> None:
    """What those do while no data comes who have nothing better to do."""


@dataclass(frozen=True)
class Batch:
    """`images` uint8 [B, H, W, 3] and `labels` uint8 [B, H, W] of train ids, on the run's device. `focus` are
    the points that crops should contain, as in `Draws`."""

    images: Tensor
    labels: Tensor
    focus: Tensor | None = None
    is_cropped: bool = False
    """Whether they are crops, as `Crops` says."""


@dataclass(frozen=True)
class Crops:
    """The part of each image that is wanted: `size` (height, width), from the pixels `corners` (y, x) on,
    int64 [N, 2] on the CPU, one for each sample of an order."""

    size: tuple[int, int]
    corners: Tensor

    def slices(self, first: int, count: int) -> list[tuple[slice, slice]]:
        """Rows and columns of the samples from number `first` on."""
        height, width = self.size
        chosen = self.corners[first : first + count].tolist()
        return [(slice(top, top + height), slice(left, left + width)) for top, left in chosen]


class Batches(Protocol):
    """The batches of one split, in the order one asks for."""

    def __call__(
        self, order: Tensor, batch_size: int, start: int = 0, crops: Crops | None = None
    ) -> Iterator[Batch]:
        """Yield the samples `order` (int64 [N], positions in the split) from batch `start` on, of each image
        only the `crops` where there are some."""


class ResidentBatches:
    """Rows of `images` [N, H, W, 3] and `labels` [N, H, W], both uint8, which lie on the run's device."""

    def __init__(self, images: Tensor, labels: Tensor, rows: Tensor) -> None:
        self._images, self._labels, self._rows = images, labels, rows

    def __call__(
        self, order: Tensor, batch_size: int, start: int = 0, crops: Crops | None = None
    ) -> Iterator[Batch]:
        rows = self._rows[to_device(order, self._rows.device)]
        for number, chosen in enumerate(torch.split(rows, batch_size)[start:], start):
            if crops is None:
                yield Batch(self._images.index_select(0, chosen), self._labels.index_select(0, chosen))
            else:
                yield self._cropped(chosen, crops, number * batch_size)

    def _cropped(self, rows: Tensor, crops: Crops, first: int) -> Batch:
        if rows.device.type == "cpu":  # rows of pixels are copied as they lie
            places = list(zip(rows.tolist(), crops.slices(first, len(rows)), strict=True))
            images, labels = (
                torch.stack([pixels[row][high, wide] for row, (high, wide) in places])
                for pixels in (self._images, self._labels)
            )
        else:  # in one launch
            corners = to_device(crops.corners[first : first + len(rows)], rows.device)
            high, wide = (
                corners[:, side, None] + torch.arange(crops.size[side], device=rows.device) for side in (0, 1)
            )
            at = rows[:, None, None], high[:, :, None], wide[:, None, :]
            images, labels = self._images[at], self._labels[at]
        return Batch(images, labels, is_cropped=True)


class StreamedBatches:
    """Rows of the memory-mapped cache, gathered ahead by a thread and copied without blocking."""

    def __init__(
        self, split: CachedSplit, device: torch.device, on_wait: Callable[[], None] = wait_on
    ) -> None:
        self._split, self._device, self._on_wait = split, device, on_wait

    def __call__(
        self, order: Tensor, batch_size: int, start: int = 0, crops: Crops | None = None
    ) -> Iterator[Batch]:
        rows = self._split.indices[order.numpy()]
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        try:
            ahead: deque[Future[Batch]] = deque()
            for first in range(start * batch_size, len(rows), batch_size):
                wanted = rows[first : first + batch_size]
                parts = None if crops is None else crops.slices(first, len(wanted))
                ahead.append(pool.submit(self._gather, wanted, parts))
                if len(ahead) > AHEAD:
                    yield self._to_device(result_of(ahead.popleft(), self._on_wait))
            while ahead:
                yield self._to_device(result_of(ahead.popleft(), self._on_wait))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # the disk may never answer

    def _gather(self, rows: NDArray[np.int64], parts: list[tuple[slice, slice]] | None) -> Batch:
        arrays = self._split.cache.images, self._split.cache.labels
        if parts is None:
            gathered = [array[rows] for array in arrays]
        else:
            places = list(zip(rows, parts, strict=True))
            gathered = [np.stack([array[row][part] for row, part in places]) for array in arrays]
        images, labels = map(torch.from_numpy, gathered)
        if self._device.type == "cuda":  # only pinned memory is copied without blocking
            images, labels = images.pin_memory(), labels.pin_memory()
        return Batch(images, labels, is_cropped=parts is not None)

    def _to_device(self, batch: Batch) -> Batch:
        return replace(
            batch,
            images=batch.images.to(self._device, non_blocking=True),
            labels=batch.labels.to(self._device, non_blocking=True),
        )


class LoaderBatches:
    """Samples decoded from their files by the processes of a torch DataLoader, ahead of the device.

    While no batch comes, `on_wait` is called every PATIENCE_SECONDS and may raise. However the iteration
    ends, its processes end with it.
    """

    def __init__(
        self,
        split: FileSplit,
        device: torch.device,
        ranks: int = 1,
        on_wait: Callable[[], None] = wait_on,
    ) -> None:
        self._split, self._device, self._on_wait = split, device, on_wait
        self._workers = max(1, (split.workers or available_cores()) // ranks)

    def __call__(
        self, order: Tensor, batch_size: int, start: int = 0, crops: Crops | None = None
    ) -> Iterator[Batch]:
        first = start * batch_size
        positions = order[first:].tolist()
        parts = [None] * len(positions) if crops is None else crops.slices(first, len(positions))
        loader: DataLoader[Any] = DataLoader(
            _Files(self._split),
            batch_size=batch_size,
            sampler=list(zip(positions, parts, strict=True)),
            num_workers=self._workers,
            pin_memory=self._device.type == "cuda",
            collate_fn=_collate,
            worker_init_fn=partial(_settle_loader, [plugin.path for plugin in loaded_plugins()]),
        )
        batches = iter(loader)
        # By a thread: to receive a batch, torch waits for the process that made it, without an end.
        receiver = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        try:
            while (loaded := result_of(receiver.submit(next, batches, None), self._on_wait)) is not None:
                if isinstance(loaded, _Fault):
                    raise loaded.error
                images, labels = loaded
                yield Batch(
                    images.to(self._device, non_blocking=True),
                    labels.to(self._device, non_blocking=True),
                    is_cropped=crops is not None,
                )
        finally:
            receiver.shutdown(wait=False, cancel_futures=True)
            _end_loaders(getattr(batches, "_workers", ()))


@dataclass(frozen=True)
class _Fault:
    """What went wrong in a loader. It travels as a value: an error that torch carries over comes out as
    "Caught DataError in DataLoader worker process 0", or as another error altogether."""

    error: Exception


class _Files(Dataset[tuple[Tensor, Tensor] | _Fault]):
    def __init__(self, split: FileSplit) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, wanted: tuple[int, tuple[slice, slice] | None]) -> tuple[Tensor, Tensor] | _Fault:
        position, part = wanted
        try:
            image, labels = self._split.sample(position)
            if part is not None:
                image, labels = image[part], labels[part]
        except Exception as error:
            error.add_note(f"In a loader:\n{traceback.format_exc()}")
            return _Fault(error)
        return torch.from_numpy(np.ascontiguousarray(image)), torch.from_numpy(np.ascontiguousarray(labels))


def _collate(samples: list[tuple[Tensor, Tensor] | _Fault]) -> Any:
    """A batch, or the first fault of its samples."""
    faults = [sample for sample in samples if isinstance(sample, _Fault)]
    return faults[0] if faults else default_collate(samples)


def _end_loaders(processes: Sequence[BaseProcess]) -> None:
    """Kill what is left of a DataLoader's processes, which may be stuck, and are deaf to SIGTERM.

    torch joins them for ever otherwise, and would take their end for a fault while they are on its list.
    """
    left = [process for process in processes if process.is_alive()]
    if not left:
        return
    handler = None
    with contextlib.suppress(ValueError):  # only the main thread may
        handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for process in left:
        process.kill()
    for process in left:
        process.join(LEAVING_SECONDS)
    if handler is not None:
        signal.signal(signal.SIGCHLD, handler)


def _settle_loader(plugins: Sequence[Path], worker: int) -> None:
    """A stop is for the worker of the run, which saves first; its loader ends with it, however it ends."""
    die_with_the_parent()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    for plugin in plugins:  # one may read the labels; a process that is no fork knows of none
        load_plugin(plugin)


def make_batches(
    splits: Sequence[Split],
    device: torch.device,
    ranks: int = 1,
    on_wait: Callable[[], None] = wait_on,
) -> list[Batches]:
    """One source of batches a split: resident when all caches fit, streamed or loaded when they do not.

    `ranks` processes of this run share the cores that decode. `on_wait` is called while a batch does not
    come.
    """
    cached = [split for split in splits if isinstance(split, CachedSplit)]
    fits = _fits(cached, device)
    resident: dict[str, tuple[Tensor, Tensor]] = {}  # splits of one folder share its cache
    sources: list[Batches] = []
    for split in splits:
        if isinstance(split, FileSplit):
            sources.append(LoaderBatches(split, device, ranks, on_wait))
        elif isinstance(split, CachedSplit) and not fits:
            sources.append(StreamedBatches(split, device, on_wait))
        elif isinstance(split, CachedSplit):
            if split.cache.key not in resident:
                resident[split.cache.key] = _tensors(split.cache, device)
            rows = torch.from_numpy(split.indices).to(device)
            sources.append(ResidentBatches(*resident[split.cache.key], rows))
        else:
            raise TypeError(f"no batches can be made of a {type(split).__name__}")
    return sources


def normalise(images: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] about 0, in channels-last memory without a copy."""
    mean, std = constant((*MEAN, *STD), images.device).chunk(2)  # torch.compile can take it once
    return images.float().sub_(mean).div_(std).movedim(-1, 1)


def _fits(splits: Sequence[CachedSplit], device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    caches = {split.cache.key: split.cache for split in splits}
    size = sum(cache.nbytes for cache in caches.values())
    free, _ = torch.cuda.mem_get_info(device)
    return size <= RESIDENT_SHARE * free


def _tensors(cache: Cache, device: torch.device) -> tuple[Tensor, Tensor]:
    with warnings.catch_warnings():
        # The mapping is read-only and torch has no such tensors; nothing here writes to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        images = torch.from_numpy(cache.images).to(device)
        if cache.labelled:
            return images, torch.from_numpy(cache.labels).to(device)
    return images, torch.zeros(1, 1, 1, dtype=torch.uint8, device=device).expand(images.shape[:3])
