"""Work on one document, and what may end it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

Result_co = TypeVar("Result_co", covariant=True)


class Work(Protocol[Result_co]):
    """What is done to one document: a dataclass of plain values in a module, which another process imports."""

    @property
    def results(self) -> tuple[type[Any], ...]:
        """The types that its result may have; each is a dataclass of plain values, or a plain value."""
        ...

    @property
    def characters(self) -> int:
        """Length of the document."""
        ...

    def __call__(self) -> Result_co: ...


class Limit(StrEnum):
    """What ended the work on a document."""

    TIME = "time"
    MEMORY = "memory"
    PROCESS = "process"  # it died, and died again with the same document alone
    ERROR = "error"  # the code raised an error


@dataclass(frozen=True, slots=True)
class Overrun:
    """Why the work on a document has no result."""

    limit: Limit
    detail: str
