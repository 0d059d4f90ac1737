"""Every setting, declared once: the fields of `Settings`.

Their reading, their validation, the table in `workers/README.md` and `compose/env.example` derive from them.
What another program has a name for keeps that name: `TEMPORAL_*` (Temporal's environment configuration), `PG*` (libpq).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from corpus.disclosure.secret import Secret
from corpus.service import CORPUS_ENDPOINT
from workers.config import credentials, readers
from workers.config.addresses import LocalStack, default_home, profile_namespace
from workers.config.registry_settings import RegistrySettings
from workers.config.setting import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(RegistrySettings):
    """The settings of a process, resolved: the environment, then the running local stack, then the defaults."""

    home: Annotated[
        Path,
        Setting(
            "directory of the local stack's state; default: $XDG_STATE_HOME/freshet or ~/.local/state/freshet"
        ),
    ]
    database_url: Annotated[
        Secret,
        Setting(
            "PostgreSQL connection string; default: PG* variables, else the local stack",
            read=readers.connection_string,
            fallback=LocalStack.database_url,
            secret=True,
            in_file=True,
        ),
    ]
    database_password: Annotated[
        Secret,
        Setting(
            "password for the server that FRESHET_DATABASE_URL or PG* name, in place of the one that they hold",
            secret=True,
            in_file=True,
        ),
    ]
    writer_database_url: Annotated[
        Secret,
        Setting(
            "connection string of the roles apart from the gateway; `freshet migrate` makes its login; "
            "default: the local stack's, else FRESHET_DATABASE_URL",
            read=readers.connection_string,
            fallback=LocalStack.writer_database_url,
            secret=True,
            in_file=True,
        ),
    ]
    writer_database_password: Annotated[
        Secret,
        Setting(
            "password for FRESHET_WRITER_DATABASE_URL, in place of the one that it holds",
            secret=True,
            in_file=True,
        ),
    ]
    gateway_database_url: Annotated[
        Secret,
        Setting(
            "connection string of the gateway, which reads on behalf of others and changes nothing; "
            "`freshet migrate` makes its login; default: that of the other roles",
            read=readers.connection_string,
            fallback=LocalStack.gateway_database_url,
            secret=True,
            in_file=True,
        ),
    ]
    gateway_database_password: Annotated[
        Secret,
        Setting(
            "password for FRESHET_GATEWAY_DATABASE_URL, in place of the one that it holds",
            secret=True,
            in_file=True,
        ),
    ]
    kafka_bootstrap: Annotated[
        str,
        Setting(
            "Kafka bootstrap servers, host:port[,host:port]; default: the local stack",
            read=readers.servers,
            fallback=LocalStack.kafka_bootstrap,
        ),
    ]
    kafka_properties: Annotated[
        dict[str, str],
        Setting(
            "file of librdkafka properties (SASL, TLS, ...), one name=value per line",
            read=readers.properties,
        ),
    ]
    kafka_password: Annotated[
        Secret,
        Setting(
            "password of Kafka's login (`sasl.password`), in place of the one in the properties",
            secret=True,
            in_file=True,
        ),
    ]
    kafka_group: Annotated[
        str, Setting("consumer group", default="freshet", read=readers.name)
    ]
    staging_url: Annotated[
        str,
        Setting(
            "staging store, file:///... or s3://bucket/prefix; default: FRESHET_HOME/staging",
            read=readers.url,
            fallback=LocalStack.staging_url,
        ),
    ]
    temporal_address: str  # by TEMPORAL_*, else the local stack's
    temporal_namespace: Annotated[
        str,
        Setting(
            "Temporal namespace of Freshet's workflows; "
            "TEMPORAL_NAMESPACE comes before it, a profile's before the default",
            default="freshet",
            read=readers.namespace,
            before="TEMPORAL_NAMESPACE",
            fallback=lambda _stack: profile_namespace(),
        ),
    ]
    nexus_endpoint: Annotated[
        str,
        Setting(
            "Nexus endpoint that is no team's: its calls are refused; known in the whole Temporal cluster",
            default=CORPUS_ENDPOINT,
            read=readers.endpoint,
        ),
    ]
    team_keys: Annotated[
        Path,
        Setting(
            "folder with the keys of the teams that call over Nexus, a file TEAM.key for each; "
            "default: FRESHET_HOME/team-keys",
            read=readers.folder,
            fallback=LocalStack.team_keys,
        ),
    ]
    payload_keys: Annotated[
        str,
        Setting(
            "file of encryption keys, for payloads and staged files, one `id=base64` per line, newest first; "
            "empty: they are plain",
            secret=True,
        ),
    ]
    allow_plaintext: Annotated[
        tuple[str, ...],
        Setting(
            "kinds of remote servers that may be reached without verified TLS: postgres, kafka, temporal, staging, "
            "registry, separated by commas; with any other one no role starts",
            read=readers.some_of(
                "postgres", "kafka", "temporal", "staging", "registry"
            ),
        ),
    ]
    device: Annotated[
        str,
        Setting(
            "embedding device: auto, cpu, cuda, cuda:1, mps",
            default="auto",
            read=readers.device,
        ),
    ]
    precision: Annotated[
        str,
        Setting(
            "embedding precision: auto (bf16 where it is faithful), fp32, bf16",
            default="auto",
            read=readers.one_of("auto", "fp32", "bf16"),
        ),
    ]
    embed_threads: Annotated[
        int,
        Setting(
            "forward passes side by side on a CPU, each on one core; 0: one per core",
            default="0",
            unit="passes",
            read=readers.whole_number(0),
        ),
    ]
    embed_batch: Annotated[
        int,
        Setting(
            "texts per forward pass; 0: 8 on a CPU, a whole shard elsewhere",
            default="0",
            unit="texts",
            read=readers.whole_number(0),
        ),
    ]
    embed_shard: Annotated[
        int,
        Setting(
            "texts per shard at most: what a crash can lose, and what one transaction writes; "
            "a slow device has fewer, so that a shard takes about a second",
            default="128",
            unit="texts",
            read=readers.whole_number(1),
        ),
    ]
    embed_backend: Annotated[
        str,
        Setting(
            "sentence-transformers backend: torch, onnx, openvino",
            default="torch",
            read=readers.one_of("torch", "onnx", "openvino"),
        ),
    ]
    prepare_processes: Annotated[
        int,
        Setting(
            "documents that a preparer cleans and splits side by side, each in a process of its own; "
            "of two or more, one is kept for sources whose documents are quick",
            default="2",
            unit="processes",
            read=readers.whole_number(1),
        ),
    ]
    prepare_memory: Annotated[
        int,
        Setting(
            "memory (address space) of each of these processes; a document that takes more is a dead letter",
            default="4000",
            unit="MB",
            read=readers.whole_number(1000),
        ),
    ]
    postgres_port: Annotated[
        int | None,
        Setting(
            "port of the local stack's PostgreSQL; default: a free one, kept in FRESHET_HOME",
            read=readers.port,
        ),
    ]
    kafka_port: Annotated[
        int | None,
        Setting(
            "port of the local stack's Kafka; default: a free one, kept",
            read=readers.port,
        ),
    ]
    kafka_controller_port: Annotated[
        int | None,
        Setting(
            "port of the local stack's Kafka controller; default: a free one, kept",
            read=readers.port,
        ),
    ]
    temporal_port: Annotated[
        int | None,
        Setting(
            "port of the local stack's Temporal; default: a free one, kept",
            read=readers.port,
        ),
    ]
    temporal_ui_port: Annotated[
        int | None,
        Setting(
            "port of the local stack's Temporal UI; default: a free one, kept",
            read=readers.port,
        ),
    ]
    metrics_port: Annotated[
        int | None,
        Setting(
            "port of the consumer's metrics for Prometheus; each further role, in the order of the table of roles, "
            "serves them at the next port; empty: none",
            read=readers.port,
        ),
    ]
    metrics_host: Annotated[
        str,
        Setting(
            "IP address at which metrics are served",
            default="127.0.0.1",
            read=readers.ip_address,
        ),
    ]
    log_level: Annotated[
        str,
        Setting(
            "DEBUG, INFO, WARNING, ERROR",
            default="INFO",
            read=readers.one_of("DEBUG", "INFO", "WARNING", "ERROR"),
        ),
    ]
    log_format: Annotated[
        str,
        Setting("json or text", default="json", read=readers.one_of("json", "text")),
    ]


def of_role(settings: Settings, role: str) -> Settings:
    """The settings as a role has them: it connects with its own login, where it has one."""
    url = settings.writer_database_url or settings.database_url
    if role == "gateway":
        url = settings.gateway_database_url or url
    return replace(settings, database_url=url)


def _declarations() -> dict[str, Setting]:
    """Every setting by its field, with its name."""
    declared: dict[str, Setting] = {}
    hints = get_type_hints(Settings, include_extras=True)
    for field, hint in hints.items():
        name = f"FRESHET_{field.upper()}"
        for annotation in getattr(hint, "__metadata__", ()):
            declared[field] = replace(annotation, name=name)
    return declared


_DECLARATIONS = _declarations()
SETTINGS = tuple(_DECLARATIONS.values())


def load(home: Path | None = None) -> Settings:
    """Resolve all settings.

    Args:
        home: the state directory; None: FRESHET_HOME.

    Raises:
        ConfigurationError: a value is malformed; the message names the setting.
        DependencyError: a service has no address, and no local stack runs.
    """
    if home is None:
        home = default_home()
    stack = LocalStack.read(home)
    urls = {name: f"{name}_url" for name in credentials.DATABASES}
    values: dict[str, Any] = {
        field: setting.resolve(stack)
        for field, setting in _DECLARATIONS.items()
        if field not in ("home", "kafka_properties", *urls.values())
    }
    for name, field in urls.items():
        password = values[f"{name}_password"]
        values[field] = credentials.database_url(_DECLARATIONS, name, stack, password)
    values["kafka_properties"] = credentials.kafka_properties(_DECLARATIONS, stack)
    address = stack.temporal_address()
    return Settings(home=home, temporal_address=address, **values)


def given_database_url(name: str = credentials.OWNER) -> Secret | None:
    """The server that the environment names for a login, with its password; None where it names none.

    Args:
        name: "database" (which PG* variables may name, too), "writer_database", or "gateway_database".

    Raises:
        ConfigurationError: a setting is malformed, or a file cannot be read.
    """
    return credentials.given_database_url(_DECLARATIONS, name)


def kafka_properties() -> dict[str, str]:
    """The properties of Kafka's clients, read again.

    Raises:
        ConfigurationError: a file cannot be read, or a line is not name=value.
    """
    stack = LocalStack.read(default_home())
    return credentials.kafka_properties(_DECLARATIONS, stack)


def schema_registry_port() -> int | None:
    """The port of the local stack's schema registry; None: it does not run.

    Raises:
        ConfigurationError: it is no port.
    """
    if _DECLARATIONS["schema_registry_url"].given():
        return None
    setting = _DECLARATIONS["schema_registry_port"]
    return setting.parse(setting.given())


def temporal_namespace() -> str:
    """Freshet's namespace alone, before the addresses are known.

    Raises:
        ConfigurationError: it is malformed, or the Temporal profile cannot be used.
    """
    setting = _DECLARATIONS["temporal_namespace"]
    return setting.parse(setting.given() or profile_namespace() or setting.default)
