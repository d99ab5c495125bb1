"""What this machine can do at most: `python -m benchmarks.peers.limits CONFIG.json` prints it as JSON.

Run in a process of its own, so that whoever starts the peers never imports torch.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from engine.config.run_config import RunConfig
from engine.worker.process import prepare_process


def main() -> None:
    config = RunConfig.model_validate_json(Path(sys.argv[1]).read_text())
    prepare_process(config.runtime)  # threads and allocator, before torch is imported
    import torch

    from engine.learning.ceiling import matrix_ceiling
    from engine.learning.flops import flops_per_sample
    from engine.learning.hardware import choose_hardware

    hardware = choose_hardware(config)
    limits = {
        "device": str(hardware.device),
        "device_name": hardware.name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": hardware.precision,
        "forward_flops": flops_per_sample(config, outputs=19),
        "ceilings": {name: matrix_ceiling(replace(hardware, precision=name)) for name in ("fp32", "bf16")},
    }
    print(json.dumps(limits))


if __name__ == "__main__":
    main()
