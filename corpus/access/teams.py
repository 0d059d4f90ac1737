"""The teams in the database, and who reads when one of them asks."""

from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row

from corpus.access.reader import Reader
from corpus.access.team import Right, TeamSpec
from corpus.database import Connection
from corpus.errors import UnreadableSpecError
from corpus.sql import query


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamRow:
    """A team as stored."""

    team: str
    spec: dict[str, Any]
    state: str  # "active" or "ended": known, and granted nothing any more

    def read(self) -> TeamSpec | None:
        """Its specification; None where it is ended, or cannot be read: nothing is granted then."""
        if self.state != "active":
            return None
        try:
            return TeamSpec.from_json(self.spec)
        except UnreadableSpecError:
            return None


def team_rows(connection: Connection, team: str | None = None) -> list[TeamRow]:
    """Every team, ended ones included; or the one of a name."""
    with connection.cursor(row_factory=class_row(TeamRow)) as cursor:
        return cursor.execute(query("teams"), {"team": team}).fetchall()


def reader_of_all_teams(connection: Connection) -> Reader:
    """Who reads what any team is granted, and no document of a group: for what is got ready before they ask."""
    granted = {source for spec in _active(connection) for source in spec.sources}
    return Reader(name="gateway", sources=frozenset(granted))


def subscriber_reader(connection: Connection, subscriber: str, source: str) -> Reader:
    """Who reads in a subscriber's notices: the teams of its namespace, for every group that they may vouch for.

    Where the namespace is no team's: what every reader of the source may see.
    """
    name = f"subscriber:{subscriber}"
    own = [spec for spec in _active(connection) if subscriber in spec.subscribers]
    granting = [spec for spec in own if source in spec.sources]
    if own and not granting:
        return Reader(name=name)
    groups = {group for spec in granting for group in spec.groups}
    vouched = tuple(sorted(groups))
    return Reader(name=name, sources=frozenset([source]), groups=vouched)


def team_reader(connection: Connection, team: str, groups: tuple[str, ...]) -> Reader:
    """Who reads in a wait of a team: by its grants now, and with those groups that it may still vouch for."""
    name = f"team:{team}"
    specs = [row.read() for row in team_rows(connection, team)]
    spec = next(iter(specs), None)
    if spec is None or Right.AWAIT not in spec.rights:
        return Reader(name=name)
    vouched = tuple(group for group in groups if group in spec.groups)
    return Reader(name=name, sources=frozenset(spec.sources), groups=vouched)


def _active(connection: Connection) -> list[TeamSpec]:
    specs = [row.read() for row in team_rows(connection)]
    return [spec for spec in specs if spec is not None]
