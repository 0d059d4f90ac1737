"""What the records of a truncated table become: by the decision, by versions, by places."""

from typing import Any

import pytest

from corpus.source import record_version
from corpus.versions.truncation import (
    AGAIN,
    DELETES,
    KEEPS,
    OLDER,
    UNDECIDED,
    Decision,
    Place,
    Truncation,
    Written,
    halt_reason,
    place_in,
)
from corpus.versions.truncation import settled as settled_as_written

AT = 1_780_000_000_000


def decided(decision: Decision = Decision.DELETE, version: int | None = 50) -> Truncation:
    return Truncation(
        source="s",
        topic="t",
        topic_id="id",
        partition=0,
        record_offset=10,
        decision=decision,
        own_version=version,
        record_version=record_version(AT, 10),
    )


def row(offset: int, version: int | None, **others: Any) -> dict[str, Any]:
    place = {"topic": "t", "partition": 0, "offset": offset, "timestamp_ms": AT + offset - 10}
    rest = {"key": b"k", "value": b"{}", "headers": "[]", "outcome": "event", "op": "upsert"}
    return {**place, **rest, "version": version, **others}


def truncated(offset: int = 10, version: int | None = 50, **others: Any) -> dict[str, Any]:
    return row(offset, version, outcome="ignored", op=None, reason=UNDECIDED, **others)


def settled(one: Any, decisions: list[Truncation], topic_id: str) -> Any:
    """A record that was never redriven."""
    written = Written(timestamp_ms=one["timestamp_ms"], offset=one["offset"])
    return settled_as_written(one, decisions, topic_id, written)


@pytest.mark.parametrize(("decision", "rule"), [(Decision.DELETE, DELETES), (Decision.KEEP, KEEPS)])
def test_the_record_is_what_was_decided(decision: Decision, rule: str) -> None:
    assert settled(truncated(), [decided(decision)], "id")["reason"] == rule
    assert settled(truncated(), [], "id")["reason"] == UNDECIDED
    # Another one: of another incarnation of the topic, at another place, in another table.
    assert settled(truncated(version=51), [decided(decision)], "new")["reason"] == UNDECIDED
    assert settled(truncated(20, 51), [decided(decision)], "id")["reason"] == UNDECIDED
    other = settled(truncated(topic="u"), [decided(decision)], "id")
    assert other["reason"] == UNDECIDED


def test_one_that_is_sent_again_is_not_asked_about_again() -> None:
    assert settled(truncated(30), [decided()], "id")["reason"] == AGAIN
    assert settled(truncated(30, None), [decided(version=None)], "id")["reason"] == UNDECIDED


@pytest.mark.parametrize(
    ("one", "is_ignored"),
    [
        (row(5, 49), True),
        (row(5, 51), False),  # read from another log, at a later place of the database's
        (row(90, 49), True),  # sent again
        (row(5, record_version(AT - 5, 5)), True),  # a row of a snapshot, without a version
        (row(15, record_version(AT + 5, 15)), False),
        (row(5, record_version(AT + 5, 5), partition=1, timestamp_ms=AT + 5), False),
        (row(50, record_version(AT - 5, 50), partition=1, timestamp_ms=AT - 5), True),
        (row(5, 49, topic="u"), False),
        (row(5, 49, op="delete"), False),
    ],
)
def test_rows_that_were_there_before_are_ignored(one: dict[str, Any], is_ignored: bool) -> None:
    result = settled(one, [decided()], "id")
    assert (result.get("reason") == OLDER) is is_ignored
    assert result["value"] == b"{}"
    assert settled(one, [decided(Decision.KEEP)], "id") == one


@pytest.mark.parametrize("version", [record_version(AT - 5, 5), 40])
def test_a_redriven_row_is_as_old_as_it_was_first(version: int) -> None:
    redriven = row(70, version)
    before = Written(timestamp_ms=AT - 5, offset=5)
    own_version = None if version > 50 else 50
    decisions = [decided(version=own_version)]
    assert settled_as_written(redriven, decisions, "id", before)["reason"] == OLDER
    after = Written(timestamp_ms=AT + 5, offset=15)
    newer = row(70, record_version(AT + 5, 15))
    assert settled_as_written(newer, decisions, "id", after) == newer


def test_a_halt_names_the_place_and_the_command() -> None:
    place = Place(topic="a.b-c_d", partition=3, offset=77)
    reason = halt_reason("kb", place)
    assert place_in(reason) == place
    assert "`freshet source truncate kb --delete --reason TEXT`" in reason
    assert place_in("t/0: the log was truncated") is None
