"""`seg-engine export`: a trained network as a file that runs without seg-engine."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.console import notices, output, print_json
from engine.cli.reading import open_existing
from engine.cli.torch_process import asked
from engine.config.export import MAKING, PACKAGES, SUFFIXES, ExportConfig
from engine.config.keys import ConfigError
from engine.config.run_config import RunConfig
from engine.data.published.sources import recorded_licence
from engine.host.access import refuse_unwritable
from engine.report.compared_runs import compared_run
from engine.report.measures import ComparedRun
from engine.report.model_card import MARK, model_card
from engine.report.tables import data_size
from engine.requests.derive import checkpoint_of, source_run, trained_config
from engine.requests.refusals import Refused
from engine.requests.source_paths import BEST
from engine.run.files import absolute, move_files, replacing
from engine.run.scratch import scratch_folder
from engine.typed import PROGRAM
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.exporting import Export


CARD = "README.md"


def export(workspace: Workspace, wanted: Export) -> None:
    """Write the file and its model card, and tell how far it agrees with the network. Raises StoreError,
    Refused and ConfigError before anything is made."""
    with open_existing(workspace) as store:
        row = source_run(store, wanted.runs[0])
        run = compared_run(store, row.id)
    config = trained_config(workspace, row)
    order = export_config(config, wanted)
    path = checkpoint_of(workspace, row, wanted.checkpoint, waits=False)
    checkpoint = Path(workspace.run_dir(row.id).path, path).resolve()
    folder = (
        absolute(wanted.out) if wanted.out else workspace.run_dir(row.id).outputs / f"export-{order.format}"
    )
    refuse_strange_folder(folder)
    refuse_unwritable(folder.parent, "use --out DIR to write elsewhere")
    notices.say("importing torch")
    folder.mkdir(parents=True, exist_ok=True)
    made = exported(
        folder / f"model{SUFFIXES[order.format]}",
        {
            "export": order.model_dump(mode="json"),
            "run": str(workspace.run_dir(row.id).path),
            "checkpoint": str(checkpoint),
            "cache": str(workspace.cache),
            "about": provenance(run, config, path),
        },
    )
    with replacing(folder / CARD) as stream:
        stream.write(model_card(run, order, made).encode())
    if wanted.as_json:
        print_json(made, indent=2)
        return
    difference = made["largest_difference"]
    logits = "" if difference is None else f"logits differ by at most {difference:.2g}, "
    output.say(f"{made['file']}: {data_size(made['bytes'])}, {order.input} to {order.output}")
    if made["weights"]:
        output.say(f"{folder / made['weights']}: its weights, which have to lie beside it")
    output.say(
        f"compared with the network: {logits}"
        f"{100 * made['pixels_differing']:g} % of the pixels differ in class"
    )
    output.say(f"{folder / CARD}: what it is, its origin and its scores")


def export_config(config: RunConfig, wanted: Export) -> ExportConfig:
    """What is to be exported. Raises ConfigError for a size that the network cannot take, and for a format
    whose packages are missing."""
    missing = [name for name in PACKAGES.get(wanted.format, ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            [f"--format {wanted.format}: needs {', '.join(missing)}: pip install 'seg-engine[export]'"]
        )
    if wanted.quantize and wanted.format != "onnx":
        raise ConfigError([f"--quantize {wanted.quantize}: works with --format onnx only"])
    try:
        order = ExportConfig.model_validate(
            {
                "format": wanted.format,
                "size": wanted.size or config.data.size,
                "dynamic": wanted.dynamic,
                "uint8_input": wanted.uint8_input,
                "argmax": wanted.argmax,
                "quantize": wanted.quantize,
                "calibrate": wanted.calibrate,
            }
        )
    except ValueError as error:
        raise ConfigError(
            [f"--size {wanted.size}: must be HEIGHTxWIDTH such as 512x1024, each from 16 to 8192"]
        ) from error
    if problem := config.model.size_problem(*order.size):
        raise ConfigError([f"--size {problem}"])
    return order


def refuse_strange_folder(folder: Path) -> None:
    """Raise Refused where something lies that an export has not made."""
    card = folder / CARD
    if not folder.exists():
        return
    if not folder.is_dir():
        raise Refused([f"--out {folder}: is a file; it must be a folder"])
    is_ours = card.is_file() and MARK in card.read_text(errors="replace")
    if not is_ours and not all(path.name.startswith(MAKING) for path in folder.iterdir()):
        raise Refused([f"--out {folder}: contains files that no export wrote; name a new or an empty folder"])


def provenance(run: ComparedRun, config: RunConfig, checkpoint: str) -> dict[str, Any]:
    """Where the network comes from, for the file's metadata; `checkpoint` as a config names it."""
    row = run.row
    is_best = checkpoint == f"../{row.id}/checkpoints/{BEST}"
    return {
        "made_by": PROGRAM,
        "version": version(PROGRAM),
        "run": row.id,
        "name": row.name,
        "recipe": row.recipe,
        "network": config.model.model_dump(mode="json"),
        "data": Path(config.data.root).name,
        "data_licence": recorded_licence(Path(config.data.root)),
        "initial_weights": initial_weights(config),
        "initial_weights_licence": "" if config.init.weights else config.model.weights_licence(),
        "checkpoint": Path(checkpoint).name,
        "val_dice": row.best_dice if is_best else None,  # of another nobody knows for certain
        "colors": list(row.colors),
    }


def initial_weights(config: RunConfig) -> str:
    """What the network's training began with, "" where that was nothing. Of a file elsewhere only the name: a
    file that is passed on says nothing of this machine's folders."""
    path = config.init.weights or config.model.weights_file()
    return (Path(path).name if Path(path).is_absolute() else path) or config.model.weights_source()


def exported(file: Path, order: Mapping[str, Any]) -> dict[str, Any]:
    """What the exporting process says of the file that it made. Of one that was killed nothing is left."""
    with scratch_folder(file.parent, MAKING) as folder:
        made = asked("engine.inference.export", {**order, "file": str(folder / file.name)}, "exporting")
        for stale in file.parent.glob(f"{file.name}.*"):
            stale.unlink()  # the weights of a larger network
        move_files(folder, file.parent)
    return {**made, "file": str(file), "name": file.name}
