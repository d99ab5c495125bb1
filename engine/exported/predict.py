"""Class maps of images by an exported network."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from PIL import Image

from engine.data.class_map_files import ClassMapWriter
from engine.data.decode import map_in_order
from engine.data.image_files import FileFault, read_image
from engine.exported.network import ExportedModel


def write_predictions(
    model: ExportedModel, images: Sequence[tuple[Path, str]], writer: ClassMapWriter, label_resize: str
) -> list[str]:
    """Write what `writer` makes of each image under its name; returns what is wrong with those that cannot
    be used. Raises DataError where a file cannot be written."""

    def read(each: tuple[Path, str]) -> tuple[str, Image.Image | str]:
        path, name = each
        try:
            return name, read_image(path)
        except FileFault as fault:
            return name, str(fault)

    faults = []
    with closing(map_in_order(read, images)) as reading:
        for name, image in reading:
            if isinstance(image, str):
                faults.append(image)
            else:
                size = image.height, image.width
                writer.write(name, image, model.class_map(image, size, label_resize))
    return faults
