"""Teams that may call: rows of `freshet.team`, which gateways read every two seconds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corpus.access.team import TeamSpec
from corpus.access.teams import team_rows
from corpus.database import Connection, database_errors_translated
from corpus.sql import query
from workers.apply.change import Action, Change
from workers.apply.kind import Names, RowKind, Services, Target


@dataclass(frozen=True, slots=True)
class GrantedTeam:
    """A team with all that it is granted."""

    spec: TeamSpec

    def fields(self) -> Mapping[str, Any]:
        """Every field of its specification, as stored."""
        return self.spec.to_json()


class Teams(RowKind[GrantedTeam]):
    """Every team. One that has ended does not exist here; its row stays, and its calls are refused."""

    name = "team"

    async def desired(
        self, services: Services, target: Target
    ) -> Mapping[str, GrantedTeam]:
        """As the file says."""
        return {spec.team: GrantedTeam(spec) for spec in target.config.teams}

    async def existing(self, services: Services) -> Names:
        """Every active one of the database."""
        return _read(services.connection).keys()

    async def current(
        self, services: Services, names: Names
    ) -> Mapping[str, GrantedTeam]:
        """As the database has them; one that cannot be read is written again where the file names it."""
        teams = _read(services.connection)
        return {name: teams[name] for name in names if name in teams}

    def surplus(
        self, name: str, current: GrantedTeam, target: Target
    ) -> Change[GrantedTeam]:
        """Ended with --prune."""
        action = Action.END if target.prune else Action.UNLISTED
        desired = None if target.prune else current
        return Change(
            kind=self.name, name=name, action=action, current=current, desired=desired
        )

    async def write(self, services: Services, change: Change[GrantedTeam]) -> None:
        """Insert, update or end the row."""
        with database_errors_translated():
            if change.desired is None:
                services.connection.execute(query("end_team"), {"team": change.name})
                return
            spec = json.dumps(change.desired.spec.to_json())
            values = {"team": change.name, "spec": spec}
            services.connection.execute(query("write_team"), values)


def _read(connection: Connection) -> dict[str, GrantedTeam]:
    with database_errors_translated():
        rows = team_rows(connection)
    teams: dict[str, GrantedTeam] = {}
    for row in rows:
        spec = row.read()
        if spec is not None:
            teams[row.team] = GrantedTeam(spec)
    return teams
