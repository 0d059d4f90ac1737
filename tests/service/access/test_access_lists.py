"""A document's access list decides who finds it, on every path; a change of it alone takes effect."""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from corpus.access.reader import Reader, reading_as
from corpus.answer.await_fresh import current_outcome
from corpus.answer.search import search
from corpus.deliver.notices import next_notice
from corpus.deliver.subscription import DeliveryInput
from corpus.errors import FreshetError
from corpus.service import (
    AwaitFreshRequest,
    DescribeRequest,
    SearchRequest,
    WaitOutcome,
)
from corpus.sql import query
from corpus.versions.grants import Grant, granting_row, with_grant
from freshness.scan import describe
from ingest.decode.fields import MAX_ACL
from tests.support.logins import reader, seen
from tests.support.pipeline import LONG_TEXT, Pipeline, make_event, tombstone, with_time

TEXT = "The keeper of the sluice wrote the level down."


def found(pipeline: Pipeline, who: Reader, **request: Any) -> set[str]:
    """The documents that a search returns to a reader."""
    wanted = SearchRequest(query="the sluice level", k=50, **request)
    with reading_as(pipeline.connection, who):
        return {
            hit.document_id
            for hit in search(pipeline.connection, wanted, pipeline.embedder.of).hits
        }


def read_again_from(pipeline: Pipeline, offset: int) -> None:
    """Move the position back; what is staged afterwards is of epoch 1."""
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = %s", (offset,))
    pipeline.connection.execute("UPDATE freshet.source SET epoch = epoch + 1")


def put(pipeline: Pipeline, document_id: str, version: int, acl: Any = None, **other: Any) -> Any:
    content = other.pop("content", f"{TEXT} {document_id}")
    if acl is not None:
        other["acl"] = acl
    return pipeline.ingest(make_event(document_id, version, content, **other))


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_a_reader_finds_what_its_groups_allow(pipeline: Pipeline, mode: str) -> None:
    for name, acl in [("open", None), ("hr", ["hr"]), ("both", ["it", "hr"]), ("none", [])]:
        put(pipeline, name, 1, acl)
    assert found(pipeline, reader(), mode=mode) == {"open"}
    assert found(pipeline, reader("hr"), mode=mode) == {"open", "hr", "both"}
    assert found(pipeline, reader("it"), mode=mode) == {"open", "both"}
    assert found(pipeline, reader("hr", sources=()), mode=mode) == set()
    assert found(pipeline, reader("hr"), mode=mode, as_of_batch=4, sources=("s",)) == {
        "open",
        "hr",
        "both",
    }
    # Who publishes sees everything.
    assert len(pipeline.search("the sluice level", mode=mode, k=50)) == 4


def test_the_sources_default_is_for_documents_without_a_list(pipeline: Pipeline) -> None:
    put(pipeline, "open", 1)
    put(pipeline, "hr", 1, ["hr"])
    set_default = (
        "UPDATE freshet.source SET spec = spec || jsonb_build_object('default_acl', %s::jsonb)"
    )
    pipeline.connection.execute(set_default, ('["it"]',))
    assert seen(pipeline.connection, reader()) == set()
    assert seen(pipeline.connection, reader("it")) == {"open"} == found(pipeline, reader("it"))
    pipeline.connection.execute(set_default, ("[]",))
    assert seen(pipeline.connection, reader("it", "hr")) == {"hr"}
    pipeline.connection.execute(set_default, ("null",))
    assert seen(pipeline.connection, reader()) == {"open"}


# ── a change of the list alone ──────────────────────────────────────────────────────────────────────────────────────


def test_a_revocation_under_the_same_version_is_applied_without_embedding(
    pipeline: Pipeline,
) -> None:
    first = put(pipeline, "d", 1, ["hr", "it"], content=LONG_TEXT)
    revoked = put(pipeline, "d", 1, ["hr"], content=LONG_TEXT)
    assert (revoked.applied, revoked.unchanged, revoked.texts_embedded) == (1, 0, 0)
    assert (revoked.chunks_opened, revoked.chunks_closed) == (0, 0)
    assert found(pipeline, reader("it")) == set()
    assert found(pipeline, reader("it"), as_of_batch=first.batch, sources=("s",)) == set()
    assert found(pipeline, reader("hr")) == {"d"}
    chunks = pipeline.connection.execute("SELECT DISTINCT access_id FROM freshet.chunk").fetchall()
    assert len(chunks) == 1
    again = put(pipeline, "d", 1, ["hr"], content=LONG_TEXT)
    assert (again.applied, again.unchanged) == (0, 1)


def test_a_revocation_to_the_longest_list_is_applied(pipeline: Pipeline) -> None:
    """An entry of a btree index holds 2,704 bytes: a list of names is longer, whatever they compress to."""
    groups = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(MAX_ACL)]
    put(pipeline, "d", 1)
    revoked = put(pipeline, "d", 1, groups)
    assert (revoked.applied, revoked.dead_lettered) == (1, 0)
    assert seen(pipeline.connection, reader()) == set()
    assert seen(pipeline.connection, reader(groups[-1])) == {"d"}
    assert put(pipeline, "d", 1, groups[::-1]).unchanged == 1
    lists = pipeline.connection.execute("SELECT cardinality(acl) FROM freshet.access_list")
    assert lists.fetchall() == [(MAX_ACL,)]


def test_a_list_that_is_sent_again_is_unchanged(pipeline: Pipeline) -> None:
    put(pipeline, "d", 1, ["it", "hr"])
    same = put(pipeline, "d", 1, ["hr", "it", "hr"])
    assert (same.applied, same.unchanged) == (0, 1)


def test_an_unchanged_document_in_a_new_version_has_the_new_list(pipeline: Pipeline) -> None:
    put(pipeline, "d", 1, ["it"], content=LONG_TEXT)
    second = put(pipeline, "d", 2, ["hr"], content=LONG_TEXT)
    assert (second.applied, second.texts_embedded, second.chunks_opened) == (1, 0, 0)
    assert (found(pipeline, reader("it")), found(pipeline, reader("hr"))) == (set(), {"d"})
    put(pipeline, "d", 3, content=LONG_TEXT)
    assert found(pipeline, reader()) == {"d"}


def test_the_last_record_of_a_version_says_who_may_read_in_any_order(pipeline: Pipeline) -> None:
    events = [
        make_event(name, 1, TEXT, acl=acl)
        for acl in (["a"], ["b"], ["c"])
        for name in ("forth", "back")
    ]
    forth, back = ([one for one in events if one["id"] == name] for name in ("forth", "back"))
    for event in forth:
        pipeline.ingest(event)
    records = pipeline.records(back, partition=1)
    for record in reversed(
        records
    ):  # each in a partition of its own, read from the last to the first
        other = pipeline.records([record], partition=10 - record.offset)
        pipeline.run(pipeline.stage(other))
    for name in ("forth", "back"):
        rows = pipeline.connection.execute(
            "SELECT acl FROM freshet.document WHERE document_id = %s AND is_head", (name,)
        )
        assert rows.fetchall() == [(["c"],)], name
    report = pipeline.ingest(
        make_event("one", 1, TEXT, acl=["a"]),
        make_event("one", 1, TEXT, acl=["b"]),
        make_event("one", 1, TEXT, acl=["c"]),
    )
    assert (report.applied, report.superseded) == (2, 1)
    assert "one" in seen(pipeline.connection, reader("c"))


def test_a_revocation_is_applied_where_the_clock_of_its_producer_stepped_back(
    pipeline: Pipeline,
) -> None:
    wide = pipeline.records([make_event("d", 1, TEXT)])
    narrow = pipeline.records([make_event("d", 1, TEXT, acl=["hr"])])
    earlier = with_time(narrow[0], wide[0].timestamp_ms - 1_000)
    pipeline.run(pipeline.stage(wide))
    report = pipeline.run(pipeline.stage([earlier]))
    assert (report.applied, report.superseded) == (1, 0)
    assert seen(pipeline.connection, reader()) == set()
    assert found(pipeline, reader("hr")) == {"d"}
    # The wide one, delivered again, is not newer.
    read_again_from(pipeline, 0)
    again = pipeline.run(replace(pipeline.stage(wide), epoch=1))
    assert (again.applied, seen(pipeline.connection, reader())) == (0, set())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_database_compares_access_lists_as_the_fold_does(pipeline: Pipeline, seed: int) -> None:
    """In any order, any number of times; times fall as well as rise within a log."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    merge = (
        "SELECT freshet.latest_grants(%s, %s), freshet.granted_acl(freshet.latest_grants(%s, %s))"
    )
    for _ in range(40):
        upserts = [
            (chance.choice(["t/0/id", "t/1/id", "t/0/"]), Grant(row, chance.randrange(4), row))
            for row in range(chance.randrange(1, 7))
        ]
        grants: dict[str, Grant] = {}
        for log, grant in upserts:
            grants = with_grant(grants, log, grant)
        stored, acl = None, None
        for log, grant in chance.choices(upserts, k=4) + chance.sample(upserts, len(upserts)):
            one = Jsonb({log: [*grant[:2], [str(grant.row)]]})
            values = (stored, one, stored, one)
            [(merged, acl)] = pipeline.connection.execute(merge, values).fetchall()
            stored = Jsonb(merged)
        assert stored is not None
        assert stored.obj == {log: [*one[:2], [str(one.row)]] for log, one in grants.items()}
        assert acl == [str(granting_row(grants))]


def test_a_revocation_after_the_deletion_is_for_what_was_visible_before(pipeline: Pipeline) -> None:
    put(pipeline, "d", 1, ["hr", "it"])
    pipeline.ingest(tombstone("d"))
    then: dict[str, Any] = {"as_of_batch": 1, "sources": ("s",)}
    assert found(pipeline, reader("it"), **then) == {"d"}
    assert put(pipeline, "d", 1, ["hr"]).superseded == 1
    assert (found(pipeline, reader("it"), **then), found(pipeline, reader("hr"), **then)) == (
        set(),
        {"d"},
    )
    # An older record of the version does not widen it again.
    read_again_from(pipeline, 0)
    records = pipeline.records([make_event("d", 1, f"{TEXT} d", acl=["hr", "it"])], first_offset=0)
    pipeline.run(replace(pipeline.stage(records), epoch=1))
    assert found(pipeline, reader("it"), **then) == set()


def test_a_revocation_of_a_withdrawn_document_is_kept_for_its_return(pipeline: Pipeline) -> None:
    past = "2020-01-02T03:04:05Z"
    put(pipeline, "d", 1, ["it"], expires_at=past)
    pipeline.expire()
    report = put(pipeline, "d", 1, ["hr"], expires_at=past)
    assert (report.applied, report.unchanged) == (1, 0)
    assert found(pipeline, reader("it"), as_of_batch=1, sources=("s",)) == set()
    pipeline.ingest(make_event("d", 1, f"{TEXT} d", acl=["hr"], expires_at="2120-01-02T03:04:05Z"))
    assert (found(pipeline, reader("it")), found(pipeline, reader("hr"))) == (set(), {"d"})


# ── every path ──────────────────────────────────────────────────────────────────────────────────────────────────────


def answers(pipeline: Pipeline, who: Reader, document_id: str, offset: int) -> dict[str, Any]:
    """What a reader learns of a document, path by path."""
    connection = pipeline.connection

    def at_once(step: Callable[[], Any]) -> Any:
        with reading_as(connection, who):
            try:
                return step()
            except FreshetError as error:
                return str(error)

    def lines(name: str, **values: Any) -> Callable[[], Any]:
        return lambda: connection.execute(query(name), values).fetchall()

    def waited(**target: Any) -> Callable[[], Any]:
        request = AwaitFreshRequest(source="s", **target)
        return lambda: current_outcome(connection, request)

    record = {"topic": "s", "partition": 0, "offset": offset}
    return {
        "describe": at_once(lambda: describe(connection, DescribeRequest(source="s"))),
        "lineage": at_once(lines("lineage_versions", document_id=document_id, source=None)),
        "chunks": at_once(lines("lineage_chunks", chunk_ids=list(range(100)))),
        "version": at_once(waited(document_id=document_id, version=1)),
        "record": at_once(waited(**record)).why,
        "changes": at_once(lines("batch_changes", source="s", batch=1, most=100)),
        "counts": at_once(lines("next_batch", source="s", cursor=1)),
    }


def test_what_is_not_granted_is_as_what_does_not_exist(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("open", 1, TEXT))
    pipeline.ingest(make_event("secret", 1, TEXT, acl=["hr"]), b"no json")
    pipeline.ingest(make_event("secret", 2, op="delete"))
    hidden = answers(pipeline, reader(), "secret", 1)
    nothing = answers(pipeline, reader(), "nothing", 1)
    assert hidden["lineage"] == nothing["lineage"] == []
    assert hidden["version"].why is WaitOutcome.TIMEOUT
    assert hidden["version"].detail == nothing["version"].detail.replace("nothing", "secret")
    assert hidden["record"] is WaitOutcome.NO_CHANGE
    assert hidden["describe"].documents == 1
    assert hidden["counts"][0][5:10] == (0, 0, 0, 0, 0)
    shown = answers(pipeline, reader("hr"), "secret", 1)
    assert len(shown["lineage"]) == 2
    assert shown["record"] is WaitOutcome.DELETED


def test_a_source_that_is_not_granted_does_not_exist(pipeline: Pipeline) -> None:
    put(pipeline, "d", 1)
    stranger = reader("hr", sources=("other",))
    outcomes = []
    for name in ("s", "never"):
        request = SearchRequest(query="x", mode="text", sources=(name,))
        waiting = AwaitFreshRequest(source=name, batch=1)
        with reading_as(pipeline.connection, stranger):
            assert describe(pipeline.connection, DescribeRequest(source=name)) is None
            outcomes.append(
                current_outcome(pipeline.connection, waiting).detail.replace(repr(name), "")
            )
            with pytest.raises(FreshetError) as raised:
                search(pipeline.connection, request, pipeline.embedder.of)
            outcomes.append(str(raised.value).replace(repr(name), ""))
    assert outcomes[:2] == outcomes[2:]


def test_a_notice_counts_and_lists_what_its_reader_can_read(pipeline: Pipeline) -> None:
    pipeline.connection.execute(
        "INSERT INTO freshet.subscription (subscriber, source, endpoint) VALUES ('t', 's', 'e')"
    )
    pipeline.ingest(make_event("open", 1, TEXT), make_event("secret", 1, TEXT, acl=["hr"]))
    delivery = DeliveryInput(subscriber="t", source="s")
    for groups, documents in (([], ["open"]), (["hr"], ["open", "secret"])):
        spec = {"team": "a", "endpoint": "x", "namespace": "n", "sources": ["s"]}
        spec |= {"groups": groups, "subscribers": ["t"]}
        values = {"team": "a", "spec": json.dumps(spec)}
        pipeline.connection.execute(query("write_team"), values)
        notice = next_notice(pipeline.connection, delivery).notice
        assert notice is not None and notice.documents_written == len(documents)
        assert sorted(change.document_id for change in notice.changes) == documents
    for who, counts in ((reader(), (1, 0, 0, 1, 0)), (reader("hr"), (2, 0, 0, 2, 0))):
        with reading_as(pipeline.connection, who):
            rows = pipeline.connection.execute("SELECT * FROM freshet.batch_counts('s', 1)")
            assert rows.fetchone() == counts
            values = {"source": "s", "batch": 1, "most": 10}
            listed = pipeline.connection.execute(query("batch_changes"), values).fetchall()
        assert len(listed) == counts[0]
