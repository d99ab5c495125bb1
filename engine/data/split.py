"""Splits: which samples train a network and which validate it.

`random` divides the *training* folder, by one of two rules:

`threshold` looks at each sample by itself: it validates when its hash, a number from 0 to 1, is below the
validation fraction. So adding or removing images moves no other across, whenever and wherever that is done;
the sizes of the two sides are about those wanted, not exactly.

`rank` orders all samples by a hash and lets the last ones validate, their number rounded. It follows the
study that is reproduced here, whose seed is known (2147483647) and whose shuffling is not: its membership of
images cannot be had, its sizes can (2380 and 595 of 2975). Adding images moves the boundary, and so others
across it.

`official` trains on the whole `train` folder and validates on `val`, as the Cityscapes benchmark does.

`folders` divides the training folder, too: whole folders within it validate, such as a city of Cityscapes or
a sequence of CamVid. Neighbouring frames of a video are almost the same, so only a sequence that is held out
as a whole tells how a network does on another one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction
from typing import Literal

from engine.config.sections import DataConfig
from engine.data.catalog import Catalog, DataError, Sample
from engine.data.faults import counted, listed
from engine.data.layouts.splits import SPLITS

SplitRule = Literal["threshold", "rank"]

_HASHES_FOR_ADVICE = 200_000
"""How many are computed, in about 0.2 s, to find a seed that serves a small data set."""


def split_random(
    samples: Iterable[Sample], val_fraction: float, seed: int, rule: SplitRule = "threshold"
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Training and validation samples, each sorted by name (see the module's docstring for the rules).

    No generator's shuffle, so that every machine and every version of every library gives the same split, and
    the order of `samples` does not matter:

    - "threshold": bytes 8 to 15 of the SHA-256 of "<name>:<seed>", big-endian and over 2^64, are below
      `val_fraction` (0 < val_fraction < 1) for samples that validate.
    - "rank": samples are ordered by the SHA-256 of "<seed>:<name>", ties by name; the last `val_fraction` of
      them validate, their number rounded, halves up.

    Raises DataError when either side would be empty; the message names a seed that serves both.
    """
    if not 0 < val_fraction < 1:
        raise DataError(
            f"the validation fraction is {val_fraction}; it must lie between 0 and 1, as 0.2 does"
        )
    given = _by_name(samples)
    if rule == "rank":
        ranked = _ranked(given, seed)
        training = len(ranked) - _rounded(val_fraction, len(ranked))
        parts = _by_name(ranked[:training]), _by_name(ranked[training:])
    else:
        validating = set(_below(given, val_fraction, str(seed)))
        parts = tuple(s for s in given if s not in validating), tuple(s for s in given if s in validating)
    if not all(parts):
        raise DataError(
            f"{counted(len(given), 'sample')} cannot be split with a validation fraction of {val_fraction} "
            f"and data.split_seed={seed}: {len(parts[0])} would train and {len(parts[1])} validate; each "
            f"needs at least one{_advice(given, val_fraction, seed, rule)}"
        )
    return parts


def labelled_part(
    samples: Iterable[Sample], fraction: float, seed: int, rule: SplitRule = "threshold"
) -> tuple[Sample, ...]:
    """The `fraction` (0 < fraction <= 1) of training samples whose labels are used, sorted by name.

    Of two fractions the smaller is part of the larger. With "threshold" each sample is chosen by itself, as
    `split_random` does, by the SHA-256 of "<name>:<seed>:labels", so that adding images changes nothing for
    the others; with "rank" the first are taken, their number rounded, halves up. Raises DataError when none
    would be left; the message names the smallest fraction that leaves one.
    """
    given = _by_name(samples)
    if rule == "rank":
        kept: Sequence[Sample] = _ranked(given, seed)[: _rounded(fraction, len(given))]
    else:
        kept = _below(given, fraction, f"{seed}:labels")
    if not kept:
        least = 1.0 / (len(given) or 1)
        if rule == "threshold" and given:
            least = (min(_position(sample, f"{seed}:labels") for sample in given) + 1) / 2**64
        enough = min(1.0, math.ceil(least * 10_000) / 10_000)
        raise DataError(
            f"data.label_fraction={fraction:g} of {len(given)} training images leaves none; "
            f"data.label_fraction={enough:g} leaves one"
        )
    return _by_name(kept)


def split_samples(catalog: Catalog, config: DataConfig) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Training and validation samples by `config.split` (see the module's docstring).

    Raises DataError when the catalog lacks a split folder that is needed, or a side would be empty.
    """
    for needed in ("train",) if config.divides_training else ("train", "val"):
        if needed not in catalog.splits:
            there = ", ".join(f"{name} ({len(samples)})" for name, samples in sorted(catalog.splits.items()))
            raise DataError(
                f"{catalog.root}: the {config.split} split needs images in {needed}; there are: {there}"
            )
    training = catalog.splits["train"]
    if config.split == "random":
        return split_random(training, config.val_fraction, config.split_seed, config.split_rule)
    if config.split == "folders":
        return split_folders(training, config.validating_folders)
    return training, catalog.splits["val"]


def split_folders(
    samples: Iterable[Sample], folders: Collection[str]
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Training samples, and those of `folders`, each sorted by name: a sample validates when a folder on its
    path is called like one of them.

    Raises DataError, one line, for a folder that no sample is in, and when none would be left to train.
    """
    given = _by_name(samples)
    on_paths = [set(folders_of(sample)) for sample in given]
    unknown = [folder for folder in folders if not any(folder in on_path for on_path in on_paths)]
    if unknown:
        there = sorted({folder for sample in given for folder in folders_of(sample)[-1:]})
        told = f"there are: {listed(there)}" if there else "its images lie in no folders"
        raise DataError(f"data.val_folders: the training images have no folder {listed(unknown)}; {told}")
    held_out = [not on_path.isdisjoint(folders) for on_path in on_paths]
    if all(held_out):
        raise DataError(f"data.val_folders={','.join(folders)} leaves no image to train on")
    parts = ([s for s, held in zip(given, held_out, strict=True) if held == side] for side in (False, True))
    training, validating = map(tuple, parts)
    return training, validating


def folders_of(sample: Sample) -> tuple[str, ...]:
    """The folders on the path of a sample, from the outermost, without that of its split."""
    return tuple(part for part in sample.name.split("/")[:-1] if part not in SPLITS)


def _ranked(samples: Sequence[Sample], seed: int) -> list[Sample]:
    return sorted(samples, key=lambda sample: (_digest(f"{seed}:{sample.name}"), sample.name))


def _rounded(fraction: float, count: int) -> int:
    # The decimal as written: 0.145 of 100 is 14.5, which binary floating point makes 14.499999999999998.
    return math.floor(count * Fraction(repr(float(fraction))) + Fraction(1, 2))


def _below(samples: Sequence[Sample], fraction: float, purpose: str) -> list[Sample]:
    """The samples whose own number is below the fraction."""
    limit = Fraction(repr(float(fraction))) * 2**64
    return [sample for sample in samples if _position(sample, purpose) < limit]


def _position(sample: Sample, purpose: str) -> int:
    """A number from 0 to 2^64 - 1 that depends on the sample's name and the purpose alone."""
    return int.from_bytes(_digest(f"{sample.name}:{purpose}")[8:16], "big")


def _advice(samples: Sequence[Sample], val_fraction: float, seed: int, rule: SplitRule) -> str:
    """What gives both sides at least one sample; all of it is tried before it is said."""
    if len(samples) < 2:
        return "; two samples are the least"
    if rule == "rank":
        return f"; data.val_fraction={math.ceil(10_000 / len(samples)) / 10_000:g} gives both some"
    wanted = min(len(samples) - 1, max(1, _rounded(val_fraction, len(samples))))
    best: tuple[int, int, int] | None = None
    for other in range(max(1, _HASHES_FOR_ADVICE // len(samples))):
        validating = len(_below(samples, val_fraction, str(other)))
        if 0 < validating < len(samples):
            found = (abs(validating - wanted), other, validating)
            best = found if best is None else min(best, found)
            if best[0] == 0:
                break
    if best is not None:
        _, other, validating = best
        return f"; data.split_seed={other} lets {len(samples) - validating} train and {validating} validate"
    positions = sorted(_position(sample, str(seed)) / 2**64 for sample in samples)
    above, below = math.ceil(positions[0] * 10_000 + 1e-6), math.floor(positions[-1] * 10_000)
    enough = (above if val_fraction < 0.5 else below) / 10_000
    return f"; data.val_fraction={enough:g} gives both some"


def _digest(text: str) -> bytes:
    # A file name that is no valid UTF-8 reaches Python with surrogates, which plain UTF-8 refuses.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _by_name(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    return tuple(sorted(samples, key=lambda sample: sample.name))
