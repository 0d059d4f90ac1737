"""Temporal Schedules, one per source, that its specification alone says all about: compared, written, deleted."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client, Schedule

from corpus.search_attributes import SPEC_HASH
from corpus.source import SourceSpec
from freshness import schedules
from workers.apply.change import Action, Change, StalePlanError
from workers.apply.kind import Kind, Names, Services, Target
from workers.apply.schedules import errors_translated, read_all
from workers.apply.settling import until_settled
from workers.apply.sources import ConfiguredSource, read_source, read_sources


@dataclass(frozen=True, slots=True)
class SourceSchedule:
    """A schedule, by the hash of all that it is built from."""

    built_from: str | None
    spec: SourceSpec | None = None  # None: as read from the server

    def fields(self) -> Mapping[str, Any]:
        """The hash. An operator's pause is no part of it, and is kept."""
        return {"built_from": self.built_from}


class SourceSchedules(Kind[SourceSchedule]):
    """Those of sources that need none any more are deleted."""

    @abstractmethod
    def schedule_id(self, source: str) -> str:
        """Id of a source's schedule."""

    @abstractmethod
    def spec_hash(self, spec: SourceSpec) -> str:
        """Hash of everything that the schedule is built from."""

    @abstractmethod
    def build(self, spec: SourceSpec) -> Schedule:
        """The schedule of a source."""

    @abstractmethod
    def wanted(self, services: Services, target: Target) -> Iterable[SourceSpec]:
        """The sources that have one once the plan is carried out."""

    @abstractmethod
    def is_wanted(self, source: ConfiguredSource) -> bool:
        """Whether a source that the database has needs one."""

    async def desired(
        self, services: Services, target: Target
    ) -> Mapping[str, SourceSchedule]:
        """One per source that needs one."""
        return {
            self.schedule_id(spec.source): SourceSchedule(self.spec_hash(spec), spec)
            for spec in self.wanted(services, target)
        }

    async def existing(self, services: Services) -> Names:
        """Those of the sources that the database has."""
        sources = read_sources(services.connection)
        return {self.schedule_id(source) for source in sources}

    async def current(
        self, services: Services, names: Names
    ) -> Mapping[str, SourceSchedule]:
        """Each as the server has it."""
        return await read_all(services.client, names, _read)

    def surplus(
        self, name: str, current: SourceSchedule, target: Target
    ) -> Change[SourceSchedule] | None:
        """Its source needs none; that of a source that cannot be read stays."""
        if name in map(self.schedule_id, target.unreadable):
            return None
        return Change(kind=self.name, name=name, action=Action.DELETE, current=current)

    async def write(self, services: Services, change: Change[SourceSchedule]) -> None:
        """Create, update or delete it.

        Raises:
            StalePlanError: another `apply` has changed the schedule's source since.
        """
        desired = change.desired
        built_from = desired.built_from if desired else None
        if built_from != self._built_from_now(services, change.name):
            raise StalePlanError(
                "its source was changed after the plan was made; run `freshet apply` again"
            )
        with errors_translated("writing the schedule"):
            if desired is None or desired.spec is None:
                await schedules.delete(services.client, change.name)
            else:
                await self._write_when_settled(services.client, desired.spec)

    @until_settled
    async def _write_when_settled(self, client: Client, spec: SourceSpec) -> None:
        name = self.schedule_id(spec.source)
        await schedules.put(client, name, self.build(spec), self.spec_hash(spec))

    def _built_from_now(self, services: Services, name: str) -> str | None:
        """What the schedule is to be built from by what the database says now; None: no source needs it."""
        source = read_source(services.connection, schedules.source_of(name))
        if source is None or not self.is_wanted(source):
            return None
        return self.spec_hash(source.spec)


async def _read(client: Client, name: str) -> SourceSchedule | None:
    described = await schedules.describe(client, name)
    if described is None:
        return None
    return SourceSchedule(described.typed_search_attributes.get(SPEC_HASH))
