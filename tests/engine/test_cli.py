"""The command line: what it prints where, with which exit status, and what it says to wrong words."""

from __future__ import annotations

import ast
import csv
import errno
import io
import json
import shlex
import tomllib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from engine.agent.ingest import refresh
from engine.cli import looking
from engine.cli.figure_options import FIGURES
from engine.cli.main import app
from engine.config.files import load_config
from engine.config.keys import with_values
from engine.config.recipes import RECIPES, get_recipe
from engine.data.synthetic import synthesize
from engine.errors import EngineError
from engine.exits import BAD_USE, FAULT
from engine.host.processes import identify
from engine.run.directory import RunDir
from engine.store import Store
from engine.workspace import Workspace
from tests.conftest import REPOSITORY
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import (
    MadeUpJournal,
    evaluation_config,
    evaluation_journal,
    finished_journal,
    make_run_dir,
    robustness_config,
    robustness_journal,
)

# --- Wrong words -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("rnus", "rnus: no such command; did you mean runs?"),
        ("xyzzy", "xyzzy: no such command; there are run, resume, rerun"),
        ("data chek x", "chek: no such command; did you mean check?"),
        ("runs --limt 3", "--limt: no such option; did you mean --limit?"),
        ("runs --qqq", "--qqq: no such option; see `seg-engine runs --help`"),
        ("runs --workspace x", "--workspace: goes before the command: seg-engine --workspace DIR COMMAND"),
        ("show", "missing argument 'RUN'; see `seg-engine show --help`"),
        (
            "runs --limit x",
            "invalid value for '--limit': must be a valid integer; see `seg-engine runs --help`",
        ),
        ("runs --json --csv", "--json and --csv: choose one"),
        ("runs --sort dicee", "dicee: is neither a field of a run nor a config key; did you mean dice?"),
        ("runs dcie>0.5", "dcie: is neither a field of a run nor a config key; did you mean dice?"),
        ("runs --status done", "done: is not a status; it must be one of queued"),
        ("runs --experiment papr", "papr: no such experiment; did you mean paper?"),
        ("show zzzz", "zzzz: no run has that id or name; `seg-engine runs` lists them"),
        ("recipes show quik", "quik: no such recipe; did you mean quick?"),
        ("run good --data .", "good: is a run, not a recipe; `seg-engine rerun good` makes it again"),
        ("bench good", "good: is a run, not a recipe; --latency measures its network"),
        ("bench quik", "quik: no such recipe; did you mean quick?"),
        ("config optimzer", "optimzer: no such key or group of keys; did you mean optimizer?"),
        ("data check . --plugin", "--plugin: needs a file: --plugin FILE.py"),
        (
            "run quick --epochs 3",
            "--epochs: no such option; keys are written without one: epochs=VALUE",
        ),
        (
            "evaluate good --set device=cpu",
            "--set: no such option; keys are written without one: KEY=VALUE",
        ),
        ("run quick =3", "'=3': is not key=value, such as epochs=20, without spaces"),
        ("run quick epochs=3", "data.root: is not set; --data FOLDER"),
        ("run quick --data . epoch=3", "epoch: no such key; did you mean epochs?"),
        ("data cache --all", "select what to remove; add --prune"),
        ("data cache --prune", "--prune: give cache keys"),
        ("data cache --prune abc", "there is no cache 'abc'"),
        ("data synthesize x --size 64", "--size: '64' is not allowed; it must be HEIGHTxWIDTH such as"),
        ("data synthesize x --style dawn", "--style: 'dawn' is not allowed; it must be one of day | night"),
        ("data synthesize x --images 1", "images is 1; at least 2"),
        ("data check nowhere", "nowhere: no such folder"),
        ("db import nowhere", "nowhere: no such folder"),
        ("picture good", "no gallery yet"),
        ("--workspace nowhere runs", "nowhere: no such folder"),
        ("runs seed=99999999999999999999", "seed: 99999999999999999999 is too large"),
        ("runs dice>nan", "not a finite number"),
        ("runs created>1e999", "not a finite number"),
        ("runs --limit 99999999999999999999", "--limit: 99999999999999999999 is too large"),
        ("--workspace ~nosuchuser/x runs", "~nosuchuser/x: no such user"),
        ("run quick --data ~nosuchuser/x", "~nosuchuser/x: no such user"),
        ("data synthesize ~nosuchuser/x", "~nosuchuser/x: no such user"),
        ("runs --view ~nosuchuser/x.toml", "~nosuchuser/x.toml: cannot be read: no such user"),
        ("--plugin ~nosuchuser/x.py runs", "~nosuchuser/x.py: cannot be read"),
        ("run quick --data . --experiment ''", "--experiment: is empty; omit it or give a value"),
        ("run quick --data . --name ' '", "--name: is empty"),
        ("run quick --data . --tag=", "--tag: is empty"),
        ("run quick --data ''", "--data: is empty"),
        ("--workspace '' runs", "--workspace: is empty"),
        ("sweep quick seed=0..1 --data . --experiment ''", "--experiment: is empty"),
        ("evaluate good --checkpoint ''", "--checkpoint: is empty"),
        ("predict good ''", "an argument: is empty"),
        ("tag good ''", "an argument: is empty"),
        ("data check ''", "an argument: is empty"),
    ],
)
@pytest.mark.usefixtures("two_runs")
def test_wrong_words_are_one_line_and_status_2(
    seg: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = seg(line)
    assert done.status == BAD_USE
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert says in done.err
    assert len(done.err.splitlines()) == 1


def test_a_name_that_several_runs_have_is_not_taken_for_a_recipe(seg: Command, workspace: Workspace) -> None:
    for run_id in ("aaaa1111", "bbbb2222"):
        import_made_up_run(workspace, run_id, finished_journal(), name="twice")
    assert "twice: is a run, not a recipe" in seg("run twice --data .").err
    assert "twice: could be aaaa1111 (twice), bbbb2222 (twice)" in seg("rerun twice").err


def test_a_database_that_cannot_be_read_makes_no_run_of_a_word(seg: Command, workspace: Workspace) -> None:
    (workspace.root / "experiments.db").write_bytes(b"no database " * 400)
    assert "quik: no such recipe; did you mean quick?" in seg("run quik --data .").err


def test_each_problem_of_a_config_has_its_line(seg: Command, tmp_path: Path) -> None:
    done = seg(f"run quick --data {tmp_path} epochs=0 optimizer.lr=-1 model.width=big")
    lines = done.err.splitlines()
    assert done.status == BAD_USE
    assert len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)
    assert {line.split()[1] for line in lines} == {"epochs:", "optimizer.lr:", "model.width:"}


def test_of_many_problems_the_first_ten_and_a_count_are_printed(seg: Command, tmp_path: Path) -> None:
    recipe = tmp_path / "many.toml"
    recipe.write_text("".join(f"key{number} = 1\n" for number in range(5000)))
    lines = seg(f"run {recipe} --data {tmp_path}").err.splitlines()
    assert len(lines) == 11
    assert all("no such key" in line for line in lines[:10])
    assert lines[10] == "error: and 4,990 more problems"


def test_a_file_that_the_system_refuses_is_one_line(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    run = import_made_up_run(workspace, "aaaa1111", finished_journal(), name="good")
    write_gallery(run, epoch=3)
    (tmp_path / "file").touch()
    done = seg(f"picture good --out {tmp_path / 'file' / 'x.png'}")
    assert done.status == BAD_USE
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith(f"error: {tmp_path / 'file'}")


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("by zero"),
        ValueError("of Python, which is not the engine's"),
        RuntimeError(),
        OSError(errno.EBADF, "Bad file descriptor"),
        io.UnsupportedOperation("not readable"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_the_program_is_a_traceback_and_says_whose_it_is(
    seg: Command, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(as_json: bool) -> None:
        raise error

    monkeypatch.setattr("engine.cli.recipes.list_recipes", broken)
    done = seg("recipes")
    assert (done.status, done.out) == (FAULT, "")
    *trace, last = done.err.splitlines()
    assert trace[0] == "Traceback (most recent call last):"
    assert trace[-1].startswith(type(error).__name__) or trace[-1].startswith("io.Unsupp")
    assert last == (
        f"error: this is a fault of seg-engine {version('seg-engine')}, not of your input; "
        "please report it with the lines above"
    )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (MemoryError(), "memory ran out"),
        (
            EngineError(["one thing", "and another"], more=2),
            "one thing\nerror: and another\nerror: and 2 more",
        ),
    ],
    ids=["disk", "memory", "input"],
)
def test_what_people_can_mend_is_told_without_a_traceback(
    seg: Command, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def refuse(as_json: bool) -> None:
        raise error

    monkeypatch.setattr("engine.cli.recipes.list_recipes", refuse)
    done = seg("recipes")
    assert done.status == BAD_USE
    assert done.err.startswith(f"error: {told}")
    assert "Traceback" not in done.err


def test_ctrl_c_is_status_130(seg: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(as_json: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.cli.recipes.list_recipes", interrupted)
    assert seg("recipes").status == 130


@pytest.mark.parametrize("line", ["", "--help", "run -h", "runs --help", "data", "db", "data check -h"])
def test_help_fits_80_columns(seg: Command, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = seg(line)
    assert done.status == 0
    assert done.out.startswith("Usage: seg-engine")
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("line", "usage"),
    [
        ("show -h", "show [OPTIONS] RUN"),
        ("compare -h", "compare [OPTIONS] [RUN...]"),
        ("sweep -h", "sweep [OPTIONS] RECIPE_OR_FILE KEY=VALUES..."),
        ("predict -h", "predict [OPTIONS] RUN [IMAGES...]"),
        ("requeue -h", "requeue [OPTIONS] RUN..."),
    ],
)
def test_help_tells_what_is_needed_and_what_may_be_several(seg: Command, line: str, usage: str) -> None:
    shown = seg(line).out
    assert shown.splitlines()[0] == f"Usage: seg-engine {usage}"
    assert "<str>" not in shown
    assert "<list" not in shown
    assert "2147483647" not in shown


def test_help_tells_every_command_in_whole_sentences(seg: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = seg("--help").out.partition("exit.\n\n")[2].partition("\n\n  Start with")[0]
    panels = {panel.partition(":\n")[0]: panel.partition(":\n")[2] for panel in listed.split("\n\n")}
    named = {panel: [line.split()[0] for line in text.splitlines()] for panel, text in panels.items()}
    assert list(named) == ["Run", "Choose", "Look", "Evaluate", "Export", "Queue", "Data", "Admin"]
    assert named["Run"][:3] == ["run", "resume", "rerun"]
    looking_at_networks = ["evaluate", "images", "predict", "ood", "robustness", "generalise"]
    looking_at_networks += ["crf-search"]
    assert named["Evaluate"] == looking_at_networks
    everything = [name for names in named.values() for name in names]
    assert sorted(everything) == sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert {line[19:20].isupper() for text in panels.values() for line in text.splitlines()} == {True}
    assert "..." not in listed


def test_an_old_option_goes_on_working_with_a_note_that_names_the_new_one(seg: Command) -> None:
    done = seg("ood good --in x --out=y --pseudo void")
    assert done.status == BAD_USE
    notes = "note: --in is now --id-data\nnote: --out is now --ood-data\n"
    assert done.err.startswith(notes + "error: --ood-data names what is out-of-distribution")
    assert done.err.count("note:") == 2
    shown = seg("ood --help").out
    assert "--ood-data" in shown
    assert "--out" not in shown.split()


def test_words_that_help_and_completion_list_are_those_that_are_taken() -> None:
    from engine.cli.compare import FORMATS
    from engine.cli.figure import KINDS
    from engine.store import STATUSES

    assert set(FIGURES) == set(KINDS)
    assert ("table", *FORMATS) == looking.FORMATS
    assert set(looking.STATUSES) == set(STATUSES)


def test_no_command_takes_more_than_a_few_parameters() -> None:
    for file in (REPOSITORY / "engine" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                taken = len(node.args.args) + len(node.args.kwonlyargs)
                assert taken <= 6, f"{file.name}: {node.name} takes {taken} parameters"


def test_version(seg: Command) -> None:
    done = seg("--version")
    assert done.status == 0
    assert done.out.startswith("seg-engine 0.")


# --- runs --------------------------------------------------------------------------------------


def test_looking_at_an_empty_folder_says_what_to_do_and_makes_nothing(
    seg: Command, workspace: Workspace
) -> None:
    done = seg("runs")
    assert (done.status, done.out) == (0, "")
    assert "no runs here yet; start one with `seg-engine run quick --data FOLDER`" in done.err
    assert seg("runs --json").json == []
    assert seg("show x").status == BAD_USE
    assert "no runs here yet" in seg("picture x").err
    assert list(workspace.root.iterdir()) == []


def test_run_folders_without_a_database_point_to_rebuild(seg: Command, workspace: Workspace) -> None:
    make_run_dir(workspace.runs, "aaaa1111", finished_journal())
    assert "has 1 run folders but no database; run `seg-engine db rebuild`" in seg("runs").err


@pytest.mark.usefixtures("two_runs")
def test_runs_is_plain_aligned_text_in_a_pipe(seg: Command) -> None:
    done = seg("runs")
    lines = done.out.splitlines()
    assert done.err == ""
    assert "\x1b" not in done.out
    assert [line.split()[0] for line in lines] == ["id", "aaaa1111", "bbbb2222"]
    assert "0.6000 @   2" in lines[1]
    assert "failed: diverged" in lines[2]
    assert "val Dice" in lines[0]
    assert "▁▇" in lines[1]
    column = lines[0].index("name")
    assert [line[column:].split()[0] for line in lines[1:]] == ["good", "bad"]


@pytest.mark.usefixtures("two_runs")
def test_runs_can_be_filtered_sorted_and_cut(seg: Command) -> None:
    def ids(line: str) -> list[str]:
        return [run["id"] for run in seg(f"runs --json {line}").json]

    assert ids("") == ["aaaa1111", "bbbb2222"]
    assert ids("--sort created") == ["aaaa1111", "bbbb2222"]
    assert ids("--sort -created") == ["bbbb2222", "aaaa1111"]
    assert ids("--limit 1") == ["aaaa1111"]
    assert ids("'dice>0.5'") == ids("tag:night") == ids("--experiment paper") == ["aaaa1111"]
    assert ids("--status failed") == ["bbbb2222"]
    assert ids("'dice>0.5' or status=failed") == ids("'(dice>0.5 or status=failed) not tag:x'")
    assert ids("'not dice>0.5'") == ["bbbb2222"]
    assert "No run matches dice>0.99." in seg("runs 'dice>0.99'").err
    assert "No run matches tag:nihgt; did you mean tag:night?" in seg("runs tag:nihgt").err


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize("name", ["a or b", "lr (old)", "not it", "a=b c=d", 'it\'s "one"'])
def test_an_experiment_may_be_called_what_a_filter_would_take_apart(
    seg: Command, workspace: Workspace, name: str
) -> None:
    import_made_up_run(workspace, "eeee5555", finished_journal(), experiment=name, archived=True)
    done = seg(f"runs --experiment {shlex.quote(name)}")
    assert (done.status, done.out) == (0, "")
    assert f"experiment={name} does not match archived=false" in done.err


@pytest.mark.usefixtures("two_runs")
def test_runs_have_the_columns_of_a_view(seg: Command, workspace: Workspace) -> None:
    done = seg("runs dice --columns name,optimizer.lr,dice.road,tags,best --sort best")
    assert "No run matches dice." in done.err
    lines = seg("runs --columns name,optimizer.lr,duration,tags,best --sort -duration").out.splitlines()
    assert lines[0].split()[:4] == ["name", "optimizer.lr", "duration", "tags"]
    assert lines[1].split()[0] == "good"
    assert "night" in lines[1]
    assert "f3 in the dashboard saves one" in seg("views").err
    (workspace.root / "views").mkdir()
    file = workspace.root / "views" / "nights.toml"
    file.write_text('columns = ["id", "optimizer.lr"]\nfilter = "tag:night or dice>0.9"\nsort = "-best"')
    assert seg("runs --view nights --csv").out.splitlines()[1] == "aaaa1111,0.001"
    assert [run["id"] for run in seg("runs --view nights --json").json] == ["aaaa1111"]
    assert [view["name"] for view in seg("views --json").json] == ["nights"]
    assert "nights" in seg("views").out
    file.write_text('colums = ["id"]')
    assert "colums: is not a key of a view; did you mean columns?" in seg(f"runs --view {file}").err
    assert "did you mean nights?" in seg("runs --view night").err
    assert "nam: is not a column; did you mean name?" in seg("runs --columns nam").err


@pytest.mark.usefixtures("two_runs")
def test_runs_as_json_and_csv_hold_what_the_database_knows(seg: Command) -> None:
    run = seg("runs --json good").json[0]
    assert (run["best_dice"], run["best_epoch"], run["tags"]) == (0.6, 2, ["night"])
    assert run["config"]["model"]["name"] == "unet"
    records = list(csv.DictReader(io.StringIO(seg("runs --csv").out)))
    assert [(record["name"], record["cause"]) for record in records] == [
        ("good", "completed"),
        ("bad", "diverged"),
    ]


def test_a_long_table_is_cut_but_never_hides_what_has_not_ended(seg: Command, workspace: Workspace) -> None:
    with workspace.open_store() as store:
        for i in range(55):
            run = make_run_dir(workspace.runs, f"done{i:04d}", finished_journal(), created=900.0 + i)
            store.journals.import_run(run)
        store.journals.import_run(make_run_dir(workspace.runs, "fresh000", created=1.0))
    done = seg("runs")
    ids = [line.split()[0] for line in done.out.splitlines()[1:]]
    assert len(ids) == 51
    assert ids[-1] == "fresh000"
    assert "the first 50 and unfinished runs are shown; --limit 0 shows all" in done.err
    assert len(seg("runs --limit 0").out.splitlines()) == 57
    assert len(seg("runs --json").json) == 56


def test_a_worker_that_died_unwatched_is_not_said_to_run(seg: Command, workspace: Workspace) -> None:
    journal = MadeUpJournal()
    journal.begin()
    journal.epoch(1, 0.1, 0.2)
    run = import_made_up_run(workspace, "aaaa1111", journal)
    alive = identify()
    run.write_proc(alive, attempt=1)
    assert seg("runs --json").json[0]["status"] == "running"
    gone = alive.as_json() | {"start_time": alive.start_time + 1}  # the same pid, another process
    run.proc_file.write_text(json.dumps(gone))
    run_now = seg("runs --json").json[0]
    assert (run_now["status"], run_now["cause"]) == ("failed", "killed")


def test_a_run_that_is_deleted_while_the_others_are_looked_at_does_not_hide_them(
    seg: Command, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = MadeUpJournal()
    journal.begin()
    import_made_up_run(workspace, "aaaa1111", journal)
    import_made_up_run(workspace, "bbbb2222", finished_journal())

    def refreshed(store: Store, runs: list[RunDir]) -> None:
        for run in runs:
            store.lifecycle.delete(run.id)  # by another terminal, since it was listed
        refresh(store, runs)

    monkeypatch.setattr("engine.agent.ingest.refresh", refreshed)
    done = seg("runs --json")
    assert (done.status, done.err) == (0, "")
    assert [run["id"] for run in done.json] == ["bbbb2222"]


def test_a_damaged_journal_of_one_run_does_not_hide_the_others(seg: Command, workspace: Workspace) -> None:
    journal = MadeUpJournal()
    journal.begin()
    run = import_made_up_run(workspace, "aaaa1111", journal)
    import_made_up_run(workspace, "bbbb2222", finished_journal())
    with run.journal.open("a") as stream:
        stream.write("no event\n")
    done = seg("runs")
    assert done.status == 0
    assert len(done.out.splitlines()) == 3
    assert "aaaa1111 is shown from an earlier state" in done.err


# --- show and picture --------------------------------------------------------------------------


@pytest.mark.usefixtures("two_runs")
def test_show_takes_the_beginning_of_an_id_or_a_name(seg: Command, workspace: Workspace) -> None:
    done = seg("show aaa")
    assert done.out == seg("show good").out
    assert str(workspace.runs / "aaaa1111") in done.out
    assert "Diverged" in seg("show bad").out


@pytest.mark.usefixtures("two_runs")
def test_show_as_json_holds_curve_events_scores_and_files(seg: Command, workspace: Workspace) -> None:
    run = seg("show good --json").json
    assert [row["dice"] for row in run["curve"] if row["split"] == "val"] == [0.3, 0.6, 0.5]
    assert run["evaluations"][0]["confusion"][0] == [10, 1, 0, 0]
    assert run["events"][0]["event"] == "started"
    assert run["files"]["folder"] == str(workspace.runs / "aaaa1111")
    assert run["next"][-1] == "seg-engine runs --experiment paper"


def test_show_as_json_names_the_best_trials_of_the_search_as_the_text_does(
    seg: Command, workspace: Workspace
) -> None:
    for trial, (run_id, tags) in enumerate((("aaaa1111", ("best",)), ("bbbb2222", ()))):
        import_made_up_run(
            workspace, run_id, finished_journal(), name=run_id, experiment="tune", trial=trial, tags=tags
        )
    assert "trial 1 of tune; best so far: 0" in seg("show bbbb").out
    assert seg("show bbbb --json").json["best_trials"] == ["aaaa1111"]


def write_gallery(run: RunDir, epoch: int) -> None:
    """One sample of 32x48 whose left half is right and whose right half is wrong."""
    target = np.zeros((32, 48), dtype=np.uint8)
    prediction = target.copy()
    prediction[:, 24:] = 1
    inputs, folder = run.gallery / "inputs", run.gallery / f"epoch_{epoch:04d}"
    for wanted in (inputs, folder):
        wanted.mkdir(exist_ok=True)
    Image.fromarray(np.full((32, 48, 3), 90, dtype=np.uint8)).save(inputs / "val__one_image.png")
    for train_ids, path in ((target, inputs / "val__one_target.png"), (prediction, folder / "val__one.png")):
        picture = Image.fromarray(train_ids, mode="P")
        picture.putpalette([0, 0, 0] * 256)
        picture.save(path)


def test_picture_writes_a_png_and_prints_where(seg: Command, workspace: Workspace, tmp_path: Path) -> None:
    run = import_made_up_run(workspace, "aaaa1111", finished_journal(), name="good")
    write_gallery(run, epoch=3)
    done = seg("picture good")
    assert done.out.strip() == str(run.outputs / "picture.png")
    with Image.open(run.outputs / "picture.png") as picture:
        assert picture.width > 4 * 48
    there = tmp_path / "new folder" / "p.png"
    assert seg(f"picture good --epoch 3 --samples 1 --out '{there}'").status == 0
    assert there.exists()
    wrong = seg("picture good --epoch 7")
    assert wrong.status == BAD_USE
    assert "no epoch 7; it has 3" in wrong.err
    assert "must end in .png" in seg("picture good --out p.jpg").err


# --- recipes and config ------------------------------------------------------------------------


def test_recipes_lists_all_and_show_prints_what_run_takes(seg: Command, tmp_path: Path) -> None:
    listed = seg("recipes").out
    assert all(name in listed for name in RECIPES)
    assert [recipe["name"] for recipe in seg("recipes --json").json] == list(RECIPES)
    for name in RECIPES:
        path = tmp_path / f"{name}.toml"
        path.write_text(seg(f"recipes show {name}").out)
        assert load_config(path) == get_recipe(name)
        assert path.read_text().startswith(f"# {(RECIPES[name].__doc__ or '').splitlines()[0]}")
        assert seg(f"recipes show {name} --json").json["config"] == get_recipe(name).model_dump(mode="json")


def test_config_tells_each_key_with_default_bounds_unit_and_help(seg: Command) -> None:
    out = seg("config optimizer").out
    listed = {line.split()[0].removeprefix("optimizer.") for line in out.splitlines()[1:]}
    # Those of the optimizer that a recipe names, and of the others.
    assert listed > tomllib.loads(seg("recipes show quick").out)["optimizer"].keys()
    assert len(out.splitlines()) == 1 + len(listed)
    lr = next(line for line in out.splitlines() if line.startswith("optimizer.lr"))
    assert "0.001" in lr
    assert "> 0, <= 100" in lr
    assert "Peak learning rate" in lr
    keys = {key["key"]: key for key in seg("config --json").json}
    assert keys["data.size"]["default"] == [128, 128]
    assert keys["data.size"]["unit"] == "pixels"
    assert [key["key"] for key in seg("config data.size --json").json] == ["data.size"]


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        (tuple(f"train/{i}" for i in range(12)), "next: seg-engine run quick --data "),
        (("train/1", "val/2"), "next: seg-engine run quick data.split=official --data "),
        (("train/1",), "but a run cannot be trained on it: "),
        (("val/1", "val/2"), "there is no split called train (found: val); to score a trained run: "),
        (("test/1",), "--split test"),
    ],
)
def test_what_a_check_suggests_can_be_done(
    seg: Command, tmp_path: Path, folders: tuple[str, ...], says: str
) -> None:
    data, labels = tmp_path / "data", Image.fromarray(np.repeat(np.uint8([[7], [8]]), 8, axis=1).repeat(4, 0))
    for name in folders:
        for side, picture in (("images", Image.new("RGB", (8, 8))), ("labels", labels)):
            path = data / side / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
    done = seg(f"data check {data} --classes cityscapes")
    assert done.status == 0
    assert says in done.out.splitlines()[-1]


@pytest.mark.parametrize("option", ["--require dice>=0.5", "--baseline aaaa1111"])
def test_what_is_said_of_a_finished_evaluation_is_refused_of_a_job_that_nobody_waits_for(
    seg: Command, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(sbatch.parent), prepend=":")
    config = with_values(get_recipe("quick"), {"data.root": str(tmp_path), "data.classes": "cityscapes"})
    run = import_made_up_run(workspace, "aaaa1111", finished_journal(), config=config)
    (run.checkpoints / "best.pt").write_bytes(b"weights")
    done = seg(f"evaluate aaaa1111 executor=slurm {option}")
    assert done.status == BAD_USE
    assert f"{option.split()[0]}: needs the finished evaluation" in done.err
    assert len(done.err.splitlines()) == 1
    assert [run["id"] for run in seg("runs --json").json] == ["aaaa1111"]


def test_an_export_says_where_the_results_are_of_a_run_that_looks_at_another(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    import_made_up_run(workspace, "aaaa1111", finished_journal())
    evaluation = evaluation_journal("aaaa1111", {"a": 0.5})
    import_made_up_run(workspace, "eval0000", evaluation, config=evaluation_config("aaaa1111"))
    import_made_up_run(workspace, "robu0000", robustness_journal(), config=robustness_config("aaaa1111"))
    alone = seg(f"export eval0000 robu0000 --format csv --out {tmp_path / 'alone'}")
    assert alone.err.splitlines() == [
        "note: eval0000: its scores are in the tables of aaaa1111, whose network it scored, not here",
        "note: robu0000: what the task robustness finds is in no table; "
        "`seg-engine show robu0000 --json` has it",
    ]
    assert seg(f"export eval0000 aaaa1111 --format csv --out {tmp_path / 'both'}").err == ""
    assert len((tmp_path / "both" / "evaluations.csv").read_text().splitlines()) > 1


def test_a_rerun_of_a_trial_is_not_the_best_of_its_search(
    seg: Command, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesize(tmp_path / "scenes", images=10, size=(64, 64), seed=1)
    monkeypatch.setattr("engine.cli.queue.ensure_agent", lambda workspace: None)
    config = with_values(get_recipe("quick"), {"data.root": str(tmp_path / "scenes"), "data.size": "32x64"})
    import_made_up_run(
        workspace, "aaaa1111", finished_journal(), config=config, trial=0, tags=("best", "night")
    )
    assert (
        "note: ema.use=raw has no effect where ema.decay is 0"
        in seg("rerun aaaa1111 ema.use=raw --queue").err.splitlines()
    )
    assert [run["tags"] for run in seg("runs --status queued --json").json] == [["night"]]


@pytest.mark.parametrize("words", ["run quick --queue", "sweep quick seed=0,1 --yes"])
@pytest.mark.parametrize("names", ["--after nobody", "init.weights=nobody"])
def test_what_names_a_run_is_not_looked_up_in_a_database_made_for_it(
    seg: Command, workspace: Workspace, tmp_path: Path, words: str, names: str
) -> None:
    synthesize(tmp_path / "scenes", images=4, size=(64, 64), seed=1)
    refused = seg(f"{words} {names} data.size=32x32 --data {tmp_path / 'scenes'}")
    assert (refused.status, refused.out) == (BAD_USE, "")
    assert "no runs here yet" in refused.err
    assert not workspace.database.exists()
