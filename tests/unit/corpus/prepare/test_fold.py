"""Folding: the greatest version counts, its first record stands, and the order of reading decides nothing."""

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from corpus.prepare.fold import (
    FoldableEvent,
    FoldedDocument,
    Mark,
    Marks,
    Place,
    earliest,
    fold,
    is_after,
    latest,
)
from corpus.source import record_version


def event(
    row: int,
    version: int | None,
    *,
    document_id: str = "a",
    says: str = "",
    time_ms: int | None = None,
    partition: int = 0,
    topic_id: str = "id",
    expires_at_ms: int | None = None,
    acl: str | None = None,
    is_upsert: bool = True,
) -> FoldableEvent:
    """One event at offset `row`; its time rises with the offset where none is given."""
    time_ms = row if time_ms is None else time_ms
    return FoldableEvent(
        row=row,
        document_id=document_id,
        version=version,
        says=says or version,
        place=Place(record_version(time_ms, row), "t", partition, row),
        log=f"t/{partition}/{topic_id}",
        expires_at_ms=expires_at_ms,
        observed_at_ms=time_ms,
        acl=acl,
        is_upsert=is_upsert,
    )


def log(*versions: int | None) -> list[FoldableEvent]:
    return [event(row, version) for row, version in enumerate(versions)]


def is_deleted(document: FoldedDocument) -> bool:
    return is_after(document.deletes, document.written)


def test_nothing_folds_to_nothing() -> None:
    folded = fold([])
    assert (folded.documents, folded.superseded, folded.repeated) == ({}, [], [])


def test_the_greatest_version_wins_in_any_order() -> None:
    folded = fold(log(3, 5, 4))
    assert folded.documents["a"].winner == 1
    assert sorted(folded.superseded) == [0, 2]


def test_the_same_event_again_is_a_repeat_and_says_when_it_was_last_observed() -> None:
    folded = fold(log(3, 3))
    assert (folded.repeated, folded.superseded) == ([1], [])
    assert folded.documents["a"].winner == 0
    assert folded.documents["a"].observed_at_ms == 1


def test_of_one_version_the_first_record_stands_whichever_is_read_first() -> None:
    one, two = event(0, 3, says="one", time_ms=7), event(1, 3, says="two", time_ms=6)
    for events in ([one, two], [two, one]):
        folded = fold(events)
        assert folded.documents["a"].winner == 1
        assert (folded.superseded, folded.repeated) == ([0], [])


def test_of_one_version_the_latest_end_counts() -> None:
    ends = [5, None, 9, 7]
    events = [event(row, 3, expires_at_ms=end) for row, end in enumerate(ends)]
    assert fold(events).documents["a"].expires_at_ms == 9
    assert fold([event(0, 2, expires_at_ms=9), event(1, 3)]).documents["a"].expires_at_ms is None


def test_version_zero_is_a_version() -> None:
    assert fold(log(0)).documents["a"].winner == 0
    assert fold(log(None, 0)).documents["a"].acting == (0, 1)


def test_a_delete_without_a_version_deletes_what_was_written_before_it() -> None:
    assert is_deleted(fold(log(5, None)).documents["a"])
    assert not is_deleted(fold(log(None, 5)).documents["a"])
    assert is_deleted(fold(log(5, None, 4)).documents["a"])  # an older version does not come back
    assert is_deleted(fold(log(5, None, 5)).documents["a"])  # nor the same one, sent again
    assert not is_deleted(fold(log(5, None, 6)).documents["a"])


def test_only_the_newest_delete_without_a_version_acts() -> None:
    folded = fold(log(5, None, 6, None, None))
    assert folded.documents["a"].acting == (4, 2)
    assert sorted(folded.superseded) == [0, 1, 3]


def test_in_one_log_offsets_decide_and_between_logs_times() -> None:
    """A producer's clock that goes back does not undo a delete of its own partition."""
    upsert = event(0, 5, time_ms=100)
    assert is_deleted(fold([upsert, event(1, None, time_ms=50)]).documents["a"])
    for other in ({"partition": 1}, {"topic_id": "of a topic that was made anew"}):
        late, early = (event(1, None, time_ms=at, **other) for at in (150, 50))
        assert is_deleted(fold([upsert, late]).documents["a"])
        assert not is_deleted(fold([upsert, early]).documents["a"])


def test_redriven_records_are_compared_by_time() -> None:
    upsert = event(0, 5, time_ms=100, topic_id="")
    assert not is_deleted(fold([upsert, event(1, None, time_ms=50, topic_id="")]).documents["a"])
    assert is_deleted(fold([upsert, event(1, None, time_ms=150, topic_id="")]).documents["a"])


# ── for every log ───────────────────────────────────────────────────────────────────────────────────────────────────

# Few values, so that ties are common; times fall as well as rise within a partition.
EVENTS = st.lists(
    st.builds(
        event,
        row=st.just(0),
        version=st.none() | st.integers(0, 3),
        document_id=st.sampled_from("ab"),
        says=st.sampled_from("xy"),
        time_ms=st.integers(0, 4),
        partition=st.integers(0, 1),
        topic_id=st.sampled_from(["id", ""]),
        expires_at_ms=st.none() | st.integers(0, 9),
        acl=st.sampled_from([None, "p", "q"]),
        is_upsert=st.booleans(),
    ),
    max_size=12,
).map(
    lambda events: [
        one._replace(row=row, place=one.place._replace(offset=row))
        for row, one in enumerate(events)
    ]
)


def state(document: FoldedDocument | None) -> dict[str, object]:
    return asdict(document or FoldedDocument())


@given(EVENTS)
def test_every_event_ends_once(events: list[FoldableEvent]) -> None:
    folded = fold(events)
    ended = folded.superseded + folded.repeated
    acting = {row for document in folded.documents.values() for row in document.acting}
    granting = {document.granting for document in folded.documents.values()}
    acting |= granting - {None, *ended}
    assert not acting & set(ended)
    assert sorted([*acting, *ended]) == list(range(len(events)))


def test_the_last_upsert_of_a_version_says_who_may_read() -> None:
    events = [event(0, 1, acl="p"), event(1, 1, acl="q"), event(2, 1, acl="r", is_upsert=False)]
    folded = fold(events)
    document = folded.documents["a"]
    assert (document.winner, document.granting) == (0, 1)
    assert document.grants == {"t/0/id": (1, events[1].place.record_version, 1)}
    assert (folded.superseded, folded.repeated) == ([2], [])


def test_of_one_log_the_later_upsert_says_who_may_read_also_where_the_clock_stepped_back() -> None:
    revoked = fold([event(0, 1, acl="p", time_ms=9), event(1, 1, acl="q", time_ms=8)])
    assert revoked.documents["a"].granting == 1
    # Nothing else makes it older than what its log began with.
    other = event(2, 1, acl="r", time_ms=8, partition=1)
    events = [event(0, 1, acl="p", time_ms=9), event(1, 1, acl="q", time_ms=7), other]
    assert fold(events).documents["a"].granting == 1
    later = other._replace(place=other.place._replace(record_version=record_version(10, 2)))
    assert fold([*events[:2], later]).documents["a"].granting == 2


def test_redriven_upserts_are_compared_by_time() -> None:
    events = [
        event(0, 1, acl="p", time_ms=9, topic_id=""),
        event(1, 1, acl="q", time_ms=8, topic_id=""),
    ]
    assert fold(events).documents["a"].granting == 0


def test_an_upsert_of_a_deleted_version_says_who_may_read_and_does_not_act() -> None:
    events = [event(0, 1, is_upsert=False), event(1, 1, acl="q")]
    folded = fold(events)
    assert (folded.documents["a"].winner, folded.documents["a"].granting) == (0, 1)
    assert folded.superseded == [1]


def test_a_list_that_was_revoked_and_given_again_is_no_repetition_of_the_revocation() -> None:
    folded = fold([event(0, 1, acl="p"), event(1, 1, acl="q"), event(2, 1, acl="p")])
    assert folded.documents["a"].granting == 2
    assert (folded.superseded, folded.repeated) == ([1], [2])


@given(EVENTS, st.data())
def test_any_order_of_reading_folds_to_the_same(
    events: list[FoldableEvent], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(events))
    one, other = fold(events), fold(shuffled)
    assert {name: state(document) for name, document in one.documents.items()} == {
        name: state(document) for name, document in other.documents.items()
    }
    assert sorted(one.superseded) == sorted(other.superseded)
    assert sorted(one.repeated) == sorted(other.repeated)


@given(EVENTS)
def test_a_document_is_deleted_if_a_delete_came_after_a_record_of_its_version(
    events: list[FoldableEvent],
) -> None:
    """Model: every pair of records."""
    for name, document in fold(events).documents.items():
        mine = [one for one in events if one.document_id == name]
        written = [one for one in mine if one.version == document.winner_version]
        deletes = [one for one in mine if one.version is None]
        pairs = [(delete, first) for delete in deletes for first in written]
        assert is_deleted(document) == any(
            delete.place.offset > first.place.offset
            if delete.log == first.log and not first.log.endswith("/")
            else delete.place.record_version >= first.place.record_version
            for delete, first in pairs
        )


@given(EVENTS)
def test_nothing_that_is_later_in_its_log_says_otherwise_who_may_read(
    events: list[FoldableEvent],
) -> None:
    """Model: every upsert of the version."""
    for name, document in fold(events).documents.items():
        version = document.winner_version
        mine = [one for one in events if one.document_id == name and one.version == version]
        upserts = [one for one in mine if one.is_upsert]
        if not upserts:
            assert document.granting is None
            continue
        [granting] = [one for one in upserts if one.row == document.granting]
        newest = max(one.place.record_version for one in upserts)
        of_log = [one for one in upserts if one.log == granting.log]
        assert newest == max(one.place.record_version for one in of_log)
        if granting.log.endswith("/"):
            assert granting.place.record_version == newest
        else:
            assert granting.place.offset == max(one.place.offset for one in of_log)


MARKS = st.dictionaries(
    st.sampled_from(["t/0/id", "t/1/id", "t/0/"]),
    st.builds(Mark, st.integers(0, 3), st.integers(0, 3)),
)


@given(MARKS, MARKS, MARKS)
def test_marks_merge_in_any_order_and_any_number_of_times(a: Marks, b: Marks, c: Marks) -> None:
    for merge in (earliest, latest):
        assert merge(a, b) == merge(b, a)
        assert merge(merge(a, b), c) == merge(a, merge(b, c))
        assert merge(a, a) == a
