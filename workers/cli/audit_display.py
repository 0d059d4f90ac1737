"""What `freshet audit` shows of an audit, and how it carries a repair out."""

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from workers.cli.console import (
    CommandError,
    ExitCode,
    check_exit_code,
    one_line,
    write,
    write_json,
    write_message,
    write_table,
)

if TYPE_CHECKING:
    from corpus.audit.store import AuditSummary
    from ingest.audit.repair import Repaired
    from ingest.audit.repair_plan import RepairPlan
    from workers.config.settings import Settings

_FINDINGS = ("kind", "document", "what", "expected", "actual", "state")
_SHOWN = 20  # findings that a run lists


def summary_of(settings: "Settings", number: int) -> "AuditSummary":
    """An audit by its number."""
    from corpus.audit import store
    from corpus.database import connect, database_errors_translated

    with connect(settings.database_url) as connection, database_errors_translated():
        rows = store.audits(connection, audit=number, limit=1)
    if not rows:
        raise CommandError(
            f"there is no audit {number}; `freshet audit list` lists them"
        )
    return rows[0]


# ── repairing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def repair_findings(
    settings: "Settings", number: int, *, dry_run: bool, yes: bool, as_json: bool
) -> int:
    """Show the plan, ask, and carry it out; returns the exit code."""
    from corpus.database import connect, database_errors_translated
    from ingest.audit import repair, repair_plan
    from ingest.kafka import Cluster
    from workers.operations import note_operation

    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    with (
        connect(settings.database_url, application="freshet-audit") as connection,
        database_errors_translated(),
    ):
        planned = repair_plan.plan(connection, cluster, number)
        _show_plan(planned, dry_run=dry_run, as_json=as_json)
        if dry_run or planned.is_empty or planned.refusal:
            return check_exit_code(passed=planned.is_empty and planned.is_whole)
        confirmed = yes or typer.confirm("Repair?", err=True)
        if not confirmed:
            write_message("nothing was changed")
            return ExitCode.CHECK_FAILED
        note_operation(connection, "audit repair", planned.source, audit=number)
        done = repair.carry_out(connection, planned)
    asyncio.run(_tell(settings, planned.source, done))
    write_message(
        f"{done.findings:,} findings are being repaired; `freshet audit --source {planned.source}` shows what is left"
    )
    return check_exit_code(passed=planned.is_whole)


async def _tell(settings: "Settings", source: str, done: "Repaired") -> None:
    """Notify the source's workflow, and deliveries, of what they have to do now."""
    from corpus.deliver.activities import resume_delivery
    from workers.cli.entity import order_expiry, signal_entity
    from workers.temporal.client import temporal

    if done.reads_again:
        await signal_entity(settings, source, "reload", state="to be read again")
    if done.withdraw is not None:
        await order_expiry(settings, source, done.withdraw)
    if done.subscribers:
        client = await temporal(settings)
        for subscriber in done.subscribers:
            await resume_delivery(client, subscriber, source)


def _show_plan(planned: "RepairPlan", *, dry_run: bool, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        write_json({"dry_run": dry_run, **asdict(planned)})
        return
    for line in planned.lines():
        write(one_line(line))
    if dry_run:
        write_message("nothing was changed (--dry-run)")


# ── showing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def show_result(
    settings: "Settings", shown: "AuditSummary", *, as_json: bool, limit: int = _SHOWN
) -> None:
    """Show an audit and what it found."""
    from dataclasses import asdict

    from corpus.audit import store
    from corpus.database import connect, database_errors_translated

    with connect(settings.database_url) as connection, database_errors_translated():
        findings = store.findings_of(connection, shown.audit, limit=limit)
    if as_json:
        rows = [asdict(finding) for finding in findings]
        write_json({**as_row(shown), "list": rows})
        return
    for line in _lines(shown):
        write(one_line(line))
    if findings:
        write_table(_FINDINGS, map(_finding_cells, findings))
    total = sum(shown.findings.values())
    listed = len(findings)
    if total > listed:
        write_message(
            f"{listed:,} of {total:,} are listed; `freshet audit show {shown.audit} -n {total}` lists all"
        )


def _lines(shown: "AuditSummary") -> list[str]:
    """An audit for a person."""
    counts = shown.counts
    lines = [
        f"audit {shown.audit} of {shown.source} ({shown.scope}): {shown.result}",
        f"{counts.get('records', 0):,} records, {counts.get('documents', 0):,} documents, "
        f"{counts.get('chunks', 0):,} chunks in {shown.seconds:.1f} s, up to batch {shown.last_batch}",
    ]
    lines += [f"{number:,} {kind}" for kind, number in sorted(shown.findings.items())]
    unproven = counts.get("record_not_in_log", 0)
    if unproven:
        lines.append(
            f"{unproven:,} documents could not be judged: Kafka no longer has their records; --inventory judges them"
        )
    moved = counts.get("moved", 0)
    if moved:
        lines.append(
            f"{moved:,} documents were published since the audit began, and not judged"
        )
    return lines


def _finding_cells(finding: Any) -> list[Any]:
    return [
        finding.kind,
        finding.document_id,
        finding.subject,
        finding.expected,
        finding.actual,
        finding.state,
    ]


def as_row(shown: "AuditSummary") -> dict[str, Any]:
    """An audit as JSON."""
    from dataclasses import asdict

    return {**asdict(shown), "result": shown.result}
