"""Every setting of a session that Freshet relies on, declared once.

The settings of a server, a database and a user (`ALTER ROLE ... SET`) are made for others, and so are those that a
pooler leaves behind. A session pins its own after it is opened, so they stand whatever else is set.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# A peer that does not answer is given up after 10 + 3 * 5 seconds without traffic, or 30 with unacknowledged data. Both
# ends do so: the client by libpq's parameters, the server by its settings, which a Unix socket ignores.
KEEPALIVE_IDLE_SECONDS = 10
KEEPALIVE_INTERVAL_SECONDS = 5
KEEPALIVE_COUNT = 3
TCP_USER_TIMEOUT_MS = 30_000


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that a session pins.

    Attributes:
        name: PostgreSQL's.
        value: what Freshet relies on.
        why: what would be wrong with another value.
        instead_of: pinned only where the session has this value; empty: pinned always.
        first_version: of PostgreSQL that knows it, as `server_version_num` has it.
        needs_right: only a superuser may set it, or a user with `GRANT SET ON PARAMETER`; it is pinned where this user
            may, and `freshet doctor` names it elsewhere.
    """

    name: str
    value: str
    why: str
    instead_of: str = ""
    first_version: int = 0
    needs_right: bool = False


_NO_ROWS_IN_LOGS = "the server's log holds no text of a row"

# Any user may set each of them, unless it says otherwise. Freshet's work relies on none that needs a right.
SETTINGS = (
    Setting("client_encoding", "UTF8", "texts hold characters of all scripts"),
    Setting("TimeZone", "UTC", "times are read and shown in UTC"),
    Setting("DateStyle", "ISO, MDY", "psycopg reads times in ISO form only"),
    Setting("IntervalStyle", "postgres", "psycopg reads intervals in this form only"),
    Setting("bytea_output", "hex", "hashes are compared as they are read"),
    Setting("extra_float_digits", "1", "scores and vectors are read without rounding"),
    Setting("array_nulls", "on", "a list may lack single values"),
    Setting("standard_conforming_strings", "on", "a backslash is a character"),
    Setting(
        "default_transaction_isolation",
        "read committed",
        "claims and fences look again after a lock, and must see what its former holder committed",
    ),
    Setting(
        "synchronous_commit",
        "on",
        "a notice is sent after a commit, so a crash must not take the commit back",
        instead_of="off",
    ),
    Setting(
        "row_security",
        "on",
        "with off, a query that a policy filters fails instead",
    ),
    Setting("gin_fuzzy_search_limit", "0", "text search returns all that matches"),
    Setting("jit", "off", "compiling takes longer than Freshet's statements"),
    Setting("log_parameter_max_length_on_error", "0", _NO_ROWS_IN_LOGS),
    Setting("log_parameter_max_length", "0", _NO_ROWS_IN_LOGS, needs_right=True),
    Setting("log_error_verbosity", "terse", _NO_ROWS_IN_LOGS, needs_right=True),
    Setting("log_min_error_statement", "panic", _NO_ROWS_IN_LOGS, needs_right=True),
    Setting(
        "idle_session_timeout",
        "0",
        "a pool keeps sessions that wait for work",
        first_version=14_00_00,
    ),
    Setting(
        "transaction_timeout",
        "0",
        "a large batch is published in one transaction; the other limits bound it",
        first_version=17_00_00,
    ),
    Setting(
        "tcp_keepalives_idle",
        str(KEEPALIVE_IDLE_SECONDS),
        "a lost host holds its locks for seconds",
    ),
    Setting(
        "tcp_keepalives_interval",
        str(KEEPALIVE_INTERVAL_SECONDS),
        "a lost host holds its locks for seconds",
    ),
    Setting(
        "tcp_keepalives_count",
        str(KEEPALIVE_COUNT),
        "a lost host holds its locks for seconds",
    ),
    Setting(
        "tcp_user_timeout",
        str(TCP_USER_TIMEOUT_MS),
        "a lost host holds its locks for seconds",
    ),
)

# Each session has its own.
LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


def settings_of(
    limits: Mapping[str, int], vector_schema: str, server_version: int
) -> Iterator[Setting]:
    """Every setting that a session pins.

    Args:
        limits: of the session, by the names of their settings, in seconds.
        vector_schema: where the extension `vector` is, quoted as an identifier.
        server_version: as `server_version_num` has it.
    """
    path = dict.fromkeys(("freshet", vector_schema, "public"))
    yield Setting("search_path", ", ".join(path), "names mean Freshet's and pgvector's")
    for name, seconds in limits.items():
        yield Setting(
            name,
            f"{seconds}s",
            "a process that stands still holds up others for a while only",
        )
    for setting in SETTINGS:
        if server_version >= setting.first_version:
            yield setting


def pinned_names() -> list[str]:
    """Names of all settings that a session pins."""
    return ["search_path", *LIMITS, *(setting.name for setting in SETTINGS)]
