"""Decoding and resizing: labels stay the numbers that the file stores."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from engine.classes import CITYSCAPES
from engine.data.catalog import Sample
from engine.data.decode import map_in_order, read_pair, resize_image, resize_labels
from engine.data.image_files import FileFault, orientation, read_image, read_labels
from engine.data.walk import IMAGE_SUFFIXES

# --- Resizing -----------------------------------------------------------------------------------


def test_labels_take_the_pixel_under_the_centre() -> None:
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert resize_labels(labels, (2, 2)).tolist() == [[5, 7], [13, 15]]
    assert resize_labels(labels, (4, 4)).tolist() == labels.tolist()
    assert resize_labels(labels, (3, 1)).tolist() == [[2], [10], [14]]
    assert resize_labels(labels[:1, :2], (2, 4)).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]


@given(source=st.integers(1, 300), target=st.integers(1, 300))
def test_nearest_is_that_of_exact_arithmetic(source: int, target: int) -> None:
    positions = (np.arange(source) % 251).astype(np.uint8)[None, :]
    expected = [floor((i + Fraction(1, 2)) * source / target) % 251 for i in range(target)]
    assert resize_labels(positions, (1, target))[0].tolist() == expected


def test_images_are_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255  # any single source pixel would be 0 or 255
    small = resize_image(Image.fromarray(stripes), (8, 4))
    assert small.shape == (8, 4, 3)
    assert (abs(small.astype(int) - 127) <= 4).all()


# --- Reading files ------------------------------------------------------------------------------


def write_grey_png(path: Path, values: NDArray[np.uint8], bits: int) -> None:
    """A greyscale PNG of 1, 2, 4 or 8 bits, by the specification: Pillow writes only 8 and 1."""
    unpacked = np.unpackbits(values[:, :, None], axis=2)[:, :, 8 - bits :]
    rows = np.packbits(unpacked.reshape(len(values), -1), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_greyscale_labels_of_few_bits_are_read_as_stored(tmp_path: Path, bits: int) -> None:
    values = (np.arange(35).reshape(5, 7) * 7 % (1 << bits)).astype(np.uint8)
    write_grey_png(tmp_path / "label.png", values, bits)
    assert read_labels(tmp_path / "label.png").tolist() == values.tolist()


@pytest.mark.parametrize("colours", [2, 4, 16, 256])
def test_palette_labels_are_read_as_indices(tmp_path: Path, colours: int) -> None:
    values = (np.arange(35).reshape(5, 7) * 7 % colours).astype(np.uint8)
    image = Image.fromarray(values)
    image.putpalette(bytes(range(colours)) * 3)
    image.save(tmp_path / "label.png")
    assert Image.open(tmp_path / "label.png").mode == "P"
    assert read_labels(tmp_path / "label.png").tolist() == values.tolist()


@pytest.mark.parametrize(
    ("mode", "line"),
    [
        ("RGB", "is an RGB image; a label must"),
        ("LA", "type LA"),
    ],
)
def test_labels_of_other_types_are_refused(tmp_path: Path, mode: str, line: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "label.png")
    with pytest.raises(FileFault, match=line) as caught:
        read_labels(tmp_path / "label.png")
    assert caught.value.kind == "format"


@pytest.mark.parametrize(("mode", "suffix"), [("L", "png"), ("RGBA", "png"), ("RGB", "jpg"), ("P", "bmp")])
def test_images_of_every_common_type_become_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    Image.new("L", (4, 2), 90).convert(mode).save(tmp_path / f"image.{suffix}")
    image = read_image(tmp_path / f"image.{suffix}")
    assert (image.mode, image.size, image.getpixel((3, 1))) == ("RGB", (4, 2), (90, 90, 90))


def test_a_16_bit_image_is_refused(tmp_path: Path) -> None:
    Image.new("I;16", (4, 4)).save(tmp_path / "image.png")
    with pytest.raises(FileFault, match="I;16; it must have 8 bits per channel"):
        read_image(tmp_path / "image.png")


# --- Threads ------------------------------------------------------------------------------------


def test_mapping_keeps_the_order_and_stops_when_closed() -> None:
    assert list(map_in_order(lambda i: i * i, range(100), workers=3)) == [i * i for i in range(100)]
    begun: list[int] = []
    results = map_in_order(begun.append, range(10_000), workers=2)
    next(results)
    results.close()
    assert len(begun) < 100


# --- Files that are not what they seem ----------------------------------------------------------


def problem(path: Path) -> str:
    with pytest.raises(FileFault) as caught:
        (read_labels if "label" in path.name else read_image)(path)
    assert "\n" not in caught.value.problem
    return caught.value.problem


def test_an_image_that_claims_to_be_huge_is_refused_in_our_own_words(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    write_grey_png(path, np.zeros((1, 1), np.uint8), 8)
    content = bytearray(path.read_bytes())
    for width, height in ((20_000, 9_000), (60_000, 60_000)):
        content[16:24] = struct.pack(">II", width, height)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        path.write_bytes(content)
        assert "at most 178,956,970 are read" in problem(path)


def test_animations_sixteen_bits_and_folders_are_refused(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for suffix in ("webp", "png"):
        frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
        assert problem(tmp_path / f"a.{suffix}") == "is animated (2 frames); use a single still image"
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    assert "it must have 8 bits per channel" in problem(tmp_path / "deep.png")
    frames[0].save(tmp_path / "label.png")
    assert problem(tmp_path / "label.png").endswith(
        'replace each colour with its class id, or say labels = "colors" in a classes.toml'
    )
    (tmp_path / "folder.png").mkdir()
    assert problem(tmp_path / "folder.png") == "is not a regular file but a folder"


def test_an_orientation_tag_is_told_and_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    picture = Image.new("RGB", (8, 4))
    for suffix in ("jpg", "png", "webp"):
        picture.save(tmp_path / f"a.{suffix}", exif=exif)
        read = read_image(tmp_path / f"a.{suffix}")
        assert (read.size, orientation(read)) == ((8, 4), 6)
    picture.save(tmp_path / "b.png")
    assert orientation(read_image(tmp_path / "b.png")) == 1
    Image.fromarray(np.zeros((8, 4), np.uint8)).save(tmp_path / "label.png")  # drawn on the turned image
    sample = Sample("a", tmp_path / "a.jpg", tmp_path / "label.png")
    _, (fault,) = read_pair(sample, CITYSCAPES, tmp_path)
    assert "the image's orientation tag (6) is ignored" in fault.problem


def test_every_type_that_is_found_by_its_name_is_read(tmp_path: Path) -> None:
    for suffix in IMAGE_SUFFIXES:
        Image.new("CMYK" if suffix == ".jpg" else "RGB", (4, 4)).save(tmp_path / f"a{suffix}")
        assert read_image(tmp_path / f"a{suffix}").size == (4, 4)
