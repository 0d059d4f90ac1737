"""A record that takes a document from a group does so when it is read, and not when its batch is published."""

import random
import sys
from dataclasses import replace
from typing import Any

import pytest

from corpus.batch import BatchRef
from ingest.consume.withholder import Withholder
from ingest.stage import OffsetRange, stage
from tests.support.logins import reader, seen
from tests.support.pipeline import Pipeline, make_event

TEXT = "The keeper of the sluice wrote the level down."


def event(version: int, acl: list[str] | None, name: str = "d", **other: Any) -> dict[str, Any]:
    if acl is not None:
        other["acl"] = acl
    return make_event(name, version, f"{TEXT} {name}", **other)


def read(pipeline: Pipeline, *events: Any, partition: int = 0, **place: Any) -> BatchRef:
    """What a consumer does with records: stage them, and withhold."""
    records = pipeline.records(events, partition=partition, **place)
    pipeline.position(partition)
    offsets = OffsetRange(
        cluster_id="cluster",
        topic=pipeline.spec.source,
        topic_id=pipeline.topic_id,
        partition=partition,
        first_offset=records[0].offset,
        next_offset=records[-1].offset + 1,
    )
    withholder = Withholder(pipeline.pool)
    reference = stage(records, pipeline.spec, offsets, pipeline.store, withhold=withholder.withhold)
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


def test_what_cannot_be_withheld_is_counted(pipeline: Pipeline) -> None:
    pipeline.ingest(event(1, ["it", "hr"]))
    lock = "SELECT pg_advisory_xact_lock(hashtext('freshet.publish'), hashtext('s'))"
    withholder = Withholder(pipeline.pool)
    with pipeline.connection.transaction():
        pipeline.connection.execute(lock)
        records = pipeline.records([event(2, ["hr"])])
        offsets = OffsetRange(
            cluster_id="cluster",
            topic="s",
            topic_id=pipeline.topic_id,
            partition=0,
            first_offset=records[0].offset,
            next_offset=records[0].offset + 1,
        )
        reference = stage(
            records, pipeline.spec, offsets, pipeline.store, withhold=withholder.withhold
        )
    assert (withholder.failures, withholder.documents) == (1, 0)
    pipeline.run(reference)
    assert seen_by(pipeline, "it") == set()


@pytest.mark.parametrize("seed", [None, *range(4)])
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
    same = [other for other in some if other["id"] == one["id"]]
    return max(same, key=lambda other: other["version"]) is one


def _visible_lists(pipeline: Pipeline) -> dict[str, tuple[int, list[str] | None]]:
    rows = pipeline.connection.execute(
        """SELECT d.document_id, d.version, a.acl FROM freshet.document d
           LEFT JOIN freshet.access_list a USING (access_id) WHERE d.visible_to IS NULL AND d.kind = 'document'"""
    ).fetchall()
    return {name: (version, acl) for name, version, acl in rows}
