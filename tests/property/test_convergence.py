"""Promises 1, 2, 3, 4, 6, 9 over whatever may happen on the way: the visible corpus is the fold of the log.

Any log of few documents (versions, deletes, deletes without a version, contents that come again, records of no use),
dealt to partitions by key, cut into references anywhere, delivered again and overlapping, grouped into batches in any
way, and prepared ahead of the publication of what precedes them.
"""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from compose.local.parts.postgres import Postgres
from corpus.batch import BatchRef, PreparedBatch
from corpus.clean.cleaner import Cleaner
from corpus.errors import MissingVectorError, StalePreparationError
from ingest.event import KafkaRecord
from tests.support.fakes import HashEmbedder
from tests.support.pipeline import NOW_MS, Pipeline, make_event

PARTITIONS = 2
IDS = "abcd"
_PARAGRAPHS = [
    f"Paragraph {n}: " + "the gauging station at the weir recorded a level. " * 12 for n in range(6)
]
# Texts that share paragraphs, one with a paragraph twice, one empty.
CONTENTS = [
    "",
    "short",
    *(
        "\n\n".join(_PARAGRAPHS[n] for n in places)
        for places in ((0, 1, 2, 3), (0, 1, 4, 3), (3, 2, 2), (5, 0, 1, 2, 3))
    ),
]
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Change:
    """One event of the log."""

    op: str  # upsert, delete, tombstone, poison
    document_id: str
    version: int
    content: int  # of CONTENTS

    def record(self) -> KafkaRecord | bytes | dict[str, object]:
        if self.op == "poison":
            return b"no json"
        if self.op == "tombstone":
            return KafkaRecord(
                topic="",
                partition=0,
                offset=0,
                timestamp_ms=NOW_MS,
                key=self.document_id.encode(),
                value=None,
            )
        if self.op == "delete":
            return make_event(self.document_id, self.version, op="delete")
        return make_event(
            self.document_id, self.version, CONTENTS[self.content], content_type="text/plain"
        )


CHANGES = st.builds(
    Change,
    op=st.sampled_from(["upsert"] * 6 + ["delete", "tombstone", "poison"]),
    document_id=st.sampled_from(IDS),
    version=st.integers(0, 5),
    content=st.integers(0, len(CONTENTS) - 1),
)


@dataclass(frozen=True)
class MicroBatch:
    """A reference: how many new records it brings, and how many it brings again."""

    partition: int
    fresh: int
    again: int
    closes_batch: bool


CUTS = st.lists(
    st.builds(
        MicroBatch,
        partition=st.integers(0, PARTITIONS - 1),
        fresh=st.integers(0, 5),
        again=st.integers(0, 4),
        closes_batch=st.booleans(),
    ),
    max_size=14,
)


def model(log: list[Change]) -> dict[str, tuple[int, str]]:
    """Apply the log one by one: document id -> (version, hash of the content), as it is visible at the end."""
    heads: dict[str, tuple[int, str | None]] = {}
    for change in log:
        known = heads.get(change.document_id)
        if change.op == "tombstone" and known is not None:
            heads[change.document_id] = (known[0], None)
        elif change.op in ("upsert", "delete") and (known is None or change.version > known[0]):
            digest = (
                hashlib.sha256(CONTENTS[change.content].encode()).hexdigest()
                if change.op == "upsert"
                else None
            )
            heads[change.document_id] = (change.version, digest)
    return {
        name: (version, digest) for name, (version, digest) in heads.items() if digest is not None
    }


def deal(pipeline: Pipeline, log: list[Change], cuts: list[MicroBatch]) -> list[list[BatchRef]]:
    """Partition by key, cut into references as asked, the rest at the end; group them into batches."""
    partitions: list[list[KafkaRecord]] = []
    for partition in range(PARTITIONS):
        mine = [
            change.record()
            for change in log
            if IDS.index(change.document_id) % PARTITIONS == partition
        ]
        partitions.append(pipeline.records(mine, partition=partition))
    done = [0] * PARTITIONS
    batches: list[list[BatchRef]] = [[]]
    for cut in [
        *cuts,
        *(
            MicroBatch(partition, len(log), 0, partition % 2 == 0)
            for partition in range(PARTITIONS)
        ),
    ]:
        records = partitions[cut.partition]
        first, end = (
            max(0, done[cut.partition] - cut.again),
            min(len(records), done[cut.partition] + cut.fresh),
        )
        if first < end:
            batches[-1].append(pipeline.stage(records[first:end]))
            done[cut.partition] = end
        if cut.closes_batch:
            batches.append([])
    return [batch for batch in batches if batch]


def publish_all(
    pipeline: Pipeline, batches: list[list[BatchRef]], ahead: int
) -> dict[datetime, dict[str, tuple[int, str]]]:
    """Publish in order, and return what was visible after each batch.

    Each batch is prepared while up to `ahead` batches before it are not published.
    """
    prepared: dict[int, PreparedBatch] = {}
    seen: dict[datetime, dict[str, tuple[int, str]]] = {}
    for place, refs in enumerate(batches):
        for coming in range(place, min(place + 1 + ahead, len(batches))):
            if coming not in prepared:
                prepared[coming] = pipeline.prepare(batches[coming], coming + 1)
                pipeline.embed(prepared[coming])
        while True:
            try:
                report = pipeline.publish(refs, prepared[place], place + 1)
                break
            except (StalePreparationError, MissingVectorError) as error:
                event(type(error).__name__)
                prepared[place] = pipeline.prepare(refs, place + 1)
                pipeline.embed(prepared[place])
        if report.published_at_ms:
            row = pipeline.connection.execute(
                "SELECT last_published_at FROM freshet.source WHERE source = %s",
                (pipeline.spec.source,),
            ).fetchone()
            assert row is not None
            seen[row[0]] = visible(pipeline, None)
    return seen


def visible(pipeline: Pipeline, instant: datetime | None) -> dict[str, tuple[int, str]]:
    """Return document id -> (version, hash of the content).

    Checks that exactly the chunks that the documents list are visible.
    """
    then = (
        "visible_to IS NULL"
        if instant is None
        else "visible_from <= %(at)s AND (visible_to IS NULL OR visible_to > %(at)s)"
    )
    values = {"source": pipeline.spec.source, "at": instant}
    rows = pipeline.connection.execute(
        f"""SELECT document_id, version, encode(content_sha256, 'hex'), chunk_ids
            FROM freshet.document WHERE source = %(source)s AND {then}""",
        values,
    ).fetchall()
    assert len({row[0] for row in rows}) == len(rows), "two versions of one document"
    chunks = pipeline.connection.execute(
        f"SELECT document_id, chunk_id FROM freshet.chunk WHERE source = %(source)s AND {then}",
        values,
    ).fetchall()
    assert sorted(chunks) == sorted({(row[0], chunk) for row in rows for chunk in row[3]})
    return {row[0]: (row[1], row[2]) for row in rows}


@pytest.fixture(scope="module")
def converging(
    postgres_server: Postgres, postgres_url: str
) -> Iterator[tuple[str, HashEmbedder, Cleaner]]:
    """One database, one embedder and one cleaner for all examples; each is a source of its own."""
    assert postgres_url
    postgres_server.create_database("converging", template="freshet")
    with Cleaner(processes=1) as cleaner:
        yield postgres_server.url_of("converging"), HashEmbedder(), cleaner
    postgres_server.drop_database("converging")


@pytest.mark.timeout(180)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(log=st.lists(CHANGES, min_size=12, max_size=60), cuts=CUTS, ahead=st.integers(0, 3))
def test_the_corpus_is_the_fold_of_the_log(
    converging: tuple[str, HashEmbedder, Cleaner],
    tmp_path: Path,
    log: list[Change],
    cuts: list[MicroBatch],
    ahead: int,
) -> None:
    url, embedder, cleaner = converging
    with Pipeline(
        url, tmp_path, source=f"s{next(_NUMBERS)}", cleaner=cleaner, embedder=embedder
    ) as pipeline:
        batches = deal(pipeline, log, cuts)
        note(
            f"{[[(ref.partition, ref.first_offset, ref.next_offset) for ref in batch] for batch in batches]}"
        )
        seen = publish_all(pipeline, batches, ahead)

        assert visible(pipeline, None) == model(log)
        for instant, expected in seen.items():
            assert visible(pipeline, instant) == expected
        assert max(embedder.embedded.values(), default=1) == 1
        sums = pipeline.connection.execute(
            """SELECT sum(records), sum(applied + unchanged + superseded + dead_lettered + ignored), sum(dead_lettered)
               FROM freshet.batch WHERE source = %s""",
            (pipeline.spec.source,),
        ).fetchone()
        assert sums == (len(log), len(log), sum(change.op == "poison" for change in log))
        ranges = pipeline.connection.execute(
            "SELECT partition, first_offset, next_offset FROM freshet.batch_range WHERE source = %s ORDER BY 1, 2",
            (pipeline.spec.source,),
        ).fetchall()
        for partition in range(PARTITIONS):
            mine = [row[1:] for row in ranges if row[0] == partition]
            assert [start for start, _ in mine] == [0, *(end for _, end in mine)][: len(mine)]
            assert pipeline.position(partition) == (mine[-1][1] if mine else 0)
