"""Logins of Freshet's own processes: members of the roles that they need, and of nothing else."""

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import scalar_row

from corpus.errors import ConfigurationError
from corpus.sessions.roles import GATEWAY, WRITER
from corpus.sessions.rows import Connection, fetch_all, fetch_one

# Who publishes may look on behalf of others, too: waits of other teams are decided beside the workflows.
WRITER_ROLES = (WRITER, GATEWAY)
GATEWAY_ROLES = (GATEWAY,)
# Of sessions that pin no limits of their own.
_LIMITS = {"lock_timeout": "5s", "statement_timeout": "600s"}


def ensure_login(connection: Connection, url: str, roles: tuple[str, ...]) -> bool:
    """Make the login of a connection string, or give it the string's password and the roles.

    Args:
        connection: of a user that may make roles, in autocommit mode.
        url: of the login; without a user, or with that of the connection, nothing is done.
        roles: that it is to be a member of.

    Returns:
        Whether there is such a login now.

    Raises:
        ConfigurationError: this user may not do it; the message says what an administrator has to run.
    """
    stated = conninfo_to_dict(url)
    user, password = stated.get("user"), stated.get("password")
    if not user or user == connection.info.user:
        return False
    name = sql.Identifier(str(user))
    statements = [_making(connection, str(user), name)]
    if password:
        statements.append(_password(connection, str(user), str(password)))
    statements += [
        sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), name) for role in roles
    ]
    statements += [
        sql.SQL("ALTER ROLE {} SET {} = {}").format(name, sql.SQL(limit), value)
        for limit, value in _limits()
    ]
    try:
        with connection.transaction():
            for statement in statements:
                connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"the user {connection.info.user!r} may not make the login {user!r}. Let an administrator run: "
            f'CREATE ROLE "{user}" LOGIN; GRANT {", ".join(roles)} TO "{user}"; and give it its password.'
        ) from error
    return True


def _making(
    connection: Connection, user: str, name: sql.Identifier
) -> sql.Composed | sql.SQL:
    if fetch_one(connection, scalar_row, "login_exists", {"user": user}):
        return sql.SQL("ALTER ROLE {} LOGIN").format(name)
    return sql.SQL("CREATE ROLE {} LOGIN").format(name)


def _password(connection: Connection, user: str, password: str) -> sql.Composed:
    """The password as its verifier: statements may be logged."""
    verifier = connection.pgconn.encrypt_password(
        password.encode(), user.encode(), b"scram-sha-256"
    )
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(
        sql.Identifier(user), sql.Literal(verifier.decode())
    )


def _limits() -> list[tuple[str, sql.Literal]]:
    return [(name, sql.Literal(value)) for name, value in _LIMITS.items()]


def sessions_with_excess(connection: Connection) -> list[str]:
    """Freshet's processes whose user has more than a process needs, in words; sessions of others may be hidden."""
    return fetch_all(connection, scalar_row, "sessions_with_excess")


def advisory_locks_are_kept(connection: Connection) -> bool:
    """Whether only Freshet's roles can take advisory locks in this database."""
    return bool(fetch_one(connection, scalar_row, "advisory_locks_are_kept"))
