"""The keys that do something to runs, for every screen that shows some.

A screen says which runs are meant (`targets`); what is done is in `seg_tui.actions`, in threads of the app.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from engine.store import RunSummary
from engine.tasks import epochs_done
from engine.typed import typed
from seg_tui.on_top import WaitsForTop

if TYPE_CHECKING:
    from seg_tui.app import SegTui
    from seg_tui.messages import DraftKey

MOST_COMPARED = 12

WRITING = frozenset(
    {"new", "rerun", "stop", "resume", "delete", "tag", "note", "menu", "undo", "agent", "export", "folder"}
)
"""The actions that write anything, or open windows on the machine of the workspace."""


class Acting(WaitsForTop):
    """A screen whose keys act on runs."""

    @property
    def tui(self) -> SegTui:
        return cast("SegTui", self.app)

    def targets(self) -> Sequence[RunSummary]:
        """The runs that an action is for."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that change something are none in a dashboard for those who are only to look."""
        return not (self.tui.read_only and action in WRITING)

    def _ids(self) -> list[str]:
        ids = [run.id for run in self.targets()]
        if not ids:
            self.notify("No run is selected or marked.", severity="warning", markup=False)
        return ids

    def action_new(self) -> None:
        self.tui.go_to.launch()

    def _only_id(self, why_one: str) -> str:
        """The id of the run that is meant; "" after it was said that there is none, or why there can be but
        one."""
        ids = self._ids()
        if len(ids) > 1:
            self.notify(f"{why_one}: press u to unmark all.", severity="warning", markup=False)
            return ""
        return ids[0] if ids else ""

    def action_rerun(self) -> None:
        from engine.tasks import TASKS

        run_id = self._only_id("Rerun takes one run")
        run = self.tui.snapshot.runs.get(run_id)
        if run is not None and not TASKS[run.task].learns:
            self.notify(
                f"The form cannot make runs of the task {run.task}; use `{typed('rerun', run.id)}`.",
                severity="warning",
                markup=False,
            )
        elif run_id:
            self.tui.go_to.launch(like=run_id)

    def action_stop(self) -> None:
        from seg_tui import actions

        if ids := self._ids():
            self.tui.act(actions.stop, ids)

    def action_resume(self) -> None:
        from seg_tui import actions

        if ids := self._ids():
            self.tui.act(actions.resume, ids)

    def action_delete(self) -> None:
        """Ask, then delete; the only action that asks, as it cannot be undone. What other runs lose by it is
        part of the question."""
        from engine.requests.deleting import needed_by
        from engine.requests.refusals import Refused, refuse_active, refuse_protected
        from seg_tui import actions
        from seg_tui.screens.dialogs import Confirm

        runs = list(self.targets())
        ids = self._ids()
        if not ids:
            return
        try:
            refuse_protected(runs)
            refuse_active(runs)
        except Refused as refusal:
            self.tui.tell(str(refusal), refused=True)
            return

        def answered(sure: bool | None) -> None:
            if sure:
                self.tui.act(actions.delete, ids)

        what = "this run and its files" if len(runs) == 1 else f"these {len(runs)} runs and their files"
        lines = [_described(run) for run in runs[:10]]
        if len(runs) > 10:
            lines.append(f"… and {len(runs) - 10} more")

        def ask(needed: str) -> None:
            if self.is_active:
                self.app.push_screen(Confirm(f"Permanently delete {what}?", lines, needed), answered)

        self.tui.read_words(lambda store: needed_by(store, [store.run(run_id) for run_id in ids]), ask)

    def action_menu(self) -> None:
        """Everything that can be done to the runs, by name and letter."""
        from seg_tui.menu import choices_for, do
        from seg_tui.screens.dialogs import Menu

        runs = list(self.targets())
        if runs or self.has_archived or self._ids():
            choices = choices_for(runs, self.has_archived, self.shows_archived)
            self.app.push_screen(
                Menu(_all_of(runs) if runs else "no run", choices),
                lambda chosen: do(self, chosen, runs) if chosen else None,
            )

    @property
    def has_archived(self) -> bool:
        """Whether there are archived runs that this screen could list."""
        return False

    @property
    def shows_archived(self) -> bool:
        """Whether it lists them."""
        return False

    def action_toggle_archived(self) -> None:
        """List archived runs, too, or leave them out again, where a screen lists runs."""

    def action_undo(self) -> None:
        """Take back the last change of tags, note, name, experiment, archive or protection."""
        self.tui.undo()

    def ask_words(self, what: str, ids: Sequence[str], value: str = "", problem: str = "") -> None:
        """Ask for the words that a choice of the menu needs, and do it."""
        from seg_tui.commands import COMMANDS
        from seg_tui.menu import QUESTIONS

        question = QUESTIONS[what]
        runs = [run for run_id in ids if (run := self.tui.snapshot.runs.get(run_id))]
        draft: DraftKey = (what, tuple(ids))

        def keep(text: str) -> None:
            if what in COMMANDS:
                self.notify(f"seg-engine {what}: checking config and data…")
            self.tui.act(question.action, ids, *question.words(text), draft=draft)

        self._ask(draft, f"{question.title} {_all_of(runs)}", question.hint, value, keep, problem)

    def action_tag(self) -> None:
        if self._ids():
            self._ask_tags(list(self.targets()))

    def _ask_tags(self, runs: Sequence[RunSummary], problem: str = "") -> None:
        from seg_tui import changes

        ids = [run.id for run in runs]
        draft: DraftKey = ("tag", tuple(ids))
        if draft not in self.tui.drafts:
            shared = sorted(set.intersection(*(set(run.tags) for run in runs)))
            self.tui.tags_asked.update(dict.fromkeys(ids, shared))
        # What was typed before is a change of the tags that stood there then: others are not to go.
        before = self.tui.tags_asked[ids[0]]

        def keep(text: str) -> None:
            after = list(dict.fromkeys(text.replace(",", " ").split()))
            self.tui.act(changes.change_tags, ids, before, after, draft=draft)

        hint = "separated by spaces" + ("; tags that only some runs have are kept" if len(runs) > 1 else "")
        self._ask(draft, f"Tags of {_all_of(runs)}", hint, " ".join(before), keep, problem)

    def action_note(self) -> None:
        ids = self._ids()
        if ids and ("note", tuple(ids)) in self.tui.drafts:
            self._ask_note(ids, "")
        elif ids:
            self.tui.read_words(lambda store: store.run(ids[0]).note, lambda note: self._ask_about(ids, note))

    def _ask_about(self, ids: Sequence[str], note: str) -> None:
        """Ask for a note in the place of one that was read, unless something else is typed by now."""
        if self.is_active:
            self._ask_note(ids, note)

    def _ask_note(self, ids: Sequence[str], note: str, problem: str = "") -> None:
        from seg_tui import changes

        draft: DraftKey = ("note", tuple(ids))
        runs = [run for run_id in ids if (run := self.tui.snapshot.runs.get(run_id))]
        value = note if len(ids) == 1 else ""

        def keep(text: str) -> None:
            self.tui.act(changes.set_note, ids, text, draft=draft)

        self._ask(draft, f"Note on {_all_of(runs)}", "empty: remove it", value, keep, problem)

    def _ask(
        self, draft: DraftKey, title: str, hint: str, value: str, keep: Callable[[str], None], problem: str
    ) -> None:
        """Ask for words and keep them; what was typed before and could not be kept stands there again."""
        from seg_tui.screens.dialogs import Ask

        def answered(text: str | None) -> None:
            if text is not None:
                self.tui.drafts[draft] = text
                keep(text)
            elif not problem:  # who leaves a question that came by itself may not mean it
                self.tui.drafts.pop(draft, None)

        value = self.tui.drafts.get(draft, value)
        self.app.push_screen(Ask(title, hint, value, problem), answered)

    def give_back(self, draft: DraftKey, problem: str) -> None:
        """Show what was typed and could not be kept, to be sent again or changed, for those of the runs that
        are still there. For none it is told when the app ends."""
        what, ids = draft
        runs = [run for run_id in ids if (run := self.tui.snapshot.runs.get(run_id))]
        left = tuple(run.id for run in runs)
        if not left:
            self.tui.tell(problem, refused=True)
            return
        if left != ids and draft in self.tui.drafts:
            self.tui.drafts[what, left] = self.tui.drafts.pop(draft)
        if what == "note":
            self._ask_note(left, "", problem)
        elif what == "tag":
            self._ask_tags(runs, problem)
        else:
            self.ask_words(what, left, problem=problem)

    def action_agent(self) -> None:
        from seg_tui import actions

        self.tui.act(actions.start_agent)

    def action_compare(self) -> None:
        ids = [run.id for run in self.targets()]
        if len(ids) < 2:
            self.notify("Mark two or more runs with space, then compare.", severity="warning", markup=False)
        elif len(ids) > MOST_COMPARED:
            self._tell_too_many(len(ids))
        else:
            self.tui.go_to.comparison(ids)

    def _tell_too_many(self, count: int) -> None:
        line = f"{count} runs are marked; at most {MOST_COMPARED} can be seen side by side."
        self.notify(line, severity="warning", markup=False)

    def action_preview(self) -> None:
        ids = self._ids()
        if len(ids) > MOST_COMPARED:
            self._tell_too_many(len(ids))
        elif ids:
            self.tui.go_to.predictions(ids)

    def action_log(self) -> None:
        if run_id := self._only_id("The log is of one run"):
            self.tui.go_to.log(run_id)

    def action_folder(self) -> None:
        from seg_tui.actions import open_folder

        if run_id := self._only_id("The folder is of one run"):
            folder = self.tui.workspace.run_dir(run_id).path
            self.app.copy_to_clipboard(str(folder))
            if not os.path.isdir(folder):  # Path.is_dir raises where `runs/` is closed to this user
                what = "not on this machine; "
            else:
                what = "opened; " if open_folder(folder) else ""
            self.notify(f"{folder}\n{what}path copied to the clipboard", title="folder", markup=False)

    def action_copy_id(self) -> None:
        if ids := self._ids():
            self.app.copy_to_clipboard(" ".join(ids))
            self.notify(f"{' '.join(ids[:6])}{' …' if len(ids) > 6 else ''}", title="copied", markup=False)

    def action_settings(self) -> None:
        self.tui.go_to.settings()


def _described(run: RunSummary) -> str:
    best = f", best Dice {run.best_dice:.4f}" if run.best_dice is not None else ""
    return f"{run.id}  {run.name}  {run.status}, epoch {epochs_done(run)}{best}"


def _all_of(runs: Sequence[RunSummary]) -> str:
    return runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
