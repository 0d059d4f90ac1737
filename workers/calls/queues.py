"""The teams that call: what they are granted and their keys, read again and again; a worker for the queue of each."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from psycopg_pool import ConnectionPool
from temporalio.worker import Worker

from corpus.access.admission import KnownTeam
from corpus.access.keys import key_file, read_keys
from corpus.access.team import TeamSpec, team_queue
from corpus.access.teams import team_rows
from corpus.answer.gate import Gate, Note
from corpus.database import Connection, database_errors_translated
from corpus.errors import ConfigurationError, FreshetError
from corpus.log_limit import LogLimit

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

_REFRESH_SECONDS = 2.0


@dataclass(slots=True)
class TeamRegistry:
    """The teams as the database and the key files had them two seconds ago at most.

    Args:
        pool: of connections to PostgreSQL.
        folder: of the key files.
    """

    pool: ConnectionPool[Connection]
    folder: Path
    # By name; None: known, and granted nothing.
    teams: Mapping[str, KnownTeam | None] = field(
        default_factory=dict[str, KnownTeam | None]
    )

    def refresh(self) -> None:
        """Read all of it. What cannot be read of one team is no grant for that team, and no matter for the others.

        Raises:
            DependencyError: PostgreSQL does not answer; the teams stay as they were.
        """
        with database_errors_translated(), self.pool.connection() as connection:
            rows = team_rows(connection)
        specs = {row.team: row.read() for row in rows}
        self.teams = {name: self._known(spec) for name, spec in specs.items()}

    def _known(self, spec: TeamSpec | None) -> KnownTeam | None:
        if spec is None:
            return None
        try:
            keys = read_keys(key_file(self.folder, spec.team))
        except ConfigurationError as error:
            context = {"action": "team_without_key", "team": spec.team}
            logger.warning("no call of a team is answered: %s", error, extra=context)
            keys = {}
        return KnownTeam(spec=spec, keys=keys)


class TeamQueues:
    """Serves the queue of each team, from the moment at which it is configured.

    Args:
        registry: of the teams.
        worker: makes the worker of a queue, with its gate.
        note: called with each decision of a gate.
    """

    def __init__(
        self,
        registry: TeamRegistry,
        worker: Callable[[str, Gate], Worker],
        note: Note,
    ) -> None:
        self._registry = registry
        self._worker = worker
        self._note = note
        self._served: set[str] = set()

    async def run(self) -> None:
        """Serve until this is cancelled; an ended team's queue stays served, so that its calls are refused at once."""
        async with AsyncExitStack() as workers:
            while True:
                try:
                    await asyncio.to_thread(self._registry.refresh)
                except FreshetError as error:
                    context = {"action": "teams_unreadable", "error": str(error)}
                    logger.warning("the teams cannot be read now", extra=context)
                await self.serve_new(workers)
                await asyncio.sleep(_REFRESH_SECONDS)

    async def serve_new(self, workers: AsyncExitStack) -> None:
        """Begin with the teams that are not served yet."""
        for name in sorted(self._registry.teams.keys() - self._served):
            gate = Gate(self._team(name), self._note)
            worker = self._worker(team_queue(name), gate)
            await workers.enter_async_context(worker)
            self._served.add(name)
            context = {"action": "team_served", "team": name}
            logger.info("calls of a team are answered", extra=context)

    def _team(self, name: str) -> Callable[[], KnownTeam | None]:
        return lambda: self._registry.teams.get(name)
