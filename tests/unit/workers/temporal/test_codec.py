"""Payload encryption: nothing readable leaves, keys rotate, a wrong or altered one is told apart."""

import base64
import os
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes

from corpus.errors import ConfigurationError
from workers.config.settings import load
from workers.temporal.client import data_converter
from workers.temporal.codec import EncryptionCodec

OLD, NEW = os.urandom(32), os.urandom(32)
SECRET = Payload(
    metadata={"encoding": b"json/plain", "note": b"also secret"}, data=b'"the levee breaks at noon"'
)


def line(name: str, key: bytes) -> str:
    return f"{name}={base64.b64encode(key).decode()}\n"


async def test_comes_back_as_it_was() -> None:
    codec = EncryptionCodec({"new": NEW})
    encrypted = await codec.encode([SECRET, SECRET])
    assert await codec.decode(encrypted) == [SECRET, SECRET]


async def test_nothing_readable_and_nothing_repeated() -> None:
    first, second = await EncryptionCodec({"new": NEW}).encode([SECRET, SECRET])
    assert first.data != second.data  # a nonce of its own each
    for payload in (first, second):
        assert b"levee" not in payload.SerializeToString()
        assert b"also secret" not in payload.SerializeToString()
        assert dict(payload.metadata) == {"encoding": b"binary/encrypted", "key-id": b"new"}


async def test_rotation(tmp_path: Path) -> None:
    """1. the new key is put first; 2. what the old one wrote stays readable; 3. without the old one it is not, and says so."""
    written = await EncryptionCodec({"old": OLD}).encode([SECRET])
    file = tmp_path / "keys"
    file.write_text("# newest first\n\n" + line("new", NEW) + line("old", OLD))
    both = EncryptionCodec.from_file(str(file))
    assert await both.decode(written) == [SECRET]
    assert (await both.encode([SECRET]))[0].metadata["key-id"] == b"new"
    with pytest.raises(ConfigurationError, match="key 'old', which is not in the key file"):
        await EncryptionCodec({"new": NEW}).decode(written)


async def test_another_key_of_the_same_name() -> None:
    written = await EncryptionCodec({"k": OLD}).encode([SECRET])
    with pytest.raises(ConfigurationError, match="does not decrypt with key 'k'"):
        await EncryptionCodec({"k": NEW}).decode(written)


@pytest.mark.parametrize("place", [0, 12, -1], ids=["nonce", "text", "tag"])
async def test_an_altered_payload_is_refused(place: int) -> None:
    codec = EncryptionCodec({"new": NEW})
    (payload,) = await codec.encode([SECRET])
    data = bytearray(payload.data)
    data[place] ^= 1
    with pytest.raises(ConfigurationError, match="does not decrypt"):
        await codec.decode([Payload(metadata=payload.metadata, data=bytes(data))])


async def test_the_key_id_is_authenticated() -> None:
    """The same key under two names: the name that stands there cannot be exchanged."""
    codec = EncryptionCodec({"a": NEW, "b": NEW})
    (payload,) = await codec.encode([SECRET])
    payload.metadata["key-id"] = b"b"
    with pytest.raises(ConfigurationError, match="does not decrypt"):
        await codec.decode([payload])


async def test_plain_payloads_pass() -> None:
    """From before encryption, and of other teams."""
    assert await EncryptionCodec({"new": NEW}).decode([SECRET]) == [SECRET]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no payload key"),
        ("# only a comment\n", "there is no payload key"),
        ("new\n", "keys:1: expected id=base64 of 32 bytes"),
        ("=AAAA\n", "keys:1: expected id=base64 of 32 bytes"),
        ("new=not base64\n", "keys:1: expected"),
        (line("good", NEW) + line("short", NEW[:16]), "keys:2: expected"),
        (line("same", NEW) + line("same", OLD), "keys:2: key 'same' stands there twice"),
    ],
)
def test_a_wrong_key_file_names_the_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        EncryptionCodec.from_file(str(file))


def test_no_key_stands_in_an_error(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(line("short", NEW[:16]))
    with pytest.raises(ConfigurationError) as caught:
        EncryptionCodec.from_file(str(file))
    assert base64.b64encode(NEW[:16]).decode() not in str(caught.value)


async def test_the_client_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(line("new", NEW))
    for name in ("FRESHET_DATABASE_URL", "FRESHET_KAFKA_BOOTSTRAP", "TEMPORAL_ADDRESS"):
        monkeypatch.setenv(name, "host=nowhere")
    assert data_converter(load(tmp_path)) is DataConverter.default
    monkeypatch.setenv("FRESHET_PAYLOAD_KEYS", str(file))
    converter = data_converter(load(tmp_path))
    assert (
        converter.failure_converter_class is DefaultFailureConverterWithEncodedAttributes
    )  # messages of errors too
    (payload,) = await converter.encode(["the levee breaks at noon"])
    assert payload.metadata["key-id"] == b"new"
    assert await converter.decode([payload]) == ["the levee breaks at noon"]
