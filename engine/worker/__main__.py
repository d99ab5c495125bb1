"""`python -m engine.worker RUN_DIR`: see engine.worker.entry."""

import sys

from engine.worker.entry import main

if __name__ == "__main__":
    sys.exit(main())
