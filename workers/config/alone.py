"""The address of one service, for commands that need no other: they run where the others have none."""

from corpus.disclosure.secret import Secret
from corpus.errors import ConfigurationError
from ingest.decode.registry.schemas import RegistryAccess
from workers.config import credentials
from workers.config.addresses import LocalStack, default_home
from workers.config.settings import SETTINGS
from workers.config.ways import registry_problems

_OF_REGISTRY = ("login", "token", "ca", "certificate")
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


def schema_registry(url: str = "") -> RegistryAccess | None:
    """Where the schema registry is, and how to log in to it; None: no setting names one.

    Args:
        url: its address, in place of the setting; empty: that of the setting.

    Raises:
        ConfigurationError: a setting is malformed, a file cannot be read, or a login would be sent without encryption.
    """
    stack = LocalStack.read(default_home())
    setting = _DECLARED["schema_registry_url"]
    address = str(setting.parse(url) if url else setting.resolve(stack))
    if not address:
        return None
    values = {
        name: _DECLARED[f"schema_registry_{name}"].resolve(stack)
        for name in _OF_REGISTRY
    }
    access = RegistryAccess(url=address, **values)
    problems = list(registry_problems(address))
    is_allowed = "registry" in _DECLARED["allow_plaintext"].resolve(stack)
    if problems and not is_allowed and (access.login or access.token):
        raise ConfigurationError(
            f"{'; '.join(problems)}. Where the network itself is trusted, set FRESHET_ALLOW_PLAINTEXT=registry"
        )
    return access


def database_url() -> Secret:
    """The address of PostgreSQL.

    Raises:
        ConfigurationError: a setting is malformed, or a file cannot be read.
        DependencyError: there is none, and no local stack runs.
    """
    stack = LocalStack.read(default_home())
    password: Secret = _DECLARED["database_password"].resolve(stack)
    return credentials.database_url(_DECLARED, credentials.OWNER, stack, password)
