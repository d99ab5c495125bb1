"""`seg-engine init`: a folder to begin a project in."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from engine.cli.console import notices, output, print_json
from engine.requests.new_project import make_project
from engine.typed import PROGRAM
from engine.workspace import WORKSPACE_VARIABLE, find_workspace


def init(folder: Path, as_json: bool) -> None:
    """Make the files of a project where they are not there yet, and say what to type next. Raises
    EngineError."""
    folder = folder.absolute()
    project = make_project(folder)
    if as_json:
        names = {"made": project.made, "kept": project.kept}
        print_json({"folder": str(folder), **{how: [str(file) for file in names[how]] for how in names}})
        return
    for file in project.made:
        output.say(f"made  {file}")
    for file in project.kept:
        output.say(f"kept  {file}, which was there")
    notices.say("next:")
    if folder != Path.cwd():
        notices.say(f"    {shlex.join(['cd', str(folder)])}")
    if folder != find_workspace().root and os.environ.get(WORKSPACE_VARIABLE):
        notices.say(f"    export {WORKSPACE_VARIABLE}={shlex.quote(str(folder))}")
    notices.say(
        f"    {PROGRAM} data synthesize scenes           # or put the folder of your data into seg.toml"
    )
    notices.say(f"    {PROGRAM} run quick --data scenes")
    notices.say(f"    {PROGRAM} run quick --data scenes --plugin plugin.py model.name=my_network")
    notices.say("    sh submit.sh slurm.dry_run=true           # on a cluster; once seg.toml names the data")
    notices.say("    seg-tui")
