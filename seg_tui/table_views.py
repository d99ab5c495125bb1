"""The view of the dashboard's table: which columns, filter, order and groups it has, kept under a name and
taken up again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from engine.requests.views import (
    DEFAULT,
    NO_HOME,
    SORTED_BY,
    View,
    ViewError,
    check_columns,
    folders,
    named_views,
    read_view,
    save_view,
)
from engine.run.files import with_tilde
from engine.store import StoreError
from engine.typed import typed
from seg_tui.run_list import RunList
from seg_tui.run_order import GROUPINGS, Order
from seg_tui.widgets.columns import BY_KEY, names_besides

if TYPE_CHECKING:
    from seg_tui.app import SegTui
    from seg_tui.screens.dashboard import Dashboard

_COLUMN_OF = {name: column for column, name in SORTED_BY.items()}
_TURNED = ("age",)
"""Columns that sort the other way round than the field that they show."""


class TableViews:
    """Takes views up and keeps them for the dashboard. `name` is that of the view that is shown, or ""."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._columns: tuple[str, ...] = ()
        self.name = ""

    @property
    def _tui(self) -> SegTui:
        return cast("SegTui", self._dashboard.app)

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of the view, else those that the settings have."""
        return tuple(dict.fromkeys(self._columns or self._tui.settings.columns))

    def open(self) -> None:
        """Show the view that is called `default`, where there is one."""
        if DEFAULT in (known := named_views(self._tui.workspace)):
            self._take(DEFAULT, str(known[DEFAULT]))

    def obey(self) -> None:
        """Show the columns that there are to be, and have their values read."""
        self._dashboard.table.choose_columns(self.columns)
        self._read_values()

    def _read_values(self) -> None:
        self._tui.live.want(names_besides([*self.columns, self._dashboard.table.runs.order.column]))

    # ------------------------------------------------------------------ columns

    def ask_columns(self, typed: str = "", problem: str = "") -> None:
        from seg_tui.screens.dialogs import Ask

        hint = (
            f"Any of {' '.join(BY_KEY)}; config keys such as optimizer.lr; tags seed duration created note; "
            "what was measured: dice.CLASS evaluate.dice ood.auroc robustness.fog boundary_iou. Empty: all."
        )
        ask = Ask("Columns, separated by blanks", hint, typed or " ".join(self.columns), problem)
        self._dashboard.app.push_screen(ask, self._choose)

    def _choose(self, typed: str | None) -> None:
        if typed is None:
            return
        columns = tuple(dict.fromkeys(typed.replace(",", " ").split())) or tuple(BY_KEY)
        try:
            check_columns(names_besides(columns))
        except StoreError as error:
            self.ask_columns(typed, str(error))
            return
        if self._columns:
            self._columns = columns
            self.obey()
        else:
            self._tui.change_settings(columns=columns)
        self._dashboard.call_after_refresh(self._tell_left_out)

    def _tell_left_out(self) -> None:
        """Columns that somebody has named are not left out without a word."""
        left_out, pane = self._dashboard.table.columns.left_out, self._dashboard.query_one("#pane")
        if left_out and self.columns != tuple(BY_KEY):
            more = "; V hides the side pane" if pane.display and not pane.has_class("below") else ""
            self._tui.tell(f"no room here for {', '.join(left_out)}{more}")

    # ------------------------------------------------------------------ views

    def ask_view(self) -> None:
        """Choose a view, or keep the one that is shown."""
        from seg_tui.screens.dialogs import Menu

        known = named_views(self._tui.workspace)
        choices = [
            (str(place) if place < 10 else "", f"take:{name}", f"{name}  {_told(str(path))}")
            for place, (name, path) in enumerate(known.items(), 1)
        ]
        own, shared = folders(self._tui.workspace)
        if not self._tui.read_only:
            where = f", in {with_tilde(own)}" if own else f": {NO_HOME}"
            choices += [
                ("s", "own", f"save this view for yourself{where}"),
                ("w", "shared", f"save it for all who use the workspace, in {with_tilde(shared)}"),
            ]
        choices.append(("u", "usual", "the usual view again"))

        def act(choice: str | None) -> None:
            if choice is None:
                return
            if choice.startswith("take:"):
                name = choice.removeprefix("take:")
                self._take(name, str(known[name]))
                self._dashboard.call_after_refresh(self._tell_left_out)
            elif choice == "usual":
                self._show("", View())
            elif (folder := own if choice == "own" else shared) is None:
                self._tui.tell(f"the view is not saved: {NO_HOME}", refused=True)
            else:
                self._ask_name(folder)

        self._dashboard.app.push_screen(Menu("Views of the table", choices), act)

    def _take(self, name: str, path: str) -> None:
        try:
            self._show(name, read_view(Path(path)))
        except ViewError as error:
            self._tui.tell(str(error), refused=True)

    def _show(self, name: str, view: View) -> None:
        self.name, self._columns = name, view.columns
        grouping = next(known for known in GROUPINGS if known == view.group)
        order = _order_of(view.sort) if view.sort else Order()
        order = order.with_active(self._tui.settings.active_first)

        def change(runs: RunList) -> None:
            runs.order_by(order)
            runs.group_by(grouping)

        self.obey()
        self._dashboard.table.change(change)
        self._read_values()
        self._dashboard.filter.put(view.filter)

    def _ask_name(self, folder: Path, text: str = "", problem: str = "") -> None:
        from seg_tui.screens.dialogs import Ask

        def save(name: str | None) -> None:
            if not name:
                return
            try:
                path = save_view(folder, name.strip(), self._shown())
            except ViewError as error:
                self._ask_name(folder, name, str(error))
                return
            self.name = path.stem
            self._tui.tell(
                f"saved as {with_tilde(path)}; `{typed('runs', '--view', path.stem)}` shows it, too"
            )

        hint = (
            "Columns, filter, order and grouping are saved. The view called `default` is shown at the start."
        )
        self._dashboard.app.push_screen(Ask("Name of the view", hint, text or self.name, problem), save)

    def _shown(self) -> View:
        """What the table shows now, as a view."""
        runs = self._dashboard.table.runs
        columns = () if self.columns == tuple(BY_KEY) else self.columns
        order = runs.order
        falling = order.falling != (order.column in _TURNED)
        field = SORTED_BY.get(order.column, order.column)
        # A column may be called like the field of another one.
        sort = ("-" if falling else "") + (order.column if field in BY_KEY else field)
        usual = replace(order, active_first=True) == Order()
        return View(columns, self._dashboard.filter.query_text, "" if usual else sort, runs.grouping)


def _order_of(sort: str) -> Order:
    from engine.store.filters import ALIASES  # imports SQLAlchemy

    name = ALIASES.get(sort.removeprefix("-"), sort.removeprefix("-"))
    column = name if name in BY_KEY else _COLUMN_OF.get(name, name)
    return Order(column, sort.startswith("-") != (column in _TURNED))


def _told(path: str) -> str:
    try:
        return read_view(Path(path)).told()
    except ViewError as error:
        return str(error)
