"""The devices of this host, and which runs may have them."""

from __future__ import annotations

import os

from engine.host.cuda_driver import cuda_devices
from engine.host.processes import available_cores
from engine.store import RunRow


def device_slots(runs_a_device: int = 1) -> dict[str, int]:
    """How many runs each device takes at once. Beside GPUs the CPU takes one, as it feeds them too."""
    gpus = {f"cuda:{index}": runs_a_device for index in range(cuda_devices())}
    return {**gpus, "cpu": 1 if gpus else runs_a_device}


def words_for(slot: str, slots: dict[str, int]) -> tuple[str, ...]:
    """What a run's `device` key may say for the run to be given this slot."""
    if slot != "cpu":
        return "auto", "cuda", slot
    return ("cpu",) if len(slots) > 1 else ("cpu", "auto")


def visible_device(slot: str, device: str) -> str | None:
    """The value of CUDA_VISIBLE_DEVICES that gives a worker its slot; None where its own config does.

    Numbers count within what this process itself gets to see.
    """
    if slot == "cpu" or device == slot:
        return None
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    seen = [name.strip() for name in names if name.strip()]
    indices = [int(part.partition(":")[2]) for part in parts_of(slot)]
    return ",".join(seen[index] if index < len(seen) else str(index) for index in indices)


def parts_of(slot: str) -> list[str]:
    """The devices of a slot: a run of several GPUs has "cuda:0,cuda:1"."""
    return slot.split(",")


def cores_of(slot: str, slots: dict[str, int]) -> int:
    """A run's share of the cores that this process may use, were every slot of its kind of device taken.

    Threads of two runs on one core wait for each other at the end of every layer, which costs both far more
    than half of their speed.
    """
    kind = [room for other, room in slots.items() if (other == "cpu") == (slot == "cpu")]
    return max(1, available_cores() * len(parts_of(slot)) // sum(kind))


def slot_of(row: RunRow, slots: dict[str, int]) -> str:
    """The slot that a run takes up which another process started."""
    claimed = (row.claimed_by or {}).get("slot", "")
    wanted = str(row.stored_config.get("device", "auto"))
    for slot in (claimed, row.device, wanted):
        if all(part in slots for part in parts_of(str(slot))):
            return str(slot)
    return next(iter(slots)) if wanted != "cpu" else "cpu"
