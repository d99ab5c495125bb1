"""An experiment engine for semantic segmentation.

from engine import load

net = load("RUN")                       # or load("model.onnx"), which needs no torch
prediction = net.predict(image)         # prediction.ids, prediction.scores

from engine import Workspace

ws = Workspace(".")
ws.runs("dice>0.5 tag:night")           # a DataFrame, where pandas or polars is installed
run = ws.start("quick", data="DATA", **{"optimizer.lr": 0.01})
run.wait()

Importing this package imports nothing else; what needs torch imports it when it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.api.workspace import Workspace
    from engine.loading import LoadedNetwork

__all__ = ["Workspace", "load"]


def __getattr__(name: str) -> Any:
    if name != "Workspace":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from engine.api.workspace import Workspace  # the database's library takes a while

    return Workspace


def load(
    source: str | Path,
    *,
    workspace: str | Path = ".",
    checkpoint: str = "best",
    device: str = "auto",
    size: tuple[int, int] | None = None,
    window: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None,
) -> LoadedNetwork:
    """A trained network: that of a run (an id, a prefix of it or a name) in a `workspace`, or an ONNX file of
    `seg-engine export`.

    `checkpoint` is "best", "last" or a file of the run; `device` is "auto", "cpu" or "cuda"; a file runs on
    the CPU.

    `size` is the (height, width) in pixels that images are resized to, by default that of the training or of
    the export. With a `window` (height, width) the network sees parts of that, `stride` (down, right) apart,
    by default two thirds of the window, and logits are averaged where windows overlap, as in
    `evaluate --window`. A file that was exported for one size sees windows of that size.

    Raises FileNotFoundError for a folder that is no workspace, an `engine.errors.EngineError` whose
    one line says what is wrong for anything else that cannot be loaded.
    """
    from engine.config.seen import Seen
    from engine.loading import load as load_network

    return load_network(source, workspace, checkpoint, device, Seen(size, window, stride))
