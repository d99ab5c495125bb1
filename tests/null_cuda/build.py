"""Build the null CUDA with gcc and the headers of the CUDA wheels: `python -m tests.null_cuda.build DIR`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

SHIM = Path(__file__).parent / "shim"
LIBRARIES = {
    "libnull_cuda.so": ("counters.c", "runtime.c", "memory.c", "libraries.c", "cudnn.c"),
    "lib/libcuda.so.1": ("driver.c", "driver_stubs.c"),
    "lib/libnvidia-ml.so.1": ("nvml.c",),
}


def build(folder: Path) -> Path:
    """Compile the libraries into `folder` and return it. Raises CalledProcessError when gcc fails."""
    (folder / "lib").mkdir(parents=True, exist_ok=True)
    for library, sources in LIBRARIES.items():
        # Renamed when whole: two processes may build at the same time.
        finished = folder / library
        unfinished = finished.with_name(f"{finished.name}.{os.getpid()}")
        command = ["gcc", "-shared", "-fPIC", "-O2", "-Wall", *_include(), "-o", str(unfinished)]
        command += [str(SHIM / source) for source in sources]
        subprocess.run([*command, "-lpthread", "-ldl"], check=True)
        os.replace(unfinished, finished)
    link = folder / "lib/libcuda.so"  # the name that Triton's compiler links with
    link.unlink(missing_ok=True)
    link.symlink_to("libcuda.so.1")
    return folder


def environment(folder: Path, devices: int = 1, gigabytes: float = 85.0) -> dict[str, str]:
    """The variables that make a process of the null CUDA in `folder`, which has `devices` GPUs."""
    search = [str(folder / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        "LD_PRELOAD": str(folder / "libnull_cuda.so"),
        "LD_LIBRARY_PATH": ":".join(filter(None, search)),
        "NULL_CUDA_DEVICES": str(devices),
        "NULL_CUDA_BYTES": str(round(gigabytes * 10**9)),
    }


def _include() -> list[str]:
    """The headers of CUDA and cuDNN. `crt/`, which the CUDA wheel lacks, comes with Triton."""
    site = Path(sysconfig.get_paths()["purelib"])
    spec = importlib.util.find_spec("torch")
    if spec is not None and spec.origin is not None:
        site = Path(spec.origin).parents[1]
    wheels = sorted((site / "nvidia").glob("*/include"))
    return [f"-I{folder}" for folder in [*wheels, site / "triton/backends/nvidia/include"]]


if __name__ == "__main__":
    print(build(Path(sys.argv[1]).absolute()))
