"""How a step's batch is cut into the parts that go through the network at once, and whether each is enough.

Batch norm in training takes mean and variance of each channel over a part's images and pixels: of a single
value there is none. Where a network's maps shrink to one pixel, a part must have two images. Free of torch:
front ends ask by what a network's section says of it, the worker by the network itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.config.keys import ConfigError, with_values
from engine.config.run_config import FROZEN_NORMS, RunConfig

TRIED = 32
"""How far from the config's own the values lie that are tried for advice."""

Enough = Callable[[RunConfig, int], bool]
"""Whether the network of a config can train on a part of so many images."""


def parts_of_batch(images: int, micro_batch: int, ranks: int) -> set[int]:
    """The sizes of the parts that a batch of `images` is computed in."""
    each, more = divmod(images, ranks)
    # A rank for which a batch has no image works on one that counts for nothing.
    shares = {max(1, each), each + 1} if more else {max(1, each)}
    parts: set[int] = set()
    for share in shares:
        if 0 < micro_batch < share:
            parts |= {micro_batch} | ({share % micro_batch} - {0})
        else:
            parts.add(share)
    return parts


def epoch_sizes(config: RunConfig, images: int) -> set[int]:
    """How many of `images` training images the epochs of a run have: all or, at the end of `budget.images`,
    what is left of that."""
    budget = config.budget.images
    if not budget:
        return {images}
    whole = {images} if budget >= images else set()
    return whole | ({budget % images} - {0})


def smallest_part(config: RunConfig, images: int | None, ranks: int) -> int:
    """The fewest images that go through the network at once in an epoch of `images` training images, the last
    batch included; None: their number is not known, so all batches are taken to be full."""
    batches = {config.batch_size}
    if images is not None:
        sizes = epoch_sizes(config, images)
        batches = {config.batch_size} if max(sizes) >= config.batch_size else set()
        batches |= {size % config.batch_size for size in sizes} - {0}
    micro_batch = config.runtime.micro_batch
    if config.batch_norm == "sync" and ranks > 1:
        return min(batches)  # statistics are those of all ranks
    return min(part for batch in batches for part in parts_of_batch(batch, micro_batch, ranks))


def largest_part(config: RunConfig, images: int) -> int:
    """The most images that go through the network at once, for a rank with `images` training images."""
    return min(config.batch_size, config.runtime.micro_batch or config.batch_size, images)


def enough_by_section(config: RunConfig, part: int) -> bool:
    """What the section of a network says; where it says nothing the worker finds out."""
    if config.batch_norm in FROZEN_NORMS:
        return True
    values = config.model.values_per_channel(*config.train_size)
    return values is None or part * values > 1


def refuse_too_small_parts(
    config: RunConfig, images: int | None, ranks: int, enough: Enough = enough_by_section
) -> None:
    """Raise ConfigError, one line with what would help, when a step has a part that the network cannot train
    on. `images` as in `smallest_part`."""
    part = smallest_part(config, images, ranks)
    if enough(config, part):
        return
    size = "x".join(map(str, config.train_size))
    some = "one image gives" if part == 1 else f"{part} images give"
    told = f"at {size} {some} a norm layer of {config.model.name} one value, and training needs two"
    cut = [f"{images} training image{'' if images == 1 else 's'}"] if images is not None else []
    cut.append(f"batch_size={config.batch_size}")
    if config.budget.images:
        cut.append(f"budget.images={config.budget.images}")
    if config.runtime.micro_batch:
        cut.append(f"runtime.micro_batch={config.runtime.micro_batch}")
    if ranks > 1:
        cut.append(
            f"devices={ranks}" if config.slurm.nodes == 1 else f"{ranks} ranks on {config.slurm.nodes} nodes"
        )
    help_ = " or ".join(_remedies(config, images, ranks, enough))
    help_ = f"{help_} works" if help_ else "more training images are needed"
    raise ConfigError([f"{config.train_size_key}: {told} ({', '.join(cut)}); {help_}"])


def _remedies(config: RunConfig, images: int | None, ranks: int, enough: Enough) -> Iterable[str]:
    """Changes of one key that have been tried and help."""

    def helps(changes: dict[str, object], other_ranks: int = ranks) -> bool:
        try:
            changed = with_values(config, changes)
        except ConfigError:
            return False
        return enough(changed, smallest_part(changed, images, other_ranks))

    def closeness(size: int) -> tuple[int, int]:
        return abs(size - config.batch_size), -size

    height, width = config.train_size
    if helps({config.train_size_key: f"{2 * height}x{2 * width}"}):
        yield f"{config.train_size_key}={2 * height}x{2 * width}"
    near = sorted(range(max(1, config.batch_size - TRIED), config.batch_size + TRIED), key=closeness)
    sizes = [size for size in near if images is None or size <= max(images, config.batch_size)]
    yield from (f"batch_size={size}" for size in _first(sizes, lambda size: helps({"batch_size": size})))
    if config.runtime.micro_batch:
        parts = [*range(config.runtime.micro_batch + 1, config.batch_size)[:TRIED], 0]
        micro = _first(parts, lambda size: helps({"runtime.micro_batch": size}))
        yield from (f"runtime.micro_batch={size}" for size in micro)
    if config.budget.images:
        budgets = range(config.budget.images + 1, config.budget.images + TRIED)
        more = _first(budgets, lambda budget: helps({"budget.images": budget}))
        yield from (f"budget.images={budget}" for budget in more)
    nodes = config.slurm.nodes
    if ranks > nodes and helps({"devices": 1}, nodes):
        yield "devices=1"
    if nodes > 1 and helps({"slurm.nodes": 1}, ranks // nodes):
        yield "slurm.nodes=1"


def _first(values: Iterable[int], wanted: Callable[[int], bool]) -> list[int]:
    """The first value that is wanted, in a list; none, an empty one."""
    return next(([value] for value in values if wanted(value)), [])
