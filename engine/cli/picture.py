"""`seg-engine picture`: the gallery of a run as one PNG."""

from __future__ import annotations

from pathlib import Path

from engine.cli.reading import open_existing
from engine.host.access import refuse_unwritable
from engine.report.gallery import PictureError
from engine.report.triptych import gallery_picture
from engine.run.files import replacing
from engine.workspace import Workspace


def draw_picture(
    workspace: Workspace,
    prefix: str,
    epoch: int | None,
    samples: int,
    out: Path | None,
    boundaries: bool = False,
) -> None:
    """Write the picture and print its path. Raises StoreError and PictureError."""
    with open_existing(workspace) as store:
        row = store.run(store.resolve(prefix))
    run = workspace.run_dir(row.id)
    path = out or run.outputs / "picture.png"
    if path.suffix.lower() != ".png":
        raise PictureError(f"{path}: the picture is a PNG; the name must end in .png")
    refuse_unwritable(path.parent, "use --out FILE to write it elsewhere")
    picture = gallery_picture(run.gallery, row.classes, row.colors, epoch, samples, row.name, boundaries)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        picture.save(stream, format="PNG")
    print(path.absolute())
