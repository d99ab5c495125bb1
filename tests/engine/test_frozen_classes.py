"""The class set is part of a run's config: no file outside of the run is read again."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from engine.classes import load_class_set
from engine.config.class_set import ClassSetConfig
from engine.config.files import load_config, to_toml
from engine.config.keys import ConfigError, validate, with_values
from engine.config.run_config import RunConfig
from engine.data.catalog import scan
from engine.data.frozen_classes import class_notes, freeze_classes
from engine.report.compare_config import differing_keys, flat_config
from engine.requests.configs import resolve_config
from engine.requests.predict import label_values
from engine.requests.refusals import Refused
from engine.run.directory import RunCard, RunDir
from engine.store import RunRow
from engine.store.variant import variant_of
from engine.workspace import Workspace
from seg_tui.launch.draft import Draft
from seg_tui.launch.queueing import looker
from tests.engine.test_membership import CLASSES, add

SWAPPED = CLASSES.replace("ids = [1]", "ids = [9]").replace("ids = [2]", "ids = [1]").replace("[9]", "[2]")


def stored_run(**values: Any) -> RunRow:
    """A run as the database has it, of which nothing else matters."""
    nothing: dict[str, Any] = {field.name: None for field in fields(RunRow)}
    return RunRow(**{**nothing, "id": "abcdefgh", "colors": (), "seed": 0, **values})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set, a folder to be in with a class set, and another folder with another of that name."""
    root = tmp_path / "data"
    add(root, *(f"img{i:03d}" for i in range(10)))
    (root / "classes.toml").write_text(CLASSES)
    for name, text in (("here", CLASSES), ("there", SWAPPED)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "my.toml").write_text(text)
    monkeypatch.chdir(tmp_path / "here")
    return root


def made(root: Path, *assignments: str) -> RunConfig:
    return resolve_config("quick", ["data.size=16x16", *assignments], root)


@pytest.mark.parametrize("changes", [("data.classes=my.toml",), ()], ids=["path", "auto"])
def test_what_was_read_when_the_run_was_made_stays(
    root: Path, changes: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = made(root, *changes)
    assert config.data.class_set is not None
    run = RunDir(tmp_path / "abcdefgh")
    run.create(RunCard("abcdefgh", "", "", 0.0), config)
    monkeypatch.chdir(tmp_path / "there")
    (root / "classes.toml").write_text(SWAPPED)
    read = run.read_config()
    assert read == config
    frozen = scan(root, classes=read.data.known_classes).class_set
    assert frozen == load_class_set(tmp_path / "here" / "my.toml")
    assert freeze_classes(read) == read


def test_a_class_set_that_changed_since_is_told(root: Path) -> None:
    config = made(root)
    assert class_notes(config.data) == []
    (root / "classes.toml").write_text(CLASSES.replace("toy", "renamed"))  # the name alone says nothing
    assert class_notes(config.data) == []
    (root / "classes.toml").write_text(SWAPPED)
    (note,) = class_notes(config.data)
    assert "classes.toml has changed since the run was made" in note
    (root / "classes.toml").unlink()
    assert class_notes(config.data) == []


def test_another_class_set_is_read_when_one_is_named(root: Path, tmp_path: Path) -> None:
    config = made(root)
    assert config.data.class_set is not None
    there = str(tmp_path / "there" / "my.toml")
    other = freeze_classes(with_values(config, {"data.classes": there}))
    assert other.data.class_set is not None
    assert other.data.class_set.digest != config.data.class_set.digest
    # A class set that came with the data stays with them, one that was named comes along.
    assert with_values(config, {"data.root": str(tmp_path)}).data.class_set is None
    assert with_values(other, {"data.root": str(tmp_path)}).data.class_set == other.data.class_set
    assert with_values(config, {"data.root": str(root), "epochs": 3}).data.class_set == config.data.class_set


def test_a_class_set_that_is_not_there_is_refused_before_a_run_exists(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.classes: .*/here/none\.toml: there is no such"):
        made(root, "data.classes=none.toml")


def test_a_config_with_its_class_set_goes_through_a_file(root: Path, tmp_path: Path) -> None:
    config = made(root, "data.classes=my.toml")
    file = tmp_path / "run.toml"
    file.write_text(to_toml(config))
    assert load_config(file) == config
    assert '[[data.class_set.class]]\nname = "sky"' in file.read_text()


def test_built_in_classes_need_no_table(root: Path) -> None:
    assert made(root, "data.classes=cityscapes").data.class_set is None
    for folder in ("leftImg8bit", "gtFine"):
        (root.parent / "streets" / folder).mkdir(parents=True)
    assert made(root.parent / "streets").data.class_set is None


def test_a_list_of_classes_is_one_line_where_configs_are_shown(root: Path) -> None:
    config = made(root).model_dump(mode="json")
    flat = flat_config(config)
    assert flat["data.class_set"].startswith("toy: 2 classes, ")
    assert not [key for key in flat if key.startswith("data.class_set.")]
    assert "data.class_set" not in flat_config(RunConfig().model_dump(mode="json"))


def test_runs_with_other_label_values_differ_and_earlier_ones_do_not_for_that(root: Path) -> None:
    config = made(root)
    (root / "classes.toml").write_text(SWAPPED)
    other = made(root)
    earlier = config.model_copy(update={"data": config.data.model_copy(update={"class_set": None})})
    rows = [
        stored_run(stored_config=each.model_dump(mode="json"), classes=("sky", "road"))
        for each in (config, other, earlier)
    ]
    assert [row.key for row in differing_keys([[row] for row in rows[:2]], False)] == ["data.class_set"]
    assert differing_keys([[rows[0]], [rows[2]]], False) == ()
    assert variant_of(rows[0].config) != variant_of(rows[1].config)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"class": []}, "at least 1"),
        ({"class": [{"name": "a", "color": "red", "ids": [1]}]}, "color"),
        ({"class": [{"name": "a", "color": "#000000", "ids": [256]}]}, "255"),
        ({"class": [{"name": "a", "color": "#000000", "ids": [0]}]}, "both void and a"),
        (
            {"class": [{"name": "a", "color": "#000000", "ids": [i]} for i in (1, 2)]},
            "two classes are called",
        ),
        ({"strange": 1}, "strange"),
    ],
)
def test_a_hostile_class_set_is_refused(root: Path, change: dict[str, object], problem: str) -> None:
    table = json.loads(json.dumps(made(root).model_dump(mode="json")))
    table["data"]["class_set"] |= change
    with pytest.raises(ConfigError, match=problem):
        validate(table)


def test_raw_ids_come_from_the_run(root: Path, tmp_path: Path) -> None:
    config = made(root)
    row = stored_run(stored_config=config.model_dump(mode="json"), classes=("sky", "road"))
    (root / "classes.toml").write_text(SWAPPED)
    assert label_values(row, "raw") == (1, 2)


def test_an_earlier_run_with_a_relative_path_reads_no_other_class_set(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig().model_dump(mode="json")
    config["data"] |= {"root": str(root), "classes": "my.toml"}
    del config["data"]["class_set"]
    row = stored_run(stored_config=config, classes=("sky", "road"), colors=("#101010", "#202020"))
    assert label_values(row, "raw") == (1, 2)
    (tmp_path / "there" / "my.toml").write_text(CLASSES.replace("sky", "ground"))
    monkeypatch.chdir(tmp_path / "there")
    with pytest.raises(Refused, match=r"there/my\.toml: is not the class set"):
        label_values(row, "raw")


def test_the_form_looks_with_the_class_set_of_the_run_it_is_like(root: Path, workspace: Workspace) -> None:
    draft = Draft(made(root), like="abcdefgh", data=str(root))
    (root / "classes.toml").unlink()
    assert looker(draft)(str(root)).usable
    assert not looker(draft)(str(root.parent)).usable


def test_a_digest_depends_on_what_label_values_mean(root: Path) -> None:
    sets = [ClassSetConfig.of(load_class_set(root / "classes.toml"))]
    (root / "classes.toml").write_text(SWAPPED)
    sets.append(ClassSetConfig.of(load_class_set(root / "classes.toml")))
    assert len({one.digest for one in sets}) == 2
    assert sets[0].class_set() == ClassSetConfig.of(sets[0].class_set()).class_set()
