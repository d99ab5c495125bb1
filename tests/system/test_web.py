"""The dashboard in a real browser, and what a server refuses that does not come from its own page."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from PIL import Image

from engine.agent.presence import Presence
from engine.host.processes import send_signal
from engine.store import Store
from engine.workspace import Workspace
from tests.system.browser import open_page, start_chromium
from tests.system.conftest import WAIT_SECONDS, Queue
from tests.tui.made_up_gallery import add_with_gallery

pytestmark = pytest.mark.asyncio

COMMAND = [sys.executable, "-m", "seg_tui"]


@pytest.fixture
def served(workspace: Workspace, store: Store) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of the workspace's dashboard, and its address with the token."""
    process = subprocess.Popen(
        [*COMMAND, "--web", str(workspace.root)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    process.kill()
    process.wait()
    agent = Presence.of(workspace).living()
    if agent is not None:
        send_signal(agent.pid, signal.SIGTERM, lambda pid: True)


@pytest.fixture
def chromium() -> str:
    """Automatic checks always have it; elsewhere it is no reason to fail."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        assert not os.environ.get("CI"), "no Chromium"
        pytest.skip("no Chromium is installed")
    return found


async def test_a_run_is_started_and_stopped_from_a_browser_and_strangers_are_turned_away(
    workspace: Workspace,
    store: Store,
    queue: Queue,
    served: tuple[subprocess.Popen[str], str],
    chromium: str,
    tmp_path: Path,
) -> None:
    server, url = served
    run = queue(epochs=400)
    add_with_gallery(workspace, "gal00001", name="with-pictures")
    store.lifecycle.update_card(run.id, name="from-afar")
    profile = tmp_path / "profile"
    browser = start_chromium(chromium, profile)
    own = url.removesuffix("/").rpartition("/")[0]
    try:
        async with aiohttp.ClientSession() as client:
            for address, headers, status in (
                (url.removesuffix("/") + "x/", {}, 403),
                (url + "ws", {}, 403),
                (url + "ws", {"Origin": "http://evil.org"}, 403),
                (url.removesuffix("/") + "x/ws", {"Origin": own}, 403),
                (url, {"Host": "evil.org"}, 421),
                (own + "/static/", {}, 403),
                (own + "/", {}, 404),
            ):
                async with client.get(address, headers=headers) as response:
                    assert response.status == status, (address, headers)
                    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            page = await open_page(client, profile, url)
            await page.until_drawn("from-afar")
            await page.press("?")
            await page.until_drawn("Edit the tags")
            await page.press("?")
            await page.press("n")
            await page.until_drawn("optimizer.name")
            await page.press("Escape")
            await page.until_drawn("from-afar")
            await page.press("j")
            await page.press("p")
            await page.until_drawn("Ground truth")
            await page.until_drawn("Dice 1.000")
            await page.press("Escape")
            await page.until_drawn("from-afar")
            await page.press("k")
            await page.press("A")
            await page.until_drawn("an agent was started")
            while store.run(run.id).status != "running":
                await asyncio.sleep(0.1)
            await page.until_drawn("running")
            await page.press("s")
            await page.until_drawn("finishes its step")
            while store.run(run.id).status != "stopped":
                await asyncio.sleep(0.1)
            await page.until_drawn("stopped")
            pixels = np.asarray(Image.open(io.BytesIO(await page.picture())).convert("RGB"))
            assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20, "something is drawn"
            assert page.complaints == []
            await page.press("q")
            while not await page.evaluate("document.body.classList.contains('-closed')"):
                pass
            assert "Runs go on" in await page.evaluate("document.getElementById('closed').innerText")
    finally:
        browser.kill()
        browser.wait()
    server.send_signal(signal.SIGINT)
    assert server.wait(timeout=WAIT_SECONDS) == 0
    assert server.stderr is not None
    assert "runs go on" in server.stderr.read()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--web", "--host", "0.0.0.0"], "--host 0.0.0.0: others could reach it"),
        (["--port", "8000"], "--port: is for --web"),
        (["--web", "--port", "70000"], "--port 70000: must be from 0"),
    ],
)
async def test_what_would_open_the_dashboard_to_others_is_refused(
    workspace: Workspace, store: Store, words: list[str], problem: str
) -> None:
    done = subprocess.run(
        [*COMMAND, *words, str(workspace.root)], capture_output=True, text=True, timeout=WAIT_SECONDS
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {problem}")
    assert len(done.stderr.splitlines()) == 1
