"""The dashboard in a browser: each tab is a `seg-tui` of its own, which textual-serve drives.

Whoever has the address, with its token, can do what its owner can. So the server listens to this machine
alone unless it is told otherwise, and the token, the Host and the Origin of a request are checked before a
session starts. Pages load nothing from elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from engine.errors import EngineError
from engine.host.processes import python_command
from engine.typed import typed
from engine.workspace import Workspace

try:
    from aiohttp import web
    from textual_serve.server import Server
except ImportError as error:
    raise EngineError(
        f"--web: needs the package {error.name}, which the extra `web` brings: pip install 'seg-engine[web]'"
    ) from None

LOOPBACK = "127.0.0.1"
MOST_SESSIONS = 16
"""Tabs at once; each is a process."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><title>seg-tui</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/static/css/xterm.css">
<script src="/static/js/textual.js"></script>
<script src="/focus.js"></script>
<style>
  html, body {{ margin: 0; height: 100%; background: #121212; }}
  .textual-terminal {{ height: 100vh; }}
  #closed {{ display: none; position: fixed; inset: 0; background: #121212e6; color: #eee;
             font: 16px/1.6 sans-serif; align-items: center; justify-content: center; text-align: center; }}
  body.-closed #closed {{ display: flex; }}
  a {{ color: #8ab4f8; }}
</style>
</head>
<body>
<div id="terminal" class="textual-terminal" data-font-size="{size}"
     data-session-websocket-url="{socket}"></div>
<div id="closed"><p>The session has ended. Runs go on: agents and workers are processes of their own.<br>
<a href="">Open it again</a></p></div>
</body>
</html>
"""

FOCUS = """addEventListener("load", () => {
  const focus = setInterval(() => {
    const keys = document.querySelector(".xterm-helper-textarea");
    if (keys) { keys.focus(); clearInterval(focus); }
  }, 50);
});
"""
"""Keys go to the dashboard without a click."""

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
}


class CannotServe(EngineError):
    """The dashboard cannot be served so; the message is one line."""


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TokenServer(Server):
    """Serves a dashboard to those who know its token. `port` 0 is a free one."""

    def __init__(self, command: str, listener: socket.socket, is_open: bool) -> None:
        """`listener` is bound; with `is_open` others than this machine may ask."""
        self.listener, self.is_open = listener, is_open
        host, port = listener.getsockname()[:2]
        super().__init__(command, host=host, port=port, title="seg-tui")
        self.token = secrets.token_urlsafe(24)
        self._sessions = 0

    @property
    def url(self) -> str:
        """The address with its token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/{self.token}/"

    def make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/{token}/", self._index),
                web.get("/{token}/ws", self._session),
                web.get("/{token}/download/{key}", self.handle_download),
                web.get("/focus.js", self._focus),
                web.static("/static", self.statics_path, show_index=False, name="static"),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let nothing through that comes by another name of this machine, or without the token."""
        if not self._is_known_host(request.host):
            return web.Response(
                status=421, text="this server does not answer to that name\n", headers=HEADERS
            )
        token = request.match_info.get("token")
        if token is not None and not hmac.compare_digest(token.encode(), self.token.encode()):
            return web.Response(
                status=403, text="the token in the address is not that of this server\n", headers=HEADERS
            )
        try:
            response = await handler(request)
        except web.HTTPException as error:
            return web.Response(status=error.status, text=f"{error.reason}\n", headers=HEADERS)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    def _is_known_host(self, host: str) -> bool:
        """Whether a request was sent to this machine by an address of its own, as no page of somebody else's
        under a name that leads here is. The port may be another where SSH forwards it."""
        return self.is_open or is_loopback(urlsplit(f"//{host}").hostname or "")

    async def _index(self, request: web.Request) -> web.Response:
        address = f"ws://{request.host}/{self.token}/ws"
        size = request.query.get("fontsize", "16")
        page = PAGE.format(socket=address, size=size if size.isdigit() else 16)
        return web.Response(text=page, content_type="text/html")

    async def _focus(self, request: web.Request) -> web.Response:
        return web.Response(text=FOCUS, content_type="text/javascript")

    async def _session(self, request: web.Request) -> web.StreamResponse:
        """Start a dashboard for a page of this very server."""
        if request.headers.get("Origin") != f"http://{request.host}":
            return web.Response(status=403, text="only pages of this server may open a session\n")
        if self._sessions >= MOST_SESSIONS:
            return web.Response(status=503, text=f"{MOST_SESSIONS} tabs are open already; close one\n")
        self._sessions += 1
        try:
            answer: web.WebSocketResponse = await self.handle_websocket(request)
            return answer
        finally:
            self._sessions -= 1


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine that no other can reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Served:
    """What is served and where; `port` None is a free one."""

    plugins: Sequence[Path] = ()
    read_only: bool = False
    host: str | None = None
    port: int | None = None
    allow_remote: bool = False


def serve(workspace: Workspace, wanted: Served) -> None:
    """Serve the dashboard of a workspace until Ctrl-C or SIGTERM. Raises CannotServe."""
    host, port = wanted.host or LOOPBACK, wanted.port or 0
    if not is_loopback(host) and not wanted.allow_remote:
        raise CannotServe(
            f"--host {host}: others could reach it; use `ssh -L` to this machine, or add --allow-remote"
        )
    words = ["-w", str(workspace.root.absolute()), *(["--read-only"] if wanted.read_only else [])]
    for plugin in wanted.plugins:
        words += ["--plugin", str(plugin.absolute())]
    command = f"exec {shlex.join(python_command('seg_tui', *words))}"
    with contextlib.closing(_listen(host, port)) as listener:
        server = TokenServer(command, listener, is_open=not is_loopback(host))
        logging.getLogger("textual-serve").addHandler(logging.StreamHandler(sys.stderr))
        print(server.url, flush=True)
        may = "look" if wanted.read_only else "do all that you can"
        print(f"whoever has this address can {may}; Ctrl-C ends it and stops no run", file=sys.stderr)
        if server.is_open:
            print("it is not encrypted: whoever sees the network's traffic sees the token", file=sys.stderr)
        asyncio.run(_run(server))
    print(f"the server has ended; runs go on, `{typed('queue')}` lists them", file=sys.stderr)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port < 65536:
        raise CannotServe(f"--port {port}: must be from 0 (a free one) to 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family[0], socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(family[4])
    except OSError as error:
        raise CannotServe(f"--host {host} --port {port}: {error.strerror or error}") from error
    return listener


async def _run(server: TokenServer) -> None:
    """Serve until a signal says to end."""
    ending = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    runner = web.AppRunner(server.make_app(), shutdown_timeout=3.0, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, server.listener).start()
        await ending.wait()
    finally:
        await runner.cleanup()
