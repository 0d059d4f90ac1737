"""Which overdue documents may be withdrawn without asking a person (promise 12). Pure; workflows may import it.

A document's own end (`expires_at`) is an instruction and always carried out. The source's age (`expire_after`) is a
guess that a document which nobody sent again is gone; it is believed only while the source itself is well.
"""

from dataclasses import dataclass

from corpus.source import FreshnessSpec, SourceStatus

# A source of which older records are not published yet is behind: they may name documents that are overdue.
MAX_LAG_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """What a check judges (SQL function `freshet.overdue`, and the source's row)."""

    documents: int  # visible
    ended: int  # of them, past their own end
    aged: int  # of them, past the source's age, and not waiting to be published again
    gone: int = 0  # of the aged, whose origin said that they are gone
    withdrawn: int = 0  # by age, within one age before, and not come back
    arrived: int = 0  # documents that are new since the first of these was withdrawn
    state: str = SourceStatus.ACTIVE
    newest_seconds: float | None = None
    """Age of the newest event; None: unknown."""
    behind: str = ""
    """Where records older than `MAX_LAG_SECONDS` wait to be published; empty: nowhere, or nobody has looked."""

    def refusal(self, policy: FreshnessSpec) -> str | None:
        """Why documents that are past the source's age are not withdrawn; None: they may be.

        With `max_expiry_ratio = 1` a person has said that whatever is overdue may go, also while nothing arrives.
        """
        if not self.aged:
            return None
        stopped = self._stopped(policy)
        is_guess = self.aged > self.gone and policy.max_expiry_ratio < 1
        if stopped is not None or not is_guess:
            return stopped
        return self._silence(policy)

    def takes_gone(self, policy: FreshnessSpec) -> bool:
        """Whether what is gone by its origin is withdrawn, which is no guess about a silent source."""
        return self.gone > 0 and self._stopped(policy) is None

    def _stopped(self, policy: FreshnessSpec) -> str | None:
        """Why nothing that is past the source's age is withdrawn."""
        if self.state != SourceStatus.ACTIVE:
            return f"the source is {self.state}"
        if self.behind:
            return f"the source is behind: {self.behind}"
        if policy.max_expiry_ratio >= 1:
            return None
        return self._excess(policy)

    def _excess(self, policy: FreshnessSpec) -> str | None:
        """Judged over one age of the source, so that many small steps are one large one."""
        lost = self.withdrawn + self.aged - self.arrived
        before = self.documents - self.ended + self.withdrawn - self.arrived
        if lost <= policy.max_expiry_ratio * before:
            return None
        ratio = f"max_expiry_ratio {policy.max_expiry_ratio:g}"
        window = ""
        if self.withdrawn:
            window = f" together with {self.withdrawn} withdrawn and {self.arrived} arrived within one expire_after"
        return (
            f"more than {ratio} allows{window}; "
            "raise the ratio to expire them, or repair the source"
        )

    def _silence(self, policy: FreshnessSpec) -> str | None:
        """A source that stopped sending says nothing about its documents."""
        limit = (policy.expire_after_seconds or 0) / 2
        if policy.error_after_seconds is not None:
            limit = min(limit, policy.error_after_seconds)
        newest = self.newest_seconds
        if newest is None or newest <= limit:
            return None
        return (
            f"the source is silent: its newest event is {newest:.0f}s old, more than {limit:.0f}s; "
            "repair the source, or set max_expiry_ratio = 1 to expire them"
        )
