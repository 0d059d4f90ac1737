"""Figures that are kept of a source are what its rows come to, whatever happened to it."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from corpus.access.reader import reading_as
from corpus.batch import BatchRef
from corpus.preparation import PreparationSpec
from corpus.service import DescribeRequest
from corpus.sql import query
from freshness.scan import describe, measure
from ingest.consume.withholder import Withholder
from tests.support.logins import reader
from tests.support.pipeline import Event, Pipeline, make_event
from tests.support.purging import Purging

# What a check, a description and `freshet sources` say, counted from all rows: the source `s`.
COUNTED = """
SELECT count(*) AS documents,
       (extract(epoch FROM min(greatest(d.observed_at, d.verified_at))) * 1000)::bigint AS oldest,
       (SELECT (extract(epoch FROM max(observed_at)) * 1000)::bigint FROM freshet.document) AS newest,
       count(*) FILTER (WHERE d.kept_characters = 0 AND r.characters > 0) AS empty,
       count(*) FILTER (WHERE d.kept_characters < r.characters * %(kept)s) AS lossy,
       count(*) FILTER (WHERE d.unknown_characters > d.kept_characters * %(unknown)s) AS unknown,
       round(sum(d.unknown_characters) / nullif(sum(d.kept_characters), 0), 9)::float8 AS unknown_ratio,
       (SELECT count(*) FROM freshet.chunk WHERE visible_to IS NULL) AS chunks,
       count(*) FILTER (WHERE d.expires_at <= now()) AS ended,
       (SELECT count(*) FROM freshet.batch WHERE kind = 'ingest') AS batches,
       (SELECT sum(records) FROM freshet.batch WHERE kind = 'ingest') AS records,
       (SELECT sum(texts_embedded) FROM freshet.batch) AS texts_embedded
  FROM freshet.document d, freshet.readable_characters(d.received_characters, d.dropped) AS r (characters)
 WHERE d.visible_to IS NULL"""


def counted(pipeline: Pipeline) -> dict[str, Any]:
    preparation = pipeline.spec.pipeline
    values = {"kept": preparation.min_kept_ratio, "unknown": preparation.max_unknown_ratio}
    cursor = pipeline.connection.cursor(row_factory=dict_row)
    (row,) = cursor.execute(COUNTED, values).fetchall()
    return row


def kept(pipeline: Pipeline) -> dict[str, Any]:
    """The same, as queries have it."""
    found = measure(pipeline.connection, "s")
    cursor = pipeline.connection.cursor(row_factory=dict_row)
    (row,) = cursor.execute(query("source_overview")).fetchall()
    ratio = found.unknown_ratio
    return {
        "documents": found.documents,
        "oldest": found.oldest_ms,
        "newest": found.newest_ms,
        "empty": found.empty,
        "lossy": found.lossy,
        "unknown": found.unknown,
        "unknown_ratio": None if ratio is None else round(ratio, 9),
        "chunks": row["chunks"],
        "ended": found.ended,
        "batches": row["batches"],
        "records": row["records"],
        "texts_embedded": row["texts_embedded"],
    }


def differences(pipeline: Pipeline) -> list[Any]:
    """What an audit would find."""
    return pipeline.connection.execute(query("audit_figures"), {"source": "s"}).fetchall()


class Source:
    """A source that random things happen to."""

    def __init__(self, pipeline: Pipeline, seed: int) -> None:
        self.pipeline = pipeline
        self.chance = random.Random(seed)
        self.version = 0
        self.waiting: list[BatchRef] = []
        self.purging = Purging(pipeline)
        preparation = PreparationSpec(on_empty="publish")
        pipeline.spec = replace(pipeline.spec, pipeline=preparation)
        pipeline.configure()

    def _name(self) -> str:
        return f"d{self.chance.randrange(8)}"

    def _event(self) -> Event:
        self.version += 1
        name, what = self._name(), self.chance.random()
        if what < 0.2:
            return make_event(name, self.version, op="delete")
        other: dict[str, Any] = {}
        if self.chance.random() < 0.5:
            other["acl"] = self.chance.sample(["a", "b", "c"], self.chance.randrange(3))
        if self.chance.random() < 0.3:
            other["expires_at"] = self.chance.choice(
                ["2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"]
            )
        if what < 0.4:
            other["content_type"] = "text/html"
            return make_event(
                name, self.version, "<script>all()</script><nav>menu</nav>" * 9, **other
            )
        words = self.chance.choices(
            ["weir", "gauge", "sluice", "𓀀𓀁𓀂"], k=self.chance.randrange(1, 60)
        )
        text = "\n\n".join([" ".join(words)] * self.chance.randrange(1, 3))
        return make_event(name, self.version, text, **other)

    def ingest(self) -> None:
        self._publish_waiting()
        self.pipeline.ingest(*(self._event() for _ in range(self.chance.randrange(1, 6))))

    def send_again(self) -> None:
        """Events whose content stays: an end, or an access list, is another."""
        self._publish_waiting()
        event = self._event()
        self.pipeline.ingest(event)
        self.pipeline.ingest(
            event | {"acl": ["z"]}, event | {"acl": ["z"], "expires_at": "2090-01-01T00:00:00Z"}
        )

    def withhold(self) -> None:
        """A record narrows an access list before its batch is published."""
        self._publish_waiting()
        records = self.pipeline.records([self._event() | {"acl": []} for _ in range(2)])
        withholder = Withholder(self.pipeline.pool)
        self.waiting.append(self.pipeline.stage(records, withhold=withholder.withhold))

    def _publish_waiting(self) -> None:
        while self.waiting:
            self.pipeline.run(self.waiting.pop(0))

    def expire(self) -> None:
        self._publish_waiting()
        self.pipeline.expire(after_seconds=self.chance.choice([None, 1]))

    def erase(self) -> None:
        self._publish_waiting()
        self.pipeline.erase(self._name())

    def correct(self) -> None:
        self._publish_waiting()
        heads = self.pipeline.connection.execute(
            "SELECT document_id, version FROM freshet.document WHERE is_head AND version > 1"
        ).fetchall()
        if heads:
            name, version = self.chance.choice(heads)
            self.pipeline.correct(name, version, version - 1)

    def purge(self) -> None:
        self._publish_waiting()
        self.purging.age(2)
        self.purging.keep(history_seconds=86_400)
        self.purging.run()

    def change_limits(self) -> None:
        limits = self.pipeline.spec.pipeline
        shares = [0.0, 0.05, 0.5, 1.0]
        self.pipeline.spec = replace(
            self.pipeline.spec,
            pipeline=replace(
                limits,
                min_kept_ratio=self.chance.choice(shares),
                max_unknown_ratio=self.chance.choice(shares),
            ),
        )
        self.pipeline.configure()

    def do(self) -> str:
        steps: list[Callable[[], None]] = [self.ingest] * 5
        steps += [self.send_again, self.withhold, self.withhold, self.expire, self.erase]
        steps += [self.correct, self.purge, self.change_limits, self.change_limits]
        step = self.chance.choice(steps)
        step()
        return step.__name__


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", range(2))
def test_figures_are_what_the_rows_come_to(pipeline: Pipeline, seed: int) -> None:
    source = Source(pipeline, seed)
    source.ingest()
    done: list[str] = []
    for _ in range(8):
        done.append(source.do())
        assert kept(pipeline) == counted(pipeline), done
        assert differences(pipeline) == [], done


def test_an_audit_sees_a_figure_that_is_wrong_and_it_can_be_counted_again(
    pipeline: Pipeline,
) -> None:
    pipeline.ingest(make_event("d", 1, "The gauge."), make_event("e", 1, "The weir."))
    right = kept(pipeline)
    pipeline.connection.execute("UPDATE freshet.visible_documents SET documents = documents + 1")
    pipeline.connection.execute("UPDATE freshet.visible_texts SET lossy = lossy + 1")
    pipeline.connection.execute("UPDATE freshet.ledger_totals SET records = records + 1")
    subjects = [row[0] for row in differences(pipeline)]
    expected = ["sums of the ledger", "visible documents", "visible texts"]
    assert subjects == [f"figures: {name}" for name in expected]
    assert kept(pipeline) != right
    pipeline.connection.execute("SELECT freshet.count_again('s')")
    assert differences(pipeline) == []
    assert kept(pipeline) == right


def test_a_reader_is_told_the_sums_of_what_it_may_read(pipeline: Pipeline) -> None:
    events = [make_event("all", 1, "The gauge.")]
    events += [
        make_event(f"{group}{n}", 1, f"The weir {group}{n}.", acl=[group])
        for group in "ab"
        for n in range(2)
    ]
    pipeline.ingest(*events)
    pipeline.ingest(make_event("b1", 2, op="delete"))
    own = "SELECT count(*) FILTER (WHERE visible_to IS NULL), (extract(epoch FROM max(observed_at)) * 1000)::bigint"
    told: dict[str, int] = {}
    for groups in ("", "a", "b", "ab"):
        with reading_as(pipeline.connection, reader(*groups)):
            described = describe(pipeline.connection, DescribeRequest(source="s"))
            seen = pipeline.connection.execute(f"{own} FROM freshet.document".encode()).fetchone()
        assert described is not None
        assert (described.documents, described.newest_event_at_ms) == seen, groups
        told[groups] = described.documents
    assert told == {"": 1, "a": 3, "b": 2, "ab": 4}
    with reading_as(pipeline.connection, reader("a", sources=("other",))):
        assert describe(pipeline.connection, DescribeRequest(source="s")) is None
        sums = pipeline.connection.execute("SELECT sum(documents) FROM freshet.visible_documents")
        assert sums.fetchone() == (None,)
        assert pipeline.connection.execute("SELECT freshet.newest_event('s')").fetchone() == (None,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            pipeline.connection.execute("SELECT FROM freshet.visible_texts")


def test_a_change_of_nothing_that_is_counted_touches_no_figure(pipeline: Pipeline) -> None:
    """A check notes when origins were asked while a batch of the source is published, and waits for none."""
    pipeline.ingest(make_event("d", 1, "The gauge."))
    places = "SELECT ctid::text FROM freshet.visible_documents UNION ALL SELECT ctid::text FROM freshet.visible_texts"
    before = pipeline.connection.execute(places.encode()).fetchall()
    pipeline.connection.execute(
        "UPDATE freshet.document SET verified_at = now(), observed_at = now()"
    )
    assert pipeline.connection.execute(places.encode()).fetchall() == before


def test_the_limits_of_an_old_specification_are_the_defaults(pipeline: Pipeline) -> None:
    (row,) = pipeline.connection.execute("SELECT * FROM freshet.text_limits('{}')").fetchall()
    assert row == (PreparationSpec().min_kept_ratio, PreparationSpec().max_unknown_ratio)
