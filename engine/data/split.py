"""Splits: which samples train a network and which validate it.

`random` follows the study that is reproduced here: its training and validation sets are 80 % and 20 % of
the Cityscapes *training* folder. Its seed is known (2147483647), its shuffling is not, so its membership
of images cannot be had; what can be matched are the sizes (2380 and 595 of 2975) and the seed.

`official` trains on the whole `train` folder and validates on `val`, as the Cityscapes benchmark does.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from fractions import Fraction

from engine.data.catalog import Catalog, DataError, Sample

RULES = ("random", "official")


def split_random(
    samples: Iterable[Sample], val_fraction: float, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Training and validation samples, each sorted by name.

    A rule instead of a generator's shuffle, so that every machine and every version of every library gives
    the same split: samples are ranked by the SHA-256 of "<seed>:<name>", ties by name; the last
    `val_fraction` of them (0 < val_fraction < 1; their number rounded, halves up) validate, the others
    train. The order of `samples` does not matter.

    Raises DataError when either side would be empty.
    """
    if not 0 < val_fraction < 1:
        raise DataError(
            f"the validation fraction is {val_fraction}; it must lie between 0 and 1, as 0.2 does"
        )
    ranked = sorted(samples, key=lambda sample: (_rank(seed, sample.name), sample.name))
    # The decimal as written: 0.145 of 100 is 14.5, which binary floating point makes 14.499999999999998.
    validating = math.floor(len(ranked) * Fraction(repr(float(val_fraction))) + Fraction(1, 2))
    training = len(ranked) - validating
    if training < 1 or validating < 1:
        raise DataError(
            f"{len(ranked)} samples cannot be split with a validation fraction of {val_fraction}: "
            f"{training} would train and {validating} validate; each needs at least one"
        )
    return _by_name(ranked[:training]), _by_name(ranked[training:])


def labelled_part(samples: Iterable[Sample], fraction: float, seed: int) -> tuple[Sample, ...]:
    """The `fraction` (0 < fraction <= 1) of training samples whose labels are used, sorted by name.

    The first of them as `split_random` ranks them, their number rounded, halves up: of two fractions the
    smaller is part of the larger. Raises DataError when none would be left.
    """
    ranked = sorted(samples, key=lambda sample: (_rank(seed, sample.name), sample.name))
    kept = math.floor(len(ranked) * Fraction(repr(float(fraction))) + Fraction(1, 2))
    if kept < 1:
        raise DataError(f"data.label_fraction={fraction:g} of {len(ranked)} training images leaves none")
    return _by_name(ranked[:kept])


def split_samples(
    catalog: Catalog, rule: str, val_fraction: float, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Training and validation samples by `rule`, "random" or "official" (see the module's docstring).

    `val_fraction` and `seed` matter to "random" alone. Raises DataError when the catalog lacks a split
    folder that the rule needs, or for an unknown rule.
    """
    if rule not in RULES:
        raise DataError(f"unknown split rule {rule!r}: use {' or '.join(RULES)}")
    for needed in ("train",) if rule == "random" else ("train", "val"):
        if needed not in catalog.splits:
            there = ", ".join(f"{name} ({len(samples)})" for name, samples in sorted(catalog.splits.items()))
            raise DataError(f"{catalog.root}: the {rule} split needs images in {needed}; there are: {there}")
    if rule == "random":
        return split_random(catalog.splits["train"], val_fraction, seed)
    return catalog.splits["train"], catalog.splits["val"]


def _rank(seed: int, name: str) -> bytes:
    # A file name that is no valid UTF-8 reaches Python with surrogates, which plain UTF-8 refuses.
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()


def _by_name(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    return tuple(sorted(samples, key=lambda sample: sample.name))
