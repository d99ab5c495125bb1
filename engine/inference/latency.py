"""The task latency: how long one image takes through the network of another run, by two protocols, and
through files that the network was exported to, by onnxruntime.

A measurement is as good as the machine is quiet. So a run that was stopped makes all of them anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch
from torch import nn

from engine.config.run_config import RunConfig
from engine.config.task_sections import TimingConfig
from engine.exported.latency import file_settings, measure_files
from engine.exported.network import ExportedModel
from engine.inference.network import load_network
from engine.learning.hardware import Hardware, choose_hardware, settle_arithmetic
from engine.learning.latency import measured, settings_of
from engine.metrics.latency import Machine, latency_result
from engine.run.events import Finished, Progress
from engine.run.latency_events import LatencyResult, Timed
from engine.training.begin import describe_model
from engine.worker.job import Job, record_start


def latency(job: Job) -> None:
    """Measure a checkpoint's network. Raises StopRequested between two measurements, CheckpointError, and
    ExportedError for a file that is no exported network or takes images of another size."""
    config, about = job.config, job.config.latency
    assert about is not None
    begun = time.monotonic()
    hardware = choose_hardware(config)
    settle_arithmetic(config, hardware)
    record_start(job, hardware, resumed_from_epoch=0)
    network = load_network(config, job.run.path, hardware, ())
    table = LatencyTable(config, about, hardware, about.exported)
    job.record(
        Timed(
            source=about.source,
            checkpoint=about.checkpoint,
            sha256=network.sha256,
            epoch=network.epoch,
            measurements=len(table),
        )
    )
    describe_model(job, network.model, len(network.classes))
    for result in table.measure(network.model):
        job.record(result)
        job.say(result.told)
        job.step_done()
        job.report(Progress(phase="latency", epoch=0, step=result.number + 1, steps=len(table)))
        job.check_stop()
    job.record(Finished(epoch=0, seconds=round(time.monotonic() - begun, 3)))


class LatencyTable:
    """The measurements that are to be made of a network and of exported files, in their order.

    Raises ExportedError for a file that is no exported network or takes images of another size."""

    def __init__(
        self, config: RunConfig, wanted: TimingConfig, hardware: Hardware, files: tuple[str, ...] = ()
    ) -> None:
        self.wanted, self.hardware, self.threads = wanted, hardware, torch.get_num_threads()
        self.channels_last = config.runtime.channels_last
        self.settings = settings_of(wanted, config.data.size, hardware)
        models = [ExportedModel.open(Path(file), self.threads) for file in files]
        self.files = [(model, file_settings(model, wanted)) for model in models]

    def __len__(self) -> int:
        return len(self.settings) + sum(len(settings) for _, settings in self.files)

    def measure(self, model: nn.Module) -> Iterator[LatencyResult]:
        """Of a model in evaluation mode on the device, then of the files."""
        results = chain(self._of_model(model), measure_files(self.files, self.wanted.seconds, self.threads))
        for number, result in enumerate(results):
            yield result.model_copy(update={"number": number})

    def _of_model(self, model: nn.Module) -> Iterator[LatencyResult]:
        machine = machine_of(self.hardware)
        lines = measured(model, self.settings, self.hardware, self.wanted.seconds, self.channels_last)
        for setting, found in lines:
            yield latency_result(setting, found, machine)


def machine_of(hardware: Hardware) -> Machine:
    return Machine(str(hardware.device), hardware.name, torch.get_num_threads())
