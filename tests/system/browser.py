"""A real browser, headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.system.conftest import WAIT_SECONDS

_SEQUENCE = re.compile(r"\x1b(\[[0-9;?<>=]*[a-zA-Z]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Z0-9]|[=>78])")

KEYS = {"Enter": ("\r", 13), "Escape": ("", 27)}


class Page:
    """A tab. `drawn` is all text that a session has sent to it, without control sequences."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.drawn = ""
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._receive()
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = await self._socket.receive_json(timeout=WAIT_SECONDS)
        parameters = message.get("params", {})
        if message.get("method") == "Network.webSocketFrameReceived":
            frame = parameters["response"]
            if frame["opcode"] == 2:
                text = base64.b64decode(frame["payloadData"]).decode(errors="replace")
                self.drawn += _SEQUENCE.sub("", text)
        failed = message.get("method") == "Runtime.exceptionThrown"
        if failed or parameters.get("entry", {}).get("level") == "error":
            self.complaints.append(str(parameters))
        return message

    async def until_drawn(self, words: str) -> None:
        """Wait for a text, then forget all that was drawn up to it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while words not in self.drawn:
            assert time.monotonic() < deadline, f"{words!r} is not among {self.drawn[-3000:]!r}"
            await self._receive()
        self.drawn = self.drawn.partition(words)[2]

    async def press(self, key: str) -> None:
        text, code = KEYS.get(key, (key, ord(key[0].upper())))
        common = {"key": key, "windowsVirtualKeyCode": code}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def evaluate(self, script: str) -> Any:
        return (await self.call("Runtime.evaluate", expression=script))["result"].get("value")

    async def picture(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot"))["data"])


def start_chromium(program: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--no-first-run", "--disable-background-networking", "--disable-extensions"),
            *("--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=1200,800"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def open_page(client: aiohttp.ClientSession, folder: Path, url: str) -> Page:
    """Open an address in the browser whose profile is in `folder`."""
    told = folder / "DevToolsActivePort"
    deadline = time.monotonic() + WAIT_SECONDS
    while not (told.exists() and "\n" in told.read_text()):
        assert time.monotonic() < deadline, "the browser does not come up"
        await asyncio.sleep(0.05)
    base = f"http://127.0.0.1:{told.read_text().splitlines()[0]}"
    async with client.put(f"{base}/json/new?about:blank") as response:
        target = await response.json()
    page = Page(await client.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0))
    for domain in ("Network", "Runtime", "Log", "Page"):
        await page.call(f"{domain}.enable")
    await page.call("Page.navigate", url=url)
    return page
