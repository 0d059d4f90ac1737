"""Several outboxes on one database: each dead letter is sent by one of them, whatever happens to the others."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from ingest.dead_letters import outbox as outbox_module
from ingest.dead_letters.outbox import Outbox
from tests.support.fake_kafka import FakeCluster, FakeProducer
from tests.support.pipeline import Pipeline
from tests.support.polling import wait_until

pytestmark = pytest.mark.service

LETTERS = 30


class Outboxes:
    """Outboxes of one database, and everything that their producers sent."""

    def __init__(self, pool: ConnectionPool[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.pool = pool
        self.producers: list[FakeProducer] = []
        monkeypatch.setattr(outbox_module, "Producer", self._make_producer)

    def _make_producer(self, properties: dict[str, Any]) -> FakeProducer:
        self.producers.append(FakeProducer(properties))
        return self.producers[-1]

    def make(self) -> Outbox:
        cluster: Any = FakeCluster({})
        return Outbox(self.pool, cluster, {})

    def sent(self) -> list[int]:
        """Numbers of the dead letters that the broker acknowledged."""
        sent = [message for producer in self.producers for message in producer.acknowledged]
        return sorted(int(dict(message["headers"])["freshet.dead-letter"]) for message in sent)


@pytest.fixture
def outboxes(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outboxes]:
    pipeline.ingest(*([b"not an event"] * LETTERS))
    yield Outboxes(pipeline.pool, monkeypatch)


def unmarked(pipeline: Pipeline) -> list[int]:
    rows = pipeline.connection.execute(
        "SELECT dead_letter FROM freshet.dead_letter WHERE produced_at IS NULL ORDER BY 1"
    ).fetchall()
    return [row[0] for row in rows]


def test_what_one_outbox_sends_no_other_sends(pipeline: Pipeline, outboxes: Outboxes) -> None:
    """The second one looks while the first one has sent and not marked yet."""
    letters = unmarked(pipeline)
    first, second = outboxes.make(), outboxes.make()
    flush = outboxes.producers[0].flush
    others: list[int] = []

    def slow_flush(seconds: float = 0) -> int:
        others.append(second.produce_some())
        return flush(seconds)

    outboxes.producers[0].flush = slow_flush  # type: ignore[method-assign]
    assert first.produce_some() == LETTERS
    assert (others, outboxes.sent(), unmarked(pipeline)) == ([0], letters, [])


def test_outboxes_side_by_side_send_each_letter_once(
    pipeline: Pipeline, outboxes: Outboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "_MAX_ROWS", 4)
    letters = unmarked(pipeline)
    made = [outboxes.make() for _ in range(3)]
    threads = [threading.Thread(target=lambda one=one: until_empty(one)) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    wait_until(lambda: made[0].produce_some() == 0 and not unmarked(pipeline))
    assert outboxes.sent() == letters


def until_empty(outbox: Outbox) -> None:
    while outbox.produce_some():
        pass


def test_the_letters_of_an_outbox_that_ended_are_sent_when_its_claim_ends(
    pipeline: Pipeline, outboxes: Outboxes
) -> None:
    letters = unmarked(pipeline)
    killed, other = outboxes.make(), outboxes.make()
    outboxes.producers[0].silent = True
    with pytest.raises(outbox_module.DependencyError):
        killed.produce_some()
    assert other.produce_some() == 0
    pipeline.connection.execute("UPDATE freshet.dead_letter SET claimed_until = now()")
    assert other.produce_some() == LETTERS
    assert (outboxes.sent(), unmarked(pipeline)) == (letters, [])


def test_an_outbox_that_was_frozen_for_longer_than_its_claim_sends_nothing(
    pipeline: Pipeline, outboxes: Outboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = unmarked(pipeline)
    frozen, other = outboxes.make(), outboxes.make()
    claim = frozen._unproduced

    def frozen_after_claiming(*arguments: Any) -> Any:
        claimed = claim(*arguments)
        pipeline.connection.execute("UPDATE freshet.dead_letter SET claimed_until = now()")
        assert other.produce_some() == LETTERS
        monkeypatch.setattr(outbox_module, "_SENDING_SECONDS", -1.0)
        return claimed

    monkeypatch.setattr(frozen, "_unproduced", frozen_after_claiming)
    with pytest.raises(outbox_module.DependencyError):
        frozen.produce_some()
    assert (outboxes.sent(), unmarked(pipeline)) == (letters, [])


def test_a_letter_that_kafka_refuses_is_free_for_others_at_once(
    pipeline: Pipeline, outboxes: Outboxes
) -> None:
    refusing, other = outboxes.make(), outboxes.make()
    outboxes.producers[0].refusals["s.dead-letters"] = 1
    assert refusing.produce_some() == 0
    assert other.produce_some() == LETTERS
    assert unmarked(pipeline) == []


def test_a_specification_that_cannot_be_read_keeps_only_its_own_letters(
    pipeline: Pipeline, outboxes: Outboxes
) -> None:
    pipeline.connection.execute("UPDATE freshet.source SET spec = '{}'")
    outbox = outboxes.make()
    assert outbox.produce_some() == 0
    assert outbox._paused_until.keys() == {"s"}
    assert len(unmarked(pipeline)) == LETTERS
