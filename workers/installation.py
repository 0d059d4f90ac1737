"""What a process compares before it works: is the database its installation's, and is all that it uses, too?

The rules are those of `corpus.installation.identity`; here is what a role, `freshet apply`, `freshet doctor` and
`freshet installation` compare. A process that works records what it uses and leaves its marks; one that only looks does
not.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from temporalio.client import Client

from corpus.database import Connection, connect, database_errors_translated
from corpus.errors import FreshetError, InstallationError
from corpus.installation import store_mark
from corpus.installation.identity import (
    Installation,
    bind,
    check_used,
    move,
    own_mark,
    read_installation,
    refuse_copy,
    refuse_foreign,
    settled,
)
from ingest.consume.group import (
    ConsumerGroup,
    describe_members,
    refuse_other,
)
from ingest.kafka import Cluster
from workers.config.settings import Settings
from workers.config.ways import open_staging
from workers.temporal import namespace_mark
from workers.temporal.client import temporal

_APPLICATION = "freshet-start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of an installation, with the connections that its comparisons need.

    Whose a namespace is was compared when the process began, so what its mark says is read once.

    Args:
        settings: of the process.
        connection: to PostgreSQL.
        installation: of that database.
        claims: record what is used where nothing is recorded, and leave marks; else only compare.
    """

    settings: Settings
    connection: Connection
    installation: Installation
    claims: bool
    _own_ids: dict[str, frozenset[str]] = field(
        default_factory=dict[str, frozenset[str]]
    )

    def use(self, **used: str) -> None:
        """Compare what the settings name with what the installation uses.

        Raises:
            InstallationError: it uses another one.
        """
        if not self.claims:
            check_used(self.installation, used)
            return
        with database_errors_translated():
            bind(self.connection, self.installation, used)

    async def use_namespace(self, client: Client) -> None:
        """Compare the Temporal namespace.

        Raises:
            InstallationError: it is another installation's.
            DependencyError: Temporal does not answer.
        """
        self.use(temporal_namespace=client.namespace)
        mark = await namespace_mark.read_mark(client)
        if mark is None and self.claims:
            mark = await namespace_mark.claim(client, own_mark(self.installation))
        refuse_foreign(
            self.installation,
            mark,
            f"Temporal namespace {client.namespace!r}",
            "Set FRESHET_TEMPORAL_NAMESPACE to another name",
        )

    async def own_ids(self, client: Client) -> frozenset[str]:
        """This installation's id, and those from which its namespace was taken over: what they made is its own."""
        known = self._own_ids.get(client.namespace)
        if known is None:
            known = await self._read_own_ids(client)
            self._own_ids[client.namespace] = known
        return known

    async def _read_own_ids(self, client: Client) -> frozenset[str]:
        own = str(self.installation.installation_id)
        mark = await namespace_mark.read_mark(client)
        if mark is None or mark.installation_id != own:
            return frozenset([own])
        return frozenset([own, *mark.former])

    def use_staging(self) -> None:
        """Compare the staging store; one that has our mark is ours by whatever URL this machine knows it.

        Raises:
            InstallationError: it is another installation's.
            DependencyError: it does not answer.
        """
        store = open_staging(self.settings)
        mark = store_mark.read_mark(store)
        if mark is None:
            self.use(staging_url=store.url)
            if self.claims:
                mark = store_mark.claim(store, own_mark(self.installation))
        refuse_foreign(
            self.installation,
            mark,
            f"staging store {store.url}",
            "Set FRESHET_STAGING_URL to another place",
        )

    def use_cluster(self, cluster: Cluster) -> None:
        """Compare the Kafka cluster.

        Raises:
            InstallationError: the installation uses another one.
            DependencyError: Kafka does not answer.
        """
        self.use(kafka_cluster=cluster.cluster_id())

    def use_group(self) -> None:
        """Compare the consumer group.

        Raises:
            InstallationError: it is another installation's.
            DependencyError: Kafka does not answer.
        """
        state = group_of(self.settings).state()
        own = str(self.installation.installation_id)
        refuse_other(state, own, is_member=False)
        self.use(kafka_group=self.settings.kafka_group)


def group_of(settings: Settings) -> ConsumerGroup:
    """The consumer group that the settings name."""
    return ConsumerGroup(
        settings.kafka_bootstrap, settings.kafka_properties, settings.kafka_group
    )


@asynccontextmanager
async def open_process(
    settings: Settings, *, claims: bool, application: str = _APPLICATION
) -> AsyncGenerator[Process]:
    """A process whose database is no copy.

    Raises:
        InstallationError: the database is a copy.
        DependencyError: PostgreSQL does not answer.
    """
    with connect(settings.database_url, application=application) as connection:
        with database_errors_translated():
            installation = _installation_of(connection, claims=claims)
        yield Process(
            settings=settings,
            connection=connection,
            installation=installation,
            claims=claims,
        )


def _installation_of(connection: Connection, *, claims: bool) -> Installation:
    if claims:
        return settled(connection)
    installation = read_installation(connection)
    refuse_copy(installation)
    return installation


# ── for people ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def problems(settings: Settings) -> list[str]:
    """What a role would be refused for now, one sentence each; leaves no mark.

    Raises:
        DependencyError: PostgreSQL does not answer.
    """
    application = "freshet-doctor"
    try:
        async with open_process(settings, claims=False, application=application) as one:
            found = [
                await _problem(lambda: _compare_namespace(one)),
                await _problem(lambda: asyncio.to_thread(one.use_staging)),
                await _problem(lambda: asyncio.to_thread(_compare_kafka, one)),
            ]
    except InstallationError as error:
        return [str(error)]
    return [text for text in found if text]


async def _problem(compare: Callable[[], Awaitable[None]]) -> str:
    try:
        await compare()
    except FreshetError as error:
        return str(error)
    return ""


async def _compare_namespace(one: Process) -> None:
    client = await temporal(one.settings)
    await one.use_namespace(client)


def _compare_kafka(one: Process) -> None:
    settings = one.settings
    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    one.use_cluster(cluster)
    one.use(kafka_group=settings.kafka_group)
    state = group_of(settings).state()
    members = describe_members(state, str(one.installation.installation_id))
    if members:
        raise InstallationError(members)


async def move_here(
    settings: Settings, *, reason: str, name: str | None, take_over: bool
) -> Installation:
    """Record that the installation uses the database and the servers that the settings name.

    Args:
        settings: what it uses from now on.
        reason: kept with the row as it was.
        name: of the installation from now on; None: it keeps its name.
        take_over: replace the marks of another installation, which no longer exists.

    Raises:
        InstallationError: something is another installation's, and is not taken over.
        DependencyError: a service does not answer, or the consumer group has members.
    """
    client = await temporal(settings)
    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    used = {
        "kafka_cluster": await asyncio.to_thread(cluster.cluster_id),
        "kafka_group": settings.kafka_group,
        "temporal_namespace": client.namespace,
        "staging_url": settings.staging_url,
    }
    with (
        connect(settings.database_url, application=_APPLICATION) as connection,
        database_errors_translated(),
    ):
        installation = read_installation(connection)
        if take_over:
            await _take_over(settings, installation, client)
        else:
            await _refuse_all(settings, installation, client)
        moved = move(connection, used, reason=reason, name=name)
        one = Process(
            settings=settings, connection=connection, installation=moved, claims=True
        )
        await one.use_namespace(client)
        await asyncio.to_thread(one.use_staging)
    return moved


async def _refuse_all(
    settings: Settings, installation: Installation, client: Client
) -> None:
    own = str(installation.installation_id)
    refuse_foreign(
        installation,
        await namespace_mark.read_mark(client),
        f"Temporal namespace {client.namespace!r}",
        "Set FRESHET_TEMPORAL_NAMESPACE to another name",
    )
    store = open_staging(settings)
    refuse_foreign(
        installation,
        await asyncio.to_thread(store_mark.read_mark, store),
        f"staging store {store.url}",
        "Set FRESHET_STAGING_URL to another place",
    )
    state = await asyncio.to_thread(group_of(settings).state)
    refuse_other(state, own, is_member=False)


async def _take_over(
    settings: Settings, installation: Installation, client: Client
) -> None:
    """Replace every foreign mark; the group comes first, since it refuses while the other installation runs."""
    group = group_of(settings)
    state = await asyncio.to_thread(group.state)
    if state.others(str(installation.installation_id)):
        await asyncio.to_thread(group.forget)
    store = open_staging(settings)
    await asyncio.to_thread(store_mark.take_over, store, own_mark(installation))
    former = await _former(installation, client)
    mark = replace(own_mark(installation), former=former)
    await namespace_mark.take_over(client, mark)


async def _former(installation: Installation, client: Client) -> tuple[str, ...]:
    """From which installations the namespace is taken over: what they have left in it is this one's from now on."""
    try:
        mark = await namespace_mark.read_mark(client)
    except InstallationError:  # damaged, which is why it is replaced
        mark = None
    if mark is None:
        return ()
    ids = {mark.installation_id, *mark.former} - {str(installation.installation_id)}
    return tuple(sorted(ids))
