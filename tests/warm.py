"""The engine's commands and workers as real processes that need not import everything anew.

A process that has imported torch and the engine stands by and forks whoever is started by `seg-engine`,
`python -m engine.worker` or `python -m engine.agent`: a child of whoever started it, with a pid, signals,
session, files, environment and command line of its own, in a tenth of the time. The workers that
such a process starts in turn are forked as well. Tests start processes as anybody does, with `subprocess`.

Whatever is started in another way or with other settings of the interpreter begins as ever, and so does
everything in a test marked `cold`, of which the start itself is a point. With `SEG_TEST_COLD=1` all do.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import importlib
import inspect
import os
import pickle
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

COLD_VARIABLE = "SEG_TEST_COLD"
COMMAND = "from engine.cli.main import main; main()"
WORKER = "import sys; from engine.worker.entry import main; sys.exit(main())"
"""Code of a worker; other code may stand before it."""
OF_A_TEST = "# A program of a test's own, of which the start is no point.\n"
"""How the code of such a program begins."""
RANK = "engine.worker.rank"
WITHOUT_DATABASE = (
    *("engine.worker", "engine.inference.export", "engine.models.make_sizes"),
    *(f"engine.training.probes.{name}" for name in ("augmented", "bench", "fit")),
)
"""Modules that, run as programs, open no database."""
MODULES = (*WITHOUT_DATABASE, "engine.agent", "engine.cli", RANK)
BENCHMARKS = "benchmarks.gpu."
"""How the names of modules begin that ask a GPU, each in a process of its own."""
STAND_BY = f"""
import sys
sys.path.insert(0, {os.path.dirname(os.path.dirname(os.path.abspath(__file__)))!r})
from tests import warm
del sys.path[0]
warm.stand_by(int(sys.argv[1]))
"""
IMPORTS = (
    *("engine.cli.main", "engine.agent.loop", "engine.store", "engine.worker.entry", "engine.worker.job"),
    *("engine.worker.work", "engine.training.train", "sqlalchemy.dialects.sqlite", "alembic.command"),
    "torch.distributed.launcher.api",
)
SETTINGS = (
    "PYTHON",
    "LD_",
    "LANG",
    "LC_",
    "TMPDIR",
    "FORCE_COLOR",
    "PY_COLORS",
    "TORCH_LOGS",
    "TORCH_COMPILE",
)
"""How the variables begin that Python reads when it starts, or a module when it is imported."""
PR_SET_DUMPABLE, PR_SET_MM, PR_SET_MM_MAP, PR_SET_CHILD_SUBREAPER = 4, 35, 14, 36  # prctl.h
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000  # sched.h, mount.h

_UsualPopen = subprocess.Popen


@dataclass(frozen=True)
class Person:
    """Whose the program is, and what root does in its mount namespace before."""

    uid: int
    gid: int
    umask: int
    before: str


@dataclass(frozen=True)
class Program:
    """What is to be started, and where."""

    command: list[str]
    """The interpreter, and `-c CODE ...` or `-m MODULE ...`."""
    cwd: str
    environment: dict[str, str]
    own_session: bool
    person: Person | None


class Warm:
    """How programs are started in this process."""

    starter: Callable[[Program, list[int]], int | None] | None = None
    """Starts a program with the three standard streams, and returns its pid; None where all start cold."""
    usual: dict[str, str]
    """The settings with which everything was imported."""
    knows_locks = False
    """Whether this process has opened a file of SQLite's."""


class WarmPopen(_UsualPopen):  # type: ignore[type-arg]
    """Starts the engine's programs by a fork, and all others as ever."""

    def _execute_child(self, *arguments: Any) -> None:
        cold = super()._execute_child  # type: ignore[misc]
        asked = inspect.signature(cold).bind(*arguments).arguments
        starter = Warm.starter
        program = _program(asked) if starter is not None else None
        pipes = [asked[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        streams = [number if pipe == -1 else pipe for number, pipe in enumerate(pipes)]
        pid = starter(program, streams) if starter is not None and program is not None else None
        if pid is None:
            cold(*arguments)
            return
        self.pid = pid
        self._child_created = True
        pipes = [
            asked[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        ]
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def _program(asked: Mapping[str, Any]) -> Program | None:
    """What was asked of Popen; None for what must be started by itself."""
    if any(asked[name] for name in ("executable", "preexec_fn", "pass_fds", "shell", "gids")):
        return None
    if (asked["uid"], asked["gid"], asked["umask"]) != (None, None, -1):
        return None
    if not isinstance(asked["args"], list | tuple):
        return None
    command, person = _of_whom([os.fsdecode(word) for word in asked["args"]])
    words = [word for word in command[:2] if word != "-P"] + command[2:]
    match words[1:3]:
        case ["-c", code]:
            is_ours = code == COMMAND or code.endswith(WORKER) or code.startswith(OF_A_TEST)
        case ["-m", module]:
            is_ours = module in MODULES or module.startswith(BENCHMARKS)
        case _:
            is_ours = False
    environment = dict(os.environ if asked["env"] is None else asked["env"])
    cwd = os.fsdecode(asked["cwd"] or os.getcwd())
    if words[0] != sys.executable or not is_ours or not os.path.isdir(cwd):
        return None
    if _settings(environment) != Warm.usual:
        return None
    if Warm.starter is fork and not _may_fork(words[2]):
        return None
    return Program(command, cwd, environment, asked["start_new_session"], person)


def _may_fork(module: str) -> bool:
    """Whether what this process holds does no harm in the program.

    SQLite remembers which locks a process has, and would believe that its fork has them, too: only what
    opens no database is forked from what has opened one. Of threads, only torchrun's hold nothing that a rank
    needs. What has asked CUDA for its devices, as the worker of ranks on the null CUDA has, cannot have forks
    that use it.
    """
    if module == RANK:
        return "LD_PRELOAD" not in os.environ
    return threading.active_count() == 1 and (module in WITHOUT_DATABASE or not Warm.knows_locks)


def _of_whom(command: list[str]) -> tuple[list[str], Person | None]:
    """A command line of `tests.people` as the program's own and the person's whose it is."""
    if command[:-1] != ["unshare", "-m", "sh", "-ec"]:
        return command, None
    before, _, then = command[-1].partition("\numask ")
    found = re.fullmatch(r"(\d+); exec setpriv --reuid=(\d+) --regid=(\d+) --groups=\3 (.+)", then)
    if found is None:
        return command, None
    return shlex.split(found[4]), Person(int(found[2]), int(found[3]), int(found[1], 8), before)


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    read_anew = ("PYTHONUNBUFFERED", "PYTHONSAFEPATH", "PYTHONDONTWRITEBYTECODE")
    return {n: value for n, value in environment.items() if n.startswith(SETTINGS) and n not in read_anew}


# --- In the tests' own process --------------------------------------------------------------------


class StandBy:
    """The process that stands by, and forks; what it has forked becomes a child of this process.

    It has the environment of this one, and `variables` that Python or the system's loader reads.
    """

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = dict(variables or {})
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, program: Program, streams: list[int]) -> int | None:
        with self._lock:
            if self._process is None:
                self._begin()
            if not self._works:
                return None
            _adopt_orphans(True)
            try:
                socket.send_fds(self._socket, [pickle.dumps(program)], streams)
                return int(self._socket.recv(100))
            finally:
                _adopt_orphans(False)

    def _begin(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = _UsualPopen(
                [sys.executable, "-P", "-c", STAND_BY, str(theirs.fileno())],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **self._variables},  # no thread stands by
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        answer = self._socket.recv(100)
        if not answer:
            raise RuntimeError("the process that is to stand by did not come up; its stderr says why")
        self._works = answer == b"ready"

    @contextmanager
    def in_charge(self) -> Iterator[None]:
        """Have it start what has its settings while the block lasts, unless all start cold here."""
        before = Warm.starter, Warm.usual
        if Warm.starter is not None:
            Warm.starter, Warm.usual = self.start, _settings({**os.environ, **self._variables})
        try:
            yield
        finally:
            Warm.starter, Warm.usual = before

    def end(self) -> None:
        if self._process is not None:
            self._socket.close()
            self._process.wait()


def _adopt_orphans(yes: bool) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


def install() -> StandBy:
    """Have `subprocess` start the engine's programs warm wherever `Warm.starter` is set."""
    Warm.usual = _settings(os.environ)
    subprocess.Popen = WarmPopen  # type: ignore[misc]
    return StandBy()


# --- In the process that stands by, and in what it has forked --------------------------------------


def stand_by(descriptor: int) -> None:
    """Fork what is asked for until nobody is there who asks."""
    requests = socket.socket(fileno=descriptor)
    subprocess.Popen = WarmPopen  # type: ignore[misc]
    for module in IMPORTS:
        importlib.import_module(module)
    import torch

    from engine.config.run_config import RunConfig
    from engine.learning import ceiling
    from engine.learning.flops import flops_per_sample
    from engine.worker import entry, process
    from tests.shortcuts import migrated, take_shortcuts

    flops_per_sample(RunConfig(), 2)  # for which torch imports its compiler, as for much else

    def settle(config: Any, ranks: int = 1, prepare: Callable[..., None] = process.prepare_process) -> None:
        prepare(config, ranks)
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # which torch would have read

    entry.prepare_process = process.prepare_process = settle
    take_shortcuts()
    migrated()
    Warm.knows_locks = False
    ceiling.SIZES["cpu"], ceiling.SECONDS = 64, 1e-9  # a worker spends most of its time on it otherwise
    Warm.starter = fork
    gc.collect()
    requests.send(b"ready" if _can_rename() else b"sorry")
    while True:
        message, streams, _, _ = socket.recv_fds(requests, 1 << 20, 3)
        if not message:
            return
        # The kernel gives the child of a process that has ended to the next above that adopts.
        answer, pid = os.pipe()
        between = os.fork()
        if between == 0:
            try:
                os.write(pid, str(fork(pickle.loads(message), streams)).encode())
            finally:
                os._exit(0)
        os.waitpid(between, 0)
        os.close(pid)
        requests.send(os.read(answer, 100))
        for descriptor in (answer, *streams):
            os.close(descriptor)


def _can_rename() -> bool:
    """Whether the kernel lets a process change its command line."""
    child = os.fork()
    if child == 0:
        with suppress(OSError):
            _rename(Program(["a", "b"], "/", {}, False, None))
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def fork(program: Program, streams: list[int]) -> int:
    """Start a program as a child of this process; returns its pid."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    child = os.fork()
    if child == 0:
        _become(program, streams, before)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return child


def _become(program: Program, streams: list[int], signal_mask: Iterable[int]) -> NoReturn:
    """Make this process what a new one would be, and run the program to its end."""
    status = 1
    try:
        atexit._clear()  # what is to be done at the parent's end
        gc.freeze()  # what the parent holds is not to be taken down
        if program.own_session:
            os.setsid()
        for number, stream in enumerate([fcntl.fcntl(stream, fcntl.F_DUPFD, 3) for stream in streams]):
            os.dup2(stream, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(program.environment)
        Warm.usual = _settings(program.environment)
        _rename(program)
        if program.person is not None:
            _turn_into(program.person)
        os.chdir(program.cwd)
        _open_streams()
        _forget_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, signal_mask)
        if program.command[1] == "-m" and not program.environment.get("PYTHONSAFEPATH"):
            sys.path.insert(0, program.cwd)
        status = _run([word for word in program.command[1:] if word != "-P"])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _run(words: list[str]) -> int:
    """Do what Python does with `-c CODE ...` or `-m MODULE ...`; returns the exit status."""
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *words[2:]]
            sys.modules["__main__"] = ModuleType("__main__")
            exec(words[1], vars(sys.modules["__main__"]))
        status: object = None
    except SystemExit as end:
        status = end.code
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status if isinstance(status, int) else 0 if status is None else 1


class _MemoryMap(ctypes.Structure):
    """`struct prctl_mm_map` of prctl.h."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("start_code", "end_code", "start_data", "end_data")),
        *((name, ctypes.c_uint64) for name in ("start_brk", "brk", "start_stack")),
        *((name, ctypes.c_uint64) for name in ("arg_start", "arg_end", "env_start", "env_end", "auxv")),
        *(("auxv_size", ctypes.c_uint32), ("exe_fd", ctypes.c_int32)),
    ]


def _rename(program: Program) -> None:
    """Have /proc show the program's own command line and environment."""
    global _words_of_this_process
    words = b"".join(os.fsencode(f"{word}\0") for word in program.command)
    variables = b"".join(
        os.fsencode(f"{name}={value}") + b"\0" for name, value in program.environment.items()
    )
    _words_of_this_process = ctypes.create_string_buffer(words + variables)
    begin = ctypes.addressof(_words_of_this_process)
    middle, end = begin + len(words), begin + len(words) + len(variables)
    with open("/proc/self/stat") as file:
        # Numbered from 1 in proc(5), where the third is the first behind the name.
        field = dict(enumerate(file.read().rpartition(")")[2].split(), 3))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sbrk.restype = ctypes.c_void_p
    code, data = (int(field[26]), int(field[27])), (int(field[45]), int(field[46]))
    memory = (*code, *data, int(field[47]), libc.sbrk(0), int(field[28]))
    where = _MemoryMap(*memory, begin, middle, middle, end, 0, 0, -1)
    if libc.prctl(PR_SET_MM, PR_SET_MM_MAP, ctypes.byref(where), ctypes.sizeof(where), 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot change the command line")


def _turn_into(person: Person) -> None:
    """Do what `unshare`, a shell and `setpriv` do."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), "no mount namespace of its own")
    subprocess.run(["sh", "-ec", person.before], check=True)
    os.umask(person.umask)
    os.setgroups([person.gid])
    os.setresgid(person.gid, person.gid, person.gid)
    os.setresuid(person.uid, person.uid, person.uid)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # as a program that was executed is: /proc shows it to its owner


def _open_streams() -> None:
    """Make the standard streams of the descriptors 0, 1 and 2."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    encoding = sys.__stdout__.encoding if sys.__stdout__ is not None else "utf-8"
    errors = sys.__stdout__.errors if sys.__stdout__ is not None else "strict"
    sys.stdin = sys.__stdin__ = open(0, encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115
    for name, number, on_error in (("stdout", 1, errors), ("stderr", 2, "backslashreplace")):
        stream = open(number, "w", encoding=encoding, errors=on_error, closefd=False)  # noqa: SIM115
        stream.reconfigure(line_buffering=number == 2 or os.isatty(number), write_through=unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _forget_signals() -> None:
    """Handlers do not outlive a new program's start; to ignore a signal does."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) not in (signal.SIG_IGN, signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
