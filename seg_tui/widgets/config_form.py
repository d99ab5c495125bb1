"""The form of a new run: a field for every config key, what was typed there, and the engine's word on it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, cast

from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Static

from engine.config.described import chooses_variant, config_keys
from engine.config.recipes import RECIPES
from engine.config.run_config import RunConfig
from seg_tui.launch.draft import Card, Checked, Draft, form_keys
from seg_tui.launch.queueing import DataLook
from seg_tui.screens.folder_picker import FolderSuggester
from seg_tui.widgets.field_row import FieldRow
from seg_tui.widgets.suggesting import WordSuggester

CARD_FIELDS = {
    "name": "Name of the run; empty: the recipe's name",
    "experiment": "Experiment to add it to; a new name creates one",
    "tags": "Tags, separated by spaces",
    "note": "Free text about the run",
    "priority": "Higher priorities start first; 0 is the default",
    "after": "Start after this run finishes: its id, the beginning of it, or its name",
}

LOOKING = DataLook("…", False)
"""The data folder is being looked at."""


class ConfigForm(VerticalScroll, inherit_bindings=False):
    """The fields; the arrow keys go from one to the next instead of scrolling.

    Owns what is typed (`draft`, `card`) and what is wrong with it (`checked`, and `refused` by those who were
    asked to queue it).
    """

    DEFAULT_CSS = """
    ConfigForm {
        padding: 0 1;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
        scrollbar-background: $surface;
        & > .section { height: 2; padding-top: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        & > .section.hidden { display: none; }
        & > .config-form--label { color: $foreground; }
        & > .config-form--rule { color: $foreground 21.4%; }
        & > .config-form--changed { color: $text-primary; text-style: bold; }
        & > .config-form--wrong { color: $text-error; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"config-form--{part}" for part in ("label", "rule", "changed", "wrong")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "page_up", "page up", show=False),
        Binding("pagedown", "page_down", "page down", show=False),
    ]

    class Judged(Message):
        """What is typed, or what is known of it, is another; `typed` when somebody typed."""

        def __init__(self, typed: bool) -> None:
            super().__init__()
            self.typed = typed

    def __init__(self) -> None:
        super().__init__(can_focus=False)
        self.draft = Draft.of_recipe(next(iter(RECIPES)))
        self.card = self.first_card = Card()
        self.first_data = ""
        self.data_look = DataLook("", False)
        self.refused: dict[str, str] = {}
        self.checked = Checked(None, {})
        self._words: list[str] = []
        self._only_changed = False

    async def fill(self, draft: Draft, card: Card, data: str) -> None:
        """Make the fields of a draft; `data` is the data folder of one that names none."""
        draft.data = draft.base.data.root or data
        self.draft, self.card, self.first_card, self.first_data = draft, card, card, draft.data
        self.refused, self.data_look = {}, DataLook("", False)
        await self.remove_children()
        await self.mount_all(self._fields())
        self.judge()

    def _fields(self) -> list[Static | FieldRow]:
        """The fields, each section below its head."""
        fields: list[Static | FieldRow] = [
            Static(_head("run", "Name and place in the queue"), classes="section", markup=False),
            FieldRow(
                "data",
                "data folder",
                "Folder of the data set; ctrl+o browses, → accepts the completion",
                self.draft.data,
                placeholder="/path/to/cityscapes",
                suggester=FolderSuggester(),
                wide=True,
            ),
        ]
        for name, help in CARD_FIELDS.items():
            hint = {"name": self.draft.base.recipe, "experiment": self.draft.defaults.experiment}.get(
                name, ""
            )
            text = getattr(self.card, name)
            fields.append(FieldRow(name, name, help, text, placeholder=hint, wide=name == "note"))
        section = None
        for key, about in form_keys().items():
            path, _, leaf = key.rpartition(".")
            if path != section:
                section = path
                fields.append(Static(_section_head(path), classes="section", markup=False))
            choices = about.choices or (("true", "false") if about.kind == "true/false" else ())
            suggester = WordSuggester(about) if about.suggested_by else None
            text, help = self.draft.text(key), self._help(key)
            fields.append(FieldRow(key, leaf, help, text, choices, suggester=suggester))
        return fields

    def _help(self, key: str) -> str:
        """What a key means, for the model, optimizer and so on that is chosen."""
        about = form_keys()[key]
        if about.forms:
            about = about.of(self.draft.variant(key.partition(".")[0]))
        allowed = "" if about.choices or about.kind == "true/false" else about.allowed
        return " · ".join(part for part in (about.story, about.unit, allowed) if part)

    def rows(self) -> dict[str, FieldRow]:
        return {row.key: row for row in self.query(FieldRow)}

    def wrong_rows(self) -> list[FieldRow]:
        """The fields to fix, from the first on."""
        return [row for row in self.rows().values() if row.is_wrong]

    # ------------------------------------------------------------------ typing

    @on(FieldRow.Typed)
    def _take(self, message: FieldRow.Typed) -> None:
        key, text = message.row.key, message.text
        if text == self._typed_before(key):
            return  # a field says so, too, when it gets its first value
        self.refused.pop(key, None)
        if key == "data":
            self.draft.data = text.strip()
            self.data_look = LOOKING
        elif key in CARD_FIELDS:
            self.card = replace(self.card, **{key: text})
        else:
            self.draft.type(key, text)
            if chooses_variant(key):
                self._put_usual()
        self.judge(typed=True)

    def _typed_before(self, key: str) -> str:
        """What a field holds, as far as the form has heard."""
        if key == "data":
            return self.draft.data
        return str(getattr(self.card, key)) if key in CARD_FIELDS else self.draft.text(key)

    def _put_usual(self) -> None:
        """Another model, and the like, has other usual values, and keys of it may mean something else."""
        for key, row in self.rows().items():
            if key in form_keys():
                row.put(self.draft.text(key))
                row.help = self._help(key)

    def see_data(self, folder: str, look: DataLook) -> None:
        """What the data folder has, unless another was typed meanwhile."""
        if folder == self.draft.data and look != self.data_look:
            self.data_look = look
            self.judge()

    def refuse(self, key: str, line: str) -> None:
        """Say at a field why the run was not queued, and go there."""
        self.refused[key] = line
        self.judge()
        self.rows()[key].editor.focus()

    def refuse_lines(self, lines: Sequence[str]) -> list[str]:
        """Say at the fields why the run was not queued; returns the lines that belong to none."""
        elsewhere = []
        after = self.card.after.strip()
        for line in lines:
            key, _, rest = line.partition(": ")
            if after and after in key:
                key, rest = "after", line
            if key in self.rows():
                self.refuse(key, rest)
            else:
                elsewhere.append(line)
        return elsewhere

    def restore(self, row: FieldRow) -> None:
        """Give a field the value it had."""
        if row.key in form_keys():
            row.editor.value = self.draft.usual(row.key)
        else:
            row.editor.value = self.first_data if row.key == "data" else getattr(self.first_card, row.key)

    def typed_lines(self) -> list[str]:
        """All that was typed, a line each."""
        lines = [f"{key} = {text}" for key, text in self.draft.changes().items()]
        lines += [f"data folder = {self.draft.data}"] if self.draft.data != self.first_data else []
        return lines + [
            f"{name} = {getattr(self.card, name)}"
            for name in CARD_FIELDS
            if getattr(self.card, name) != getattr(self.first_card, name)
        ]

    # ------------------------------------------------------------------ judging

    def judge(self, typed: bool = False) -> None:
        """Ask the engine about what is typed, and say at each field what it says."""
        self.checked = self.draft.check()
        changes = self.draft.changes()
        for key, row in self.rows().items():
            if key == "data":
                row.say(self.draft.data != self.first_data, (), *self._data_remark())
            elif key in CARD_FIELDS:
                first = getattr(self.first_card, key)
                changed = getattr(self.card, key) != first
                below = self.refused.get(key, "")
                if key == "priority":
                    below = below or self.card.priority_problem()
                row.say(changed, (f"was {first}" if changed and first else "",), below, bool(below))
            else:
                remarks = (f"was {self.draft.usual(key)}" if key in changes else "", config_keys()[key].unit)
                problem = self.checked.problems.get(key) or self.refused.get(key, "")
                row.say(key in changes, remarks, problem or self._told(key), bool(problem))
        self._choose_rows()
        self.post_message(self.Judged(typed))

    def _told(self, key: str) -> str:
        """What is known of a value: that it has no effect, or such as the size of an encoder."""
        if key in self.checked.idle:
            return self.checked.idle[key]
        about = config_keys()[key]
        if about.forms:
            about = about.of(self.draft.variant(key.partition(".")[0]))
        return about.told(self.draft.text(key))

    def _data_remark(self) -> tuple[str, bool]:
        """What stands below the data folder, and whether it is a fault."""
        if "data" in self.refused:
            return self.refused["data"], True
        looked = self.data_look != LOOKING and bool(self.draft.data)
        return self.data_look.line, looked and not self.data_look.usable

    # ------------------------------------------------------------------ which fields are shown

    def show_only(self, words: list[str], changed: bool) -> None:
        """Show only fields with all the words in key or help, or only those that differ or are wrong."""
        self._words, self._only_changed = words, changed
        self._choose_rows()

    def _choose_rows(self) -> None:
        """Show the fields that were asked for, and heads only above fields."""
        head: Static | None = None
        used = False
        keys = form_keys()
        for child in self.children:
            if isinstance(child, FieldRow):
                shown = self._is_shown(child, child.key in keys)
                child.set_class(not shown, "hidden")
                used = used or shown
                continue
            if head is not None:
                head.set_class(not used, "hidden")
            head, used = cast(Static, child), False
        if head is not None:
            head.set_class(not used, "hidden")

    def _is_shown(self, row: FieldRow, is_of_config: bool) -> bool:
        if is_of_config and not self.draft.is_there(row.key):
            return False
        about = f"{row.key} {row.help}".lower()
        return all(word in about for word in self._words) and (row.is_told or not self._only_changed)


def _section_head(path: str) -> Text:
    if not path:
        return _head("training", "The training run")
    about = RunConfig.model_fields[path].description or type(getattr(RunConfig(), path)).__doc__ or ""
    return _head(path, inspect.cleandoc(about).partition("\n")[0].rstrip("."))


def _head(name: str, about: str) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    return text.append(name, "bold").append(f"  {about}", "dim")
