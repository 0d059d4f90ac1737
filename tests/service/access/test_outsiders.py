"""Who is granted nothing gets nothing on any path, and the errors of what does not exist.

`ACCESS_QUERIES=20000 ACCESS_SEED=5 make test T=tests/service/access/test_outsiders.py` asks more, and other things.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from nexusrpc import HandlerError
from nexusrpc.handler import StartOperationContext

from corpus.access.admission import UNCLAIMED, KnownTeam
from corpus.access.reader import Reader, reading_as
from corpus.access.team import TeamSpec
from corpus.access.token import HEADER, SERVICE, Call, request_digest, sign
from corpus.answer.activities import TeamLook
from corpus.answer.await_fresh import outcome_for_team
from corpus.answer.gate import Gate, reader_of
from corpus.answer.search import search
from corpus.database import Connection
from corpus.deliver.notices import next_notice
from corpus.deliver.subscription import DeliveryInput
from corpus.errors import FreshetError
from corpus.service import AwaitFreshRequest, DescribeRequest, SearchRequest
from corpus.sql import query
from tests.service.access.test_access_property import BATCHES, GROUPS, Model, write
from tests.support.callers import requests
from tests.support.logins import grant, session
from tests.support.pipeline import Pipeline
from tests.support.team_env import set_team
from workers.roles.gateway import describe_as

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]

QUERIES = int(os.environ.get("ACCESS_QUERIES", "1000"))
SEED = int(os.environ.get("ACCESS_SEED", "3"))
MODES = ("vector", "text", "hybrid")
# Tables of which a reader of a source knows some rows: that it publishes batches is no secret from it.
LEDGER = (
    "batch",
    "source",
    "batch_range",
    "source_position",
    "freshness_report",
    "delivered_notice",
)
CONTENT = ("document", "chunk", "dead_letter", "document_correction")


def rows_of(tables: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"SELECT source FROM freshet.{name} WHERE source = %(source)s" for name in tables)


# What is about documents: each returns no row, or nothing but nulls, to who may read none.
ABOUT_DOCUMENTS = (
    *rows_of(CONTENT),
    "SELECT chunk_id FROM freshet.search(NULL, 'water level', p_mode => 'text', p_sources => ARRAY[%(source)s])",
    "SELECT 1 FROM freshet.chunk WHERE chunk_id = %(chunk_id)s",
    "SELECT 1 FROM freshet.document WHERE document_id = %(document_id)s",
    "SELECT nullif(freshet.erasure_of(%(source)s, %(document_id)s)::text, '')",
    "SELECT true WHERE freshet.head_is_readable(%(source)s, %(document_id)s)",
    "SELECT nullif(documents_written + documents_deleted + chunks_opened + chunks_closed, 0)"
    " FROM freshet.batch_counts(%(source)s, %(batch)s)",
    *(query(name) for name in ("lineage_versions", "chunk_document")),
    *(query(name) for name in ("batch_changes", "batch_expiries", "lineage_chunks")),
)
TEAMS = {
    # The team's sources and groups: another source, or the source without a group that any document names.
    "ungranted": (("other",), GROUPS),
    "groupless": (("s",), ("z",)),
}

# What logins of SQL clients are granted: sources and groups.
GRANTS: dict[str, tuple[list[str], list[str]]] = {
    "no grant": ([], []),
    "other source": (["other"], ["a"]),
    "no group": (["s"], ["z"]),
}


@dataclass
class Outsiders:
    """A corpus of documents that all name a group, and those who are not in it."""

    pipeline: Pipeline
    chance: random.Random
    logins: dict[str, Connection]  # without a role, or without the grant that counts
    documents: list[str]


@pytest.fixture
def outsiders(pipeline: Pipeline) -> Iterator[Outsiders]:
    print(f"ACCESS_SEED={SEED} ACCESS_QUERIES={QUERIES}")
    chance = random.Random(SEED)
    model = Model()
    for batch in range(1, BATCHES + 1):
        write(pipeline, model, chance, batch)
    connection = pipeline.connection
    connection.execute("""UPDATE freshet.source SET spec = spec || '{"default_acl": ["a"]}'""")
    for team, (sources, groups) in TEAMS.items():
        set_team(connection, team, sources=sources, groups=groups, subscribers=(team,))
        connection.execute(
            "INSERT INTO freshet.subscription (subscriber, source, endpoint) VALUES (%s, 's', 'e')",
            (team,),
        )
    url = pipeline.database_url
    with ExitStack() as sessions:
        logins = {"stranger": sessions.enter_context(session(url))}
        for name, (sources, groups) in GRANTS.items():
            logins[name] = sessions.enter_context(session(url, "freshet_reader"))
            if sources:
                grant(url, logins[name], sources=sources, groups=groups)
        yield Outsiders(pipeline, chance, logins, list(model.history))


def outcome(step: Callable[[], Any]) -> str:
    """What an outsider learns, an error included, as text."""
    try:
        return repr(step())
    except (FreshetError, HandlerError, psycopg.Error) as error:
        return f"{type(error).__name__}: {error}"


def differences(real: str, missing: str, names: dict[str, str]) -> bool:
    """Whether two outcomes differ, the names that were asked for left aside."""
    for name, other in names.items():
        real = real.replace(repr(name), repr(other))
    return real != missing


def request_of_past(chance: random.Random) -> dict[str, Any]:
    """Now, as of an instant, or as of a batch that there is or is not."""
    return chance.choice(
        (
            {},
            {"as_of_us": int(time.time() * 1_000_000) - chance.randint(0, 10_000_000)},
            {"as_of_batch": chance.randint(1, BATCHES + 2)},
        )
    )


def reader_of_team(team: str) -> Reader:
    sources, groups = TEAMS[team]
    return Reader(name=f"team:{team}", sources=frozenset(sources), groups=groups)


# Each asks twice, for what exists and for what does not, and returns what it learned of what exists.


def asks_search(world: Outsiders) -> list[str]:
    """A team searches: no hits, and no other errors."""
    chance = world.chance
    team = chance.choice(list(TEAMS))
    mode, past = chance.choice(MODES), request_of_past(chance)
    connection, embedder = world.pipeline.connection, world.pipeline.embedder.of

    def found(*sources: str) -> str:
        request = SearchRequest(query="water level", k=50, mode=mode, sources=sources, **past)
        return outcome(lambda: search(connection, request, embedder, reader=reader_of_team(team)))

    if team == "ungranted":
        # Without names it searches its own sources, of which there is none.
        assert not differences(found("s"), found("never"), {"s": "never"}), (team, mode, past)
        assert "hits=()" in (nothing := found()) or "as_of" in nothing
    else:
        seen = found("s")
        assert "hits=()" in seen or "has no published batch" in seen, (team, mode, past, seen)
    return [team, mode]


def asks_description(world: Outsiders) -> list[str]:
    """A team asks for a source: it does not exist, or has no documents."""
    team = world.chance.choice(list(TEAMS))
    connection, reader = world.pipeline.connection, reader_of_team(team)
    described = describe_as(connection, reader, DescribeRequest(source="s"))
    missing = describe_as(connection, reader, DescribeRequest(source="never"))
    assert missing is None
    if team == "ungranted":
        assert described is None
    else:
        assert described is not None and described.documents == 0
    return [team]


def asks_wait(world: Outsiders) -> list[str]:
    """A team waits for a document, a record, a batch or an instant."""
    chance = world.chance
    team = chance.choice(list(TEAMS))
    document, version = chance.choice(world.documents), chance.randint(0, 9)
    connection = world.pipeline.connection

    def waited(source: str, **target: Any) -> str:
        request = AwaitFreshRequest(
            source=source, groups=TEAMS[team][1], timeout_seconds=0, **target
        )
        return outcome(lambda: outcome_for_team(connection, TeamLook(request=request, team=team)))

    record = {"topic": "s", "partition": 0, "offset": chance.randint(0, 60)}
    targets: tuple[dict[str, Any], ...] = (
        {"document_id": document, "version": version},
        record,
        {"batch": chance.randint(1, BATCHES)},
        {"time_ms": chance.randint(0, 2**41)},
    )
    if team == "ungranted":
        target = chance.choice(targets)
        assert not differences(waited("s", **target), waited("never", **target), {"s": "never"})
        return [team]
    real = waited("s", document_id=document, version=version)
    missing = waited("s", document_id="never", version=version)
    assert not differences(real, missing, {document: "never"}), (real, missing)
    of_record = waited("s", **record)
    assert "reached=False" in of_record
    assert not any(repr(name) in of_record for name in world.documents), of_record
    return [team]


def asks_notice(world: Outsiders) -> list[str]:
    """A subscriber of a team reads the next notice: none, or one that counts nothing."""
    team = world.chance.choice(list(TEAMS))
    connection = world.pipeline.connection
    # Wherever the cursor is.
    move = "UPDATE freshet.delivery SET cursor_batch = %s WHERE subscriber = %s"
    connection.execute(move.encode(), (world.chance.randint(0, BATCHES - 1), team))
    notice = next_notice(connection, DeliveryInput(subscriber=team, source="s")).notice
    if team == "ungranted":
        assert notice is None
        return [team]
    assert notice is not None
    counted = (notice.documents_written, notice.documents_deleted, notice.documents_expired)
    assert (*counted, notice.chunks_opened, notice.chunks_closed) == (0, 0, 0, 0, 0)
    assert (notice.changes, notice.changes_left_out) == ((), 0)
    return [team]


def asks_rows(world: Outsiders) -> list[str]:
    """A team's reader, or a login, reads tables, functions and lineage with SQL: no row, no other error."""
    chance = world.chance
    who = chance.choice((*TEAMS, *world.logins))
    # Readers of the source know of its batches, and of no document.
    is_reader = who in ("groupless", "no group")
    statements = ABOUT_DOCUMENTS if is_reader else (*ABOUT_DOCUMENTS, *rows_of(LEDGER))
    statement = chance.choice(statements)
    document = chance.choice(world.documents)
    numbers = {"chunk_id": chance.randint(1, 60), "batch": chance.randint(1, BATCHES), "most": 9}
    numbers |= {"chunk_ids": list(range(60))}

    def learned(source: str, name: str) -> str:
        values = {"source": source, "document_id": name} | numbers
        return outcome(lambda: _rows(world, who, statement, values))

    real, missing = learned("s", document), learned("never", "never")
    assert not differences(real, missing, {"s": "never", document: "never"}), (who, statement)
    assert real == "[]" or "InsufficientPrivilege" in real, (who, statement, real)
    return [who]


def _rows(world: Outsiders, who: str, text: str, values: dict[str, Any]) -> list[Any]:
    statement = text.encode()
    if who in TEAMS:
        connection = world.pipeline.connection
        with reading_as(connection, reader_of_team(who)):
            return _without_nulls(connection.execute(statement, values).fetchall())
    return _without_nulls(world.logins[who].execute(statement, values).fetchall())


def _without_nulls(rows: list[Any]) -> list[Any]:
    return [row for row in rows if any(value is not None for value in row)]


def asks_gate(world: Outsiders) -> list[str]:
    """A call from a stranger's namespace, with a token that is right: one sentence, whatever it asks for."""
    spec = TeamSpec(team="t", endpoint="e", namespace="theirs", sources=("s",), groups=GROUPS)
    team = KnownTeam(spec=spec, keys={"k": b"k" * 32})
    noted: list[Any] = []

    def note(decision: Any) -> Future[None]:
        noted.append(decision)
        return Future()

    gate = Gate(lambda: team, note)
    operation = world.chance.choice(list(requests("s")))

    def refused(source: str) -> str:
        request = requests(source)[operation]
        call = Call(
            service=SERVICE, operation=operation, endpoint="e", digest=request_digest(request)
        )
        token = sign(call, team="t", key_id="k", key=b"k" * 32, now=int(time.time()))
        context = StartOperationContext(
            service=SERVICE, operation=operation, headers={HEADER: token}, request_id="r",
            task_cancellation=Any, request_deadline=None,
        )  # fmt: skip
        return outcome(lambda: gate.admit(context, request, frozenset({"stranger"})))

    assert refused("s") == refused("never") == f"HandlerError: {UNCLAIMED}"
    assert {decision.team for decision in noted} == {""}
    # Nor does a team vouch for a group that is not its own.
    assert "may not vouch for" in outcome(lambda: reader_of(spec, ("z",)))
    return ["stranger's namespace", operation]


PATHS = (asks_search, asks_search, asks_description, asks_wait, asks_notice, asks_rows, asks_rows)


def test_who_is_granted_nothing_learns_nothing_on_any_path(outsiders: Outsiders) -> None:
    asked: dict[str, set[str]] = {}
    for _ in range(QUERIES // 2):  # each path asks twice
        path = outsiders.chance.choice((*PATHS, asks_gate))
        asked.setdefault(path.__name__, set()).update(path(outsiders))
    assert asked.keys() == {path.__name__ for path in (*PATHS, asks_gate)}
    everyone = {"ungranted", "groupless", "stranger", "no grant", "other source", "no group"}
    assert everyone <= set().union(*asked.values())
    # All of it is there for who is in the groups.
    who = Reader(name="team:all", sources=frozenset({"s"}), groups=GROUPS)
    described = describe_as(outsiders.pipeline.connection, who, DescribeRequest(source="s"))
    assert described is not None and described.documents > 0
