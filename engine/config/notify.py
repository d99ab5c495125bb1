"""Who is told when something ends: section `[notify]` of `seg.toml` or of `notify.toml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import field_validator

from engine.config.fields import Section, option
from engine.config.settings_file import checked, load

SECTION = "notify"

SCOPES = ("run", "experiment", "queue")
"""What may end."""

CHANNELS = ("url", "mail", "command")
"""How people are told, by the key that says where."""


class NotifyConfig(Section):
    """Who is told of what, and how."""

    url: str = option("", "Webhook that gets a POST of JSON", form="an http:// or https:// URL")
    mail: str = option("", "Addresses that get a mail by sendmail", form="addresses such as a@b.org")
    command: str = option("", "Shell command; SEG_* variables say what ended", form="a command")
    about: str = option("run", "What is told of, separated by commas", form=f"of {', '.join(SCOPES)}")
    terminal: bool = option(True, "Ring the terminal's bell and show its notification", form="true or false")

    @field_validator("url")
    @classmethod
    def _is_url(cls, text: str) -> str:
        parts = urlsplit(text)
        if text and (parts.scheme not in ("http", "https") or not parts.hostname or not text.isprintable()):
            raise ValueError(f"{text!r} is not allowed; it must be an http:// or https:// URL")
        return text

    @field_validator("mail")
    @classmethod
    def _are_addresses(cls, text: str) -> str:
        for address in filter(None, (part.strip() for part in text.split(","))):
            if not re.fullmatch(r"[^\s@,<>\"-][^\s@,<>\"]*(@[\w.-]+)?", address):
                raise ValueError(f"{address!r} is not an address; it must look like anna@lab.org")
        return text

    @field_validator("about")
    @classmethod
    def _are_scopes(cls, text: str) -> str:
        for word in text.split(","):
            if word.strip() not in SCOPES:
                raise ValueError(f"{word.strip()!r} is not allowed; it must be some of {', '.join(SCOPES)}")
        return text

    @property
    def scopes(self) -> tuple[str, ...]:
        """What is told of."""
        return tuple(word.strip() for word in self.about.split(","))

    @property
    def channels(self) -> tuple[str, ...]:
        """Those that are set."""
        return tuple(channel for channel in CHANNELS if getattr(self, channel))


def notify_config(values: Mapping[str, Any]) -> NotifyConfig:
    """The config with these values by key. Raises SettingsError."""
    return checked(NotifyConfig, SECTION, values)


def load_notify_config(root: Path) -> NotifyConfig:
    """The config of the workspace in a folder. Raises SettingsError."""
    return load(NotifyConfig, SECTION, root)
