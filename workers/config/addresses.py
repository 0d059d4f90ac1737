"""Where the services are that no setting names: the local stack's, libpq's, and the server of a Temporal profile."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from corpus.disclosure.error_text import public_text, service_text
from corpus.disclosure.secret import Secret, SecretFile
from corpus.errors import ConfigurationError, DependencyError

# Any of them says that libpq's own variables name the server.
_LIBPQ = ("PGHOST", "PGSERVICE", "PGDATABASE", "PGHOSTADDR")

# Any of them says that a Temporal server is meant that Freshet did not start.
_TEMPORAL = ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")
_DEFAULT_TEMPORAL = (
    "localhost:7233"  # of Temporal's own tools, for a profile without an address
)


@dataclass(frozen=True, slots=True)
class LocalStack:
    """What `freshet up` left in HOME/stack.json; `addresses` is empty where no local stack runs."""

    home: Path
    addresses: dict[str, str]

    @classmethod
    def read(cls, home: Path) -> "LocalStack":
        """Read the file.

        Raises:
            ConfigurationError: it is damaged.
        """
        path = home / "stack.json"
        try:
            content = path.read_text(encoding="utf-8")
            stored: Any = json.loads(content)
        except (FileNotFoundError, NotADirectoryError):
            return cls(home, {})
        except (OSError, ValueError, RecursionError) as error:
            raise _damaged(path, f"cannot be read as JSON ({error})") from error
        snapshot = _object(path, stored)
        addresses = _object(path, snapshot.get("addresses", {}))
        texts = {
            name: text for name, text in addresses.items() if isinstance(text, str)
        }
        return cls(home, texts)

    def address(self, name: str, service: str, settings: str) -> str:
        """The address of a part.

        Raises:
            DependencyError: there is none; the message names the `settings` that would give one.
        """
        address = self.addresses.get(name)
        if not address:
            raise DependencyError(
                f"no address of {service}: no local stack runs in {self.home}. "
                f"Run `freshet up`, or set {settings}."
            )
        return address

    def database_url(self) -> str:
        """PostgreSQL; empty where libpq's variables name a server."""
        if libpq_names_server():
            return ""
        shown = self.address(
            "database_url", "PostgreSQL", "FRESHET_DATABASE_URL or PGHOST"
        )
        return self._from_file("database_url") or shown

    def writer_database_url(self) -> str:
        """PostgreSQL for the roles that publish; empty where another server is named, or the stack has no logins."""
        return self._login("writer_database_url")

    def gateway_database_url(self) -> str:
        """Likewise for the gateway."""
        return self._login("gateway_database_url")

    def _login(self, name: str) -> str:
        given = "FRESHET_DATABASE_URL"
        others = (given, f"{given}_FILE")
        if libpq_names_server() or any(os.environ.get(other) for other in others):
            return ""
        return self._from_file(name) or self.addresses.get(name, "")

    def _from_file(self, name: str) -> str:
        """A connection string with its password, which stack.json does not hold; empty: there is no file of it.

        Raises:
            ConfigurationError: the file cannot be read.
        """
        path = self.addresses.get(f"{name}_file")
        if not path:
            return ""
        try:
            return SecretFile(Path(path)).read()
        except (OSError, ValueError) as error:
            reason = f"names {path}, which cannot be read ({public_text(error)})"
            raise _damaged(self.home / "stack.json", reason) from error

    def kafka_bootstrap(self) -> str:
        """Kafka."""
        return self.address("kafka_bootstrap", "Kafka", "FRESHET_KAFKA_BOOTSTRAP")

    def kafka_properties(self) -> str:
        """The file by which clients log in to the stack's Kafka; empty where another one is named."""
        if os.environ.get("FRESHET_KAFKA_BOOTSTRAP"):
            return ""
        return self.addresses.get("kafka_properties", "")

    def staging_url(self) -> str:
        """The staging store; a folder of HOME where the stack names none."""
        return self.addresses.get("staging_url") or (self.home / "staging").as_uri()

    def schema_registry_url(self) -> str:
        """The schema registry; empty where the stack has none."""
        return self.addresses.get("schema_registry_url", "")

    def team_keys(self) -> str:
        """The folder of the teams' keys: one of HOME."""
        return str(self.home.absolute() / "team-keys")

    def temporal_address(self) -> str:
        """Temporal: the server that TEMPORAL_* name, else the stack's."""
        profile = temporal_profile()
        if profile is not None:
            return str(profile["target_host"])
        return self.address(
            "temporal_address", "Temporal", "TEMPORAL_ADDRESS or a TEMPORAL_PROFILE"
        )


def libpq_names_server() -> bool:
    """Whether libpq's own variables name PostgreSQL's server; an empty variable says nothing."""
    return any(os.environ.get(name) for name in _LIBPQ)


def _object(path: Path, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _damaged(path, "holds no addresses")
    return cast("dict[str, Any]", value)


def _damaged(path: Path, what: str) -> ConfigurationError:
    return ConfigurationError(f"{path} {what}; run `freshet down` and `freshet up`")


def default_home() -> Path:
    """FRESHET_HOME, else the XDG state directory.

    Raises:
        ConfigurationError: the directory cannot be named.
    """
    home = os.environ.get("FRESHET_HOME", "")
    try:
        if home:
            return Path(home).expanduser().resolve()
        return _state_directory() / "freshet"
    except (RuntimeError, OSError) as error:
        raise ConfigurationError(
            f"FRESHET_HOME={home!r} is not a directory: {error}"
        ) from error


def _state_directory() -> Path:
    state = os.environ.get("XDG_STATE_HOME")
    if state:
        return Path(state)
    return Path.home() / ".local" / "state"


def temporal_profile() -> dict[str, Any] | None:
    """Arguments of `Client.connect` by `TEMPORAL_*` (variables, profile, file); None: the local stack's server.

    A configuration file that no variable names is not read: its TLS and keys belong to a server that was not asked for.

    Raises:
        ConfigurationError: a profile or a file that it names does not exist, or cannot be read.
    """
    if not any(os.environ.get(name) for name in _TEMPORAL):
        return None
    from temporalio.envconfig import ClientConfig

    try:
        arguments = dict(ClientConfig.load_client_connect_config())
    except (RuntimeError, OSError, ValueError) as error:
        # The library quotes the lines of the file, which may hold a key.
        shown = service_text(error)
        raise ConfigurationError(
            f"the Temporal profile that TEMPORAL_* name cannot be used: {shown}"
        ) from error
    file = os.environ.get("TEMPORAL_CONFIG_FILE")
    key = api_key_file()
    if key is not None:
        arguments["api_key"] = key.reveal()
    if "target_host" not in arguments and file and not Path(file).is_file():
        raise ConfigurationError(f"TEMPORAL_CONFIG_FILE={file!r} is not a file")
    return {"target_host": _DEFAULT_TEMPORAL, **arguments}


def api_key_file() -> Secret | None:
    """Temporal's key in the file that TEMPORAL_API_KEY_FILE names; None where there is none.

    Raises:
        ConfigurationError: the file cannot be read, or TEMPORAL_API_KEY is set, too.
    """
    path = os.environ.get("TEMPORAL_API_KEY_FILE", "")
    if not path:
        return None
    if os.environ.get("TEMPORAL_API_KEY"):
        raise ConfigurationError(
            "TEMPORAL_API_KEY and TEMPORAL_API_KEY_FILE are set; keep one"
        )
    try:
        return Secret(SecretFile(Path(path)).read)
    except (OSError, ValueError) as error:
        reason = public_text(error)
        raise ConfigurationError(
            f"TEMPORAL_API_KEY_FILE={path!r} cannot be read, or is empty: {reason}"
        ) from error


def profile_namespace() -> str:
    """The namespace that the profile names; empty where there is none."""
    return str((temporal_profile() or {}).get("namespace") or "")
