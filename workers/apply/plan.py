"""`freshet apply`: a plan is a list of changes, and exactly that list is carried out. Applying twice changes nothing.

Order of the plan and of its execution, each after what it needs:

1. embedding spaces: a model whose files are missing stops everything before anything is changed
2. topics, so that a consumer that sees a new source finds them
3. sources, each in a transaction of its own, since a publish holds its source's row for as long as it takes
4. namespaces, so that schedules and endpoints have a place to be in
5. schedules of the freshness checks, the audits and the purges, for sources that exist
6. teams and what they are granted, in one transaction
7. Nexus endpoints, which lead into namespaces
8. subscriptions and their deliveries, which call endpoints, in one transaction

One `apply` at a time: another one waits (`workers.apply.alone`). A plan that is carried out late does no harm: each
change compares again before it writes (`Kind.carry_out`). What another `apply` has done already is skipped; what it
made something else is refused.

What has the mark of another installation of Freshet is left alone, and where it stands in the way, the plan is refused.
"""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from corpus.database import database_errors_translated
from corpus.errors import FreshetError, LockWaitError
from workers.apply import checks, sources
from workers.apply.alone import OnWait, alone
from workers.apply.audit_schedules import AuditSchedules
from workers.apply.change import Change
from workers.apply.endpoints import Endpoints
from workers.apply.kind import Kind, Services, Target, open_services
from workers.apply.namespaces import Namespaces, namespace_exists
from workers.apply.purge_schedules import PurgeSchedules
from workers.apply.schedules import Schedules
from workers.apply.sources import Sources
from workers.apply.spaces import Spaces
from workers.apply.subscriptions import Subscriptions
from workers.apply.teams import Teams
from workers.apply.topics import Topics
from workers.config.file import Config
from workers.config.settings import Settings
from workers.operations import note_operation

logger = logging.getLogger(__name__)

Kinds = Sequence[Kind[Any]]
Plan = list[Change[Any]]
Report = Callable[[Change[Any]], None]
KINDS: Kinds = (
    Spaces(),
    Topics(),
    Sources(),
    Namespaces(),
    Schedules(),
    AuditSchedules(),
    PurgeSchedules(),
    Teams(),
    Endpoints(),
    Subscriptions(),
)


async def apply(
    settings: Settings,
    config: Config,
    *,
    report: Report,
    prune: bool = False,
    dry_run: bool = False,
    on_wait: OnWait = logger.warning,
) -> None:
    """Plan, and carry the plan out unless `dry_run`; `report` is called with each change of it.

    Args:
        settings: where the services are.
        config: what the file says.
        report: called with each change.
        prune: as of `plan`.
        dry_run: change nothing.
        on_wait: called with a line where another `apply` runs.

    Raises:
        ConfigurationError: what `plan` and `execute` raise.
        InstallationError: the database is a copy, or a service is another installation's.
        DependencyError: likewise.
        LockWaitError: another `apply` does not end.
        StalePlanError: likewise.
    """
    kinds = kinds_for(settings)
    if dry_run:
        async with open_services(settings, claims=False) as services:
            await _check_installation(services)
            for change in await plan(services, config, prune=prune, kinds=kinds):
                report(change)
        return
    async with (
        alone(settings.database_url, on_wait),
        open_services(settings, claims=True) as services,
    ):
        await _check_installation(services)
        changes = await plan(services, config, prune=prune, kinds=kinds)
        _note(services, changes)
        await execute(services, changes, report=report, kinds=kinds)


def _note(services: Services, changes: Plan) -> None:
    """A row of the access log for each change that is about to be made; one of a source is in the source's chain."""
    with database_errors_translated():
        for change in changes:
            if change.is_needed:
                what = f"{change.action} {change.kind} {change.name}"
                fields = [field.path for field in change.fields]
                source = change.name if change.kind == Sources.name else None
                note_operation(
                    services.connection, "apply", source, change=what, fields=fields
                )


def kinds_for(settings: Settings) -> Kinds:
    """Every kind, in order, as the settings want them."""
    return tuple(
        Endpoints(settings.nexus_endpoint) if isinstance(kind, Endpoints) else kind
        for kind in KINDS
    )


async def _check_installation(services: Services) -> None:
    """Refuse services of another installation before anything is planned; a namespace that is missing is no one's."""
    process, client = services.process, services.client
    if process is None:
        return
    process.use_cluster(services.cluster)
    if await namespace_exists(client, client.namespace):
        await process.use_namespace(client)


async def plan(
    services: Services, config: Config, *, prune: bool = False, kinds: Kinds = KINDS
) -> Plan:
    """Compare the file with PostgreSQL, Kafka and Temporal; changes nothing.

    Args:
        services: where to look.
        config: what the file says.
        prune: retire sources and end subscriptions that the file does not name.
        kinds: what is looked at, in order.

    Returns:
        Every thing that the file or Freshet knows, also those that need no change.

    Raises:
        ConfigurationError: a service cannot do what the file says; the message names the field.
        DependencyError: a service does not answer.
    """
    connection = services.connection
    unlisted = sources.unlisted(connection, config)
    target = Target(
        config=config,
        unlisted=unlisted,
        unreadable=sources.unreadable(connection, config),
        prune=prune,
    )
    checks.check(connection, target)
    changes: Plan = []
    for kind in kinds:
        changes += await kind.compare(services, target)
    return changes


async def execute(
    services: Services,
    changes: Plan,
    *,
    report: Report | None = None,
    kinds: Kinds = KINDS,
) -> Plan:
    """Carry out a plan: these changes, in this order, and nothing else.

    Args:
        services: what is changed.
        changes: as `plan` returned them.
        report: called with each change when it is done, so that a failure leaves a record of what was done before it.
        kinds: as they were given to `plan`.

    Returns:
        What was done: the plan.

    Raises:
        ConfigurationError: a service refuses; the message names the change.
        DependencyError: a service does not answer; the message names the change.
        LockWaitError: a publish holds the row of a source; the other changes of the kind were made.
        StalePlanError: another program has changed the same thing since.
        ValueError: `kinds` lacks one that the plan has.
    """
    unknown = {change.kind for change in changes} - {kind.name for kind in kinds}
    if unknown:
        raise ValueError(f"no kind carries out {', '.join(sorted(unknown))}")
    done: Plan = []
    for kind in kinds:
        held_up: list[LockWaitError] = []
        for group in _groups(kind, changes):
            try:
                written = await _write(kind, services, group)
            except LockWaitError as error:
                held_up.append(error)
                continue
            done += group
            if report is not None:
                for change in group:
                    report(change)
            await _finish(kind, services, written)
        if held_up:
            raise LockWaitError("; ".join(map(str, held_up))) from held_up[0]
    return done


def _groups(kind: Kind[Any], changes: Plan) -> list[Plan]:
    """The changes of one kind, in the groups that are written together."""
    planned = [change for change in changes if change.kind == kind.name]
    if kind.is_atomic:
        return [planned]
    return [[change] for change in planned]


async def _finish(kind: Kind[Any], services: Services, written: Plan) -> None:
    """Notify what depends on the changes: all of them, also where one cannot be notified."""
    failures: list[FreshetError] = []
    for change in written:
        try:
            with _named(change):
                await kind.finish(services, change)
        except FreshetError as error:
            failures.append(error)
    if failures:
        raise type(failures[0])("; ".join(map(str, failures))) from failures[0]


async def _write(kind: Kind[Any], services: Services, group: Plan) -> Plan:
    """Write the changes that are needed, together; returns those that were still needed now."""
    needed = [change for change in group if change.is_needed]
    if not needed:
        return []
    written: Plan = []
    with kind.together(services):
        for change in needed:
            with _named(change):
                is_written = await kind.carry_out(services, change)
            if is_written:
                written.append(change)
    return written


@contextmanager
def _named(change: Change[Any]) -> Generator[None]:
    """An error says which change failed."""
    try:
        yield
    except FreshetError as error:
        shown = f"{change.action} {change.kind} {change.name}"
        raise type(error)(f"{shown}: {error}") from error
