"""The console script `seg-engine`, to which Ctrl-C may come before it is imported."""

from __future__ import annotations

from engine.starting import quiet_interrupts


def main() -> None:
    with quiet_interrupts():
        from engine.cli.main import main as seg_engine
    seg_engine()
