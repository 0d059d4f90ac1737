"""The receipt of an erasure: what was removed, what Freshet cannot reach, and a signature that anyone can check.

It is signed with Ed25519 (RFC 8032) over the JSON of all its other members, with sorted names and no spaces. It names
no document: it has the keyed hashes of their ids, so that who knows an id, and has the installation's database, can
tell whether it is among them.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from corpus.errors import ConfigurationError

FORMAT = "freshet.erasure/1"


def signed(content: Mapping[str, Any], signing_key: bytes) -> dict[str, Any]:
    """The content with format, public key and signature.

    Args:
        content: JSON values.
        signing_key: 32 bytes.
    """
    key = Ed25519PrivateKey.from_private_bytes(signing_key)
    public_key = _text(key.public_key().public_bytes_raw())
    receipt = {**content, "format": FORMAT, "public_key": public_key}
    signature = key.sign(_signed_bytes(receipt))
    return {**receipt, "signature": _text(signature)}


def public_key_of(signing_key: bytes) -> str:
    """The public key that receipts name, in base64."""
    key = Ed25519PrivateKey.from_private_bytes(signing_key)
    return _text(key.public_key().public_bytes_raw())


def read_receipt(text: str | bytes) -> dict[str, Any]:
    """A receipt from its JSON; its signature is not checked.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError("it is not JSON") from error
    if not isinstance(value, dict):
        raise ConfigurationError("it is not a JSON object")
    receipt = cast("dict[str, Any]", value)
    if receipt.get("format") != FORMAT:
        raise ConfigurationError(f"its format is not {FORMAT!r}")
    return receipt


def check_receipt(receipt: Mapping[str, Any], public_key: str) -> None:
    """Check that an installation has signed a receipt, and that it is as it was.

    Raises:
        ConfigurationError: another installation has signed it, or it was altered.
    """
    if receipt.get("public_key") != public_key:
        raise ConfigurationError("another installation has signed it, or nobody")
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key))
        signature = base64.b64decode(str(receipt.get("signature")), validate=True)
        key.verify(signature, _signed_bytes(receipt))
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise ConfigurationError(
            "it was altered: its signature is of other content"
        ) from error


def _signed_bytes(receipt: Mapping[str, Any]) -> bytes:
    content = {name: value for name, value in receipt.items() if name != "signature"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return text.encode()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
