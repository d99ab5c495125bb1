"""Event files that TensorBoard reads, written by its own library (extra `tensorboard`), without torch.

Scalars are tensors of 64 bits, so a reader gets the digits that the journal has; the older form of scalars
has 32.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from engine.run.scalars import EpochScores, scalars

PACKAGE = "tensorboard"
MISSING = "needs the package tensorboard: pip install 'seg-engine[tensorboard]'"


def is_installed() -> bool:
    return importlib.util.find_spec(PACKAGE) is not None


@cache
def _let_its_threads_fail_quietly() -> None:
    """What goes wrong in a writer's thread is raised again by the next `flush` or `close`; that it should be
    printed as well, with its traceback, helps nobody."""
    usual = threading.excepthook

    def hook(told: threading.ExceptHookArgs) -> None:
        is_its_own = type(told.thread).__module__.startswith("tensorboard.")
        if not (is_its_own and isinstance(told.exc_value, OSError)):
            usual(told)

    threading.excepthook = hook


class EventFile:
    """One new event file in `folder`, which is made. Several in one folder are one run to TensorBoard."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        _let_its_threads_fail_quietly()
        self._writer = EventFileWriter(str(folder), flush_secs=10)

    def add_epoch(self, epoch: EpochScores, number: int, t: float) -> None:
        """The scores of an epoch at step `number`; `t` is UTC seconds."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.scalar.metadata import create_summary_metadata
        from tensorboard.util.tensor_util import make_tensor_proto

        values = [
            Summary.Value(
                tag=name,
                tensor=make_tensor_proto(np.float64(value)),
                metadata=create_summary_metadata(name, ""),
            )
            for name, value in scalars(epoch)
        ]
        self._add(Summary(value=values), number, t)

    def add_config(self, config: Mapping[str, Any], name: str, t: float) -> None:
        """The config of a run by dotted key, for TensorBoard's tab of hyperparameters."""
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        plain = {key: value for key, value in config.items() if isinstance(value, bool | int | float | str)}
        self._add(hparams_pb(plain, trial_id=name, start_time_secs=t), 0, t)

    def add_picture(self, name: str, png: bytes, size: tuple[int, int], number: int, t: float) -> None:
        """A picture of `size` (width, height) in pixels as PNG."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.image.metadata import create_summary_metadata
        from tensorboard.util.tensor_util import make_tensor_proto

        texts = [str(side).encode() for side in size]
        value = Summary.Value(
            tag=name,
            tensor=make_tensor_proto(np.array([*texts, png], dtype=object)),
            metadata=create_summary_metadata(name, ""),
        )
        self._add(Summary(value=[value]), number, t)

    def flush(self) -> None:
        """Write out what was added. Raises OSError."""
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _add(self, summary: Any, number: int, t: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=t, step=number, summary=summary))
