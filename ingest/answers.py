"""Answers to many questions at once, where one that is refused keeps none of the others."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from corpus.errors import DependencyError

Key = TypeVar("Key")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Answers(Generic[Key, Answer]):
    """What a cluster answered about each topic or partition."""

    answers: dict[Key, Answer] = field(default_factory=dict[Key, Answer])
    unknown: set[Key] = field(default_factory=set[Key])  # the cluster does not have it
    refusals: dict[Key, str] = field(default_factory=dict[Key, str])  # and why

    def complete(self) -> dict[Key, Answer]:
        """The answers, where none was refused.

        Raises:
            DependencyError: one was refused.
        """
        for reason in self.refusals.values():
            raise DependencyError(reason)
        return self.answers

    def unless_all_refused(self) -> "Answers[Key, Answer]":
        """These answers.

        Raises:
            DependencyError: every question was refused: it is the cluster that does not answer.
        """
        if not self.answers and not self.unknown:
            self.complete()
        return self
