"""What is looked at before a run is made: its data and its steps."""

from __future__ import annotations

from engine.config.run_config import RunConfig
from engine.data.checks import Known, Log
from engine.data.membership import Trained
from engine.requests.configs import check_steps, idle_schedule
from engine.requests.initial_weights import pretraining_of
from engine.run.directory import RunDir
from engine.store import RunRow
from engine.tasks import TASKS
from engine.workspace import Workspace


def check_data(
    config: RunConfig,
    workspace: Workspace,
    log: Log,
    run: RunDir | None = None,
    row: RunRow | None = None,
) -> list[str]:
    """Look at the data of a run before it is made, and at its pre-training run's. Returns the lines that a
    person should read. Raises DataError, and ConfigError where a step would have too few images for the
    network, or the run too few steps for its schedule.

    A `run` that goes on has the samples that it began with. `row` is the run whose network is looked at, when
    that is for the first time.
    """
    notes: list[str] = []
    pretraining = pretraining_of(config)
    if pretraining is not None:
        notes += check_data(pretraining, workspace, log)
    before = workspace.run_dir(config.source) if config.source else run
    known = Known(
        workspace.cache,
        Trained.find(before) if before is not None else None,
        row.classes if row is not None else (),
    )
    checked = TASKS[config.task].check_data(config, known, log)
    check_steps(config, checked.train_images)
    if idle := idle_schedule(config, checked.train_images):
        notes.append(idle)
    return [*notes, *checked.notes]


def what_the_check_depends_on(config: RunConfig) -> tuple[object, ...]:
    """Configs that are equal in this are checked once for all."""
    pretrained = pretraining_of(config) is not None
    values = config.model.values_per_channel(*config.train_size)
    steps = config.batch_size, config.budget.images, config.runtime.micro_batch, config.devices
    schedule = (config.schedule, config.epochs) if config.schedule.counts_iterations else None
    return config.task, config.data, pretrained, steps, config.batch_norm, values, schedule
