"""What a prediction of a video is to make, settled before a run exists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.host.input_files import shown
from engine.requests.refusals import Refused
from engine.run.files import expanded
from engine.video.reading import Video, is_video
from engine.video.writing import CONTAINERS


def names_video(images: Sequence[str]) -> bool:
    """Whether some of what people name is a video."""
    return any(map(is_video, images))


def find_video(images: Sequence[str], out: Path | None, overwrite: bool) -> tuple[Video, Path | None]:
    """The one video that is named, and where its output goes, absolute. Raises Refused and VideoError."""
    if len(images) > 1:
        raise Refused([f"{images[0]} and {images[1]}: a video is predicted alone, one after the other"])
    path = expanded(Path(images[0])).absolute()
    video = Video.open(path)
    if out is None:
        return video, None
    target = expanded(out).absolute()
    if target.suffix.lower() not in CONTAINERS:
        wanted = ", ".join(CONTAINERS)
        raise Refused([f"--out {shown(out)}: names a video, so it must end in one of {wanted}"])
    if target.is_dir():
        raise Refused([f"--out {shown(out)}: is a folder; name a file such as {shown(out / path.stem)}.mp4"])
    if not target.parent.is_dir():
        raise Refused([f"--out {shown(out)}: there is no folder {shown(target.parent)}"])
    if target.exists() and (not overwrite or target.samefile(path)):
        told = "is the video itself" if target.samefile(path) else "already exists; add --overwrite"
        raise Refused([f"--out {shown(out)}: {told}"])
    return video, target
