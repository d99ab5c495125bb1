"""The console script `seg-tui`, to which Ctrl-C may come before it is imported."""

from __future__ import annotations

from engine.starting import quiet_interrupts


def main() -> None:
    with quiet_interrupts():
        from seg_tui.program import main as seg_tui
    seg_tui()
