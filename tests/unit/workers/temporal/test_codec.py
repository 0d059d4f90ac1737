"""Payload encryption: nothing readable leaves, keys rotate, a wrong or altered one is told apart."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from corpus.errors import ConfigurationError
from workers.config.settings import load
from workers.temporal.client import data_converter
from workers.temporal.codec import EncryptionCodec
from workers.temporal.failures import EncryptedFailureConverter

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
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
    """A key is rotated in three steps.

    1. The new key is put first. 2. What the old key wrote stays readable. 3. Without the old key it is not readable,
    and the error shows why.
    """
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
        ("new\n", "line 1: expected id=base64 of 32 bytes"),
        ("=AAAA\n", "line 1: expected id=base64 of 32 bytes"),
        ("new=not base64\n", "line 1: expected"),
        ("new=" + "A" * 44 + "\n", "line 1: expected"),
        (line("good", NEW) + line("short", NEW[:16]), "line 2: expected"),
        (line("good", NEW) + line("long", NEW + b"x"), "line 2: expected"),
        (line("same", NEW) + line("same", OLD), "line 2: key 'same' appears twice"),
    ],
)
def test_a_wrong_key_file_names_the_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=f"^FRESHET_PAYLOAD_KEYS='.*keys'.*{says}"):
        EncryptionCodec.from_file(str(file))


@pytest.mark.parametrize(
    "make", [Path.mkdir, lambda path: path.write_bytes(b"\xff"), lambda _: None]
)
def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "keys")
    with pytest.raises(ConfigurationError, match=r"^FRESHET_PAYLOAD_KEYS='.*keys' cannot be read"):
        EncryptionCodec.from_file(str(tmp_path / "keys"))


async def test_key_files_of_other_editors_are_read(tmp_path: Path) -> None:
    written = await EncryptionCodec({"new": NEW}).encode([SECRET])
    file = tmp_path / "keys"
    file.write_bytes(b"\xef\xbb\xbf# keys\r\n  # newest first\r\n" + line("new", NEW).encode())
    assert await EncryptionCodec.from_file(str(file)).decode(written) == [SECRET]


DAMAGE: dict[str, Callable[[Payload], None]] = {
    "empty": lambda payload: setattr(payload, "data", b""),
    "half a nonce": lambda payload: setattr(payload, "data", payload.data[:6]),
    "only a nonce": lambda payload: setattr(payload, "data", payload.data[:12]),
    "cut": lambda payload: setattr(payload, "data", payload.data[:-1]),
    "longer": lambda payload: setattr(payload, "data", payload.data + b"\x00"),
    "twice": lambda payload: setattr(payload, "data", payload.data * 2),
    "no key id": lambda payload: payload.metadata.pop("key-id"),
    "empty key id": lambda payload: payload.metadata.update({"key-id": b""}),
    "key id that is no text": lambda payload: payload.metadata.update({"key-id": b"\xff\x00"}),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_payload_is_one_clear_error(damage: str) -> None:
    codec = EncryptionCodec({"new": NEW})
    (payload,) = await codec.encode([SECRET])
    DAMAGE[damage](payload)
    with pytest.raises(ConfigurationError, match="a payload "):
        await codec.decode([payload])


@given(st.binary(max_size=64), st.sampled_from([b"new", b"", b"other", b"\xff"]))
def test_any_bytes_are_refused(data: bytes, key_id: bytes) -> None:
    """No bytes that another program made are taken for a payload of ours."""
    payload = Payload(metadata={"encoding": b"binary/encrypted", "key-id": key_id}, data=data)
    with pytest.raises(ConfigurationError, match="a payload "):
        EncryptionCodec({"new": NEW})._decrypt(payload)


@given(
    st.binary(max_size=200), st.dictionaries(st.text(max_size=5), st.binary(max_size=9), max_size=3)
)
def test_any_payload_comes_back(data: bytes, metadata: dict[str, bytes]) -> None:
    codec = EncryptionCodec({"new": NEW})
    payload = Payload(metadata=metadata, data=data)
    assert codec._decrypt(codec._encrypt(payload)) == payload


def test_no_key_is_in_an_error(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(line("short", NEW[:16]))
    with pytest.raises(ConfigurationError) as caught:
        EncryptionCodec.from_file(str(file))
    assert base64.b64encode(NEW[:16]).decode() not in str(caught.value)


async def test_the_client_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(line("new", NEW))
    monkeypatch.setenv("FRESHET_DATABASE_URL", "host=nowhere")
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "nowhere:9092")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "nowhere:7233")
    assert data_converter(load(tmp_path)).payload_codec is None
    monkeypatch.setenv("FRESHET_PAYLOAD_KEYS", str(file))
    converter = data_converter(load(tmp_path))
    # Messages of errors, too.
    assert converter.failure_converter_class is EncryptedFailureConverter
    (payload,) = await converter.encode(["the levee breaks at noon"])
    assert payload.metadata["key-id"] == b"new"
    assert await converter.decode([payload]) == ["the levee breaks at noon"]


async def test_keys_are_replaced_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(line("old", OLD))
    codec = EncryptionCodec.from_file(str(file))
    (before,) = await codec.encode([SECRET])
    file.write_text(line("new", NEW) + line("old", OLD))
    (after,) = await codec.encode([SECRET])
    assert (before.metadata["key-id"], after.metadata["key-id"]) == (b"old", b"new")
    file.write_text("nonsense")  # as while it is written
    assert await codec.decode([before, after]) == [SECRET, SECRET]
