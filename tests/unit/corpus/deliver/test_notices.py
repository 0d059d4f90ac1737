"""Notices have a bounded size and count what they leave out; a cursor that is not wanted ends the delivery."""

import json
from contextlib import nullcontext
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.pq import TransactionStatus

from corpus.access.teams import TeamRow
from corpus.deliver.notices import (
    MAX_ERROR_CHARACTERS,
    BatchRow,
    CursorRow,
    acknowledge,
    build_notice,
    next_notice,
    park,
)
from corpus.deliver.subscription import Acknowledgement, DeliveryInput, NextNotice, Parking
from corpus.service import MAX_CHANGES, MAX_RANGES, Change, OffsetRange
from corpus.sql import query

TEAM = DeliveryInput(subscriber="team", source="peps")
ACTIVE = CursorRow(state="active", endpoint="team-search", cursor_batch=3)
ENDED = CursorRow(state="ended", endpoint="team-search", cursor_batch=3)
RANGE = OffsetRange(topic="t", partition=0, first_offset=0, next_offset=1)


def batch_row(**fields: Any) -> BatchRow:
    counts = ("documents_written", "documents_deleted", "documents_expired")
    zero = dict.fromkeys((*counts, "chunks_opened", "chunks_closed"), 0)
    base = {"batch": 4, "kind": "ingest", "published_at_ms": 1, "reason": None, "previous_batch": 3}
    return BatchRow(**(zero | base | fields))


def changes(count: int) -> list[Change]:
    return [Change(document_id=str(number), version=1, change="written") for number in range(count)]


# ── the notice ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_notice_has_every_column_of_its_batch() -> None:
    row = batch_row(documents_written=1, documents_deleted=2, chunks_opened=3, reason="rule")
    notice = build_notice("peps", row, ranges=[RANGE], changes=changes(3))
    assert (notice.notice_id, notice.source) == ("peps:4", "peps")
    columns = asdict(row)
    del columns["traceparent"]  # the header of the call has it
    assert columns.items() <= asdict(notice).items()
    assert (notice.ranges, len(notice.changes), notice.changes_left_out) == ((RANGE,), 3, 0)


def test_the_same_batch_has_the_same_notice() -> None:
    first, second = (build_notice("peps", batch_row(), ranges=[], changes=[]) for _ in range(2))
    assert first == second


@settings(deadline=None)
@given(
    counts=st.tuples(*[st.integers(min_value=0, max_value=10**9)] * 3),
    listed=st.integers(min_value=0, max_value=3 * MAX_CHANGES),
    ranges=st.integers(min_value=0, max_value=3 * MAX_RANGES),
)
def test_a_notice_is_bounded_and_counts_what_it_leaves_out(
    counts: tuple[int, int, int], listed: int, ranges: int
) -> None:
    written, deleted, expired = counts
    row = batch_row(documents_written=written, documents_deleted=deleted, documents_expired=expired)
    notice = build_notice("peps", row, ranges=[RANGE] * ranges, changes=changes(listed))
    assert len(notice.changes) <= MAX_CHANGES
    assert len(notice.ranges) <= MAX_RANGES
    assert notice.changes_left_out >= 0
    if listed <= sum(counts):
        assert len(notice.changes) + notice.changes_left_out == sum(counts)


def test_the_largest_notice_is_far_below_the_payload_limit() -> None:
    long = Change(document_id="x" * 1_000, version=2**63 - 1, change="written")
    row = batch_row(documents_written=10**9)
    notice = build_notice("peps", row, ranges=[RANGE] * 1_000, changes=[long] * 1_000)
    assert len(json.dumps(asdict(notice))) < 100_000


# ── the cursor ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Database:
    """Answers named queries with rows, and notes which queries were executed with which parameters."""

    def __init__(self, **rows: list[Any]) -> None:
        self._rows = {query(name): found for name, found in rows.items()}
        self._current: list[Any] = []
        self.executed: list[tuple[str, dict[str, Any]]] = []

    @property
    def info(self):
        return SimpleNamespace(transaction_status=TransactionStatus.IDLE, user="freshet")

    def transaction(self):
        return nullcontext()

    def cursor(self, row_factory):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def execute(self, statement, parameters):
        self._current = self._rows.get(statement, [])
        self.executed.append((statement, dict(parameters)))
        return self

    def fetchone(self):
        return self._current[0] if self._current else None

    def fetchall(self):
        return self._current

    def parameters_of(self, name: str) -> list[dict[str, Any]]:
        return [given for statement, given in self.executed if statement == query(name)]


def following(database: Any) -> NextNotice:
    return next_notice(database, TEAM)


@pytest.mark.parametrize("rows", [[], [ENDED]], ids=["no subscription", "ended"])
def test_a_subscription_that_is_gone_ends_the_delivery(rows: list[CursorRow]) -> None:
    database = Database(delivery_cursor=rows, next_batch=[batch_row()])
    assert following(database) == NextNotice(ended=True)
    assert len(database.executed) == 1  # and no cursor is made for it


def test_a_delivery_that_is_up_to_date_is_idle() -> None:
    database = Database(delivery_cursor=[ACTIVE])
    assert following(database) == NextNotice(endpoint="team-search")
    assert database.parameters_of("delivery_idle")
    assert not database.parameters_of("delivery_begins")


def test_the_next_batch_is_the_one_after_the_cursor() -> None:
    database = Database(delivery_cursor=[ACTIVE], next_batch=[batch_row()], batch_ranges=[RANGE])
    notice = following(database).notice
    assert notice is not None
    assert (notice.notice_id, notice.ranges, notice.changes) == ("peps:4", (RANGE,), ())
    assert database.parameters_of("next_batch") == [{"source": "peps", "cursor": 3}]
    assert database.parameters_of("delivery_begins")
    assert not database.parameters_of("batch_changes")  # the batch changed no document


@pytest.mark.parametrize(
    ("spec", "read"),
    [
        ({"subscribers": ["other"]}, (["peps"], [])),
        ({"subscribers": ["team"], "sources": ["peps"], "groups": ["hr"]}, (["peps"], ["hr"])),
        ({"subscribers": ["team"], "sources": ["x"], "groups": ["hr"]}, ([], [])),
    ],
    ids=["no team's", "granted", "not granted"],
)
def test_a_notice_is_read_as_the_subscribers_team(
    spec: dict[str, Any], read: tuple[list[str], list[str]]
) -> None:
    base = {"team": "t", "endpoint": "e", "namespace": "n"}
    team = TeamRow(team="t", spec=base | spec, state="active")
    database = Database(delivery_cursor=[ACTIVE], teams=[team])
    following(database)
    (given,) = database.parameters_of("read_as")
    assert (json.loads(given["sources"]), json.loads(given["groups"])) == read


def test_expiries_fill_what_changes_leave_free() -> None:
    written = changes(MAX_CHANGES - 2)
    database = Database(
        delivery_cursor=[ACTIVE],
        next_batch=[batch_row(documents_written=len(written), documents_expired=9)],
        batch_changes=written,
        batch_expiries=changes(2),
    )
    notice = following(database).notice
    assert notice is not None
    assert database.parameters_of("batch_expiries")[0]["most"] == 2
    assert (len(notice.changes), notice.changes_left_out) == (MAX_CHANGES, 7)


def test_expiries_are_not_read_where_changes_leave_nothing_free() -> None:
    database = Database(
        delivery_cursor=[ACTIVE],
        next_batch=[batch_row(documents_written=500, documents_expired=9)],
        batch_changes=changes(MAX_CHANGES),
    )
    notice = following(database).notice
    assert notice is not None
    assert not database.parameters_of("batch_expiries")
    assert notice.changes_left_out == 509 - MAX_CHANGES


def test_a_long_error_is_cut() -> None:
    database: Any = Database()
    park(database, Parking(subscriber="team", source="peps", error="x" * 10_000, parked=False))
    (parameters,) = database.parameters_of("park_delivery")
    assert len(parameters["error"]) == MAX_ERROR_CHARACTERS
    assert parameters["parked"] is False


def test_an_error_with_a_nul_is_stored() -> None:
    """A team chooses the text with which it declines; PostgreSQL stores no NUL, and the delivery must go on."""
    database: Any = Database()
    park(database, Parking(subscriber="team", source="peps", error="peps:4 declined: a\0b"))
    (parameters,) = database.parameters_of("park_delivery")
    assert parameters["error"] == "peps:4 declined: a\ufffdb"


def test_an_acknowledgement_names_its_batch() -> None:
    database: Any = Database()
    acknowledge(database, Acknowledgement(subscriber="team", source="peps", batch=4))
    assert database.parameters_of("acknowledge_notice") == [
        {"subscriber": "team", "source": "peps", "batch": 4}
    ]
