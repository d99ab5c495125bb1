"""Text from outside: nothing that a terminal obeys, hides or cannot be sent is left of it."""

from __future__ import annotations

import io
import json
import sys
import unicodedata

import pytest

from engine.cli.console import Stream, print_json
from engine.visible import GuardedStream, guard_streams, one_line, text_problem, visible, visible_json

ALL = [chr(code) for code in range(0x110000)]


def test_no_character_is_left_that_does_more_than_stand_there() -> None:
    shown = visible("".join(ALL))
    assert len(shown) == len(ALL)
    left = {unicodedata.category(character) for character in shown if character not in "\n\t"}
    assert not left & {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
    assert not set(one_line("".join(ALL))) & set("\n\t\r\x1b\x9b\x7f\u200b\u2028\u202e\u2066\u3164\U000e0041")


def test_what_stands_there_stays_as_it_is() -> None:
    text = "Straße, 道路, дорога, طريق, ❤️, \u00a0\u3000 ▁▂█ \n\t"
    assert visible(text) == text
    assert visible("\x1b\0\x7f\x9b") == "␛␀␡�"


def test_json_keeps_its_value_and_holds_nothing_raw() -> None:
    value = {"a\x7f": "\x9b\u202e\U000e0001é\n"}
    text = visible_json(json.dumps(value, ensure_ascii=False, indent=1))
    assert json.loads(text) == value
    assert text.replace("\n", "").isprintable()


def test_json_has_null_for_what_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"loss": [float("inf"), 1.0, float("nan")], "name": "\x7f"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"loss": [None, 1.0, None], "name": "\x7f"}
    assert "\x7f" not in out


def test_everything_printed_is_guarded_but_the_programs_own_styles(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))  # restored afterwards
    guard_streams()
    guard_streams()
    print("\x1b]0;title\x07 100 %\r\n")
    styled = Stream(stderr=False)
    styled._force_terminal, styled._color_system = True, styled._color_system
    styled.print("a\x1bb", style="bold")
    out = capsys.readouterr().out
    assert out.startswith("␛]0;title␇ 100 %\n")
    assert "a␛b" in out
    assert isinstance(sys.stdout, GuardedStream)


def test_a_guarded_stream_takes_text_that_its_encoding_lacks() -> None:
    raw = io.BytesIO()
    stream = GuardedStream(io.TextIOWrapper(raw, "utf-8"))
    print("\udcff", file=stream, flush=True)
    assert raw.getvalue().decode() == "�\n"


@pytest.mark.parametrize(
    ("text", "says"), [("a\0", "NUL"), ("a\udcff", "not valid UTF-8"), ("é\x1b", ""), ("", "")]
)
def test_what_no_database_keeps(text: str, says: str) -> None:
    assert says in text_problem(text)
    assert bool(text_problem(text)) == bool(says)
