"""Payloads that only a team and Freshet can read: AES-256-GCM, with a key that is made of one of the team's.

What a payload belongs to (team, endpoint, operation, sources, request or answer) is authenticated with it: it opens
nowhere else. The id of its key, and the sources, are in its metadata, in plain text.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from temporalio.api.common.v1 import Payload

from corpus.errors import ConfigurationError

ENCODING = b"binary/freshet-team"
"""Metadata `encoding` of such a payload."""

ANSWER, REQUEST, OWN = "answer", "request", "own"
"""What a payload is: an answer, a request, or what a team's workflows keep of both."""

_KEY_ID = "freshet-key"
_SOURCES = "freshet-sources"
_PURPOSE = b"freshet: payloads of a team, 1"
_KEY_BYTES = 32
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a payload belongs; it opens nowhere else."""

    team: str
    part: str  # ANSWER, REQUEST or OWN
    endpoint: str = ""
    operation: str = ""

    def __str__(self) -> str:
        if self.part == OWN:
            return f"a payload of team {self.team!r}"
        return (
            f"the {self.part} of {self.operation!r} of team {self.team!r} "
            f"at endpoint {self.endpoint!r}"
        )


def is_sealed(payload: Payload) -> bool:
    """Whether a payload says that it is one of a team."""
    return payload.metadata.get("encoding") == ENCODING


def key_id_of(payload: Payload) -> str:
    """The id of the key that a sealed payload names."""
    return payload.metadata.get(_KEY_ID, b"").decode(errors="replace")


def seal(
    payload: Payload, place: Place, *, key_id: str, key: bytes, sources: str = ""
) -> Payload:
    """Encrypt a payload for its place.

    Args:
        payload: any.
        place: where it will be opened.
        key_id: names the key.
        key: of the team, as its file has it.
        sources: that an answer is about, joined by commas; empty: every source that the team is granted.
    """
    metadata = {
        "encoding": ENCODING,
        _KEY_ID: key_id.encode(),
        _SOURCES: sources.encode(),
    }
    nonce = os.urandom(_NONCE_BYTES)
    bound = _bound(place, metadata)
    content = payload.SerializeToString()
    sealed = _cipher(key).encrypt(nonce, content, bound)
    return Payload(metadata=metadata, data=nonce + sealed)


def open_sealed(payload: Payload, place: Place, keys: Mapping[str, bytes]) -> Payload:
    """Decrypt a payload.

    Args:
        payload: a sealed one.
        place: where it was received.
        keys: of the team, by id.

    Raises:
        ConfigurationError: its key is not among these, or it was altered, or it belongs to another place.
    """
    key_id = key_id_of(payload)
    key = keys.get(key_id)
    if key is None:
        raise ConfigurationError(
            f"{place} is encrypted with key {key_id!r}, which is not in the team's key file"
        )
    nonce = payload.data[:_NONCE_BYTES]
    sealed = payload.data[_NONCE_BYTES:]
    bound = _bound(place, payload.metadata)
    try:
        content = _cipher(key).decrypt(nonce, sealed, bound)
    except (InvalidTag, ValueError) as error:  # ValueError: not even a whole nonce
        raise ConfigurationError(
            f"{place} does not decrypt with key {key_id!r}: it was altered, it belongs to another team, endpoint or "
            "operation, or the key is another one"
        ) from error
    return Payload.FromString(content)


def _cipher(key: bytes) -> AESGCM:
    """With a key of its own: what the team's key signs is no help against what it encrypts."""
    made = HKDF(SHA256(), _KEY_BYTES, salt=None, info=_PURPOSE).derive(key)
    return AESGCM(made)


def _bound(place: Place, metadata: Mapping[str, bytes]) -> bytes:
    """The place and the metadata, in one form only."""
    stated = {name: metadata[name].hex() for name in sorted(metadata)}
    return json.dumps([asdict(place), stated], sort_keys=True).encode()
