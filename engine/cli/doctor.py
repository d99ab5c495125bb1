"""`seg-engine doctor`: is this machine fit, and if not, what would help?"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from rich.text import Text

from engine.cli.console import output, print_json
from engine.host.access import why_unwritable
from engine.host.cpu import bf16_instructions, bf16_is_fast, cpu_name
from engine.host.processes import available_cores, cgroup_quotas, python_code, python_environment
from engine.report.tables import data_size
from engine.typed import typed
from engine.workspace import Workspace

PROBE_SECONDS = 180
LOW_DISK_BYTES = 5 << 30
LOW_MEMORY_BYTES = 2 << 30

SAFE_SQLITE = (3, 51, 3)
"""In older ones, two connections that write and checkpoint in one instant can, very rarely, spoil a database
in write-ahead mode (https://www.sqlite.org/wal.html, "The WAL-reset bug")."""

PROBE = """
import json, sqlite3, time
found = {"sqlite": sqlite3.sqlite_version}
try:
    begun = time.monotonic()
    import torch
    found["seconds"] = time.monotonic() - begun
    import torchvision
    found["torch"], found["torchvision"] = torch.__version__, torchvision.__version__
    found["cuda"] = torch.version.cuda
    found["devices"] = []
    for index in range(torch.cuda.device_count()):
        about, (free, total) = torch.cuda.get_device_properties(index), torch.cuda.mem_get_info(index)
        capability = f"{about.major}.{about.minor}"
        found["devices"].append({"name": about.name, "capability": capability, "free": free, "total": total})
except Exception as error:
    found["problem"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""

AGAIN = "install seg-engine again; pip brings what it needs"

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `advice` is "" when nothing needs to be done."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def examine(workspace: Workspace, as_json: bool) -> int:
    """Print what there is, each line with advice where there is some; 1 when something fails, else 0."""
    checks: tuple[Callable[[Workspace], Iterator[Finding]], ...] = (
        _packages,
        _torch_and_sqlite,
        _processor,
        _disk,
        _database,
        _terminal,
    )
    findings = []
    for check in checks:
        for finding in check(workspace):
            findings.append(finding)
            if not as_json:
                _print(finding)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    return 1 if any(finding.state == "fail" for finding in findings) else 0


def _print(finding: Finding) -> None:
    said = f"{finding.found}; {finding.advice}" if finding.advice else finding.found
    width = output.table_width
    lines = textwrap.wrap(said, max(20, width - 20), break_long_words=False) if width else [said]
    output.say(
        Text.assemble((f"{finding.state:<4}", STYLES[finding.state]), f"  {finding.name:<12}  {lines[0]}")
    )
    for line in lines[1:]:
        output.say(" " * 20 + line)


def _packages(workspace: Workspace) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()}, {sys.executable}")
    for package in ("seg-engine", "numpy", "pillow", "sqlalchemy", "textual"):
        try:
            yield Finding(package, "ok", version(package))
        except PackageNotFoundError:
            yield Finding(package, "fail", "not installed", AGAIN)


def _torch_and_sqlite(workspace: Workspace) -> Iterator[Finding]:
    """Asked of a process of its own, as this one never imports torch."""
    try:
        done = subprocess.run(
            python_code(PROBE),
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            env=python_environment(),
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        advice = "is the disk very slow? the first import after booting is the slowest"
        yield Finding("torch", "fail", f"not imported within {PROBE_SECONDS} s", advice)
        return
    except ValueError:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        yield Finding("torch", "fail", f"the import ended the process: {reason}", "install torch again")
        return
    yield _sqlite(found["sqlite"])
    if "problem" in found:
        yield Finding("torch", "fail", found["problem"], AGAIN)
        return
    built = f"built for CUDA {found['cuda']}" if found["cuda"] else "built without CUDA"
    slow = found["seconds"] > 30
    advice = "every run waits for this; put the Python environment on a faster disk" if slow else ""
    state: Literal["ok", "warn"] = "warn" if slow else "ok"
    yield Finding("torch", state, f"{found['torch']}, {built}, import takes {found['seconds']:.1f} s", advice)
    yield Finding("torchvision", "ok", found["torchvision"])
    yield from _cuda(found)


def _sqlite(installed: str) -> Finding:
    if tuple(int(part) for part in installed.split(".")) >= SAFE_SQLITE:
        return Finding("sqlite", "ok", installed)
    return Finding(
        "sqlite",
        "warn",
        f"{installed} has the WAL-reset bug: concurrent writers can, very rarely, corrupt the database",
        f"{'.'.join(map(str, SAFE_SQLITE))} fixes it; `{typed('db', 'rebuild')}` rebuilds the database",
    )


def _cuda(found: dict[str, Any]) -> Iterator[Finding]:
    for index, device in enumerate(found["devices"]):
        memory = f"{data_size(device['free'])} of {data_size(device['total'])} free"
        said = f"{device['name']}, {memory}, compute capability {device['capability']}"
        full = device["free"] < LOW_MEMORY_BYTES
        advice = "another program uses its memory; nvidia-smi shows which" if full else ""
        yield Finding(f"cuda:{index}", "warn" if full else "ok", said, advice)
    if found["devices"]:
        return
    if not Path("/proc/driver/nvidia").exists():
        yield Finding("cuda", "ok", "no NVIDIA driver here; runs use the CPU")
    elif found["cuda"]:
        advice = (
            "check with nvidia-smi that the driver works and is new enough; is CUDA_VISIBLE_DEVICES empty?"
        )
        yield Finding("cuda", "warn", "the driver is installed, but torch sees no device", advice)
    else:
        yield Finding(
            "cuda",
            "warn",
            "the driver is installed, but torch is built without CUDA",
            "install torch with CUDA",
        )


def _processor(workspace: Workspace) -> Iterator[Finding]:
    allowed, there = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    quota = _cgroup_cores()
    said = f"{allowed} of {there} may be used"
    if quota is not None and quota < allowed:
        said += f"; its cgroup grants time for {quota:g}, and a run takes {available_cores()} by itself"
    yield Finding("cores", "ok", said)
    yield Finding("processor", "ok", f"{cpu_name()}, {_bf16_of_the_cpu()}")
    memory = dict(line.split()[:2] for line in _read("/proc/meminfo").splitlines())
    if "MemAvailable:" in memory:
        free, total = int(memory["MemAvailable:"]) * 1024, int(memory["MemTotal:"]) * 1024
        low = free < LOW_MEMORY_BYTES
        advice = "a run may be killed; a smaller batch_size or runtime.micro_batch needs less" if low else ""
        found = f"{data_size(free)} of {data_size(total)} free"
        yield Finding("memory", "warn" if low else "ok", found, advice)


def _bf16_of_the_cpu() -> str:
    instructions = bf16_instructions()
    if not instructions:
        return "no bf16 in hardware: CPU runs use fp32"
    found = f"bf16 in hardware ({', '.join(instructions)})"
    return found if bf16_is_fast() else f"{found}, slower than fp32: CPU runs use fp32"


def _cgroup_cores() -> float | None:
    """Cores' worth of time that this process may use (cgroups v2, else v1), None without a limit."""
    if quotas := list(cgroup_quotas()):
        return min(quotas)
    quota = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").strip()
    period = _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _disk(workspace: Workspace) -> Iterator[Finding]:
    from engine.store.filesystem import file_system

    folder = next(path for path in (workspace.root, *workspace.root.parents) if path.is_dir())
    missing = "" if folder == workspace.root else " (made by the first run)"
    why = why_unwritable(folder)
    if not why:
        yield Finding("workspace", "ok", f"{workspace.root}{missing}")
    elif workspace.on_server or workspace.database.exists():
        yield Finding("workspace", "warn", f"is read-only: {why}")
    else:
        yield Finding("workspace", "fail", f"cannot be written: {why}", "--workspace names another folder")
    free = shutil.disk_usage(folder).free
    low = free < LOW_DISK_BYTES
    advice = "a run of the widest U-Net keeps 0.4 GiB of checkpoints" if low else ""
    yield Finding("disk", "warn" if low else "ok", f"{data_size(free)} free", advice)
    where = file_system(folder)
    if where.on_network and workspace.on_server:
        yield Finding("file system", "ok", f"{where.name}; the database is on a server")
    elif where.locks_stay_here:
        advice = "put the database on a server (SEG_DATABASE_URL) or the workspace on a local disk"
        found = f"{where.name}, where locks do not work across machines; run folders are safe here"
        yield Finding("file system", "fail", found, advice)
    elif where.on_network:
        advice = "database readers and writers block each other here; use a server or a local disk"
        yield Finding("file system", "warn", where.name, advice)
    else:
        yield Finding("file system", "ok", "a local one")


def _database(workspace: Workspace) -> Iterator[Finding]:
    from engine.store import StoreError
    from engine.store.migrate import HEAD

    if not workspace.on_server and not workspace.database.exists():
        yield Finding("database", "ok", "none yet; the first run creates it")
        return
    try:
        with workspace.open_store(look=True) as store:
            label, read_only = store.label, store.read_only
            runs = sum(experiment.runs for experiment in store.experiments())
    except StoreError as error:
        yield Finding("database", "fail", str(error))
        return
    size = label if workspace.on_server else data_size(workspace.database.stat().st_size)
    if read_only:
        yield Finding("database", "warn", f"{runs} runs, {size}; is read-only: {read_only}")
        return
    yield Finding("database", "ok", f"{runs} runs, {size}, schema {HEAD}, up to date")


def _terminal(workspace: Workspace) -> Iterator[Finding]:
    if not output.is_terminal:
        yield Finding("terminal", "ok", "stdout is not a terminal, so output has no colours")
    else:
        colors = {"standard": "16 colours", "256": "256 colours", "truecolor": "true colour"}
        known = colors.get(output.color_system or "", "no colours")
        within = ", in tmux" if "TMUX" in os.environ else ""
        small = output.width < 80 or output.height < 24
        said = f"{output.width}x{output.height}, TERM={os.environ.get('TERM', '')}{within}, {known}"
        yield Finding("terminal", "warn" if small else "ok", said, "use at least 80x24" if small else "")
    encoding = sys.stdout.encoding or "unknown"
    utf8 = encoding.lower().replace("-", "") == "utf8"
    advice = "" if utf8 else "export LANG=C.UTF-8 to show curves and bars"
    yield Finding("encoding", "ok" if utf8 else "warn", encoding, advice)
