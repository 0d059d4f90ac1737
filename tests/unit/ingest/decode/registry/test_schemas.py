"""A registry that does not answer is waited for; one that refuses the login, or is none, is a fault of the settings."""

import base64
import threading
import time
from pathlib import Path

import pytest

from corpus.disclosure.secret import Secret
from corpus.errors import ConfigurationError, DependencyError
from ingest.decode.decoder import decode
from ingest.decode.fields import FieldError
from ingest.decode.registry import references, schemas
from ingest.decode.registry.schemas import RegistryAccess, SchemaRegistry, is_failing, use_registry
from ingest.stage import rows_of
from tests.support.decoding import changed
from tests.support.registered import framed, record, source
from tests.support.registry import RegistryServer

SCHEMA = {"type": "record", "name": "X", "fields": [{"name": "id", "type": "string"}]}
SPEC = source(mapping={"content": "id"})


def value_of(server: RegistryServer) -> bytes:
    return framed(server.add(SCHEMA), b"\x04d1")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_registry_that_is_down_is_no_dead_letter(server: RegistryServer, status: int) -> None:
    one = record(value_of(server))
    server.status = status
    for _ in range(2):
        with pytest.raises(DependencyError, match=f"HTTP {status}"):
            rows_of([one], SPEC, topic_id="t", now_ms=0)
    assert len(server.questions) == 1, "after a failure it is left alone for a while"
    assert is_failing()


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_refused_login_and_a_wrong_address_are_faults_of_the_settings(
    server: RegistryServer, status: int
) -> None:
    one = record(value_of(server))
    server.status = status
    with pytest.raises(ConfigurationError, match="FRESHET_SCHEMA_REGISTRY"):
        rows_of([one], SPEC, topic_id="t", now_ms=0)


def test_it_is_asked_again_after_a_pause(server: RegistryServer) -> None:
    seconds = 0.0
    registry = SchemaRegistry(RegistryAccess(url=server.url), clock=lambda: seconds)
    number = server.add(SCHEMA)
    server.status = 503
    with pytest.raises(DependencyError):
        registry.schema(number)
    server.status = 200
    with pytest.raises(DependencyError):
        registry.schema(number)
    seconds = schemas.PAUSE_SECONDS
    assert registry.schema(number).kind == "AVRO"
    assert not registry.failure
    registry.close()


def test_what_is_known_needs_no_registry(server: RegistryServer) -> None:
    one = record(value_of(server))
    assert changed(decode(one, SPEC)).document_id == "d1"
    server.status = 503
    assert changed(decode(one, SPEC)).document_id == "d1"
    assert len(server.questions) == 1


def test_an_unknown_id_is_a_dead_letter_for_a_while(
    server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.decode.registry.values.UNKNOWN_SECONDS", 0.0)
    [row] = rows_of([record(framed(1, b"\x04d1"))], SPEC, topic_id="t", now_ms=0)
    assert row["outcome"] == "dead_letter"
    assert row["detail"] == "the schema registry has no schema 1"
    server.add(SCHEMA)
    assert changed(decode(record(framed(1, b"\x04d1")), SPEC)).document_id == "d1"


def test_one_thread_waits_and_the_others_are_refused(
    server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "_TURN_SECONDS", 0.05)
    one = record(value_of(server))
    server.hold.clear()
    asking = threading.Thread(target=lambda: decode(one, SPEC))
    asking.start()
    try:
        _until_it_waits(one)
    finally:
        server.hold.set()
        asking.join(10)
    assert changed(decode(one, SPEC)).document_id == "d1"


def _until_it_waits(one: object) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            schemas.registry().schema(1)
        except DependencyError as error:
            assert "another thread" in str(error)
            return
    raise AssertionError("no thread waited")


def test_without_an_answer_it_ends_in_time(
    server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "ANSWER_SECONDS", 0.2)
    one = record(value_of(server))
    server.hold.clear()
    with pytest.raises(DependencyError, match="does not answer"):
        decode(one, SPEC)


def test_logins_are_read_again_from_their_file(server: RegistryServer, tmp_path: Path) -> None:
    server.authorization = "Basic " + base64.b64encode(b"freshet:new").decode()
    password = "freshet:old"
    access = RegistryAccess(url=server.url, login=Secret(lambda: password))
    seconds = 0.0
    registry = SchemaRegistry(access, clock=lambda: seconds)
    number = server.add(SCHEMA)
    with pytest.raises(ConfigurationError, match="refuses the login") as refusal:
        registry.schema(number)
    assert "old" not in str(refusal.value)
    password = "freshet:new"
    seconds += schemas.PAUSE_SECONDS
    assert registry.schema(number).kind == "AVRO"
    registry.close()


def test_a_token_is_sent(server: RegistryServer) -> None:
    server.authorization = "Bearer abc"
    registry = SchemaRegistry(RegistryAccess(url=server.url, token=Secret.of("abc")))
    assert registry.schema(server.add(SCHEMA)).kind == "AVRO"
    registry.close()


def test_a_file_that_is_no_certificate_is_named(server: RegistryServer, tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("nothing")
    registry = SchemaRegistry(RegistryAccess(url=server.url, ca=str(wrong)))
    with pytest.raises(ConfigurationError, match="FRESHET_SCHEMA_REGISTRY_CA"):
        registry.probe()


def test_without_a_registry_the_setting_is_named() -> None:
    use_registry(None)
    with pytest.raises(ConfigurationError, match="set FRESHET_SCHEMA_REGISTRY_URL"):
        decode(record(framed(1, b"")), SPEC)


@pytest.mark.parametrize("count", [references.MAX_REFERENCES + 1], ids=["too many references"])
def test_references_have_a_limit(server: RegistryServer, count: int) -> None:
    named = [(f"r{number}", 1) for number in range(count)]
    for name, version in named:
        server.versions[name, version] = server.add('"string"')
    number = server.add(SCHEMA, references=tuple(named))
    with pytest.raises(FieldError, match=f"schema {number} refers to more than"):
        schemas.registry().schema(number)


def test_references_in_a_circle_end(server: RegistryServer) -> None:
    server.versions["a", 1] = server.add(SCHEMA, references=(("b", 1),))
    server.versions["b", 1] = server.add(SCHEMA, references=(("a", 1),))
    stored = schemas.registry().schema(1)
    assert [name for name, _ in stored.references] == ["a", "b"]


@pytest.mark.parametrize("has_schema", [True, False])
def test_a_check_reads_a_schema_too(server: RegistryServer, has_schema: bool) -> None:
    if has_schema:
        server.add(SCHEMA)
    schemas.registry().check()
    assert "/schemas/ids/1" in server.questions
