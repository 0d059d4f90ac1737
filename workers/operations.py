"""Who did what with a command: a row of the access log before the command has its effect."""

import getpass
import socket
from typing import Any

from corpus.access import log
from corpus.access.log import OF_NO_SOURCE, Entry
from corpus.database import Connection


def note_operation(
    connection: Connection, command: str, source: str | None = None, **arguments: Any
) -> None:
    """Note a command that is about to change something.

    Args:
        connection: outside a transaction, so that the row stays whatever becomes of the command.
        command: its words, as "source pause".
        source: that it changes; None: none, or several.
        arguments: as given; those that are empty are left out. No content of documents.
    """
    given = {name: value for name, value in arguments.items() if value}
    entry = Entry(
        source=source or OF_NO_SOURCE,
        actor=f"login:{connection.info.user}",
        action=command,
        detail={"by": requested_by()} | given,
    )
    log.append(connection, [entry])


def requested_by() -> str:
    """The user and the machine of this command, as far as they are known."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
