"""Errors: which people can mend, and whose fault the others are."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from engine.components.origin import ComponentError
from engine.config.keys import ConfigError
from engine.data.faults import FaultyData
from engine.errors import EngineError
from engine.plugins import load_plugin, place_in_plugin
from tests.conftest import REPOSITORY

CONTROL_FLOW = {"Abandoned", "Cancelled", "OthersGone", "StopRequested", "_Broken"}
"""Raised and caught by the program itself; nobody reads them."""


def test_every_error_of_the_project_is_of_the_one_family() -> None:
    outside: set[str] = set()
    for file in [*(REPOSITORY / "engine").rglob("*.py"), *(REPOSITORY / "seg_tui").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(base) for base in node.bases]
                own = "EngineError" in bases or node.name == "EngineError"
                if not own and any(base.endswith("Exception") or _is_builtin_error(base) for base in bases):
                    outside.add(node.name)
    assert outside == CONTROL_FLOW


def _is_builtin_error(name: str) -> bool:
    kind = getattr(__builtins__, name, None) if not isinstance(__builtins__, dict) else __builtins__.get(name)
    return isinstance(kind, type) and issubclass(kind, BaseException) and not issubclass(kind, Warning)


def test_an_error_comes_through_a_process_boundary_as_it_was() -> None:
    sent = ConfigError(["epochs: is 0", "device: is mars"], more=3)
    got = pickle.loads(pickle.dumps(sent))
    assert (got.problems, got.more, str(got)) == (sent.problems, 3, "epochs: is 0\ndevice: is mars")
    assert isinstance(got, ValueError)  # as pydantic's checks need it
    assert FaultyData("a\nb").problems == ["a\nb"]
    assert not EngineError("one").several_lines


def test_errors_import_nothing_of_the_project() -> None:
    code = "import engine.errors, sys; print(*sorted(m for m in sys.modules if m.startswith('engine.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["engine.errors"]


def test_the_place_in_a_plugin_is_found_behind_what_its_error_became(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.plugins._plugins", {})
    file = tmp_path / "mine.py"
    file.write_text("def double(value):\n    return value.missing\n")
    load_plugin(file)
    double = next(vars(m)["double"] for m in sys.modules.values() if getattr(m, "__file__", "") == str(file))
    with pytest.raises(AttributeError) as raised:
        double(1)
    assert place_in_plugin(raised.value) == f"{file}:2"
    with pytest.raises(RuntimeError) as became:
        raise RuntimeError("of the engine") from raised.value
    assert place_in_plugin(became.value) == f"{file}:2"
    assert place_in_plugin(RuntimeError()) == ""


def test_a_plugin_that_leaves_the_program_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "leaves.py"
    file.write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(ComponentError, match=f"{file}:2: SystemExit: 0"):
        load_plugin(file)
