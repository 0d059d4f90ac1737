"""Logins of Freshet's own processes: members of the roles that they need, and of nothing else."""

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import scalar_row

from corpus.disclosure.secret import Secret
from corpus.errors import ConfigurationError
from corpus.sessions.roles import GATEWAY, WRITER
from corpus.sessions.rows import Connection, fetch_all, fetch_one
from corpus.sql import query

# Who publishes may look on behalf of others, too: waits of other teams are decided beside the workflows.
WRITER_ROLES = (WRITER, GATEWAY)
GATEWAY_ROLES = (GATEWAY,)


def ensure_login(connection: Connection, url: Secret, roles: tuple[str, ...]) -> bool:
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
    stated = conninfo_to_dict(url.reveal())
    user, password = stated.get("user"), stated.get("password")
    if not user or user == connection.info.user:
        return False
    verifier: str | None = None
    if password:  # statements may be logged, and then show no password
        made = connection.pgconn.encrypt_password(
            str(password).encode(), str(user).encode(), b"scram-sha-256"
        )
        verifier = made.decode()
    values = {"login": user, "verifier": verifier, "roles": list(roles)}
    try:
        connection.execute(query("ensure_login"), values)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"the user {connection.info.user!r} may not make the login {user!r}. Let an administrator run: "
            f'CREATE ROLE "{user}" LOGIN; GRANT {", ".join(roles)} TO "{user}"; and give it its password.'
        ) from error
    return True


def sessions_with_excess(connection: Connection) -> list[str]:
    """Freshet's processes whose user has more than a process needs, in words; sessions of others may be hidden."""
    return fetch_all(connection, scalar_row, "sessions_with_excess")


def advisory_locks_are_kept(connection: Connection) -> bool:
    """Whether only Freshet's roles can take advisory locks in this database."""
    return bool(fetch_one(connection, scalar_row, "advisory_locks_are_kept"))
