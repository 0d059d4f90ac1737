"""Promises 1, 3, 4, 6, 8, 9 over histories: whatever happens to a source, its corpus is what its records come to.

Records are written to any partition, deleted with and without a version, sent again, redriven; read with any cut and in
any order of partitions; in between documents expire, an older database is restored, the epoch rises, the topic is made
anew, the source is retired and configured again. The model compares every pair of records, and knows no batches.

`HISTORIES=500` tries that many; `make histories` does so.
"""

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from compose.local.parts.postgres import Postgres
from corpus.batch import BatchRef
from corpus.clean.cleaner import Cleaner
from ingest.dead_letters.first_position import FirstPosition
from ingest.event import KafkaRecord
from tests.support.fakes import HashEmbedder
from tests.support.pipeline import NOW_MS, Pipeline
from tests.support.record_model import CONTENTS, Standing, Written, content_sha256, standing
from tests.support.source_rows import SavedRows, restore_rows, saved_rows

HISTORIES = int(os.environ.get("HISTORIES", "8"))
PARTITIONS = 2
NAMES = "abc"
# Past and future ends; None: the document has none.
ENDS = (None, "2019-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "2199-01-01T00:00:00Z")
_NUMBERS = itertools.count(1)

Visible = dict[str, tuple[int, str]]  # document -> (version, name of the content)


@dataclass
class Saved:
    """A database that may be restored."""

    rows: SavedRows
    topic_id: str
    applied: list[Written]
    withdrawn: dict[str, Standing]
    seen: list[tuple[Any, Any]]


class Histories(RuleBasedStateMachine):
    """One source, its log, and the model of it."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.clock = itertools.count(1)
        for partition in range(PARTITIONS):
            pipeline.position(partition)
        self.log: list[list[Written]] = [[] for _ in range(PARTITIONS)]
        self.sent: list[Written] = []
        self.read = [0] * PARTITIONS
        self.refs: list[BatchRef] = []
        self.applied: list[Written] = []
        self.withdrawn: dict[str, Standing] = {}
        self.seen: list[tuple[Any, Any]] = []  # (instant, rows as of it)
        self.saved: Saved | None = None

    # ── the log ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _write(self, record: Written, partition: int, log: str) -> None:
        log_of = self.log[partition]
        placed = replace(record, partition=partition, offset=len(log_of), log=log)
        log_of.append(placed)
        self.sent.append(placed)

    @rule(
        what=st.sampled_from(["upsert"] * 6 + ["delete", "gone", "gone", "poison"]),
        name=st.sampled_from(NAMES),
        version=st.integers(0, 4),
        content=st.sampled_from([*CONTENTS]),
        end=st.sampled_from(ENDS),
        minute=st.integers(0, 12),
        partition=st.integers(0, PARTITIONS - 1),
    )
    def write(
        self,
        what: str,
        name: str,
        version: int,
        content: str,
        end: Any,
        minute: int,
        partition: int,
    ) -> None:
        record = Written(
            what=what,
            name=name,
            version=version,
            content=content,
            end=end,
            at_ms=NOW_MS + minute * 60_000,
        )
        self._write(record, partition, f"{partition}/{self.pipeline.topic_id}")

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), partition=st.integers(0, PARTITIONS - 1), later=st.integers(0, 5))
    def send_again(self, data: st.DataObject, partition: int, later: int) -> None:
        record = data.draw(st.sampled_from(self.sent))
        again = replace(record, at_ms=record.at_ms + later * 60_000, headers=())
        self._write(again, partition, f"{partition}/{self.pipeline.topic_id}")

    @precondition(lambda self: any(one.log for one in self.sent))
    @rule(data=st.data())
    def redrive(self, data: st.DataObject) -> None:
        """Of this log or of an earlier one: it goes to its old partition, and is as old as it was."""
        record = data.draw(st.sampled_from([one for one in self.sent if one.log]))
        topic_id = record.log.partition("/")[2]
        first = FirstPosition(
            self.pipeline.spec.source, record.partition, record.offset, record.at_ms, topic_id
        )
        self._write(replace(record, headers=tuple(first.headers(1))), record.partition, "")

    @rule()
    def recreate_topic(self) -> None:
        """What was not published of the old log is lost, and an operator has accepted that."""
        self.pipeline.recreate_topic()
        self.log = [[] for _ in range(PARTITIONS)]
        self.read, self.refs = [0] * PARTITIONS, []

    # ── reading and publishing ──────────────────────────────────────────────────────────────────────────────────────

    def _kafka_records(self, records: list[Written]) -> list[KafkaRecord]:
        return [
            KafkaRecord(
                topic=self.pipeline.spec.source,
                partition=one.partition,
                offset=one.offset,
                timestamp_ms=one.at_ms if one.log else NOW_MS + 86_400_000,
                key=one.name.encode(),
                value=one.value(),
                headers=one.headers,
            )
            for one in records
        ]

    @rule(
        partition=st.integers(0, PARTITIONS - 1), fresh=st.integers(1, 6), again=st.integers(0, 3)
    )
    def cut(self, partition: int, fresh: int, again: int) -> None:
        log = self.log[partition]
        begin = max(0, self.read[partition] - again)
        end = min(len(log), self.read[partition] + fresh)
        if end > self.read[partition]:
            self.refs.append(self.pipeline.stage(self._kafka_records(log[begin:end])))
            self.read[partition] = end

    @precondition(lambda self: self.refs)
    @rule()
    def publish(self) -> None:
        before = [self.pipeline.position(partition) for partition in range(PARTITIONS)]
        report = self.pipeline.run(*self.refs)
        self.refs = []
        new: list[Written] = []
        for partition in range(PARTITIONS):
            new += self.log[partition][before[partition] : self.pipeline.position(partition)]
        assert report.records == len(new)
        self.applied += new
        self._came_back()
        self._look()

    @rule()
    def expire(self) -> None:
        now = self.visible()
        self.pipeline.expire()
        for name in now:
            found = self._standing(name)
            if found is not None and _is_past(found.end):
                self.withdrawn[name] = found
        self._look()

    # ── what operators do ───────────────────────────────────────────────────────────────────────────────────────────

    @rule()
    def raise_epoch(self) -> None:
        """A rewind: consumers read again from the position rows."""
        self._execute("UPDATE freshet.source SET epoch = epoch + 1 WHERE source = %s")
        self._read_again()

    @rule()
    def retire_and_configure_again(self) -> None:
        self._execute("UPDATE freshet.source SET state = 'retired' WHERE source = %s")
        self._execute(
            "UPDATE freshet.source SET state = 'active', epoch = epoch + 1 WHERE source = %s"
        )
        self.pipeline.configure()
        self._read_again()

    @rule()
    def save(self) -> None:
        self.saved = Saved(
            saved_rows(self.pipeline.connection, self.pipeline.spec.source),
            self.pipeline.topic_id,
            [*self.applied],
            {**self.withdrawn},
            [*self.seen],
        )

    @precondition(lambda self: self.saved and self.saved.topic_id == self.pipeline.topic_id)
    @rule()
    def restore(self) -> None:
        """The database goes back; the log does not."""
        assert self.saved is not None
        restore_rows(self.pipeline.connection, self.pipeline.spec.source, self.saved.rows)
        self.applied, self.withdrawn = [*self.saved.applied], {**self.saved.withdrawn}
        self.seen = [*self.saved.seen]
        self._read_again()

    def _read_again(self) -> None:
        self.refs = []
        self.read = [self.pipeline.position(partition) for partition in range(PARTITIONS)]

    # ── the model ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _standing(self, name: str) -> Standing | None:
        return standing([one for one in self.applied if one.name == name])

    def _came_back(self) -> None:
        """Forget the withdrawal of what has another content now, or a later end."""
        for name, withdrawn in [*self.withdrawn.items()]:
            found = self._standing(name)
            is_same = found is not None and (found.version, found.content) == (
                withdrawn.version,
                withdrawn.content,
            )
            if not is_same or not _is_past(found.end):
                del self.withdrawn[name]

    def visible(self) -> Visible:
        """What the model shows."""
        shown: Visible = {}
        for name in NAMES:
            found = self._standing(name)
            if found is not None and name not in self.withdrawn:
                shown[name] = (found.version, found.content)
        return shown

    # ── what is compared ────────────────────────────────────────────────────────────────────────────────────────────

    def _rows(self, instant: Any) -> list[tuple[Any, ...]]:
        """What was visible as of an instant, with its end and its text."""
        return self.pipeline.connection.execute(
            """SELECT d.document_id, d.version, d.expires_at, encode(d.content_sha256, 'hex'),
                      d.topic, d.partition, d.record_offset,
                      ARRAY(SELECT c.text FROM unnest(d.chunk_ids) WITH ORDINALITY AS p (id, n)
                            JOIN freshet.chunk c ON c.chunk_id = p.id AND c.visible_from <= %(at)s
                             AND (c.visible_to IS NULL OR c.visible_to > %(at)s) ORDER BY p.n)
               FROM freshet.document d
               WHERE d.source = %(source)s AND d.visible_from <= %(at)s
                 AND (d.visible_to IS NULL OR d.visible_to > %(at)s) ORDER BY 1""",
            {"source": self.pipeline.spec.source, "at": instant},
        ).fetchall()

    def _look(self) -> None:
        instant = self._execute("SELECT last_published_at FROM freshet.source WHERE source = %s")[
            0
        ][0]
        if instant is not None:
            self.seen.append((instant, self._rows(instant)))

    @invariant()
    def the_corpus_is_the_fold(self) -> None:
        rows = self._execute(
            """SELECT document_id, version, encode(content_sha256, 'hex') FROM freshet.document
               WHERE source = %s AND visible_to IS NULL"""
        )
        shown = {name: (version, digest) for name, version, digest in rows}
        assert len(shown) == len(rows)
        assert shown == {
            name: (version, content_sha256(content))
            for name, (version, content) in self.visible().items()
        }

    def teardown(self) -> None:
        """Read the rest; then counts add up, no past has changed, and lineage names records that exist."""
        for partition in range(PARTITIONS):
            self.cut(partition, fresh=1_000, again=0)
        if self.refs:
            self.publish()
            self.the_corpus_is_the_fold()
        for instant, rows in self.seen:
            assert self._rows(instant) == rows
        counts = self._execute(
            """SELECT coalesce(sum(records), 0)::int, coalesce(sum(dead_lettered), 0)::int,
                      coalesce(sum(applied + unchanged + superseded + dead_lettered + ignored), 0)::int
               FROM freshet.batch WHERE source = %s AND kind = 'ingest'"""
        )[0]
        poison = sum(one.what == "poison" for one in self.applied)
        assert counts == (len(self.applied), poison, len(self.applied))
        self._check_lineage()
        assert max(self.pipeline.embedder.embedded.values(), default=1) == 1

    def _check_lineage(self) -> None:
        written = {(one.name, one.partition, one.offset) for one in self.applied}
        named = self._execute(
            "SELECT document_id, partition, record_offset FROM freshet.document WHERE source = %s"
        )
        assert {*named} <= written

    def _execute(self, statement: str) -> list[tuple[Any, ...]]:
        cursor = self.pipeline.connection.execute(statement, (self.pipeline.spec.source,))
        return cursor.fetchall() if cursor.description else []


def _is_past(end: str | None) -> bool:
    return end is not None and end < time.strftime("%Y")


@pytest.fixture(scope="module")
def database(
    postgres_server: Postgres, postgres_url: str
) -> Iterator[tuple[str, HashEmbedder, Cleaner]]:
    assert postgres_url
    postgres_server.create_database("histories", template="freshet")
    with Cleaner(processes=1) as cleaner:
        yield postgres_server.url_of("histories"), HashEmbedder(), cleaner
    postgres_server.drop_database("histories")


@pytest.mark.timeout(60 + 30 * HISTORIES)
def test_any_history_ends_in_the_fold_of_its_records(
    database: tuple[str, HashEmbedder, Cleaner], tmp_path: Path
) -> None:
    url, embedder, cleaner = database
    opened: list[Pipeline] = []

    def history() -> Histories:
        while opened:
            opened.pop().__exit__(None, None, None)
        source = f"h{next(_NUMBERS)}"
        opened.append(
            Pipeline(url, tmp_path / source, source=source, cleaner=cleaner, embedder=embedder)
        )
        return Histories(opened[-1])

    try:
        run_state_machine_as_test(
            history,
            settings=settings(
                max_examples=HISTORIES,
                stateful_step_count=40,
                deadline=None,
                print_blob=True,
                suppress_health_check=[*HealthCheck],
            ),
        )
    finally:
        while opened:
            opened.pop().__exit__(None, None, None)
