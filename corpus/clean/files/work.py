"""The work on one file, in a process with limits. A worker imports this module, and none of the libraries."""

from dataclasses import dataclass
from typing import Any

from corpus.clean.blocks import CleaningFailure
from corpus.clean.files.limits import FileLimits
from corpus.limits.messages import Boxed

# The module that has the libraries; the program of the processes imports it before it confines them.
READER = "corpus.clean.files.reader"


@dataclass(frozen=True, slots=True)
class FileWork:
    """What is done to a file."""

    content: bytes
    stated: str | None
    """Media type that it was sent as."""
    limits: FileLimits
    step: Boxed
    """What follows."""

    @property
    def results(self) -> tuple[type[Any], ...]:
        """Those of the step; and why there is none."""
        return (*self.step.value.results, CleaningFailure)

    @property
    def characters(self) -> int:
        """Length of the file in bytes."""
        return len(self.content)

    def __call__(self) -> Any:
        """What the step makes of the file."""
        from corpus.clean.files.reader import read_file  # heavy; see READER

        document = read_file(self.content, self.stated, self.limits)
        if isinstance(document, CleaningFailure):
            return document
        return self.step.value(document)
