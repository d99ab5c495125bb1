"""The events of latency: how long one image takes through a network."""

from __future__ import annotations

from typing import Literal

from engine.run.bounds import EpochNumber, Name, Rate, Seconds, Whole, Word
from engine.run.event import Event


class Timed(Event):
    """What a run of the task `latency` measures: the network of a checkpoint of the run `source`. Every
    attempt makes all `measurements` anew."""

    event: Literal["timed"] = "timed"
    source: str
    checkpoint: str
    sha256: Word
    epoch: EpochNumber
    measurements: Whole


class LatencyResult(Event):
    """Seconds that one image of `height` x `width` takes through a network: passes one after the other, from
    pixels to class ids (`engine`) or through the network alone, batch norms folded (`literature`).

    An evaluation has one, of the precision that it scored with; the task `latency` has many, each a `number`.
    `frames_per_second` is one over the median by the protocol `engine` and one over the mean by `literature`.
    `file` is the exported network that onnxruntime ran, and its `precision` that of its weights. `problem`
    says in a line why nothing could be measured.
    """

    event: Literal["latency"] = "latency"
    number: Whole
    protocol: Literal["engine", "literature"]
    runtime: Literal["torch", "onnxruntime"]
    precision: Word
    compiled: bool
    height: Whole
    width: Whole
    passes: Whole
    median_seconds: Seconds | None
    p95_seconds: Seconds | None
    p99_seconds: Seconds | None
    mean_seconds: Seconds | None
    frames_per_second: Rate | None
    device: Word
    device_name: Name
    threads: Whole
    file: str = ""
    problem: str = ""

    @property
    def told(self) -> str:
        """The event as a line for people."""
        compiled, file = ", compiled" if self.compiled else "", f", {self.file}" if self.file else ""
        how = f"{self.runtime} {self.precision}{compiled}{file}"
        what = f"{self.height}x{self.width}, {self.protocol}, {how}"
        if self.median_seconds is None or self.frames_per_second is None:
            return f"{what}: {self.problem}"
        return f"{what}: {1000 * self.median_seconds:.1f} ms, {self.frames_per_second:.1f} frames/s"
