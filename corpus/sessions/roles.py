"""The roles of the database: who publishes, who answers for others, who reads with SQL, who audits.

They are roles of the server, without a login: logins become members of them. `freshet migrate` makes them and gives
each what it needs, table by table (`freshet.secure_table` in the schema).
"""

from dataclasses import dataclass

from psycopg.rows import class_row, scalar_row

from corpus.errors import ConfigurationError
from corpus.sessions.rows import Connection, fetch_all, fetch_one
from corpus.sql import query

OWNER = "freshet_owner"  # of the schema; migrations only
WRITER = "freshet_writer"  # publishes: reads and writes every row
GATEWAY = "freshet_gateway"  # answers for others, and says for whom
READER = "freshet_reader"  # SQL clients; `freshet.reader_grant` says what they see
AUDITOR = "freshet_auditor"  # ledger, lineage, audits; no text
ROLES = (OWNER, WRITER, GATEWAY, READER, AUDITOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingRoles:
    """Roles that the server does not have (query `roles_missing`)."""

    roles: list[str]
    may_create: bool
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRoles:
    """What the user of a session is (query `roles_held`)."""

    user: str
    is_superuser: bool
    bypasses_rls: bool
    is_owner: bool  # of the tables, or a member of their owner
    roles: list[str]  # of `ROLES`, those that it is a member of

    @property
    def excess(self) -> str | None:
        """What it has that no process needs; None: nothing."""
        if self.is_superuser:
            return "is a superuser"
        if self.bypasses_rls:
            return "passes over row-level security (BYPASSRLS)"
        if self.is_owner:
            return "owns the tables"
        return None


def held_roles(connection: Connection) -> HeldRoles:
    """What the user of this session is."""
    values = {"roles": list(ROLES)}
    held = fetch_one(connection, class_row(HeldRoles), "roles_held", values)
    assert held is not None, "the server knows the user of a session"
    return held


def ensure_roles(connection: Connection) -> None:
    """Make the roles that are missing, before the first migration.

    Raises:
        ConfigurationError: this user may not make roles; the message has the statements for an administrator.
    """
    values = {"roles": list(ROLES)}
    missing = fetch_one(connection, class_row(MissingRoles), "roles_missing", values)
    assert missing is not None, "the server knows the user of a session"
    if not missing.roles:
        return
    if not missing.may_create:
        raise ConfigurationError(_for_an_administrator(missing))
    connection.execute(query("create_roles"))


def _for_an_administrator(missing: MissingRoles) -> str:
    statements = [f"CREATE ROLE {role} NOLOGIN;" for role in missing.roles]
    statements.append(f'GRANT {GATEWAY} TO "{missing.user}";')
    return (
        f"the user {missing.user!r} may not make the roles that Freshet needs, and nothing was changed. Let an "
        f"administrator of the server run: {' '.join(statements)} Then run `freshet migrate` again."
    )


def secure_functions(connection: Connection) -> None:
    """Let only those call a function who need it, in the transaction that makes it."""
    if fetch_one(connection, scalar_row, "can_be_secured"):
        connection.execute(query("secure_schema"))


def secure(connection: Connection, *, lock_seconds: int) -> None:
    """Give every table row-level security, and every role what it needs. What is there already is not changed.

    1. what a superuser has made is given to `freshet_owner`
    2. each table, in a transaction of its own; who publishes only reads what teams are granted
    3. only the roles can take advisory locks, where the database is Freshet's alone and the user is a superuser
    4. the migrating user may read on behalf of others, where it can be given that

    Args:
        connection: in autocommit mode.
        lock_seconds: longest wait for each table.

    Raises:
        psycopg.errors.LockNotAvailable: a table is in use; the rest is done by the next run.
    """
    if not fetch_one(connection, scalar_row, "can_be_secured"):
        return  # the migrations end before the one that brings the functions
    limit = {"limit": f"{lock_seconds}s"}
    # Step 1.
    with connection.transaction():
        connection.execute(query("limit_lock_waits"), limit)
        connection.execute(query("disown_superusers"))
        connection.execute(query("secure_schema"))
    # Step 2.
    for table in fetch_all(connection, scalar_row, "tables_to_secure"):
        with connection.transaction():
            connection.execute(query("limit_lock_waits"), limit)
            connection.execute(query("secure_table"), {"table": table})
            if table == "team":
                connection.execute(query("keep_teams_from_writer"))
    # Step 3.
    connection.execute(query("keep_advisory_locks"))
    # Step 4.
    connection.execute(query("let_read_for_others"))
