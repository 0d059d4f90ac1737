"""Folding a batch: the greatest version a document, tombstones included."""

from hypothesis import given
from hypothesis import strategies as st

from corpus.prepare.fold import fold

EVENTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.one_of(st.none(), st.integers(0, 5))), max_size=12
)


def rows(events):
    return [
        (row, document, version, f"{document}{version}".encode())
        for row, (document, version) in enumerate(events)
    ]


def test_greatest_version_wins_whatever_the_order() -> None:
    folded = fold(rows([("a", 3), ("a", 5), ("a", 4)]))
    assert folded.documents["a"].winner == 1
    assert sorted(folded.superseded) == [0, 2]


def test_same_event_again_is_a_repeat_not_a_loss() -> None:
    folded = fold(rows([("a", 3), ("a", 3)]))
    assert folded.repeated == [0]
    assert folded.documents["a"].winner == 1  # it says when the document was last observed
    assert folded.superseded == []


def test_relative_tombstone_keeps_a_floor_that_older_versions_do_not_pass() -> None:
    folded = fold(rows([("a", 5), ("a", None), ("a", 4), ("a", 6)]))
    document = folded.documents["a"]
    assert (document.tombstone, document.tombstone_floor, document.winner) == (1, 5, 3)
    assert sorted(folded.superseded) == [0, 2]


@given(EVENTS)
def test_every_event_ends_once(events) -> None:
    folded = fold(rows(events))
    acting = [
        row
        for document in folded.documents.values()
        for row in (document.winner, document.tombstone)
        if row is not None
    ]
    assert sorted(acting + folded.superseded + folded.repeated) == list(range(len(events)))


@given(EVENTS)
def test_the_fold_is_what_one_by_one_gives(events) -> None:
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
