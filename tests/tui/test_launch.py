"""The form of a new run: what it says as one types, what it refuses, and what is queued in the end."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from textual.dom import DOMNode
from textual.pilot import Pilot
from textual.widgets import ContentSwitcher, Input

from engine.cli.main import command_line as run_seg_engine
from engine.config.described import differences, value_of
from engine.config.idle import IdleKey
from engine.config.keys import ConfigError
from engine.config.recipes import RECIPES, get_recipe
from engine.config.run_config import RunConfig
from engine.config.sections import PluginFile
from engine.data.synthetic import synthesize
from engine.optimizers.builtin import AdamWConfig
from engine.plugins import load_plugin
from engine.requests.configs import resolve_config
from engine.run.directory import RunCard
from engine.store import Store, StoreError
from engine.workspace import Workspace
from seg_tui.app import SegTui
from seg_tui.launch.draft import Card, Draft, command_line, exact_text, form_keys
from seg_tui.launch.queueing import look_at_data, queue_run, read_origin
from seg_tui.screens.dashboard import Dashboard
from seg_tui.screens.dialogs import Confirm
from seg_tui.screens.folder_picker import FolderPicker
from seg_tui.screens.help import HelpScreen
from seg_tui.screens.launch import LaunchScreen
from seg_tui.stores import SharedStore
from seg_tui.widgets.clipped import Clipped
from seg_tui.widgets.config_form import CARD_FIELDS, ConfigForm
from seg_tui.widgets.field_row import FieldRow
from tests.tui.conftest import notices, opened, screen_text, settled, until
from tests.tui.made_up_workspace import add

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen street scenes in Cityscapes' layout."""
    root = tmp_path_factory.mktemp("scenes") / "data"
    synthesize(root, images=16, size=(64, 128), seed=0)
    return root


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> list[Workspace]:
    """Queued runs stay in the queue; the workspaces for which an agent was wanted."""
    wanted: list[Workspace] = []
    monkeypatch.setattr("engine.agent.presence.ensure_agent", wanted.append)
    return wanted


@pytest_asyncio.fixture
async def form(workspace: Workspace) -> AsyncIterator[tuple[LaunchScreen, Pilot[None]]]:
    """The form of the recipe `quick`, over six made-up runs."""
    async with opened(workspace) as (app, pilot):
        yield await open_form(app, pilot, "quick"), pilot


RunCommand = Callable[[str], tuple[RunCard, RunConfig]]


@pytest.fixture
def run_command(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> RunCommand:
    """Runs a line of the form as a shell would; returns the card and the config of the run that it made."""
    monkeypatch.setattr("engine.cli.queue.ensure_agent", lambda workspace: None)

    def run(line: str) -> tuple[RunCard, RunConfig]:
        before = set(workspace.runs.iterdir())
        dollar, program, *words = shlex.split(line)
        assert (dollar, program) == ("$", "seg-engine")
        assert run_seg_engine(words) == 0
        (folder,) = set(workspace.runs.iterdir()) - before
        made = workspace.run_dir(folder.name)
        return made.read_card(), made.read_config()

    return run


async def open_form(app: SegTui, pilot: Pilot[None], recipe: str) -> LaunchScreen:
    app.go_to.launch()
    await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
    screen = app.screen
    assert isinstance(screen, LaunchScreen)
    await settled(pilot)
    for _ in range(list(RECIPES).index(recipe)):
        await pilot.press("down")
    await pilot.press("enter")
    await until(pilot, lambda: screen.query_one(ContentSwitcher).current == "form")
    await settled(pilot)
    return screen


async def open_rerun(app: SegTui, pilot: Pilot[None], run_id: str) -> LaunchScreen:
    app.screen.query_one("RunTable").put_cursor(run_id)
    await pilot.press("R")
    await until(pilot, lambda: isinstance(app.screen, LaunchScreen) and app.screen.form.rows(), "the form")
    screen = app.screen
    assert isinstance(screen, LaunchScreen)
    await settled(pilot)
    return screen


def row(screen: LaunchScreen, key: str) -> FieldRow:
    return screen.form.rows()[key]


async def put(screen: LaunchScreen, pilot: Pilot[None], key: str, text: str) -> None:
    """Put a text into a field, at once instead of letter by letter."""
    row(screen, key).editor.focus()
    row(screen, key).editor.value = text
    await pilot.pause()


async def use_data(screen: LaunchScreen, pilot: Pilot[None], folder: Path) -> None:
    row(screen, "data").editor.value = str(folder)
    await until(pilot, lambda: " images · " in screen.form.data_look.line, "the look at the data")


def shown(screen: LaunchScreen) -> list[str]:
    return [key for key, row in screen.form.rows().items() if row.display]


def said(screen: LaunchScreen, name: str) -> str:
    widget = screen.query_one(f"#{name}")
    return widget.text if isinstance(widget, Clipped) else str(widget.visual)


async def test_a_run_like_another_shows_no_recipes_while_it_is_read(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_read = threading.Event()

    def late(*arguments: Any) -> object:
        may_read.wait(10)
        return read_origin(*arguments)

    monkeypatch.setattr("seg_tui.screens.launch.read_origin", late)
    async with opened(workspace) as (app, pilot):
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        await until(pilot, lambda: "reading the run..." in screen_text(app))
        assert "paper-unet" not in screen_text(app)
        may_read.set()
        await until(pilot, lambda: app.screen.query_one(ContentSwitcher).current == "form", "the form")


@pytest.mark.parametrize("recipe", RECIPES)
async def test_every_recipe_fills_a_form_that_is_right_as_it_is(workspace: Workspace, recipe: str) -> None:
    async with opened(workspace) as (app, pilot):
        screen = await open_form(app, pilot, recipe)
        assert screen.form.checked.problems == {}
        config = screen.form.checked.config
        assert config is not None
        assert set(differences(get_recipe(recipe), config)) <= {"data.root"}
        assert f"0 keys differ from {recipe}" in said(screen, "count")
        assert set(form_keys()) >= set(shown(screen)) - set(CARD_FIELDS) - {"data"}


async def test_the_recipes_say_what_they_are_for(workspace: Workspace) -> None:
    async with opened(workspace, size=(120, 60)) as (app, pilot):
        app.go_to.launch()
        await until(pilot, lambda: "The study's baseline" in screen_text(app))
        assert "data.size                 128x128" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, Dashboard))


async def test_a_value_out_of_bounds_is_told_at_its_field_in_the_engines_words(
    form: tuple[LaunchScreen, Pilot[None]],
) -> None:
    screen, pilot = form
    await put(screen, pilot, "batch_size", "0")
    assert row(screen, "batch_size").is_wrong
    with pytest.raises(ConfigError) as refusal:
        resolve_config("quick", ["batch_size=0"], None)
    (problem,) = refusal.value.problems
    assert problem == f"batch_size: {screen.form.checked.problems['batch_size']}"
    assert screen.form.checked.problems["batch_size"] in screen_text(screen.app)
    assert "1 to fix" in said(screen, "count")
    assert "once all fields are valid" in said(screen, "command")

    await pilot.press("ctrl+u", "4")
    assert not row(screen, "batch_size").is_wrong
    assert "1 key differs from quick" in said(screen, "count")
    assert "batch_size=4" in said(screen, "command")


async def test_a_key_that_has_no_effect_is_told_at_its_field_as_the_command_line_notes_it(
    form: tuple[LaunchScreen, Pilot[None]], scenes: Path
) -> None:
    screen, pilot = form
    await use_data(screen, pilot, scenes)
    await put(screen, pilot, "loss.ohem_threshold", "0.6")
    told = "has no effect where loss.ohem is 0"
    await until(pilot, lambda: told in screen_text(screen.app))
    assert not row(screen, "loss.ohem_threshold").is_wrong
    with pytest.warns(IdleKey, match=rf"^loss.ohem_threshold=0.6 {told}$"):
        resolve_config("quick", ["loss.ohem_threshold=0.6"], scenes)
    await put(screen, pilot, "loss.ohem", "0.5")
    await until(pilot, lambda: told not in screen_text(screen.app))


async def test_nothing_is_queued_before_it_is_right_and_the_fault_gets_the_focus(
    form: tuple[LaunchScreen, Pilot[None]], workspace: Workspace
) -> None:
    screen, pilot = form
    await put(screen, pilot, "optimizer.lr", "-1")
    await pilot.press("ctrl+f", *"epochs")
    await pilot.pause()
    assert "optimizer.lr" not in shown(screen)
    await pilot.press("ctrl+s")
    await settled(pilot)
    assert screen.focused is row(screen, "optimizer.lr").editor
    assert "optimizer.lr" in shown(screen), "a search must not hide the field to fix"
    with workspace.open_store() as store:
        assert len(store.runs()) == 6


async def test_a_folder_without_data_is_refused_at_its_field(
    form: tuple[LaunchScreen, Pilot[None]], tmp_path: Path
) -> None:
    screen, pilot = form
    row(screen, "data").editor.value = str(tmp_path / "nowhere")
    await until(pilot, lambda: "no such folder" in screen.form.data_look.line)
    assert row(screen, "data").is_wrong
    await pilot.press("ctrl+s")
    await settled(pilot)
    assert isinstance(screen.app.screen, LaunchScreen)
    row(screen, "data").editor.value = ""
    await pilot.press("ctrl+s")
    await until(pilot, lambda: "data" in screen.form.refused)
    assert "is not set" in screen.form.refused["data"]


async def test_a_data_folder_is_looked_at_while_one_types(
    form: tuple[LaunchScreen, Pilot[None]], scenes: Path
) -> None:
    screen, pilot = form
    await use_data(screen, pilot, scenes)
    assert screen.form.data_look.line == "13 train, 3 val images · 19 classes (cityscapes)"
    assert not row(screen, "data").is_wrong
    assert f"--data {scenes}" in said(screen, "command")


@pytest.mark.parametrize(
    ("press", "priorities"), [("ctrl+s", (5, 6)), ("ctrl+t", (5, 0))], ids=["start now", "queue"]
)
async def test_what_is_shown_is_what_is_queued(
    workspace: Workspace,
    scenes: Path,
    no_agent: list[Workspace],
    press: str,
    priorities: tuple[int, int],
) -> None:
    with workspace.open_store() as store:
        store.queue.set_place("dddd0000", priority=priorities[0])
    async with opened(workspace) as (app, pilot):
        screen = await open_form(app, pilot, "quick")
        await use_data(screen, pilot, scenes)
        await put(screen, pilot, "epochs", "3")
        await put(screen, pilot, "optimizer.lr", "0.05")
        await put(screen, pilot, "name", "mine")
        await put(screen, pilot, "experiment", "question")
        await put(screen, pilot, "tags", "night long")
        await put(screen, pilot, "note", "why not")
        config = screen.form.checked.config
        await pilot.press(press)
        await until(pilot, lambda: isinstance(app.screen, Dashboard), "the dashboard")
        await until(pilot, lambda: len(app.snapshot.runs) == 7, "the new run")
        table = app.screen_stack[-1].query_one("RunTable")
        assert table.runs.cursor_run.name == "mine", "the cursor goes to the new run"
    with workspace.open_store() as store:
        run = next(row for row in store.runs() if row.name == "mine")
        assert (run.status, run.experiment, set(run.tags)) == ("queued", "question", {"night", "long"})
        assert store.run(run.id).note == "why not"
        queued = {row.id: row.priority for row in store.queue.waiting()}
        assert (queued["dddd0000"], queued[run.id]) == priorities
    stored = workspace.run_dir(run.id).read_config()
    assert stored == config
    assert differences(get_recipe("quick"), stored).keys() == {"data.root", "epochs", "optimizer.lr"}
    assert no_agent == [workspace], "an agent is seen to"


async def test_the_command_that_is_shown_queues_the_same_run(
    form: tuple[LaunchScreen, Pilot[None]], scenes: Path, workspace: Workspace, run_command: RunCommand
) -> None:
    screen, pilot = form
    await use_data(screen, pilot, scenes)
    await put(screen, pilot, "optimizer.lr", "0.0123456789")
    await put(screen, pilot, "data.size", "64x96")
    row(screen, "model.name").editor.value = "modern_unet"
    await pilot.pause()
    await put(screen, pilot, "model.hidden", "8")
    await put(screen, pilot, "name", "it's mine")
    await put(screen, pilot, "tags", "night long")
    await put(screen, pilot, "priority", "-3")
    assert said(screen, "command").startswith("$ seg-engine --workspace ")
    card, config = run_command(said(screen, "command"))
    assert config == screen.form.checked.config
    assert (card.name, card.experiment, set(card.tags)) == ("it's mine", "default", {"night", "long"})
    assert card.priority == -3


@pytest.mark.parametrize(
    ("kind", "verb"),
    [
        ({"recipe": "", "optimizer.lr": 0.0123456789}, "rerun"),
        ({"recipe": "quick", "task": "pretrain", "data.layout": "images"}, "run"),
    ],
    ids=["of no recipe", "pre-training"],
)
async def test_the_command_of_a_rerun_queues_the_same_run(
    workspace: Workspace, scenes: Path, run_command: RunCommand, kind: dict[str, object], verb: str
) -> None:
    pictures = scenes / "leftImg8bit"
    root = pictures if kind.get("task") else scenes
    add(workspace, "eeee0000", None, {"data.root": str(root), **kind}, name="old", tags=("one", "two"))
    async with opened(workspace) as (app, pilot):
        screen = await open_rerun(app, pilot, "eeee0000")
        assert f" {verb} " in said(screen, "command")
        await put(screen, pilot, "epochs", "7")
        await put(screen, pilot, "name", "new")
        await put(screen, pilot, "tags", "")
        await put(screen, pilot, "note", "what if")
        await until(pilot, lambda: screen.form.data_look.usable, screen.form.data_look.line)
        command, config = said(screen, "command"), screen.form.checked.config
        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(app.screen, Dashboard), "the dashboard")
    with workspace.open_store() as store:
        (run,) = [run for run in store.runs() if run.name == "new"]
    card, same = run_command(command)
    assert same == workspace.run_dir(run.id).read_config() == config
    queued = workspace.run_dir(run.id).read_card()
    assert replace(card, id="", created=0.0) == replace(queued, id="", created=0.0)
    assert (card.name, card.tags, card.note) == ("new", (), "what if")


async def test_another_model_brings_its_own_keys_and_takes_the_others_away(
    form: tuple[LaunchScreen, Pilot[None]],
) -> None:
    screen, pilot = form
    assert "model.width" in shown(screen)
    assert "model.hidden" not in shown(screen)
    row(screen, "model.name").editor.focus()
    while screen.form.draft.variant("model") != "modern_unet":
        await pilot.press("right")
        await pilot.pause()
    assert "model.width" not in shown(screen)
    assert "model.hidden" in shown(screen)
    assert screen.form.draft.changes() == {"model.name": "modern_unet"}


async def test_an_encoder_is_found_by_a_part_of_its_name(form: tuple[LaunchScreen, Pilot[None]]) -> None:
    screen, pilot = form
    row(screen, "model.name").editor.value = "smp"
    await pilot.pause()
    await put(screen, pilot, "model.encoder", "convnext_at")
    told = screen.form.checked.problems["model.encoder"]
    assert "with it in their names are tu-convnext_atto" in told
    assert "tu-convnext_atto" in screen_text(screen.app)
    editor = row(screen, "model.encoder").editor
    assert isinstance(editor, Input)
    assert editor.suggester is not None
    assert await editor.suggester.get_suggestion("tu-convnext_at") == "tu-convnext_atto"
    await put(screen, pilot, "model.encoder", "tu-convnext_atto")
    assert screen.form.checked.config is not None
    assert not row(screen, "model.encoder").is_wrong
    text = screen_text(screen.app)
    assert "3,373,880 parameters, 2.858 GFLOPs at 256x512; weights: d2_in1k (apache-2.0)" in text
    assert "on resnet34: 24,438,979 parameters for 19 classes" in text  # of the decoder


async def test_another_optimizer_brings_its_own_keys_and_takes_the_others_away() -> None:
    draft = Draft.of_recipe("paper-unet")
    draft.data = "/data"
    draft.type("optimizer.momentum", "0.9")
    draft.type("optimizer.layer_decay", "0.5")
    assert draft.is_there("optimizer.momentum")
    draft.type("schedule.name", "cosine")
    draft.type("optimizer.name", "adamw")
    assert not draft.is_there("optimizer.momentum")
    assert list(draft.changes()) == ["schedule.name", "optimizer.name", "optimizer.layer_decay"]
    config = draft.check().config
    assert config is not None
    assert config.optimizer == AdamWConfig(lr=0.001, layer_decay=0.5)
    command = command_line(draft, config, Card(), Card())
    assert " optimizer.name=adamw schedule.name=cosine optimizer.layer_decay=0.5 " in command


@pytest.mark.parametrize(
    ("chosen", "typed"),
    [
        ({"schedule.name": "one_cycle"}, {"schedule.warmup_epochs": "0"}),
        ({"model.name": "smp"}, {"data.size": "256x320"}),
    ],
    ids=["a schedule that wants no warm-up", "a model that wants another size"],
)
async def test_a_choice_that_suits_the_rest_only_once_that_is_changed_has_its_fields_and_its_command(
    workspace: Workspace, chosen: dict[str, str], typed: dict[str, str]
) -> None:
    async with opened(workspace) as (app, pilot):
        screen = await open_form(app, pilot, "street-fast")
        draft = screen.form.draft
        for key, name in chosen.items():
            row(screen, key).editor.value = name
        await pilot.pause()
        assert screen.form.checked.problems.keys() == typed.keys()
        fields = {key: draft.text(key) for key in form_keys() if draft.is_there(key)}
        for key, text in typed.items():
            await put(screen, pilot, key, text)
        config = screen.form.checked.config
        assert config is not None
        assert {key: exact_text(value_of(config, key)) for key in fields} == fields | typed
        words = [f"{key}={value}" for key, value in (chosen | typed).items()]
        assert f"run street-fast {' '.join(words)} --queue" in said(screen, "command")


async def test_the_command_names_the_plugins_that_the_queued_run_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.plugins._plugins", {})
    plugin = tmp_path / "own.py"
    plugin.write_text("# it brings nothing\n")
    load_plugin(plugin)
    draft = Draft.of_recipe("quick")
    draft.data = "/data"
    config = draft.check().config
    assert config is not None
    words = shlex.split(command_line(draft, config, Card(), Card()))
    assert words[:5] == ["seg-engine", "--plugin", str(plugin), "run", "quick"]


async def test_a_run_with_pre_training_is_queued_behind_it(workspace: Workspace, scenes: Path) -> None:
    async with opened(workspace) as (app, pilot):
        screen = await open_form(app, pilot, "paper-modern-unet-pt")
        await use_data(screen, pilot, scenes)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(app.screen, Dashboard) and len(app.snapshot.runs) == 8)
        run = app.screen_stack[-1].query_one("RunTable").runs.cursor_run
        assert (run.task, run.name) == ("train", "paper-modern-unet-pt")
        (first,) = [other for other in app.snapshot.runs.values() if other.task == "pretrain"]
        assert run.after == first.id
        assert f"it starts after {first.name} ({first.id})" in notices(app)[-1]


async def test_faults_of_the_data_are_refused_unless_they_are_to_be_skipped(
    form: tuple[LaunchScreen, Pilot[None]], scenes: Path, tmp_path: Path
) -> None:
    screen, pilot = form
    faulty = tmp_path / "faulty"
    shutil.copytree(scenes, faulty)
    next(faulty.glob("gtFine/train/*/*_labelIds.png")).unlink()
    await use_data(screen, pilot, faulty)
    assert "1 missing label" in screen.form.data_look.line
    assert "data.skip_bad=true leaves them out" in screen.form.data_look.line
    assert row(screen, "data").is_wrong
    row(screen, "data.skip_bad").editor.value = "true"
    await until(pilot, lambda: not row(screen, "data").is_wrong, "another look")
    assert "12 train" in screen.form.data_look.line


async def test_what_is_typed_survives_a_database_that_cannot_be_asked(
    form: tuple[LaunchScreen, Pilot[None]], scenes: Path, workspace: Workspace
) -> None:
    screen, pilot = form
    await use_data(screen, pilot, scenes)
    await put(screen, pilot, "name", "mine")
    with sqlite3.connect(workspace.database) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    screen.tui.store.close()
    await pilot.press("ctrl+t")
    await until(pilot, lambda: notices(screen.app), "the refusal")
    assert "newer" in notices(screen.app)[-1]
    assert screen.app.screen is screen
    assert row(screen, "name").text == "mine"
    with sqlite3.connect(workspace.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    await pilot.press("ctrl+t")
    await until(pilot, lambda: isinstance(screen.app.screen, Dashboard), "the dashboard")
    with workspace.open_store() as store:
        assert [run.status for run in store.runs() if run.name == "mine"] == ["queued"]


async def test_a_long_command_is_cut_with_a_sign_and_copied_whole(workspace: Workspace) -> None:
    async with opened(workspace, size=(80, 24)) as (app, pilot):
        screen = await open_rerun(app, pilot, "aaaa0001")
        assert "… ctrl+y copies all of it" in screen_text(app)
        await pilot.press("ctrl+y")
        assert app.clipboard == said(screen, "command").removeprefix("$ ")
        assert app.clipboard.endswith("--queue")


async def test_typing_replaces_a_number_and_goes_on_in_a_path(
    form: tuple[LaunchScreen, Pilot[None]],
) -> None:
    screen, pilot = form
    await put(screen, pilot, "data", "/some")
    row(screen, "epochs").editor.focus()
    await pilot.press("7")
    row(screen, "data").editor.focus()
    await pilot.press("x")
    await pilot.pause()
    assert (row(screen, "epochs").text, row(screen, "data").text) == ("7", "/somex")


async def test_search_and_only_changed_narrow_the_form(form: tuple[LaunchScreen, Pilot[None]]) -> None:
    screen, pilot = form
    everything = shown(screen)
    await pilot.press("ctrl+f", *"checkpoint")
    await pilot.pause()
    assert 0 < len(shown(screen)) < len(everything)
    await pilot.press("down")
    assert all("checkpoint" in f"{key} {row(screen, key).help}".lower() for key in shown(screen))
    await pilot.press("escape")
    await pilot.pause()
    assert shown(screen) == everything
    await put(screen, pilot, "seed", "3")
    await pilot.press("ctrl+g")
    await pilot.pause()
    assert shown(screen) == ["seed"]


async def test_a_field_gets_its_first_value_back(form: tuple[LaunchScreen, Pilot[None]]) -> None:
    screen, pilot = form
    first = row(screen, "epochs").text
    await put(screen, pilot, "epochs", "77")
    assert "●▸epochs" in screen_text(screen.app)
    assert f"was {first}" in screen_text(screen.app)
    await pilot.press("ctrl+r")
    await pilot.pause()
    assert row(screen, "epochs").text == first
    assert screen.form.draft.changes() == {}


async def test_the_arrow_keys_go_from_field_to_field(form: tuple[LaunchScreen, Pilot[None]]) -> None:
    screen, pilot = form
    assert screen.focused is row(screen, "data").editor
    await pilot.press("down")
    assert screen.focused is row(screen, "name").editor
    await pilot.press("enter")
    assert screen.focused is row(screen, "experiment").editor
    await pilot.press("up", "up", "up")
    assert screen.focused is row(screen, "data").editor
    assert "Folder of the data set" in said(screen, "help")


async def test_a_move_of_the_focus_styles_few_widgets_anew(
    form: tuple[LaunchScreen, Pilot[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key takes seven times as long where all fields are styled anew."""
    screen, pilot = form
    styled: list[DOMNode] = []
    usual = screen.app.stylesheet.update_nodes

    def noting(nodes: Iterable[DOMNode], animate: bool = False) -> None:
        noted = list(nodes)
        styled.extend(noted)
        usual(noted, animate=animate)

    monkeypatch.setattr(screen.app.stylesheet, "update_nodes", noting)
    before = screen.focused
    await pilot.press("down")
    await until(pilot, lambda: screen.focused is not before)
    assert 0 < len(styled) < len(screen.form.rows()) / 2


async def test_leaving_asks_only_when_something_would_be_lost(
    form: tuple[LaunchScreen, Pilot[None]], workspace: Workspace
) -> None:
    screen, pilot = form
    await put(screen, pilot, "epochs", "77")
    await pilot.press("escape")
    await until(pilot, lambda: isinstance(screen.app.screen, Confirm))
    assert "epochs = 77" in screen_text(screen.app)
    await pilot.press("n")
    await until(pilot, lambda: screen.app.screen is screen)
    assert row(screen, "epochs").text == "77"
    await pilot.press("escape")
    await pilot.press("y")
    await until(pilot, lambda: screen.query_one(ContentSwitcher).current == "recipes")
    await pilot.press("escape")
    await until(pilot, lambda: isinstance(screen.app.screen, Dashboard))
    with workspace.open_store() as store:
        assert len(store.runs()) == 6


async def test_rerun_with_edits_begins_with_the_config_of_the_run(workspace: Workspace, scenes: Path) -> None:
    add(workspace, "eeee0000", None, {"data.root": str(scenes), "seed": 5}, name="again", tags=("old",))
    async with opened(workspace) as (app, pilot):
        screen = await open_rerun(app, pilot, "eeee0000")
        assert row(screen, "seed").text == "5"
        assert row(screen, "name").text == "again"
        assert row(screen, "tags").text == "old"
        assert row(screen, "data").text == str(scenes)
        assert "from eeee0000" in said(screen, "count")
        await put(screen, pilot, "seed", "6")
        await pilot.press("ctrl+t")
        await until(pilot, lambda: len(app.snapshot.runs) == 8)
    with workspace.open_store() as store:
        (new,) = [row for row in store.runs() if row.name == "again" and row.id != "eeee0000"]
        assert new.seed == 6
        assert store.run("eeee0000").seed == 5
    assert set(
        differences(workspace.run_dir("eeee0000").read_config(), workspace.run_dir(new.id).read_config())
    ) == {"seed"}


async def test_an_evaluation_is_not_made_again_by_the_form(workspace: Workspace) -> None:
    about = {"source": "aaaa0000", "checkpoint": "../aaaa0000/checkpoints/best.pt"}
    table = workspace.run_dir("aaaa0000").read_config().model_dump()
    config = RunConfig.model_validate(table | {"task": "evaluate", "evaluate": about})
    run = workspace.run_dir("eeee0000")
    card = RunCard("eeee0000", "scored", "paper", 1.0)
    run.create(card, config)
    with workspace.open_store() as store:
        store.lifecycle.create(card, config)
    async with opened(workspace) as (app, pilot):
        app.screen.query_one("RunTable").put_cursor("eeee0000")
        await pilot.press("R")
        await pilot.pause()
        assert isinstance(app.screen, Dashboard)
        assert "use `seg-engine rerun eeee0000`" in notices(app)[-1]


async def test_a_run_to_wait_for_must_be_there(
    form: tuple[LaunchScreen, Pilot[None]], scenes: Path, workspace: Workspace
) -> None:
    screen, pilot = form
    await use_data(screen, pilot, scenes)
    await put(screen, pilot, "after", "nosuchrun")
    await pilot.press("ctrl+t")
    await until(pilot, lambda: "after" in screen.form.refused, "the refusal")
    assert "nosuchrun" in screen.form.refused["after"]
    assert screen.focused is row(screen, "after").editor
    await put(screen, pilot, "after", "cccc")
    await pilot.press("ctrl+t")
    await until(pilot, lambda: isinstance(screen.app.screen, Dashboard))
    with workspace.open_store() as store:
        assert [row.after for row in store.queue.waiting() if row.id != "dddd0000"] == ["cccc0000"]


async def test_a_priority_is_a_whole_number(form: tuple[LaunchScreen, Pilot[None]]) -> None:
    screen, pilot = form
    await put(screen, pilot, "priority", "1.5")
    assert row(screen, "priority").is_wrong
    assert "must be a whole number" in screen_text(screen.app)


async def test_the_folder_picker_puts_its_choice_into_the_form(
    form: tuple[LaunchScreen, Pilot[None]], scenes: Path
) -> None:
    screen, pilot = form
    row(screen, "data").editor.value = str(scenes.parent)
    await pilot.press("ctrl+o")
    await until(pilot, lambda: isinstance(screen.app.screen, FolderPicker))
    await pilot.press("escape")
    await until(pilot, lambda: screen.app.screen is screen)
    assert row(screen, "data").text == str(scenes.parent)
    await pilot.press("ctrl+o")
    await until(pilot, lambda: isinstance(screen.app.screen, FolderPicker))
    screen.app.screen.dismiss(str(scenes))
    await until(pilot, lambda: "13 train" in screen.form.data_look.line)


async def test_earlier_runs_say_what_it_will_take(
    form: tuple[LaunchScreen, Pilot[None]],
) -> None:
    screen, pilot = form
    await put(screen, pilot, "batch_size", "64")
    assert not screen.form.checked.problems
    finished = screen.tui.snapshot.runs["aaaa0000"]
    same = Draft(screen.tui.workspace.run_dir(finished.id).read_config(), finished.id)
    await screen._fill(same, screen.form.first_card)
    await until(pilot, lambda: "estimated from unet-seed" in said(screen, "estimate"), "the estimate")
    assert "the same config" in said(screen, "estimate")


async def test_copying_gives_the_command_and_refuses_while_there_is_none(
    form: tuple[LaunchScreen, Pilot[None]],
) -> None:
    screen, pilot = form
    await pilot.press("ctrl+y")
    assert screen.app.clipboard.startswith("seg-engine ")
    assert " run quick" in screen.app.clipboard
    await put(screen, pilot, "epochs", "none")
    copied = screen.app.clipboard
    await pilot.press("ctrl+y")
    await pilot.pause()
    assert screen.app.clipboard == copied
    assert "There is no command yet" in notices(screen.app)[-1]


async def test_a_new_run_begins_with_the_defaults_of_the_workspace(
    workspace: Workspace, scenes: Path, run_command: RunCommand
) -> None:
    (workspace.root / "seg.toml").write_text(
        f"[run]\ndata = '{scenes}'\ndevice = 'cpu'\nexperiment = 'night'\n"
    )
    async with opened(workspace) as (app, pilot):
        screen = await open_form(app, pilot, "quick")
        await until(pilot, lambda: screen.form.data_look.usable)
        assert (row(screen, "data").text, row(screen, "device").text) == (str(scenes), "cpu")
        assert row(screen, "experiment").query_one(Input).placeholder == "night"
        assert "device=" not in said(screen, "command")
        card, config = run_command(said(screen, "command"))
        assert (card.experiment, config.device, config.data.root) == ("night", "cpu", str(scenes))
        await put(screen, pilot, "device", "auto")
        await put(screen, pilot, "experiment", "default")
        card, config = run_command(said(screen, "command"))
        assert (card.experiment, config.device) == ("default", "auto")


async def test_the_search_field_is_no_field_of_the_run(form: tuple[LaunchScreen, Pilot[None]]) -> None:
    screen, pilot = form
    await pilot.press("ctrl+f", *"zzz")
    await pilot.pause()
    assert shown(screen) == []
    assert isinstance(screen.focused, Input)
    assert screen.query_one(ConfigForm).typed_lines() == []


class Gate:
    """Lets a function through when it is `open`; `reached` says that somebody waits."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        self.reached.set()
        self.open.wait(30)
        return self._function(*arguments)


async def test_a_key_pressed_twice_queues_one_run(
    form: tuple[LaunchScreen, Pilot[None]],
    scenes: Path,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate(queue_run)
    monkeypatch.setattr("seg_tui.launch.form.queue_run", gate)
    screen, pilot = form
    app = screen.app
    await use_data(screen, pilot, scenes)
    await put(screen, pilot, "name", "mine")
    await pilot.press("ctrl+t")
    await until(pilot, gate.reached.is_set, "the first")
    await pilot.press("ctrl+t")
    assert "It is being queued" in notices(app)[-1]
    gate.open.set()
    await until(pilot, lambda: isinstance(app.screen, Dashboard), "the dashboard")
    await settled(pilot)
    with workspace.open_store() as store:
        assert [run.status for run in store.runs() if run.name == "mine"] == ["queued"]


async def test_a_run_that_is_queued_closes_its_form_and_not_the_help_over_it(
    form: tuple[LaunchScreen, Pilot[None]], scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(queue_run)
    monkeypatch.setattr("seg_tui.launch.form.queue_run", gate)
    screen, pilot = form
    app = screen.app
    await use_data(screen, pilot, scenes)
    await pilot.press("ctrl+t", "f1")
    await until(pilot, lambda: isinstance(app.screen, HelpScreen), "the help")
    gate.open.set()
    await until(pilot, lambda: any("queued as" in line for line in notices(app)), "it is queued")
    assert isinstance(app.screen, HelpScreen)
    await pilot.press("escape")
    await until(pilot, lambda: isinstance(app.screen, Dashboard), "the dashboard")


async def test_data_that_cannot_be_used_is_told_to_whom_has_left_the_form_meanwhile(
    form: tuple[LaunchScreen, Pilot[None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, pilot = form
    gate = Gate(look_at_data)
    monkeypatch.setattr("seg_tui.launch.queueing.look_at_data", gate)
    row(screen, "data").editor.value = str(tmp_path)
    await pilot.pause()
    await pilot.press("ctrl+t")
    await until(pilot, gate.reached.is_set, "the look at the data")
    await pilot.press("escape")
    await until(pilot, lambda: isinstance(screen.app.screen, Confirm), "the question")
    await pilot.press("y")
    await until(pilot, lambda: screen.query_one(ContentSwitcher).current == "recipes", "the recipes")
    gate.open.set()
    await until(pilot, lambda: any("the run was not queued" in line for line in notices(screen.app)), "why")


async def test_a_recipe_that_is_taken_at_once_has_the_defaults_of_the_workspace(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(read_origin)
    monkeypatch.setattr("seg_tui.screens.launch.read_origin", gate)
    (workspace.root / "seg.toml").write_text("[run]\ndevice = 'cpu'\n")
    async with opened(workspace) as (app, pilot):
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen), "the recipes")
        screen = app.screen
        assert isinstance(screen, LaunchScreen)
        await pilot.press("enter")
        await pilot.pause()
        gate.open.set()
        await until(pilot, lambda: screen.query_one(ContentSwitcher).current == "form", "the form")
        assert row(screen, "device").text == "cpu"


async def test_defaults_do_not_depend_on_a_database_that_can_be_asked(workspace: Workspace) -> None:
    (workspace.root / "seg.toml").write_text("[run]\ndevice = 'cpu'\n")
    with workspace.open_store() as store:
        newest = store.changes().runs[-1]

    class Locked(SharedStore):
        def get(self, make: bool = False) -> Store:
            raise StoreError("another program has locked the database")

    origin = read_origin(workspace, Locked(workspace), None, newest)
    assert (origin.data, origin.defaults.device) == ("", "cpu")


async def test_a_run_like_another_takes_neither_the_place_in_its_search_nor_its_record_of_plugins(
    workspace: Workspace, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.plugins._plugins", {})
    plugin = tmp_path / "own.py"
    plugin.write_text("# as it is now\n")
    then = PluginFile(path=str(plugin), sha256="0" * 64)
    made = {"data.root": str(scenes), "plugins": (then,)}
    add(workspace, "eeee0000", None, made, trial=0, tags=("best", "night"))
    origin = read_origin(workspace, SharedStore(workspace), "eeee0000", None)
    assert origin.card.tags == "night"
    assert origin.config is not None
    with workspace.open_store() as store:
        (card,) = queue_run(workspace, store, origin.config, Card(name="again"), first=False)
    (now,) = workspace.run_dir(card.id).read_config().plugins or ()
    assert now.sha256 == load_plugin(plugin).sha256
