"""A kind of thing that `freshet apply` looks after: how it is read, compared and written."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Collection, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import ClassVar, Generic

from temporalio.client import Client

from corpus.database import Connection, database_errors_translated
from corpus.installation.identity import Installation
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.kafka import Cluster
from workers.apply.change import Action, Change, S, StalePlanError, same
from workers.config.file import Config
from workers.config.settings import Settings
from workers.installation import Process, open_process
from workers.temporal.client import temporal

_CONFIGURATION_LOCK = (
    0x6672_6573_6861_7070  # "freshapp": one `apply` at a time changes rows
)


Names = Collection[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What a plan reads, and what carrying it out changes."""

    connection: Connection
    cluster: Cluster
    client: Client  # in Freshet's own namespace
    process: Process | None = None  # None: marks of installations are not compared

    @property
    def installation(self) -> Installation | None:
        """Whose marks are compared and left."""
        if self.process is None:
            return None
        return self.process.installation


@asynccontextmanager
async def open_services(
    settings: Settings, *, claims: bool
) -> AsyncGenerator[Services]:
    """Connect to all of them.

    Args:
        settings: where they are.
        claims: leave marks of the installation; else only compare them.

    Raises:
        InstallationError: the database is a copy of another installation's.
        DependencyError: PostgreSQL or Temporal does not answer. Kafka is asked first when it is needed.
    """
    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    application = "freshet-apply"
    async with open_process(
        settings, claims=claims, application=application
    ) as process:
        yield Services(
            connection=process.connection,
            cluster=cluster,
            client=await temporal(settings),
            process=process,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What everything should become."""

    config: Config
    unlisted: tuple[
        SourceSpec, ...
    ] = ()  # configured sources that the file does not name
    # Sources that the file does not name and whose specification cannot be read: what serves them is left as it is.
    unreadable: frozenset[str] = frozenset()
    prune: bool = False  # retire and end what the file does not name

    @property
    def continuing(self) -> tuple[SourceSpec, ...]:
        """Every source that is consumed once the plan is carried out."""
        kept = () if self.prune else self.unlisted
        return (*self.config.sources, *kept)


class Kind(ABC, Generic[S]):
    """One kind of thing. `S` is the state of one of them; they are told apart by name."""

    name: ClassVar[str]
    # All changes of this kind are carried out together, or none of them.
    is_atomic: ClassVar[bool] = False

    @abstractmethod
    async def desired(self, services: Services, target: Target) -> Mapping[str, S]:
        """What should exist, by name, in the order in which it is shown."""

    @abstractmethod
    async def current(self, services: Services, names: Names) -> Mapping[str, S]:
        """Those of `names` that exist."""

    @abstractmethod
    async def write(self, services: Services, change: Change[S]) -> None:
        """Make the thing what `change.desired` says; harmless when repeated."""

    async def existing(self, services: Services) -> Names:
        """Names of those that Freshet owns, also where the file does not name them."""
        return ()

    def surplus(self, name: str, current: S, target: Target) -> Change[S] | None:
        """What becomes of one that exists and should not; None: it is no concern of the plan."""
        return None

    async def finish(self, services: Services, change: Change[S]) -> None:
        """Notify what depends on the thing, once it is written and committed."""

    @contextmanager
    def together(self, services: Services) -> Generator[None]:
        """What is written inside comes to be at once: all changes where `is_atomic`, else one."""
        yield

    async def compare(self, services: Services, target: Target) -> list[Change[S]]:
        """The plan for this kind; reads, and changes nothing."""
        desired = await self.desired(services, target)
        existing = await self.existing(services)
        current = await self.current(services, {*desired, *existing})
        changes: list[Change[S]] = []
        for name, state in desired.items():
            change = self._needed(name, current.get(name), state)
            changes.append(change)
        for name in sorted(current.keys() - desired.keys()):
            surplus = self.surplus(name, current[name], target)
            if surplus is not None:
                changes.append(surplus)
        return changes

    def _needed(self, name: str, current: S | None, desired: S) -> Change[S]:
        """The change that leads from one state to the other."""
        if current is None:
            action = Action.CREATE
        elif same(current, desired):
            action = Action.UNCHANGED
        else:
            action = Action.CHANGE
        return Change(
            kind=self.name,
            name=name,
            action=action,
            current=current,
            desired=desired,
        )

    def is_as_planned(self, current: S | None, change: Change[S]) -> bool:
        """Whether a thing is still as the plan saw it, so that the change may be written."""
        return same(current, change.current)

    async def carry_out(self, services: Services, change: Change[S]) -> bool:
        """Carry out one change of a plan; False where another `apply` has done it already.

        Raises:
            StalePlanError: the thing is neither what the plan saw nor what it should become.
        """
        states = await self.current(services, [change.name])
        current = states.get(change.name)
        if same(current, change.desired):
            return False
        if not self.is_as_planned(current, change):
            raise StalePlanError(
                "it was changed by another program after the plan was made; "
                "run `freshet apply` again"
            )
        await self.write(services, change)
        return True


class RowKind(Kind[S]):
    """A kind whose things are rows of the database: one transaction for all changes of it, or for each."""

    is_atomic = True

    @contextmanager
    def together(self, services: Services) -> Generator[None]:
        """One transaction, and no other `apply` in it."""
        connection = services.connection
        with database_errors_translated(), connection.transaction():
            connection.execute(
                query("lock_configuration"), {"key": _CONFIGURATION_LOCK}
            )
            yield
