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
    refused: int = 0  # of the unanswered: by the source's own rules, or by their origin, so that a person has to act
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


def problem_of(
    unanswered: int,
    reasons: Iterable[str],
    refused: int = 0,
    refusals: Iterable[str] = (),
) -> str:
    """Why documents could not be asked for, for people.

    Args:
        unanswered: how many.
        reasons: of those that may be answered later, the most frequent one first, without addresses.
        refused: how many of the unanswered are refused, which does not pass by itself.
        refusals: why, likewise.
    """
    problems: list[str] = []
    waiting = unanswered - refused
    if waiting:
        problems.append(
            f"{waiting} documents are overdue and could not be asked for at their origin: {_first(reasons)}"
        )
    if refused:
        problems.append(
            f"{refused} documents are overdue and are refused when they are asked for, so that they stay as they are: "
            f"{_first(refusals)}; allow it ([source.NAME.fetch], or the login at the origin), delete them, or set "
            "fetch.revalidate = false to let age withdraw them"
        )
    return "; ".join(problems)


def _first(reasons: Iterable[str]) -> str:
    return "; ".join(list(reasons)[:_MAX_REASONS])
