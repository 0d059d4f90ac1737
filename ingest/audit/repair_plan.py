"""What repairing the findings of an audit means: the plan that is shown, and that is carried out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from corpus.audit import store
from corpus.audit.audit import Finding, FindingKind, Remedy
from corpus.database import Connection
from corpus.errors import ConfigurationError
from corpus.source import FreshnessSpec, SourceSpec, SourceStatus
from ingest.consume.partition_state import PartitionLog, Position
from ingest.consume.positions import gaps, partition_logs, positions_read
from ingest.kafka import Cluster, PartitionKey
from ingest.operate import configured_source, wrong_state
from ingest.prepare_again import ReadAgain

Logs = Mapping[PartitionKey, PartitionLog]
_EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairPlan:
    """What repairing an audit's findings means. Numbers are of findings, unless they say otherwise."""

    audit: int
    source: str
    remedies: dict[str, int] = field(default_factory=dict[str, int])
    withdrawn: int = 0  # documents that readers will no longer see
    visible: int = 0  # documents that they see now
    refusal: str = (
        ""  # why nothing is done until a person has decided; empty: it may be
    )
    gone: int = 0  # cannot be repaired: Kafka no longer has the records
    examples_gone: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    partitions: tuple[ReadAgain, ...] = ()

    @property
    def records(self) -> int:
        """Records that are read again."""
        return sum(partition.records for partition in self.partitions)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.remedies

    @property
    def is_whole(self) -> bool:
        """Whether it leaves nothing."""
        return not (self.gone or self.by_hand or self.refusal)

    def lines(self) -> list[str]:
        """The plan for a person."""
        lines = [_LINES[Remedy(name)].format(n=n) for name, n in self.remedies.items()]
        if self.partitions:
            lines.append(
                f"{self.records:,} records are read again; newer ones of the source wait for them, and texts that have "
                "their vector are not embedded again"
            )
        if self.gone:
            lines.append(
                f"{self.gone:,} findings stay: Kafka no longer has their records, for example of "
                f"{', '.join(map(repr, self.examples_gone))}; send these documents again"
            )
        lines += [f"for a person: {line}" for line in self.by_hand]
        if self.refusal:
            lines.append(f"nothing is done: {self.refusal}")
        return lines or ["there is nothing to repair"]


_LINES = {
    Remedy.READ_AGAIN: "{n:,} findings are repaired by reading the documents' records again",
    Remedy.WITHDRAW: "{n:,} documents that no record accounts for are withdrawn",
    Remedy.CLOSE: "{n:,} chunks that belong to no document are closed",
    Remedy.INDEX_AGAIN: "{n:,} chunks are indexed again for text search",
    Remedy.NOTIFY: "{n:,} subscribers are notified again, from the first missing batch on",
}


def plan(connection: Connection, cluster: Cluster, audit: int) -> RepairPlan:
    """What repairing the open findings of an audit means; nothing is changed.

    Raises:
        ConfigurationError: there is no such audit, it has not ended, or its source cannot be read again.
        DependencyError: Kafka does not answer.
    """
    row = store.row_of(connection, audit)
    if row.state != "done":
        raise ConfigurationError(
            f"audit {audit} is {row.state}; only one that is done is repaired"
        )
    configured = configured_source(connection, row.source)
    if configured.state == SourceStatus.RETIRED:
        raise wrong_state(configured, "repaired")
    spec = configured.readable()
    positions = positions_read(connection, spec)
    logs = partition_logs(cluster, [position.key for position in positions])
    for _, gap in gaps(positions, logs):
        raise ConfigurationError(gap.reason)
    return make_plan(connection, spec, audit, positions, logs)


def make_plan(
    connection: Connection,
    spec: SourceSpec,
    audit: int,
    positions: Sequence[Position],
    logs: Logs,
) -> RepairPlan:
    """The plan for what an audit found and Kafka has.

    Args:
        connection: to PostgreSQL.
        spec: of the source.
        audit: its number.
        positions: of the source.
        logs: of its partitions.
    """
    sorted_out = _sorted_out(connection, audit, logs)
    extra = FindingKind.EXTRA
    lost = {one.document_id for one in sorted_out.doable if one.kind is extra}
    visible = store.audited_source(connection, spec.source).documents
    examples = [one.document_id for one in sorted_out.gone[:_EXAMPLES]]
    lines = map(_line, sorted_out.by_hand[:_EXAMPLES])
    return RepairPlan(
        audit=audit,
        source=spec.source,
        remedies=_count(sorted_out.doable),
        withdrawn=len(lost),
        visible=visible,
        refusal=_refusal(len(lost), visible, spec.freshness),
        gone=len(sorted_out.gone),
        examples_gone=tuple(examples),
        by_hand=tuple(lines),
        partitions=tuple(_reads(positions, sorted_out.doable)),
    )


@dataclass(slots=True)
class _SortedOut:
    """The open findings of an audit, by what can be done about them."""

    doable: list[Finding] = field(default_factory=list[Finding])
    by_hand: list[Finding] = field(default_factory=list[Finding])
    gone: list[Finding] = field(default_factory=list[Finding])


def _sorted_out(connection: Connection, audit: int, logs: Logs) -> _SortedOut:
    sorted_out = _SortedOut()
    rows = store.findings_of(connection, audit, state="open")
    for stored in rows:
        finding = stored.finding()
        if finding.remedy is Remedy.BY_HAND:
            sorted_out.by_hand.append(finding)
        elif _is_doable(finding, logs):
            sorted_out.doable.append(finding)
        else:
            sorted_out.gone.append(finding)
    return sorted_out


def _is_doable(finding: Finding, logs: Logs) -> bool:
    """Whether a repair can do something about a finding that is not for a person."""
    if finding.remedy is not Remedy.READ_AGAIN:
        return True
    return bool(finding.records) and all(
        _is_in_log(record, logs) for record in finding.records
    )


def _is_in_log(record: tuple[str, int, str, int], logs: Logs) -> bool:
    topic, partition, topic_id, offset = record
    log = logs.get(PartitionKey(topic, partition))
    return log is not None and log.topic_id == topic_id and offset >= log.first_offset


def _count(findings: Iterable[Finding]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for finding in findings:
        name = str(finding.remedy)
        counts[name] = counts.get(name, 0) + 1
    return counts


def _refusal(lost: int, visible: int, policy: FreshnessSpec) -> str:
    """Above the ratio a person decides, as for a mass expiry."""
    ratio = policy.max_expiry_ratio
    if lost <= ratio * visible:
        return ""
    return (
        f"{lost:,} of {visible:,} documents would be withdrawn, more than max_expiry_ratio {ratio:g} allows; "
        "raise the ratio if they may go, or look why their records are missing"
    )


def _line(finding: Finding) -> str:
    return f"{finding.kind}: {finding.subject}: {finding.actual}"


def _reads(
    positions: Sequence[Position], findings: Sequence[Finding]
) -> Iterable[ReadAgain]:
    """From where each partition is read again."""
    first: dict[PartitionKey, int] = {}
    for finding in findings:
        if finding.remedy is not Remedy.READ_AGAIN:
            continue
        for topic, partition, _, offset in finding.records:
            key = PartitionKey(topic, partition)
            first[key] = min(offset, first.get(key, offset))
    for position in positions:
        offset = first.get(position.key, position.next_offset)
        if offset < position.next_offset:
            yield ReadAgain(
                topic=position.topic,
                partition=position.partition,
                topic_id=position.topic_id,
                first_offset=offset,
                next_offset=position.next_offset,
            )
