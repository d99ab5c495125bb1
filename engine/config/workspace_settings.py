"""All sections of `seg.toml`, and a file of them to begin with."""

from __future__ import annotations

import json

from engine.config.agent import AgentConfig
from engine.config.fields import Section
from engine.config.notify import NotifyConfig
from engine.config.run_defaults import RunDefaults

MODELS: dict[str, type[Section]] = {"run": RunDefaults, "agent": AgentConfig, "notify": NotifyConfig}
"""The keys of each section."""


def commented_settings() -> str:
    """A seg.toml with every key at its default, commented out, and what it means."""
    lines = [
        "# Settings of this workspace. Remove the # before a key to set it.",
        "# `seg-engine config --effective` lists what holds, and where each value comes from.",
    ]
    for section, model in MODELS.items():
        lines += ["", f"[{section}]"]
        for key, about in model.model_fields.items():
            extra = about.json_schema_extra
            assert isinstance(extra, dict)
            unit = f" [{extra['unit']}]" if extra["unit"] else ""
            lines += [
                f"# {about.description}{unit}: {extra['form']}",
                f"# {key} = {json.dumps(about.default)}",
            ]
    return "\n".join(lines) + "\n"
