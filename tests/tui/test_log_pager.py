"""Logs of any length: read in windows, followed, searched; and the screen of a run's log."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Input

from engine.workspace import Workspace
from seg_tui.app import SegTui
from seg_tui.logfile import WINDOW_BYTES, find, grown, line_end, read_after, read_before, read_end, read_from
from seg_tui.screens.log import LogScreen
from seg_tui.widgets.log_pager import MOST_WINDOWS, LogLines, LogPager
from seg_tui.widgets.run_table import RunTable
from tests.tui.conftest import opened, screen_text, settled, type_at_once, until
from tests.tui.snapshots import app_at


def numbered(path: Path, count: int, begin: int = 0, mode: str = "w") -> Path:
    with open(path, mode) as stream:
        stream.writelines(f"line {number:08d} of the log\n" for number in range(begin, begin + count))
    return path


class PagerApp(App[None]):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def compose(self) -> ComposeResult:
        yield LogPager(self.path)

    @property
    def pager(self) -> LogPager:
        return self.query_one(LogPager)

    def seen(self) -> list[str]:
        view = self.pager.view
        return [view.render_line(y).text.strip() for y in range(view.size.height)]


# ---------------------------------------------------------------------- windows


def test_windows_join_without_a_line_lost_or_twice(tmp_path: Path) -> None:
    path = numbered(tmp_path / "log.txt", 20_000)
    window = read_end(path, 1000)
    lines = list(window.lines)
    while window.start > 0:
        window = read_before(path, window, 7_777)
        lines = [*window.lines, *lines]
    assert lines == path.read_text().splitlines()
    window = read_from(path, 0, 1000)
    forward = list(window.lines)
    while not window.at_end:
        window = read_after(path, window, 7_777)
        forward += window.lines
    assert forward == lines


def test_a_line_that_is_still_being_written_is_read_again_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("one\ntw")
    window = read_end(path)
    assert window.lines == ("one", "tw")
    with path.open("a") as stream:
        stream.write("o\nthree\n")
    (window,) = grown(path, window)
    assert window.lines == ("one", "two", "three")
    assert grown(path, window) == [window]


def test_a_log_that_was_begun_anew_is_read_anew(tmp_path: Path) -> None:
    path = numbered(tmp_path / "log.txt", 100)
    window = read_end(path)
    path.write_text("again\n")
    assert [w.lines for w in grown(path, window)] == [("again",)]


def test_no_log_is_no_lines(tmp_path: Path) -> None:
    assert read_end(tmp_path / "none.txt").lines == ()
    assert find(tmp_path / "none.txt", "x", 0) is None


def test_a_progress_bar_leaves_what_it_showed_last(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"10 %\r50 %\r100 %\nd\xc3\xb6ne \xff\n")
    assert read_end(path).lines == ("100 %", "döne \N{REPLACEMENT CHARACTER}")


def test_colours_and_cursor_movements_of_a_log_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"\x1b[1;31mred\x1b[0m\tand\x1b[2K \x07bell\x1b]0;title\x07\n")
    (line,) = read_end(path).lines
    assert line.isprintable()
    assert line.split() == ["red", "and", "bell"]


def test_search_goes_both_ways_and_around_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    filler = "nothing to see here\n" * 80_000  # more than one chunk
    path.write_text("First NaN\n" + filler + "second nan\n" + filler)
    first, second = 0, len("First NaN\n" + filler)
    size = path.stat().st_size
    assert find(path, "nan", 0) == first
    assert find(path, "NAN", line_end(path, first)) == second
    assert find(path, "nan", line_end(path, second)) == first
    assert find(path, "nan", size, backwards=True) == second
    assert find(path, "nan", second, backwards=True) == first
    assert find(path, "nan", first, backwards=True) == second
    assert find(path, "inf", 0) is None


def test_search_finds_letters_beyond_ascii_as_they_stand_there(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("nothing\n\u00dcBUNG 1\n", encoding="utf-8")
    assert find(path, "\u00dcbung", 0) == len("nothing\n")


# ---------------------------------------------------------------------- the widget


def found(app: PagerApp) -> str:
    view = app.pager.view
    return "" if view.found is None else view.lines[view.found]


async def opened_at_end(app: PagerApp, pilot: Pilot[None], last: int) -> None:
    await until(pilot, lambda: app.seen()[-1] == f"line {last:08d} of the log")
    await settled(pilot)


@pytest.mark.asyncio
async def test_it_opens_at_the_end_and_follows_until_scrolled_up(tmp_path: Path) -> None:
    app = PagerApp(numbered(tmp_path / "log.txt", 500))
    async with app.run_test(size=(60, 20)) as pilot:
        await opened_at_end(app, pilot, 499)
        assert app.pager.view.vertical_scrollbar.position == app.pager.view.scroll_y > 0
        numbered(app.path, 100, 500, "a")
        app.pager.refresh_end()
        await opened_at_end(app, pilot, 599)
        app.pager.view.focus()
        await pilot.press("pageup")
        assert not app.pager.follow
        top = app.seen()[0]
        numbered(app.path, 100, 600, "a")
        app.pager.refresh_end()
        await settled(pilot)
        assert app.seen()[0] == top
        await pilot.press("F")
        await opened_at_end(app, pilot, 699)


def test_a_window_of_a_huge_log_takes_no_more_memory_than_it_is_large(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with path.open("wb") as stream:
        stream.truncate(200 << 20)  # a hole: no disk is used, and it reads as one endless line
        stream.seek(0, 2)
        stream.write(b"\n")
    numbered(path, 2 * WINDOW_BYTES // 25, 0, "a")
    tracemalloc.start()
    try:
        window = read_end(path)
        while window.start > 190 << 20:
            window = read_before(path, window)
        assert tracemalloc.get_traced_memory()[1] < 32 * WINDOW_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.asyncio
async def test_of_a_long_log_only_some_windows_are_in_memory(tmp_path: Path) -> None:
    count = 6 * WINDOW_BYTES // 25
    app = PagerApp(numbered(tmp_path / "log.txt", count))
    async with app.run_test(size=(60, 20)) as pilot:
        await opened_at_end(app, pilot, count - 1)
        app.pager.view.focus()
        for _ in range(3):
            await pilot.press("pageup")
            app.pager.view.scroll_to(y=5, animate=False)
            await settled(pilot)
        read = app.pager.windows[-1].end - app.pager.windows[0].start
        assert WINDOW_BYTES < read <= MOST_WINDOWS * WINDOW_BYTES


@pytest.mark.asyncio
async def test_scrolling_up_reads_more_and_what_is_in_sight_stays(tmp_path: Path) -> None:
    count = 4 * WINDOW_BYTES // 25
    app = PagerApp(numbered(tmp_path / "log.txt", count))
    async with app.run_test(size=(60, 20)) as pilot:
        await opened_at_end(app, pilot, count - 1)
        before = app.pager.windows[0].start
        app.pager.follow = False
        app.pager.view.scroll_to(y=120, animate=False)
        await settled(pilot)
        app.pager.view.scroll_to(y=60, animate=False)
        seen = int(app.pager.view.lines[60].split()[1])
        await until(pilot, lambda: app.pager.windows[0].start < before)
        await settled(pilot)
        assert int(app.seen()[0].split()[1]) == seen


@pytest.mark.asyncio
async def test_search_highlights_and_goes_from_match_to_match(tmp_path: Path) -> None:
    path = numbered(tmp_path / "log.txt", 60_000)
    with path.open("a") as stream:
        stream.write("the end\n")
    app = PagerApp(path)
    async with app.run_test(size=(60, 20)) as pilot:
        await until(pilot, lambda: app.seen()[-1] == "the end")
        app.pager.view.focus()
        await pilot.press("slash", *"00000777", "enter")
        await until(pilot, lambda: found(app).startswith("line 00000777"))
        assert any("line 00000777" in line for line in app.seen())
        await pilot.press("slash", *"5000 of", "enter")
        await until(pilot, lambda: "55000 of" in found(app))
        await pilot.press("N")
        await until(pilot, lambda: "45000 of" in found(app))
        await pilot.press("n")
        await until(pilot, lambda: "55000 of" in found(app))
        await pilot.press("slash", *"absent", "enter")
        await until(pilot, lambda: any("absent" in n.message for n in app._notifications))


# ---------------------------------------------------------------------- the screen


@pytest.mark.asyncio
async def test_the_log_of_a_run_grows_on_its_screen_and_is_searched_there(workspace: Workspace) -> None:
    async with opened(workspace) as (app, pilot):
        app.go_to.log("cccc0000")
        await until(pilot, lambda: "epoch 12 done" in screen_text(app))
        with workspace.run_dir("cccc0000").log.open("a") as stream:
            stream.write("epoch 13 done\n")
        await until(pilot, lambda: "epoch 13 done" in screen_text(app))
        await pilot.press("slash", *"reading", "enter")
        await until(pilot, lambda: "search 'reading'" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, LogScreen))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("run_id", ["aaaa0000", "dddd0000"], ids=["finished", "empty"])
def test_how_the_log_of_a_run_looks(
    snap_compare: object, workspace: Workspace, size: tuple[int, int], run_id: str
) -> None:
    async def show(pilot: Pilot[None]) -> None:
        assert isinstance(pilot.app, SegTui)
        pilot.app.go_to.log(run_id)
        await until(pilot, lambda: isinstance(pilot.app.screen, LogScreen))
        await settled(pilot)

    app, before = app_at(workspace, show)
    assert snap_compare(app, terminal_size=size, run_before=before)  # type: ignore[operator]


@pytest.mark.asyncio
async def test_words_that_are_typed_at_once_are_searched_for_and_are_no_keys(workspace: Workspace) -> None:
    async with opened(workspace, (120, 40)) as (app, pilot):
        app.screen.query_one(RunTable).put_cursor("cccc0000")
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.focused, LogLines), "the log")
        box = app.screen.query_one("#log-search", Input)
        type_at_once(app, "/sdn/")
        await until(pilot, lambda: box.value == "sdn/", "all that was typed, the second sign a letter")
        assert isinstance(app.screen, LogScreen)
    with workspace.open_store() as store:
        assert store.run("cccc0000").status == "running"
