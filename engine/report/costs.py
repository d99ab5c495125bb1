"""What a run cost, in words: device hours, energy and disk."""

from __future__ import annotations

from engine.report.tables import data_size
from engine.store import RunRow


def told_cost(row: RunRow) -> str:
    """What the attempts of a run that told it used: time of devices, energy, disk."""
    parts = [f"{row.device_hours:.3g} device hours" if row.device_hours is not None else "", told_energy(row)]
    if row.disk_bytes is not None:
        parts.append(f"{data_size(row.disk_bytes)} on disk")
    told = ", ".join(part for part in parts if part)
    missing = row.attempt - row.attempts_measured
    return f"{told}; {missing} of {row.attempt} attempts not measured" if missing > 0 else told


def told_energy(row: RunRow) -> str:
    """Its energy, and what of the machine is covered."""
    if row.energy_kwh is None:
        return "energy not measured"
    if row.gpu_kwh is not None and row.cpu_kwh is not None:
        return f"{row.energy_kwh:.3g} kWh (GPU {row.gpu_kwh:.3g}, CPU {row.cpu_kwh:.3g})"
    return f"{row.energy_kwh:.3g} kWh ({'CPU' if row.gpu_kwh is None else 'GPU'})"
