"""The settings of the schema registry; `Settings` has them with all others."""

from dataclasses import dataclass
from typing import Annotated

from corpus.disclosure.secret import Secret
from workers.config import readers
from workers.config.addresses import LocalStack
from workers.config.replica import ReplicaSettings
from workers.config.setting import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings(ReplicaSettings):
    """Where the schema registry is, how to log in to it, and the one of the local stack.

    Classes with slots have one base, so those of the replica come with these.
    """

    schema_registry_url: Annotated[
        str,
        Setting(
            "schema registry that speaks Confluent's protocol, for the formats avro, protobuf and json_schema, and for "
            "debezium in one of them; several addresses of one registry are separated by commas; default: the local "
            "stack's, where it runs",
            read=readers.web_addresses,
            fallback=LocalStack.schema_registry_url,
        ),
    ]
    schema_registry_login: Annotated[
        Secret,
        Setting(
            "user:password of the schema registry",
            read=readers.login,
            secret=True,
            in_file=True,
        ),
    ]
    schema_registry_token: Annotated[
        Secret,
        Setting(
            "bearer token of the schema registry, in place of a login",
            secret=True,
            in_file=True,
        ),
    ]
    schema_registry_ca: Annotated[
        str,
        Setting(
            "file (PEM) of the authorities that sign the schema registry's certificate; default: the public ones",
            read=readers.absolute_path,
        ),
    ]
    schema_registry_certificate: Annotated[
        str,
        Setting(
            "file (PEM) of the certificate by which this client logs in to the schema registry, with its key",
            read=readers.absolute_path,
        ),
    ]
    schema_registry_port: Annotated[
        int | None,
        Setting(
            "port of the local stack's schema registry (Apicurio); empty: it does not run",
            read=readers.port,
        ),
    ]
