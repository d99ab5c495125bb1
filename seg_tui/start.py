"""The console script `seg-tui`, to which Ctrl-C may come before it is imported."""

from __future__ import annotations

import gc

from engine.starting import quiet_interrupts


def main() -> None:
    # What is imported stays to the end, and so do most of thousands of runs: to look for garbage among them
    # again and again took a third of the time to show 10,000 runs, and once among the imports 25 ms.
    gc.disable()
    with quiet_interrupts():
        from seg_tui.program import main as seg_tui
    gc.freeze()
    gc.set_threshold(100_000)
    gc.enable()
    seg_tui()
