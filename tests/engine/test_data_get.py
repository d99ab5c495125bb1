"""`data get`: downloads from a server that misbehaves, checksums, licences, and archives that are a trap."""

from __future__ import annotations

import io
import json
import re
import stat
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.data.faults import DataError
from engine.data.published.download import DownloadError, download
from engine.data.published.unpack import unpack
from engine.exits import BAD_USE, INTERRUPTED
from tests.engine.conftest import Command
from tests.engine.test_known_layouts import draw_camvid, halves, save

CONTENT = bytes(range(256)) * 2000


class Server:
    """Serves `files` by name. The next answers are made by `ways`, a function of a handler and the bytes
    each; when there are none left, as a good server does, with ranges."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.tag = '"1"'
        self.ways: list[Callable[[BaseHTTPRequestHandler, bytes], None]] = []
        self.ranges: list[str | None] = []
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.ranges.append(self.headers.get("Range"))
                content = outer.files.get(self.path.rpartition("/")[2])
                if content is None:
                    self.send_error(404)
                elif outer.ways:
                    outer.ways.pop(0)(self, content)
                else:
                    outer.well(self, content)

            def log_message(self, *words: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/here"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.released.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def well(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if wanted and handler.headers.get("If-Range") == self.tag:
            begin = int(wanted[1])
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            content = content[begin:]
        else:
            handler.send_response(200)
        self.head(handler, len(content))
        handler.wfile.write(content)

    def head(self, handler: BaseHTTPRequestHandler, length: int) -> None:
        handler.send_header("ETag", self.tag)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()

    def half(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        """Break off in the middle, and do not heed ranges."""
        handler.send_response(200)
        self.head(handler, len(content))
        handler.wfile.write(content[: len(content) // 2])

    def stuck(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        self.half(handler, content)
        handler.wfile.flush()
        self.released.wait(20)

    def whole(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        """All of it, whatever range was asked for."""
        handler.send_response(200)
        self.head(handler, len(content))
        handler.wfile.write(content)

    def busy(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.send_error(503)

    def other_part(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 5-{len(content) - 1}/{len(content)}")
        self.head(handler, len(content) - 5)
        handler.wfile.write(content[5:])


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.files["data.zip"] = CONTENT
    yield server
    server.close()


def fetch(server: Server, target: Path, timeout: float = 20.0) -> list[str]:
    """What was told of a download, without the pauses between connections."""
    told: list[str] = []
    download(f"{server.url}/data.zip", target, lambda here, total: None, told.append, timeout, lambda _: None)
    return told


def test_a_broken_download_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.ways = [server.half, server.busy]
    told = fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert server.ranges == [None, *[f"bytes={len(CONTENT) // 2}-"] * 2]
    assert "the connection ended after 256,000 of 512,000 bytes; trying again" in told[0]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_another_process_goes_on_where_the_first_was_stopped(server: Server, tmp_path: Path) -> None:
    def stop(here: int, total: int | None) -> None:
        if here > len(CONTENT) // 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(f"{server.url}/data.zip", tmp_path / "x", stop, print)
    here = (tmp_path / "x.part").stat().st_size
    fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={here}-"]
    assert here > 0


@pytest.mark.parametrize("way", ["whole", "other_part"])
def test_a_server_that_ignores_the_range_is_read_from_the_start(
    server: Server, tmp_path: Path, way: str
) -> None:
    server.ways = [server.half, getattr(server, way)]
    fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_not_glued_to_the_old_one(server: Server, tmp_path: Path) -> None:
    def half_then_new(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        server.half(handler, content)
        server.tag, server.files["data.zip"] = '"2"', CONTENT[::-1]

    server.ways = [half_then_new]
    fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT[::-1]


def test_a_server_that_falls_silent_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.ways = [server.stuck]
    told = fetch(server, tmp_path / "x", timeout=0.2)
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert "no answer" in told[0]


def test_what_no_other_try_would_mend_is_one_line(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"gone\.zip: the server answers 404 Not Found; .*--mirror"):
        download(f"{server.url}/gone.zip", tmp_path / "x", lambda *_: None, print)
    server.ways = [server.half] * 20
    with pytest.raises(DownloadError, match="of 512,000 bytes, 6 times in a row; run the command again"):
        fetch(server, tmp_path / "x")
    assert not (tmp_path / "x").exists()


# --- archives ----------------------------------------------------------------------------------


def zipped(members: dict[str, bytes], mode: int = 0) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "mode", "problem"),
    [
        ("../evil.png", 0, "would be written outside the folder"),
        ("a/../../evil.png", 0, "would be written outside the folder"),
        ("/evil.png", 0, "would be written outside the folder"),
        ("link.png", stat.S_IFLNK | 0o777, "is a link"),
        ("pipe.png", stat.S_IFIFO | 0o644, "is not a regular file"),
    ],
)
def test_a_trap_of_an_archive_is_refused_before_a_file_is_written(
    tmp_path: Path, name: str, mode: int, problem: str
) -> None:
    (tmp_path / "x.zip").write_bytes(zipped({"good.png": b"1", name: b"/etc/passwd"}, mode))
    (tmp_path / "to").mkdir()
    with pytest.raises(DataError, match=f"x.zip: .*{problem}; nothing was unpacked"):
        unpack(tmp_path / "x.zip", tmp_path / "to", lambda member: member, lambda *_: None)
    assert list((tmp_path / "to").iterdir()) == []
    assert not (tmp_path / "evil.png").exists()


# --- the command -------------------------------------------------------------------------------


@pytest.fixture
def camvid(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server with a small CamVid, its labels without a folder as in the real archive."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    draw_camvid(tmp_path / "small")
    for label in (tmp_path / "small/LabeledApproved_full").iterdir():
        save(label.parent, label.name, halves((128, 64, 128), (128, 128, 128)))  # road and sky
    images, labels = (tmp_path / "small" / name for name in ("701_StillsRaw_full", "LabeledApproved_full"))
    files = {f"701_StillsRaw_full/{path.name}": path.read_bytes() for path in images.glob("[!.]*.png")}
    server.files = {
        "701_StillsRaw_full.zip": zipped(files),
        "LabeledApproved_full.zip": zipped({path.name: path.read_bytes() for path in labels.iterdir()}),
    }
    return server


def test_camvid_comes_checked_and_says_where_from(seg: Command, camvid: Server, tmp_path: Path) -> None:
    line = f"data get camvid {tmp_path / 'c'} --mirror {camvid.url}"
    refused = seg(line)
    assert refused.status == BAD_USE
    assert "asks to cite" in refused.err
    assert "then add --accept-licence" in refused.err
    assert not (tmp_path / "c").exists()
    done = seg(f"{line} --accept-licence")
    assert done.status == 0, done.out
    assert "camvid layout" in done.out
    assert "train 2, test 2, val 1" in done.out
    told = json.loads((tmp_path / "c/source.json").read_text())
    assert [archive["url"] for archive in told["archives"]] == [f"{camvid.url}/{n}" for n in camvid.files]
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "701_StillsRaw_full", "LabeledApproved_full", "source.json",
    ]  # fmt: skip
    asked = len(camvid.ranges)
    again = seg(f"{line} --accept-licence")
    assert again.status == 0
    assert "already fetched" in again.out
    assert len(camvid.ranges) == asked


def test_other_bytes_than_at_the_first_download_are_refused(
    seg: Command, camvid: Server, tmp_path: Path
) -> None:
    first = seg(f"data get camvid {tmp_path / 'c'} --mirror {camvid.url} --accept-licence")
    assert first.status == 0
    before = json.loads((tmp_path / "c/source.json").read_text())["archives"][1]["sha256"]
    camvid.files["LabeledApproved_full.zip"] = zipped({"other_L.png": b"1"})
    again = seg(f"data get camvid {tmp_path / 'd'} --mirror {camvid.url} --accept-licence")
    assert again.status != 0
    assert re.search(
        rf"has SHA-256 [0-9a-f]{{64}}, the first download had {before}; it was removed", again.err
    )
    assert "checksums.json" in again.err
    assert not (tmp_path / "d/LabeledApproved_full").exists()


def test_a_page_instead_of_an_archive_leaves_no_checksum(
    seg: Command, camvid: Server, tmp_path: Path
) -> None:
    real = camvid.files["LabeledApproved_full.zip"]
    camvid.files["LabeledApproved_full.zip"] = b"<html>moved</html>"
    line = f"data get camvid {tmp_path / 'c'} --mirror {camvid.url} --accept-licence"
    refused = seg(line)
    assert "the server sent something that is no zip file" in refused.err
    camvid.files["LabeledApproved_full.zip"] = real
    assert seg(line).status == 0  # the images, which were whole, are not fetched again
    assert len(camvid.ranges) == 3


def test_what_is_whole_is_moved_to_its_place_the_next_time(
    seg: Command, camvid: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def killed(path: Path, target: Path) -> Path:
        if path.name == "LabeledApproved_full":
            raise KeyboardInterrupt
        return rename(path, target)

    line = f"data get camvid {tmp_path / 'c'} --mirror {camvid.url}"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        assert seg(f"{line} --accept-licence").status == INTERRUPTED
    assert not (tmp_path / "c/source.json").exists()
    asked = len(camvid.ranges)
    assert seg(line).status == 0
    assert len(camvid.ranges) == asked
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "701_StillsRaw_full", "LabeledApproved_full", "source.json",
    ]  # fmt: skip


def test_wrong_names_and_folders_are_one_line(seg: Command, camvid: Server, tmp_path: Path) -> None:
    assert "did you mean camvid?" in seg(f"data get camvit {tmp_path}").err
    assert "must begin with http" in seg(f"data get camvid {tmp_path} --mirror file:///etc").err
    (tmp_path / "701_StillsRaw_full").mkdir()
    refused = seg(f"data get camvid {tmp_path} --mirror {camvid.url} --accept-licence")
    assert "already exists and was not fetched by this command" in refused.err


DOWNLOADER = f"""#!{sys.executable}
import pathlib, shutil, sys
folder, name = sys.argv[-2:]
if "--resume" not in sys.argv and name.startswith("left"):
    pathlib.Path(folder, name).write_bytes(b"PK half")
    sys.exit("the connection broke")
shutil.copy(pathlib.Path(sys.argv[0]).with_name(name), folder)
"""


def test_cityscapes_comes_by_its_own_downloader(
    seg: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"data get cityscapes {tmp_path / 'c'} --accept-licence"
    missing = seg(line)
    assert missing.status == BAD_USE
    assert "needs csDownload; `pip install cityscapesScripts` installs it" in missing.err
    seg(f"data synthesize {tmp_path / 'scenes'} --images 4 --size 64x96")
    programs = tmp_path / "bin"
    programs.mkdir()
    for kind, name in (("gtFine", "gtFine"), ("leftImg8bit", "leftImg8bit")):
        files = [path for path in (tmp_path / "scenes" / kind).rglob("*") if path.is_file()]
        members = {str(path.relative_to(tmp_path / "scenes")): path.read_bytes() for path in files}
        (programs / f"{name}_trainvaltest.zip").write_bytes(zipped(members | {"license.txt": b"read me"}))
    (programs / "csDownload").write_text(DOWNLOADER)
    (programs / "csDownload").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    broken = seg(line)
    assert "csDownload ended with exit status 1, see above; run the command again to go on" in broken.err
    done = seg(line)
    assert done.status == 0, done.err
    assert "cityscapes layout" in done.out
