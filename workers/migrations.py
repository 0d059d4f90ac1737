"""What `freshet migrate` does beside the schema: the logins of the roles."""

from corpus.database import connect, database_errors_translated
from corpus.disclosure.secret import Secret
from corpus.sessions.logins import GATEWAY_ROLES, WRITER_ROLES, ensure_login


def make_logins(url: str | Secret, writer_url: Secret, gateway_url: Secret) -> None:
    """Make the logins of the roles, or give them their passwords and rights again.

    Args:
        url: of the database, as a user that may make roles.
        writer_url: of the roles that publish; empty: they connect as that user.
        gateway_url: likewise of the gateway.

    Raises:
        ConfigurationError: the user may not make roles; the message says what to run.
        DependencyError: PostgreSQL does not answer.
    """
    wanted = ((writer_url, WRITER_ROLES), (gateway_url, GATEWAY_ROLES))
    if not (writer_url or gateway_url):
        return
    opened = connect(url, application="freshet-migrate")
    with opened as connection, database_errors_translated():
        for login_url, roles in wanted:
            if login_url:
                ensure_login(connection, login_url, roles)
