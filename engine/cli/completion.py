"""Completion in bash, zsh and fish: `--install-completion`, `--show-completion`, and what the shell is told.

The shell's function starts the program with `_SEG_ENGINE_COMPLETE=complete_SHELL` and, as Typer's and Click's
scripts do, the line up to the cursor in `_TYPER_COMPLETE_ARGS`, or its words in COMP_WORDS and COMP_CWORD.
The answer is one candidate a line; none leaves the word to the shell's own completion of files. Whatever goes
wrong, nothing but candidates reaches the terminal. Plugins are not run: to press Tab is to look.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from engine.cli.usage import WrongUse, choice
from engine.run.files import expanded
from engine.typed import PROGRAM

VARIABLE = "_SEG_ENGINE_COMPLETE"
SHELLS = ("bash", "zsh", "fish")

BASH = """\
# What readline takes for a word ends at "=" and ":", so only what follows them is given to it.
_seg_engine_completion() {
    local candidate
    COMPREPLY=()
    while IFS= read -r candidate; do
        COMPREPLY+=("$candidate")
        case $candidate in *=|*:) compopt -o nospace ;; esac
    done < <(_SEG_ENGINE_COMPLETE=complete_bash _TYPER_COMPLETE_ARGS="${COMP_LINE:0:COMP_POINT}" \\
        _SEG_ENGINE_BREAKS="$COMP_WORDBREAKS" "$1" 2>/dev/null)
}
complete -o default -F _seg_engine_completion seg-engine
"""

ZSH = """\
#compdef seg-engine
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_seg_engine_completion() {
    local candidate
    local -a whole open
    while IFS= read -r candidate; do
        case $candidate in (*=|*:) open+=("$candidate") ;; (*) whole+=("$candidate") ;; esac
    done < <(_SEG_ENGINE_COMPLETE=complete_zsh _TYPER_COMPLETE_ARGS="${(j: :)words[1,CURRENT]}" \\
        "${(Q)words[1]}" 2>/dev/null)
    (( $#whole || $#open )) || { compset -P '*='; _files; return }
    (( $#whole )) && compadd -a whole
    (( $#open )) && compadd -S '' -a open
}
compdef _seg_engine_completion seg-engine
"""

FISH = """\
function __seg_engine_completion
    set -l line (commandline -cp | string join ' ')
    set -l found (env _SEG_ENGINE_COMPLETE=complete_fish _TYPER_COMPLETE_ARGS=$line seg-engine 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        set -l word (commandline -ct)
        set -l key (string match -r '^[^=]*=' -- $word)
        __fish_complete_path (string replace -r '^[^=]*=' '' -- $word) | string replace -r '^' -- "$key"
    end
end
complete --command seg-engine --no-files --arguments '(__seg_engine_completion)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


# ---------------------------------------------------------------------- what is typed


@dataclass
class Typed:
    """The words before the cursor, followed to the command and to the parameter that comes next."""

    command: Any
    arguments: int = 0
    option: Any = None
    """The option whose value comes next."""
    values_left: int = 0
    only_arguments: bool = False
    workspace: Path | None = None
    given: set[str] = field(default_factory=set)

    def follow(self, word: str) -> None:
        """Take in one more word. Raises WrongUse for a command that there is not."""
        if self.values_left:
            if "--workspace" in self.option.opts:
                self.workspace = Path(word)
            self.values_left -= 1
        elif word == "--" and not self.only_arguments:
            self.only_arguments = True
        elif word.startswith("-") and len(word) > 1 and not self.only_arguments:
            name, equals, value = word.partition("=")
            self.option = self.option_called(name)
            self.given.add(name)
            takes = self.option is not None and not self.option.is_flag
            self.values_left = self.option.nargs if takes and not equals else 0
            if takes and equals and "--workspace" in self.option.opts:
                self.workspace = Path(value)
        elif isinstance(self.command, TyperGroup):
            inner = self.command.get_command(None, word)  # type: ignore[arg-type]
            if inner is None:
                raise WrongUse(f"{word}: no such command")
            self.command = inner
        else:
            self.arguments += 1

    def option_called(self, name: str) -> Any:
        options = [one for one in self.command.params if isinstance(one, TyperOption)]
        return next((one for one in options if name in (*one.opts, *one.secondary_opts)), None)

    @property
    def argument(self) -> Any:
        """The argument that comes next; None when all are given."""
        left = self.arguments
        for one in self.command.params:
            if isinstance(one, TyperArgument):
                if one.nargs == -1 or left < one.nargs:
                    return one
                left -= one.nargs
        return None


def candidates(root: Any, words: Sequence[str], incomplete: str) -> Iterator[str]:
    """What the incomplete word behind `words`, the program's name not among them, may become."""
    typed = Typed(root)
    for word in words:
        typed.follow(word)
    context = typer.Context(typed.command, obj=typed.workspace)
    option, equals, value = incomplete.partition("=")
    if typed.values_left:
        yield from _values(typed.option, context, incomplete)
    elif incomplete.startswith("-") and not typed.only_arguments:
        if equals:
            yield from (f"{option}={found}" for found in _values(typed.option_called(option), context, value))
        else:
            yield from _options(typed, context, incomplete)
    elif isinstance(typed.command, TyperGroup):
        names = typed.command.list_commands(context)
        yield from (name for name in names if name.startswith(incomplete))
    else:
        yield from _values(typed.argument, context, incomplete)


def _options(typed: Typed, context: typer.Context, incomplete: str) -> Iterator[str]:
    for parameter in typed.command.get_params(context):
        if isinstance(parameter, TyperOption) and not parameter.hidden:
            if typed.given & {*parameter.opts} and not parameter.multiple:
                continue
            yield from (name for name in parameter.opts if name.startswith(incomplete) and name[:2] == "--")


def _values(parameter: Any, context: typer.Context, incomplete: str) -> Iterator[str]:
    if parameter is not None:
        found = [item.value for item in parameter.shell_complete(context, incomplete) if item.type == "plain"]
        # A run that is called like an option would be taken for one.
        is_option = isinstance(parameter, TyperOption)
        yield from (value for value in found if is_option or not value.startswith("-"))


# ---------------------------------------------------------------------- the shell


def answer(root: Any) -> None:
    """Print the candidates for the line that the shell tells of; nothing when anything goes wrong."""
    gc.disable()
    found: list[str] = []
    aside = io.StringIO()
    with (
        contextlib.suppress(BaseException),
        contextlib.redirect_stdout(aside),
        contextlib.redirect_stderr(aside),
    ):
        line = line_up_to_cursor()
        *words, incomplete = split(line)
        found = [word for word in candidates(root, words[1:], incomplete) if word.isprintable()]
        if os.environ.get(VARIABLE) == "complete_bash":
            found = for_bash(found, incomplete, line)
    with contextlib.suppress(OSError):
        sys.stdout.write("".join(f"{word}\n" for word in dict.fromkeys(found)))
        sys.stdout.flush()


def line_up_to_cursor() -> str:
    """The line that is typed, as our scripts or those of Click tell it."""
    if "_TYPER_COMPLETE_ARGS" in os.environ:
        return os.environ["_TYPER_COMPLETE_ARGS"]
    words = os.environ["COMP_WORDS"]
    count = int(os.environ["COMP_CWORD"])
    given = split(words)
    line = " ".join(map(shlex.quote, given[: count + 1]))
    # What readline has taken apart at "=" is put together again.
    line = re.sub(r" = ?", "=", line)
    return f"{line} " if count >= len(given) and not line.endswith("=") else line


def split(line: str) -> list[str]:
    """The words of a line, the last of which may be unfinished or empty, as a shell takes them apart."""
    end = "\0"  # belongs to the last word, whatever the line ends in
    lexer = _lexer(line + end)
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError:  # within a quote
        words.append(lexer.token)
    words[-1] = words[-1].removesuffix(end)
    return words


def open_quote(line: str) -> str:
    """The quote that is open at the end of the line; empty when none is."""
    lexer = _lexer(line)
    try:
        list(lexer)
    except ValueError:
        state = getattr(lexer, "state", "")
        return state if state in ("'", '"') else ""
    return ""


def _lexer(line: str) -> shlex.shlex:
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    return lexer


def for_bash(found: Sequence[str], incomplete: str, line: str) -> list[str]:
    """Candidates as readline puts them into the line: what it has for a word is replaced, and what a shell
    would act on is escaped. Within a quote, words with such characters are left out."""
    if quote := open_quote(line):
        known = max(0, len(incomplete) - len(line.rpartition(quote)[2]))
        return [word[known:] for word in found if not re.search(r"""["'`$\\!]""", word)]
    breaks = [mark for mark in "=:" if mark in os.environ.get("_SEG_ENGINE_BREAKS", "=:")]
    known = max((incomplete.rfind(mark) + 1 for mark in breaks), default=0)
    return [re.sub(r"([^\w@%+=:,./-])", r"\\\1", word[known:], flags=re.ASCII) for word in found]


# ---------------------------------------------------------------------- installing


def install(shell: str) -> list[str]:
    """Put the script where the shell finds it; returns a line for each file written. Raises OSError."""
    home = expanded(Path("~"))
    if shell == "fish":
        script = Path(
            os.environ.get("XDG_CONFIG_HOME") or home / ".config", f"fish/completions/{PROGRAM}.fish"
        )
        _write(script, FISH)
        return [f"{script}: written", "it is there in every new shell"]
    script = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share", PROGRAM, f"completion.{shell}")
    _write(script, SCRIPTS[shell])
    start = home / ".bashrc" if shell == "bash" else Path(os.environ.get("ZDOTDIR") or home, ".zshrc")
    line = f"source {shlex.quote(str(script))}"
    written = start.read_text(errors="replace") if start.exists() else ""
    told = [f"{script}: written"]
    if line not in written.splitlines():
        with open(start, "a") as stream:
            stream.write(f"{'' if not written or written.endswith(chr(10)) else chr(10)}{line}\n")
        told.append(f"{start}: one line added")
    return [*told, "it is there in every new shell"]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def this_shell() -> str:
    """The shell that started the program. Raises WrongUse when it is none of SHELLS, or cannot be told."""
    name = ""
    with contextlib.suppress(Exception):
        name = importlib.import_module("shellingham").detect_shell()[0]  # Typer brings it
    name = name or Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise WrongUse(f"which shell? name it: {PROGRAM} --show-completion {'|'.join(SHELLS)}")
    return name


def asked_for(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for the script of a shell, named or not; if so, does what it asks.

    Raises WrongUse for a shell there is no script for, OSError.
    """
    if arguments[:1] not in (["--show-completion"], ["--install-completion"]) or len(arguments) > 2:
        return False
    shell = choice(arguments[0], arguments[1], SHELLS) if len(arguments) == 2 else this_shell()
    lines = [SCRIPTS[shell].rstrip()] if arguments[0] == "--show-completion" else install(shell)
    print("\n".join(lines))
    return True
