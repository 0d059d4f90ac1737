"""Checks of `freshet doctor` on what the servers hold, those of the local stack or existing ones."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compose.local.checks import Check, CheckFailedError
from compose.local.installation_check import INSTALLATION_CHECK
from compose.local.models_check import MODELS_CHECK
from compose.local.parts.kafka import brokers
from compose.local.parts.temporal_namespace import SEARCH_ATTRIBUTES
from compose.local.text_check import TEXT_CHECK
from compose.local.topics_check import TOPIC_CHECKS
from corpus.errors import FreshetError
from ingest.decode.registry.schemas import use_registry

if TYPE_CHECKING:
    from corpus.database import Connection

_APPLICATION = "freshet-doctor"
_KAFKA_SECONDS = 10


def _iterative_scans(home: Path) -> str:
    if not _read_scalar(home, "doctor_iterative_scan"):
        raise CheckFailedError("this server does not know hnsw.iterative_scan")
    return "available"


def _vector_indexes(home: Path) -> str:
    from corpus.embed.history_index import closed_indexes
    from corpus.embed.space_indexes import space_indexes

    with _connection(home) as connection:
        indexes = [*space_indexes(connection), *closed_indexes(connection)]
    descriptions = [index.describe() for index in indexes]
    observed = "; ".join(descriptions)
    any_wanted = any(index.is_wanted for index in indexes)
    if any_wanted:
        raise CheckFailedError(observed)
    return observed or "no embedding space yet"


def _closed_chunks(home: Path) -> str:
    from corpus.embed.history_index import closed_chunks_waiting

    with _connection(home) as connection:
        waiting = closed_chunks_waiting(connection)
    if waiting.is_late(datetime.now(UTC)):
        raise CheckFailedError(waiting.describe())
    return waiting.describe()


def _upkeep(home: Path) -> str:
    """What is due is done by the next `freshet maintain`; it fails where nobody runs that."""
    from corpus.database import database_errors_translated
    from corpus.upkeep.rule import decide
    from corpus.upkeep.standing import read_standing

    with _connection(home) as connection, database_errors_translated():
        standing = read_standing(connection)
    decisions = decide(standing)
    due = "; ".join(one.describe() for one in decisions if one.is_due)
    if standing.server.problem is not None:
        raise CheckFailedError(
            standing.server.problem, "`ALTER SYSTEM` or postgresql.conf: switch it on"
        )
    if any(one.is_overdue for one in decisions):
        raise CheckFailedError(due)
    if due:
        return f"due, by the next `freshet maintain`: {due}"
    return "nothing is due"


def _locks(home: Path) -> str:
    from corpus.locks import lock_waits, still_sessions

    with _connection(home) as connection:
        waits = [wait.describe() for wait in lock_waits(connection)]
        still = [session.describe() for session in still_sessions(connection)]
    if waits or still:
        raise CheckFailedError("; ".join([*waits, *still]))
    return "no session waits for another"


def _connection(home: Path) -> "Connection":
    from corpus.database import connect
    from workers.config.settings import load

    return connect(load(home).database_url, application=_APPLICATION)


def _read_scalar(home: Path, name: str) -> Any:
    """The only value of a query with one column; None without a row."""
    from psycopg.rows import scalar_row

    from corpus.sql import query

    with _connection(home) as connection:
        cursor = connection.cursor(row_factory=scalar_row)
        cursor.execute(query(name))
        return cursor.fetchone()


def _kafka(home: Path) -> str:
    from workers.config.settings import load

    settings = load(home)
    bootstrap = settings.kafka_bootstrap
    properties = dict(settings.kafka_properties)
    properties["bootstrap.servers"] = bootstrap
    names = brokers(properties, timeout=_KAFKA_SECONDS)
    if not names:
        raise CheckFailedError(f"no answer from {bootstrap}")
    return ", ".join(names)


def _temporal(home: Path) -> str:
    return asyncio.run(_observe_temporal(home))


async def _observe_temporal(home: Path) -> str:
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

    from workers.config.settings import load, temporal_namespace
    from workers.temporal.client import temporal

    namespace = temporal_namespace()
    client = await temporal(load(home))
    response = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=namespace)
    )
    missing = [
        name for name in SEARCH_ATTRIBUTES if name not in response.custom_attributes
    ]
    if missing:
        names = ", ".join(missing)
        raise CheckFailedError(
            f"namespace {namespace} lacks the search attributes {names}"
        )
    info = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    return f"{info.server_version}, namespace {namespace}"


def _staging(home: Path) -> str:
    from workers.config.settings import load
    from workers.config.ways import open_staging

    store = open_staging(load(home))
    store.put("doctor/probe", b"", rows=0)
    return store.url


def _schema_registry(home: Path) -> str:
    """The registry answers as one, and lets this login read schemas; or no source needs one."""
    from workers.config.settings import load
    from workers.schema_registry import use_schema_registry

    registry = use_schema_registry(load(home))
    if registry is None:
        return _without_registry(home)
    try:
        registry.check()
    finally:
        use_registry(None)
    return "answers, and this login may read schemas"


def _without_registry(home: Path) -> str:
    try:
        needing = _sources_behind_registry(home)
    except FreshetError as error:
        return f"not set; whether a source needs one is not known: {error}"
    if needing:
        names = ", ".join(needing)
        raise CheckFailedError(f"not set, and these sources wait for one: {names}")
    return "not set, and no source needs one"


def _sources_behind_registry(home: Path) -> list[str]:
    from psycopg.rows import class_row

    from corpus.database import database_errors_translated, fetch_all
    from corpus.source import SourceStatus, read_specs
    from ingest.operate import ConfiguredSource

    with _connection(home) as connection, database_errors_translated():
        row_type = class_row(ConfiguredSource)
        rows = fetch_all(connection, row_type, "sources_configured", {})
    used = [row for row in rows if row.state != SourceStatus.RETIRED]
    stored = read_specs((row.source, row.spec) for row in used)
    return [name for name, spec in stored.specs.items() if spec.schema_kind]


def _logins(home: Path) -> str:
    """No process needs to be superuser or owner; an installation with one user works, too."""
    from corpus.database import database_errors_translated
    from corpus.sessions.logins import advisory_locks_are_kept, sessions_with_excess

    with _connection(home) as connection, database_errors_translated():
        lines = sessions_with_excess(connection)
        are_locks_kept = advisory_locks_are_kept(connection)
    if not lines and are_locks_kept:
        return "no process has more rights than it needs"
    if not lines:
        return (
            "no process has more rights than it needs; any login of the database can take the lock of publishing "
            "(corpus/README.md says which REVOKE changes that)"
        )
    return (
        f"warning: {'; '.join(lines)}. Set FRESHET_WRITER_DATABASE_URL and FRESHET_GATEWAY_DATABASE_URL, run "
        "`freshet migrate`, and start the roles again"
    )


def _sources(home: Path) -> str:
    from workers.cli.names import source_rows
    from workers.conditions import needing_attention
    from workers.config.settings import load

    rows = source_rows(load(home))
    reasons = needing_attention(rows)
    if reasons:
        raise CheckFailedError(" | ".join(reasons))
    conditions = Counter(row["condition"] for row in rows)
    counts = [f"{count} {name}" for name, count in sorted(conditions.items())]
    return ", ".join(counts) or "none yet"


def _freshness_checks(home: Path) -> str:
    from corpus.database import database_errors_translated
    from freshness.pace import check_pace

    with _connection(home) as connection, database_errors_translated():
        pace = check_pace(connection)
    if pace.is_slow:
        raise CheckFailedError(pace.describe())
    return pace.describe()


def _audits(home: Path) -> str:
    from corpus.audit.standing import standings
    from corpus.database import database_errors_translated

    with _connection(home) as connection, database_errors_translated():
        rows = standings(connection)
    problems = [row.problem for row in rows if row.problem]
    if problems:
        raise CheckFailedError(" | ".join(problems))
    audited = sum(row.audit is not None for row in rows)
    return f"{audited} of {len(rows)} sources were audited, nothing differs"


DATABASE_CHECKS = (
    Check("logins", _logins, "see what `freshet migrate` says"),
    Check(
        "iterative scans",
        _iterative_scans,
        "install pgvector 0.8.4 or newer: without iterative scans filtered searches return too few rows",
    ),
    Check(
        "vector indexes",
        _vector_indexes,
        "`freshet migrate`, then start a storer, which builds them; until then searches are exact and slower",
    ),
    Check(
        "closed chunks",
        _closed_chunks,
        "`freshet logs storer` (`index_not_built`); is a storer running, or does `freshet maintain` hold the lock of "
        "index builds? Until then searches of the past compare with each of them, and are slower",
    ),
    Check(
        "upkeep",
        _upkeep,
        "`freshet maintain` as the owner of the tables, and let it run every night (corpus/README.md, Upkeep)",
    ),
    MODELS_CHECK,
    TEXT_CHECK,
    *TOPIC_CHECKS,
    Check(
        "locks",
        _locks,
        "nothing, if it passes within a minute; else end the process that holds the lock, or "
        "`SELECT pg_terminate_backend(PID)` with its server process",
    ),
    Check(
        "sources",
        _sources,
        "`freshet source show NAME`; after a gap `freshet source resume NAME --skip-gap`; a role that does not run: "
        "`freshet status`, `freshet up`",
    ),
    Check(
        "freshness checks",
        _freshness_checks,
        "`freshet status`: does an orchestrator run? `freshet freshness schedules`: are they paused? Where more are "
        "due than the workers or Temporal do, give sources a longer `freshness.check_every`",
    ),
    Check(
        "audits",
        _audits,
        "`freshet audit show NUMBER`, then `freshet audit repair NUMBER --dry-run`; an overdue one: do the workers "
        "run, and is the schedule paused?",
    ),
)
SERVICE_CHECKS = (
    Check(
        "kafka",
        _kafka,
        "`freshet up`, or check FRESHET_KAFKA_BOOTSTRAP and FRESHET_KAFKA_PROPERTIES",
    ),
    Check(
        "temporal",
        _temporal,
        "`freshet up` makes the namespace and registers the search attributes",
    ),
    Check("staging", _staging, "check FRESHET_STAGING_URL and the rights on it"),
    Check(
        "schema registry",
        _schema_registry,
        "set FRESHET_SCHEMA_REGISTRY_URL, which ends before /schemas, and FRESHET_SCHEMA_REGISTRY_LOGIN or ..._TOKEN "
        "of a login that may read schemas; each consumer and preparer needs them",
    ),
    INSTALLATION_CHECK,
)
