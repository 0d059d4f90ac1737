"""What a schema of a registry refers to, and what that refers to, those first that others need."""

from collections.abc import Callable
from typing import NoReturn

from confluent_kafka.schema_registry import Schema

from ingest.decode.registry.framing import SchemaRef, unusable

MAX_SCHEMA_BYTES = 1_000_000  # with all that it refers to
MAX_REFERENCES = 100


class References:
    """What a schema refers to, and what that refers to, within limits.

    Args:
        referenced: a schema by its subject and version; None: the registry has none.
        reference: the schema that refers to them.
    """

    def __init__(
        self,
        referenced: Callable[[str, int], Schema | None],
        reference: SchemaRef,
    ) -> None:
        self._referenced = referenced
        self._reference = reference
        self._open: set[str] = set()
        self._bytes = 0
        self.found: dict[str, str] = {}

    def add(
        self,
        schema: Schema,
    ) -> None:
        """Read what a schema refers to, those first that others need.

        Raises:
            FieldError: there is no such schema, or there is too much.
        """
        text = schema.schema_str or ""
        content = text.encode("utf-8", "replace")
        self._bytes += len(content)
        if self._bytes > MAX_SCHEMA_BYTES:
            self._refuse(f"is larger than {MAX_SCHEMA_BYTES:,} bytes")
        for one in schema.references or ():
            name = one.name or ""
            if name not in self._open:
                self._open.add(name)
                self._add_referenced(name, one.subject or "", one.version or 0)

    def _add_referenced(
        self,
        name: str,
        subject: str,
        version: int,
    ) -> None:
        if len(self._open) > MAX_REFERENCES:
            self._refuse(f"refers to more than {MAX_REFERENCES} others")
        referenced = self._referenced(subject, version)
        if referenced is None:
            self._refuse("refers to one that the registry does not have")
        self.add(referenced)
        self.found[name] = referenced.schema_str or ""

    def _refuse(
        self,
        why: str,
    ) -> NoReturn:
        raise unusable(f"schema {self._reference} {why}")
