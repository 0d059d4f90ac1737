"""How sources stand by their newest audits: for metrics, `freshet doctor` and `freshet source show`."""

from dataclasses import dataclass

from psycopg.rows import class_row

from corpus.audit.audit import OVERDUE_INTERVALS
from corpus.database import Connection, fetch_all


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A source by its newest audit with a result (query `audit_standing`)."""

    source: str
    audit: int | None  # None: there was none
    finished_at: float  # epoch seconds; 0: never
    findings: dict[str, int]  # kind -> how many; those that nobody has repaired
    is_repaired: bool
    is_overdue: bool  # by the source's interval

    @property
    def problem(self) -> str:
        """What a person should know; empty: all is well."""
        found = ", ".join(f"{n:,} {kind}" for kind, n in sorted(self.findings.items()))
        if found:
            return f"audit {self.audit} of {self.source} found {found}"
        if self.is_overdue:
            return f"the audit of {self.source} is overdue"
        return ""

    def __str__(self) -> str:
        if self.audit is None:
            return "never"
        if self.is_repaired:
            return f"audit {self.audit}: repaired"
        return self.problem or f"audit {self.audit}: clean"


def standings(connection: Connection, source: str | None = None) -> list[Standing]:
    """Every source that is in use, or one."""
    values = {"source": source, "intervals": OVERDUE_INTERVALS}
    return fetch_all(connection, class_row(Standing), "audit_standing", values)
