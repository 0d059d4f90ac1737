"""When a source is stale: its policy, and the verdict. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from corpus.source import FreshnessSpec


class FreshnessStatus(StrEnum):
    """Status of a source, in dbt's words; the worst is last."""

    PASS = "pass"  # nothing is older than it may be
    WARN = "warn"  # something is older than `warn_after`
    ERROR = (
        "error"  # something is older than `error_after`, or an expiry did not happen
    )
    RUNTIME_ERROR = (
        "runtime error"  # the check failed or did not run, so nothing is known
    )


_RANK = {status: rank for rank, status in enumerate(FreshnessStatus)}
_NEVER = float("inf")  # age of an event that never came
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60))


@dataclass(frozen=True, slots=True)
class Verdict:
    """A status with its reasons, for people."""

    status: FreshnessStatus
    reasons: tuple[str, ...] = ()

    def with_warning(self, reason: str) -> "Verdict":
        """The verdict WARN, or what it is where that is worse, for this reason as well."""
        status = worst([self.status, FreshnessStatus.WARN])
        return Verdict(status, (*self.reasons, reason))

    def with_error(self, reason: str) -> "Verdict":
        """The verdict ERROR, for this reason as well."""
        return Verdict(FreshnessStatus.ERROR, (*self.reasons, reason))


def worst(statuses: list[FreshnessStatus]) -> FreshnessStatus:
    """The worst of all; PASS where there is none."""
    return max(statuses, key=_RANK.__getitem__, default=FreshnessStatus.PASS)


def judge(
    spec: FreshnessSpec, *, newest_seconds: float | None, oldest_seconds: float | None
) -> Verdict:
    """Compare ages with the limits of a policy; an age that equals its limit passes.

    Args:
        spec: the source's policy.
        newest_seconds: age of the newest event; None: there was no event, which is older than any limit.
        oldest_seconds: age of the document that was not observed or verified for longest; None: there is no document.
    """
    ages = {"newest event": _NEVER if newest_seconds is None else newest_seconds}
    if oldest_seconds is not None:
        ages["oldest unverified document"] = oldest_seconds
    limits = {
        FreshnessStatus.ERROR: spec.error_after_seconds,
        FreshnessStatus.WARN: spec.warn_after_seconds,
    }
    for status, limit in limits.items():
        reasons = _reasons(ages, status, limit)
        if reasons:
            return Verdict(status, reasons)
    return Verdict(FreshnessStatus.PASS)


def _reasons(
    ages: dict[str, float], status: FreshnessStatus, limit: int | None
) -> tuple[str, ...]:
    """One reason per age above the limit; none where there is no limit."""
    if limit is None:
        return ()
    rule = f"{status} after {format_duration(limit)}"
    reasons: list[str] = []
    for name, age in ages.items():
        if age > limit:
            reasons.append(f"{name} is {_format_age(age)}, {rule}")
    return tuple(reasons)


def expiry_rule(spec: FreshnessSpec) -> str:
    """The rule as it is shown to people and stored in the ledger."""
    if spec.expire_after_seconds is None:
        return "expires_at"
    return f"expires_at or expire_after={format_duration(spec.expire_after_seconds)}"


def format_duration(seconds: int) -> str:
    """`30d`, `12h`, `5m` or `90s`: in the largest unit that divides it."""
    for unit, size in _UNITS:
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _format_age(seconds: float) -> str:
    if seconds == _NEVER:
        return "not there"
    for unit, size in _UNITS:
        in_units = seconds / size
        if in_units >= 2:
            return f"{in_units:.1f}{unit} old"
    return f"{seconds:.1f}s old"
