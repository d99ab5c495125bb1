"""Measure everything and write docs/benchmarks.md: `make benchmarks`, or `python -m benchmarks.all NAME ...`.

With names, only those are measured again and the other sections stay. Run it on a quiet machine: each section
notes the load that it met.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.host.cpu import cpu_name

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
SERVER = "SEG_DATABASE_URL"


@dataclass(frozen=True)
class Section:
    """One question, the command that answers it, and what the answer should be."""

    name: str
    title: str
    command: str
    about: str
    on_server: bool = False
    """Measured only where SEG_DATABASE_URL names a new database on a server."""


SECTIONS = (
    Section(
        "training_loop",
        "The training loop against a bare one",
        "python benchmarks/training_loop.py --width 64 --batch-size 16 --images 48 --rounds 3",
        "The same network, precision, batches and allocator; the bare loop has no metrics, journal or "
        "progress. Target: at least 0.97 of its speed, and under 2 % of the time spent waiting for data.",
    ),
    Section(
        "zoo",
        "A network of segmentation_models_pytorch against a bare loop",
        "python -m benchmarks.zoo --images 96 --batch-size 8 --rounds 5",
        "The bare loop trains the network as smp itself builds it, with cross-entropy and a fused SGD. It "
        "finds no classes, counts nothing, reads no loss, and its dropout does not repeat; the engine's "
        "does. Target: at least 0.95 of its speed. With one thread, the seconds of the processor say it on a "
        "machine that has other work to do.",
    ),
    Section(
        "zoo_operators",
        "What the engine does beyond that bare loop",
        "python -m benchmarks.zoo --operators --images 24",
        "Operators of a step that the engine runs more or fewer times than the bare loop, and those that "
        "take the most, by the time of the one thread that is at work. Beyond the bare loop are the "
        "scores (`max` finds the class of each pixel) and dropout that repeats by sample. Convolutions "
        "are the same in both and show how far to trust a line.",
    ),
    Section(
        "step_profile",
        "What limits a step",
        "python benchmarks/step_profile.py batch_size=64",
        "The fastest of eight steps by kind of work, then each convolution alone, with a matrix product "
        "measured alongside.",
    ),
    Section(
        "null_cuda",
        "What a step asks of a GPU",
        "python -m benchmarks.null_cuda",
        "Counted on the null CUDA of `tests/null_cuda`, which runs no kernel, for one steady step of each "
        "recipe. The least times are predictions: operations over the peak of the tensor cores or bytes over "
        "the memory's rate, operator by operator. Target: the host waits for nothing.",
    ),
    Section(
        "crf",
        "A fully connected CRF at full size",
        "python benchmarks/crf.py",
        "One thread, 2048x1024, in turns with the plain way to write it in NumPy and scipy.sparse. The C++ "
        "of pydensecrf2 takes 15 s for such an image on one core. Target: under 44 s.",
    ),
    Section(
        "boundary",
        "Boundary scores at full size",
        "python benchmarks/boundary.py",
        "Boundary IoU, boundary F and trimap IoU of one 2048x1024 image, against the network that predicts "
        "it, one thread. Target: at most 15 % of the network's time.",
    ),
    Section(
        "latency",
        "Latency of five networks, torch against onnxruntime",
        "python benchmarks/latency.py",
        "One image of 512x1024 through untrained networks of widths that two cores can do, in turns, by the "
        "protocols of [realtime.md](realtime.md).",
    ),
    Section(
        "gpu",
        "On a GPU",
        "python -m benchmarks.gpu.table docs/gpu",
        "`python -m benchmarks.gpu --minutes 9 --out docs/gpu/NAME.json` asks a GPU everything that there is "
        "to ask, the most valuable first. This section prints the files in that folder. Targets on an H100 "
        "(989 TFLOP/s nominal): `paper-unet` at least 30 % eager and 38 % as it runs, the Modern U-Net 35 %, "
        "a step of `quick` under 1 ms, data wait under 2 %.",
    ),
    Section(
        "peers",
        "Against other ways to train this network",
        "python -m benchmarks.peers.run --width 64 --batch-size 16 --images 60 --epochs 3",
        "Each in a process of its own, one after the other, on the same 1024x2048 PNGs: a plain "
        "PyTorch script, PyTorch Lightning with torchmetrics, torchvision's reference script. Target: "
        "5 times the speed of the plain script.",
    ),
    Section(
        "peers_64",
        "The same at the study's batch of 64",
        "python -m benchmarks.peers.run --width 64 --batch-size 64 --images 160 --epochs 2",
        "The same peers, for two epochs, because an epoch of the plain script takes a minute and a half.",
    ),
    Section(
        "precision",
        "bf16 against fp32",
        "python benchmarks/precision.py --images 300 --seeds 3 --lr 0.002",
        "Final validation Dice of the same runs in both precisions. Target: means within 0.01.",
    ),
    Section(
        "ddp",
        "Two processes against two threads",
        "python benchmarks/ddp.py",
        "One run on two Gloo ranks of one thread each, against one process of two threads. Target: at "
        "least 0.9 of its speed.",
    ),
    Section(
        "side_by_side",
        "Several runs on the same cores",
        "python benchmarks/side_by_side.py --epochs 5",
        "How much concurrent runs slow each other down, and what it gains to give each a share of the cores, "
        "as an agent does.",
    ),
    Section(
        "start_up",
        "From the command to the first step",
        "python benchmarks/start_up.py",
        "Warm cache, CPU; `import torch` is shown separately. Target: under 12 s.",
    ),
    Section(
        "data_cache",
        "An epoch from the cache against decoding PNGs",
        "python benchmarks/data_cache.py",
        "2048x1024 to 128x128. Target: at least 50 times faster.",
    ),
    Section(
        "metrics_speed",
        "Counting a confusion matrix",
        "python benchmarks/metrics_speed.py",
        "Several ways to count. All give the same matrix.",
    ),
    Section(
        "evaluation",
        "What metrics cost at full size",
        "python benchmarks/evaluation.py",
        "1024x2048 images, one at a time. Target: under 15 % of the network's time, constant memory.",
    ),
    Section(
        "ood_scores",
        "What out-of-distribution scores cost at full size",
        "python benchmarks/ood_scores.py",
        "One 1024x2048 image. Target: all five pixel scores in at most 15 % of the network's time.",
    ),
    Section(
        "pretraining",
        "With and without denoising pre-training, with few labels",
        "python benchmarks/pretraining.py --pretrain-epochs 4 --epochs 40 --seeds 2",
        "A tenth of the labels of 200 synthetic scenes; both sides pass the same number of images through "
        "the network. The result is reported whether pre-training helps or not.",
    ),
    Section(
        "cli_start",
        "Starting the command line",
        "python benchmarks/cli_start.py",
        "Whole processes, with 1,000 runs in the database. Target: under 0.5 s, without importing torch.",
    ),
    Section(
        "tui",
        "The dashboard",
        "python -m benchmarks.tui",
        "The real program in a pseudoterminal, including its start; a real agent streams four runs. "
        "Targets: 1,000 runs on the screen within 1.4 times as long as Python takes to import Textual and "
        "SQLAlchemy, 10,000 within 2.2 times, the effect of a key in 30 ms (95th percentile 60 ms), a tenth "
        "of a core when idle, 150 MB, and an epoch on the screen in 1 s.",
    ),
    Section(
        "tui_chart",
        "A chart of the dashboard",
        "python -m benchmarks.tui_chart",
        "From four curves of 2,000 points to painted lines. Target: 15 ms.",
    ),
    Section(
        "leaderboard",
        "Querying a database of 10,000 runs x 200 epochs",
        "python benchmarks/leaderboard.py",
        "Target: the first 100 rows of the leaderboard in under 20 ms.",
    ),
    Section(
        "leaderboard_server",
        "The same queries on a server",
        "python benchmarks/leaderboard.py --server",
        "PostgreSQL with default settings, on the same machine, over a socket; SEG_DATABASE_URL names its "
        "database. Target: the first 100 rows of the leaderboard, and a curve, in under 20 ms.",
        on_server=True,
    ),
    Section(
        "ingest",
        "Folding journals into the database",
        "python benchmarks/ingest.py",
        "Target: at least 10,000 events per second.",
    ),
    Section(
        "writers",
        "Several writers to one file",
        "python -m benchmarks.writers",
        "Writers and database share the cores of this machine.",
    ),
    Section(
        "writers_server",
        "Several writers to one server",
        "python -m benchmarks.writers --server",
        "PostgreSQL with default settings; writers and server share the cores of this machine.",
        on_server=True,
    ),
)

HEAD = """# Benchmarks

Every figure here was measured by the command above it. `make benchmarks` makes this page again, and `python
-m benchmarks.all NAME` one section of it. Machines are noisy and differ, so compare ratios within a
section, not seconds between machines.

On a CPU, a network can be no faster than the CPU multiplies matrices. The training loop and the peers'
section measure that speed alongside. `seg-engine show RUN` says under "speed" how close a run comes to it.

"What limits a step" (November 2026) shows why the U-Net of width 64 does not reach that limit on two cores
with AMX. Convolutions take two thirds of a step, in oneDNN. The forward pass and the gradient of the input
of the inner convolutions run as fast as the matrix product. The gradient of their weights runs at half of
that, and the outermost and deepest convolutions are slower still. The rest is limited by memory: batch
norm, activations, copies. The engine's own share, including scores and journal, is about one per cent ("The
training loop against a bare one"). Two slow operators of torch are avoided. The bias of a transposed
convolution is added separately, because its gradient in oneDNN takes ten times as long as a sum's. ReLU
does not work in place, because that takes twice as long in bf16 as a new tensor.

The target of ten times the plain script, measured over a whole second epoch, was missed. At batch 64 it is
8.5 times (cold) and 7.8 (warm), at batch 16 it is 6.3. Decoding is a small part of the plain script's epoch
at this width, so nearly all of the gain would have to come from arithmetic. The speed of these cores also
changes with the load of their neighbours. On a slow day, when the bf16 product reached 800 GFLOP/s instead
of 2,000 to 2,600, it was 4.8 times.
"""


def main() -> int:
    wanted = sys.argv[1:]
    known = {section.name: section for section in SECTIONS}
    for name in wanted:
        if name not in known:
            print(f"{name}: no such section; there are {', '.join(known)}", file=sys.stderr)
            return 2
    texts = written_sections()
    failed = 0
    for section in SECTIONS:
        if section.name in wanted or (not wanted and (SERVER in os.environ or not section.on_server)):
            print(f"--- {section.command}", flush=True)
            try:
                texts[section.name] = measure(section)
            except subprocess.CalledProcessError as error:
                print(f"failed: {error.stderr or error.output}", file=sys.stderr)
                failed = 1
                continue
            write_page(texts)
    return failed


def measure(section: Section) -> str:
    """Run a section's command; returns its part of the page."""
    load = os.getloadavg()[0]
    command = [sys.executable, *section.command.split()[1:]]
    done = subprocess.run(command, cwd=ROOT, check=True, text=True, capture_output=True)
    print(done.stdout, flush=True)
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    machine = f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"
    return (
        f"<!-- {section.name} -->\n## {section.title}\n\n{section.about}\n\n"
        f"```\n$ {section.command}\n{done.stdout.rstrip()}\n```\n\n"
        f"{day}, {machine}, load {load:.1f} at the start.\n"
    )


def written_sections() -> dict[str, str]:
    """The sections that the page has now, by name."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    parts = re.split(r"^<!-- (\w+) -->\n", text, flags=re.MULTILINE)[1:]
    return {
        name: f"<!-- {name} -->\n{body.rstrip()}\n"
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


def write_page(texts: dict[str, str]) -> None:
    body = "\n".join(texts[section.name] for section in SECTIONS if section.name in texts)
    PAGE.write_text(f"{HEAD}\n{body}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
