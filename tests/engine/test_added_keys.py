"""A key with a default that is added later: old runs are found, grouped, compared and loaded with new ones.

Nothing has to be written for such a key. The keys here are of components that come and go within a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from engine import models
from engine.components.origin import ComponentError, Origin, registering
from engine.config.fields import Section, option
from engine.config.files import config_from_json
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.config.stored import told, whole
from engine.learning.checkpoint import CheckpointError, check_fits
from engine.losses.builtin import LOSSES
from engine.models.builtin import MODELS
from engine.plugins import with_loaded
from engine.report.compare import ComparedRun, compare
from engine.report.run_config import changed_keys
from engine.store import Store
from engine.store.schema import runs
from engine.store.variant import variant_of
from tests.conftest import NewDatabase
from tests.engine.made_up_runs import add_run

PACKAGE = Origin("package", "mine 1.0")


class Net(models.ModelSection):
    """A network of somebody else."""

    stride: ClassVar[int] = 1
    name: Literal["own_net"] = option("own_net", "Architecture")
    width: int = option(16, "Channels")

    def build(self, inputs: int, outputs: int) -> Any:
        raise NotImplementedError


class GrownNet(Net):
    depth: int = option(2, "Layers")


class LossKeys(Section):
    own_loss: float = option(0.0, "Weight of a loss of somebody else", ge=0)


class GrownLossKeys(LossKeys):
    own_power: float = option(1.5, "Its power")


def own_loss(keys: Any, classes: int) -> Any:
    raise NotImplementedError


@contextmanager
def installed(net: type[models.ModelSection], keys: type[Section]) -> Iterator[None]:
    """Within it a package is there that brings a network and a loss."""
    before = LOSSES.section()
    with registering(PACKAGE):
        MODELS.register(net)
        LOSSES.register(keys)(own_loss)
    try:
        yield
    finally:
        del MODELS._sections["own_net"], MODELS._origins["own_net"], LOSSES._parts["own_loss"]
        LOSSES._section = before  # configs of other tests are of it
        MODELS._changed()
        LOSSES._changed()


@pytest.fixture
def store(tmp_path: Path, new_database: NewDatabase) -> Iterator[Store]:
    with Store(new_database(tmp_path), timeout=5.0) as opened:
        yield opened


def made(**keys: Any) -> RunConfig:
    """The config of a run as it is made now, with the network and the loss."""
    values = {"model.name": "own_net", "loss.own_loss": 0.5, "data.root": "/data/city"}
    named = {key.replace("__", "."): value for key, value in keys.items()}
    return with_loaded(with_values(get_recipe("quick"), values | named))


def table_of(config: RunConfig) -> dict[str, Any]:
    return config.model_dump(mode="json")


def test_runs_of_before_a_key_are_one_with_those_of_after(store: Store) -> None:
    add_run(store, "usualaaa", with_values(get_recipe("quick"), {"data.root": "/data/city"}))
    with installed(Net, LossKeys):
        add_run(store, "oldaaaaa", made())
    with installed(GrownNet, GrownLossKeys):
        add_run(store, "newaaaaa", made(seed=1))
        add_run(store, "otheraaa", made(seed=2, model__depth=3, loss__own_power=2.0))

        def found(*terms: str) -> list[str]:
            return sorted(store.run_ids(terms))

        assert found("model.depth=2") == found("model.depth<3") == ["newaaaaa", "oldaaaaa"]
        assert found("model.depth!=2", "model.name=own_net") == ["otheraaa"]
        assert found("loss.own_power=1.5") == ["newaaaaa", "oldaaaaa", "usualaaa"]
        assert found("loss.own_loss=0") == ["usualaaa"]
        assert store.run_ids(sort="-model.depth")[0] == "otheraaa"
        assert store.run("oldaaaaa").config["model"]["depth"] == 2
        assert store.run("usualaaa").config["loss"]["own_loss"] == 0
        assert changed_keys(store.run("usualaaa")) == {}
        check_grouped(store)
    check_grouped(store)  # whoever compares need not have the package


def check_grouped(store: Store) -> None:
    words = {run.id: run.variant for run in store.changes().runs}
    assert words["oldaaaaa"] == words["newaaaaa"] != words["otheraaa"]
    rows = [store.run(run_id) for run_id in ("oldaaaaa", "newaaaaa", "otheraaa")]
    assert [variant_of(row.stored_config) for row in rows] == [words[row.id] for row in rows]
    comparison = compare([ComparedRun(row, ()) for row in rows], fold_seeds=True)
    assert [len(entry.rows) for entry in comparison.entries] == [2, 1]
    assert {row.key: row.values for row in comparison.config} == {
        "seed": ("0 1", "2"),
        "model.depth": ("2", "3"),
        "loss.own_power": ("1.5", "2"),
    }


@pytest.mark.parametrize(
    ("key", "absent", "other"),
    [
        ("runtime.compile", "auto", "off"),
        ("data.size", "128x128", "64x64"),
        ("data.cache", "true", "false"),
        ("data.split_rule", "rank", "threshold"),
        ("loss.auxiliary", "0.4", "1"),
        ("optimizer.encoder_lr_factor", "1", "0.5"),
        ("gallery.images", "6", "7"),
    ],
)
def test_a_key_of_the_engine_is_found_where_a_run_lacks_it(
    store: Store, key: str, absent: str, other: str
) -> None:
    add_run(store, "aaaaaaaa")
    add_run(store, "bbbbbbbb", with_values(RunConfig(), {key: other}))
    section, _, leaf = key.partition(".")
    table = store.run("aaaaaaaa").stored_config
    del table[section][leaf]
    with store.database.write() as connection:
        connection.execute(runs.update().where(runs.c.id == "aaaaaaaa").values(config=table))
    assert store.run_ids([f"{key}={absent}"]) == store.run_ids([f"{key}!={other}"]) == ["aaaaaaaa"]
    assert store.run_ids([f"{key}={other}"]) == store.run_ids([f"{key}!={absent}"]) == ["bbbbbbbb"]
    rows = [store.run("aaaaaaaa"), store.run("bbbbbbbb")]
    (differing,) = compare([ComparedRun(row, ()) for row in rows]).config
    assert (differing.key, differing.values) == (key, (absent, other))


def test_a_variant_does_not_depend_on_what_is_loaded_where_it_is_computed() -> None:
    with installed(GrownNet, GrownLossKeys):
        tables = [
            table_of(made()),
            table_of(made(model__width=32)),
            table_of(made(loss__own_power=2)),
            table_of(made(model__name="unet", loss__own_loss=0)),
        ]
        words = [variant_of(table) for table in tables]
        assert whole(tables[0]) == tables[0]
    assert [variant_of(table) for table in tables] == words
    assert len(set(words)) == 4
    with installed(Net, LossKeys):
        assert [variant_of(table) for table in tables] == words
    # A package that is installed and has no part in a run says nothing of it.
    plain = with_values(get_recipe("quick"), {"data.root": "/data/city"})
    assert variant_of(table_of(plain)) == words[3]


def test_a_plugin_counts_by_its_content_not_by_its_place() -> None:
    def with_plugin(path: str, digit: str) -> dict[str, Any]:
        return {**table_of(RunConfig()), "plugins": [{"path": path, "sha256": digit * 64}]}

    words = [variant_of(with_plugin(*file)) for file in (("/a.py", "0"), ("/b.py", "0"), ("/a.py", "1"))]
    assert words[0] == words[1] != words[2]


def test_a_config_and_a_checkpoint_of_before_a_key_are_used_with_its_default() -> None:
    with installed(Net, LossKeys):
        old = made()
        written = old.model_dump_json().encode()
        content = {"model_config": table_of(old)["model"], "classes": ["road"]}
    with installed(GrownNet, GrownLossKeys):
        read = config_from_json(written)
        assert read.missing() == []
        assert (read.model.depth, read.loss.own_power) == (2, 1.5)  # type: ignore[attr-defined]
        check_fits(Path("last.pt"), content, read.model, ["road"])
        with pytest.raises(CheckpointError):
            check_fits(Path("last.pt"), content, made(model__depth=3).model, ["road"])


def test_a_key_of_a_component_has_one_default() -> None:
    class Wrong(Net):
        mode: str = option("old", "Mode", new="fresh")

    with (
        registering(PACKAGE),
        pytest.raises(ComponentError, match=r"Wrong.mode: a component's key has one def"),
    ):
        MODELS.register(Wrong)


def test_a_table_that_no_version_wrote_is_taken_as_it_is() -> None:
    for odd in (
        {"model": {"name": [1]}},
        {"data": 3},
        {"loss": None},
        {"component_defaults": [1]},
        {"evaluation": 1, "validation": {}},
    ):
        assert odd.keys() <= whole(odd).keys()
        says = {key for key, value in odd.items() if value and key != "component_defaults"}
        assert says <= told(odd).keys()
        assert variant_of(odd)
