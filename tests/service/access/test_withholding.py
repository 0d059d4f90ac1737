"""A record that takes a document from a group does so when it is read, and not when its batch is published."""

import random
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, LiteralString

import pytest

from corpus.access.reader import reading_as
from corpus.access.stated import StatedReaders
from corpus.access.withholding import show_all_again, withhold
from corpus.answer.search import search
from corpus.batch import BatchRef
from corpus.database import connect
from corpus.service import SearchRequest
from corpus.sessions.roles import WRITER
from corpus.source import VersionRule
from ingest.consume.withholder import Withholder
from tests.support.logins import reader, seen, session
from tests.support.pipeline import Pipeline, make_event

TEXT = "The keeper of the sluice wrote the level down."


def event(version: int, acl: list[str] | None, name: str = "d", **other: Any) -> dict[str, Any]:
    if acl is not None:
        other["acl"] = acl
    content = other.pop("content", f"{TEXT} {name}")
    return make_event(name, version, content, **other)


def read(pipeline: Pipeline, *events: Any, partition: int = 0, **place: Any) -> BatchRef:
    """What a consumer does with records: stage them, and withhold."""
    withholder = Withholder(pipeline.pool)
    records = pipeline.records(events, partition=partition, **place)
    reference = pipeline.stage(records, withhold=withholder.withhold)
    assert withholder.failures == 0
    return reference


def seen_by(pipeline: Pipeline, *groups: str) -> set[str]:
    return seen(pipeline.connection, reader(*groups))


def is_as_published(pipeline: Pipeline) -> bool:
    """Whether nothing is withheld, and every number is that of the list that was published."""
    [row] = pipeline.connection.execute(
        """SELECT count(*) FROM freshet.document d LEFT JOIN freshet.access_list a USING (access_id)
           WHERE d.is_head AND d.kind = 'document' AND (d.withheld IS NOT NULL
               OR ARRAY(SELECT DISTINCT unnest(d.acl) ORDER BY 1) IS DISTINCT FROM coalesce(a.acl, '{}')
               OR (d.acl IS NULL) <> (d.access_id IS NULL)
               OR EXISTS (SELECT FROM freshet.chunk c WHERE c.source = d.source AND c.document_id = d.document_id
                          AND c.visible_to IS NULL AND c.access_id IS DISTINCT FROM d.access_id))"""
    ).fetchall()
    return row == (0,)


@pytest.mark.parametrize("version", [1, 2], ids=["the same version", "a later one"])
@pytest.mark.parametrize("before", [None, ["it", "hr"]], ids=["no list", "a list"])
def test_it_is_withheld_before_it_is_published(
    pipeline: Pipeline, version: int, before: list[str] | None
) -> None:
    pipeline.ingest(event(1, before))
    reference = read(pipeline, event(version, ["hr"]))
    assert (seen_by(pipeline, "it"), seen_by(pipeline, "hr")) == (set(), {"d"})
    published = pipeline.run(reference)
    assert (published.applied, published.unchanged, published.texts_embedded) == (1, 0, 0)
    assert (seen_by(pipeline, "it"), seen_by(pipeline, "hr")) == (set(), {"d"})
    assert is_as_published(pipeline)


def test_an_empty_list_withholds_from_everybody(pipeline: Pipeline) -> None:
    pipeline.ingest(event(1, None))
    read(pipeline, event(1, []))
    assert seen_by(pipeline, "it", "hr") == set()


def test_what_widens_waits(pipeline: Pipeline) -> None:
    pipeline.ingest(event(1, ["hr"]), event(1, ["hr"], "other"))
    reference = read(pipeline, event(2, ["hr", "it"]), event(2, None, "other"))
    assert seen_by(pipeline, "it") == set()
    pipeline.run(reference)
    assert seen_by(pipeline, "it") == {"d", "other"}


def test_what_a_record_without_a_list_means_is_the_sources_default(pipeline: Pipeline) -> None:
    pipeline.spec = replace(pipeline.spec, default_acl=("hr",))
    pipeline.configure()
    pipeline.ingest(event(1, ["hr", "it"]))
    read(pipeline, event(2, None))
    assert (seen_by(pipeline, "it"), seen_by(pipeline, "hr")) == (set(), {"d"})


def test_a_batch_that_was_read_earlier_does_not_show_it_again(pipeline: Pipeline) -> None:
    pipeline.ingest(event(1, ["it", "hr"]))
    earlier = read(pipeline, event(2, ["it", "hr", "all"]))
    later = read(pipeline, event(3, ["hr"]))
    pipeline.run(earlier)
    assert pipeline.visible()["d"][0] == 2
    assert (seen_by(pipeline, "it"), seen_by(pipeline, "all")) == (set(), set())
    assert seen_by(pipeline, "hr") == {"d"}
    pipeline.run(later)
    assert seen_by(pipeline, "it") == set()
    assert is_as_published(pipeline)


def test_of_two_records_both_count(pipeline: Pipeline) -> None:
    pipeline.ingest(event(1, ["a", "b", "c"]))
    one = read(pipeline, event(2, ["a", "b"]))
    other = read(pipeline, event(3, ["b", "c"]), partition=1)
    assert [seen_by(pipeline, group) for group in "abc"] == [set(), {"d"}, set()]
    pipeline.run(one)
    assert [seen_by(pipeline, group) for group in "abc"] == [set(), {"d"}, set()]
    pipeline.run(other)
    assert [seen_by(pipeline, group) for group in "abc"] == [set(), {"d"}, {"d"}]
    assert is_as_published(pipeline)


@pytest.mark.parametrize(
    "record",
    [event(1, ["hr"]), event(3, ["hr"])],
    ids=["of an older version", "a version that is applied"],
)
def test_a_record_that_changes_nothing_withholds_nothing(
    pipeline: Pipeline, record: dict[str, Any]
) -> None:
    """A consumer that was frozen reads what is applied already."""
    read_before = pipeline.next_offset.get(0, 0)
    pipeline.ingest(record)
    pipeline.ingest(event(3, ["it"], uri="https://wiki/d"))
    read(pipeline, record, first_offset=read_before)
    assert seen_by(pipeline, "it") == {"d"}
    assert is_as_published(pipeline)


def test_a_record_that_becomes_a_dead_letter_withholds_until_then(pipeline: Pipeline) -> None:
    pipeline.ingest(event(1, ["it", "hr"]))
    reference = read(pipeline, event(2, ["hr"], content_type="application/x-unknown"))
    assert seen_by(pipeline, "it") == set()
    assert pipeline.run(reference).dead_lettered == 1
    assert seen_by(pipeline, "it") == {"d"}
    assert is_as_published(pipeline)


def test_a_second_record_withholds_behind_the_first(pipeline: Pipeline) -> None:
    pipeline.ingest(event(1, ["it", "hr"]))
    unusable = read(pipeline, event(2, ["hr"], content_type="application/x-unknown"))
    later = read(pipeline, event(3, ["hr"]))
    assert pipeline.run(unusable).dead_lettered == 1
    assert seen_by(pipeline, "it") == set()
    pipeline.run(later)
    assert is_as_published(pipeline)


def test_a_corrected_version_stays_withheld(pipeline: Pipeline) -> None:
    pipeline.ingest(event(5, ["it", "hr"]))
    later = read(pipeline, event(6, ["hr"]))
    pipeline.correct("d", 5, 4)
    assert seen_by(pipeline, "it") == set()
    pipeline.run(later)
    assert is_as_published(pipeline)


def test_a_record_that_an_applied_one_outranks_withholds_no_more(pipeline: Pipeline) -> None:
    pipeline.ingest(event(1, ["it", "hr"]))
    later = read(pipeline, event(2, ["hr"]), partition=1)
    pipeline.ingest(event(3, ["it", "hr"]))
    assert seen_by(pipeline, "it") == {"d"}
    pipeline.run(later)
    assert is_as_published(pipeline)


def test_a_version_of_an_event_outranks_one_of_a_record(pipeline: Pipeline) -> None:
    own = replace(pipeline.spec, version_rule=VersionRule.OWN)
    pipeline.spec = replace(own, version_rule=VersionRule.RECORD)
    pipeline.configure()
    pipeline.ingest(event(1, ["it", "hr"]))
    pipeline.spec = own
    pipeline.configure()
    reference = read(pipeline, event(2, ["hr"]))
    assert seen_by(pipeline, "it") == set()
    assert pipeline.run(reference).applied == 1
    assert is_as_published(pipeline)


@pytest.mark.parametrize("is_withheld", [False, True])
def test_versions_of_before_keep_their_lists(pipeline: Pipeline, is_withheld: bool) -> None:
    first = pipeline.ingest(event(1, ["it", "hr"]))
    narrower = event(2, ["hr"], content=f"{TEXT} Changed.")
    if is_withheld:
        pipeline.run(read(pipeline, narrower))
    else:
        pipeline.ingest(narrower)
    pipeline.ingest(event(3, ["it", "hr"]))
    with reading_as(pipeline.connection, reader("it")):
        rows = pipeline.connection.execute("SELECT version FROM freshet.document").fetchall()
    assert sorted(rows) == [(1,), (3,)]
    wanted = SearchRequest(query=TEXT, as_of_batch=first.batch, sources=("s",))
    with reading_as(pipeline.connection, reader("it")):
        hits = search(pipeline.connection, wanted, pipeline.embedder.of).hits
    assert {hit.document_id for hit in hits} == {"d"}


CHANGES: dict[str, Callable[[Pipeline], None]] = {
    "the topic was made anew": Pipeline.recreate_topic,
    "the topic is read no more": lambda pipeline: set_spec(pipeline, '{"topics": ["t2"]}'),
    "the source is retired": lambda pipeline: execute(
        pipeline, "UPDATE freshet.source SET state = 'retired'"
    ),
}


def execute(pipeline: Pipeline, statement: LiteralString) -> None:
    pipeline.connection.execute(statement)


def set_spec(pipeline: Pipeline, changed: str) -> None:
    pipeline.connection.execute(
        "UPDATE freshet.source SET spec = spec || %s::jsonb, updated_at = now()", [changed]
    )


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_record_that_will_never_be_published_withholds_no_more(
    pipeline: Pipeline, change: Callable[[Pipeline], None]
) -> None:
    pipeline.ingest(event(1, ["it", "hr"]))
    read(pipeline, event(2, ["hr"]))
    change(pipeline)
    show_all_again(pipeline.connection, "s")
    assert seen_by(pipeline, "it") == {"d"}
    assert is_as_published(pipeline)


def test_a_default_that_is_narrowed_meanwhile_counts(pipeline: Pipeline) -> None:
    pipeline.ingest(event(1, None))
    read(pipeline, event(2, ["hr"]))
    set_spec(pipeline, '{"default_acl": ["boss"]}')
    show_all_again(pipeline.connection, "s")
    assert seen_by(pipeline, "hr", "boss") == set()


def test_a_writers_login_withholds(pipeline: Pipeline) -> None:
    pipeline.ingest(event(1, ["it", "hr"]))
    stated = StatedReaders("d", 2, 5, ["hr"])
    with session(pipeline.database_url, WRITER) as writer:
        log = f"s/0/{pipeline.topic_id}"
        assert withhold(writer, pipeline.spec, log, [stated]) == 1
    assert seen_by(pipeline, "it") == set()


@pytest.mark.timeout(120)
def test_consumers_and_a_storer_side_by_side_end_as_published(pipeline: Pipeline) -> None:
    names = [f"d{number}" for number in range(20)]
    pipeline.ingest(*(event(1, ["a", "b", "c"], name) for name in names))
    stop = threading.Event()

    def work(seed: int) -> int:
        chance = random.Random(seed)
        done = 0
        log = f"s/0/{pipeline.topic_id}"
        with connect(pipeline.database_url) as connection:
            while not stop.is_set():
                done += 1
                stated = [
                    StatedReaders(name, 1_000 + done, 10**6 + done, chance.sample("abc", 2))
                    for name in chance.sample(names, len(names))
                ]
                withhold(connection, pipeline.spec, log, stated)
        return done

    with ThreadPoolExecutor() as pool:
        working = [pool.submit(work, seed) for seed in (1, 2)]
        try:
            for version in range(2, 6):
                acl = ["a", "b", "c", f"g{version}"]
                pipeline.ingest(*(event(version, acl, name) for name in names))
        finally:
            stop.set()
        assert all(one.result() for one in working)
    execute(pipeline, "UPDATE freshet.source_position SET next_offset = 2000000")
    pipeline.next_offset[0] = 2_000_000
    pipeline.ingest(event(1, ["x"], "other"))
    assert is_as_published(pipeline)


def test_what_cannot_be_withheld_is_counted(pipeline: Pipeline) -> None:
    pipeline.ingest(event(1, ["it", "hr"]))
    lock = "SELECT pg_advisory_xact_lock(hashtext('freshet.publish'), hashtext('s'))"
    withholder = Withholder(pipeline.pool)
    with pipeline.connection.transaction():
        pipeline.connection.execute(lock)
        records = pipeline.records([event(2, ["hr"])])
        reference = pipeline.stage(records, withhold=withholder.withhold)
    assert (withholder.failures, withholder.documents) == (1, 0)
    pipeline.run(reference)
    assert seen_by(pipeline, "it") == set()


@pytest.mark.parametrize("seed", [None, *range(4), 745294977])
def test_in_any_order_the_lists_are_those_that_were_published(
    pipeline: Pipeline, seed: int | None
) -> None:
    """What a waiting record takes from a group, the group does not see; at the end, the lists are as published."""
    seed = random.randrange(2**32) if seed is None else seed
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)
    groups = ["a", "b", "c"]
    waiting: dict[int, list[tuple[BatchRef, list[dict[str, Any]]]]] = {0: [], 1: []}
    for _ in range(30):
        partition = chance.randrange(2)
        if chance.random() < 0.5:
            some = [_random_event(chance, groups) for _ in range(chance.randint(1, 3))]
            before = _visible_lists(pipeline)
            waiting[partition].append((read(pipeline, *some, partition=partition), some))
            for one in some:
                version, acl = before.get(one["id"], (99, None))
                left_out = set(groups) - set(one["acl"])
                if one["version"] > version and _is_newest(one, some):
                    assert all(one["id"] not in seen_by(pipeline, group) for group in left_out)
                assert acl is None or set(acl) >= set(_visible_lists(pipeline)[one["id"]][1] or [])
        elif waiting[partition]:
            reference, _ = waiting[partition].pop(0)
            pipeline.run(reference)
    for partition in (0, 1):
        for reference, _ in waiting[partition]:
            pipeline.run(reference)
    assert is_as_published(pipeline)


def _random_event(chance: random.Random, groups: list[str]) -> dict[str, Any]:
    acl = chance.sample(groups, chance.randint(0, 3))
    return event(chance.randint(1, 6), acl, f"d{chance.randrange(3)}")


def _is_newest(one: dict[str, Any], some: list[dict[str, Any]]) -> bool:
    """Of two events of one version, the later one states the list."""
    same = [other for other in reversed(some) if other["id"] == one["id"]]
    return max(same, key=lambda other: other["version"]) is one


def _visible_lists(pipeline: Pipeline) -> dict[str, tuple[int, list[str] | None]]:
    rows = pipeline.connection.execute(
        """SELECT d.document_id, d.version, a.acl FROM freshet.document d
           LEFT JOIN freshet.access_list a USING (access_id) WHERE d.visible_to IS NULL AND d.kind = 'document'"""
    ).fetchall()
    return {name: (version, acl) for name, version, acl in rows}
