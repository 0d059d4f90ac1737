"""Parts of a backfill are published once, move no position, and change only what their records say otherwise now."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.batch import BatchKind
from corpus.clean.cleaner import Cleaner
from corpus.source import VersionRule
from corpus.specs.fetch import FetchSpec
from corpus.specs.formats import MappingSpec
from ingest.event import KafkaRecord
from tests.support.debezium import UNAVAILABLE, change
from tests.support.pipeline import Pipeline, make_event
from tests.support.redriven import copy_of
from tests.support.reference_server import Server, serving, status

pytestmark = pytest.mark.service
MAPPING = MappingSpec(id="id", version="version", content="body", acl="readers?")
WITH_NOTE = replace(MAPPING, content="{body} {note}")


@pytest.fixture
def rows(database_url: str, tmp_path: Path, cleaner: Cleaner) -> Iterator[Pipeline]:
    spec: dict[str, Any] = {"format": "json", "mapping": MAPPING}
    with Pipeline(database_url, tmp_path, cleaner=cleaner, **spec) as made:
        yield made


def row(number: int, version: int = 1, **other: Any) -> dict[str, Any]:
    body = f"Body {number} in version {version}."
    return {"id": f"d{number}", "version": version, "body": body, "note": f"Note {number}."} | other


def begin(pipeline: Pipeline) -> int:
    """A backfill's row."""
    pipeline.connection.execute("UPDATE freshet.backfill SET state = 'done', ended_at = now()")
    made = pipeline.connection.execute(
        """INSERT INTO freshet.backfill (source, ranges, wanted) VALUES (%s, '[]', 0)
           RETURNING backfill""",
        (pipeline.spec.source,),
    ).fetchone()
    assert made is not None
    return int(made[0])


def again(pipeline: Pipeline, records: Sequence[KafkaRecord]) -> Any:
    """Read records again, as one part."""
    return pipeline.run(pipeline.stage(records, backfill=begin(pipeline)))


def use(pipeline: Pipeline, **changes: Any) -> None:
    pipeline.spec = replace(pipeline.spec, **changes)
    pipeline.configure()


def test_a_part_is_published_once_and_moves_nothing(rows: Pipeline) -> None:
    records = rows.records([row(1), row(2)])
    rows.run(rows.stage(records))
    position = rows.position(0)
    use(rows, mapping=WITH_NOTE)
    ref = rows.stage(records, backfill=begin(rows))
    first = rows.run(ref)
    assert (first.kind, first.applied, first.published_at_ms > 0) == (BatchKind.BACKFILL, 2, True)
    # Handed over once more, whether its file is there or not.
    second = rows.run(ref)
    assert (second.records, second.published_at_ms) == (0, 0)
    assert rows.position(0) == position
    assert rows.texts() == {
        "d1": "Body 1 in version 1. Note 1.",
        "d2": "Body 2 in version 1. Note 2.",
    }
    third = again(rows, records)
    assert (third.unchanged, third.documents_written, third.texts_embedded) == (2, 0, 0)


def test_what_is_newer_deleted_or_withdrawn_stays(rows: Pipeline) -> None:
    use(rows, mapping=replace(MAPPING, deleted_when=("gone = true",)))
    records = rows.records([row(1), row(2), row(3), row(1, 2), row(2, 2, gone=True)])
    rows.run(rows.stage(records))
    rows.expire(after_seconds=0)
    rows.ingest(row(4))
    use(rows, mapping=WITH_NOTE)
    report = again(rows, records)
    assert report.documents_written <= 1  # d2: its mapping no longer says that it is deleted
    assert set(rows.visible()) <= {"d2", "d4"}
    assert rows.texts()["d4"] == "Body 4 in version 1."


def test_an_access_list_takes_effect(rows: Pipeline) -> None:
    records = rows.records([row(1, readers=["a"], owners=["b"])])
    rows.run(rows.stage(records))
    use(rows, mapping=replace(MAPPING, acl="owners"))
    again(rows, records)
    [(acl,)] = rows.connection.execute(
        "SELECT acl FROM freshet.document WHERE visible_to IS NULL"
    ).fetchall()
    assert acl == ["b"]


def test_some_records_of_a_range_are_a_part(rows: Pipeline) -> None:
    records = rows.records([row(number) for number in range(5)])
    rows.run(rows.stage(records))
    use(rows, mapping=WITH_NOTE)
    report = again(rows, [records[1], records[3]])
    assert report.applied == 2
    assert [name for name, text in rows.texts().items() if "Note" in text] == ["d1", "d3"]


def test_a_large_column_that_a_change_leaves_out_stays(
    database_url: str, tmp_path: Path, cleaner: Cleaner
) -> None:
    long = "The long text of a row, which no update touches."
    mapping = MappingSpec(content="{title} {big}", title="title")
    spec: dict[str, Any] = {"format": "debezium", "mapping": mapping}
    spec["version_rule"] = VersionRule.OWN
    with Pipeline(database_url, tmp_path, cleaner=cleaner, **spec) as table:
        records = table.records(
            [
                change("c", 10, {"id": 1, "title": "One", "big": long}),
                change("u", 20, {"id": 1, "title": "Two", "big": UNAVAILABLE}),
            ]
        )
        for record in records:
            table.run(table.stage([record]))
        for record in records:
            report = again(table, [record])
            assert report.dead_lettered == 0
        assert table.texts() == {"1": f"Two {long}"}
        use(table, mapping=replace(mapping, content="{big} {title}"))
        again(table, records)
        assert table.texts() == {"1": f"{long} Two"}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(2))
def test_any_order_of_new_and_repeated_records_comes_to_the_same(rows: Pipeline, seed: int) -> None:
    rng = random.Random(seed)
    print(f"seed {seed}")
    events = [row(rng.randrange(6), rng.randrange(1, 5)) for _ in range(24)]
    newest: dict[str, int] = {}
    for event in events:
        name = event["id"]
        newest[name] = max(event["version"], newest.get(name, 0))
    use(rows, mapping=WITH_NOTE)
    records = rows.records(events)
    done = 0
    while done < len(records):
        end = min(done + rng.randrange(1, 8), len(records))
        rows.run(rows.stage(records[done:end]))
        done = end
        begun = rng.randrange(done)
        again(rows, records[begun : rng.randrange(begun + 1, done + 1)])
    assert {name: version for name, (version, _) in rows.visible().items()} == newest
    assert rows.position(0) == len(records)


# ── what a backfill read and could not use is redriven ──────────────────────────────────────────────────────────────


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


def letters(pipeline: Pipeline) -> list[str]:
    rows = pipeline.connection.execute("SELECT state FROM freshet.dead_letter ORDER BY dead_letter")
    return [state for (state,) in rows]


def test_a_record_that_was_mended_and_fails_again_has_an_open_dead_letter(rows: Pipeline) -> None:
    """One that is open, or was discarded by a person, keeps its row."""
    records = rows.records([row(1)])
    wrong = replace(MAPPING, title="missing_title")
    use(rows, mapping=wrong)
    rows.run(rows.stage(records))
    use(rows, mapping=MAPPING)
    again(rows, records)
    assert letters(rows) == ["redriven"]
    use(rows, mapping=wrong)
    for _ in range(2):
        assert again(rows, records).dead_lettered == 1
        assert letters(rows) == ["redriven", "open"]
    rows.connection.execute(
        "UPDATE freshet.dead_letter SET state = 'discarded' WHERE state = 'open'"
    )
    again(rows, records)
    assert letters(rows) == ["redriven", "discarded"]


@pytest.fixture
def linked(
    database_url: str, tmp_path: Path, cleaner: Cleaner, server: Server
) -> Iterator[tuple[Pipeline, list[KafkaRecord]]]:
    """A document that has changed at its origin, which then did not answer the backfill of its record."""
    fetch = FetchSpec(internal_hosts=("127.0.0.1",), plain_http=True, timeout_seconds=2.0)
    with Pipeline(database_url, tmp_path, cleaner=cleaner, fetch=fetch) as docs:
        event = make_event("a", 1, content_url=server.url("/plain/a"))
        del event["content_type"]
        records = docs.records([event])
        docs.run(docs.stage(records))
        server.answers["plain"] = status(503)
        report = again(docs, records)
        assert (report.applied, report.dead_lettered) == (0, 1)
        yield docs, records


@pytest.mark.parametrize("copies", [1, 3])
def test_the_copy_of_a_record_that_waited_does_what_the_backfill_was_to_do(
    linked: tuple[Pipeline, list[KafkaRecord]], server: Server, copies: int
) -> None:
    """However often it had to wait again; it was counted as unchanged, and the change was never read."""
    docs, _ = linked
    for number in range(1, copies):
        assert docs.ingest(copy_of(docs, number)).dead_lettered == 1
    del server.answers["plain"]
    server.texts["/plain/a"] = "The weir was closed in the evening."
    report = docs.ingest(copy_of(docs, copies))
    assert (report.applied, report.unchanged, report.documents_written) == (1, 0, 1)
    assert docs.visible() == {"a": (1, "The weir was closed in the evening.")}
    # Once more, and by a backfill, it says the same.
    report = docs.ingest(copy_of(docs, copies))
    assert (report.unchanged, report.documents_written) == (1, 0)


def test_a_record_that_only_says_that_it_is_such_a_copy_is_none(
    linked: tuple[Pipeline, list[KafkaRecord]], server: Server
) -> None:
    """Anyone may write the header: the bytes have to be those that the backfill read."""
    docs, _ = linked
    before = docs.visible()
    del server.answers["plain"]
    copy = copy_of(docs, 1)
    forged = replace(copy, value=(copy.value or b"").replace(b"/plain/a", b"/plain/b"))
    report = docs.ingest(forged)
    assert (report.applied, report.documents_written) == (0, 0)
    # Nor is it a copy where the letter is of the live stream, and the version is there by now.
    docs.connection.execute("UPDATE freshet.batch SET kind = 'ingest'")
    server.texts["/plain/a"] = "The weir was closed in the evening."
    assert docs.ingest(copy).documents_written == 0
    assert docs.visible() == before


def test_a_newer_version_stays_beside_such_a_copy(
    linked: tuple[Pipeline, list[KafkaRecord]], server: Server
) -> None:
    docs, records = linked
    del server.answers["plain"]
    server.texts["/plain/a"] = "The weir was closed in the evening."
    copy = copy_of(docs, 1)
    docs.ingest(make_event("a", 2, "A second version."))
    assert docs.ingest(copy).superseded == 1
    assert docs.visible() == {"a": (2, "A second version.")}
    assert again(docs, records).superseded == 1
