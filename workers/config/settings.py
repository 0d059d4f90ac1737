"""Every setting: name, default, unit, help. The command line, the docs and compose/env.example read this table.

What upstream has a name for keeps that name: `TEMPORAL_*` (temporalio's environment configuration), `PG*` (libpq).
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.errors import ConfigurationError, DependencyError


@dataclass(frozen=True, slots=True)
class Setting:
    """One knob."""

    name: str
    default: str
    help: str
    secret: bool = False


SETTINGS = (
    Setting(
        "FRESHET_HOME",
        "",
        "directory of the local stack's state; default: $XDG_STATE_HOME/freshet or ~/.local/state/freshet",
    ),
    Setting(
        "FRESHET_DATABASE_URL",
        "",
        "PostgreSQL connection string; default: PG* variables, else the local stack",
        secret=True,
    ),
    Setting(
        "FRESHET_KAFKA_BOOTSTRAP",
        "",
        "Kafka bootstrap servers, host:port[,host:port]; default: the local stack",
    ),
    Setting(
        "FRESHET_KAFKA_PROPERTIES",
        "",
        "file of librdkafka properties, name=value a line (SASL, TLS, ...)",
    ),
    Setting("FRESHET_KAFKA_GROUP", "freshet", "consumer group"),
    Setting(
        "FRESHET_STAGING_URL",
        "",
        "staging store, file:///... or s3://bucket/prefix; default: FRESHET_HOME/staging",
    ),
    Setting(
        "FRESHET_TEMPORAL_NAMESPACE",
        "freshet",
        "Temporal namespace of Freshet's workflows (TEMPORAL_NAMESPACE wins; a profile's comes before the default)",
    ),
    Setting(
        "FRESHET_PAYLOAD_KEYS",
        "",
        "file of payload encryption keys, `id=base64` a line, newest first; empty: payloads are plain",
        secret=True,
    ),
    Setting("FRESHET_DEVICE", "auto", "embedding device: auto, cpu, cuda, cuda:1, mps"),
    Setting(
        "FRESHET_PRECISION",
        "auto",
        "embedding precision: auto (bf16 where it is faithful), fp32, bf16",
    ),
    Setting(
        "FRESHET_EMBED_THREADS",
        "0",
        "forward passes side by side on a CPU, each on one core; 0: one a core",
    ),
    Setting(
        "FRESHET_EMBED_BATCH", "0", "texts a forward pass; 0: 8 on a CPU, a whole shard elsewhere"
    ),
    Setting(
        "FRESHET_EMBED_SHARD",
        "128",
        "texts a shard: what a crash can lose, and what one transaction writes",
    ),
    Setting(
        "FRESHET_EMBED_BACKEND", "torch", "sentence-transformers backend: torch, onnx, openvino"
    ),
    Setting("FRESHET_PREPARE_PROCESSES", "1", "cleaning processes of a preparer"),
    Setting(
        "FRESHET_POSTGRES_PORT",
        "",
        "port of the local stack's PostgreSQL; default: a free one, kept in FRESHET_HOME",
    ),
    Setting("FRESHET_KAFKA_PORT", "", "port of the local stack's Kafka; default: a free one, kept"),
    Setting(
        "FRESHET_KAFKA_CONTROLLER_PORT",
        "",
        "port of the local stack's Kafka controller; default: a free one, kept",
    ),
    Setting(
        "FRESHET_TEMPORAL_PORT", "", "port of the local stack's Temporal; default: a free one, kept"
    ),
    Setting(
        "FRESHET_TEMPORAL_UI_PORT",
        "",
        "port of the local stack's Temporal UI; default: a free one, kept",
    ),
    Setting("FRESHET_LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING, ERROR"),
    Setting("FRESHET_LOG_FORMAT", "json", "json or text"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings, resolved: environment, then the running local stack, then defaults."""

    home: Path
    database_url: str
    kafka_bootstrap: str
    kafka_properties: dict[str, str]
    kafka_group: str
    staging_url: str
    temporal_address: str
    temporal_namespace: str
    payload_keys: str
    device: str
    precision: str
    embed_threads: int
    embed_batch: int
    embed_shard: int
    embed_backend: str
    prepare_processes: int
    log_level: str
    log_format: str


def default_home() -> Path:
    """FRESHET_HOME, else the XDG state directory."""
    if home := os.environ.get("FRESHET_HOME"):
        return Path(home).expanduser().resolve()
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "freshet"


def load(home: Path | None = None) -> Settings:
    """Resolve all settings.

    Raises:
        ConfigurationError: a value is malformed.
        DependencyError: a service has no address, and no local stack runs.
    """
    home = home or default_home()
    stack = _stack(home)
    env = os.environ
    libpq = any(name in env for name in ("PGHOST", "PGSERVICE", "PGDATABASE", "PGHOSTADDR"))
    database_url = env.get("FRESHET_DATABASE_URL") or ("" if libpq else stack.get("database_url"))
    kafka_bootstrap = env.get("FRESHET_KAFKA_BOOTSTRAP") or stack.get("kafka_bootstrap")
    temporal_address = (temporal_profile() or {"target_host": stack.get("temporal_address")})[
        "target_host"
    ]
    if database_url is None:
        raise DependencyError(_nowhere("PostgreSQL", "FRESHET_DATABASE_URL or PGHOST", home))
    if not kafka_bootstrap:
        raise DependencyError(_nowhere("Kafka", "FRESHET_KAFKA_BOOTSTRAP", home))
    if not temporal_address:
        raise DependencyError(_nowhere("Temporal", "TEMPORAL_ADDRESS or a TEMPORAL_PROFILE", home))
    return Settings(
        home=home,
        database_url=_conninfo(database_url),
        kafka_bootstrap=kafka_bootstrap,
        kafka_properties=kafka_properties(),
        kafka_group=_value("FRESHET_KAFKA_GROUP"),
        staging_url=_value("FRESHET_STAGING_URL")
        or stack.get("staging_url")
        or (home / "staging").as_uri(),
        temporal_address=temporal_address,
        temporal_namespace=temporal_namespace(),
        payload_keys=_value("FRESHET_PAYLOAD_KEYS"),
        device=_value("FRESHET_DEVICE"),
        precision=_one_of("FRESHET_PRECISION", ("auto", "fp32", "bf16")),
        embed_threads=_number("FRESHET_EMBED_THREADS", 0),
        embed_batch=_number("FRESHET_EMBED_BATCH", 0),
        embed_shard=_number("FRESHET_EMBED_SHARD", 1),
        embed_backend=_one_of("FRESHET_EMBED_BACKEND", ("torch", "onnx", "openvino")),
        prepare_processes=_number("FRESHET_PREPARE_PROCESSES", 1),
        log_level=_one_of("FRESHET_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR")),
        log_format=_one_of("FRESHET_LOG_FORMAT", ("json", "text")),
    )


def temporal_profile() -> dict[str, Any] | None:
    """Arguments of Client.connect by `TEMPORAL_*` (variables, profile, configuration file); None: the local stack's server.

    A configuration file that no variable names is left alone: its TLS and keys belong to a server that nobody asked for.

    Raises:
        ConfigurationError: there is no such profile, or it cannot be read.
    """
    if not any(
        name in os.environ
        for name in ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")
    ):
        return None
    from temporalio.envconfig import ClientConfig

    try:
        return {"target_host": "localhost:7233", **ClientConfig.load_client_connect_config()}
    except RuntimeError as error:
        raise ConfigurationError(
            f"the Temporal profile that TEMPORAL_* name cannot be used: {error}"
        ) from error


def temporal_namespace() -> str:
    """Freshet's namespace: TEMPORAL_NAMESPACE, FRESHET_TEMPORAL_NAMESPACE, the profile's, else the default."""
    for name in ("TEMPORAL_NAMESPACE", "FRESHET_TEMPORAL_NAMESPACE"):
        if found := os.environ.get(name):
            return found
    return str((temporal_profile() or {}).get("namespace") or _value("FRESHET_TEMPORAL_NAMESPACE"))


def _stack(home: Path) -> dict[str, str]:
    """Addresses that `freshet up` left in HOME/stack.json; empty where there is none."""
    path = home / "stack.json"
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("addresses", {})
    except ValueError as error:
        raise ConfigurationError(
            f"{path} is not JSON ({error}); run `freshet down` and `freshet up`"
        ) from error


def _conninfo(url: str) -> str:
    """A connection string that libpq can read. Its value is a secret, so no message shows it."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(url)
    except (ProgrammingError, UnicodeEncodeError):
        told = "FRESHET_DATABASE_URL is not a connection string; write postgresql://user:password@host:port/database, or host=... dbname=..."
        raise ConfigurationError(told) from None
    return url


def _nowhere(service: str, names: str, home: Path) -> str:
    return (
        f"no address of {service}: no local stack runs in {home}. Run `freshet up`, or set {names}."
    )


def _value(name: str) -> str:
    default = next(setting.default for setting in SETTINGS if setting.name == name)
    return os.environ.get(name) or default


def _number(name: str, least: int) -> int:
    value = _value(name)
    if not re.fullmatch("[0-9]{1,6}", value) or int(value) < least:
        raise ConfigurationError(
            f"{name}={value!r} is not a whole number of at least {least} and at most 999999"
        )
    return int(value)


def _one_of(name: str, allowed: tuple[str, ...]) -> str:
    value = _value(name)
    if value not in allowed:
        raise ConfigurationError(f"{name}={value!r} is not one of {', '.join(allowed)}")
    return value


def kafka_properties() -> dict[str, str]:
    """The librdkafka properties of FRESHET_KAFKA_PROPERTIES.

    Raises:
        ConfigurationError: the file cannot be read, or a line is not name=value.
    """
    return _properties(_value("FRESHET_KAFKA_PROPERTIES"))


def _properties(path: str) -> dict[str, str]:
    if not path:
        return {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"FRESHET_KAFKA_PROPERTIES={path!r} cannot be read: {error}"
        ) from error
    properties: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise ConfigurationError(f"{path}:{number}: {line!r} is not name=value")
        properties[name.strip()] = value.strip()
    return properties
