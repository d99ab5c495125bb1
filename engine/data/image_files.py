"""Image and label files, one at a time: opened, checked against what cannot be used, and decoded.

A label PNG is read as the numbers that it stores. Pillow does not do so for greyscale of 2 and 4 bits (it
spreads them over 0-255), which PNG optimizers produce by themselves; that is undone here.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from engine.classes import Color, LabelCode, hex_color, pack
from engine.data.faults import DataError, counted
from engine.host.input_files import InputFileError, read_regular, shown

IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")

IMAGE_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
"""Of Pillow's, those of 8 bits a channel or less: what has more, Pillow cuts off at 255."""

_LABEL_MODES = frozenset({"1", "L", "P"})
_WIDE_MODES = frozenset({"I;16", "I;16B", "I"})
_LOW_BYTES = {"RGB;16B": (0, "RGB;16L"), "RGBA;16B": (0, "RGBA;16L"), "LA;16B": (1, "RGBA")}
"""Of 16-bit files with several channels, by their raw mode: the channel and the raw mode in which the lower
byte of the first channel is found. Two channels of 16 bits are four of 8."""
_GREY_STEP = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies the values of 2-bit and 4-bit greyscale by."""

_COLOR = np.uint32(0xFFFFFF)
"""The bits of a pixel's number that are its colour."""
_ROWS = 16
"""Of an image whose colours are looked up at once."""

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
    if image.mode not in IMAGE_MODES:
        raise FileFault(path, "format", f"has pixels of type {image.mode}; it must have 8 bits per channel")
    return as_rgb(image)


def as_rgb(image: Image.Image) -> Image.Image:
    """A decoded image as 8-bit RGB, its transparency dropped."""
    if "transparency" in image.info:
        image = image.convert("RGBA")  # otherwise Pillow warns when it drops the transparency
    return image.convert("RGB")


def read_labels(path: Path) -> NDArray[np.uint8]:
    """The source ids stored in the label PNG `path`: uint8 [H, W]. Raises FileFault.

    Greyscale and palette files (1 to 8 bits) are read as the values they store; the palette's colours mean
    nothing. Greyscale of 16 bits is read, too, where no value is above 255.
    """
    image, raw_mode = _open(path, ("PNG",))
    if image.mode in _WIDE_MODES:
        return _narrow(path, np.asarray(image).astype(np.uint16))
    if image.mode not in _LABEL_MODES:
        problem = {
            "RGB": "is an RGB image",
            "RGBA": "is an RGB image with transparency",
        }.get(image.mode, f"has pixels of type {image.mode}")
        wanted = "a label must be a greyscale or palette PNG of class ids, not colours"
        if image.mode in ("RGB", "RGBA"):
            wanted += '; replace each colour with its class id, or say labels = "colors" in a classes.toml'
        raise FileFault(path, "format", f"{problem}; {wanted}")
    return _stored(image, raw_mode)


def read_ids_or_colors(
    path: Path, values: Mapping[Color, int], names: Mapping[int, str] | None = None
) -> NDArray[np.uint8]:
    """Label values uint8 [H, W] of a PNG: those that a greyscale or palette file stores, as `read_labels`
    reads them, or those of the colours of an RGB file, as tools save the same label either way. `values` and
    `names` as in `read_colors`. Raises FileFault."""
    image, raw_mode = _open(path, ("PNG",))
    if image.mode in _WIDE_MODES:
        return _narrow(path, np.asarray(image).astype(np.uint16))
    if image.mode in _LABEL_MODES:
        return _stored(image, raw_mode)
    return _ids_of_colors(path, image, _packed(values), names or {})


def read_colors(
    path: Path, values: Mapping[Color, int], names: Mapping[int, str] | None = None
) -> NDArray[np.uint8]:
    """Label values uint8 [H, W] of an image whose colours (red, green, blue) are labels.

    `names` are those of the label values, for messages. Raises FileFault for a colour that has no value, and
    for what is no lossless image.
    """
    image, _ = _open(path, ("PNG", "BMP"))
    return _ids_of_colors(path, image, _packed(values), names or {})


def read_coded(path: Path, code: LabelCode, names: Mapping[int, str]) -> NDArray[np.uint8]:
    """The source ids uint8 [H, W] of a label file whose colours or 16-bit numbers stand for them. Raises
    FileFault."""
    if code.kind == "colors":
        image, _ = _open(path, ("PNG", "BMP"))
        return _ids_of_colors(path, image, code.ids, names)
    values = read_wide_labels(path)
    ids = _lookup(code.ids, 16).take(values)
    if ids.min(initial=0) < 0:
        raise _unknown_numbers(path, values[ids < 0], "that are no label")
    return ids.astype(np.uint8)


def read_wide_labels(path: Path) -> NDArray[np.uint16]:
    """The values stored in a PNG of up to 16 bits, uint16 [H, W]. Raises FileFault.

    Of a file with several channels of 16 bits these are the values of the first.
    """
    image, raw_mode = _open(path, ("PNG",))
    if image.mode in _WIDE_MODES:
        return np.asarray(image).astype(np.uint16)
    if raw_mode in _LOW_BYTES:
        # Pillow has 8 bits for each channel and keeps the upper ones; the lower ones are asked for apart.
        channel, low_mode = _LOW_BYTES[raw_mode]
        low, _ = _open(path, ("PNG",), low_mode)
        high = low if low_mode == "RGBA" else image
        values = np.asarray(high)[..., 0].astype(np.uint16)
        values <<= 8
        values |= np.asarray(low)[..., channel]
        return values
    if image.mode not in _LABEL_MODES:
        raise FileFault(path, "format", f"has pixels of type {image.mode}; 16-bit greyscale would be right")
    return _stored(image, raw_mode).astype(np.uint16)


def read_first_channel(path: Path) -> NDArray[np.uint8]:
    """`read_wide_labels` of files in which no value is above 255, uint8 [H, W]. Raises FileFault."""
    return _narrow(path, read_wide_labels(path))


def _stored(image: Image.Image, raw_mode: str) -> NDArray[np.uint8]:
    values = np.asarray(image).astype(np.uint8, copy=False)
    step = _GREY_STEP.get(raw_mode)
    return values // np.uint8(step) if step else values


def _narrow(path: Path, values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    if values.max(initial=0) > 255:
        told = "above 255, which only a class set that names them makes readable"
        raise _unknown_numbers(path, values[values > 255], told)
    return values.astype(np.uint8)


def _unknown_numbers(path: Path, unknown: NDArray[np.uint16], why: str) -> FileFault:
    found, counts = np.unique(unknown, return_counts=True)
    told = [
        f"{value} ({counted(count, 'pixel')})" for value, count in zip(found[:8], counts[:8], strict=True)
    ]
    more = f" and {len(found) - 8} more values" if len(found) > 8 else ""
    return FileFault(path, "label_value", f"contains values {why}: {', '.join(told)}{more}")


def _packed(values: Mapping[Color, int]) -> tuple[tuple[int, int], ...]:
    return tuple((pack(color), value) for color, value in values.items())


def _ids_of_colors(
    path: Path, image: Image.Image, ids: tuple[tuple[int, int], ...], names: Mapping[int, str]
) -> NDArray[np.uint8]:
    """What the colours of an image mean; `ids` are pairs of a colour as one number and its id."""
    if image.mode not in {"1", "RGB", "RGBA", "P", "L"}:
        raise FileFault(path, "format", f"has pixels of type {image.mode}; RGB would be right")
    # The bytes of a pixel, red, green, blue and an idle one, are one number, 0x..BBGGRR, and one look into a
    # table. A few rows at a time stay in the processor's cache.
    colors = image if image.mode == "RGB" else image.convert("RGB")
    pixels = np.frombuffer(colors.tobytes("raw", "RGBX"), "<u4").reshape(image.height, image.width)
    table = _lookup(tuple((_reversed(color), meant) for color, meant in ids), 24)
    found = np.empty(pixels.shape, np.uint8)
    for first in range(0, image.height, _ROWS):
        rows = slice(first, first + _ROWS)
        meant = table.take(pixels[rows] & _COLOR)
        if meant.min(initial=0) < 0:
            raise FileFault(path, "label_value", _unknown_colors(pixels & _COLOR, dict(ids), names))
        found[rows] = meant
    return found


def _reversed(color: int) -> int:
    """0xBBGGRR of 0xRRGGBB, and back."""
    return int.from_bytes(color.to_bytes(3, "big"), "little")


@lru_cache(maxsize=2)
def _lookup(ids: tuple[tuple[int, int], ...], bits: int) -> NDArray[np.int16]:
    """int16 [2 ** bits]: the id of every value of so many bits, -1 where it has none."""
    table = np.full(1 << bits, -1, np.int16)
    for value, meant in ids:
        table[value] = meant
    return table


def _unknown_colors(pixels: NDArray[np.uint32], known: Mapping[int, int], names: Mapping[int, str]) -> str:
    """Which colours of pixels 0xBBGGRR are no label, how many pixels have each, and which label's colour is
    the nearest."""
    counts = dict(zip(*(each.tolist() for each in np.unique(pixels, return_counts=True)), strict=True))
    unknown = {_reversed(value): count for value, count in counts.items() if _reversed(value) not in known}
    told = []
    for color in sorted(unknown, key=lambda color: (-unknown[color], color))[:8]:
        near = min(known, key=lambda other: _distance(color, other))
        name = names.get(known[near], "")
        nearest = f"{name} {hex_color(near)}" if name else hex_color(near)
        told.append(f"{hex_color(color)} ({counted(unknown[color], 'pixel')}, nearest is {nearest})")
    more = f" and {len(unknown) - 8} more colours" if len(unknown) > 8 else ""
    return f"holds colours that are no label: {', '.join(told)}{more}"


def _distance(first: int, second: int) -> int:
    return sum(((first >> shift & 255) - (second >> shift & 255)) ** 2 for shift in (16, 8, 0))


def _open(path: Path, formats: tuple[str, ...], raw_as: str = "") -> tuple[Image.Image, str]:
    """The decoded image and the raw mode that its file is stored in; `raw_as` is another raw mode of as many
    bits to read it as. Raises FileFault, and MemoryError with the path: that memory is short is no fault of
    the file."""
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
        if raw_as:
            image.tile = [image.tile[0]._replace(args=raw_as)]
        image.load()
    except InputFileError as error:
        raise FileFault(path, "unreadable", error.problem) from error
    except UnidentifiedImageError as error:
        told = f"is no {' or '.join(formats)} image"
        if content.startswith(b"\xff\xd8\xff") and "JPEG" not in formats:
            told += " but a JPEG, whose compression changes labels; export them again"
        raise FileFault(path, "unreadable", told) from error
    except Image.DecompressionBombError as error:
        raise FileFault(path, "format", f"has too many pixels; at most {MOST_PIXELS:,} are read") from error
    except _DECODE_ERRORS as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise FileFault(path, "unreadable", f"cannot be read: {reason}") from error
    except MemoryError as error:
        raise MemoryError(f"{path}: out of memory while decoding") from error
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
            f"has {height}x{width} pixels (height x width); at most {MOST_PIXELS:,} are read, so cut it into "
            "parts",
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a photograph with its preview, of which the first is meant
        raise FileFault(path, "format", f"is animated ({frames} frames); use a single still image")


def orientation(image: Image.Image) -> int:
    """The orientation that a camera noted in the file: 1 is upright as stored, 2 to 8 turned or mirrored."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (*_DECODE_ERRORS, KeyError, TypeError):
        return 1
    return value if isinstance(value, int) and 2 <= value <= 8 else 1
