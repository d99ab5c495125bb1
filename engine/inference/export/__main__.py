"""`python -m engine.inference.export ORDER.json`: export the network of a checkpoint and check the file.

Prints what came of it as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.exc import UserError, UserErrorType
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.onnx import OnnxExporterError

from engine.config.export import MAKING, ExportConfig
from engine.data.batches import MEAN, STD
from engine.exits import DONE, tell
from engine.host.leaving import leave
from engine.inference.export.agreement import Agreement, ExportError, compare, images_of, images_to_try
from engine.inference.export.formats import EXPORTERS, Subject
from engine.inference.export.network import ExportedNetwork
from engine.inference.export.quantize import calibration_images, quantize
from engine.inference.network import load_model
from engine.models.registry import count_parameters
from engine.plugins import usable_config
from engine.run.checkpoint_file import first_line
from engine.run.directory import RunDir
from engine.run.files import move_files

CHECKED = 4
"""Images of the data on which a quantised file is compared with its network, beside those of calibration."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m engine.inference.export", description=__doc__.splitlines()[0]
    )
    parser.add_argument("order", type=Path, help="JSON: export, run, checkpoint, file, about")
    try:
        order = json.loads(parser.parse_args().order.read_text())
        print(json.dumps(export(order)), flush=True)
    except Exception as error:
        return tell(error)
    return DONE


def export(order: dict[str, Any]) -> dict[str, Any]:
    """Write the file that an order names, whole or not at all; torch puts weights of more than 1.5 GB into an
    ONNX file of their own, `weights`. Raises CheckpointError, ComponentError,
    ExportError, and DataError where images for calibration are missing."""
    wanted = ExportConfig.model_validate(order["export"])
    config, _ = usable_config(RunDir(Path(order["run"])))
    if wanted.dynamic and not config.model.exports_any_size:
        raise ExportError(
            f"--dynamic: {config.model.name} is exported for one size, which its positions are made for; "
            "leave --dynamic out"
        )
    loaded = load_model(Path(order["checkpoint"]), config.model, ())
    network = ExportedNetwork(loaded.model.eval(), wanted).eval().requires_grad_(False)
    stride = config.model.input_stride()
    about = {
        **order["about"],
        "epoch": loaded.epoch,
        "sha256": loaded.sha256,
        "classes": list(loaded.classes),
        "size": list(wanted.size),
        "multiple_of": stride,
        "least_side": config.model.least_side(),
        "parameters": count_parameters(loaded.model),
        "input": wanted.input,
        "output": wanted.output,
        "mean": list(MEAN),
        "std": list(STD),
        "quantize": wanted.quantize,
        "torch": torch.__version__,
    }
    example = network.prepared(images_of(wanted.size, 2 if wanted.dynamic else 1, 0))
    file = Path(order["file"])
    begun = time.perf_counter()
    exporter = EXPORTERS[wanted.format]
    with tempfile.TemporaryDirectory(prefix=MAKING, dir=file.parent) as folder:
        made = Path(folder, file.name)
        try:
            subject = Subject(network, wanted, example, json.dumps(about), stride, config.model.least_side())
            exporter.write(subject, made)
        except OSError:
            raise
        except Exception as error:
            raise ExportError(f"{config.model.name} {refusal(wanted, error)}") from error
        agreement = agreeing(file, compare(network, exporter.load(made), images_to_try(wanted, stride)))
        if wanted.quantize:
            count, cache = wanted.calibrate + CHECKED, Path(order["cache"])
            images = calibration_images(config, RunDir(Path(order["run"])), cache, wanted.size, count)
            quantize(made, network, images[:-CHECKED] or images, about)
            differing = compare(network, exporter.load(made), images[-CHECKED:], quantized=True)
            agreement = agreeing(file, differing)
        written = {path.name: path.stat().st_size for path in Path(folder).iterdir()}
        move_files(Path(folder), file.parent)
    return {
        "file": str(file),
        "weights": next((name for name in written if name != file.name), ""),
        "bytes": sum(written.values()),
        "seconds": time.perf_counter() - begun,
        "about": about,
        **asdict(agreement),
    }


def refusal(wanted: ExportConfig, error: BaseException) -> str:
    """Why torch does not write a network, in a line."""
    as_what = f"cannot be exported as {wanted.format}"
    while error.__cause__ is not None and isinstance(error, OnnxExporterError):
        error = error.__cause__  # the exporter says only which of its steps it was
    if isinstance(error, UserError) and error.error_type is UserErrorType.CONSTRAINT_VIOLATION:
        # Torch lists relations of sides that it could not prove, and ways to write the program anew.
        why = "torch cannot make sure that the file would take every size"
        other = "" if wanted.format == "onnx" else ", or export it with --format onnx"
        return f"{as_what} with --dynamic: {why}; leave out --dynamic{other}"
    if isinstance(error, GuardOnDataDependentSymNode):
        return f"{as_what}: what it does depends on values of its maps, which only a run knows"
    return f"{as_what}: {first_line(error)}"


def agreeing(file: Path, agreement: Agreement) -> Agreement:
    """Raises ExportError where a file does something else than its network."""
    if agreement.problem:
        raise ExportError(f"{file.name}: {agreement.problem}; nothing was written")
    return agreement


if __name__ == "__main__":
    leave(main())
