"""The engine against the ways people train this network today: same data, network, epochs, seeds, machine.

    python -m benchmarks.peers.run                                     # synthetic scenes of 1024x2048
    python -m benchmarks.peers.run --data CITYSCAPES --epochs 10 --rounds 3
    python -m benchmarks.peers.run --width 16 --images 40              # a quick look

The peers (`pip install "seg-engine[peers]"`) are a plain PyTorch script, PyTorch Lightning with torchmetrics,
torchvision's reference script, and the engine twice: `cold` builds its image cache in the time that counts,
`warm` finds it. Each runs in a process of its own, one at a time, in another order each round. Everybody has
the same files, split, class ids, input size, initial weights, optimizer, batch size and number of loader
processes; the order of the images within an epoch is each one's own. All files were read once before, so that
nobody waits for the disk. `table.md`, `results.json` and `plot.png` go to --out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.protocol import Settings, read_record
from benchmarks.peers.report import Outcome, tables, write_results
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.catalog import Sample, scan
from engine.data.decode import train_id_table
from engine.data.split import split_samples
from engine.data.synthetic import synthesize

REPOSITORY = Path(__file__).resolve().parents[2]
SYNTHETIC_SIZE = (1024, 2048)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, as the engine has them in units of 0-255."""

PROGRAMS = {
    "plain": "plain",
    "lightning": "lightning_way",
    "torchvision": "torchvision_reference",
    "engine cold": "engine_way",
    "engine warm": "engine_way",
}
TURNS = (("plain",), ("lightning",), ("torchvision",), ("engine cold", "engine warm"))
"""What is moved around from round to round: the warm engine needs the cache of the cold one."""


@dataclass(frozen=True)
class Options:
    data: Path | None
    images: int
    width: int
    batch_size: int
    epochs: int
    rounds: int
    lr: float
    seed: int
    device: str
    amp: bool
    out: Path


def main() -> None:
    options = parse()
    for package in ("lightning", "torchmetrics", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise SystemExit(f'{package} is not installed: pip install "seg-engine[peers]"')
    options.out.mkdir(parents=True, exist_ok=True)
    root = options.data or synthetic_scenes(options.out / "data", options.images)
    config = engine_config(options, root)
    config_file = options.out / "config.json"
    config_file.write_text(config.model_dump_json())
    limits = json.loads(python("benchmarks.peers.limits", str(config_file)))
    settings = make_settings(options, config, limits)
    if options.amp and settings.device == "cpu":
        raise SystemExit("--amp: torchvision's script has it on CUDA alone")
    read_once(settings)

    outcomes: list[Outcome] = []
    for number in range(options.rounds):
        folder = options.out / time.strftime(f"%Y%m%d-%H%M%S-round{number + 1}")
        folder.mkdir()
        shared = folder / "settings.json"
        settings.with_seed(options.seed + number).write(shared)
        shift = number % len(TURNS)
        for name in (name for turn in TURNS[shift:] + TURNS[:shift] for name in turn):
            outcome = run_peer(name, number, shared, folder / name.replace(" ", "-"))
            outcomes.append(outcome)
            last = outcome.record.epochs[-1]
            print(f"round {number + 1}, {name}: {last.seconds:.1f} s", flush=True)
        engine_run = folder / "engine-warm" / "run"
        agreement = json.loads(
            python("benchmarks.peers.agreement", str(shared), str(engine_run), str(folder / "cache"))
        )

    text = tables(outcomes, settings, limits, agreement)
    (options.out / "table.md").write_text(text)
    write_results(options.out, outcomes, settings, limits, agreement)
    from benchmarks.peers.plot import draw

    draw(options.out / "plot.png", outcomes, settings, limits)
    print(f"\n{text}\n{options.out}: table.md, results.json, plot.png")


def parse() -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.run", description=__doc__.splitlines()[0]
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", type=Path, help="data set whose training folder is split 80/20")
    source.add_argument("--images", type=int, default=60, help="synthetic images to draw and split (60)")
    parser.add_argument("--width", type=int, default=64, help="channels of the U-Net's first level (64)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=3, help="at least 2: the first is a warm-up (3)")
    parser.add_argument(
        "--rounds", type=int, default=1, help="times everybody trains, each with its seed (1)"
    )
    parser.add_argument("--lr", type=float, default=0.001, help="constant learning rate of AdamW (0.001)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first round (0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")
    parser.add_argument("--amp", action="store_true", help="torchvision's script with its --amp (CUDA)")
    parser.add_argument("--out", type=Path, default=Path("bench/peers"), help="folder (bench/peers)")
    options = Options(**vars(parser.parse_args()))
    if options.epochs < 2:
        parser.error("--epochs must be at least 2: the first one is a warm-up")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def synthetic_scenes(folder: Path, images: int) -> Path:
    """A training folder of `images` scenes of 1024x2048, drawn unless an earlier run did."""
    root = folder / f"synthetic-{images}"
    if not root.exists():
        print(f"drawing {images} scenes of {SYNTHETIC_SIZE[0]}x{SYNTHETIC_SIZE[1]}", flush=True)
        partial = folder / f"synthetic-{images}.partial-{os.getpid()}"
        # One image more, since the generator wants one for a validation folder, which is not used here.
        synthesize(partial, images=images + 1, size=SYNTHETIC_SIZE, seed=0, val_fraction=1e-9)
        partial.rename(root)
    return root


def engine_config(options: Options, root: Path) -> RunConfig:
    return with_values(
        get_recipe("paper-unet"),
        {
            "data.root": str(root.absolute()),
            "model.width": options.width,
            "batch_size": options.batch_size,
            "epochs": options.epochs,
            "seed": options.seed,
            "device": options.device,
            "optimizer.name": "adamw",
            "optimizer.lr": options.lr,
        },
    )


def make_settings(options: Options, config: RunConfig, limits: dict[str, str]) -> Settings:
    catalog = scan(Path(config.data.root))
    if catalog.faults:
        fault = catalog.faults[0]
        raise SystemExit(f"{fault.path}: {fault.problem}; the other peers would stumble over it")
    train, val = split_samples(catalog, config.data)
    return Settings(
        train=files(train),
        val=files(val),
        train_ids=train_id_table(catalog.class_set).tolist(),
        class_names=list(catalog.class_set.names),
        size=config.data.size,
        mean=MEAN,
        std=STD,
        width=options.width,
        batch_size=options.batch_size,
        epochs=options.epochs,
        lr=options.lr,
        seed=options.seed,
        device=limits["device"],
        has_bf16=limits["precision"] == "bf16",
        amp=options.amp,
        run_config=config.model_dump(mode="json"),
    )


def files(samples: tuple[Sample, ...]) -> list[tuple[str, str]]:
    return [(str(sample.image), str(sample.label)) for sample in samples]


def read_once(settings: Settings) -> None:
    """Bring all files into the page cache."""
    for pair in settings.train + settings.val:
        for file in pair:
            Path(file).read_bytes()


def run_peer(name: str, number: int, settings: Path, folder: Path) -> Outcome:
    """Train one peer to its end, alone."""
    folder.mkdir()
    with open(folder / "output.txt", "wb") as output:
        begun, busy = time.time(), busy_seconds()
        process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.peers.{PROGRAMS[name]}", str(settings), str(folder)],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        # The largest resident set of any process of the peer: the one that trains, not its loaders.
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{name} ended with exit status {process.returncode}; see {folder / 'output.txt'}")
    others = busy_seconds() - busy - usage.ru_utime - usage.ru_stime
    record = read_record(folder)
    return Outcome(
        peer=name,
        round=number,
        record=record,
        start_seconds=record.began - begun,
        peak_bytes=usage.ru_maxrss * 1024,
        other_cores=max(0.0, others / (time.time() - begun)),
    )


def busy_seconds() -> float:
    """CPU seconds that all processes of this machine have used since it was started."""
    user, nice, system, _, _, interrupts, soft, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def python(module: str, *arguments: str) -> str:
    """Run a module of the comparison; returns the last line that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{module} ended with exit status {done.returncode}")
    return done.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    main()
