"""The doctor on the vector indexes: those of visible chunks, those of closed ones, and closed chunks that wait."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from compose.local import service_checks
from compose.local.checks import CheckResult, make_check
from compose.local.service_checks import DATABASE_CHECKS
from corpus.embed import history_index, space_indexes

CHECKS = {check.name: check for check in DATABASE_CHECKS}


def result_of(name: str, home: Path) -> CheckResult:
    return make_check(CHECKS[name], home)


class NoDatabase:
    """Stands for a connection; the queries of the checks are replaced."""

    def __enter__(self) -> "NoDatabase":
        return self

    def __exit__(self, *_: object) -> None: ...


def make_index(state: str) -> space_indexes.SpaceIndex:
    return space_indexes.SpaceIndex(
        space_id=1,
        model="m",
        prefix="",
        fingerprint="f",
        state=space_indexes.IndexState(state),
        vectors="half",
        phase="building index: scanning table" if state == "building" else None,
        percent=40 if state in ("building", "narrowing") else None,
        builder=7 if state == "building" else None,
    )


@pytest.mark.parametrize(
    ("state", "ok", "observed"),
    [
        ("built", True, "m (space 1): built"),
        ("impossible", True, "m (space 1): impossible"),
        (
            "building",
            True,
            "m (space 1): building, building index: scanning table, 40 %, by server process 7",
        ),
        ("missing", False, "m (space 1): missing"),
        ("interrupted", False, "m (space 1): interrupted"),
        ("changing", False, "m (space 1): changing to vectors = half"),
        ("narrowing", True, "m (space 1): narrowing vectors, 40 %"),
    ],
)
def test_the_state_of_the_vector_indexes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, ok: bool, observed: str
) -> None:
    monkeypatch.setattr(service_checks, "_connection", lambda _: NoDatabase())
    monkeypatch.setattr(space_indexes, "space_indexes", lambda _: [make_index(state)])
    monkeypatch.setattr(history_index, "closed_indexes", lambda _: [])
    result = result_of("vector indexes", tmp_path)
    assert (result.ok, result.observed) == (ok, observed)


def test_a_new_database_has_no_index_to_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_checks, "_connection", lambda _: NoDatabase())
    monkeypatch.setattr(space_indexes, "space_indexes", lambda _: [])
    monkeypatch.setattr(history_index, "closed_indexes", lambda _: [])
    assert result_of("vector indexes", tmp_path).observed == "no embedding space yet"


@pytest.mark.parametrize(
    ("state", "ok", "observed"),
    [
        ("built", True, "closed chunks, i: built"),
        ("building", True, "closed chunks, i: building"),
        ("missing", False, "closed chunks, i: missing"),
        ("interrupted", False, "closed chunks, i: interrupted"),
        ("changing", False, "closed chunks, i: no longer used, to be dropped"),
    ],
)
def test_the_state_of_the_vector_index_of_closed_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, ok: bool, observed: str
) -> None:
    monkeypatch.setattr(service_checks, "_connection", lambda _: NoDatabase())
    monkeypatch.setattr(space_indexes, "space_indexes", lambda _: [make_index("built")])
    closed = history_index.ClosedIndex(name="i", state=state)
    monkeypatch.setattr(history_index, "closed_indexes", lambda _: [closed])
    result = result_of("vector indexes", tmp_path)
    assert (result.ok, result.observed) == (ok, f"m (space 1): built; {observed}")


def test_closed_chunks_that_nobody_brings_into_their_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_checks, "_connection", lambda _: NoDatabase())

    def waiting(chunks: int, since: datetime | None) -> None:
        found = history_index.ClosedChunksWaiting(chunks=chunks, since=since)
        monkeypatch.setattr(history_index, "closed_chunks_waiting", lambda _: found)

    waiting(0, None)
    assert result_of("closed chunks", tmp_path).observed == "no closed chunk waits for its index"
    waiting(5, datetime.now(UTC) - timedelta(minutes=9))
    assert result_of("closed chunks", tmp_path).ok
    waiting(10_000, datetime(2026, 11, 26, tzinfo=UTC))
    failed = result_of("closed chunks", tmp_path)
    assert (failed.ok, failed.observed) == (
        False,
        "10,000 or more closed chunks wait for their index, the first since 2026-11-26 00:00:00Z",
    )
