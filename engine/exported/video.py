"""A video coloured by an exported network."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from PIL import Image

from engine.data.decode import map_in_order
from engine.exported.network import ExportedModel
from engine.run.scratch import scratch_folder
from engine.video.reading import Frame, Video
from engine.video.views import Painter
from engine.video.writing import VideoParts


def write_video(
    model: ExportedModel,
    video: Video,
    out: Path,
    view: str,
    label_resize: str,
    on_frame: Callable[[int, int], None] = lambda done, of: None,
) -> int:
    """Write the video, whole or not at all; returns the number of its frames, and `video.fault` says what
    could not be read. `on_frame` is told how many are done of how many. Raises VideoError."""
    painter, size = Painter(view, model.colors), (video.height, video.width)

    def predicted(frame: Frame) -> tuple[Frame, Frame]:
        classes = model.class_map(Image.fromarray(frame.pixels), size, label_resize)
        painted = painter.paint(frame.pixels, classes)
        return frame, Frame(frame.index, frame.pts, frame.duration, painted)

    with scratch_folder(out.parent, ".predicted-frames-") as folder:
        parts = VideoParts(folder / "parts", video)
        with closing(map_in_order(predicted, video.read(), workers=1)) as frames:
            for frame, painted in frames:
                parts.add(frame, painted.pixels)
                on_frame(parts.done, max(video.frames, parts.done))
        parts.finish(out)
        return parts.done
