"""The address of one service, for commands that need no other: they run where the others have none."""

from corpus.disclosure.secret import Secret
from workers.config import credentials
from workers.config.addresses import LocalStack, default_home
from workers.config.settings import SETTINGS

_PREFIX = "FRESHET_"
_DECLARED = {
    setting.name.removeprefix(_PREFIX).lower(): setting for setting in SETTINGS
}


def kafka() -> tuple[str, dict[str, str]]:
    """Kafka's addresses, and the properties of its clients.

    Raises:
        ConfigurationError: they are malformed, or a file cannot be read.
        DependencyError: there is no address, and no local stack runs.
    """
    stack = LocalStack.read(default_home())
    bootstrap = str(_DECLARED["kafka_bootstrap"].resolve(stack))
    return bootstrap, credentials.kafka_properties(_DECLARED, stack)


def database_url() -> Secret:
    """The address of PostgreSQL.

    Raises:
        ConfigurationError: a setting is malformed, or a file cannot be read.
        DependencyError: there is none, and no local stack runs.
    """
    stack = LocalStack.read(default_home())
    password: Secret = _DECLARED["database_password"].resolve(stack)
    return credentials.database_url(_DECLARED, credentials.OWNER, stack, password)
