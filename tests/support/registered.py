"""Records whose schemas are in a registry."""

import struct
from functools import cache
from typing import Any, cast

from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool

from corpus.source import SourceSpec
from corpus.specs.formats import Format, MappingSpec
from ingest.decode.registry.protoc import ROOT, compiled_files
from ingest.event import KafkaRecord


def source(format_name: str = "avro", **changes: Any) -> SourceSpec:
    """A source whose mapping reads `id`, `body` and every other field."""
    mapping: dict[str, Any] = {"id": "id", "content": "body?", "metadata": ("*",)}
    mapping |= changes.pop("mapping", {})
    return SourceSpec(
        source="docs",
        topics=("docs",),
        format=cast("Format", format_name),
        mapping=MappingSpec(**mapping),
        **changes,
    )


def record(
    value: bytes | None,
    key: bytes | None = b"key",
    headers: tuple[tuple[str, bytes | None], ...] = (),
) -> KafkaRecord:
    """A record of the source's topic."""
    return KafkaRecord(
        topic="docs",
        partition=0,
        offset=7,
        timestamp_ms=1_700_000_000_000,
        key=key,
        value=value,
        headers=headers,
    )


@cache
def protobuf_message(text: str) -> Any:
    """The class of the only message of a schema."""
    pool = DescriptorPool()
    for file in compiled_files(text, ()):
        pool.Add(file)
    [descriptor] = pool.FindFileByName(ROOT).message_types_by_name.values()
    return message_factory.GetMessageClass(descriptor)


def framed(number: int, payload: bytes) -> bytes:
    """A payload behind the magic byte and the id of its schema."""
    return struct.pack(">bI", 0, number) + payload
