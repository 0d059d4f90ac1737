"""The schemas of a registry, by Confluent's client. A registry that does not answer is waited for by the caller.

A micro-batch is staged by one of few threads, so no thread waits here for long: one asks at a time, and after a failure
the others are refused with its reason until a pause is over. The caller tries again, and other sources continue.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from corpus.disclosure.error_text import service_text
from corpus.disclosure.secret import Secret
from corpus.errors import ConfigurationError, DependencyError, FreshetError
from ingest.decode.fields import FieldError
from ingest.decode.registry.bounds import Bounds, TooLargeError, bind
from ingest.decode.registry.framing import SchemaRef, unusable
from ingest.decode.registry.references import MAX_SCHEMA_BYTES, References

ANSWER_SECONDS = 5.0
# After a failure the registry is not asked for so long.
PAUSE_SECONDS = 3.0
# A schema that is not known is asked for again after this time: it may have been registered since.
UNKNOWN_SECONDS = 30.0
# JSON writes a character of a schema as six bytes at most.
MAX_ANSWER_BYTES = 6 * MAX_SCHEMA_BYTES + 100_000
_TURN_SECONDS = 1.0
_NO_LOGIN = Secret.of("")
_UNAUTHORIZED = (401, 403)
_UNKNOWN_CODES = (40401, 40402, 40403)
_NOT_FOUND = (404, 422)
_BUSY = (408, 425, 429)


class _TooLargeAnswerError(DependencyError):
    """An answer has more bytes than a schema may have."""


class StoredSchema(NamedTuple):
    """A schema as the registry has it.

    Attributes:
        kind: "AVRO", "PROTOBUF" or "JSON".
        text: of the schema.
        references: name and text of each schema that it refers to, those that others need first.
    """

    kind: str
    text: str
    references: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAccess:
    """Where a registry is, and how to log in to it."""

    url: str
    # "user:password"; empty: none.
    login: Secret = _NO_LOGIN
    # Of a bearer; empty: none.
    token: Secret = _NO_LOGIN
    # Files in PEM: of the authorities that sign the registry's certificate, and of the client's with its key.
    ca: str = ""
    certificate: str = ""


class SchemaRegistry:
    """Reads schemas; for threads.

    Args:
        access: where it is.
        clock: seconds, which only grow.
    """

    def __init__(
        self,
        access: RegistryAccess,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = access
        self._clock = clock
        self._turn = threading.Lock()
        self._client: SchemaRegistryClient | None = None
        self._failure: FreshetError | None = None
        self._asked_again_at = 0.0

    @property
    def failure(self) -> str:
        """Why no schema can be read now; empty where the last answer was one."""
        return "" if self._failure is None else str(self._failure)

    def schema(
        self,
        reference: SchemaRef,
    ) -> StoredSchema:
        """The schema of this name, with all that it refers to.

        Raises:
            FieldError: there is none, or it is too large.
            ConfigurationError: the registry refuses the login, or the address is no registry's.
            DependencyError: it does not answer.
        """
        if not self._turn.acquire(timeout=_TURN_SECONDS):
            raise DependencyError(f"{self._name}: another thread waits for its answer")
        try:
            if self._failure is not None and self._clock() < self._asked_again_at:
                raise self._failure
            return self._ask(reference)
        finally:
            self._turn.release()

    def probe(self) -> None:
        """Ask which kinds of schemas it has, as a check of address and login.

        Raises:
            ConfigurationError: as `schema`.
            DependencyError: as `schema`.
        """
        with self._turn:
            self._check_address()

    def check(self) -> None:
        """As `probe`, and read a schema: any login may ask for kinds. That the registry has none is no fault.

        Raises:
            ConfigurationError: as `schema`.
            DependencyError: as `schema`.
        """
        self.probe()
        with suppress(FieldError):
            self.schema(1)

    def close(self) -> None:
        """End its connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _ask(
        self,
        reference: SchemaRef,
    ) -> StoredSchema:
        try:
            return self._read(reference)
        except _TooLargeAnswerError:
            # A registry may have a schema that is too large; what streams whatever it is asked is none.
            self._check_address()
            detail = f"schema {reference} is larger than {MAX_SCHEMA_BYTES:,} bytes"
            raise unusable(detail) from None

    def _read(
        self,
        reference: SchemaRef,
    ) -> StoredSchema:
        schema = self._answer(lambda client: _read(client, reference))
        if schema is None:
            # An address without a registry behind it knows no schema either.
            self._check_address()
            raise unusable(f"the schema registry has no schema {reference}")
        references = References(self.referenced, reference)
        references.add(schema)
        return StoredSchema(
            kind=schema.schema_type or "AVRO",
            text=schema.schema_str or "",
            references=tuple(references.found.items()),
        )

    def referenced(
        self,
        subject: str,
        version: int,
    ) -> Schema | None:
        """A schema by its subject and version, for one that refers to it; None: there is none.

        Raises:
            ConfigurationError: as `schema`.
            DependencyError: as `schema`.
        """
        return self._answer(lambda client: _read_version(client, subject, version))

    def _check_address(self) -> None:
        if self._answer(lambda client: client.get_schema_types()) is None:
            raise self._failed(self._no_registry("404"))

    def _answer(
        self,
        ask: Callable[[SchemaRegistryClient], Any],
    ) -> Any:
        """The answer to a question; None: it has none."""
        try:
            answer = ask(self._connected())
        except SchemaRegistryError as error:
            if _is_unknown(error):
                self._failure = None
                return None
            raise self._failed(self._refusal(error)) from None
        except FreshetError as error:
            raise self._failed(error) from None
        except TooLargeError:
            failure = _TooLargeAnswerError(
                f"{self._name} sends more than {MAX_ANSWER_BYTES:,} bytes, or what is compressed"
            )
            raise self._failed(failure) from None
        except Exception as error:
            words = service_text(error)
            failure = DependencyError(f"{self._name} does not answer: {words}")
            raise self._failed(failure) from None
        self._failure = None
        return answer

    def _failed(
        self,
        failure: FreshetError,
    ) -> FreshetError:
        # The next client reads passwords and certificates again.
        self.close()
        self._failure = failure
        self._asked_again_at = self._clock() + PAUSE_SECONDS
        return failure

    def _refusal(
        self,
        error: SchemaRegistryError,
    ) -> FreshetError:
        status = error.http_status_code
        if status in _UNAUTHORIZED:
            return ConfigurationError(
                f"{self._name} refuses the login (HTTP {status}); set FRESHET_SCHEMA_REGISTRY_LOGIN or "
                "FRESHET_SCHEMA_REGISTRY_TOKEN, and give that login the right to read schemas"
            )
        if status >= 500 or status in _BUSY:
            return DependencyError(f"{self._name} answers with HTTP {status}")
        return self._no_registry(str(status))

    def _no_registry(
        self,
        status: str,
    ) -> ConfigurationError:
        return ConfigurationError(
            f"{self._name} answers with HTTP {status}, as no schema registry does; "
            "check FRESHET_SCHEMA_REGISTRY_URL, which ends before /schemas"
        )

    @property
    def _name(self) -> str:
        address = urlsplit(self._access.url.split(",")[0])
        return f"the schema registry {address.scheme}://{address.netloc}"

    def _connected(self) -> SchemaRegistryClient:
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _connect(self) -> SchemaRegistryClient:
        access = self._access
        try:
            client = SchemaRegistryClient(_properties(access))
            # It has no way of its own to bound an answer.
            session: Any = client._rest_client.session  # pyright: ignore[reportPrivateUsage]
            bind(session, Bounds(MAX_ANSWER_BYTES, ANSWER_SECONDS))
            return client
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{self._name}: its settings cannot be used ({service_text(error)}); "
                "check the files of FRESHET_SCHEMA_REGISTRY_CA and FRESHET_SCHEMA_REGISTRY_CERTIFICATE"
            ) from error


def _is_unknown(error: SchemaRegistryError) -> bool:
    status = error.http_status_code
    return status in _NOT_FOUND or error.error_code in _UNKNOWN_CODES


def _read(
    client: SchemaRegistryClient,
    reference: SchemaRef,
) -> Schema:
    if isinstance(reference, int):
        return client.get_schema(reference)
    return client.get_schema_by_guid(reference)


def _read_version(
    client: SchemaRegistryClient,
    subject: str,
    version: int,
) -> Schema:
    registered = client.get_version(subject, version, deleted=True)
    return registered.schema


def _properties(access: RegistryAccess) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "url": access.url,
        "timeout": ANSWER_SECONDS,
        # The caller tries again, and says so.
        "max.retries": 0,
    }
    login, token = access.login.reveal(), access.token.reveal()
    if login:
        properties["basic.auth.user.info"] = login
    if token:
        properties |= {
            "bearer.auth.credentials.source": "STATIC_TOKEN",
            "bearer.auth.token": token,
            "bearer.auth.logical.cluster": "none",
        }
    files = {
        "ssl.ca.location": access.ca,
        "ssl.certificate.location": access.certificate,
    }
    return properties | {name: path for name, path in files.items() if path}


# ── the registry of this process ────────────────────────────────────────────────────────────────────────────────────

_current: SchemaRegistry | None = None


def use_registry(access: RegistryAccess | None) -> SchemaRegistry | None:
    """Let this process read schemas from a registry; None: from none."""
    global _current
    if _current is not None:
        _current.close()
    _current = None if access is None else SchemaRegistry(access)
    return _current


def is_failing() -> bool:
    """Whether the last question to the registry of this process had no answer."""
    return _current is not None and bool(_current.failure)


def registry() -> SchemaRegistry:
    """The registry of this process.

    Raises:
        ConfigurationError: no setting names one.
    """
    if _current is None:
        raise ConfigurationError(
            "no schema registry is set, and a source's format needs one; set FRESHET_SCHEMA_REGISTRY_URL"
        )
    return _current
