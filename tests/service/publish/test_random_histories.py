"""Random events, redeliveries and expiries: what was visible after each batch can be looked up again as of then."""

import json
import random
import time
from typing import Any

import pytest

from ingest.event import KafkaRecord
from tests.support.pipeline import Pipeline, make_event

AS_OF = """
SELECT d.document_id, d.version, array_agg(c.text ORDER BY p.n) AS texts,
       (SELECT count(*) FROM freshet.chunk c
         WHERE c.source = d.source AND c.document_id = d.document_id
           AND c.visible_from <= %(t)s AND (c.visible_to IS NULL OR c.visible_to > %(t)s)) AS visible_chunks,
       count(DISTINCT p.id) AS named_chunks
  FROM freshet.document d
  LEFT JOIN unnest(d.chunk_ids) WITH ORDINALITY AS p (id, n) ON true
  LEFT JOIN freshet.chunk c ON c.chunk_id = p.id
       AND c.visible_from <= %(t)s AND (c.visible_to IS NULL OR c.visible_to > %(t)s)
 WHERE d.visible_from <= %(t)s AND (d.visible_to IS NULL OR d.visible_to > %(t)s)
 GROUP BY d.document_key ORDER BY 1"""
STRAY = """
SELECT count(*) FROM freshet.chunk c WHERE c.visible_to IS NULL AND NOT EXISTS (
    SELECT FROM freshet.document d WHERE d.source = c.source AND d.document_id = c.document_id
       AND d.visible_to IS NULL AND c.chunk_id = ANY(d.chunk_ids))"""
TWICE = """
SELECT count(*) FROM freshet.embedding e JOIN freshet.chunk c USING (space_id, text_sha256)"""
Rows = list[tuple[Any, ...]]


class History:
    """A source that random things happen to."""

    def __init__(self, pipeline: Pipeline, seed: int) -> None:
        self.pipeline = pipeline
        self.chance = random.Random(seed)
        self.texts = [self._text() for _ in range(12)]
        self.sent: list[KafkaRecord] = []
        self.clock = time.time() - 3_000

    def _text(self) -> str:
        sentence = "the weir and the gauge. "
        return "\n\n".join(
            f"Part {self.chance.randrange(6)}: " + sentence * self.chance.randrange(1, 40)
            for _ in range(self.chance.randrange(1, 5))
        )

    def _record(self, value: bytes | None, key: bytes) -> KafkaRecord:
        self.clock += 1
        at = round(self.clock * 1000)
        return KafkaRecord(topic="", partition=0, offset=0, timestamp_ms=at, key=key, value=value)

    def _event(self) -> KafkaRecord:
        number, version = self.chance.randrange(8), self.chance.randrange(1, 60)
        name, what = f"d{number}", self.chance.random()
        if 0.6 <= what < 0.8 and self.sent:
            old = self.chance.choice(self.sent)
            return self._record(old.value, old.key or b"")
        if what >= 0.9:
            return self._record(None, name.encode())
        event = make_event(name, version, op="delete")
        if what < 0.8:
            language = self.chance.choice((None, "de", "en", "tlh"))
            text = self.texts[(version + number) % 12]
            event = make_event(name, version, text, language=language)
        return self._record(json.dumps(event).encode(), name.encode())

    def ingest(self) -> None:
        events = [self._event() for _ in range(self.chance.randrange(1, 8))]
        self.sent += events
        report = self.pipeline.ingest(*events)
        outcomes = (report.applied, report.unchanged, report.superseded)
        assert report.records == len(events) == sum(outcomes)

    def expire(self) -> None:
        self.pipeline.expire(after_seconds=self.chance.randrange(2_500, 3_000))

    def as_of(self, instant: Any) -> Rows:
        return self.pipeline.connection.execute(AS_OF, {"t": instant}).fetchall()

    def query(self, statement: str) -> Rows:
        return self.pipeline.connection.execute(statement).fetchall()


@pytest.mark.parametrize("seed", range(3))
def test_as_of_every_batch(pipeline: Pipeline, seed: int) -> None:
    history = History(pipeline, seed)
    kept: list[tuple[Any, Rows]] = []
    for _ in range(50):
        if history.chance.random() < 0.12:
            history.expire()
        else:
            history.ingest()
        ((instant,),) = history.query("SELECT last_published_at FROM freshet.source")
        rows = history.as_of(instant)
        kept.append((instant, rows))
        versions = {name: version for name, (version, _) in pipeline.visible().items()}
        assert {row[0]: row[1] for row in rows} == versions
        assert [row for row in rows if row[3] != row[4]] == []
    for instant, rows in kept:
        assert history.as_of(instant) == rows
    assert max(pipeline.embedder.embedded.values(), default=1) == 1
    assert history.query(STRAY) == [(0,)]
    assert pipeline.wrongly_indexed() == []
    ((ledger, vectors),) = history.query(
        """SELECT (SELECT sum(texts_embedded) FROM freshet.batch),
                  (SELECT count(*) FROM (SELECT space_id, text_sha256 FROM freshet.embedding
                                         UNION SELECT space_id, text_sha256 FROM freshet.chunk) v)"""
    )
    assert ledger == vectors
    assert history.query(TWICE) == [(0,)]
    ranges = history.query("SELECT first_offset, next_offset FROM freshet.batch_range ORDER BY 1")
    starts = [first for first, _ in ranges]
    assert starts == [0, *(end for _, end in ranges)][: len(ranges)]
