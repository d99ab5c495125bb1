"""What other programs have recorded of their runs, as they name it: TensorBoard, MLflow and tables in CSV."""

from __future__ import annotations

import csv
import importlib.util
import io
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.host.input_files import open_regular
from engine.report.runs import config_of_values


class RecordsError(EngineError):
    """Records that cannot be read; the message is one line."""


@dataclass
class Records:
    """One run. `points` holds for each metric, by step, (UTC seconds, value); `evaluations` the rows of a
    table of scores of its checkpoints, by column; `config` what is told of its config, by key. `end` is ""
    where the records do not tell how it ended. Where they have no times (`are_timed`), all are that of their
    file, which another copy of it may have otherwise."""

    source: str
    name: str
    experiment: str = ""
    are_timed: bool = True
    points: dict[str, dict[int, tuple[float, float]]] = field(default_factory=dict)
    evaluations: list[dict[str, str]] = field(default_factory=list)
    config: dict[str, str] = field(default_factory=dict)
    end: str = ""

    def add(self, metric: str, step: int, t: float, value: float) -> None:
        """Keep a value; of several at one step the last counts, and one that is no number is left out."""
        if math.isfinite(value):
            self.points.setdefault(metric, {})[step] = (t, value)


def read_tensorboard(folder: Path) -> Iterator[Records]:
    """A run for each folder that holds event files."""
    _need("tensorboard", "tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    for place, _, files in sorted(os.walk(folder)):
        if not any("tfevents" in name for name in files):
            continue
        read = EventAccumulator(place, size_guidance={"tensors": 0, "scalars": 0})
        read.Reload()
        relative = os.path.relpath(place, folder)
        records = Records(place, os.path.basename(place) if relative == "." else relative)
        for tag in read.Tags()["scalars"]:
            for event in read.Scalars(tag):
                records.add(tag, event.step, event.wall_time, float(event.value))
        for tag in read.Tags()["tensors"]:
            for event in read.Tensors(tag):
                value = make_ndarray(event.tensor_proto)
                if value.size == 1 and value.dtype.kind in "fiu":
                    records.add(tag, event.step, event.wall_time, float(value.item()))
        records.config = _hyperparameters(read)
        yield records


def _hyperparameters(read: Any) -> dict[str, str]:
    from tensorboard.plugins.hparams import metadata

    try:
        content = read.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    except KeyError:
        return {}
    told = metadata.parse_session_start_info_plugin_data(content).hparams
    config = {}
    for key, value in told.items():
        match value.WhichOneof("kind"):
            case "string_value":
                config[key] = value.string_value
            case "bool_value":
                config[key] = str(value.bool_value).lower()
            case "number_value":
                config[key] = f"{value.number_value:.17g}"
    return config


def read_mlflow(folder: Path) -> Iterator[Records]:
    """The runs of all experiments of a file store."""
    _need("mlflow", "mlflow")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    if not any(folder.glob("*/meta.yaml")):
        return  # MLflow would say so of each folder, with a traceback
    told = _Told()
    logging.getLogger().addHandler(told)
    try:
        client = MlflowClient(tracking_uri=folder.absolute().as_uri())
        for experiment in client.search_experiments():
            token: str | None = None
            while True:
                found = client.search_runs([experiment.experiment_id], page_token=token)
                for run in found:
                    yield _of_mlflow(client, run, f"{folder}/{experiment.experiment_id}", experiment.name)
                token = found.token
                if not token:
                    break
    except MlflowException as error:
        raise RecordsError(f"{folder}: {' '.join(str(error).split())}") from error
    finally:
        logging.getLogger().removeHandler(told)
    if told.lines:
        raise RecordsError("; ".join(told.lines))


class _Told(logging.Handler):
    """Keeps what MLflow logs of folders that it cannot read, a line each and without its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(" ".join(record.getMessage().split()))


def _of_mlflow(client: Any, run: Any, place: str, experiment: str) -> Records:
    records = Records(f"{place}/{run.info.run_id}", run.info.run_name or run.info.run_id, experiment)
    for metric in run.data.metrics:
        for point in client.get_metric_history(run.info.run_id, metric):
            records.add(metric, point.step, point.timestamp / 1000, point.value)
    records.config = dict(run.data.params)
    records.end = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "stopped"}.get(run.info.status, "")
    return records


_OWN_KEYS = {"run", "name", "epoch", "split", "t"}
"""Columns that tell a table of epochs of this program from one that is called so."""

STEPS = ("epoch", "step", "Epoch", "Step")


def read_csv(folder: Path) -> Iterator[Records | RecordsError]:
    """The runs of `export --format csv`, or else a run for each file, with a metric a column and a column
    `epoch` or `step`."""
    own = folder / "epochs.csv"
    if own.is_file() and all(line.keys() >= _OWN_KEYS for line in _lines(own)[:1]):
        yield from _of_own_tables(folder)
        return
    for path in sorted(path for path in folder.rglob("*.csv") if not path.is_dir()):
        try:
            records = _of_table(path)
        except RecordsError as error:
            yield error
        else:
            yield records


def _of_table(path: Path) -> Records:
    lines = _lines(path)
    step = _step_column(path, lines)
    records = Records(str(path), path.stem, are_timed=False)
    t = path.stat().st_mtime
    for line in lines:
        number = _number(line[step])
        for name, text in line.items():
            value = _number(text)
            if name != step and value is not None and number is not None:
                records.add(name, int(number), t, value)
    return records


def _step_column(path: Path, lines: Sequence[Mapping[str, str]]) -> str:
    """The first column of STEPS that holds whole numbers: of some programs, an epoch is a fraction beside
    steps. Raises RecordsError where there is none."""
    named = [name for name in STEPS if lines and name in lines[0]]
    if not named:
        raise RecordsError(f"{path}: has no column called epoch or step")
    problems = []
    for name in named:
        broken = next((line[name] for line in lines if (_number(line[name]) or 0.0) % 1), None)
        if broken is None:
            return name
        problems.append(f"{name} {broken} is no whole number")
    raise RecordsError(
        f"{path}: {', and '.join(problems)}; one of the columns epoch and step must have them alone"
    )


_OF_SPLIT = (
    *("loss", "dice", "dice_image", "miou", "pixel_accuracy", "lr", "seconds"),
    *("images_per_second", "data_wait", "peak_memory_bytes", "joules"),
)


def _of_own_tables(folder: Path) -> Iterator[Records]:
    runs: dict[str, Records] = {}
    table = folder / "epochs.csv"
    for place, line in enumerate(_lines(table), start=2):
        run = line["run"]
        records = runs.setdefault(run, Records(f"{table}:{run}", line["name"] or run))
        epoch, t = _number(line["epoch"]), _number(line["t"])
        if epoch is None or not epoch.is_integer() or t is None:
            raise RecordsError(f"{table}, line {place}: epoch and t must be numbers")
        for name in _OF_SPLIT:
            if (value := _number(line.get(name, ""))) is not None:
                records.add(f"{name}/{line['split']}", int(epoch), t, value)
    for line in _rows_of(folder / "class_scores.csv", runs, {"run", "split", "class", "epoch"}):
        known, epoch = runs[line["run"]], _number(line["epoch"])
        t = next(iter(known.points.values()), {}).get(int(epoch or 0), (0.0, 0.0))[0]
        for kind in ("dice", "iou"):
            value = _number(line.get(kind, ""))
            if value is not None and epoch is not None:
                known.add(f"class_{kind}/{line['split']}/{line['class']}", int(epoch), t, value)
    for line in _rows_of(folder / "evaluations.csv", runs, {"run"}):
        runs[line["run"]].evaluations.append(line)
    for line in _rows_of(folder / "runs.csv", runs, {"id"}, "id"):
        told = runs[line["id"]]
        told.experiment = line.get("experiment", "")
        told.end = line["status"] if line.get("status") in ("finished", "failed", "stopped") else ""
        told.config = config_of_values(line)
    yield from runs.values()


def _rows_of(
    path: Path, runs: Mapping[str, Records], needed: set[str], of: str = "run"
) -> Iterator[dict[str, str]]:
    """The lines of a table beside `epochs.csv` that are of its runs; none where there is no such table.
    Raises RecordsError for one without the columns that it needs."""
    for line in _lines(path) if path.is_file() else ():
        if missing := sorted(needed - line.keys()):
            raise RecordsError(f"{path}: has no column {', '.join(missing)}")
        if line[of] in runs:
            yield line


def _lines(path: Path) -> list[dict[str, str]]:
    try:
        with io.TextIOWrapper(open_regular(path), newline="", encoding="utf-8-sig") as file:
            return [{k: v or "" for k, v in line.items() if k} for line in csv.DictReader(file)]
    except OSError as error:
        raise RecordsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordsError(f"{path}: is no CSV file: {error}") from error


def _number(text: str) -> float | None:
    """None for what is no number, and for NaN and infinity, which are no step, no time and no score."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _need(package: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise RecordsError(f"--from {package}: needs {package}: pip install 'seg-engine[{extra}]'")


READERS: Mapping[str, Callable[[Path], Iterator[Records | RecordsError]]] = {
    "tensorboard": read_tensorboard,
    "csv": read_csv,
    "mlflow": read_mlflow,
}
"""How the records of each program are read: the runs and, of a part of them that cannot be read, why; what
comes after it is read all the same. Raise RecordsError where nothing is."""
