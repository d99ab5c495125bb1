"""The image and label pairs of one split at their own sizes, read one after the other from their files.

What evaluation needs: no cache, as nothing is read twice. Free of torch, so that a front end can refuse a
split before a run exists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.classes import VOID, ClassSet
from engine.config import DataConfig
from engine.data.catalog import Catalog, DataError, Fault, Sample, describe_faults, scan
from engine.data.dataset import checked
from engine.data.decode import FileFault, read_labels, resize_labels, train_id_table
from engine.data.split import split_samples
from engine.files import expanded


@dataclass(frozen=True)
class Pairs:
    """The pairs of one split, sorted by name. `skipped` are the faults gone on without; `notes` tell what
    else was left out."""

    root: Path
    class_set: ClassSet
    samples: tuple[Sample, ...]
    skipped: tuple[Fault, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)


def open_pairs(
    config: DataConfig,
    split: str,
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Pairs:
    """Find the pairs of "train", "val" or "test".

    With the random split, train and val are the parts of the training folder that a run of this config
    trained on and held out; with the official one they are the folders. `test` is always the folder. Every
    file is opened once, and the result kept; with `skip_bad` what cannot be used is left out. Raises
    DataError: no data, no such split, no label in it, or faults.
    """
    root = expanded(Path(config.root)).absolute()
    catalog = scan(root, config.kind, config.classes, config.held_out)
    folder = "train" if split == "train" or (split == "val" and config.split == "random") else split
    if folder not in catalog.splits:
        there = ", ".join(f"{name} ({len(samples)})" for name, samples in sorted(catalog.splits.items()))
        raise DataError(f"{root}: has no labelled images in {split}; there are: {there}")
    samples = catalog.splits[folder]
    faults = [fault for fault in catalog.faults if _lies_in(fault, folder)]
    found = checked(samples, config.size, catalog.class_set, root, cache_dir, on_progress)
    if config.skip_bad:
        samples = tuple(sample for sample in samples if sample.name not in found)
    if config.split == "random" and split != "test":
        usable = Catalog(root, catalog.kind, catalog.class_set, {"train": samples}, ())
        parts = split_samples(usable, "random", config.val_fraction, config.split_seed)
        samples = parts[0] if split == "train" else parts[1]
    kept = {sample.name for sample in samples}
    faults += [f for name, of in found.items() if config.skip_bad or name in kept for f in of]
    if faults and not config.skip_bad:
        raise DataError(describe_faults(faults, root, option="data.skip_bad=true"))
    return Pairs(root, catalog.class_set, samples, tuple(faults), catalog.notes)


def refuse_unlabelled(
    pairs: Pairs,
    what: str,
    size: tuple[int, int] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Raise DataError when all labels are void everywhere, as those of Cityscapes' test images are.

    `what` says which images they are; with a `size` (height, width) they are scored at that. Looks no further
    than the first image that has a labelled pixel; files that cannot be read are left to those who use them.
    """
    table = train_id_table(pairs.class_set)
    vanished = False
    for done, sample in enumerate(pairs.samples):
        on_progress(done, len(pairs))
        try:
            known = None if sample.label is None else table[read_labels(sample.label)] != VOID
        except FileFault:
            return
        if known is not None and known.any():
            if size is None or resize_labels(known.astype(np.uint8), size).any():
                return
            vanished = True
    told = f"{pairs.root}: the labels of all {len(pairs)} images of {what} are void"
    if vanished and size is not None:
        told += f" at {size[0]}x{size[1]}, where small objects vanish; --at original scores them"
    raise DataError(f"{told}, so nothing can be scored")


def refuse_other_classes(pairs: Pairs, classes: tuple[str, ...], run_id: str) -> None:
    """Raise DataError unless the data has the very classes that the network of `run_id` tells apart."""
    names = pairs.class_set.names
    if names == classes:
        return
    missing, strange = [n for n in classes if n not in names], [n for n in names if n not in classes]
    parts = [f"lacks {', '.join(missing)}"] if missing else []
    parts += [f"has {', '.join(strange)} besides"] if strange else []
    told = " and ".join(parts) or "has them in another order"
    raise DataError(
        f"{pairs.root}: its classes are not those of {run_id}: the data set {told}; both must be equal"
    )


def _lies_in(fault: Fault, folder: str) -> bool:
    parts = fault.path.split("/")
    return folder in parts[1:2] or parts[1:2] not in (["train"], ["val"], ["test"])
