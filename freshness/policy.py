"""When a source is stale: its policy, and the verdict. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from corpus.source import FreshnessSpec


class FreshnessStatus(StrEnum):
    """dbt's words. Worst last."""

    PASS = "pass"  # nothing is older than it may be
    WARN = "warn"  # older than `warn_after`
    ERROR = "error"  # older than `error_after`, or an expiry was refused
    RUNTIME_ERROR = "runtime error"  # the check itself failed, or did not run: nothing is known


_RANK = {status: rank for rank, status in enumerate(FreshnessStatus)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A status with its reasons, for people."""

    status: FreshnessStatus
    reasons: tuple[str, ...] = ()


def worst(statuses: list[FreshnessStatus]) -> FreshnessStatus:
    """The worst of all; PASS of none."""
    return max(statuses, key=_RANK.__getitem__, default=FreshnessStatus.PASS)


def judge(
    spec: FreshnessSpec, *, newest_seconds: float | None, oldest_seconds: float | None
) -> Verdict:
    """Judge ages.

    Args:
        spec: the source's policy.
        newest_seconds: age of the newest event; None: there never was one, which is older than anything.
        oldest_seconds: age of the document that was not observed or verified for longest; None: there is no document.
    """
    ages = [("newest event", float("inf") if newest_seconds is None else newest_seconds)]
    if oldest_seconds is not None:
        ages.append(("oldest unverified document", oldest_seconds))
    for status, limit in (
        (FreshnessStatus.ERROR, spec.error_after_seconds),
        (FreshnessStatus.WARN, spec.warn_after_seconds),
    ):
        if limit is None:
            continue
        reasons = tuple(
            f"{what} is {_age(age)}, {status} after {words(limit)}"
            for what, age in ages
            if age > limit
        )
        if reasons:
            return Verdict(status, reasons)
    return Verdict(FreshnessStatus.PASS)


def may_expire(spec: FreshnessSpec, *, overdue: int, documents: int) -> bool:
    """Whether a check may withdraw so many by itself; above the ratio a person is asked (promise 12)."""
    return overdue <= documents * spec.max_expiry_ratio


def expiry_rule(spec: FreshnessSpec) -> str:
    """The rule as people and the ledger see it."""
    if spec.expire_after_seconds is None:
        return "expires_at"
    return f"expires_at or expire_after={words(spec.expire_after_seconds)}"


def words(seconds: int) -> str:
    """`30d`, `12h`, `5m`, `90s`: the largest unit that divides it."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _age(seconds: float) -> str:
    if seconds == float("inf"):
        return "not there"
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f}{unit} old"
    return f"{seconds:.1f}s old"
