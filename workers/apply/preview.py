"""For `freshet apply --dry-run`: what would become of namespaces, endpoints, schedules and subscriptions. Changes nothing."""

from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from corpus.database import Connection, database_errors_translated
from corpus.errors import DependencyError
from corpus.search_attributes import SPEC_HASH
from corpus.source import SourceSpec
from freshness.schedules import schedule_id, spec_hash
from workers.apply import subscriptions
from workers.apply.plan import Change, Verb, unlisted_sources
from workers.config.file import Config
from workers.config.settings import Settings
from workers.temporal.client import temporal


async def others(
    settings: Settings, connection: Connection, config: Config, *, prune: bool
) -> list[Change]:
    """All that `apply` makes beside sources and topics.

    Raises:
        DependencyError: PostgreSQL or Temporal does not answer.
    """
    client = await temporal(settings)
    going_on = [*config.sources, *([] if prune else unlisted_sources(connection, config))]
    changes = await _schedules(client, going_on)
    for name in subscriptions.namespaces(settings, config.subscribers):
        there = await subscriptions.namespace_exists(client, name)
        changes.append(
            Change(kind="namespace", name=name, change=Verb.UNCHANGED if there else Verb.CREATE)
        )
    for name, wanted in subscriptions.targets(settings, config.subscribers).items():
        have = await subscriptions.endpoint_target(client, name)
        changes.append(
            _compared(
                "endpoint",
                name,
                have is not None,
                {"target": have and ":".join(have)},
                {"target": ":".join(wanted)},
            )
        )
    return changes + _subscriptions(connection, config, prune=prune)


def _compared(
    kind: str, name: str, there: bool, have: dict[str, Any], wanted: dict[str, Any]
) -> Change:
    if not there:
        return Change(kind=kind, name=name, change=Verb.CREATE)
    fields = tuple(
        (path, have[path], wanted[path]) for path in wanted if have[path] != wanted[path]
    )
    return Change(
        kind=kind, name=name, change=Verb.CHANGE if fields else Verb.UNCHANGED, fields=fields
    )


async def _schedules(client: Client, specs: list[SourceSpec]) -> list[Change]:
    have: dict[str, str | None] = {}
    try:
        async for listed in await client.list_schedules():
            if listed.id.startswith("freshet/") and listed.id.endswith("/freshness"):
                have[listed.id] = listed.typed_search_attributes.get(SPEC_HASH)
    except RPCError as error:
        if (
            error.status is not RPCStatusCode.NOT_FOUND
        ):  # there is no namespace yet, so no schedule either
            raise DependencyError(
                f"Temporal does not list its schedules: {error.message}"
            ) from error
    changes: list[Change] = []
    for spec in specs:
        name = schedule_id(spec.source)
        verb = (
            Verb.CREATE
            if name not in have
            else Verb.UNCHANGED
            if have[name] == spec_hash(spec)
            else Verb.CHANGE
        )
        changes.append(Change(kind="schedule", name=name, change=verb))
    gone = sorted(set(have) - {change.name for change in changes})
    return changes + [Change(kind="schedule", name=name, change=Verb.DELETE) for name in gone]


def _subscriptions(connection: Connection, config: Config, *, prune: bool) -> list[Change]:
    with database_errors_translated():
        rows = subscriptions.subscriptions(connection)
    have = {
        f"{row['subscriber']}:{row['source']}": row["endpoint"]
        for row in rows
        if row["state"] == "active"
    }
    changes: list[Change] = []
    for spec in config.subscribers:
        for source in spec.sources:
            name = f"{spec.subscriber}:{source}"
            before = have.pop(name, None)
            changes.append(
                _compared(
                    "subscription",
                    name,
                    before is not None,
                    {"endpoint": before},
                    {"endpoint": spec.endpoint},
                )
            )
    return changes + [
        Change(kind="subscription", name=name, change=Verb.END if prune else Verb.UNLISTED)
        for name in have
    ]
