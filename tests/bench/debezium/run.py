"""One run: rows are edited live while Connect and Freshet's processes are killed; then the corpus must be the table."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import namedtuple_row

from compose.local.machine.ports import free_port
from corpus.database import Connection
from tests.bench import data
from tests.bench.converge import drain_patiently
from tests.bench.debezium.connect import (
    CONNECTOR,
    SLOT,
    Connect,
    avro_converter,
    json_converter,
    postgres_connector,
)
from tests.bench.debezium.table import TABLE, LiveTable
from tests.bench.debezium.topic import (
    Decode,
    UnseenDelete,
    avro_decode,
    deleted_unseen,
    json_decode,
    read_rows,
    wait_for_records,
)
from tests.bench.faults.judge import of_the_ledger
from tests.bench.light_stack import LightStack
from tests.bench.stack import Stack
from tests.support.polling import wait_until
from workers.config.addresses import LocalStack

SOURCE = "articles"
DATABASE = "shop"
TOPIC = f"{CONNECTOR}.{TABLE}"
TOML = f"""
[source.{SOURCE}]
topics = ["{TOPIC}", "{CONNECTOR}.transaction", "__debezium-heartbeat.{CONNECTOR}"]
partitions = %d
format = "debezium"
model = "all-MiniLM-L6-v2"

[source.{SOURCE}.debezium]
encoding = "%s"

[source.{SOURCE}.mapping]
content = "{{title}}\\n\\n{{body}}"
title = "title"
updated_at = "revised_at"
"""
VICTIMS = ("connect", "connect", "consumer", "preparer", "embedder", "storer", "orchestrator")
SNAPSHOT_ROWS = 60
IDS = 120
_KILL_PAUSE_SECONDS = (2.0, 5.0)
_DOWN_SECONDS = (0.0, 4.0)
_SNAPSHOT_DOWN_SECONDS = 8.0
_EDIT_PAUSE_SECONDS = (0.0, 0.15)
_DRAIN_SECONDS = 600.0
_CAUGHT_UP_SECONDS = 420.0
_MAX_NAMED = 10
NOT_IN_TOPIC = "deleted while a snapshot was begun again; not in the topic"
_WAITS = "column_waits"
_WAITS_SECONDS = 300.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Of a run.

    Attributes:
        seed: of the edits and the kills.
        kills: how many.
        partitions: of the table's topic.
        encoding: "json" or "avro": how the converter writes keys and values.
        keep: whether the stack's folder stays.
        break_snapshot: Connect is killed first when the first rows of its snapshot are in the topic.
    """

    seed: int
    kills: int = 14
    partitions: int = 1
    encoding: str = "json"
    keep: bool = False
    break_snapshot: bool = False

    @property
    def arguments(self) -> str:
        """The command line that repeats the run."""
        of_table = f"--partitions {self.partitions} --encoding {self.encoding}"
        first = " --break-snapshot" if self.break_snapshot else ""
        return f"--seed {self.seed} --kills {self.kills} {of_table}{first}"


def run(options: Options, say: Say) -> dict[str, Any]:
    """Do it; `say` is called with a line for everything that happens.

    1. make a table with rows in it, and start Connect, which takes a snapshot
    2. edit rows while processes are killed
    3. let Debezium and Freshet catch up
    4. compare, and then empty the table: the source has to stop and ask
    """
    rng = random.Random(options.seed)
    with LightStack(keep=options.keep, **_registry(options)) as stack:
        stack.apply(TOML % (options.partitions, options.encoding))
        database = _make_database(stack)
        with psycopg.connect(make_conninfo(**database), autocommit=True) as connection:
            table = LiveTable(connection, rng, IDS)
            table.create(SNAPSHOT_ROWS)  # 1
            connect = _connect(stack, database, _converter(stack, options, rng))
            try:
                connect.start()
                say("Debezium takes its snapshot")
                kills = _edit_and_kill(table, connect, stack, options, say)  # 2
                _let_debezium_catch_up(table, connection, connect)  # 3
                say("Debezium has sent everything")
                connect.kill()
                result = _judged(stack, table, options)  # 4
                broken = result["violations"]
                broken += _violations_of_truncate(stack, table, connect, say)
            finally:
                connect.kill()
        return {
            "holds": not broken,
            "repeat": f"make debezium ARGS='{options.arguments}'",
            "edits": table.edits,
            "kills": kills,
            **result,
        }


def _make_database(stack: Stack) -> dict[str, str]:
    """A database for the table beside the corpus; returns how to connect to it."""
    url = LocalStack.read(stack.home).database_url()
    with psycopg.connect(str(url), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}".encode())
    parts = conninfo_to_dict(str(url)) | {"dbname": DATABASE}
    return {name: str(parts[name]) for name in ("host", "port", "user", "password", "dbname")}


def _registry(options: Options) -> dict[str, str]:
    """What the stack's schema registry needs, where there is one."""
    if options.encoding == "json":
        return {}
    return {"FRESHET_SCHEMA_REGISTRY_PORT": str(free_port())}


def _converter(stack: Stack, options: Options, rng: random.Random) -> dict[str, str]:
    if options.encoding == "json":
        return json_converter(with_schemas=rng.random() < 0.5)
    return avro_converter(LocalStack.read(stack.home).schema_registry_url())


def _connect(stack: Stack, database: Mapping[str, str], converter: Mapping[str, str]) -> Connect:
    named = {name: value for name, value in database.items() if name != "host"}
    connector = postgres_connector({"hostname": database["host"], **named}, TABLE)
    folder = stack.home / "connect"
    return Connect(folder, stack.kafka_client(), connector, converter)


def _edit_and_kill(
    table: LiveTable, connect: Connect, stack: Stack, options: Options, say: Say
) -> dict[str, int]:
    """Edit until all kills are done; returns how often each process was killed."""
    rng = random.Random(f"{options.seed} kills")
    victims = list(VICTIMS) * (options.kills // len(VICTIMS) + 1)
    victims = victims[: options.kills]
    rng.shuffle(victims)
    counts = dict.fromkeys(sorted(set(victims)), 0)
    failures: list[BaseException] = []

    def kill_all() -> None:
        try:
            if options.break_snapshot:
                _break_snapshot(connect, stack, say)
                counts["connect"] = 1
            for victim in victims:
                time.sleep(rng.uniform(*_KILL_PAUSE_SECONDS))
                say(f"kill -9 {victim}")
                counts[victim] += _kill(victim, connect, stack, rng.uniform(*_DOWN_SECONDS))
        except BaseException as error:
            failures.append(error)

    killing = threading.Thread(target=kill_all, name="killing", daemon=True)
    killing.start()
    pauses = random.Random(f"{options.seed} pauses")
    while killing.is_alive():
        table.transaction()
        time.sleep(pauses.uniform(*_EDIT_PAUSE_SECONDS))
    if failures:
        raise failures[0]
    return counts


def _break_snapshot(connect: Connect, stack: Stack, say: Say) -> None:
    """Kill Connect when the first rows of its snapshot are in the topic; edits go on until it takes another."""
    wait_for_records(stack.kafka_client(), TOPIC, _CAUGHT_UP_SECONDS)
    say("kill -9 connect, in its snapshot")
    connect.kill()
    time.sleep(_SNAPSHOT_DOWN_SECONDS)
    connect.start()


def _kill(victim: str, connect: Connect, stack: Stack, down_seconds: float) -> bool:
    if victim != "connect":
        return stack.kill(victim)
    connect.kill()
    time.sleep(down_seconds)
    connect.start()
    return True


def _let_debezium_catch_up(
    table: LiveTable, connection: "psycopg.Connection[Any]", connect: Connect
) -> None:
    """Return when the connector has confirmed all that was written so far; further edits keep it moving."""
    row = connection.execute("SELECT pg_current_wal_lsn()").fetchone()
    assert row is not None

    def has_caught_up() -> bool:
        failure = connect.failure()
        if failure:
            raise RuntimeError(f"Debezium's task has failed: {failure}")
        confirmed = connection.execute(_CONFIRMED, (row[0], SLOT)).fetchone()
        return confirmed is not None and bool(confirmed[0])

    wait_until(has_caught_up, _CAUGHT_UP_SECONDS, "Debezium has sent every change")


_CONFIRMED = "SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s"


def _judged(stack: Stack, table: LiveTable, options: Options) -> dict[str, Any]:
    drained = drain_patiently(stack, timeout=_DRAIN_SECONDS)
    # Of several partitions, that of a row's new key may be read before that of its old one.
    wait_until(lambda: not _waiting(stack), _WAITS_SECONDS, "nothing waits for another partition")
    drained = drained and drain_patiently(stack, timeout=_DRAIN_SECONDS)
    unseen = deleted_unseen(read_rows(stack.kafka_client(), TOPIC, _decode(stack, options)))
    with stack.connect() as connection:
        waited = _count(connection, _WAITED)
        ledger = list(of_the_ledger(connection))
        if options.partitions > 1:
            ledger = [sentence for sentence in ledger if _WAITS not in sentence]
        broken = [*_violations(stack, table, connection, unseen, drained=drained), *ledger]
        return {
            "rows": len(table.documents()),
            "dead letters that waited": waited,
            NOT_IN_TOPIC: {row: each.shown() for row, each in sorted(unseen.items())},
            "outcomes": _outcomes(connection),
            "violations": broken,
        }


def _decode(stack: Stack, options: Options) -> Decode:
    if options.encoding == "json":
        return json_decode
    return avro_decode(LocalStack.read(stack.home).schema_registry_url())


def _waiting(stack: Stack) -> int:
    """Dead letters that are to be sent again, and those that were sent and not read yet."""
    with stack.connect() as connection:
        return _count(connection, _WAITED + b" AND state = 'open'")


def _violations(
    stack: Stack,
    table: LiveTable,
    connection: Connection,
    unseen: Mapping[str, UnseenDelete],
    *,
    drained: bool,
) -> Iterator[str]:
    if not drained:
        yield "not all records are in the corpus"
    have = data.exported(stack.cli("export", "--source", SOURCE))
    # What is deleted without a record has to be as its last record says, and nothing else may differ.
    wanted = {row: each.digest for row, each in unseen.items()} | table.documents()
    differing = _differing(have, wanted)
    if differing:
        yield f"{len(differing)} documents differ from their rows: {differing[:_MAX_NAMED]}"
    # How an operator finds them: what is older than the snapshot.
    since = max((each.snapshot_lsn for each in unseen.values()), default=0)
    older = {name for name, (version, _) in have.items() if int(version) < since}
    if older != unseen.keys() - table.documents().keys():
        yield f"documents that are older than the newest snapshot: {sorted(older)}"
    placeholders = _count(connection, _PLACEHOLDERS)
    if placeholders:
        yield f"{placeholders} chunks have a placeholder for their text"


def _differing(have: Mapping[str, tuple[str, str]], wanted: Mapping[str, str]) -> list[str]:
    digests = {name: digest for name, (_, digest) in have.items()}
    return sorted(
        name for name in digests.keys() | wanted.keys() if digests.get(name) != wanted.get(name)
    )


def _violations_of_truncate(
    stack: Stack, table: LiveTable, connect: Connect, say: Say
) -> list[str]:
    """An empty table would empty the corpus: nothing may change before a person has decided."""
    before = stack.cli("export", "--source", SOURCE)
    connect.start()
    table.empty()
    reason = wait_until(lambda: _reason_of_halt(stack), _CAUGHT_UP_SECONDS, "the source has halted")
    say(f"TRUNCATE: {reason}")
    broken: list[str] = []
    if "truncated" not in reason:
        broken.append(f"the source halted for another reason than TRUNCATE: {reason}")
    differing = data.differences(
        data.exported(stack.cli("export", "--source", SOURCE)), data.exported(before)
    )
    if differing:
        broken.append(f"TRUNCATE changed documents before anyone was asked: {differing}")
    return broken


def _reason_of_halt(stack: Stack) -> str:
    statement = b"SELECT state_reason FROM freshet.source WHERE state = 'halted' AND source = %s"
    with stack.connect() as connection:
        row = connection.execute(statement, (SOURCE,)).fetchone()
    return "" if row is None else str(row[0])


def _count(connection: Connection, statement: bytes) -> int:
    row = connection.execute(statement, (SOURCE,)).fetchone()
    assert row is not None
    return int(row[0])


def _outcomes(connection: Connection) -> dict[str, int]:
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        row = cursor.execute(_OUTCOMES, (SOURCE,)).fetchone()
    assert row is not None
    return {name: int(value) for name, value in row._asdict().items()}


_PLACEHOLDERS = (
    b"SELECT count(*) FROM freshet.chunk WHERE source = %s AND text LIKE '%%unavailable_value%%'"
)
_WAITED = b"SELECT count(*) FROM freshet.dead_letter WHERE source = %s AND reason = 'column_waits'"
_OUTCOMES = b"""
SELECT sum(records)::bigint AS records, sum(applied)::bigint AS applied, sum(unchanged)::bigint AS unchanged,
       sum(superseded)::bigint AS superseded, sum(ignored)::bigint AS ignored,
       sum(dead_lettered)::bigint AS dead_lettered
FROM freshet.batch WHERE source = %s AND kind = 'ingest'
"""
