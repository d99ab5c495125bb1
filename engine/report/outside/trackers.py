"""Runs in the folders of experiment trackers, each written by the tracker's own library."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.config.described import format_value
from engine.report.outside.recorded import Recorded
from engine.run.event_files import EventFile
from engine.run.scalars import scalars

ALLOW_FILES = "MLFLOW_ALLOW_FILE_STORE"
"""Without it MLflow 3 refuses its own file store, which it no longer develops. `mlflow migrate-filestore`
makes a database of one."""


ENDS = {"finished": "FINISHED", "stopped": "KILLED"}
"""What MLflow calls the ends of runs that did not fail."""


def write_tensorboard(folder: Path, runs: Sequence[Recorded]) -> list[Path]:
    """A folder of event files for each run: curves, class scores, the config as hyperparameters, the
    predictions of the last gallery."""
    made = []
    for run in runs:
        own = folder / f"{_file_name(run.row.name)}-{run.row.id}"
        file = EventFile(own)
        file.add_config(run.config, run.row.id, run.began)
        for epoch in run.epochs:
            file.add_epoch(epoch, epoch.epoch, epoch.t)
        if (drawn := run.picture()) is not None:
            file.add_picture("predictions", *drawn, run.row.epoch, run.row.ended_at or run.began)
        file.close()
        made.append(own)
    return made


def write_mlflow(folder: Path, runs: Sequence[Recorded]) -> list[Path]:
    """MLflow's file store: an experiment for each experiment, metrics by step, the config as parameters, the
    predictions of the last gallery, status, tags and note."""
    with _environment(ALLOW_FILES, "true"):
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=folder.absolute().as_uri())
        for run in runs:
            row = run.row
            known = client.get_experiment_by_name(row.experiment)
            experiment = known.experiment_id if known else client.create_experiment(row.experiment)
            made = client.create_run(experiment, start_time=_milliseconds(run.began), run_name=row.name)
            metrics = [
                Metric(_mlflow_name(name), value, _milliseconds(epoch.t), epoch.epoch)
                for epoch in run.epochs
                for name, value in scalars(epoch)
            ]
            for first in range(0, len(metrics), 1000):
                client.log_batch(made.info.run_id, metrics[first : first + 1000])
            config = [(key, format_value(value)) for key, value in run.config.items()]
            for first in range(0, len(config), 100):
                part = [Param(_mlflow_name(key), value[:6000]) for key, value in config[first : first + 100]]
                client.log_batch(made.info.run_id, params=part)
            tags = [RunTag("seg_engine.run", row.id), RunTag("seg_engine.tags", ",".join(row.tags))]
            client.log_batch(made.info.run_id, tags=[*tags, RunTag("mlflow.note.content", row.note)])
            if (drawn := run.picture()) is not None:
                from PIL import Image

                client.log_image(made.info.run_id, Image.open(io.BytesIO(drawn[0])), "predictions.png")
            end = ENDS.get(row.status, "FAILED" if row.ended else "RUNNING")
            client.set_terminated(made.info.run_id, end, _milliseconds(row.ended_at or run.began))
    return [folder]


def write_wandb(folder: Path, runs: Sequence[Recorded]) -> list[Path]:
    """Offline runs of Weights & Biases, which `wandb sync` sends later: history by epoch, config, the
    predictions of the last gallery, the best score as summary. Nothing is sent."""
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        row = run.row
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True)
        writer = wandb.init(
            mode="offline",
            dir=str(folder),
            project=row.experiment,
            name=row.name,
            id=row.id,
            tags=list(row.tags),
            notes=row.note,
            config=dict(run.config),
            settings=settings,
        )
        for number in sorted({epoch.epoch for epoch in run.epochs}):
            line: dict[str, Any] = {"epoch": number}
            for epoch in (each for each in run.epochs if each.epoch == number):
                line |= dict(scalars(epoch))
            writer.log(line, step=number)
        if (drawn := run.picture()) is not None:
            from PIL import Image

            picture = wandb.Image(Image.open(io.BytesIO(drawn[0])))
            writer.log({"predictions": picture}, step=run.epochs[-1].epoch if run.epochs else 0)
        writer.summary.update({"best_dice": row.best_dice, "best_epoch": row.best_epoch})
        writer.finish(exit_code=0 if row.status == "finished" else 1)
    return sorted((folder / "wandb").glob("offline-run-*"))


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", name) or "run"


def _mlflow_name(name: str) -> str:
    """MLflow allows letters, digits and _ - . : / and the blank in a name."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _milliseconds(t: float) -> int:
    return round(1000 * t)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
