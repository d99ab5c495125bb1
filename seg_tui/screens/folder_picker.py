"""Choosing the folder of a data set, with a look at what is in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import DirectoryTree
from textual.widgets._directory_tree import DirEntry
from textual.widgets.tree import TreeNode

from engine.run.files import expanded, with_tilde
from seg_tui.launch.queueing import DataLook, Look
from seg_tui.widgets.clipped import Clipped
from seg_tui.widgets.panes import box


class FolderTree(DirectoryTree):
    """Folders only; hidden ones are left out."""

    ICON_NODE = "▸ "
    ICON_NODE_EXPANDED = "▾ "
    auto_expand = False

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        return [path for path in paths if not path.name.startswith(".") and _is_folder(path)]


class FolderSuggester(Suggester):
    """Completes a path with the first folder that begins so."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        import asyncio

        return await asyncio.to_thread(complete_folder, value)


class FolderSeen(Message):
    """What the folder under the cursor has."""

    def __init__(self, folder: Path, look: DataLook) -> None:
        super().__init__()
        self.folder, self.look = folder, look

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, FolderSeen)


class FolderPicker(ModalScreen[str | None]):
    """The folder that was chosen; None when it was left with escape."""

    DEFAULT_CSS = """
    FolderPicker {
        align: center middle;
        & > Vertical {
            width: 84; max-width: 96%; height: 90%;
        }
        & FolderTree { height: 1fr; background: $surface; padding: 0; margin-bottom: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "back"),
        Binding("enter", "choose", "choose", priority=True),
        Binding("right", "unfold", "unfold", priority=True),
        Binding("left", "fold", "fold, or up", priority=True),
    ]

    def __init__(self, start: str, look: Look) -> None:
        super().__init__()
        self._start = nearest_folder(start)
        self._look = look

    def compose(self) -> ComposeResult:
        keys = "enter: choose · → expand, ← collapse or go up · escape: cancel"
        with box(Vertical(), "Folder of the data set", keys):
            yield FolderTree(self._start)
            yield Clipped(5, id="seen")

    @property
    def folders(self) -> FolderTree:
        return self.query_one(FolderTree)

    def _node(self) -> TreeNode[DirEntry] | None:
        return self.folders.cursor_node

    @on(DirectoryTree.NodeHighlighted)
    def look(self, event: DirectoryTree.NodeHighlighted[DirEntry]) -> None:
        if event.node.data is not None:
            self.query_one("#seen", Clipped).say(f"{with_tilde(event.node.data.path)}\n…")
            self._look_at(event.node.data.path)

    @work(thread=True, exclusive=True, group="look")
    def _look_at(self, folder: Path) -> None:
        self.post_message(FolderSeen(folder, self._look(str(folder))))

    @on(FolderSeen)
    def tell(self, message: FolderSeen) -> None:
        node = self._node()
        if node is not None and node.data is not None and node.data.path == message.folder:
            words = message.look.line.removeprefix(f"{message.folder}: ")
            self.query_one("#seen", Clipped).say(f"{with_tilde(message.folder)}\n{words}")

    def action_choose(self) -> None:
        node = self._node()
        if node is not None and node.data is not None:
            self.dismiss(str(node.data.path))

    def action_unfold(self) -> None:
        node = self._node()
        if node is not None:
            node.expand()

    def action_fold(self) -> None:
        """Fold; what is folded goes up; the top of the tree becomes the folder above it."""
        node = self._node()
        if node is None:
            return
        if node.is_expanded and node.parent is not None:
            node.collapse()
        elif node.parent is not None:
            self.folders.move_cursor(node.parent)
        else:
            self.folders.path = Path(self.folders.path).parent


def nearest_folder(text: str) -> Path:
    """The folder that a text names, or the nearest one above it that is there."""
    path = Path(text.strip() or ".")
    with contextlib.suppress(OSError):  # of no such user: it is looked for as it stands
        path = expanded(path)
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if _is_folder(folder))


def complete_folder(text: str) -> str | None:
    """The text, completed to the first folder that begins so; None when there is none."""
    if not text.strip():
        return None
    parent, slash, begin = text.rpartition("/")
    try:
        folder = expanded(Path(parent + slash)) if slash else Path(".")
        names = sorted(
            path.name
            for path in folder.iterdir()
            if path.name.startswith(begin) and (begin or not path.name.startswith(".")) and path.is_dir()
        )
    except OSError:
        return None
    return f"{parent}{slash}{names[0]}" if names else None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
