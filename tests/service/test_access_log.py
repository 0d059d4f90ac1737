"""The access log: each row is chained to the one before it, and whoever changes, removes or moves one is found out."""

import threading
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from corpus.access import log
from corpus.access.log import Entry
from corpus.answer.gate import Decision
from corpus.database import connect, open_pool
from corpus.errors import FreshetError
from corpus.service import AwaitFreshRequest, DescribeRequest, SearchRequest
from corpus.source import AuditSpec, SourceSpec
from workers.calls.log import AnswerLog
from workers.cli.console import ExitCode
from workers.cli.main import run

pytestmark = pytest.mark.service


@pytest.fixture
def db(database_url: str) -> Any:
    with connect(database_url) as connection:
        for source, queries in (("peps", "hash"), ("open", "text")):
            audit = AuditSpec(queries=queries)
            spec = SourceSpec(source=source, topics=("t",), audit=audit)
            connection.execute(
                "INSERT INTO freshet.source (source, spec) VALUES (%s, %s)",
                (source, Jsonb(spec.to_json())),
            )
        yield connection


def entry(source: str, action: str = "search", **detail: Any) -> Entry:
    return Entry(source=source, actor="team:billing", action=action, detail=detail)


def fill(db: Any) -> None:
    """Nine rows in three chains, in as many transactions as there are rounds."""
    for number in range(3):
        log.append(db, [entry("peps", k=number), entry("open", k=number), entry("", k=number)])


def problems(db: Any, source: str | None = None) -> list[tuple[str, int, str]]:
    return [(one.source, one.number, one.problem) for one in log.verify(db, source)]


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_source_has_its_chain_and_an_unknown_one_has_none(db: Any) -> None:
    fill(db)
    log.append(db, [entry("no such source"), entry("' OR true --")])
    assert [(end.source, end.number) for end in log.ends(db, None)] == [
        ("", 5),
        ("open", 3),
        ("peps", 3),
    ]
    assert problems(db) == []
    newest = log.rows(db, "peps", 1)[0]
    assert (newest.number, newest.actor, newest.detail) == (3, "team:billing", {"k": 2})
    assert newest.written_by == db.info.user


def test_a_query_is_a_digest_unless_its_source_keeps_the_text(db: Any) -> None:
    log.append(
        db, [entry("peps", query="wages"), entry("open", query="wages"), entry("", query="x")]
    )
    digest = "6a3ed75f2eb8dd1fe1db1d1eebeb5d1d4a4ee2ad0dcb0d0e3e4ec0ac4f4fd2a1"
    hashed = log.rows(db, "peps", 1)[0].detail
    assert set(hashed) == {"query_sha256"}
    assert len(hashed["query_sha256"]) == len(digest)
    assert log.rows(db, "open", 1)[0].detail == {"query": "wages"}
    assert set(log.rows(db, "", 1)[0].detail) == {"query_sha256"}


def test_what_no_column_holds_is_written_all_the_same(db: Any) -> None:
    log.append(db, [entry("peps", groups=["a\0b", "\ud83d"], action="x\0"), entry("peps")])
    rows = log.rows(db, "peps", 2)
    assert rows[1].detail == {"groups": ["a\\0b", "\\ud83d"]}
    assert problems(db) == []


def test_writers_that_meet_leave_chains_without_gaps(db: Any, database_url: str) -> None:
    def write() -> None:
        with connect(database_url) as connection:
            for number in range(25):
                names = ("peps", "open") if number % 2 else ("open", "peps")
                log.append(connection, [entry(name, k=number) for name in names])

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {(end.source, end.number) for end in log.ends(db, None)} == {
        ("peps", 100),
        ("open", 100),
    }
    assert problems(db) == []


# ── tampering ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_are_only_added(db: Any) -> None:
    fill(db)
    for statement in (
        "UPDATE freshet.access_log SET actor = 'x'",
        "DELETE FROM freshet.access_log",
    ):
        with pytest.raises(psycopg.DatabaseError, match="only ever added"):
            db.execute(statement)
    with pytest.raises(psycopg.DatabaseError, match="only ever added"):
        db.execute("TRUNCATE freshet.access_log")


CHANGED = "it, or the row before it, was changed"


TAMPERING = [
    ("UPDATE freshet.access_log SET actor = 'x' WHERE {row}", {(2, CHANGED)}),
    ("UPDATE freshet.access_log SET at = at - interval '1 s' WHERE {row}", {(2, CHANGED)}),
    ("UPDATE freshet.access_log SET action = 'x' WHERE {row}", {(2, CHANGED)}),
    ("UPDATE freshet.access_log SET written_by = 'x' WHERE {row}", {(2, CHANGED)}),
    ("UPDATE freshet.access_log SET detail = '{{}}' WHERE {row}", {(2, CHANGED)}),
    (
        "UPDATE freshet.access_log SET digest = 'x' WHERE {row}",
        {(2, CHANGED), (3, CHANGED)},
    ),
    (
        "DELETE FROM freshet.access_log WHERE {row}",
        {(3, "the rows from 2 on before it are missing")},
    ),
    (
        "DELETE FROM freshet.access_log WHERE source = 'peps' AND number = 3",
        {(2, "the rows after it, up to 3, are missing")},
    ),
    (
        "DELETE FROM freshet.access_log WHERE source = 'peps'",
        {(0, "the rows after it, up to 3, are missing")},
    ),
    (
        "DELETE FROM freshet.access_chain WHERE source = 'peps'",
        {(3, "the end of its chain is not kept")},
    ),
    (
        "UPDATE freshet.access_chain SET digest = 'x' WHERE source = 'peps'",
        {(3, "it is not the row that was written last")},
    ),
    (
        "UPDATE freshet.access_log SET number = CASE number WHEN 2 THEN 12 ELSE 11 END"
        " WHERE source = 'peps' AND number > 1;"
        "UPDATE freshet.access_log SET number = number - 9 WHERE source = 'peps' AND number > 1",
        {(2, CHANGED), (3, CHANGED), (3, "it is not the row that was written last")},
    ),
]


def test_an_owner_who_tampers_is_found_out(db: Any) -> None:
    fill(db)
    db.execute("ALTER TABLE freshet.access_log DISABLE TRIGGER access_log_is_append_only")
    for statement, found in TAMPERING:
        with db.transaction(force_rollback=True):
            for part in statement.format(row="source = 'peps' AND number = 2").split(";"):
                db.execute(part)
            assert set(problems(db)) == {("peps", *one) for one in found}, statement
            assert problems(db, "open") == []
    assert problems(db) == []


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_shows_and_verifies(
    db: Any, database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("FRESHET_DATABASE_URL", database_url)
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    fill(db)
    assert run(["audit", "log", "--source", "peps", "--json"]) == ExitCode.OK
    assert capfd.readouterr().out.count("team:billing") == 3
    assert run(["audit", "log", "--verify"]) == ExitCode.OK
    assert "9 rows in 3 chains are as they were written" in capfd.readouterr().err
    db.execute("ALTER TABLE freshet.access_log DISABLE TRIGGER access_log_is_append_only")
    db.execute("DELETE FROM freshet.access_log WHERE source = 'open' AND number = 1")
    assert run(["audit", "log", "--verify", "--source", "peps"]) == ExitCode.OK
    assert run(["audit", "log", "--verify"]) == ExitCode.CHECK_FAILED
    assert "are missing" in capfd.readouterr().out
    assert run(["audit", "log", "--source", "nope"]) == ExitCode.USAGE
    assert run(["audit"]) == ExitCode.USAGE  # the audit of a source is as it was


# ── the writer of a gateway ─────────────────────────────────────────────────────────────────────────────────────────


def decision(**fields: Any) -> Decision:
    base = {"team": "billing", "namespaces": frozenset({"n"}), "operation": "search"}
    return Decision(**(base | fields))


def test_what_teams_ask_is_in_the_chains_of_their_sources(db: Any, database_url: str) -> None:
    granted = frozenset({"peps", "open"})
    search = SearchRequest(query="wages", sources=("peps", "nope", "\0"), k=3, groups=("staff",))
    wait = AwaitFreshRequest(source="open", document_id="jane@example.org", version=1)
    unclaimed = decision(team="", refused="there is no token")
    with open_pool(database_url, size=1) as pool, AnswerLog(pool) as answers:
        notes = [
            answers.note(decision(request=search, granted=granted)),
            answers.note(decision(request=SearchRequest(query="all"), granted=granted)),
            answers.note(decision(request=wait, granted=granted, operation="await_fresh")),
            answers.note(decision(request=DescribeRequest(source="nope"), granted=granted)),
            *(answers.note(unclaimed) for _ in range(100)),
        ]
        for note in notes:
            note.result(10)
    assert [row.action for row in log.rows(db, "peps", 10)] == ["search", "search"]
    first = log.rows(db, "peps", 10)[-1]
    assert (first.actor, first.detail["groups"], first.detail["k"]) == (
        "team:billing",
        ["staff"],
        3,
    )
    waits = [row.detail for row in log.rows(db, "open", 10) if row.action == "await_fresh"]
    assert "jane" not in str(waits)
    of_none = log.rows(db, "", 200)
    assert {"nope"} <= {name for row in of_none for name in row.detail.get("not_granted", ())}
    refusals = [row.detail for row in of_none if row.actor == "unclaimed"]
    assert sum(detail["calls"] for detail in refusals) == 100
    assert len(refusals) < 100  # what waited together is one row
    assert {detail["refused"] for detail in refusals} == {"there is no token"}
    assert problems(db) == []


def test_a_call_that_cannot_be_noted_says_so_and_the_writer_goes_on(
    db: Any, database_url: str
) -> None:
    asked = decision(request=SearchRequest(query="x"), granted=frozenset({"peps"}))
    with open_pool(database_url, size=1) as pool, AnswerLog(pool) as answers:
        db.execute("ALTER TABLE freshet.access_log RENAME TO away")
        with pytest.raises(FreshetError):
            answers.note(asked).result(10)
        db.execute("ALTER TABLE freshet.away RENAME TO access_log")
        assert answers.note(asked).result(10) is None
    assert len(log.rows(db, "peps", 10)) == 1
