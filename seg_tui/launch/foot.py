"""What stands below the form's fields: help on the field, an estimate, the command, two buttons."""

from __future__ import annotations

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Button

from seg_tui.widgets.clipped import Clipped
from seg_tui.widgets.field_row import FieldRow


class FormFoot(Vertical):
    """Says what is known of the run; the buttons queue it."""

    DEFAULT_CSS = """
    FormFoot {
        height: auto; padding: 0 1; background: $surface;
        #help { min-height: 2; }
        #estimate, #command { color: $text-muted; }
        #buttons { height: 1; }
        #buttons Button { margin-right: 2; }
    }
    """

    class QueueWanted(Message):
        """A button was pressed; `first` when the run is to go ahead of all that wait."""

        def __init__(self, first: bool) -> None:
            super().__init__()
            self.first = first

    def __init__(self) -> None:
        super().__init__(id="foot")

    def compose(self) -> ComposeResult:
        yield Clipped(3, id="help")
        yield Clipped(2, id="estimate")
        yield Clipped(3, "… ctrl+y copies all of it", id="command")
        with Horizontal(id="buttons"):
            yield Button("Start now", variant="primary", id="start", compact=True)
            yield Button("Queue", id="queue", compact=True)

    @on(Button.Pressed)
    def _press(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.QueueWanted(event.button.id == "start"))

    def explain(self, row: FieldRow) -> None:
        self.query_one("#help", Clipped).say(Text(f"{row.key}  ", "bold").append(row.help, "not bold"))

    def estimate(self, line: str) -> None:
        self.query_one("#estimate", Clipped).say(line)

    def tell_command(self, command: str, problem: str) -> None:
        """Show the command; without one ("") the problem, or that something has to be fixed first."""
        text = Text()
        if problem:
            text.append(problem, self.app.theme_variables.get("text-error", "red"))
        elif command:
            text.append("$ ", "dim").append(command)
        else:
            text.append("the command appears once all fields are valid")
        self.query_one("#command", Clipped).say(text)
