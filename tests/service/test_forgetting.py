"""Random lives of a source, with kills at any step: nothing of what is erased remains in any store, whatever comes.

The tables are not named: every column of every table of the schema is searched, so that a table that is added later is
searched, too.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from psycopg.rows import scalar_row

from corpus.audit.audit import AuditCursor, Phase
from corpus.batch import BatchRef, Erase
from corpus.clean.cleaner import Cleaner
from corpus.database import Connection, fetch_all
from corpus.deliver.notices import acknowledge, next_notice, park
from corpus.deliver.subscription import Acknowledgement, DeliveryInput, Parking
from corpus.erase.finisher import EraseFinisher
from ingest.event import KafkaRecord
from tests.service.test_erasure import found_in_files, found_in_tables, replay, unfinished
from tests.support.auditing import Auditor, KeptLog
from tests.support.pipeline import NOW_MS, Pipeline, make_event, tombstone

STEPS = 24
NAMES = 8
# Where a process may be killed: before the call, so that what it does is lost.
MOMENTS = (
    "corpus.erase.finisher.EraseFinisher._holding",
    "corpus.erase.finisher._remove_later",
    "corpus.erase.finisher._write_receipt",
    "corpus.publish.changes._open_chunks",
    "corpus.publish.erasure.record_batch",
    "corpus.publish.erasure.remove_from_stores",
    "corpus.publish.publisher.move_positions",
    "corpus.staging.store.StagingStore.delete",
    "corpus.staging.store.StagingStore.get",
)
SUBSCRIPTION = DeliveryInput(subscriber="t", source="s")


class Killed(BaseException):
    """A process was killed."""


@contextmanager
def killed_at(moment: str) -> Iterator[None]:
    """Whoever comes to this moment is killed there, once; nobody may come."""
    with pytest.MonkeyPatch.context() as patch:

        def kill(*_: Any, **__: Any) -> None:
            patch.undo()
            raise Killed(moment)

        patch.setattr(moment, kill)
        yield


def secret(name: str) -> str:
    """A text that only this document has, in whatever field."""
    return f"secret of {name}"


def content_of(name: str, version: int) -> str:
    return f"# Heading {secret(name)}\n\nText {version}, {secret(name)}.\n\nShared by all."


def needles(names: Sequence[str]) -> list[str]:
    """What would tell of these documents: ids, texts, groups, and plain hashes of them."""
    texts = [*names, *map(secret, names)]
    contents = [content_of(name, version) for name in names for version in range(60)]
    return [*texts, *(sha256(text.encode()).hexdigest() for text in [*texts, *contents])]


def erased_of(connection: Connection, names: Sequence[str]) -> set[str]:
    """Those of some documents that are erased."""
    values = {"source": "s", "names": [name.encode() for name in names]}
    erased = fetch_all(connection, scalar_row, "erased_names", values)
    return {name.decode() for name in erased}


@dataclass
class Life:
    """A source that random things happen to."""

    pipeline: Pipeline
    chance: random.Random
    auditor: Auditor
    doomed: set[str]
    records: list[KafkaRecord] = field(default_factory=list[KafkaRecord])
    waiting: list[BatchRef] = field(default_factory=list[BatchRef])
    orders: list[Erase] = field(default_factory=list[Erase])
    audit: AuditCursor | None = None
    asked: set[str] = field(default_factory=set[str])

    def names(self) -> list[str]:
        return [f"id-{number}-é" for number in range(NAMES)]

    def event(self) -> dict[str, Any] | KafkaRecord | bytes:
        name = self.chance.choice(self.names())
        version = self.chance.randrange(1, 60)
        match self.chance.randrange(10):
            case 0:
                return make_event(name, version, op="delete")
            case 1:
                return make_event(name, version, op="nonsense", content=secret(name))
            case 2:  # its id can be seen, by who looks into the bytes
                as_ascii = self.chance.random() < 0.5
                value = {"id": name, "op": [], "secret": secret(name)}
                return json.dumps(value, ensure_ascii=as_ascii).encode()[:-1]
            case 3:
                return tombstone(name)
            case _:
                return make_event(
                    name, version, content_of(name, version),
                    title=secret(name), uri=f"https://wiki/{name}", acl=["all", name],
                    metadata={"owner": secret(name)},
                    language=self.chance.choice(("en", "de")),
                )  # fmt: skip

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────────────

    def stage(self) -> None:
        events = [self.event() for _ in range(self.chance.randint(1, 6))]
        partition = self.chance.randrange(2)
        records = self.pipeline.records(events, partition=partition)
        self.records += records
        self.waiting.append(self.pipeline.stage(records))

    def publish(self) -> None:
        """All that is staged, as one batch, by a storer that may be killed; it stays staged then."""
        if not self.waiting:
            self.stage()
        self.pipeline.run(*self.waiting)
        self.waiting.clear()

    def prepare_only(self) -> None:
        """A batch that is prepared and embedded, and whose storer then waits."""
        if self.waiting:
            self.pipeline.embed(self.pipeline.prepare(self.waiting, self.pipeline.number()))

    def leave_behind(self) -> None:
        """A file that was staged again by a consumer that ended."""
        some = self.records[-3:]
        if some and len({record.partition for record in some}) == 1:
            self.pipeline.stage(some)

    def redrive(self) -> None:
        """The bytes of a dead letter once more, at a new position."""
        letters = self.pipeline.connection.execute(
            "SELECT key, value FROM freshet.dead_letter WHERE value IS NOT NULL ORDER BY dead_letter"
        ).fetchall()
        if not letters:
            return
        key, value = self.chance.choice(letters)
        record = KafkaRecord(
            topic="", partition=0, offset=0, timestamp_ms=NOW_MS, key=key, value=value
        )
        records = self.pipeline.records([record])
        self.records += records
        self.waiting.append(self.pipeline.stage(records))

    def correct(self) -> None:
        name = self.chance.choice(sorted(self.doomed))
        version = self.pipeline.visible().get(name, (0, ""))[0]
        if version > 0:
            self.pipeline.correct(name, version, 0)

    def mention(self) -> None:
        """Messages for people name documents, which are not erased yet."""
        erased = erased_of(self.pipeline.connection, self.names())
        name = self.chance.choice(sorted(set(self.names()) - erased))
        self.pipeline.connection.execute(
            "UPDATE freshet.source SET state_reason = %s", [f"documents changed, as '{name}'"]
        )
        self.pipeline.connection.execute(
            """INSERT INTO freshet.freshness_report (source, snapshotted_at, status, error, criteria,
                   duration_seconds, workflow_id, run_id)
               VALUES ('s', clock_timestamp(), 'runtime error', %s, '{}', 1, 'w', 'r')""",
            [f"cannot ask for {name}"],
        )
        park(
            self.pipeline.connection,
            Parking(subscriber="t", source="s", error=f'no "{name}"', parked=True),
        )

    def deliver(self) -> None:
        notice = next_notice(self.pipeline.connection, SUBSCRIPTION).notice
        if notice is not None:
            done = Acknowledgement(subscriber="t", source="s", batch=notice.batch)
            acknowledge(self.pipeline.connection, done)

    def audit_a_little(self) -> None:
        """Some steps of an audit, which then waits."""
        if self.waiting:
            return
        cursor = self.audit or self.auditor.begin()
        for _ in range(self.chance.randint(1, 3)):
            if cursor.phase is Phase.FINISH:
                self.auditor.staged.finish(cursor)
                cursor = self.auditor.begin()
            cursor = self.auditor.step(cursor)
        self.audit = cursor

    def order(self) -> None:
        """An erasure, of which the entity hears later; perhaps of what was asked for before."""
        name = self.chance.choice(sorted(self.doomed))
        self.asked.add(name)
        self.orders.append(self.pipeline.order_erasure(name))

    def carry_out(self) -> None:
        """As a storer does; one order may come twice."""
        if self.orders:
            self.pipeline.carry_out(self.chance.choice(self.orders))

    def finish(self) -> None:
        EraseFinisher(store=self.pipeline.store, pool=self.pipeline.pool).finish_all()

    def live(self) -> None:
        """One step, whose process may be killed; it is then tried again, or not for a while."""
        happens: list[Callable[[], None]] = [
            *(self.stage, self.stage, self.publish, self.publish, self.prepare_only),
            *(self.leave_behind, self.redrive, self.correct, self.mention, self.deliver),
            *(self.audit_a_little, self.order, self.carry_out, self.finish),
        ]
        step = self.chance.choice(happens)
        if self.chance.random() < 0.6:
            step()
            return
        with killed_at(self.chance.choice(MOMENTS)):
            try:
                step()
            except Killed:
                return

    def end(self) -> None:
        """Everything that waits is done: every doomed document is erased, what is staged is published."""
        for name in sorted(self.doomed - self.asked):
            self.orders.append(self.pipeline.order_erasure(name))
        for order in self.orders:
            self.pipeline.carry_out(order)
        if self.waiting:
            self.publish()
        self.finish()


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_nothing_of_what_is_erased_remains(
    database_url: str, tmp_path: Path, cleaner: Cleaner, seed: int | None
) -> None:
    seed = random.randrange(2**32) if seed is None else seed
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)
    keys = chance.choice([None, {"first": bytes(range(32))}])
    with Pipeline(database_url, tmp_path, cleaner=cleaner, payload_keys=keys) as pipeline:
        log = KeptLog(pipeline)
        life = Life(pipeline, chance, Auditor(pipeline, log), set())
        names = life.names()
        life.doomed = set(chance.sample(names, NAMES // 2))
        pipeline.connection.execute(
            "INSERT INTO freshet.subscription (subscriber, source, endpoint) VALUES ('t', 's', 'e')"
        )
        for _ in range(STEPS):
            life.live()
        life.end()
        erased = needles(sorted(life.doomed))
        assert unfinished(pipeline) == []
        assert found_in_tables(pipeline.connection, *erased) == {}
        assert found_in_files(tmp_path, *erased) == []
        kept = pipeline.visible()
        assert not life.doomed & kept.keys()

        read_again(life)
        assert pipeline.visible() == kept
        result = life.auditor.run()
        assert not life.doomed & {one.document_id for one in life.auditor.findings(result)}
        if life.auditor.findings(result):
            life.auditor.repair(result)
        assert pipeline.visible() == kept
        assert found_in_tables(pipeline.connection, *erased) == {}
        assert found_in_files(tmp_path, *erased) == []
        # What was kept is there: the search above can find.
        shown = needles(sorted(kept))
        assert not kept or found_in_tables(pipeline.connection, *shown).keys() >= {
            *("document", "chunk", "access_list", "record_outcome")
        }


def read_again(life: Life) -> None:
    """The whole topic, as after `freshet source rewind`."""
    for partition in (0, 1):
        records = [record for record in life.records if record.partition == partition]
        if records:
            replay(life.pipeline, records)


def test_the_search_for_what_remains_finds_each_kind_of_column(pipeline: Pipeline) -> None:
    """Also in a table that nobody has told it of."""
    pipeline.connection.execute(
        """CREATE TABLE freshet.added_later (a bytea, b jsonb, c text[], d text);
           INSERT INTO freshet.added_later VALUES ('\\x6e6565646c65', NULL, NULL, NULL);
           INSERT INTO freshet.added_later VALUES (NULL, '{"a": ["needle"]}', NULL, NULL);
           INSERT INTO freshet.added_later VALUES (NULL, NULL, '{x, needle}', NULL);
           INSERT INTO freshet.added_later VALUES (NULL, NULL, NULL, 'a needle.')"""
    )
    assert found_in_tables(pipeline.connection, "needle") == {"added_later": 4}
