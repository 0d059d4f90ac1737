"""Whether a source does its work: `active`, `behind`, `stuck` with the reason, or what its row says.

`stuck` means that records have waited for a minute and nothing was published meanwhile, or that something keeps the
source from being read at all. A row says `active` in both cases: it says what an operator wants, not what happens.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from corpus.source import SourceStatus
from ingest.kafka import Cluster, PartitionKey

STANDSTILL_SECONDS = 60.0
# Fewer are no sign of anything: a document may be created and deleted between two readings.
_MIN_DELETES_IN_VAIN = 10
_MAX_HOSTS = 3  # that are named
_MAX_SHARE_IN_VAIN = 0.5


class Condition(StrEnum):
    """What a source does; the states of its row that are not listed here stand for themselves."""

    ACTIVE = "active"
    BEHIND = "behind"  # records wait, and others are being published
    STUCK = "stuck"


# Conditions that need a person, or a process that does not run.
NEEDS_ATTENTION = frozenset({Condition.STUCK.value, SourceStatus.HALTED.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Where records of a source wait."""

    key: PartitionKey
    start: int  # offset of the next record to be published


def standing(
    cluster: Cluster,
    waiting: Mapping[str, Sequence[Waiting]],
    published_seconds_ago: Mapping[str, float | None],
) -> dict[str, PartitionKey]:
    """The sources of which a record has waited for a minute while nothing was published, with one such partition.

    Args:
        cluster: of the topics.
        waiting: where records wait, by source.
        published_seconds_ago: when the newest batch was published, by source; None: never.

    Raises:
        DependencyError: Kafka does not answer.
    """
    quiet = {
        source: places
        for source, places in waiting.items()
        if _is_long_ago(published_seconds_ago.get(source))
    }
    keys = sorted({place.key for places in quiet.values() for place in places})
    before_ms = int((time.time() - STANDSTILL_SECONDS) * 1000)
    recent = cluster.offsets_since(keys, before_ms)
    found: dict[str, PartitionKey] = {}
    for source, places in quiet.items():
        old = (place for place in places if place.start < recent[place.key])
        stands = _first_with_a_record(cluster, old)
        if stands is not None:
            found[source] = stands
    return found


def _is_long_ago(seconds: float | None) -> bool:
    return seconds is None or seconds > STANDSTILL_SECONDS


def _first_with_a_record(
    cluster: Cluster, places: Iterable[Waiting]
) -> PartitionKey | None:
    """A partition where a reader gets something; behind a transaction, only its marker may be left."""
    for place in places:
        topic, partition = place.key
        if cluster.next_record(topic, partition, place.start) is not None:
            return place.key
    return None


def condition_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """The condition of a row of `ingest.overview`, and why; the reason is empty where all is well."""
    state = str(row["state"])
    if state != SourceStatus.ACTIVE:
        return state, row["state_reason"] or ""
    missing = [
        f"topic {topic['topic']} is missing; `freshet apply` creates it"
        for topic in row["topics"]
        if topic["missing"]
    ]
    reasons = [*row["problems"], *missing]
    if row["kafka"]:
        reasons.append(f"the lag is not known: {row['kafka']}")
    if row["stands"]:
        reasons.append(row["stands"])
    if reasons:
        return Condition.STUCK, "; ".join(reasons)
    if row["lag"]:
        return Condition.BEHIND, ""
    return Condition.ACTIVE, ""


def deletes_in_vain(row: Mapping[str, Any]) -> str:
    """What a person must know of a source's deletes; empty where most of them delete something.

    A converter that writes keys in another form than the ids lets every tombstone name another document.

    Args:
        row: `source`, `documents_deleted` and `deletes_without_document`, as `ingest.overview` has them.
    """
    in_vain = row["deletes_without_document"]
    deletes = in_vain + row["documents_deleted"]
    if in_vain < _MIN_DELETES_IN_VAIN:
        return ""
    share = in_vain / deletes
    if share <= _MAX_SHARE_IN_VAIN:
        return ""
    source = row["source"]
    return (
        f"{in_vain:,} of {deletes:,} deletes ({share:.0%}) name documents that were never there. Where the "
        "keys of the records are not the ids of the documents, deletes do nothing: compare "
        f"`freshet documents --source {source}` with the keys, and see key_format"
    )


def origins_awaited(row: Mapping[str, Any]) -> str:
    """Which documents wait for their origin; empty where none does.

    Args:
        row: `waiting_documents`, `waiting_seconds` and `waiting_hosts`, as `ingest.overview` has them.
    """
    documents, hosts = row["waiting_documents"], row["waiting_hosts"]
    if not documents:
        return ""
    named = ", ".join(hosts[:_MAX_HOSTS])
    if len(hosts) > _MAX_HOSTS:
        named += f" and {len(hosts) - _MAX_HOSTS:,} others"
    return (
        f"{documents:,} documents wait for their origin ({named}), the first of them for "
        f"{row['waiting_seconds']:,.0f} s; they are asked for again by themselves"
    )
