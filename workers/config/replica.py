"""The replica that searches read: its settings, and how each process logs in to it.

A standby has the databases, the logins and the passwords of its primary. So a process reaches it by its own connection
string, with another server in it.
"""

from dataclasses import dataclass
from typing import Annotated

from corpus.disclosure.secret import Secret
from workers.config import readers
from workers.config.rerank import RerankSettings
from workers.config.setting import Setting

# What a connection string says of the server; the rest is the login's.
_OF_SERVER = ("host", "hostaddr", "port", "target_session_attrs")
_OF_LOGIN = ("user", "password", "dbname", "passfile", "service")
MIN_LAG_SECONDS = 2  # the primary is looked at each second


def replica_server(value: str) -> str:
    """One server, as libpq's parameters or a URL say it, without a login.

    Raises:
        ValueError: says what is wrong.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        given = conninfo_to_dict(value)
    except ProgrammingError:
        raise readers.HiddenValueError(
            "is no connection string, such as `host=replica port=5432`"
        ) from None
    if any(given.get(name) for name in _OF_LOGIN):
        raise readers.HiddenValueError(
            "names a login or a database; those of the primary's connection strings are used, so name the server only"
        )
    host = str(given.get("host") or given.get("hostaddr") or "")
    if value and (not host or "," in host):
        raise ValueError("does not name one host")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings(RerankSettings):
    """Which standby searches read, and how far behind it may be.

    Classes with slots have one base, so those of reranking come with these.
    """

    read_replica: Annotated[
        str,
        Setting(
            "standby of PostgreSQL that searches read, as parameters of libpq (`host=replica port=5432`); each process "
            "uses its own login there; the same for gateways, orchestrators and `freshet search`; empty: the primary",
            read=replica_server,
        ),
    ]
    read_replica_max_lag: Annotated[
        int,
        Setting(
            "how old an answer of the replica may be; where it is further behind, the primary is searched",
            default="10",
            unit="s",
            read=readers.whole_number(MIN_LAG_SECONDS),
        ),
    ]


def replica_url(settings: ReplicaSettings, url: Secret) -> Secret | None:
    """A login's connection string for the replica; None where none is configured.

    Args:
        settings: of the process.
        url: of the primary; its password may change.
    """
    if not settings.read_replica:
        return None
    return url.map(lambda primary: _at_server(primary, settings.read_replica))


def _at_server(primary: str, server: str) -> str:
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    of_login = {
        name: value
        for name, value in conninfo_to_dict(primary).items()
        if name not in _OF_SERVER
    }
    # Whatever is left out would be taken from the primary's PG* variables.
    default = {"host": "", "hostaddr": "", "port": "5432"}
    return make_conninfo("", **{**of_login, **default, **conninfo_to_dict(server)})
