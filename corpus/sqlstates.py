"""What PostgreSQL's error conditions mean for the one who met them."""

import psycopg

from corpus.disclosure.error_text import public_text

# SQLSTATEs, or classes of them, of conditions that end without a change to the statement.
_TRANSIENT_STATES = (
    "08",  # connection
    "25006",  # the server is read-only: a failover
    "25P03",  # the session was idle in a transaction for too long and was closed: the process had stopped
    "25P04",  # the transaction took too long
    "28",  # login: a password is being rotated
    "3D",  # database: it is being restored
    "40",  # rolled back: a deadlock
    "53",  # short of resources
    "55",  # not in the required state: a lock
    "57",  # stopped by an operator
    "58",  # the operating system
)


def is_transient(error: psycopg.Error) -> bool:
    """Whether the condition ends without a change to the statement."""
    if error.sqlstate is not None:
        return error.sqlstate.startswith(_TRANSIENT_STATES)
    # Without a state, the error is not from the server: an OperationalError says that the connection failed, a
    # ProgrammingError that psycopg was called wrongly.
    return isinstance(error, psycopg.OperationalError)


# Of values and limits: what one document can cause. A foreign key says nothing about a document.
_DATA_STATES = ("22", "23", "54")
_NO_DATA_STATES = ("23503",)


def is_data_error(error: psycopg.Error) -> bool:
    """Whether PostgreSQL refuses a value, so that it would accept the same statement with another row."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.DataError)
    is_of_data = error.sqlstate.startswith(_DATA_STATES)
    return is_of_data and error.sqlstate not in _NO_DATA_STATES


def without_rows(error: psycopg.Error) -> psycopg.Error:
    """The same error, without the server's words about values: Temporal keeps the causes of a failure."""
    return type(error)(public_text(error)).with_traceback(error.__traceback__)
