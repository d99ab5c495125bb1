"""The gallery: what the network makes of a fixed handful of validation images, kept as training advances.

gallery/inputs/<sample>_image.png     RGB, at the input size
gallery/inputs/<sample>_target.png    train ids, indexed, with the class colours
gallery/epoch_0010/<sample>.png       predicted train ids, indexed, with the class colours
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from engine.classes import ClassSet
from engine.data.batches import normalise
from engine.data.sample_readers import Split
from engine.learning.hardware import Hardware
from engine.learning.windows import Windows
from engine.models.contract import outputs_of
from engine.report.gallery import PictureError, gallery_name
from engine.report.triptych import gallery_picture
from engine.run.events import Gallery
from engine.run.files import replacing
from engine.worker.job import Job


def gallery_positions(split: Split, images: int) -> list[int]:
    """Which images of a split: evenly spread over it, so that one clip does not fill the gallery."""
    count = min(images, len(split))
    return [round(position) for position in np.linspace(0, len(split) - 1, count)]


@torch.inference_mode()
def write_gallery(
    job: Job, model: nn.Module, split: Split, class_set: ClassSet, hardware: Hardware, epoch: int
) -> None:
    """Predict the gallery's images and keep the class maps; the images themselves are written once."""
    positions = gallery_positions(split, job.config.gallery.images)
    names = [gallery_name(split.name(position)) for position in positions]
    inputs = job.run.gallery / "inputs"
    folder = job.run.gallery / f"epoch_{epoch:04d}"
    for wanted in (inputs, folder):
        wanted.mkdir(exist_ok=True)  # without parents: a run directory that was deleted stays deleted

    model.eval()
    windows = Windows.of(job.config.windowed)
    for position, name in zip(positions, names, strict=True):
        image, target = split.sample(position)
        if not (inputs / f"{name}_target.png").exists():
            write_png(inputs / f"{name}_image.png", Image.fromarray(image))
            write_png(inputs / f"{name}_target.png", indexed(target, class_set))
        batch = torch.from_numpy(image).unsqueeze(0).to(hardware.device)
        with hardware.autocast():
            logits = windows.logits(lambda part: outputs_of(model, part).logits, normalise(batch))
        prediction = logits.argmax(dim=1)[0].to(torch.uint8).cpu().numpy()
        write_png(folder / f"{name}.png", indexed(prediction, class_set))
    job.record(Gallery(epoch=epoch, path=str(folder.relative_to(job.run.path)), samples=names))


def write_picture(job: Job, class_set: ClassSet) -> None:
    """Compose the last gallery into one picture, outputs/picture.png."""
    colors = [c.hex_color for c in class_set.classes]
    try:
        picture = gallery_picture(job.run.gallery, class_set.names, colors, title=job.run.read_card().name)
    except PictureError as error:  # somebody tidied the gallery away; the run is none the worse for it
        job.warn(f"the picture could not be drawn: {error}")
        return
    write_png(job.run.outputs / "picture.png", picture)


def indexed(train_ids: NDArray[np.uint8], class_set: ClassSet) -> Image.Image:
    """A class map [H, W] as an indexed picture in the colours of its classes."""
    picture = Image.fromarray(train_ids, mode="P")
    picture.putpalette(class_set.palette())
    return picture


def write_png(path: Path, picture: Image.Image, compress_level: int = 6) -> None:
    """Replace `path`; of a photograph at 1024x2048, level 1 takes a third of the time of level 6 and a
    quarter more room."""
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG", compress_level=compress_level)
    with replacing(path) as stream:
        stream.write(encoded.getvalue())
