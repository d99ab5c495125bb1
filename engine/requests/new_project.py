"""A folder to begin a project in: settings, what Git leaves out, a plugin and a Slurm job as examples."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from engine.config.settings_file import FILE_NAME
from engine.config.workspace_settings import commented_settings
from engine.errors import EngineError
from engine.run.files import replacing

IGNORED = """\
# What seg-engine makes in a workspace
/experiments.db*
/workspace.id
/runs/
/cache/
/agents/
/tune/
/bench/
/exports/
/reports/
/slurm/
/tui.toml
# What Python makes
__pycache__/
"""

PLUGIN = '''\
"""A network of our own: seg-engine run quick --plugin plugin.py model.name=my_network --data DATA

`seg-engine components --plugin plugin.py` lists it. Losses, augmentations, optimizers, schedules, data
layouts, metrics and tasks are added in the same way. torch is imported only where the network is made, so
that commands which need none of it start fast.
"""

from typing import ClassVar, Literal

from engine import models
from engine.components import option


@models.register
class MyNetwork(models.ModelSection):
    """Convolutions at half the size and back."""

    stride: ClassVar[int] = 2  # both sides of an image must be multiples of it
    breadth_key: ClassVar[str] = "width"  # the key that makes the network smaller
    name: Literal["my_network"] = option("my_network", "Architecture")
    width: int = option(16, "Channels of the hidden layers", ge=1, le=1024)

    def build(self, inputs, outputs):
        from torch import nn

        from engine.models.contract import SegmentationNetwork

        width = self.width

        class Network(SegmentationNetwork):
            encoder_names = ("encode",)

            def __init__(self):
                super().__init__()
                self.encode = nn.Sequential(
                    nn.Conv2d(inputs, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU()
                )
                self.grow = nn.Upsample(scale_factor=2)
                self.head = nn.Conv2d(width, outputs, 1)

            def forward(self, images):  # [B, 3, H, W] -> [B, outputs, H, W]
                return self.head(self.grow(self.encode(images)))

            def bottleneck(self):  # [B, width, H / 2, W / 2]
                return self.encode

        return Network()
'''

SLURM = """\
#!/bin/sh
# A run as a Slurm job. More config keys may follow:
#   sh submit.sh slurm.dry_run=true       print the job's script and create nothing
#   sh submit.sh epochs=50 slurm.partition=gpu
# `seg-engine config slurm` lists what a job can ask for.
workspace=$(cd "$(dirname "$0")" && pwd) || exit
exec seg-engine --workspace "$workspace" run quick \\
    executor=slurm slurm.gpus=1 slurm.time=04:00:00 "$@"
"""


@dataclass
class NewProject:
    """What was made, and what was there before and stays as it is."""

    made: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


def make_project(folder: Path) -> NewProject:
    """Make the files of a project, the folder too; what is there is never changed. Raises EngineError where
    no folder can be, and OSError."""
    if folder.exists() and not folder.is_dir():
        raise EngineError(f"{folder}: is not a folder; name one, or a new one")
    folder.mkdir(parents=True, exist_ok=True)
    files = {FILE_NAME: commented_settings(), ".gitignore": IGNORED, "plugin.py": PLUGIN, "submit.sh": SLURM}
    project = NewProject()
    for name, text in files.items():
        path = folder / name
        if os.path.lexists(path):
            project.kept.append(path)
            continue
        with replacing(path) as stream:  # whole or not at all: the next time, what is there is kept
            stream.write(text.encode())
        project.made.append(path)
    return project
