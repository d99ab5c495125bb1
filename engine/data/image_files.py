"""Image and label files, one at a time: opened, checked against what cannot be used, and decoded.

A label PNG is read as the numbers that it stores. Pillow does not do so for greyscale of 2 and 4 bits (it
spreads them over 0-255), which PNG optimizers produce by themselves; that is undone here.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from engine.data.faults import DataError
from engine.host.input_files import InputFileError, read_regular, shown

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
        raise FileFault(path, "format", f"has pixels of type {image.mode}; it must have 8 bits per channel")
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
        wanted = "a label must be an 8-bit greyscale or palette PNG of class ids, not colours"
        if image.mode in ("RGB", "RGBA"):
            wanted += "; replace each colour with its class id"
        raise FileFault(path, "format", f"{problem}; {wanted}")
    values = np.asarray(image).astype(np.uint8, copy=False)
    step = _GREY_STEP.get(raw_mode)
    return values // np.uint8(step) if step else values


def read_colors(path: Path, values: Mapping[tuple[int, int, int], int]) -> NDArray[np.uint8]:
    """Label values uint8 [H, W] of an image whose colours (red, green, blue) are labels.

    Raises FileFault for a colour that has no value, and for what is no lossless image.
    """
    image, _ = _open(path, ("PNG", "BMP"))
    if image.mode not in {"RGB", "RGBA", "P", "L"}:
        raise FileFault(path, "format", f"has pixels of type {image.mode}; RGB would be right")
    channels = np.asarray(image.convert("RGB")).astype(np.uint32)
    packed = channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
    colors, places = np.unique(packed, return_inverse=True)
    known = {red << 16 | green << 8 | blue: value for (red, green, blue), value in values.items()}
    unknown = [f"#{color:06x}" for color in colors.tolist() if color not in known]
    if unknown:
        more = f" and {len(unknown) - 8} more colours" if len(unknown) > 8 else ""
        told = f"holds colours that are no label: {', '.join(unknown[:8])}{more}"
        raise FileFault(path, "label_value", told)
    table = np.array([known[color] for color in colors.tolist()], dtype=np.uint8)
    found: NDArray[np.uint8] = table[places].reshape(packed.shape)
    return found


def read_wide_labels(path: Path) -> NDArray[np.uint16]:
    """The values stored in a greyscale PNG of up to 16 bits, uint16 [H, W]. Raises FileFault."""
    image, raw_mode = _open(path, ("PNG",))
    if image.mode in ("I;16", "I;16B", "I"):
        return np.asarray(image).astype(np.uint16)
    if image.mode not in _LABEL_MODES or _GREY_STEP.get(raw_mode):
        raise FileFault(path, "format", f"has pixels of type {image.mode}; 16-bit greyscale would be right")
    return np.asarray(image).astype(np.uint16)


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
            f"has {width}x{height} pixels; at most {MOST_PIXELS:,} are read, so cut it into parts",
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
