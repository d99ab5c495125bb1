"""`seg.toml`: defaults of a workspace, where they hold, and what is said of those that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import Workspace as Notebook
from engine.agent.agent import Agent
from engine.agent.settings import Settings
from engine.config.agent import AgentConfig, load_agent_config
from engine.config.notify import load_notify_config
from engine.config.settings_file import SettingsError
from engine.data.synthetic import synthesize
from engine.exits import BAD_USE
from engine.workspace import CACHE_VARIABLE, DATABASE_VARIABLE, Workspace
from tests.engine.conftest import Command


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "scenes"
    synthesize(folder, images=4, size=(64, 64), seed=0)
    return folder


@pytest.fixture
def made(workspace: Workspace, drawn: Path) -> Workspace:
    """The workspace with a data set in it, and defaults that lead there."""
    (workspace.root / "scenes").symlink_to(drawn)
    return with_file(workspace, '[run]\ndata = "scenes"\ndevice = "cpu"\nexperiment = "night"\n')


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("engine.cli.queue", "engine.api.starting"):
        monkeypatch.setattr(f"{module}.ensure_agent", lambda workspace: None)


def with_file(workspace: Workspace, text: str, name: str = "seg.toml") -> Workspace:
    (workspace.root / name).write_text(text)
    return workspace


def newest(workspace: Workspace) -> tuple[str, str, str]:
    """Experiment, data folder and device of the run that was made last."""
    with workspace.open_store() as store:
        row = store.runs()[0]
    return row.experiment, row.config["data"]["root"], row.config["device"]


# --- What holds where ----------------------------------------------------------------------------


def test_a_device_that_does_not_suit_a_file_is_replaced_by_the_one_that_is_typed(
    workspace: Workspace, seg: Command
) -> None:
    with_file(workspace, '[run]\ndata = "scenes"\ndevice = "cuda:1"\n')
    file = (
        with_file(workspace, 'executor = "slurm"\nslurm.gpus = 1\nslurm.dry_run = true\n', "job.toml").root
        / "job.toml"
    )
    told = seg(f"run {file}")
    assert told.status == BAD_USE
    assert "device: cuda:1 is chosen by Slurm; with executor=slurm it must be cuda" in told.err
    for command in (f"run {file} device=cuda", f"sweep {file} device=cuda seed=0,1"):
        assert "#SBATCH --gres=gpu:1" in seg(command).out
    search = f"tune {file} seed=0,1 --sampler grid --trials 1 --experiment e"
    assert "device: cuda:1 is chosen by Slurm" in seg(search).err
    assert "chosen by Slurm" not in seg(f"{search} device=cuda").err


def test_a_run_takes_what_nobody_says_from_the_workspace(made: Workspace, seg: Command) -> None:
    assert seg("run quick data.size=64x64 --queue").status == 0
    assert newest(made) == ("night", str(made.root / "scenes"), "cpu")


def test_the_command_line_comes_first_and_the_config_of_a_file_next(
    made: Workspace, seg: Command, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.symlink_to(made.root / "scenes")
    line = f"run quick data.size=64x64 device=auto --data {other} --experiment day --queue"
    assert seg(line).status == 0
    assert newest(made) == ("day", str(other), "auto")
    config = tmp_path / "mine.toml"
    config.write_text(f'recipe = "mine"\n[data]\nsize = [64, 64]\nroot = "{other}"\n')
    assert seg(f"run {config} --queue").status == 0
    assert newest(made) == ("night", str(other), "cpu")


def test_a_sweep_a_study_and_python_heed_it_too(made: Workspace, seg: Command) -> None:
    assert seg("sweep quick data.size=64x64 seed=0,1 --yes").status == 0
    assert newest(made) == ("sweep", str(made.root / "scenes"), "cpu")
    row = Notebook(made.root).queue("quick", **{"data.size": "64x64"}).row
    assert (row.experiment, row.config["data"]["root"]) == ("night", str(made.root / "scenes"))
    refused = seg("study paper batch_size=0")
    assert "batch_size: '0' is not allowed" in refused.err  # and not that there is no data


def test_a_rerun_keeps_what_its_run_had(made: Workspace, seg: Command) -> None:
    assert seg("run quick data.size=64x64 device=auto --name first --queue").status == 0
    assert seg("rerun first --queue").status == 0
    assert newest(made) == ("night", str(made.root / "scenes"), "auto")


def test_settings_of_both_files_hold_together(workspace: Workspace) -> None:
    with_file(workspace, '[agent]\nslots = 3\n[notify]\nmail = "anna@lab.org"\n')
    with_file(workspace, "[agent]\nfree_memory = 20\n", "agent.toml")
    assert load_agent_config(workspace.root, {}) == AgentConfig(slots=3, free_memory=20)
    assert load_agent_config(workspace.root, {"slots": 1}) == AgentConfig(slots=1, free_memory=20)
    assert load_notify_config(workspace.root).channels == ("mail",)


def test_an_agent_reads_either_file_again_when_it_changes(workspace: Workspace) -> None:
    settings = Settings(workspace.root, {})
    assert settings.refresh()
    with_file(workspace, "[agent]\nslots = 2\n")
    assert settings.refresh()
    assert settings.config.slots == 2
    assert not settings.refresh()
    with_file(workspace, "[agent]\nslots = 4\n", "agent.toml")
    assert settings.refresh()
    assert "agent.slots: also stands in" in settings.fault


def test_an_agent_at_work_takes_as_many_runs_as_the_file_says_now(workspace: Workspace) -> None:
    said: list[str] = []
    with workspace.open_store() as store:
        agent = Agent(store, workspace, {"cpu": 1}, said.append, sized=lambda runs: {"cpu": runs})
        agent.step()
        with_file(workspace, "[agent]\nslots = 3\n")
        agent.step()
        agent.step()
        assert agent.slots == {"cpu": 3}
    assert said == ["slots: 1 on cpu", "slots: 3 on cpu"]


# --- What cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[run]\n\ndevice = 'gpu'",
            "3: run.device: 'gpu' is not allowed; it must be auto, cpu, cuda or cuda:N",
        ),
        ("[run]\ndta = 'x'", "2: run.dta: no such key; did you mean run.data?"),
        ("[run]\ndata = 3", "2: run.data: 3 is not allowed; it must be a folder's name"),
        ("[run]\nexperiment = ''", "2: run.experiment: is empty; it must be a name"),
        ("# none\n[rnu]\n", "2: [rnu]: no such section; did you mean [run]?"),
        ("data = 'x'", "1: data: must be a key in a section; there are [run], [agent], [notify]"),
        ("run.device = 'gpu'", "1: run.device: 'gpu' is not allowed"),
        ("[run]\ndata = '''a\nb'''\ndevice = 1", "4: run.device: 1 is not allowed"),
        (
            "[run\n",
            " is not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 5)",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(
    workspace: Workspace, seg: Command, text: str, says: str
) -> None:
    with_file(workspace, text)
    for line in ("run quick --data .", "config --effective"):
        refused = seg(line)
        assert refused.status == BAD_USE
        assert refused.err.startswith(f"error: {workspace.root}/seg.toml:{says}")
        assert refused.err.count("\n") == 1


def test_a_key_in_both_files_is_refused_with_both_places(workspace: Workspace) -> None:
    with_file(workspace, "[agent]\nfree_memory = 1\nslots = 2\n")
    with_file(workspace, "[agent]\nslots = 3\n", "agent.toml")
    with pytest.raises(SettingsError) as refused:
        load_agent_config(workspace.root, {})
    root = workspace.root
    assert str(refused.value) == (
        f"{root}/agent.toml:2: agent.slots: also stands in {root}/seg.toml:3; keep one of the two"
    )


# --- Where each value comes from -----------------------------------------------------------------


def test_config_tells_each_setting_with_its_place(
    made: Workspace, seg: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_file(made, "[notify]\nurl = 'https://hooks.lab.org/secret'\n", "notify.toml")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql://anna:hidden@db.lab.org/seg")
    found = {one["key"]: (one["value"], one["from"]) for one in seg("config --effective --json").json}
    assert found["workspace"] == (str(made.root), "variable SEG_WORKSPACE")
    assert found["cache"] == (str(tmp_path / "cache"), "variable SEG_CACHE")
    assert found["database"] == ("postgresql://db.lab.org/seg", "variable SEG_DATABASE_URL")
    assert found["run.data"] == (str(made.root / "scenes"), f"{made.root}/seg.toml:2")
    assert found["run.device"] == ("cpu", f"{made.root}/seg.toml:3")
    assert found["agent.slots"] == (1, "default")
    assert found["notify.url"] == ("https://hooks.lab.org/…", f"{made.root}/notify.toml:2")
    (chosen,) = seg(f"-w {made.root} config --effective workspace --json").json
    assert chosen["from"] == "--workspace"
    told = seg("config --effective run")
    assert [line.split()[0] for line in told.out.splitlines()] == [
        "setting",
        "run.data",
        "run.device",
        "run.experiment",
    ]
    assert "run.devise: no such setting; did you mean run.device?" in seg("config --effective run.devise").err
