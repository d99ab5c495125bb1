"""`python -m seg_tui` is `seg-tui`."""

from __future__ import annotations

from seg_tui.start import main

if __name__ == "__main__":
    main()
