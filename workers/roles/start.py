"""Before a role works: the database has its migrations, and all that the role uses is its installation's."""

import asyncio
import logging

from temporalio.client import Client

from corpus.database import (
    applied_migrations,
    connect,
    database_errors_translated,
    migrations,
)
from corpus.disclosure.secret import Secret
from corpus.errors import ConfigurationError, DependencyError
from corpus.installation.identity import Installation
from corpus.log_limit import LogLimit
from ingest.consume.group import ConsumerGroup, describe_members, refuse_other
from ingest.kafka import Cluster
from workers.config import ways
from workers.config.settings import Settings
from workers.installation import open_process
from workers.roles.table import ROLES

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

# How long a process waits for PostgreSQL and for the migrations before it ends by name; a supervisor starts it again.
WAIT_SECONDS = 60.0
_LOOK_SECONDS = 1.0
# How often a consumer looks who else is in its group. Two that start at the same moment see each other only then.
GROUP_SECONDS = 5.0


async def check_role(settings: Settings, name: str, client: Client) -> Installation:
    """Compare all that a role uses, and leave the marks of its installation.

    The gateway leaves none: its login changes nothing.

    Raises:
        InstallationError: something is another installation's, or the database is a copy.
        DependencyError: a service does not answer.
    """
    needs = ROLES[name].needs
    async with open_process(settings, claims=name != "gateway") as one:
        await one.use_namespace(client)
        if "staging" in needs:
            await asyncio.to_thread(one.use_staging)
        if "Kafka" in needs:
            cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
            await asyncio.to_thread(one.use_cluster, cluster)
            await asyncio.to_thread(one.use_group)
        return one.installation


# ── migrations ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def wait_for_migrations(settings: Settings, role: str = "") -> None:
    """Wait until the database has the migrations of this code, for at most `WAIT_SECONDS`.

    It is the first that a role says to a server, so ways that are not safe are refused before.

    Args:
        settings: of the process.
        role: whose servers are looked at; empty: all that the settings name.

    Raises:
        ConfigurationError: migrations are missing, or a way to a server is not safe.
        DependencyError: PostgreSQL does not answer.
    """
    ways.require_safe(settings, _kinds(role))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_SECONDS
    while True:
        problem = await asyncio.to_thread(_problem, settings.database_url)
        if problem is None:
            return
        if loop.time() >= deadline:
            raise problem
        logger.warning(
            "waiting for the database: %s",
            problem,
            extra={"action": "waiting_for_database", "kind": "database"},
        )
        await asyncio.sleep(_LOOK_SECONDS)


def _kinds(role: str) -> tuple[str, ...]:
    """The kinds of servers that a role uses; a service that it does not use may lack the settings of its way."""
    if not role:
        return ways.KINDS
    return tuple(kind for kind in ways.KINDS if ROLES[role].uses(ways.SERVICES[kind]))


def _problem(url: str | Secret) -> ConfigurationError | DependencyError | None:
    """Why no role can work on the database; migrations that only a newer version knows are no reason."""
    try:
        with (
            connect(url, application="freshet-start") as connection,
            database_errors_translated(),
        ):
            applied = applied_migrations(connection)
    except DependencyError as error:
        return error
    missing = [name for name, _ in migrations() if name not in applied]
    if not missing:
        return None
    names = ", ".join(name.removesuffix(".sql") for name in missing)
    return ConfigurationError(
        f"the database lacks migrations of this version ({names}); run `freshet migrate`"
    )


# ── the consumer group while it is used ─────────────────────────────────────────────────────────────────────────────


async def watch_group(group: ConsumerGroup, installation: Installation) -> None:
    """Look again and again who else is in the group, until cancelled.

    Raises:
        InstallationError: the group is another installation's.
    """
    own = str(installation.installation_id)
    while True:
        await asyncio.sleep(GROUP_SECONDS)
        try:
            state = await asyncio.to_thread(group.state)
        except DependencyError as error:
            # The consumer itself says that Kafka is away; who else is there can wait.
            logger.debug("group not read: %s", error, extra={"action": "group_unknown"})
            continue
        refuse_other(state, own, is_member=True)
        members = describe_members(state, own)
        if members:
            logger.error(
                "records go to others: %s",
                members,
                extra={"action": "group_shared", "kind": "group"},
            )
