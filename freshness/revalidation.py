"""What came of asking origins for documents that age would withdraw. Pure; workflows import it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

_MAX_REASONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Revalidation:
    """What origins said in one check, in numbers of documents."""

    asked: int = 0
    renewed: int = 0  # unchanged: seen now, for one request
    changed: int = 0  # their records are read again by a backfill
    to_read: int = 0  # documents that changed, by this check or before, and are still the old ones here
    gone: int = 0  # withdrawn as due
    unanswered: int = 0  # nothing changes; the next check asks again
    lost: int = 0  # changed, and the change cannot be read; withdrawn as due
    left: int = 0  # a transaction worked on them; the next check asks again
    unaskable: int = 0  # overdue, and their address is not kept: it may hold a secret
    kept: int = 0  # that stay, past the source's age: neither renewed nor gone
    problem: str = ""  # why documents could not be asked for; hosts, never addresses

    def failed(self, reason: str) -> "Revalidation":
        """The same, with one more problem."""
        problems = filter(None, (self.problem, reason))
        return replace(self, problem="; ".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAgain:
    """Result of ordering that records are read again."""

    backfills: tuple[int, ...] = ()  # that read them, and have not ended
    waits_for: str = ""  # why none was ordered; empty: nothing waits


def counted(
    asked: Revalidation | None, unaskable: int, kept: int
) -> Revalidation | None:
    """What is reported; None where nothing was to be asked for.

    Args:
        asked: what origins said; None: nobody was asked.
        unaskable: documents whose address is not kept.
        kept: documents that stay, past the source's age.
    """
    if asked is None and not unaskable:
        return None
    return replace(asked or Revalidation(), unaskable=unaskable, kept=kept)


def problem_of(unanswered: int, reasons: Iterable[str]) -> str:
    """Why documents could not be asked for, for people.

    Args:
        unanswered: how many.
        reasons: of them, the most frequent one first, without addresses.
    """
    if not unanswered:
        return ""
    first = list(reasons)[:_MAX_REASONS]
    return f"{unanswered} documents are overdue and could not be asked for at their origin: {'; '.join(first)}"
