"""The console script `seg-tui`, to which Ctrl-C may come before it is imported."""

from __future__ import annotations

from engine.starting import importing


def main() -> None:
    with importing():
        from seg_tui.program import main as seg_tui
    seg_tui()
