"""Whether a changed document's record is still in Kafka when the document is due, in words."""

import pytest

from compose.local.checks import CheckFailedError
from compose.local.topics_check import judge_records
from corpus.source import FreshnessSpec, SourceSpec

DAY = 86_400
DAY_MS = DAY * 1_000


def spec(*topics: str, days: int = 30) -> SourceSpec:
    freshness = FreshnessSpec(expire_after_seconds=days * DAY)
    return SourceSpec(source="pages", topics=topics or ("t",), freshness=freshness)


def settings(policy: str = "delete", days: int = 7, limit: int = -1) -> dict[str, str]:
    milliseconds = days if days < 0 else days * DAY_MS
    return {
        "cleanup.policy": policy,
        "retention.ms": str(milliseconds),
        "retention.bytes": str(limit),
    }


@pytest.mark.parametrize("policy", ["delete", "compact,delete", "delete,compact"])
def test_records_that_are_gone_before_their_documents_are_due(policy: str) -> None:
    with pytest.raises(CheckFailedError) as failed:
        judge_records([spec()], {"t": settings(policy)})
    assert str(failed.value) == (
        "pages: topic t keeps records for 7d (retention.ms = 604800000, cleanup.policy = "
        f"{policy}), and a document is asked for again after expire_after = 30d: its record is gone by then, so one "
        "that has changed cannot be read, and is withdrawn"
    )


@pytest.mark.parametrize(
    "kept", [settings("compact"), settings(days=-1), settings("compact,delete", days=-1)]
)
def test_records_that_are_kept(kept: dict[str, str]) -> None:
    assert "are kept" in judge_records([spec()], {"t": kept})
    assert "are kept" in judge_records([], {})


def test_what_is_kept_for_a_while_is_said() -> None:
    observed = judge_records([spec()], {"t": settings(days=30, limit=1_000_000)})
    assert "topic t keeps records for 30d and 1,000,000 bytes of each partition;" in observed
    observed = judge_records([spec()], {"t": settings(days=-1, limit=1_000_000)})
    assert "topic t keeps 1,000,000 bytes of each partition;" in observed
    assert "are kept" in judge_records([spec()], {"t": settings("compact", limit=1_000_000)})


def test_every_topic_counts_and_one_that_is_not_described_is_named() -> None:
    two = spec("t", "u")
    assert "pages: topic u may not be described" in judge_records([two], {"t": settings(days=60)})
    with pytest.raises(CheckFailedError, match="topic u keeps records for 7d"):
        judge_records([two], {"t": settings(days=60), "u": settings()})
