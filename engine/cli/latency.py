"""`seg-engine bench --latency`: how long one image takes through a recipe's network, a run's, or a file's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.bench import probe
from engine.cli.console import notices, output, print_json
from engine.cli.evaluate import card_of_network
from engine.cli.exported import is_exported
from engine.cli.reading import has_database, open_existing
from engine.cli.run import check_data, queue_or_start
from engine.config.keys import ConfigError, parse_assignments, with_values
from engine.config.recipes import UnknownRecipe
from engine.config.run_config import RunConfig
from engine.config.run_defaults import load_run_defaults
from engine.config.task_sections import TimingConfig
from engine.exits import DONE
from engine.exported.latency import file_settings, measure_files
from engine.exported.network import ExportedModel
from engine.host.cuda_driver import cuda_devices
from engine.host.processes import available_cores
from engine.report.latency import latency_text
from engine.report.tables import large
from engine.requests.configs import base_config, check_runnable
from engine.requests.derive import checkpoint_of, derived_config, source_run, trained_config
from engine.run.files import absolute
from engine.run.latency_events import LatencyResult
from engine.store import LatencyRow, StoreError
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.choosing import Benchmark


def latency(workspace: Workspace, wanted: Benchmark) -> int:
    """Measure, of a run as a run of its own; returns the exit status. Raises ConfigError, ExportedError,
    StoreError and Refused before anything is measured."""
    if is_exported(wanted.target):
        return _of_file(wanted)
    try:
        base = base_config(wanted.target, load_run_defaults(workspace.root), _values(wanted))
    except UnknownRecipe as error:
        if not workspace.root.is_dir() or not has_database(workspace):
            raise
        return _of_run(workspace, wanted, error)
    return _of_recipe(base, wanted)


def _of_run(workspace: Workspace, wanted: Benchmark, no_recipe: UnknownRecipe) -> int:
    place = wanted.queued.place
    with open_existing(workspace, change=True) as store:
        try:
            row = source_run(store, wanted.target)
        except StoreError as no_run:
            raise ConfigError([f"{no_recipe}; nor is it a run: {no_run}"]) from no_run
        trained = with_values(trained_config(workspace, row), _values(wanted))
        timing = _timing(wanted, trained)
        section = timing.model_dump() | {
            "source": row.id,
            "checkpoint": checkpoint_of(workspace, row, wanted.checkpoint, waits=place is not None),
            "exported": [str(path) for path in _files(wanted, timing)],
        }
        config = derived_config(workspace, row, section, wanted.changes, task="latency")
        check_data(config, workspace, row=row)
        made = card_of_network(wanted.new, row, f"{row.name}-latency")
        return queue_or_start(workspace, store, made, config, wanted.queued, wanted.as_json)


def _of_recipe(base: RunConfig, wanted: Benchmark) -> int:
    _refuse_run_options(wanted, f"{wanted.target} is not a run")
    config = with_values(base, _values(wanted))
    check_runnable(config)
    timing = _timing(wanted, config)
    files = _files(wanted, timing)
    notices.say("importing torch")
    rows, machine = [], {}
    for line in probe(config, "--latency", timing.model_dump_json(), "--exported", *map(str, files)):
        if line["kind"] == "machine":
            machine = line
            continue
        result = LatencyResult.model_validate(line)
        notices.say(result.told)
        rows.append(result)
    about = f"{config.recipe or config.model.name}: {large(machine['parameters'])} parameters, untrained"
    _tell(rows, about, wanted.as_json)
    return DONE


def _of_file(wanted: Benchmark) -> int:
    _refuse_run_options(wanted, f"{wanted.target} is not a run")
    idle = [*wanted.changes, *(f"--precision {each}" for each in wanted.precision)]
    idle += ["--compile"] if wanted.compile else []
    if idle:
        raise ConfigError([f"{each}: has no effect on an exported file" for each in idle])
    timing = _timing(wanted)
    files = [Path(wanted.target), *wanted.exported]
    threads = available_cores()
    models = [ExportedModel.open(absolute(file), threads) for file in files]
    rows = []
    for number, result in enumerate(
        measure_files([(model, file_settings(model, timing)) for model in models], timing.seconds, threads)
    ):
        notices.say(result.told)
        rows.append(result.model_copy(update={"number": number}))
    _tell(rows, "", wanted.as_json)
    return DONE


def _values(wanted: Benchmark) -> dict[str, Any]:
    """The changes of keys. Raises ConfigError for one whose place is taken by an option."""
    values = parse_assignments(wanted.changes)
    if "precision" in values:
        raise ConfigError(["precision: use --precision, which may be given several times"])
    return values


def _timing(wanted: Benchmark, config: RunConfig | None = None) -> TimingConfig:
    """What is to be measured of the network of a config. Raises ConfigError for a size or a precision that it
    cannot have; without a config there are only files, and each knows its own sizes."""
    try:
        timing = TimingConfig.model_validate(
            {
                "sizes": wanted.size,
                "protocols": [wanted.protocol] if wanted.protocol else ["engine", "literature"],
                "precisions": list(dict.fromkeys(wanted.precision)),
                "compile": wanted.compile,
                "seconds": wanted.seconds or 6.0,
            }
        )
    except ValueError as error:
        sizes = ", ".join(wanted.size)
        raise ConfigError(
            [f"--size {sizes}: must be HEIGHTxWIDTH such as 512x1024, each from 16 to 8192"]
        ) from error
    if config is None:
        return timing
    for size in timing.sizes:
        if problem := config.model.size_problem(*size):
            raise ConfigError([f"--size {problem}"])
    on_cuda = config.device != "cpu" and (config.executor == "slurm" or cuda_devices() > 0)
    strange = [each for each in timing.precisions if each in ("tf32", "fp16") and not on_cuda]
    if strange:
        raise ConfigError([f"--precision {each}: needs CUDA; the CPU has fp32 and bf16" for each in strange])
    return timing


def _files(wanted: Benchmark, timing: TimingConfig) -> list[Path]:
    """The exported files, each of which can be measured. Raises ExportedError."""
    files = [absolute(file) for file in wanted.exported]
    for file in files:
        file_settings(ExportedModel.open(file), timing)
    return files


def _refuse_run_options(wanted: Benchmark, why: str) -> None:
    """Raise ConfigError for options that only a run has a use for."""
    given = {
        "--name, --experiment, --tag and --note": wanted.new != type(wanted.new)(),
        "--queue": wanted.queued != type(wanted.queued)(),
        "--checkpoint": wanted.checkpoint != type(wanted).checkpoint,
    }
    if idle := [f"{option}: has no effect, as {why}" for option, is_given in given.items() if is_given]:
        raise ConfigError(idle)


def _tell(results: Sequence[LatencyResult], about: str, as_json: bool) -> None:
    rows = rows_of(results)
    if as_json:
        print_json([result.model_dump(exclude={"seq", "t", "attempt", "event"}) for result in results])
        return
    if about:
        output.say(about)
    output.say(latency_text(rows, output.table_width))


def rows_of(results: Iterable[LatencyResult]) -> list[LatencyRow]:
    """Results that are of no run, as the tables take them."""
    return [
        LatencyRow(run_id="", source="", **result.model_dump(exclude={"attempt", "event"}))
        for result in results
    ]
