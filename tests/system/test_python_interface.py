"""`engine.Workspace` with a real agent and worker, and the notebook that shows it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from engine import Workspace
from engine.errors import EngineError
from engine.requests.refusals import Refused
from engine.store import RunRow, StoreError
from tests.conftest import REPOSITORY, run_module

NOTEBOOK = REPOSITORY / "docs" / "runs_from_python.ipynb"


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the notebook's cells leave behind, executed in order in an empty folder."""
    names: dict[str, Any] = {"__name__": "notebook"}
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notebook"))
        for cell in (cell for cell in cells if cell["cell_type"] == "code"):
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
        names["root"] = Path("lab").absolute()
    return names


def test_the_notebook_trains_waits_stops_and_predicts(noted: dict[str, Any]) -> None:
    assert noted["end"].status == "finished"
    assert noted["second"].status == "stopped"
    assert noted["prediction"].ids.shape == (64, 128)
    assert (noted["root"].parent / "curve.png").stat().st_size > 1000
    shown = noted["run"]._repr_html_()
    assert "first" in shown
    assert "<polyline" in shown
    assert "second" in noted["ws"]._repr_html_()


def test_tables_have_the_numbers_of_the_database_in_each_kind(noted: dict[str, Any]) -> None:
    rows = Workspace(noted["root"], frames="rows").runs("name=first")
    assert [type(row) for row in rows] == [RunRow]
    for kind in ("pandas", "polars"):
        ws = Workspace(noted["root"], frames=kind)
        table = ws.runs("name=first")
        assert list(table["best_dice"]) == [rows[0].best_dice]
        assert list(table["optimizer.lr"]) == [0.003]
        assert list(table["data.size"]) == ["32x64"]
        assert list(table["device"]) == [rows[0].device]
        assert list(table["config.device"]) == ["auto"]
        curve = ws.epochs("first", split="val")
        assert list(curve["epoch"]) == [1, 2, 3]
        assert max(curve["dice"]) == rows[0].best_dice
        classes = ws.class_scores("first")
        assert len(classes) == 3 * len(rows[0].classes)
        assert next(iter(ws.evaluations("first")["split"])) == "val"
    assert len(Workspace(noted["root"], frames="rows").epochs("first", split=None)) == 6


def test_tags_are_added_and_a_note_is_replaced(noted: dict[str, Any]) -> None:
    ws = Workspace(noted["root"], frames="rows")
    before = ws.runs("name=second")[0].tags
    ws.run("second").tag("late", "night").tag("late").note("one").note("two")
    (row,) = ws.runs("name=second")
    assert (set(row.tags), row.note) == ({*before, "late", "night"}, "two")


def test_event_files_are_written_while_the_run_goes_on(noted: dict[str, Any]) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.util.tensor_util import make_ndarray

    read = accumulators.EventAccumulator(str(noted["run"].folder / "tensorboard"))
    read.Reload()
    shown = [make_ndarray(event.tensor_proto).item() for event in read.Tensors("dice/val")]
    assert shown == [
        row.epoch.dice for row in Workspace(noted["root"], frames="rows").epochs("first", split="val")
    ]


def test_csv_has_the_config_keys_as_json_has(noted: dict[str, Any]) -> None:
    done = run_module("engine.cli", "-w", str(noted["root"]), "runs", "name=first", "--csv")
    record = next(csv.DictReader(io.StringIO(done.stdout)))
    assert record["optimizer.lr"] == "0.003"
    assert record["data.size"] == "32x64"
    assert record["augment.flip"] == "0.5"


def test_what_is_wrong_is_one_line_and_makes_nothing(noted: dict[str, Any], tmp_path: Path) -> None:
    ws, scenes = Workspace(noted["root"]), noted["root"].parent / "scenes"
    before = len(ws.rows())
    with pytest.raises(EngineError, match=r"optimizer\.lrr"):
        ws.start("quick", data=scenes, **{"optimizer.lrr": 0.1})
    with pytest.raises(EngineError, match="no such folder"):
        ws.start("quick", data=tmp_path / "nowhere")
    with pytest.raises(StoreError, match="no run has that id or name"):
        ws.run("third")
    with pytest.raises(Refused, match="there is nothing to stop"):
        ws.run("first").stop()
    with pytest.raises(EngineError, match="must be one of"):
        Workspace(noted["root"], frames="excel")  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="no such folder"):
        Workspace(tmp_path / "nowhere").start("quick", data=scenes)
    assert len(ws.rows()) == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Workspace(tmp_path).rows() == []
    assert list(tmp_path.iterdir()) == []


def test_importing_it_imports_only_what_it_takes() -> None:
    code = (
        "import sys; from engine import Workspace; imported = set(sys.modules); Workspace('.').rows(); "
        "print(imported & {'sqlalchemy', 'pydantic', 'numpy', 'pandas'}, 'torch' in sys.modules)"
    )
    asked = [sys.executable, "-c", code]
    done = subprocess.run(asked, cwd=REPOSITORY / "docs", capture_output=True, text=True, check=True)
    assert done.stdout == "set() False\n"
