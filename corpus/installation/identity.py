"""Which installation of Freshet a database belongs to, and what that one uses.

An installation is one database with all processes that work on it. It has an id, drawn by `freshet migrate`, and it
leaves a *mark* with this id in everything that two installations could meet in: in the Temporal namespace, in the
staging store, on the members and the committed offsets of the consumer group, on schedules and Nexus endpoints. What
has the mark of another installation is refused by name.

`freshet installation move` records that it uses other servers from now on; `freshet installation separate` gives a
copy of a database an id of its own.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from psycopg.errors import InvalidSchemaName, UndefinedFunction, UndefinedTable
from psycopg.rows import class_row

from corpus.database import Connection, fetch_one
from corpus.errors import ConfigurationError, InstallationError
from corpus.sql import query

logger = logging.getLogger(__name__)

_MARK = "freshet-installation-"
_MARKED = re.compile(
    _MARK + "([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
)
# What an installation uses, by the column that records it: its name for people, and the setting that names it.
USED = {
    "kafka_cluster": ("Kafka cluster", "FRESHET_KAFKA_BOOTSTRAP"),
    "kafka_group": ("consumer group", "FRESHET_KAFKA_GROUP"),
    "temporal_namespace": (
        "Temporal namespace",
        "FRESHET_TEMPORAL_NAMESPACE or TEMPORAL_NAMESPACE",
    ),
    "staging_url": ("staging store", "FRESHET_STAGING_URL"),
}
MOVE = "`freshet installation move --reason WHY`"
TAKE_OVER = "`freshet installation move --take-over --reason WHY`"
SEPARATE = "`freshet installation separate --reason WHY`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The row of `freshet.installation`, and the database that it was read from (query `installation`)."""

    installation_id: UUID
    name: str
    created_at: datetime
    server: str  # system identifier of the server in which the row was made; empty: not known
    database_oid: int  # of the database in which the row was made
    kafka_cluster: str | None  # what it uses; None: no process has used any yet
    kafka_group: str | None
    temporal_namespace: str | None
    staging_url: str | None
    current_server: str
    current_oid: int
    current_name: str
    original: str | None  # database of this server that has `database_oid`

    @property
    def mark(self) -> str:
        """The id as it is written on what others can see."""
        return mark_of(str(self.installation_id))

    def describe(self) -> str:
        """Name and id, for messages."""
        return f"{self.name!r} ({self.installation_id})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What an installation leaves in a namespace and in a staging store."""

    installation_id: str
    name: str
    database: str  # name of the database, for people
    former: tuple[str, ...] = ()  # ids of installations from which it was taken over

    def describe(self) -> str:
        """One installation, for messages."""
        return f"{self.name!r} ({self.installation_id}, database {self.database!r})"

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Any) -> "Mark":
        """As it was written.

        Raises:
            ValueError: it is no mark.
        """
        named: Mapping[str, Any] = {}
        if isinstance(stored, Mapping):
            named = cast("Mapping[str, Any]", stored)
        if not named.get("installation_id"):
            raise ValueError("it names no installation")
        return cls(
            installation_id=str(named["installation_id"]),
            name=str(named.get("name", "")),
            database=str(named.get("database", "")),
            former=tuple(map(str, named.get("former", ()))),
        )


def mark_of(installation_id: str) -> str:
    """An id as it is written into texts, such as the client id of a consumer."""
    return _MARK + installation_id


def marked_by(text: str | None) -> str | None:
    """The id of the installation that has left its mark in a text; None: there is no mark."""
    match = _MARKED.search(text or "")
    if match is None:
        return None
    return match[1]


def own_mark(installation: Installation) -> Mark:
    """The mark of an installation."""
    return Mark(
        installation_id=str(installation.installation_id),
        name=installation.name,
        database=installation.current_name,
    )


def refuse_foreign(
    installation: Installation, mark: Mark | None, what: str, remedy: str
) -> None:
    """Refuse what has the mark of another installation.

    Args:
        installation: whose process asks.
        mark: what was read there; None: there is none.
        what: which thing has the mark, such as "Temporal namespace 'freshet'".
        remedy: which setting names another one.

    Raises:
        InstallationError: the mark is another installation's.
    """
    if mark is None or mark.installation_id == str(installation.installation_id):
        return
    raise InstallationError(
        f"{what} belongs to installation {mark.describe()}, and this is installation {installation.describe()}. "
        f"{remedy}; if the other installation no longer exists, or this database was made anew or restored from a "
        f"backup of before it had an id: {TAKE_OVER}"
    )


# ── the row ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_installation(connection: Connection) -> Installation:
    """The row; compares nothing.

    Raises:
        InstallationError: a person has removed it.
        ConfigurationError: the database is older than this version.
    """
    try:
        row = fetch_one(connection, class_row(Installation), "installation")
    except (UndefinedTable, UndefinedFunction, InvalidSchemaName) as error:
        raise ConfigurationError(
            "the database's schema is missing or older than this version; run `freshet migrate`"
        ) from error
    if row is None:
        raise InstallationError(
            "freshet.installation has no row: restore it from a backup, or insert one"
        )
    return row


def settled(connection: Connection) -> Installation:
    """The installation of a database that is no copy.

    A database that was restored in place of its original, on the same server, continues as the installation: the
    original is gone.

    Raises:
        InstallationError: the database is a copy of another installation's.
    """
    installation = read_installation(connection)
    refuse_copy(installation)
    if not _is_original(installation):
        with connection.transaction():
            _record(connection, "restored", "its original is gone from the server")
            connection.execute(query("adopt_database"))
        logger.warning(
            "the database was restored in place of its original",
            extra={"action": "installation_restored"},
        )
    return installation


def refuse_copy(installation: Installation) -> None:
    """Refuse a database whose row was made in another one that may still be in use.

    Raises:
        InstallationError: it is a copy, or was moved to another server.
    """
    if _is_original(installation) or _is_successor(installation):
        return
    raise InstallationError(
        f"database {installation.current_name!r} is a copy: installation {installation.describe()} was made in "
        f"{_origin(installation)}. To give the copy an identity of its own: {SEPARATE}; "
        f"if the installation itself has moved here, also by a restore or by pg_upgrade: {MOVE}"
    )


def _origin(installation: Installation) -> str:
    if not _is_same_server(installation):
        return f"a database of another server ({installation.server})"
    if installation.original is None:
        return "another database, and this server does not show whether it is the same server"
    return f"database {installation.original!r} of the same server"


def _is_original(installation: Installation) -> bool:
    is_same_database = installation.database_oid == installation.current_oid
    return is_same_database and _is_same_server(installation)


def _is_successor(installation: Installation) -> bool:
    is_gone = installation.original is None
    return is_gone and _is_same_server(installation) and bool(installation.server)


def _is_same_server(installation: Installation) -> bool:
    """A server that does not show its identity is taken for the same: the database's number still counts."""
    if not installation.server or not installation.current_server:
        return True
    return installation.server == installation.current_server


def check_used(installation: Installation, used: Mapping[str, str]) -> None:
    """Refuse settings that lead elsewhere than the installation's processes before.

    Args:
        installation: as its row says.
        used: what the settings name, by the columns of `USED`.

    Raises:
        InstallationError: one differs.
    """
    for column, value in used.items():
        recorded: str | None = getattr(installation, column)
        if recorded is None or recorded == value:
            continue
        thing, setting = USED[column]
        raise InstallationError(
            f"installation {installation.describe()} uses {thing} {recorded!r}, and {setting} leads to {value!r}. "
            f"Correct the setting; if the installation moves there: {MOVE}; "
            f"if this database is a copy of another installation's: {SEPARATE}"
        )


def bind(
    connection: Connection, installation: Installation, used: Mapping[str, str]
) -> None:
    """Record what the installation uses, where no process has done so before.

    Raises:
        InstallationError: it uses another one already.
    """
    check_used(installation, used)
    if all(getattr(installation, column) is not None for column in used):
        return
    nothing: dict[str, str | None] = dict.fromkeys(USED)
    connection.execute(query("bind_installation"), {**nothing, **used})
    # Another process may have been quicker, with other settings.
    check_used(read_installation(connection), used)


def move(
    connection: Connection,
    used: Mapping[str, str | None],
    *,
    reason: str,
    name: str | None = None,
) -> Installation:
    """Record that the installation uses this database and these servers from now on."""
    with connection.transaction():
        _record(connection, "move", reason)
        connection.execute(query("move_installation"), {**used, "name": name})
    return read_installation(connection)


def separate(
    connection: Connection, *, reason: str, name: str | None = None
) -> Installation:
    """Give a copy of a database an id of its own; it uses nothing yet."""
    with connection.transaction():
        _record(connection, "separate", reason)
        connection.execute(query("separate_installation"), {"name": name})
    return read_installation(connection)


def _record(connection: Connection, change: str, reason: str) -> None:
    values = {"change": change, "reason": reason}
    connection.execute(query("record_installation_change"), values)


def encode(mark: Mark) -> bytes:
    """A mark as a file."""
    return json.dumps(mark.to_json(), indent=2).encode()


def decode(content: bytes) -> Mark:
    """A mark from a file.

    Raises:
        ValueError: it is no mark.
    """
    return Mark.from_json(json.loads(content))
