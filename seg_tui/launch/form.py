"""The form of a new run with all that stands around its fields, from the first letter to the queue.

What may be typed, and what is wrong with it, is the engine's word. All that is wrong stands at its field, and
nothing is queued before it is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from engine.config.run_config import RunConfig
from engine.workspace import find_workspace
from seg_tui.launch.draft import Card, Draft, command_line
from seg_tui.launch.foot import FormFoot
from seg_tui.launch.lookups import Lookups
from seg_tui.launch.messages import DataSeen, RunEstimated, RunQueued, RunRefused
from seg_tui.launch.queueing import Look, looker, queue_run
from seg_tui.launch.tools import FormTools
from seg_tui.screens.folder_picker import FolderPicker
from seg_tui.widgets.config_form import ConfigForm
from seg_tui.widgets.field_row import FieldRow
from seg_tui.widgets.panes import pane

if TYPE_CHECKING:
    from seg_tui.app import SegTui

NOT_QUEUED = "the run was not queued: {}"
MOST_NOTICES = 5
"""More problems that belong to no field are counted: notices would cover the form."""


class LaunchForm(Vertical):
    """Fields, search, command and buttons; posts `RunQueued` when the run is in the queue."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lookups = Lookups(self)
        self._is_queueing = False

    @property
    def tui(self) -> SegTui:
        return cast("SegTui", self.app)

    @property
    def fields(self) -> ConfigForm:
        return self.query_one(ConfigForm)

    @property
    def tools(self) -> FormTools:
        return self.query_one(FormTools)

    @property
    def foot(self) -> FormFoot:
        return self.query_one(FormFoot)

    def compose(self) -> ComposeResult:
        yield FormTools()
        yield pane(ConfigForm(), "Config")
        yield pane(FormFoot(), "This run")

    async def begin(self, draft: Draft, card: Card, data: str) -> None:
        """Begin with a draft; `data` is the data folder of one that names none."""
        await self.fields.fill(draft, card, data)
        self.call_after_refresh(self.fields.rows()["data"].editor.focus)
        self._lookups.soon(self.fields, 0.0)

    # ------------------------------------------------------------------ what is said around the fields

    @on(ConfigForm.Judged)
    def _judged(self, message: ConfigForm.Judged) -> None:
        self.tools.count(self.fields)
        self.foot.tell_command(self._command(), self.fields.checked.problems.get("", ""))
        if message.typed:
            self._lookups.soon(self.fields)

    def _command(self) -> str:
        """The equal `seg-engine` line; "" while something is wrong."""
        fields, root = self.fields, self.tui.workspace.root
        if fields.checked.config is None:
            return ""
        elsewhere = "" if find_workspace().root == root else str(root)
        return command_line(fields.draft, fields.checked.config, fields.card, fields.first_card, elsewhere)

    @on(events.DescendantFocus)
    def _explain(self, event: events.DescendantFocus) -> None:
        if isinstance(row := event.widget.parent, FieldRow):
            self.foot.explain(row)

    @on(DataSeen)
    def _see_data(self, message: DataSeen) -> None:
        self.fields.see_data(message.folder, message.look)

    @on(RunEstimated)
    def _see_estimate(self, message: RunEstimated) -> None:
        if self._lookups.is_newest(message.config):
            self.foot.estimate(message.line)

    @on(Input.Changed, "#search")
    def _narrow(self) -> None:
        self.fields.show_only(self.tools.words, self.tools.only_changed)

    # ------------------------------------------------------------------ queueing

    @on(FormFoot.QueueWanted)
    def _pressed(self, message: FormFoot.QueueWanted) -> None:
        self.queue(message.first)

    def queue(self, first: bool) -> None:
        """Queue the run if all is right, `first` ahead of all that wait; else go to the first field that is
        not."""
        fields = self.fields
        wrong = fields.wrong_rows()
        if fields.checked.config is None or wrong:
            if wrong:
                self._reveal(wrong[0])
                wrong[0].editor.focus()
            self.notify("Nothing was queued: fix the marked fields.", severity="error", markup=False)
        elif not fields.draft.data:
            fields.refuse("data", "is not set; name the folder of the data set, or press ctrl+o")
        elif self._is_queueing:
            self.notify("It is being queued; the data is looked at first.", markup=False)
        else:
            self._is_queueing = True
            self._queue(fields.checked.config, fields.card, first, looker(fields.draft))

    def _reveal(self, row: FieldRow) -> None:
        """A search may hide the field to fix."""
        if not row.display:
            self.tools.clear()
            self.fields.show_only([], self.tools.only_changed)

    @work(thread=True, group="queue")
    def _queue(self, config: RunConfig, card: Card, first: bool, look: Look) -> None:
        from seg_tui.actions import words_of
        from seg_tui.messages import ActionEnded

        tui, seen = self.tui, look(config.data.root)
        if not seen.usable:
            if not self.post_message(RunRefused([seen.line], data=True)):
                tui.post_message(ActionEnded(NOT_QUEUED.format(seen.line), refused=True))
            return
        # Whoever has left the form meanwhile is told, too.
        try:
            cards = queue_run(tui.workspace, tui.store.get(make=True), config, card, first)
        except Exception as error:
            told = words_of(error)
            if not self.post_message(RunRefused(told.splitlines())):
                tui.post_message(ActionEnded(NOT_QUEUED.format(told), refused=True))
        else:
            if not self.post_message(RunQueued(cards)):
                tui.post_message(ActionEnded(f"queued as {cards[-1].id}", refused=False))
        tui.live.nudge()

    @on(RunRefused)
    def _tell_refusal(self, message: RunRefused) -> None:
        self._is_queueing = False
        if not self.display:  # somebody has gone back to the recipes
            self.tui.tell(NOT_QUEUED.format("\n".join(message.lines)), refused=True)
            return
        if message.data:
            self.fields.refuse("data", message.lines[0])
            return
        elsewhere = self.fields.refuse_lines(message.lines)
        told = elsewhere[:MOST_NOTICES]
        if len(elsewhere) > MOST_NOTICES:
            told.append(f"and {len(elsewhere) - MOST_NOTICES:,} more problems")
        for line in told:
            self.notify(line, severity="error", timeout=10, markup=False)

    # ------------------------------------------------------------------ keys

    def choose_folder(self) -> None:
        def chosen(folder: str | None) -> None:
            if folder is not None:
                self.fields.rows()["data"].editor.value = folder

        draft = self.fields.draft
        self.app.push_screen(FolderPicker(draft.data, looker(draft)), chosen)

    def search(self) -> None:
        self.tools.search()

    def toggle_changed(self) -> None:
        self.tools.only_changed = not self.tools.only_changed
        self._narrow()
        self.tools.count(self.fields)

    def restore(self) -> None:
        """Give the field that has the focus the value it had."""
        row = self.screen.focused.parent if self.screen.focused is not None else None
        if isinstance(row, FieldRow):
            self.fields.restore(row)
        else:
            self.notify("Go to the field that is to be reset.", severity="warning", markup=False)

    def copy(self) -> None:
        if line := self._command():
            self.app.copy_to_clipboard(line)
            self.notify("Command copied to the clipboard.", markup=False)
        else:
            self.notify("There is no command yet: fix the marked fields.", severity="error", markup=False)

    @on(Input.Submitted)
    def _go_on(self) -> None:
        self.focus_beside(1)

    def focus_beside(self, step: int) -> None:
        """The field above or below."""
        editors = [row.editor for row in self.fields.rows().values() if row.display]
        if not editors:
            return
        focused = self.screen.focused
        here = next((place for place, editor in enumerate(editors) if editor is focused), None)
        target = 0 if here is None else min(max(here + step, 0), len(editors) - 1)
        self.screen.set_focus(editors[target])  # at once: of keys that come fast none must be lost
