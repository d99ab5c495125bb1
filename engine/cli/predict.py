"""`seg-engine predict`: class maps of any images, by the network of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.cli.evaluate import card_of_network
from engine.cli.reading import open_existing
from engine.cli.run import check_data, queue_or_start, tell_notes
from engine.requests.derive import checkpoint_of, derived_config, source_run, trained_config
from engine.requests.predict import find_images, label_values, output_names, refuse_existing, refuse_no_folder
from engine.requests.predict_video import find_video, names_video
from engine.requests.refusals import Refused
from engine.run.files import expanded
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.scoring import Prediction

OUTPUTS = "outputs"
"""Where predictions go by themselves: below the folder of their own run."""


def predict(workspace: Workspace, wanted: Prediction) -> int:
    """Make class maps, or a video of one, as a run of its own; returns the exit status, 1 when some image
    could not be used.

    Raises Refused, ConfigError and StoreError before anything is made.
    """
    place, as_json = wanted.queued.place, wanted.as_json
    with open_existing(workspace, change=True) as store:
        row = source_run(store, wanted.run)
        if not row.classes:
            raise Refused(
                [f"{row.id}: has not started yet, so its classes are unknown; predict after it starts"]
            )
        path = checkpoint_of(workspace, row, wanted.checkpoint, waits=place is not None)
        trained_config(workspace, row)  # a plugin of the run may know the layout of the images
        section = {
            "label_resize": wanted.label_resize,
            "tta": wanted.tta,
            **wanted.windows.keys,
            "source": row.id,
            "checkpoint": path,
            "classes": row.classes,
            "colors": row.colors,
            "values": label_values(row, wanted.ids),
            "overwrite": wanted.overwrite,
        }
        section |= of_video(wanted) if names_video(wanted.images) else of_images(wanted)
        config = derived_config(workspace, row, section, wanted.set_key, task="predict", crf=wanted.crf)
        check_data(config, workspace, row=row)
        made = card_of_network(wanted.new, row, f"{row.name}-predict")
        return queue_or_start(workspace, store, made, config, wanted.queued, as_json)


def of_images(wanted: Prediction) -> dict[str, Any]:
    """What the section says of images. Raises Refused."""
    refuse_for_images(wanted)
    found = find_images(wanted.images)
    tell_notes(found.notes)
    names = output_names(found.images, wanted.naming)
    folder = expanded(wanted.out).absolute() if wanted.out is not None else None
    if folder is not None:
        refuse_no_folder(folder)
        if not wanted.overwrite:
            refuse_existing(folder, names)
    return {
        "naming": wanted.naming,
        "images": [str(image) for image in found.images],
        "out": str(folder) if folder is not None else OUTPUTS,
        "notes": found.notes,
    }


def of_video(wanted: Prediction) -> dict[str, Any]:
    """What the section says of a video. Raises Refused and VideoError."""
    refuse_for_video(wanted)
    video, out = find_video(wanted.images, wanted.out, wanted.overwrite)
    return {
        "video": True,
        "view": wanted.view or "overlay",
        "images": [str(video.path)],
        "out": str(out) if out is not None else f"{OUTPUTS}/{video.path.stem}.mp4",
    }


def refuse_for_images(wanted: Prediction) -> None:
    """Raise Refused for options that mean nothing for images."""
    given = {"--view": wanted.view != "", "--size": wanted.size != ""}
    if idle := [option for option, is_given in given.items() if is_given]:
        raise Refused(
            [f"{option}: has no effect on images, of which every view is written" for option in idle]
        )


def refuse_for_video(wanted: Prediction) -> None:
    """Raise Refused for options that mean nothing for a video."""
    given = {
        "--ids raw": wanted.ids == "raw",
        "--naming cityscapes": wanted.naming == "cityscapes",
        "--crf": wanted.crf,
        "--view ids": wanted.view == "ids",
        "--size": wanted.size != "",
        **{f"--set {change}": change.startswith("crf.") for change in wanted.set_key},
    }
    if idle := [option for option, is_given in given.items() if is_given]:
        raise Refused([f"{option}: has no effect on videos, which show colours" for option in idle])
