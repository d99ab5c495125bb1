"""`seg-engine evaluate` and `seg-engine images`: score a trained network on a split, image by image."""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from engine.cli.console import notices, output, print_json
from engine.cli.reading import open_existing
from engine.cli.run import check_data, queue_or_start
from engine.cli.usage import WrongUse
from engine.config.keys import ConfigError
from engine.config.run_config import RunConfig
from engine.data.membership import Trained
from engine.data.pairs import open_pairs
from engine.exits import DONE, FAILED
from engine.metrics.bootstrap import paired_differences, refuse_unpaired
from engine.report.evaluation import difference_table, images_csv, images_table
from engine.requests.derive import (
    checkpoint_of,
    classes_of,
    confusions_of,
    derived_config,
    find_baseline,
    source_run,
)
from engine.requests.refusals import Refused
from engine.requests.requirements import Known, Requirement, Scores, scores_of
from engine.run.directory import RunCard, new_run_id
from engine.store import EvaluationRow, RunRow, Store
from engine.tasks import TASKS
from engine.typed import typed
from engine.visible import one_line
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.arguments import OfNetwork, Printed
    from engine.cli.scoring import Evaluation


def card_of_network(wanted: OfNetwork, row: RunRow, name: str) -> RunCard:
    """The card of a new run that looks at the network of `row`; `name` is its name unless it is given one."""
    return RunCard(
        id=new_run_id(),
        name=wanted.name or one_line(name),
        experiment=wanted.experiment or one_line(row.experiment),
        created=time.time(),
        tags=tuple(dict.fromkeys(wanted.tag)),
        note=wanted.note,
    )


def evaluate(workspace: Workspace, wanted: Evaluation) -> int:
    """Score a run's checkpoint as a run of its own; returns the exit status.

    Raises Refused, ConfigError, WrongUse, DataError, MetricsError and StoreError before anything is made.
    """
    place, as_json = wanted.queued.place, wanted.as_json
    with open_existing(workspace, change=True) as store:
        row = source_run(store, wanted.run)
        path = checkpoint_of(workspace, row, wanted.checkpoint, waits=place is not None)
        about = {
            "source": row.id,
            "checkpoint": path,
            "split": wanted.split,
            "at": wanted.at,
            "label_resize": wanted.label_resize,
            "tta": wanted.tta,
            **wanted.windows.keys,
            "boundary": wanted.boundary,
            "keep": wanted.keep,
        }
        if wanted.critical:
            about["critical"] = critical_names(wanted.critical)
        config = derived_config(workspace, row, about, wanted.changes, wanted.data, crf=wanted.crf)
        if config.executor == "slurm":
            refuse_unfollowed(wanted)
        known = known_scores(config)
        requirements = known.requirements(wanted.require)
        check_data(config, workspace, row=row)
        other = find_baseline(store, wanted.baseline, config) if wanted.baseline else None
        if other is not None:
            refuse_other_images(workspace, config, other)
        crf = "" if config.crf.mode == "off" else "-crf"
        made = card_of_network(wanted.new, row, f"{row.name}-{wanted.split}-{wanted.at}{crf}")
        status = queue_or_start(workspace, store, made, config, wanted.queued, as_json)
        if status == 0 and other is not None and store.run(made.id).ended:
            tell_differences(workspace, store, made.id, other, as_json)
        if status == 0 and requirements:
            scores = scores_of(store.results.evaluations(made.id)[-1], store.results.metrics(made.id))
            return judge(requirements, scores, as_json)
        return status


def refuse_unfollowed(wanted: Evaluation) -> None:
    """Raise WrongUse for what is said of a finished evaluation: nobody follows a job of a cluster."""
    for option, is_given in (("--baseline", wanted.baseline), ("--require", wanted.require)):
        if is_given:
            raise WrongUse(
                f"{option}: needs the finished evaluation, and a Slurm job is not waited for; omit it or "
                "executor=slurm"
            )


def refuse_other_images(workspace: Workspace, config: RunConfig, baseline: EvaluationRow) -> None:
    """Raise MetricsError where `tell_differences` would once all is scored: the baseline's counts are not
    there, or are of other images than those that an evaluation of this config scores."""
    about = config.scored
    assert about is not None
    counted = confusions_of(workspace.run_dir(baseline.run_id))
    trained = Trained.find(workspace.run_dir(about.source))
    pairs = open_pairs(config.data, about.split, workspace.cache, trained=trained)
    refuse_unpaired(pairs.class_set.names, [sample.name for sample in pairs.samples], counted)


def critical_names(typed: str) -> tuple[str, ...]:
    """The class names in `--critical`."""
    return () if typed == "none" else tuple(dict.fromkeys(typed.split(",")))


def known_scores(config: RunConfig) -> Known:
    """What an evaluation of this config will tell. Raises ConfigError for critical classes that are none."""
    about, classes = config.evaluate, classes_of(config).names
    assert about is not None
    refuse_strange(about.critical, classes)
    return Known(classes, about.critical, about.boundary)


def refuse_strange(critical: Sequence[str], classes: Sequence[str]) -> None:
    """Raise ConfigError for critical classes that are none of `classes`."""
    problems = []
    for name in critical:
        if name not in classes:
            near = difflib.get_close_matches(name, classes, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(classes)}"
            problems.append(f"--critical: there is no class {name or '(empty)'}; {hint}")
    if problems:
        raise ConfigError(problems)


def judge(requirements: Sequence[Requirement], scores: Scores, as_json: bool) -> int:
    """Print whether each requirement is met; returns the exit status."""
    if as_json:
        for each in requirements:
            print_json(each.record(scores), indent=None)
    else:
        tell_requirements(requirements, scores)
    return DONE if all(each.met(scores) for each in requirements) else FAILED


def tell_requirements(requirements: Sequence[Requirement], scores: Scores) -> None:
    """A line for each requirement, met or not."""
    output.say()
    for each in requirements:
        output.say(Text(one_line(each.told(scores)), "" if each.met(scores) else "bold red"))


def tell_differences(
    workspace: Workspace, store: Store, run_id: str, baseline: EvaluationRow, as_json: bool
) -> None:
    """Print how the evaluation differs from its baseline, with intervals. Raises MetricsError."""
    found = paired_differences(
        confusions_of(workspace.run_dir(run_id)), confusions_of(workspace.run_dir(baseline.run_id))
    )
    if as_json:
        record = {"event": "baseline", "run": run_id, "baseline": baseline.run_id, "source": baseline.source}
        print_json(record | {"differences": [asdict(one) for one in found]}, indent=None)
        return
    other = store.run(baseline.run_id)
    whose = f"{other.name} ({baseline.run_id}, of {baseline.source})"
    output.say(f"\nagainst {whose}, paired bootstrap over images:")
    output.say(difference_table(found))


def list_images(workspace: Workspace, prefix: str, sort: str, limit: int | None, printed: Printed) -> None:
    """Print the images of an evaluation, the worst first. Of a training run its newest evaluation is taken.

    Raises Refused when there is none, StoreError for an order that does not exist.
    """
    with open_existing(workspace) as store:
        row = store.run(store.resolve(prefix))
        if not TASKS[row.task].evaluates:
            made = store.results.evaluations_of(row.id)
            if not made:
                raise Refused([f"{row.id}: has no evaluation yet; run `{typed('evaluate', row.id)}`"])
            row = store.run(made[-1].run_id)
            notices.say(f"images of {row.id} ({row.name})")
        class_name = sort.removeprefix("-").removeprefix("class:") if "class:" in sort else None
        if class_name is not None and class_name not in row.classes:
            raise Refused([f"class:{class_name}: no such class; there are {', '.join(row.classes)}"])
        shown = limit if limit is not None else 20 if printed.for_people else None
        found = store.results.image_scores(row.id, sort, shown or None)
    if printed.as_json:
        print_json([asdict(image) for image in found])
    elif printed.as_csv:
        print(images_csv(found), end="")
    elif found:
        output.say(images_table(found, class_name, output.table_width))
    else:
        notices.say(f"{row.id}: has not scored any image yet")
