"""The comparison of `benchmarks.peers` on this GPU: `python -m benchmarks.gpu.peers FOLDER`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

COMMAND = "-m benchmarks.peers.run --width 64 --batch-size 64 --images 160 --epochs 2 --device cuda --amp"


def main() -> None:
    out = Path(sys.argv[1]) / "peers"
    subprocess.run([sys.executable, *COMMAND.split(), "--out", str(out)], check=True)
    print(json.dumps({"command": f"python {COMMAND}", "text": (out / "table.md").read_text()}))


if __name__ == "__main__":
    main()
