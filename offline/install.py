"""Install seg-engine beside a PyTorch that is there already, without internet: `python3 install.py ENV`.

Run it with the Python that has torch. ENV becomes an environment that sees that Python's packages; what they
lack comes from this folder. torch itself is neither replaced nor changed, as the folder has no wheel of it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROBE = "import torch; print(torch.__version__, torch.cuda.is_available())"


class CannotInstall(Exception):
    """The message is one line that says what would be right."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="install.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("env", type=Path, help="the folder of the environment; made if it is missing")
    parser.add_argument("--tests", action="store_true", help="also what the tests need")
    given = parser.parse_args()
    try:
        install(given.env.absolute(), given.tests)
    except (CannotInstall, OSError) as error:
        print(f"install.py: {error}", file=sys.stderr)
        return 2
    return 0


def install(env: Path, tests: bool = False) -> None:
    """Make the environment and say how to use it. Raises CannotInstall, OSError."""
    wheels = sorted(HERE.glob("seg_engine-*.whl"))
    if len(wheels) != 1:
        raise CannotInstall(f"{HERE}: has {len(wheels)} wheels of seg-engine; `make wheels` makes it anew")
    packages = _where_torch_is()
    if not (env / "bin/python").exists():
        venv.create(env, system_site_packages=True, symlinks=True, with_pip=False)
    own = next(env.glob("lib/python3*/site-packages"))
    # An environment sees the packages of the Python that it comes from, not those of another environment.
    (own / "torch_there.pth").write_text("".join(f"{folder}\n" for folder in packages))
    python = str(env / "bin/python")
    wanted = f"{wheels[0]}[dev,postgres]" if tests else str(wheels[0])
    if any(own.glob("seg_engine-*")):  # an earlier one of the same version, which pip would leave
        again = [sys.executable, "-m", "pip", "--python", python, "uninstall", "--yes", "seg-engine"]
        subprocess.run(again, capture_output=True)
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    _run([*command, "--no-index", "--find-links", str(HERE), wanted], "pip finds no packages that fit")
    told = _run([python, "-c", PROBE], "torch cannot be imported in the new environment").split()
    gpu = "sees a GPU" if told[-1] == "True" else "sees no GPU here"
    print(f"{env}: seg-engine beside torch {told[-2]}, which {gpu}")
    print(f"put its commands on your path: export PATH={env}/bin:$PATH")


def _where_torch_is() -> list[Path]:
    """The folders of this Python's packages from which torch and torchvision come. Raises CannotInstall."""
    found = []
    for name in ("torch", "torchvision"):
        try:
            found.append(Path(str(distribution(name).locate_file(""))).resolve())
        except PackageNotFoundError:
            raise CannotInstall(
                f"no {name} in {sys.executable}; run this with the Python that has it"
            ) from None
    return list(dict.fromkeys(found))


def _run(command: list[str], otherwise: str) -> str:
    """What a command prints. Raises CannotInstall."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line.partition("ERROR: ")[2] for line in lines if "ERROR: " in line]
        raise CannotInstall(f"{otherwise}: {[*errors[:1], *lines[-1:], 'no reason given'][0]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
