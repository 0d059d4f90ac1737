"""An audit of a source whose keys are written by a schema: they name the documents that their records name."""

from collections.abc import Iterator
from typing import Any

import pytest

from corpus.specs.formats import MappingSpec
from ingest.decode.registry.schemas import RegistryAccess, use_registry
from ingest.event import KafkaRecord
from tests.support.auditing import Auditor, KeptLog
from tests.support.pipeline import NOW_MS, Pipeline
from tests.support.registered import framed
from tests.support.registry import RegistryServer, registry_server

KEY = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "string"}]}
VALUE = {
    "type": "record",
    "name": "Doc",
    "fields": [{"name": "id", "type": "string"}, {"name": "body", "type": "string"}],
}


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with registry_server() as running:
        use_registry(RegistryAccess(url=running.url))
        yield running
        use_registry(None)


@pytest.fixture(params=["id", None], ids=["id of the value", "id of the key"])
def auditor(request: pytest.FixtureRequest, pipeline: Pipeline) -> Auditor:
    spec: dict[str, Any] = {"format": "avro"}
    spec["mapping"] = MappingSpec(id=request.param, content="body")
    pipeline.spec = type(pipeline.spec)(source="s", topics=("s",), **spec)
    pipeline.configure()
    return Auditor(pipeline, KeptLog(pipeline))


def text(words: str) -> bytes:
    """A string, as Avro writes it."""
    written = words.encode()
    return bytes([2 * len(written)]) + written


def test_keys_in_avro_are_the_names_of_their_records(
    auditor: Auditor, server: RegistryServer
) -> None:
    key, value = server.add(KEY), server.add(VALUE)
    records = [
        KafkaRecord(
            topic="",
            partition=0,
            offset=0,
            timestamp_ms=NOW_MS,
            key=framed(key, text(name)),
            value=framed(value, text(name) + text(f"The gauge {name} of the weir.")),
        )
        for name in ("gone", "a", "b")
    ]
    auditor.pipeline.ingest(*records)
    assert sorted(auditor.pipeline.visible()) == ["a", "b", "gone"]
    # As the newest record of each key is kept, a document without one was deleted.
    auditor.log.compacted = {"s"}
    auditor.log.records[0].pop(0)
    result = auditor.run()
    assert result.counts.get("other_keys", 0) == 0
    assert set(auditor.found(result)) == {("extra", "gone")}
