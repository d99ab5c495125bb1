"""What a user does on a GPU, by the command line: `python -m benchmarks.gpu.flows NAME --scratch DIR`.

Each flow makes its own workspace below the scratch folder, shares the synthetic scenes there, and prints one
line of JSON. A flow that does not come out as it should ends with exit status 1 and says why.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.data.synthetic import synthesize
from engine.exits import FAILED, STOPPED
from engine.host.processes import python_command, python_environment
from engine.learning.checkpoint import load_checkpoint
from engine.run.directory import RunDir

SMALL_DEVICE = 3 * 10**9
"""Bytes of the null CUDA on which eight images of a quarter of Cityscapes' sides have no room."""
NOTHING_COUNTED = "nothing can be scored"


@dataclass(frozen=True)
class Flow:
    """The workspace of a flow; `small` for a rehearsal."""

    workspace: Path
    scratch: Path
    camvid: Path | None
    small: bool

    def scenes(self, name: str, images: int, size: tuple[int, int]) -> str:
        """A folder of synthetic scenes, drawn unless an earlier flow did."""
        root = self.scratch / f"{name}-{images}-{size[0]}x{size[1]}"
        if not root.exists():
            synthesize(root, images=images, size=size, seed=1)
        return str(root)

    def street(self) -> str:
        return self.scenes("street", 12 if self.small else 240, (128, 256))

    def command(self, *arguments: str) -> list[str]:
        return python_command("engine.cli", "--workspace", str(self.workspace), *arguments)

    def seg(self, *arguments: str, statuses: tuple[int, ...] = (0,)) -> None:
        done = subprocess.run(
            self.command(*arguments), env=python_environment(), capture_output=True, text=True, check=False
        )
        if done.returncode not in statuses:
            raise SystemExit(
                f"{' '.join(arguments)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
            )

    def show(self, name: str) -> dict[str, Any]:
        done = subprocess.run(
            self.command("show", name, "--json"), env=python_environment(), capture_output=True, check=True
        )
        shown: dict[str, Any] = json.loads(done.stdout)
        return shown

    def judge(self, *arguments: str, name: str) -> dict[str, Any]:
        """A run that scores the last checkpoint of another; on the null CUDA, which counts nothing, it can
        only come as far as its scores."""
        statuses = (0, FAILED) if self.small else (0,)
        self.seg(*arguments, "--name", name, "--checkpoint", "last", statuses=statuses)
        judged = self.show(name)
        if judged["status"] != "finished" and NOTHING_COUNTED not in judged["message"]:
            raise SystemExit(judged["message"])
        return judged


def trains(flow: Flow) -> dict[str, Any]:
    """A run and its evaluation; data come from the cache, so the wait for them is that of a user."""
    epochs = 2 if flow.small else 8
    flow.seg("run", "quick", "--data", flow.street(), "--name", "street", f"epochs={epochs}", "device=cuda")
    judged = flow.judge("evaluate", "street", name="scores")
    run = flow.show("street")
    last = [point for point in run["curve"] if point["split"] == "train"][-1]
    return {
        "epochs": epochs,
        "dice": run["best_dice"],
        "images_per_second": last["images_per_second"],
        "data_wait": last["data_wait"],
        "first_step_seconds": run["first_step_seconds"],
        "evaluated_dice": judged["evaluations"][0]["dice"] if judged["evaluations"] else None,
    }


def resumes(flow: Flow) -> dict[str, Any]:
    """One run straight through, one stopped by Ctrl-C after its first epoch and resumed: equal to the bit."""
    settings = [
        *("quick", "--data", flow.street(), "device=cuda", "gallery.every=0"),
        *("runtime.deterministic=true", "runtime.compile=off"),
    ]
    stopped, epochs = stopped_run(flow, settings)
    epoch = flow.show(stopped)["epoch"]
    flow.seg("resume", stopped)
    flow.seg("run", *settings, f"epochs={epochs}", "--name", "straight")
    straight, resumed = (weights(flow, name) for name in ("straight", stopped))
    different = [name for name, tensor in straight.items() if not torch.equal(tensor, resumed[name])]
    if different:
        raise SystemExit(f"{len(different)} of {len(straight)} tensors differ, {different[0]} among them")
    return {"equal_tensors": len(straight), "stopped_in_epoch": epoch + 1, "epochs": epochs}


def stopped_run(flow: Flow, settings: list[str]) -> tuple[str, int]:
    """The name of a run that was stopped after its first epoch, and its epochs: more of them where the device
    is done with few before it hears of the stop."""
    for epochs in (10, 100, 1000):
        name = f"stopped before {epochs}"
        process = subprocess.Popen(
            flow.command("run", *settings, f"epochs={epochs}", "--name", name, "--json"),
            env=python_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line).get("event") == "epoch":
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
        if process.wait() == STOPPED:
            return name, epochs
        if flow.show(name)["status"] != "finished":
            raise SystemExit(flow.show(name)["message"])
    raise SystemExit("no run could be stopped before it was over")


def weights(flow: Flow, name: str) -> dict[str, torch.Tensor]:
    run = RunDir(flow.workspace / "runs" / flow.show(name)["id"])
    found: dict[str, torch.Tensor] = load_checkpoint(run.checkpoints / "last.pt")["model"]
    return found


def memory(flow: Flow) -> dict[str, Any]:
    """Ask for a batch that cannot fit, take the advice of the failed run, and train by it."""
    batch, size = 64, "1024x2048"
    if flow.small:
        os.environ["NULL_CUDA_BYTES"] = str(SMALL_DEVICE)
        batch, size = 8, "256x512"
    data = flow.scenes("many", 2 * batch, (128, 256))
    settings = ["paper-unet", "--data", data, "epochs=1", f"data.size={size}", f"batch_size={batch}"]
    settings += ["device=cuda", "gallery.every=0"]
    flow.seg("run", *settings, "--name", "too large", statuses=(FAILED,))
    told = flow.show("too large")
    if told["cause"] != "out_of_memory":
        raise SystemExit(f"the run ended otherwise: {told['cause']}: {told['message']}")
    advice = re.findall(r"\b(?:batch_size|runtime\.micro_batch|model\.\w+)=\w+", told["message"])
    if not advice:
        raise SystemExit(f"no advice in: {told['message']}")
    flow.seg("run", *settings, advice[0], "--name", "fits")
    peak = flow.show("fits")["peak_memory_bytes"]
    return {"message": told["message"], "advice": advice[0], "peak_gib_with_it": peak / 2**30}


def full_size(flow: Flow) -> dict[str, Any]:
    """Seconds an image of evaluation and of OOD detection on images of 1024x2048, network included."""
    images = 16 if flow.small else 24
    full = flow.scenes("full", images, (128, 256) if flow.small else (1024, 2048))
    flow.seg("run", "paper-unet", "--data", full, "--name", "net", "epochs=1", "batch_size=1", "device=cuda")
    scores = flow.judge("evaluate", "net", name="scores")
    detection = flow.judge("ood", "net", "--pseudo", "void", name="detection")
    return {"evaluation": _rate(scores), "detection": _rate(detection)}


def _rate(run: dict[str, Any]) -> dict[str, Any]:
    return {"seconds": run["ended_at"] - run["started_at"], "images_per_second": run["images_per_second"]}


def camvid(flow: Flow) -> dict[str, Any]:
    """The recipe's whole schedule on real images."""
    assert flow.camvid is not None
    recipe = "quick" if flow.small else "paper-modern-unet"
    few = ["epochs=1"] if flow.small else []
    flow.seg("run", recipe, "--data", str(flow.camvid), "--name", "camvid", "device=cuda", *few)
    run = flow.show("camvid")
    seconds = run["ended_at"] - run["started_at"]
    return {"recipe": recipe, "epochs": run["epochs"], "dice": run["best_dice"], "seconds": seconds}


FLOWS: dict[str, Callable[[Flow], dict[str, Any]]] = {
    "trains": trains,
    "resumes": resumes,
    "memory": memory,
    "full-size": full_size,
    "camvid": camvid,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=list(FLOWS))
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--camvid", type=Path)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    workspace = options.scratch / f"workspace-{options.name}"
    workspace.mkdir(parents=True)
    flow = Flow(workspace, options.scratch, options.camvid, options.small)
    print(json.dumps(FLOWS[options.name](flow)))


if __name__ == "__main__":
    main()
