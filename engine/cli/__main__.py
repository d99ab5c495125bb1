"""`python -m engine.cli`: what the command `seg-engine` does, for programs that start it."""

from __future__ import annotations

from engine.cli.start import main

if __name__ == "__main__":
    main()
