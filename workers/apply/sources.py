"""Sources: rows of `freshet.source`, and a signal to the entity of each that was changed."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from psycopg.rows import namedtuple_row
from temporalio.service import RPCError, RPCStatusCode

from corpus.access.withholding import show_all_again
from corpus.database import Connection, database_errors_translated
from corpus.errors import DependencyError, UnreadableSpecError
from corpus.source import SourceSpec, SourceStatus, read_spec, source_workflow_id
from corpus.sql import query
from workers.apply.change import Action, Change
from workers.apply.kind import Names, RowKind, Services, Target
from workers.config.file import Config

_QUERIES = {
    Action.CREATE: "create_source",
    Action.CHANGE: "change_source",
    Action.RETIRE: "retire_source",
}
# What may change who reads, and what a source's workflow has to know.
_MAY_SHOW = (Action.CHANGE, Action.RETIRE)


@dataclass(frozen=True, slots=True)
class ConfiguredSource:
    """A source's specification, and whether it is in use. A pause or a halt is no matter of the file."""

    spec: SourceSpec
    is_retired: bool = False
    unreadable: str = ""  # why the stored specification cannot be read

    def fields(self) -> Mapping[str, Any]:
        """The state, then every field of the specification; nested ones as `limits.max_records`."""
        state = SourceStatus.RETIRED if self.is_retired else SourceStatus.ACTIVE
        stored = _as_stored(self.spec)
        fields: dict[str, Any] = {"state": str(state)}
        if self.unreadable:
            return fields | {"specification": self.unreadable}
        for name, value in stored.items():
            if isinstance(value, dict):
                fields |= _prefixed(name, cast("dict[str, Any]", value))
            else:
                fields[name] = value
        return fields


class Sources(RowKind[ConfiguredSource]):
    """Every source.

    Each is changed in a transaction of its own. A publish holds its source's row, and a transaction that waits for it
    would hold the rows of all sources that it changed before.
    """

    name = "source"
    is_atomic = False

    async def desired(
        self, services: Services, target: Target
    ) -> Mapping[str, ConfiguredSource]:
        """As the file says."""
        return {spec.source: ConfiguredSource(spec) for spec in target.config.sources}

    async def existing(self, services: Services) -> Names:
        """Every source of the database."""
        return _read_all(services.connection).keys()

    async def current(
        self, services: Services, names: Names
    ) -> Mapping[str, ConfiguredSource]:
        """As the database has them; one that cannot be read is written again where the file names it."""
        return _parsed(read_named(services.connection, names))

    def surplus(
        self, name: str, current: ConfiguredSource, target: Target
    ) -> Change[ConfiguredSource] | None:
        """Retired with --prune; one that is retired already stays so."""
        if current.is_retired:
            return None
        action, desired = Action.UNLISTED, current
        if target.prune:
            action = Action.RETIRE
            desired = replace(current, is_retired=True)
        return Change(
            kind=self.name,
            name=name,
            action=action,
            current=current,
            desired=desired,
        )

    async def write(self, services: Services, change: Change[ConfiguredSource]) -> None:
        """Insert or update the row."""
        name = _QUERIES[change.action]
        values = {"source": change.name}
        if change.desired is not None:
            stored = change.desired.spec.to_json()
            values["spec"] = json.dumps(stored)
        with database_errors_translated():
            services.connection.execute(query(name), values)
            if change.action in _MAY_SHOW:
                show_all_again(services.connection, change.name)

    async def finish(
        self, services: Services, change: Change[ConfiguredSource]
    ) -> None:
        """Let the entity read its row again; one that has never run reads it when it starts."""
        if change.action not in _MAY_SHOW:
            return
        entity = services.client.get_workflow_handle(source_workflow_id(change.name))
        try:
            await entity.signal("reload")
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise DependencyError(
                    f"the database has the new specification, but the source's workflow was not notified: "
                    f"{error.message}; `freshet source resume {change.name}` notifies it"
                ) from error


def read_sources(connection: Connection) -> dict[str, ConfiguredSource]:
    """Every source whose specification can be read, by name; retired ones included."""
    sources = _read_all(connection)
    return {name: source for name, source in sources.items() if not source.unreadable}


def read_source(connection: Connection, name: str) -> ConfiguredSource | None:
    """The source of this name; None where there is none, or its specification cannot be read."""
    source = _parsed(read_named(connection, [name])).get(name)
    return None if source is None or source.unreadable else source


def _read_all(connection: Connection) -> dict[str, ConfiguredSource]:
    return _parsed(read_rows(connection))


def _parsed(rows: Iterable[Any]) -> dict[str, ConfiguredSource]:
    sources: dict[str, ConfiguredSource] = {}
    for row in rows:
        unreadable = ""
        try:
            spec = read_spec(row.source, row.spec)
        except UnreadableSpecError as error:
            unreadable = str(error)
            spec = SourceSpec(source=row.source, topics=())
        is_retired = row.state == SourceStatus.RETIRED
        sources[row.source] = ConfiguredSource(spec, is_retired, unreadable)
    return sources


def read_rows(connection: Connection) -> list[Any]:
    """Every row of `sources_configured`."""
    return _rows(connection, "sources_configured", {})


def read_named(connection: Connection, names: Names) -> list[Any]:
    """The rows of `sources_named`: a single change reads its own source, however many there are."""
    return _rows(connection, "sources_named", {"sources": sorted(names)})


def _rows(connection: Connection, name: str, arguments: Mapping[str, Any]) -> list[Any]:
    with (
        database_errors_translated(),
        connection.cursor(row_factory=namedtuple_row) as cursor,
    ):
        cursor.execute(query(name), arguments)
        return cursor.fetchall()


def unlisted(connection: Connection, config: Config) -> tuple[SourceSpec, ...]:
    """Sources in use that the file does not name."""
    named = {spec.source for spec in config.sources}
    sources = read_sources(connection)
    specs: list[SourceSpec] = []
    for name, source in sources.items():
        if name in named or source.is_retired:
            continue
        specs.append(source.spec)
    return tuple(specs)


def unreadable(connection: Connection, config: Config) -> frozenset[str]:
    """Sources that the file does not name and whose specification cannot be read."""
    named = {spec.source for spec in config.sources}
    sources = _read_all(connection).items()
    return frozenset(
        name for name, source in sources if source.unreadable and name not in named
    )


def _prefixed(name: str, table: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}.{field}": value for field, value in table.items()}


def _as_stored(spec: SourceSpec) -> dict[str, Any]:
    """With JSON's types, as a row has it: lists in place of tuples."""
    return json.loads(json.dumps(spec.to_json()))
