"""Keys that are typed faster than screens open: each waits until the one before it has done what it does.

Textual hands a key to whatever has the focus when it comes. Over a slow line, or by quick fingers, the
letters of a tag come while the question for it opens: they would be lost, or be keys of the table.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from weakref import WeakSet

from textual import events
from textual.app import App
from textual.message import Message
from textual.screen import Screen

PATIENCE_SECONDS = 0.25
"""How long a key waits for the one before it, whose widget may be gone with what was to come of it."""

AT_ONCE = frozenset({"ctrl+q", "ctrl+c"})
"""Keys that never wait: they end the app."""


class KeyDone(Message):
    """Goes the way of a key, behind it: when it arrives at the app, the key has been handled everywhere."""


class KeysInTurn(App[None]):
    """An app that hands out one key after the other, and to a screen once that has opened."""

    def __init__(self, ansi_color: bool | None = None) -> None:
        super().__init__(ansi_color=ansi_color)
        self._typed: deque[events.Key | events.Paste] = deque()
        self._under_way: KeyDone | None = None
        self._held_for: object = None
        self._opened: WeakSet[Screen[object]] = WeakSet()
        self._opening: WeakSet[Screen[object]] = WeakSet()

    def hold_keys(self) -> object:
        """Keep what is typed from now on for a screen that is to come, until `release_keys`; escape forgets
        it. Who brings the screen asks with the object that this returns whether it is still waited for."""
        self._held_for = object()
        return self._held_for

    def holds_keys_for(self, asked: object) -> bool:
        return self._held_for is asked

    def release_keys(self, came: bool) -> None:
        """Give out what was kept, or forget it where the screen did not come that it was for."""
        self._held_for = None
        if not came:
            self._typed.clear()
        self.call_later(self._hand_out)

    async def on_event(self, event: events.Event) -> None:
        is_typed = isinstance(event, events.Key | events.Paste) and not event.is_forwarded
        if not is_typed or (isinstance(event, events.Key) and event.key in AT_ONCE):
            await super().on_event(event)
            return
        assert isinstance(event, events.Key | events.Paste)
        if self._held_for is not None and isinstance(event, events.Key) and event.key == "escape":
            self.release_keys(came=False)
            return
        self._typed.append(event)
        await self._hand_out()
        if self._typed:
            self.set_timer(PATIENCE_SECONDS, partial(self._go_on_after, self._under_way))

    async def _hand_out(self) -> None:
        while self._typed and self._can_go_on():
            target = self.focused or self.screen
            self._under_way = KeyDone()
            await super().on_event(self._typed.popleft())
            if not target.post_message(self._under_way):  # its widget has gone
                self._under_way = None

    async def on_key_done(self, message: KeyDone) -> None:
        await self._go_on_after(message)

    async def _go_on_after(self, waited_for: KeyDone | None) -> None:
        if waited_for is self._under_way:
            self._under_way = None
            await self._hand_out()

    def _can_go_on(self) -> bool:
        if not self.screen_stack:  # at the app's end
            return False
        return self._under_way is None and self._held_for is None and self._has_opened(self.screen)

    def _has_opened(self, screen: Screen[object]) -> bool:
        """Whether a screen has got its focus, or will get none; if not, the keys go on when it has."""
        if screen.focused is not None or screen in self._opened:
            return True
        if screen not in self._opening:
            self._opening.add(screen)
            return not screen.call_later(self._go_on_at, screen)  # behind what opens it; not if it closes
        return False

    def _go_on_at(self, screen: Screen[object]) -> None:
        self._opened.add(screen)
        self.call_later(self._hand_out)
