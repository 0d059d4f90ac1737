"""One line that says how far a command is: it changes in a terminal, and is repeated every ten seconds elsewhere."""

import sys
import time
from typing import TYPE_CHECKING, Self

from workers.cli.console import text_of, write_message
from workers.cli.live import is_rich_terminal
from workers.shown import one_line

if TYPE_CHECKING:
    from rich.table import Table

PLAIN_SECONDS = 10.0  # between two lines where there is no terminal
_FRAMES_PER_SECOND = 8


class ProgressLine:
    """A line that is shown while the context is open; this one shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, text: str) -> None:
        """The current state, to be called as often as it changes."""


def progress_line(*, silent: bool = False) -> ProgressLine:
    """The line that suits standard error; `silent` shows nothing, for a command whose output a program reads."""
    if silent:
        return ProgressLine()
    if is_rich_terminal(sys.stderr):
        return TerminalLine()
    return PlainLine()


class PlainLine(ProgressLine):
    """A line every ten seconds, for logs and pipes. A command that ends before that writes none."""

    def __init__(self, seconds: float = PLAIN_SECONDS) -> None:
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def show(self, text: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._seconds
            write_message(one_line(text))


class TerminalLine(ProgressLine):
    """One line that is drawn again in place, cut to the width of the terminal, and removed at the end."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        self._spinner = Spinner("dots")
        self._live = Live(
            self._line(""),
            console=Console(stderr=True),
            refresh_per_second=_FRAMES_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, text: str) -> None:
        self._live.update(self._line(text))

    def _line(self, text: str) -> "Table":
        from rich.table import Table

        line = Table.grid(padding=(0, 1))
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True, overflow="ellipsis")
        shown = text_of(text)
        shown.no_wrap = True
        shown.overflow = "ellipsis"
        line.add_row(self._spinner, shown)
        return line
