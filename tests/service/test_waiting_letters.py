"""Dead letters that wait are sent again by themselves, once, when their time has come."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.rows import dict_row

from corpus.database import Connection, fetch_one, open_pool
from ingest.condition import origins_awaited
from ingest.dead_letters import waiting
from ingest.dead_letters.waiting import WaitingLetters
from tests.support.pipeline import Pipeline, make_event

pytestmark = pytest.mark.service


@pytest.fixture
def docs(database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(database_url, tmp_path) as made:
        yield made


def sent(monkeypatch: pytest.MonkeyPatch, *, refuses: bool = False) -> list[int]:
    """The numbers of the letters that are redriven, in place of Kafka."""
    numbers: list[int] = []

    def redrive(connection: Connection, kafka: dict[str, Any], letters: list[int]) -> list[int]:
        if refuses:
            raise waiting.DependencyError("Kafka accepted none of the dead letters")
        numbers.extend(letters)
        connection.execute(
            "UPDATE freshet.dead_letter SET state = 'redriven' WHERE dead_letter = ANY(%s)",
            (letters,),
        )
        return letters

    monkeypatch.setattr(waiting, "redrive", redrive)
    return numbers


def wait(docs: Pipeline, seconds: int, count: int = 1) -> None:
    """Dead letters that are due in so many seconds."""
    docs.ingest(*(make_event(f"d{n}", 1, "Text.", op="odd") for n in range(count)))
    docs.connection.execute(
        """INSERT INTO freshet.waiting_fetch
           SELECT dead_letter, source, 'h', now(), now() + make_interval(secs => %s)
           FROM freshet.dead_letter WHERE dead_letter NOT IN (SELECT dead_letter FROM freshet.waiting_fetch)""",
        (seconds,),
    )


def test_what_is_due_is_redriven_once(
    docs: Pipeline, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait(docs, -1, 2)
    wait(docs, 600)
    numbers = sent(monkeypatch)
    with open_pool(database_url, size=2) as pool:
        letters = WaitingLetters(pool, dict)
        assert letters.redrive_some() == 2
        assert letters.redrive_some() == 0
    assert numbers == [1, 2]
    left = docs.connection.execute(
        "SELECT count(*), count(retry_at) FROM freshet.waiting_fetch"
    ).fetchone()
    assert left == (3, 1)


def test_what_a_person_has_settled_is_left_alone(
    docs: Pipeline, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait(docs, -1)
    docs.connection.execute("UPDATE freshet.dead_letter SET state = 'discarded'")
    numbers = sent(monkeypatch)
    with open_pool(database_url, size=1) as pool:
        assert WaitingLetters(pool, dict).redrive_some() == 0
    assert numbers == []


def test_a_topic_that_may_not_be_written_is_tried_later(
    docs: Pipeline, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait(docs, -1)
    sent(monkeypatch, refuses=True)
    with open_pool(database_url, size=1) as pool:
        assert WaitingLetters(pool, dict).redrive_some() == 0
    row = docs.connection.execute(
        """SELECT w.retry_at > now() + interval '60 s', l.state
           FROM freshet.waiting_fetch w JOIN freshet.dead_letter l USING (dead_letter)"""
    ).fetchone()
    assert row == (True, "open")


def test_the_overview_names_the_hosts(docs: Pipeline) -> None:
    def said() -> str:
        row = fetch_one(docs.connection, dict_row, "source_overview")
        assert row is not None
        return origins_awaited(row)

    assert said() == ""
    wait(docs, 60, 6)
    docs.connection.execute(
        """UPDATE freshet.waiting_fetch SET waits_since = now() - interval '90 seconds',
           host = CASE WHEN dead_letter > 3 THEN 'often' ELSE 'h' || dead_letter END"""
    )
    assert said() == (
        "6 documents wait for their origin (often, h1, h2 and 1 others), the first of them for 90 s; "
        "they are asked for again by themselves"
    )
