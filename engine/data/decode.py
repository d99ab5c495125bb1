"""Open, check and resize image and label files.

One function, `read_pair`, decides what is wrong with a pair, so that the cache, the check of a whole data
set and the evaluation at the original size find the same faults.

A label PNG is read as the numbers that it stores. Pillow does not do so for greyscale of 2 and 4 bits (it
spreads them over 0-255), which PNG optimizers produce by themselves; that is undone here.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from engine.classes import VOID, ClassSet
from engine.data.catalog import DataError, Fault, Sample
from engine.host.input_files import InputFileError, read_regular, shown
from engine.host.processes import available_cores

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")

_IMAGE_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_LABEL_MODES = frozenset({"1", "L", "P"})
_GREY_STEP = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies the values of 2-bit and 4-bit greyscale by."""

MOST_PIXELS = 178_956_970
"""Of one image. A file of a few bytes may claim any size; Pillow warns at half of this number, and gives up
at it, in words that are not for people who have large images."""

warnings.simplefilter("ignore", Image.DecompressionBombWarning)

_DECODE_ERRORS = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG chunk
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class FileFault(DataError):
    """One file that cannot be used; `kind` and `problem` are those of a Fault."""

    def __init__(self, path: Path, kind: str, problem: str) -> None:
        super().__init__(f"{shown(path)}: {problem}")
        self.path, self.kind, self.problem = path, kind, problem


def read_image(path: Path) -> Image.Image:
    """The image in `path`, decoded, as 8-bit RGB.

    Greyscale is repeated in the three channels, CMYK converted, transparency dropped, and of 16 bits a colour
    the upper 8 are taken. A camera's orientation tag is not applied, neither here nor to labels: labels are
    drawn on the stored pixels (`orientation` reads the tag). Raises FileFault.
    """
    image, _ = _open(path, IMAGE_FORMATS)
    if image.mode not in _IMAGE_MODES:
        raise FileFault(path, "format", f"has pixels of type {image.mode}; 8 bits a channel would be right")
    if "transparency" in image.info:
        image = image.convert("RGBA")  # otherwise Pillow warns when it drops the transparency
    return image.convert("RGB")


def read_labels(path: Path) -> NDArray[np.uint8]:
    """The source ids stored in the label PNG `path`: uint8 [H, W]. Raises FileFault.

    Greyscale and palette files (1 to 8 bits) are read as the values they store; the palette's colours mean
    nothing.
    """
    image, raw_mode = _open(path, ("PNG",))
    if image.mode not in _LABEL_MODES:
        problem = {
            "RGB": "is an RGB image",
            "RGBA": "is an RGB image with transparency",
            "I;16": "is 16-bit greyscale",
        }.get(image.mode, f"has pixels of type {image.mode}")
        wanted = "a label is an 8-bit greyscale or palette PNG whose values are class ids, not colours"
        if image.mode in ("RGB", "RGBA"):
            wanted += "; write each colour's id instead"
        raise FileFault(path, "format", f"{problem}; {wanted}")
    values = np.asarray(image).astype(np.uint8, copy=False)
    step = _GREY_STEP.get(raw_mode)
    return values // np.uint8(step) if step else values


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
        labels = read_labels(sample.label)
    except FileFault as fault:
        faults.append(Fault(fault.kind, relative_path(fault.path, root), fault.problem))

    label_path = relative_path(sample.label, root)
    if labels is not None and (problem := _unknown_values(labels, class_set)):
        faults.append(Fault("label_value", label_path, problem))
    if image is not None and labels is not None and image.size != labels.shape[::-1]:
        problem = (
            f"is {labels.shape[1]}x{labels.shape[0]} but its image is {image.width}x{image.height}; "
            "both must have the same width and height"
        )
        if (turned := orientation(image)) != 1:
            problem += (
                f"; the image's orientation tag ({turned}) is not applied, draw labels on stored pixels"
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
    check = partial(_faults_of, class_set=class_set, root=root)
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


def resize_labels(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Labels [H, W] at `size` (height, width), nearest: the source pixel under each target pixel's centre.

    Target row i takes source row floor((i + 1/2) * H / height), the half-pixel-centre convention of
    torch's "nearest-exact" and of Pillow's NEAREST, but in whole numbers: those two round a centre that falls
    on the edge between two pixels to either side.
    """
    height, width = size
    rows = (2 * np.arange(height) + 1) * labels.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * labels.shape[1] // (2 * width)
    resized: NDArray[np.uint8] = labels[rows[:, None], columns]
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


def _open(path: Path, formats: tuple[str, ...]) -> tuple[Image.Image, str]:
    """The decoded image and the raw mode that its file is stored in. Raises FileFault, and MemoryError with
    the path: that memory is short is no fault of the file."""
    try:
        content = read_regular(path)
        if not content:
            raise FileFault(path, "unreadable", "is empty (0 bytes)")
        # Decoding alone lets flipped bits in a PNG through (a quarter of those tried in label files);
        # verify() compares the checksum of every chunk. It spoils the object, hence the second open.
        with Image.open(BytesIO(content), formats=formats) as unverified:
            _refuse_unusual(path, unverified)
            unverified.verify()
        image = Image.open(BytesIO(content), formats=formats)
        arguments = image.tile[0].args if image.tile else None
        raw_mode = arguments if isinstance(arguments, str) else ""
        image.load()
    except InputFileError as error:
        raise FileFault(path, "unreadable", error.problem) from error
    except UnidentifiedImageError as error:
        raise FileFault(path, "unreadable", f"is no {' or '.join(formats)} image") from error
    except Image.DecompressionBombError as error:
        raise FileFault(path, "format", f"has too many pixels; at most {MOST_PIXELS:,} are read") from error
    except _DECODE_ERRORS as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise FileFault(path, "unreadable", f"cannot be read: {reason}") from error
    except MemoryError as error:
        raise MemoryError(f"{path}: memory ran out while it was decoded") from error
    return image, raw_mode


def refuse_other_formats(path: Path) -> None:
    """Raise FileFault when a regular file does not begin as an image of IMAGE_FORMATS does."""
    try:
        with Image.open(path, formats=IMAGE_FORMATS):
            pass
    except UnidentifiedImageError as error:
        raise FileFault(path, "unreadable", f"is no {' or '.join(IMAGE_FORMATS)} image") from error
    except _DECODE_ERRORS as error:
        raise FileFault(path, "unreadable", f"cannot be read: {error}") from error


def _refuse_unusual(path: Path, image: Image.Image) -> None:
    """Raises FileFault for what Pillow would decode, but to something else than one whole picture."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise FileFault(
            path,
            "format",
            f"has {width}x{height} pixels; at most {MOST_PIXELS:,} are read, so cut it into parts",
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a photograph with its preview, of which the first is meant
        raise FileFault(path, "format", f"is animated ({frames} frames); one still picture would be right")


def orientation(image: Image.Image) -> int:
    """The orientation that a camera noted in the file: 1 is upright as stored, 2 to 8 turned or mirrored."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (*_DECODE_ERRORS, KeyError, TypeError):
        return 1
    return value if isinstance(value, int) and 2 <= value <= 8 else 1


def _unknown_values(labels: NDArray[np.uint8], class_set: ClassSet) -> str:
    """What to say of values that are neither a class nor void; "" when all are known."""
    known = class_set.train_ids()
    counts = Image.fromarray(labels).histogram()  # six times as fast as numpy's bincount of bytes
    unknown = [(value, count) for value, count in enumerate(counts) if count and value not in known]
    if not unknown:
        return ""
    values = ", ".join(f"{value} ({count} pixels)" for value, count in unknown[:8])
    more = f" and {len(unknown) - 8} more values" if len(unknown) > 8 else ""
    return f"holds values outside the class set {class_set.name}: {values}{more}"


def _faults_of(sample: Sample, class_set: ClassSet, root: Path) -> tuple[Fault, ...]:
    return read_pair(sample, class_set, root)[1]
