"""Which records that could not be used are between what is known of a row and a later change."""

import pytest

from corpus.prepare.evidence import Evidence, Known, Lost
from corpus.prepare.fold import FoldableEvent, Place
from corpus.source import record_version
from corpus.versions.marks import Mark, Marks
from corpus.versions.scale import Ranked

DOCUMENT = "1"


def mark(offset: int, ms: int | None = None, partition: int = 0) -> Marks:
    time_ms = 1_780_000_000_000 + (offset if ms is None else ms)
    return {f"t/{partition}/id": Mark(offset, record_version(time_ms, offset))}


def own(version: int) -> Ranked:
    return Ranked(version=version, is_own=True)


def known(version: int, written: Marks) -> Known:
    return Known({"big": "A text."}, own(version), written)


def change(version: int, written: Marks) -> FoldableEvent:
    [(log, its_mark)] = written.items()
    place = Place(its_mark.record_version, "t", 0, its_mark.offset)
    return FoldableEvent(
        row=0, document_id=DOCUMENT, version=version, says=(), place=place, log=log
    )


def is_doubtful(lost: Lost, since: Known, at: FoldableEvent, *, own_first: bool = True) -> bool:
    evidence = Evidence(own_first=own_first, lost={DOCUMENT: [lost]})
    return evidence.is_doubtful(DOCUMENT, since, at)


@pytest.mark.parametrize(
    ("version", "place", "expected"),
    [
        (20, mark(1), True),
        # In another partition, before and behind: the version says where it is.
        (20, mark(500, partition=1), True),
        (20, mark(0, ms=-5_000, partition=1), True),
        (5, mark(1), False),
        (40, mark(1), False),
        # Sent again behind a newer whole row: it is older.
        (5, mark(2), False),
        # Its version is not known: its place decides, of another partition its time.
        (None, mark(1), True),
        (None, mark(0), False),
        (None, mark(9), False),
        (None, mark(700, ms=1, partition=1), True),
        (None, mark(700, ms=-5_000, partition=1), False),
        (None, mark(0, ms=5_000, partition=1), False),
        # Of one version, again the place.
        (10, mark(1), True),
        (10, mark(0), False),
        (30, mark(2), True),
        (30, mark(7), False),
    ],
)
def test_a_lost_record_counts_where_its_version_is(
    version: int | None, place: Marks, expected: bool
) -> None:
    lost = Lost(None if version is None else own(version), place)
    assert is_doubtful(lost, known(10, mark(0)), change(30, mark(3))) is expected


def test_what_is_known_counts_from_its_first_record() -> None:
    """A connector sends changes again: the known version is behind the lost one, and was first before it."""
    lost = Lost(None, mark(1))
    assert is_doubtful(lost, known(10, mark(0)), change(30, mark(3)))
    assert not is_doubtful(lost, known(10, mark(2)), change(30, mark(3)))


def test_a_version_of_the_log_is_above_one_of_a_record() -> None:
    of_snapshot = Lost(Ranked(version=50, is_own=False), mark(1))
    assert not is_doubtful(of_snapshot, known(10, mark(0)), change(30, mark(3)))
    by_number = Lost(Ranked(version=20, is_own=False), mark(1))
    assert is_doubtful(by_number, known(10, mark(0)), change(30, mark(3)), own_first=False)


def test_of_a_row_of_which_nothing_is_known_every_lost_record_counts() -> None:
    evidence = Evidence(own_first=True, lost={DOCUMENT: [Lost(own(5), mark(0))]})
    assert evidence.is_doubtful(DOCUMENT, None, change(30, mark(3)))
    assert not evidence.is_doubtful("2", None, change(30, mark(3)))
