"""A database that answers named queries from a script, for code that must be tested without a server."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from corpus.sql import queries

Script = dict[str, Any]


class FakeResult:
    """What a statement returned."""

    def __init__(self, rows: list[Any], rowcount: int) -> None:
        self.rows = rows
        self.rowcount = rowcount

    def fetchall(self) -> list[Any]:
        return self.rows

    def fetchone(self) -> Any:
        return self.rows[0] if self.rows else None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)


class FakeConnection:
    """Answers each query by its name.

    An answer is a list of rows, a number (of rows changed), an exception to raise, a function of the arguments that
    returns one of these, or a deque of answers, one for each time that the query is executed.
    """

    def __init__(self, **answers: Any) -> None:
        self.answers: Script = answers
        self.executed: list[tuple[str, Any]] = []
        self._names = {text: name for name, text in queries().items()}

    def arguments_of(self, name: str) -> list[Any]:
        """The arguments of every execution of this query."""
        return [arguments for executed, arguments in self.executed if executed == name]

    def execute(self, text: str, arguments: Any = None) -> FakeResult:
        name = self._names[text]
        self.executed.append((name, arguments))
        answer = self.answers.get(name, [])
        if isinstance(answer, deque):
            answer = answer.popleft() if answer else []
        if isinstance(answer, Callable):
            answer = answer(arguments)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return FakeResult([], answer)
        return FakeResult(answer, len(answer))

    def cursor(self, **_: Any) -> "FakeConnection":
        return self

    def __enter__(self) -> "FakeConnection":
        """As a cursor."""
        return self

    def __exit__(self, *_: object) -> None: ...

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def connection(self, timeout: float) -> contextlib.AbstractContextManager["FakeConnection"]:
        """As a pool."""
        return contextlib.nullcontext(self)
