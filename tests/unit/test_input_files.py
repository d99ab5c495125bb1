"""Files that people name: what is not a regular file is refused and never waited for; TOML has limits."""

from __future__ import annotations

import os
import socket
import tomllib
from pathlib import Path

import pytest

from engine.classes import ClassSetError, load_class_set
from engine.config.files import load_config
from engine.config.keys import ConfigError, with_values
from engine.config.recipes import get_recipe
from engine.host.input_files import InputFileError, parse_toml, read_regular, read_toml
from engine.requests.importing.records import read_csv
from engine.requests.views import ViewError, read_view


def test_what_is_no_regular_file_is_named_for_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").symlink_to("/nowhere/at-all")
    (tmp_path / "to-fifo").symlink_to("fifo")
    (tmp_path / "circle").symlink_to("circle")
    listener = socket.socket(socket.AF_UNIX)
    os.chdir(tmp_path)  # a socket's path may be no longer than 108 bytes
    listener.bind("socket")
    try:
        for name, problem in (
            ("fifo", "is not a regular file but a FIFO"),
            ("to-fifo", "is not a regular file but a FIFO"),
            ("socket", "is not a regular file but a socket"),
            ("folder", "is not a regular file but a folder"),
            ("broken", "is a broken link to /nowhere/at-all"),
            ("absent", "there is no such file"),
            ("circle", "cannot be read: Too many levels of symbolic links"),
        ):
            with pytest.raises(InputFileError) as caught:
                read_regular(tmp_path / name)
            assert caught.value.problem == problem
    finally:
        listener.close()
    with pytest.raises(InputFileError, match="is not a regular file but a device"):
        read_regular(Path("/dev/zero"))


def test_a_view_and_a_table_that_are_a_fifo_are_not_waited_for(tmp_path: Path) -> None:
    for name in ("mine.toml", "runs.csv"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(ViewError, match=r"mine\.toml: is not a regular file but a FIFO"):
        read_view(tmp_path / "mine.toml")
    (told,) = read_csv(tmp_path)
    assert str(told).endswith("runs.csv: cannot be read: is not a regular file but a FIFO")


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbfepochs = 3\n")
    assert read_toml(tmp_path / "a.toml") == {"epochs": 3}
    assert load_config(tmp_path / "a.toml").epochs == 3
    (tmp_path / "a.toml").write_text("epochs = 3\n", encoding="utf-16")
    with pytest.raises(InputFileError, match="is not valid UTF-8 text, as TOML must be"):
        read_toml(tmp_path / "a.toml")


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "{b = " * 5_000 + "1" + "}" * 5_000,
        "a = " + "[" * 50 + "]" * 50,
        "[" + ".".join("a" * 200_000) + "]\n",
        ".".join("a" * 200_000) + " = 1\n",
        " . ".join(['""', '"b c"', "a"] * 40_000) + " = 1\n",
        "a = {" + ".".join("a" * 5_000) + " = 1}\n",
    ],
    ids=("list", "inline", "shallow", "header", "dotted", "quoted", "dotted-inline"),
)
def test_toml_that_is_nested_without_end_is_refused_at_once(text: str, tmp_path: Path) -> None:
    with pytest.raises(tomllib.TOMLDecodeError, match="nested more than 32 levels deep"):
        parse_toml(text)
    path = tmp_path / "deep.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"deep\.toml: is not valid TOML: it is nested"):
        load_config(path)
    with pytest.raises(ClassSetError, match=r"deep\.toml: is not valid TOML: it is nested"):
        load_class_set(path)
    with pytest.raises(ViewError, match=r"deep\.toml: is not valid TOML: it is nested"):
        read_view(path)


def test_toml_of_an_absurd_size_and_a_deep_list_in_a_value_are_refused(tmp_path: Path) -> None:
    with open(tmp_path / "big.toml", "wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(InputFileError, match="at most 1,048,576 are read"):
        read_toml(tmp_path / "big.toml")
    with pytest.raises(ConfigError, match=r"data\.size: .* is not a list"):
        with_values(get_recipe("quick"), {"data.size": "[" * 100_000})
