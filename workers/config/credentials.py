"""How a process logs in to PostgreSQL and Kafka: settings and files of the environment, else those of the local stack.

A password that is given apart is that of the server that the environment names; the local stack has its own.
"""

from collections.abc import Mapping

from corpus.disclosure.secret import HiddenValues, Secret
from workers.config.addresses import LocalStack, libpq_names_server
from workers.config.setting import Setting

OWNER = "database"
# Each has a setting of its connection string, and one of its password.
DATABASES = (OWNER, "writer_database", "gateway_database")

Declarations = Mapping[str, Setting]  # of the settings, by field


def database_url(
    declared: Declarations, name: str, stack: LocalStack, password: Secret
) -> Secret:
    """A connection string by the environment, with its password; else that of the local stack.

    Args:
        declared: the settings.
        name: one of `DATABASES`.
        stack: the local stack, running or not.
        password: that is given apart; empty: none is.

    Raises:
        ConfigurationError: a setting is malformed, or a file cannot be read.
        DependencyError: there is none of the owner.
    """
    setting = declared[f"{name}_url"]
    given = setting.given_secret()
    if given is not None:
        return _with_password(given, password)
    url: Secret = setting.resolve(stack)
    if name == OWNER and not url:  # the PG* variables name the server
        return _with_password(url, password)
    return url


def given_database_url(declared: Declarations, name: str) -> Secret | None:
    """The server that the environment names for a login, with its password; None where it names none.

    Raises:
        ConfigurationError: a setting is malformed, or a file cannot be read.
    """
    url = declared[f"{name}_url"].given_secret()
    if url is None and name == OWNER and libpq_names_server():
        url = Secret.of("")
    if url is None:
        return None
    password = declared[f"{name}_password"].given_secret()
    return _with_password(url, password or Secret.of(""))


def kafka_properties(declared: Declarations, stack: LocalStack) -> dict[str, str]:
    """Properties of Kafka's clients, with the password that is given apart.

    Raises:
        ConfigurationError: a file cannot be read, or a line is not name=value.
    """
    setting = declared["kafka_properties"]
    path = setting.given()
    own = stack.kafka_properties()
    if own and not path:
        return HiddenValues(setting.parse(own))
    properties = HiddenValues(setting.parse(path))
    password = declared["kafka_password"].given_secret()
    if password is not None:
        properties["sasl.password"] = password.reveal()
    return properties


def _with_password(url: Secret, password: Secret) -> Secret:
    """A connection string with a password in place of its own; an empty one: it keeps its own."""
    if not password:
        return url

    def joined() -> str:
        from psycopg.conninfo import make_conninfo

        return make_conninfo(url.reveal(), password=password.reveal())

    return Secret(joined)
