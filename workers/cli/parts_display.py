"""The parts of the stack while they start: a table in a terminal, a line per change elsewhere."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from workers.cli.console import text_of, write_message
from workers.shown import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from compose.local.parts.part import PartStatus


class PartLines:
    """A line per change, for logs and pipes."""

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._last: dict[str, str] = {}
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, part: "PartStatus") -> None:
        """A part changed."""
        text = describe_part(part)
        if self._last.get(part.name) != text:
            self._last[part.name] = text
            write_message(
                f"{time.monotonic() - self._began:6.1f} s  {part.name:<13} {text}"
            )


class PartTable:
    """A table that is drawn again in place, for a terminal."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.live import Live

        self._parts: dict[str, PartStatus] = {}
        self._live = Live(
            self._table(), console=Console(stderr=True), refresh_per_second=8
        )
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.update(self._table())
        self._live.stop()

    def show(self, part: "PartStatus") -> None:
        """A part changed."""
        self._parts[part.name] = part
        self._live.update(self._table())

    def _table(self) -> "Table":
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for name in self._names:
            part = self._parts.get(name)
            if part is None:
                waiting = text_of("waiting", "dim")
                table.add_row(text_of("·"), text_of(name), waiting)
            else:
                style = "" if part.state.usable else "yellow"
                sign = _sign(part)
                description = text_of(describe_part(part), style)
                table.add_row(sign, text_of(name), description)
        return table


def part_display(names: Sequence[str]) -> PartLines | PartTable:
    """The display that suits standard error."""
    if sys.stderr.isatty():
        return PartTable(names)
    return PartLines()


def _sign(part: "PartStatus") -> "RenderableType":
    from rich.spinner import Spinner

    if part.state.usable:
        return text_of("✔", "green")
    if part.error:
        return text_of("✘", "red")
    return Spinner("dots")


def describe_part(part: "PartStatus") -> str:
    """State, address and version of a usable part; what another one does, or why it failed."""
    if not part.state.usable:
        return _joined(part.note or str(part.state), part.error)
    seconds = ""
    if part.took_seconds is not None:
        seconds = f"({part.took_seconds:.1f} s)"
    return _joined(str(part.state), part.address, part.version, part.note, seconds)


def _joined(*texts: str | None) -> str:
    return "  ".join(one_line(text) for text in texts if text)
