"""The line above the form's fields: a search, and how many keys differ or have to be fixed."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Static

from seg_tui.widgets.config_form import ConfigForm


class FormTools(Horizontal):
    """What of the form is shown: fields with the words of a search, or only those that were changed."""

    DEFAULT_CSS = """
    FormTools {
        height: 1; margin-top: 1; padding: 0 1;
        #search { width: 30; background: $surface; }
        #count { width: 1fr; color: $text-muted; text-align: right; }
        #count { text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self) -> None:
        super().__init__(id="tools")
        self.only_changed = False

    def compose(self) -> ComposeResult:
        yield Input(placeholder="search the keys", compact=True, id="search")
        yield Static(id="count", markup=False)

    @property
    def _search(self) -> Input:
        return self.query_one("#search", Input)

    @property
    def words(self) -> list[str]:
        """The words that are searched for, in small letters."""
        return self._search.value.lower().split()

    def search(self) -> None:
        self.screen.set_focus(self._search)  # now, not when the keys that wait were dealt with

    def clear(self) -> bool:
        """End the search; returns whether there was one."""
        searched = bool(self._search.value)
        self._search.value = ""
        return searched

    def count(self, form: ConfigForm) -> None:
        """Say how many keys differ and how many are wrong."""
        count, wrong = len(form.draft.changes()), len(form.wrong_rows())
        parts = [f"{count} {'key differs' if count == 1 else 'keys differ'} from {form.draft.title}"]
        parts += [f"{wrong} to fix"] if wrong else []
        parts += ["showing only changed"] if self.only_changed else []
        self.query_one("#count", Static).update(" · ".join(parts))
