"""Folding a batch: per document the greatest version, tombstones included."""

from hypothesis import given
from hypothesis import strategies as st

from corpus.prepare.fold import FoldableEvent, fold

Events = list[tuple[str, int | None]]  # (document id, version)
EVENTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.one_of(st.none(), st.integers(0, 5))), max_size=12
)


def rows(events: Events) -> list[FoldableEvent]:
    return [
        FoldableEvent(row, document, version, f"{document}{version}".encode())
        for row, (document, version) in enumerate(events)
    ]


def test_nothing_folds_to_nothing() -> None:
    folded = fold([])
    assert (folded.documents, folded.superseded, folded.repeated) == ({}, [], [])


def test_the_greatest_version_wins_in_any_order() -> None:
    folded = fold(rows([("a", 3), ("a", 5), ("a", 4)]))
    assert folded.documents["a"].winner == 1
    assert sorted(folded.superseded) == [0, 2]


def test_same_event_again_is_a_repeat_not_a_loss() -> None:
    folded = fold(rows([("a", 3), ("a", 3)]))
    assert folded.repeated == [0]
    assert folded.documents["a"].winner == 1  # it says when the document was last observed
    assert folded.superseded == []


def test_the_same_version_with_other_bytes_does_not_replace_the_first() -> None:
    folded = fold([FoldableEvent(0, "a", 3, b"one"), FoldableEvent(1, "a", 3, b"two")])
    assert folded.documents["a"].winner == 0
    assert (folded.superseded, folded.repeated) == ([1], [])


def test_version_zero_is_a_version() -> None:
    assert fold(rows([("a", 0)])).documents["a"].winner == 0
    assert fold(rows([("a", None), ("a", 0)])).documents["a"].acting == (0, 1)


def test_relative_tombstone_keeps_a_floor_that_older_versions_do_not_pass() -> None:
    folded = fold(rows([("a", 5), ("a", None), ("a", 4), ("a", 6)]))
    document = folded.documents["a"]
    assert (document.tombstone, document.tombstone_floor, document.winner) == (1, 5, 3)
    assert document.floor == 0
    assert sorted(folded.superseded) == [0, 2]


def test_a_floor_never_falls() -> None:
    document = fold(rows([("a", 5), ("a", None), ("a", 6), ("a", None), ("a", None)])).documents[
        "a"
    ]
    assert (document.tombstone, document.tombstone_floor, document.floor) == (4, 6, 2)
    assert document.winner is None


def test_what_a_tombstone_deleted_does_not_come_back_when_it_is_sent_again() -> None:
    folded = fold(rows([("a", 5), ("a", None), ("a", 5)]))
    assert folded.documents["a"].acting == (1,)
    assert sorted(folded.superseded) == [0, 2]


@given(EVENTS)
def test_every_event_ends_once(events: Events) -> None:
    folded = fold(rows(events))
    acting = [row for document in folded.documents.values() for row in document.acting]
    assert sorted(acting + folded.superseded + folded.repeated) == list(range(len(events)))


@given(EVENTS)
def test_the_fold_is_what_one_by_one_gives(events: Events) -> None:
    """Model: apply the events one after the other to an empty corpus."""
    model: dict[str, tuple[int, bool]] = {}
    for document, version in events:
        known = model.get(document)
        if version is None:
            if known is not None:
                model[document] = (known[0], False)
        elif known is None or version > known[0]:
            model[document] = (version, True)
    folded = fold(rows(events)).documents
    for document, (version, visible) in model.items():
        result = folded[document]
        assert (result.winner is not None) == visible
        if visible:
            assert result.winner_version == version
        else:
            assert result.tombstone_floor == version


@given(EVENTS, st.data())
def test_the_winner_does_not_depend_on_the_order_of_versions(
    events: Events, data: st.DataObject
) -> None:
    """Without tombstones, which act on what is there, any order has the same result."""
    versions = [(document, version) for document, version in events if version is not None]
    shuffled = data.draw(st.permutations(versions))
    in_order, in_any_order = (
        {name: document.winner_version for name, document in fold(rows(log)).documents.items()}
        for log in (versions, shuffled)
    )
    assert in_order == in_any_order
