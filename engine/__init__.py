"""An experiment engine for semantic segmentation.

from engine import load

net = load("RUN")                       # or load("model.onnx"), which needs no torch
prediction = net.predict(image)         # prediction.ids, prediction.scores
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.loading import LoadedNetwork

__all__ = ["load"]


def load(
    source: str | Path, *, workspace: str | Path = ".", checkpoint: str = "best", device: str = "auto"
) -> LoadedNetwork:
    """A trained network: that of a run (an id, a prefix of it or a name) in a `workspace`, or an ONNX file of
    `seg-engine export`.

    `checkpoint` is "best", "last" or a file of the run; `device` is "auto", "cpu" or "cuda"; a file runs on
    the CPU. Raises FileNotFoundError for a folder that is no workspace, an `engine.errors.EngineError` whose
    one line says what is wrong for anything else that cannot be loaded.
    """
    from engine.loading import load as load_network

    return load_network(source, workspace, checkpoint, device)
