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

from engine.learning.hardware import cpu_name

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
        "The same network, precision, batches and allocator; the bare loop keeps no metrics, journal or "
        "progress. Wanted: at least 0.97 of its speed, data wait under 2 %.",
    ),
    Section(
        "step_profile",
        "What holds a step back",
        "python benchmarks/step_profile.py batch_size=64",
        "The fastest of eight steps by kind of work, then each convolution alone, beside the matrix product "
        "measured in the same moments.",
    ),
    Section(
        "peers",
        "Against the ways people train this network today",
        "python -m benchmarks.peers.run --width 64 --batch-size 16 --images 60 --epochs 3",
        "Each peer in a process of its own, one after the other, on the same 1024x2048 PNGs: a plain "
        "PyTorch script, PyTorch Lightning with torchmetrics, torchvision's reference way. Wanted: 5 times "
        "the plain script.",
    ),
    Section(
        "peers_64",
        "The same at the study's batch of 64",
        "python -m benchmarks.peers.run --width 64 --batch-size 64 --images 160 --epochs 2",
        "The same peers; two epochs, as one of the plain script takes a minute and a half.",
    ),
    Section(
        "precision",
        "bf16 against fp32",
        "python benchmarks/precision.py --images 300 --seeds 3 --lr 0.002",
        "Final validation Dice of the same runs in both. Wanted: means within 0.01.",
    ),
    Section(
        "ddp",
        "Two processes against two threads",
        "python benchmarks/ddp.py",
        "One run shared by two Gloo ranks of one thread each, against one process of two threads. Wanted: at "
        "least 0.9 of its speed.",
    ),
    Section(
        "side_by_side",
        "Runs on the same cores",
        "python benchmarks/side_by_side.py --epochs 5",
        "What runs at once cost each other, and what it helps to give each its share, as an agent does.",
    ),
    Section(
        "start_up",
        "From the command to the first step",
        "python benchmarks/start_up.py",
        "Warm cache, CPU; `import torch` apart. Wanted: under 12 s.",
    ),
    Section(
        "data_cache",
        "An epoch from the cache against decoding PNGs",
        "python benchmarks/data_cache.py",
        "2048x1024 to 128x128. Wanted: at least 50 times faster.",
    ),
    Section(
        "metrics_speed",
        "Counting a confusion matrix",
        "python benchmarks/metrics_speed.py",
        "Ways to count; all give the same matrix.",
    ),
    Section(
        "evaluation",
        "What metrics cost at full size",
        "python benchmarks/evaluation.py",
        "One 1024x2048 image after the other. Wanted: under 15 % of the network's time, flat memory.",
    ),
    Section(
        "ood_scores",
        "What out-of-distribution scores cost at full size",
        "python benchmarks/ood_scores.py",
        "One 1024x2048 image. Wanted: all five pixel scores in at most 15 % of the network's time.",
    ),
    Section(
        "pretraining",
        "Denoising pre-training against none, with few labels",
        "python benchmarks/pretraining.py --pretrain-epochs 4 --epochs 40 --seeds 2",
        "A tenth of the labels of 200 synthetic scenes, the same images passed through the network in all. "
        "What comes out is told, whether it helps or not.",
    ),
    Section(
        "cli_start",
        "Starting the command line",
        "python benchmarks/cli_start.py",
        "Whole processes, 1,000 runs in the database. Wanted: under 0.5 s, torch not imported.",
    ),
    Section(
        "tui",
        "The dashboard",
        "python -m benchmarks.tui",
        "The real program in a pseudoterminal, its start included; four runs stream through a real agent. "
        "Wanted: runs on the screen in 0.8 s (1,000 runs) and 1.5 s (10,000), a key's effect in 30 ms (95th "
        "percentile 60 ms), a tenth of a core while nobody types, 150 MB, an epoch on the screen in 1 s.",
    ),
    Section(
        "leaderboard",
        "Asking a database of 10,000 runs x 200 epochs",
        "python benchmarks/leaderboard.py",
        "Wanted: the first 100 rows of the leaderboard under 20 ms.",
    ),
    Section(
        "leaderboard_server",
        "The same questions to a server",
        "python benchmarks/leaderboard.py --server",
        "PostgreSQL as installed, on the same machine, by a socket; SEG_DATABASE_URL names its database. "
        "Wanted: the first 100 rows of the leaderboard and a curve under 20 ms.",
        on_server=True,
    ),
    Section(
        "ingest",
        "Folding journals into the database",
        "python benchmarks/ingest.py",
        "Wanted: at least 10,000 events a second.",
    ),
    Section(
        "writers",
        "Several who write to one file",
        "python -m benchmarks.writers",
        "Writers and database share the cores of this machine.",
    ),
    Section(
        "writers_server",
        "Several who write to one server",
        "python -m benchmarks.writers --server",
        "PostgreSQL as installed; writers and server share the cores of this machine.",
        on_server=True,
    ),
)

HEAD = """# Benchmarks

Every figure here was measured by the command above it; `make benchmarks` makes this page again, and
`python -m benchmarks.all NAME` one section of it. Machines are noisy and differ: compare ratios within a
section, not seconds between machines.

The limit of a network on the CPU is how fast it multiplies matrices, which the training loop and the peers'
section measure beside it; what a run reaches of it stands on its page (`seg-engine show RUN`, "speed").

What holds the U-Net of width 64 back from it on two cores with AMX (below, "What holds a step back",
November 2026): convolutions take two thirds of a step and are oneDNN's. Forward and for the gradient of their
input the inner ones run as fast as the matrix product; the gradient of their weights comes at half of that,
the outermost and the deepest are slower still. The rest is bound by memory: batch norm, activations, copies.
The engine's own share, scores and journal included, is about a hundredth ("The training loop against a bare
one"). Two of torch's operators are avoided where they are slow: the bias of a transposed convolution is added
by itself (its gradient in oneDNN takes ten times a sum's), and ReLU does not work in place (in bf16 twice as
slow as into a new tensor).

Ten times the plain script in a whole second epoch was wanted and is not reached: at batch 64 it is 8.5 times
(cold) and 7.8 (warm), at batch 16 6.3. Decoding is a small part of the plain script's epoch at this width, so
nearly all of it would have to come from arithmetic, and those cores change speed with their neighbours: on a
slow day, when the bf16 product made 800 GFLOP/s in place of 2,000 to 2,600, it was 4.8 times.
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
