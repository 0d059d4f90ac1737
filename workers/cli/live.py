"""What is shown again and again: in place in a terminal, one below the other elsewhere."""

import os
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workers.cli.console import PIPE_COLUMNS, standard_output

if TYPE_CHECKING:
    from rich.console import RenderableType

POOR_TERMINALS = ("", "dumb", "unknown")


def is_rich_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal on which a line can be drawn again."""
    is_poor = os.environ.get("TERM", "") in POOR_TERMINALS
    return stream.isatty() and not is_poor


@contextmanager
def frames() -> Generator[Callable[["RenderableType"], None]]:
    """A function that shows one frame on standard output, in the place of the one before where that is a terminal."""
    from rich.console import Console
    from rich.live import Live

    if not is_rich_terminal(sys.stdout):
        console = Console(width=PIPE_COLUMNS)

        def write_below(frame: "RenderableType") -> None:
            with standard_output():
                console.print(frame)
                sys.stdout.flush()

        yield write_below
        return
    with Live(screen=True, auto_refresh=False) as live:
        yield lambda frame: live.update(frame, refresh=True)


def rounds(seconds: float, count: int) -> Iterator[int]:
    """Numbers from 1, one every `seconds`, until `count`; 0: for ever."""
    number = 0
    while True:
        number += 1
        yield number
        if number == count:
            return
        time.sleep(seconds)
