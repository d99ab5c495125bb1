"""Open, check and resize image and label files.

One function, `read_pair`, decides what is wrong with a pair, so that the cache, the check of a whole data
set and the evaluation at the original size find the same faults.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.classes import VOID, ClassSet
from engine.data.catalog import DataError, Fault, Sample
from engine.data.faults import counted
from engine.data.image_files import FileFault, orientation, read_coded, read_image, read_labels
from engine.data.layouts.builtin import LAYOUTS
from engine.host.input_files import shown
from engine.host.processes import available_cores
from engine.plugins import errors_of_plugins

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
Whole = TypeVar("Whole", np.uint8, np.uint16)


def labels_in(sample: Sample, class_set: ClassSet) -> NDArray[np.uint8]:
    """The source ids of a sample that has a label file, uint8 [H, W]: as the class set says where it names
    colours or 16-bit values, else as the sample's layout reads them. Raises FileFault."""
    assert sample.label is not None
    if class_set.code is not None:
        return read_coded(sample.label, class_set.code, _names_of_ids(class_set))
    if not sample.decoder:
        return read_labels(sample.label)
    with errors_of_plugins(DataError):
        values = LAYOUTS[sample.decoder].read_labels(sample.label)
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype != np.uint8:
        told = f"{getattr(values, 'dtype', type(values).__name__)} {list(getattr(values, 'shape', ()))}"
        raise FileFault(
            sample.label,
            "format",
            f"was read by the layout {sample.decoder} as {told}; uint8 [H, W] would be right",
        )
    return values


def _names_of_ids(class_set: ClassSet) -> dict[int, str]:
    names = {i: c.name for c in (*class_set.held_out, *class_set.classes) for i in c.ids}
    return {VOID: "void", **names}


def read_pair(
    sample: Sample, class_set: ClassSet, root: Path
) -> tuple[tuple[Image.Image, NDArray[np.uint8]] | None, tuple[Fault, ...]]:
    """Decode a sample and check it: the pair, or None with all that is wrong with it.

    The pair is the RGB image and its source ids, uint8 [H, W], of the same height and width and with every
    value known to `class_set`; all ids are 0 where the sample has no label file. The paths in the faults are
    relative to `root`.
    """
    faults: list[Fault] = []
    image: Image.Image | None = None
    labels: NDArray[np.uint8] | None = None
    try:
        image = read_image(sample.image)
    except FileFault as fault:
        faults.append(Fault(fault.kind, relative_path(fault.path, root), fault.problem))
    if sample.label is None:
        pair = None if image is None else (image, np.zeros(image.size[::-1], dtype=np.uint8))
        return pair, tuple(faults)
    try:
        labels = labels_in(sample, class_set)
    except FileFault as fault:
        faults.append(Fault(fault.kind, relative_path(fault.path, root), fault.problem))

    label_path = relative_path(sample.label, root)
    if labels is not None and (problem := _unknown_values(labels, class_set)):
        faults.append(Fault("label_value", label_path, problem))
    if image is not None and labels is not None and image.size != labels.shape[::-1]:
        problem = (
            f"is {labels.shape[0]}x{labels.shape[1]} but its image is {image.height}x{image.width}; "
            "both must have the same height and width"
        )
        if (turned := orientation(image)) != 1:
            problem += (
                f"; the image's orientation tag ({turned}) is ignored; draw labels on the stored pixels"
            )
        faults.append(Fault("size", label_path, problem))
    if image is None or labels is None or faults:
        return None, tuple(faults)
    return (image, labels), ()


def check_samples(
    samples: Sequence[Sample],
    class_set: ClassSet,
    root: Path,
    on_progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> list[Fault]:
    """Open every pair and return all that is wrong, in the order of `samples`.

    `on_progress(done, total)` is called after each pair; `workers` is the number of threads, by default
    one for each core that this process may use.
    """
    faults: list[Fault] = []
    check = partial(faults_of, class_set=class_set, root=root)
    with closing(map_in_order(check, samples, workers)) as results:
        for done, found in enumerate(results, start=1):
            faults.extend(found)
            if on_progress:
                on_progress(done, len(samples))
    return faults


def resize_image(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The RGB image at `size` (height, width): uint8 [height, width, 3].

    Bilinear with antialiasing: the triangle filter is widened by the factor of reduction, so that every
    source pixel counts. This is what torchvision's resize does with antialias=True.
    """
    height, width = size
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def resize_labels(labels: NDArray[Whole], size: tuple[int, int]) -> NDArray[Whole]:
    """Labels, or other whole numbers, [H, W] at `size` (height, width), nearest: the source pixel under each
    target pixel's centre.

    Target row i takes source row floor((i + 1/2) * H / height), the half-pixel-centre convention of
    torch's "nearest-exact" and of Pillow's NEAREST, but in whole numbers: those two round a centre that falls
    on the edge between two pixels to either side.
    """
    height, width = size
    rows = (2 * np.arange(height) + 1) * labels.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * labels.shape[1] // (2 * width)
    resized: NDArray[Whole] = labels[rows[:, None], columns]
    return resized


def train_id_table(class_set: ClassSet) -> NDArray[np.uint8]:
    """uint8 [256]: the train id of every source id; `table[labels]` translates a whole label image.

    Ids that the class set does not know become void; `read_pair` refuses labels that hold them.
    """
    table = np.full(256, VOID, dtype=np.uint8)
    for source, train in class_set.train_ids().items():
        table[source] = train
    return table


def relative_path(path: Path, root: Path) -> str:
    """`path` relative to the data set's root, with "/", as text."""
    return shown(os.path.relpath(path, root).replace(os.sep, "/"))


PATIENCE_SECONDS = 5.0
"""How long data may take before whoever waits looks up, and how long an end waits for readers."""


def result_of(future: Future[_Result], on_wait: Callable[[], None] | None) -> _Result:
    """What a future gives; `on_wait` is called every PATIENCE_SECONDS until it does, and may raise."""
    while True:
        wait([future], timeout=PATIENCE_SECONDS if on_wait is not None else None)
        if future.done():
            return future.result()
        if on_wait is not None:
            on_wait()


def map_in_order(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    workers: int | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Generator[_Result, None, None]:
    """`map` over threads; results come in the order of `items`, with a few items on the way at a time.

    Threads, not processes: Pillow lets go of the interpreter's lock while it decodes and resizes (a 2048x1024
    pair took 72 ms with one thread, 34 ms with two, 37 ms with two processes and 41 with their start, on 2
    cores), and there is nothing to fork and nothing to be left behind.
    Closing the generator, or an interrupt in it, waits for the items in work, PATIENCE_SECONDS at most, and
    drops the rest. `on_wait` is called every so often while a result does not come, and may raise.
    """
    workers = workers or available_cores()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    pending: deque[Future[_Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 4 * workers:
                yield result_of(pending.popleft(), on_wait)
        while pending:
            yield result_of(pending.popleft(), on_wait)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future in pending if not future.cancelled()], timeout=PATIENCE_SECONDS)


def _unknown_values(labels: NDArray[np.uint8], class_set: ClassSet) -> str:
    """What to say of values that are neither a class nor void; "" when all are known."""
    known = class_set.train_ids()
    counts = Image.fromarray(labels).histogram()  # six times as fast as numpy's bincount of bytes
    unknown = [(value, count) for value, count in enumerate(counts) if count and value not in known]
    if not unknown:
        return ""
    values = ", ".join(f"{value} ({counted(count, 'pixel')})" for value, count in unknown[:8])
    more = f" and {len(unknown) - 8} more values" if len(unknown) > 8 else ""
    return f"contains values outside the class set {class_set.name}: {values}{more}"


def faults_of(sample: Sample, class_set: ClassSet, root: Path) -> tuple[Fault, ...]:
    """Open a sample: all that is wrong with it."""
    return read_pair(sample, class_set, root)[1]
