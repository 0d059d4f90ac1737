"""`freshet apply`: make the sources, topics, spaces, schedules and subscriptions what the file says. Twice changes nothing."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from corpus.database import Connection, connect, database_errors_translated
from corpus.errors import ConfigurationError, DependencyError
from corpus.source import SourceSpec, SourceStatus, source_workflow_id
from corpus.sql import query
from ingest.kafka import MAX_MESSAGE_BYTES, Cluster
from workers.config import rules as config_rules
from workers.config.file import Config
from workers.config.settings import Settings

# Re-embedding and re-indexing what is there is not built yet.
_LASTING = ("model", "prefix", "text_search_language")


class Verb(StrEnum):
    """What happens to a thing."""

    CREATE = "create"
    CHANGE = "change"
    RETIRE = "retire"
    UNCHANGED = "unchanged"
    UNLISTED = "unlisted"  # in the database, not in the file; retired or ended only with --prune
    END = "end"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of the plan."""

    kind: str  # "source", "topic", "space", "schedule", ...
    name: str
    change: str
    fields: tuple[tuple[str, Any, Any], ...] = ()  # (path, before, after)


def plan(connection: Connection, cluster: Cluster, config: Config, *, prune: bool) -> list[Change]:
    """Compare the file with the database and the cluster.

    Raises:
        ConfigurationError: the database lacks a text search configuration, a source that goes on makes a loop with one of the file, or
            a field changes that its documents depend on.
        DependencyError: PostgreSQL or Kafka does not answer.
    """
    with database_errors_translated():
        rows = connection.execute(query("sources_configured")).fetchall()
        _check_languages(connection, config)
    _check_loops([*config.sources, *([] if prune else unlisted_sources(connection, config))])
    have = {source: (SourceSpec.from_json(spec), state) for source, spec, _, state, _ in rows}
    _check_lasting(connection, config, {source: spec for source, (spec, _) in have.items()})
    changes = [_source_change(spec, have.get(spec.source)) for spec in config.sources]
    named = {spec.source for spec in config.sources}
    for source, (_, state) in have.items():
        if source not in named and state != SourceStatus.RETIRED:
            changes.append(
                Change(kind="source", name=source, change=Verb.RETIRE if prune else Verb.UNLISTED)
            )
    existing = cluster.topics(config.partitions)
    topics = [
        Change(
            kind="topic", name=topic, change=Verb.UNCHANGED if topic in existing else Verb.CREATE
        )
        for topic in config.partitions
    ]
    return changes + topics


def unlisted_sources(connection: Connection, config: Config) -> list[SourceSpec]:
    """Sources that go on though the file does not name them."""
    named = {spec.source for spec in config.sources}
    with database_errors_translated():
        rows = connection.execute(query("active_sources")).fetchall()
    return [SourceSpec.from_json(spec) for source, spec in rows if source not in named]


def _check_languages(connection: Connection, config: Config) -> None:
    """A name that PostgreSQL does not know would stop the source at its first batch."""
    known = [name for (name,) in connection.execute(query("text_search_languages")).fetchall()]
    for spec in config.sources:
        if spec.text_search_language not in known:
            raise ConfigurationError(
                f"source.{spec.source}.text_search_language = {spec.text_search_language!r} is no text search configuration of this "
                f"PostgreSQL; it has {', '.join(known)}"
            )


def _check_lasting(connection: Connection, config: Config, have: dict[str, SourceSpec]) -> None:
    """What chunks were made with stays while there are any: those made otherwise would be found by no search."""
    with database_errors_translated():
        filled = {
            source for (source,) in connection.execute(query("sources_with_documents")).fetchall()
        }
    for spec in config.sources:
        before = have.get(spec.source)
        for field in _LASTING if before is not None and spec.source in filled else ():
            if getattr(before, field) != getattr(spec, field):
                raise ConfigurationError(
                    f"source.{spec.source}.{field} cannot change from {getattr(before, field)!r} to {getattr(spec, field)!r} while the corpus "
                    "holds documents of this source: a search would not find them. Give a new source the new value and the same topics; "
                    "retire this one when that has caught up"
                )


def _check_loops(specs: list[SourceSpec]) -> None:
    try:
        config_rules.no_loop(specs)
    except ValueError as error:
        raise ConfigurationError(
            f"with the sources that go on though the file does not name them: {error}"
        ) from error


def _source_change(spec: SourceSpec, have: tuple[SourceSpec, str] | None) -> Change:
    if have is None:
        return Change(kind="source", name=spec.source, change=Verb.CREATE)
    fields = differences(_flat(have[0]), _flat(spec))
    if have[1] == SourceStatus.RETIRED:
        fields = (("state", "retired", "active"), *fields)
    return Change(
        kind="source",
        name=spec.source,
        change=Verb.CHANGE if fields else Verb.UNCHANGED,
        fields=fields,
    )


def _flat(spec: SourceSpec) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in json.loads(json.dumps(spec.to_json())).items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": item for inner, item in value.items()})
        else:
            flat[name] = value
    return flat


def differences(before: dict[str, Any], after: dict[str, Any]) -> tuple[tuple[str, Any, Any], ...]:
    """(path, before, after) of every field that differs."""
    return tuple(
        (path, before.get(path), after[path]) for path in after if before.get(path) != after[path]
    )


async def execute(
    settings: Settings, config: Config, changes: list[Change], cluster: Cluster, *, prune: bool
) -> list[Change]:
    """Do what the plan says.

    1. embedding spaces: a model that cannot be had stops everything before anything is changed
    2. topics, so that a consumer finds them
    3. sources
    4. schedules and subscriptions, by the parts that own them

    Returns:
        Further changes: spaces, schedules, subscriptions.
    """
    done: list[Change] = []
    with (
        connect(settings.database_url, application="freshet-apply") as connection,
        database_errors_translated(),
    ):
        done += _register_spaces(connection, config)  # 1
        for change in changes:  # 2
            if change.kind == "topic" and change.change == Verb.CREATE:
                cluster.create_topic(
                    change.name,
                    config.partitions[change.name],
                    {"max.message.bytes": str(MAX_MESSAGE_BYTES)},
                )
        with connection.transaction():  # 3
            specs = {spec.source: spec for spec in config.sources}
            for change in changes:
                if change.kind == "source":
                    _apply_source(connection, change, specs.get(change.name))
    changed = [
        change.name
        for change in changes
        if change.kind == "source" and change.change == Verb.CHANGE
    ]
    done += await _reconcile_others(settings, config, changed, prune=prune)  # 4
    return done


def _register_spaces(connection: Connection, config: Config) -> list[Change]:
    from corpus.embed.model_files import read_embedding_spec
    from corpus.embed.spaces import register

    done: list[Change] = []
    for model, prefix in dict.fromkeys((spec.model, spec.prefix) for spec in config.sources):
        embedding = read_embedding_spec(model, prefix)
        number = register(connection, embedding)
        done.append(
            Change(
                kind="space",
                name=f"{number} {embedding.fingerprint()} {model}",
                change="registered",
            )
        )
    return done


def _apply_source(connection: Connection, change: Change, spec: SourceSpec | None) -> None:
    arguments = {"source": change.name, "spec": json.dumps(spec.to_json()) if spec else None}
    match change.change:
        case Verb.CREATE:
            connection.execute(query("create_source"), arguments)
        case Verb.CHANGE:
            connection.execute(query("change_source"), arguments)
        case Verb.RETIRE:
            connection.execute(query("retire_source"), {"source": change.name})
        case _:
            pass


async def _reconcile_others(
    settings: Settings, config: Config, changed: list[str], *, prune: bool
) -> list[Change]:
    from freshness import schedules
    from workers.apply import subscriptions
    from workers.temporal.client import temporal

    client = await temporal(settings)
    for source in changed:
        await _reload(client, source)
    # Every source that goes on, also one that this file does not name: its checks go on too.
    with connect(settings.database_url, application="freshet-apply") as connection:
        active = [
            SourceSpec.from_json(spec)
            for _, spec in connection.execute(query("active_sources")).fetchall()
        ]
    done = [_foreign("schedule", change) for change in await schedules.reconcile(client, active)]
    done += [
        _foreign("subscription", change)
        for change in await subscriptions.reconcile(settings, config, prune=prune)
    ]
    return done


async def _reload(client: Client, source: str) -> None:
    """Tell the entity that its limits were changed; one that has never run reads them when it starts."""
    try:
        await client.get_workflow_handle(source_workflow_id(source)).signal("reload")
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise DependencyError(
                f"Temporal did not take the new limits of source {source!r}: {error.message}; apply again"
            ) from error


def _foreign(kind: str, change: Any) -> Change:
    fields = asdict(change)
    name = fields.get("name") or fields.get("schedule") or fields.get("subscription") or "?"
    return Change(
        kind=str(fields.get("kind", kind)),
        name=str(name),
        change=str(fields.get("change", "applied")),
    )


def check_models(config: Config) -> None:
    """For a dry run: every model can be had.

    Raises:
        ConfigurationError: one cannot; the message names the source.
    """
    from corpus.embed.model_files import read_embedding_spec

    for spec in config.sources:
        try:
            read_embedding_spec(spec.model, spec.prefix)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"source.{spec.source}.model = {spec.model!r}: {error}"
            ) from error
