"""`seg-engine tune`: search the best values of config keys; each trial is an ordinary run."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.console import notices, output, print_json
from engine.cli.reading import open_for_new
from engine.cli.run import check_data
from engine.config.keys import ConfigError, parse_assignments
from engine.config.recipes import RECIPES
from engine.config.run_defaults import RunDefaults, load_run_defaults
from engine.exits import DONE, FAILED, INTERRUPTED
from engine.host.input_files import read_toml
from engine.report.tables import Column, text_table
from engine.requests.checking import what_the_check_depends_on
from engine.requests.configs import base_config, check_runnable
from engine.requests.initial_weights import names_a_run, settle_sources
from engine.requests.refusals import refuse_no_name, refuse_unkeepable
from engine.requests.tuning.goals import GOALS, refuse_unfit
from engine.requests.tuning.search import RUN, News, Searching, searching
from engine.requests.tuning.searched import Search
from engine.requests.tuning.space import parse_space
from engine.run.environment import text_digest
from engine.run.files import absolute
from engine.typed import typed
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.running import Tuning

MOST_CHECKED = 256
"""Combinations of ends that are checked beforehand; what is beyond is found when its trial is queued."""


def tune(workspace: Workspace, wanted: Tuning) -> int:
    """Check the ends of all ranges, then search until the trials are over; returns the exit status.

    Raises ConfigError, DataError, Refused and StoreError before the first trial.
    """
    search = search_of(wanted, load_run_defaults(workspace.root))
    refuse_no_name(experiment=search.name)
    refuse_unkeepable(tag=search.tags)
    checked = []
    for ends in itertools.islice(itertools.product(*(axis.ends for axis in search.axes)), MOST_CHECKED):
        values = dict(zip((axis.key for axis in search.axes), ends, strict=True))
        config = search.config({axis.key: _value(axis.choices, values[axis.key]) for axis in search.axes})
        check_runnable(config)
        checked.append(config)
    for config in {what_the_check_depends_on(config): config for config in checked}.values():
        check_data(config, workspace)
    with open_for_new(workspace, any(map(names_a_run, checked))) as store:
        for config in checked:
            settle_sources(workspace, store, config)
        with searching(workspace, store, search, _Told(wanted.as_json, search.metrics)) as at_work:
            try:
                at_work.run()
            except KeyboardInterrupt:
                notices.say("trials in the queue go on; repeat the command to go on with the search")
                return INTERRUPTED
            return tell_best(at_work, wanted.as_json)


def search_of(wanted: Tuning, defaults: RunDefaults) -> Search:
    """What is searched. Raises ConfigError and UnknownRecipe."""
    axes, fixed = parse_space(wanted.changes)
    metrics = tuple(wanted.metric) or ("dice",)
    for name in metrics:
        if name not in GOALS:
            raise ConfigError([f"--metric {name}: must be one of {', '.join(GOALS)}"])
    refuse_unfit(metrics, wanted.sampler, wanted.pruner, axes)
    typed_keys = {*parse_assignments(fixed), *(axis.key for axis in axes)}
    base = base_config(wanted.recipe, defaults, typed_keys)
    return Search(
        wanted.experiment,
        wanted.recipe,
        "" if wanted.recipe in RECIPES else text_digest(read_toml(Path(wanted.recipe))),
        base,
        absolute(wanted.data) if wanted.data is not None else None,
        tuple(axes),
        tuple(fixed),
        defaults,
        wanted.trials,
        metrics,
        wanted.sampler,
        wanted.pruner,
        wanted.parallel,
        wanted.seed,
        wanted.priority,
        tuple(dict.fromkeys(wanted.tag)),
    )


def tell_best(at_work: Searching, as_json: bool) -> int:
    """Say which trials were the best. Returns FAILED where none has finished."""
    search, best = at_work.search, at_work.best()
    if as_json:
        found = [
            {
                "trial": each.number,
                "run": each.user_attrs[RUN],
                "scores": each.values,
                "params": each.params,
            }
            for each in best
        ]
        print_json({"event": "best", "metrics": list(search.metrics), "trials": found}, indent=None)
    elif best:
        columns = [
            Column("trial", [str(each.number) for each in best], right=True),
            Column("run", [each.user_attrs[RUN] for each in best]),
            *(
                Column(name, [f"{each.values[i]:.6g}" for each in best], right=True)
                for i, name in enumerate(search.metrics)
            ),
            *(Column(a.key, [a.typed(each.params[a.key]) for each in best], right=True) for a in search.axes),
        ]
        output.say(text_table(columns, output.table_width))
        notices.say(f"next: {typed('runs', '--experiment', search.name)}")
    else:
        notices.say(f"no trial of {search.name} has finished; {typed('runs', '--experiment', search.name)}")
    return DONE if best else FAILED


class _Told:
    """Prints the news of a search, a line each."""

    def __init__(self, as_json: bool, metrics: tuple[str, ...]) -> None:
        self.as_json, self.metrics = as_json, metrics

    def __call__(self, news: News) -> None:
        scores = dict(zip(self.metrics, news.scores, strict=False))
        if self.as_json:
            record: dict[str, Any] = {"event": news.state, "trial": news.trial, "run": news.run}
            record |= {"params": news.values, "epoch": news.epoch, "scores": scores, "message": news.why}
            print_json(record, indent=None)
            return
        words = [f"trial {news.trial}  {news.run}  {news.state}"]
        if news.state == "started":
            words += [f"{key}={value}" for key, value in news.values.items()]
        if news.epoch:
            words.append(f"epoch {news.epoch}")
        words += [f"{name} {value:.4g}" for name, value in scores.items()]
        output.say("  ".join([*words, news.why] if news.why else words))


def _value(choices: tuple[str, ...], text: str) -> Any:
    return text if choices else float(text)
