"""Temporal Schedules of the freshness checks: one per source that is in use."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from psycopg.rows import namedtuple_row, scalar_row
from temporalio.client import Client
from temporalio.service import RPCError

from corpus.database import Connection, database_errors_translated, fetch_one
from corpus.errors import DependencyError, InstallationError
from corpus.search_attributes import SPEC_HASH
from corpus.source import SourceSpec, read_specs
from corpus.sql import query
from freshness import schedules
from workers.apply.change import Action, Change, StalePlanError
from workers.apply.kind import Kind, Names, Services, Target
from workers.apply.settling import until_settled
from workers.apply.sources import (
    ConfiguredSource,
    read_named,
    read_source,
    read_sources,
)

State = TypeVar("State")

_READS = 32  # at the same time


@dataclass(frozen=True, slots=True)
class FreshnessSchedule:
    """A schedule, by the hash of all that it is built from, and by who made it."""

    built_from: str | None
    spec: SourceSpec | None = None  # None: as read from the server
    made_by: str | None = None  # id of an installation; None: it has no mark
    is_foreign: bool = False  # another installation's

    def fields(self) -> Mapping[str, Any]:
        """The hash and the mark. An operator's pause is no part of it, and is kept."""
        return {"built_from": self.built_from, "installation": self.made_by}


class Schedules(Kind[FreshnessSchedule]):
    """Those of retired sources are deleted, unless a document of theirs has an end that is still to come.

    Those of another installation are left alone. One without a mark was made by an older Freshet: it is this
    installation's if its source is in this database.
    """

    name = "schedule"

    async def desired(
        self, services: Services, target: Target
    ) -> Mapping[str, FreshnessSchedule]:
        """One per source that continues, also where the file does not name it: its checks continue, too."""
        specs = [*_sources_with_ends(services.connection), *target.continuing]
        made_by = _own_id(services)
        return {
            schedules.schedule_id(spec.source): FreshnessSchedule(
                schedules.spec_hash(spec), spec, made_by
            )
            for spec in specs
        }

    async def compare(
        self, services: Services, target: Target
    ) -> list[Change[FreshnessSchedule]]:
        """The plan for this kind.

        Raises:
            InstallationError: another installation has a schedule for a source of the same name.
        """
        changes = await super().compare(services, target)
        for change in changes:
            if change.is_needed and change.current and change.current.is_foreign:
                raise InstallationError(
                    f"schedule {change.name} belongs to installation {change.current.made_by or 'unknown'}. If that "
                    "one no longer exists, delete the schedule with `temporal schedule delete`; else give this "
                    "installation another namespace, or its source another name"
                )
        return changes

    async def existing(self, services: Services) -> Names:
        """Those that Freshet made; the list runs a little behind, so each known source is asked for, too."""
        known = {
            schedules.schedule_id(source)
            for source in read_sources(services.connection)
        }
        with errors_translated("listing the schedules"):
            return {*known, *await schedules.list_ids(services.client)}

    async def current(
        self, services: Services, names: Names
    ) -> Mapping[str, FreshnessSchedule]:
        """Each as the server has it."""
        current = await read_all(services.client, names, _read)
        if services.process is None:
            return {
                name: replace(state, made_by=None) for name, state in current.items()
            }
        own = await services.process.own_ids(services.client)
        rows = read_named(services.connection, set(map(schedules.source_of, current)))
        of_sources = {schedules.schedule_id(row.source) for row in rows}
        return {
            name: replace(
                state, is_foreign=_is_foreign(state.made_by, own, name in of_sources)
            )
            for name, state in current.items()
        }

    def surplus(
        self, name: str, current: FreshnessSchedule, target: Target
    ) -> Change[FreshnessSchedule] | None:
        """Its source is retired, or gone; that of a source that cannot be read stays."""
        if name in map(schedules.schedule_id, target.unreadable):
            return None
        if current.is_foreign:
            return Change(
                kind=self.name,
                name=name,
                action=Action.FOREIGN,
                current=current,
                desired=current,
            )
        return Change(kind=self.name, name=name, action=Action.DELETE, current=current)

    async def write(
        self, services: Services, change: Change[FreshnessSchedule]
    ) -> None:
        """Create, update or delete it.

        Raises:
            StalePlanError: another `apply` has changed the schedule's source since.
        """
        desired = change.desired
        built_from = desired.built_from if desired else None
        needed = _built_from_now(services, change.name)
        if built_from != needed:
            raise StalePlanError(
                "its source was changed after the plan was made; run `freshet apply` again"
            )
        with errors_translated("writing the schedule"):
            if desired is None or desired.spec is None:
                await schedules.delete(services.client, change.name)
            else:
                await _write_when_settled(
                    services.client, desired.spec, desired.made_by
                )


def _sources_with_ends(connection: Connection) -> list[SourceSpec]:
    with (
        database_errors_translated(),
        connection.cursor(row_factory=namedtuple_row) as cursor,
    ):
        rows: list[Any] = cursor.execute(query("sources_with_ends")).fetchall()
    stored = read_specs((row.source, row.spec) for row in rows)
    return list(stored.specs.values())  # a check of an unreadable one could not begin


@until_settled
async def _write_when_settled(
    client: Client, spec: SourceSpec, made_by: str | None
) -> None:
    await schedules.write(client, spec, made_by)


async def read_all(
    client: Client,
    names: Names,
    read: Callable[[Client, str], Awaitable[State | None]],
) -> dict[str, State]:
    """Those schedules that exist, by name; some are asked for at a time, since each request has its own timeout.

    Raises:
        DependencyError: Temporal does not answer.
    """
    turn = asyncio.Semaphore(_READS)

    async def read_in_turn(name: str) -> State | None:
        async with turn:
            return await read(client, name)

    with errors_translated("reading the schedules"):
        states = await asyncio.gather(*map(read_in_turn, names))
    return {name: state for name, state in zip(names, states, strict=True) if state}


async def _read(client: Client, name: str) -> FreshnessSchedule | None:
    described = await schedules.describe(client, name)
    if described is None:
        return None
    made_by = await schedules.made_by(client, described.schedule)
    built_from = described.typed_search_attributes.get(SPEC_HASH)
    return FreshnessSchedule(built_from, made_by=made_by)


def _own_id(services: Services) -> str | None:
    if services.installation is None:
        return None
    return str(services.installation.installation_id)


def _is_foreign(made_by: str | None, own: Collection[str], has_source: bool) -> bool:
    if made_by is None:
        return not has_source
    return made_by not in own


def _built_from_now(services: Services, name: str) -> str | None:
    """What the schedule is to be built from by what the database says now; None: no source needs it."""
    connection = services.connection
    source = read_source(connection, schedules.source_of(name))
    if source is None or (source.is_retired and not _has_end(connection, source)):
        return None
    return schedules.spec_hash(source.spec)


def _has_end(connection: Connection, source: ConfiguredSource) -> bool:
    """Whether a visible document has an end of its own that a check must see to."""
    values = {"source": source.spec.source}
    with database_errors_translated():
        found = fetch_one(connection, scalar_row, "has_document_with_end", values)
    return bool(found)


@contextmanager
def errors_translated(doing: str) -> Generator[None]:
    """Temporal's refusals and silences as our error; `doing` says what was tried."""
    try:
        yield
    except RPCError as error:
        raise DependencyError(f"Temporal: {doing} failed: {error.message}") from error
