"""`seg-engine data`: look at a data set, make one, and the caches of images."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from engine.classes import VOID
from engine.cli.console import notices, output, print_json, progress_bar
from engine.config.keys import ConfigError
from engine.config.sections import DataConfig
from engine.data.catalog import Catalog, DataError, Fault, scan
from engine.data.dataset import turned_note
from engine.data.decode import map_in_order, read_pair, train_id_table
from engine.data.image_files import orientation
from engine.data.layouts.builtin import LAYOUTS
from engine.data.lessons import problems_of_folders
from engine.data.prune import CacheInfo, list_caches, prune_caches
from engine.data.split import split_samples
from engine.data.synthetic import synthesize
from engine.exits import first_few
from engine.report.tables import Column, age, data_size, text_table, thin_bar
from engine.typed import typed
from engine.workspace import Workspace


def check(root: Path, layout: str, classes: str, as_json: bool) -> int:
    """Decode every pair of a data set and say all that is in it and wrong with it.

    Returns 1 when there are faults or nothing could be learned from it, else 0. Raises DataError when there
    is nothing to check.
    """
    catalog = scan(root, layout, classes)
    begun = time.monotonic()
    report = read_everything(catalog)
    lost = lost_shares(catalog, classes, report["values"])
    faults = [*catalog.faults, *report["faults"]]
    notes = [*catalog.notes, *turned_note(report["turned"])]
    unusable = [name for name in catalog.splits if name not in report["seen"]]
    problems = [f"{name}: none of its {len(catalog.splits[name])} pairs can be used" for name in unusable]
    problems += problems_of_folders(catalog.class_set, report["seen"])
    if as_json:
        record = {
            "root": str(root.absolute()),
            "layout": catalog.layout,
            "class_set": catalog.class_set.name,
            "splits": {name: len(samples) for name, samples in catalog.splits.items()},
            "sizes": [
                {"height": height, "width": width, "pairs": count}
                for (width, height), count in report["sizes"]
            ],
            "class_shares": report["shares"],
            "void_share": report["void"],
            "mapped_to_void": lost,
            "faults": [asdict(fault) for fault in faults],
            "notes": notes,
            "problems": problems,
        }
        print_json(record)
        return 1 if faults or problems else 0
    print_contents(catalog, report, time.monotonic() - begun)
    if lost:
        told = ", ".join(f"{name} {100 * share:.2f} %" for name, share in lost.items())
        output.say(f"pixels of classes without a counterpart, in percent of all: {told}\n")
    for note in notes:
        output.say(f"note: {note}")
    print_faults(faults, can_be_skipped="train" not in unusable)
    for problem in problems:
        output.say(problem)
    if not faults and not problems:
        output.say(f"no faults; {what_next(catalog, root, layout, classes)}")
    return 1 if faults or problems else 0


def lost_shares(catalog: Catalog, classes: str, values: Any) -> dict[str, float]:
    """The share of all pixels that each class of a layout had which has no counterpart in Cityscapes, where
    its classes are asked for; the largest first. `values` [256] counts source ids."""
    if classes != "cityscapes":
        return {}
    own, void = LAYOUTS[catalog.layout], catalog.class_set.void_ids
    if not own.is_mapped:
        return {}
    counts = {c.name: sum(values[i] for i in c.ids if i in void) for c in own.class_set(catalog.root).classes}
    total = max(values.sum(), 1)
    return {
        name: float(count / total) for name, count in sorted(counts.items(), key=lambda c: -c[1]) if count
    }


def what_next(catalog: Catalog, root: Path, layout: str, classes: str) -> str:
    """What can be done with a data set that has no faults, read with a `layout` and `classes`."""
    named = [("data.layout", layout), ("data.classes", classes)]
    data = ["--data", str(root), *(f"{key}={value}" for key, value in named if value != "auto")]
    why = []
    for config in (DataConfig(split="random", split_rule="threshold"), DataConfig(split="official")):
        try:
            split_samples(catalog, config)
        except DataError as error:
            why.append(str(error))
            continue
        change = [] if config.split == "random" else [f"data.split={config.split}"]
        return f"next: {typed('run', 'quick', *change, *data)}"
    splits = sorted(catalog.splits.keys() & {"train", "val", "test"})
    if "train" in splits:
        return f"but a run cannot be trained on it: {why[0]}"
    told = f"nothing to train on: there is no split called train (found: {', '.join(catalog.splits)})"
    if not splits:
        return told
    scoring = typed("evaluate", "RUN", *data, "--split", splits[-1])
    return f"{told}; to score a trained run: {scoring}"


def read_everything(catalog: Catalog) -> dict[str, Any]:
    """Faults, sizes, pixel counts and orientation tags of all pairs: what opening each of them shows.
    `values` [256] counts source ids; `seen` has the train ids of each split of which some pair is usable."""
    samples = [sample for split in catalog.splits.values() for sample in split]
    split_of = [name for name, split in catalog.splits.items() for _ in split]
    class_set = catalog.class_set
    table = train_id_table(class_set)

    turned: list[str] = []

    def look(index: int) -> tuple[tuple[int, int] | None, Any, tuple[Fault, ...]]:
        pair, found = read_pair(samples[index], class_set, catalog.root)
        if pair is None:
            return None, None, found
        image, labels = pair
        if orientation(image) != 1:
            turned.append(samples[index].name)
        values = np.bincount(labels.ravel(), minlength=256)
        return image.size, values, ()

    faults: list[Fault] = []
    sizes: Counter[tuple[int, int]] = Counter()
    pixels = {name: np.zeros(256) for name in catalog.splits}
    all_values = np.zeros(256)
    with progress_bar("checking") as report:
        for done, (size, counts, found) in enumerate(map_in_order(look, range(len(samples))), start=1):
            faults += found
            if size is not None:
                sizes[size] += 1
                pixels[split_of[done - 1]] += np.bincount(table, weights=counts, minlength=256)
                all_values += counts
            report(done, len(samples))
    total = sum(pixels.values(), np.zeros(256))
    valid = total[: len(class_set)].sum()
    shares = {name: float(total[i] / valid) if valid else 0.0 for i, name in enumerate(class_set.names)}
    void = float(total[VOID] / total.sum()) if total.sum() else 0.0
    seen = {
        name: np.flatnonzero(counts[: len(class_set)]).tolist()
        for name, counts in pixels.items()
        if counts.any()
    }
    return {
        "faults": faults,
        "sizes": sizes.most_common(),
        "shares": shares,
        "void": void,
        "values": all_values,
        "seen": seen,
        "turned": sorted(turned),
    }


def print_contents(catalog: Catalog, report: dict[str, Any], seconds: float) -> None:
    splits = ", ".join(f"{name} {len(samples)}" for name, samples in catalog.splits.items())
    sizes = ", ".join(f"{height}x{width} ({count})" for (width, height), count in report["sizes"][:6])
    more = f" and {len(report['sizes']) - 6} more" if len(report["sizes"]) > 6 else ""
    pairs = sum(len(samples) for samples in catalog.splits.values())
    output.say(f"{catalog.root.absolute()}: {catalog.layout} layout, class set {catalog.class_set.name}")
    output.say(f"pairs   {splits}")
    output.say(f"sizes   {sizes or '-'}{more}  (height x width)")
    output.say(f"checked {pairs} pairs in {seconds:.1f} s, {pairs / max(seconds, 1e-9):.0f} a second\n")
    shares = report["shares"]
    largest = max(shares.values(), default=0.0) or 1.0
    colors = ["#{:02x}{:02x}{:02x}".format(*c.color) for c in catalog.class_set.classes]
    columns = [
        Column("", [("  ", f"on {color}") for color in colors]),
        Column("class", list(shares), least=12),
        Column(
            "pixels", [f"{100 * share:.2f} %" if share else "none" for share in shares.values()], right=True
        ),
        Column("", [(thin_bar(share / largest, 30), "cyan") for share in shares.values()], rank=1),
    ]
    output.say(text_table(columns, output.table_width))
    output.say(f"\nof all pixels {100 * report['void']:.2f} % belong to no class and are ignored\n")


def print_faults(faults: Sequence[Fault], can_be_skipped: bool) -> None:
    if not faults:
        return
    counts = Counter(fault.kind.replace("_", " ") for fault in faults)
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    output.print(f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}: {summary}", style="bold red")
    shown = first_few(faults)
    for fault in shown:
        output.say(f"  {fault.path}: {fault.problem}")
    if len(shown) < len(faults):
        output.say(f"  and {len(faults) - len(shown):,} more; --json lists all of them")
    output.say("\n--skip-bad lets a run continue without these samples" if can_be_skipped else "")


def make_scenes(folder: Path, images: int, size: str, seed: int, val_fraction: float, style: str) -> None:
    """Draw a synthetic data set. Raises ConfigError for the size, SyntheticError for all else."""
    height, width = parse_size(size)
    with progress_bar("drawing") as report:
        summary = synthesize(folder, images, (height, width), seed, val_fraction, report, style)
    output.say(
        f"{folder}: {summary.train} training and {summary.val} validation images of {height}x{width}, "
        f"{len(summary.classes)} of the Cityscapes classes"
    )
    output.say(f"next: {typed('run', 'quick', '--data', str(folder))}")


def parse_size(text: str) -> tuple[int, int]:
    """ "256x512" as (height, width). Raises ConfigError."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise ConfigError([f"--size: {text!r} is not allowed; it must be HEIGHTxWIDTH such as 256x512"])
    return int(parts[0]), int(parts[1])


def list_or_prune(
    workspace: Workspace,
    prune: bool,
    keys: Sequence[str],
    older_than: float | None,
    everything: bool,
    as_json: bool,
) -> None:
    """List the caches, or remove those in `keys`, those unused for `older_than` days, or all.

    Raises DataError for a key that is not there and for a cache that cannot be removed.
    """
    if prune:
        found = prune_caches(workspace.cache, older_than, keys, everything)
    else:
        found = list_caches(workspace.cache)
    if as_json:
        print_json([cache_record(info) for info in found])
        return
    total = data_size(sum(info.bytes for info in found))
    if not found:
        notices.say(f"{workspace.cache}: {'nothing to remove' if prune else 'no caches'}")
        return
    output.say(cache_table(found, time.time()))
    output.say(f"\n{'removed' if prune else 'there are'} {len(found)}, {total} in all")


def cache_table(found: Sequence[CacheInfo], now: float) -> Any:
    columns = [
        Column("key", [(info.key, "bold") for info in found]),
        Column("images", [str(info.samples) for info in found], right=True, rank=1),
        Column("size", ["x".join(map(str, info.size)) for info in found], right=True, rank=2),
        Column("on disk", [data_size(info.bytes) for info in found], right=True),
        Column("used", [f"{age(now - info.last_used)} ago" for info in found], right=True, rank=3),
        Column(
            "data set", [f"damaged: {info.damage}" if info.damage else info.root for info in found], least=20
        ),
    ]
    return text_table(columns, output.table_width)


def cache_record(info: CacheInfo) -> dict[str, Any]:
    return {**asdict(info), "path": str(info.path)}
