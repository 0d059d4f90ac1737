"""The token of a call: a JSON Web Token (HS256) that is bound to team, endpoint, operation, request and time.

Any library for JWT makes one. Claims: `iss` the team, `aud` its Nexus endpoint, `sub` "SERVICE/OPERATION", `iat` and
`exp` in seconds since 1970, `req` the digest of the request. The header names the key by `kid`.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeGuard, cast

SERVICE = "freshet.corpus.v1"
"""The name of `CorpusService` on the wire."""

HEADER = "freshet-team"
"""Name of the header of a Nexus operation that holds the token."""

VALID_SECONDS = 120
"""Of a token, unless the team chooses another time: an attempt, and the pause of a server whose breaker is open."""

MAX_VALID_SECONDS = 600
"""No token is valid for longer."""

CANCEL_SECONDS = 31 * 86_400
"""For so long after it expired a token cancels the wait that it began: the server sends it again with the cancellation.

The longest wait takes 30 days.
"""

CLOCK_SECONDS = 30
"""By how much the clocks of a team and of Freshet may differ."""

_ALGORITHM = "HS256"
_MAX_CHARACTERS = 2_048  # all headers of an operation may have 4 kB


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a token is bound to."""

    service: str
    operation: str
    endpoint: str
    digest: str  # of the request


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token that was read, and not verified yet."""

    key_id: str
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def request_digest(request: Any) -> str:
    """SHA-256 (hex) of a request: JSON of the fields that differ from their defaults, keys sorted, ASCII, no blanks.

    A contract that has grown gives the same digest, since a new field has a default.
    """
    stated: dict[str, Any] = {}
    for field in fields(request):
        value = getattr(request, field.name)
        if isinstance(value, list):  # as it is once it has crossed Temporal
            value = tuple(cast("list[Any]", value))
        is_default = field.default is not MISSING and value == field.default
        if not is_default:
            stated[field.name] = value
    text = json.dumps(stated, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sign(
    call: Call,
    *,
    team: str,
    key_id: str,
    key: bytes,
    now: int,
    valid_seconds: int = VALID_SECONDS,
) -> str:
    """A token for one call.

    Args:
        call: what it is bound to.
        team: that calls.
        key_id: names the key.
        key: of the team.
        now: seconds since 1970.
        valid_seconds: at most MAX_VALID_SECONDS.
    """
    header = {"alg": _ALGORITHM, "typ": "JWT", "kid": key_id}
    claims = {
        "iss": team,
        "aud": call.endpoint,
        "sub": _subject(call),
        "iat": now,
        "exp": now + valid_seconds,
        "req": call.digest,
    }
    signed = f"{_encoded(header)}.{_encoded(claims)}"
    signature = _signature(key, signed.encode())
    return f"{signed}.{_base64(signature)}"


def read(text: str) -> Token | None:
    """A token from its text; None where it is none, or of another algorithm."""
    parts = text.split(".")
    if len(parts) != 3 or len(text) > _MAX_CHARACTERS:
        return None
    header = _decoded(parts[0])
    claims = _decoded(parts[1])
    signature = _bytes(parts[2])
    if header is None or claims is None or signature is None:
        return None
    if header.get("alg") != _ALGORITHM:
        return None
    signed = f"{parts[0]}.{parts[1]}"
    key_id = str(header.get("kid", ""))
    return Token(
        key_id=key_id, claims=claims, signed=signed.encode(), signature=signature
    )


def problem(
    token: Token, call: Call, *, team: str, keys: Mapping[str, bytes], now: float
) -> str | None:
    """Why a token does not open this call, in a few words for the audit log; None: it does."""
    signer = signer_problem(token, call, team=team, keys=keys)
    if signer is not None:
        return signer
    if token.claims.get("req") != call.digest:
        return "the token is of another request"
    return _time_problem(token.claims, now)


def cancel_problem(
    token: Token, call: Call, *, team: str, keys: Mapping[str, bytes], now: float
) -> str | None:
    """Why a token does not cancel an operation: as `problem`, but of any request, and for longer."""
    signer = signer_problem(token, call, team=team, keys=keys)
    if signer is not None:
        return signer
    return _time_problem(token.claims, now, CANCEL_SECONDS)


def signer_problem(
    token: Token, call: Call, *, team: str, keys: Mapping[str, bytes]
) -> str | None:
    """Why a token is not this team's for this operation, whatever its time and its request."""
    key = keys.get(token.key_id)
    if key is None:
        return "the token's key is not one of the team's"
    expected = _signature(key, token.signed)
    if not hmac.compare_digest(expected, token.signature):
        return "the token's signature is wrong"
    claims = token.claims
    if claims.get("iss") != team:
        return "the token is of another team"
    if claims.get("aud") != call.endpoint:
        return "the token is of another endpoint"
    if claims.get("sub") != _subject(call):
        return "the token is of another operation"
    return None


def _time_problem(
    claims: Mapping[str, Any], now: float, longer_seconds: int = 0
) -> str | None:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not _is_time(issued) or not _is_time(expires):
        return "the token has no time"
    if expires - issued > MAX_VALID_SECONDS:
        return f"the token is valid for more than {MAX_VALID_SECONDS} s"
    if issued > now + CLOCK_SECONDS:
        return "the token is of the future: a clock is wrong"
    if expires < now - CLOCK_SECONDS - longer_seconds:
        return "the token has expired"
    return None


def _is_time(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _subject(call: Call) -> str:
    return f"{call.service}/{call.operation}"


def _signature(key: bytes, signed: bytes) -> bytes:
    return hmac.new(key, signed, hashlib.sha256).digest()


def _encoded(part: Mapping[str, Any]) -> str:
    return _base64(json.dumps(part, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> dict[str, Any] | None:
    """The JSON object in a part of a token; None where it is none."""
    data = _bytes(text)
    try:
        part = json.loads(data or b"")
    except (ValueError, RecursionError):
        return None
    if not isinstance(part, dict):
        return None
    return cast("dict[str, Any]", part)


def _bytes(text: str) -> bytes | None:
    padding = "=" * (-len(text) % 4)
    try:
        return base64.b64decode(text + padding, altchars=b"-_", validate=True)
    except ValueError:
        return None
