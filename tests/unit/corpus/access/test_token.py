"""Tokens of calls: each opens the one call that it was made for, and nothing else, for a short time."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.access import token
from corpus.access.token import Call, problem, read, request_digest, sign
from corpus.service import AwaitFreshRequest, DescribeRequest, SearchRequest

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NOW = 1_764_161_411
CALL = Call(
    service="freshet.corpus.v1",
    operation="search",
    endpoint="corpus-billing",
    digest=request_digest(SearchRequest(query="wheels")),
)


def signed(call: Call = CALL, **changed: Any) -> str:
    fields = {"team": "billing", "key_id": "k1", "key": KEY, "now": NOW}
    return sign(call, **(fields | changed))


def why_not(text: str, call: Call = CALL, *, now: float = NOW, keys: Any = None) -> str | None:
    parsed = read(text)
    if parsed is None:
        return "unreadable"
    return problem(parsed, call, team="billing", keys=keys or {"k1": KEY}, now=now)


def test_a_token_opens_its_call_until_it_expires() -> None:
    text = signed()
    assert why_not(text) is None
    last = NOW + token.VALID_SECONDS + token.CLOCK_SECONDS
    assert why_not(text, now=last) is None
    assert why_not(text, now=last + 1) == "the token has expired"
    assert why_not(text, now=NOW - token.CLOCK_SECONDS) is None
    assert "of the future" in str(why_not(text, now=NOW - token.CLOCK_SECONDS - 1))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"operation": "describe_source"}, "of another operation"),
        ({"service": "freshet.corpus.v2"}, "of another operation"),
        ({"endpoint": "corpus-legal"}, "of another endpoint"),
        ({"digest": request_digest(SearchRequest(query="wages"))}, "of another request"),
    ],
)
def test_a_token_opens_no_other_call(changed: dict[str, str], why: str) -> None:
    assert why in str(why_not(signed(), replace(CALL, **changed)))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"team": "legal"}, "of another team"),
        ({"key": OTHER_KEY}, "signature is wrong"),
        ({"key_id": "k0"}, "key is not one of the team's"),
        ({"valid_seconds": token.MAX_VALID_SECONDS + 1}, "valid for more than 600 s"),
    ],
)
def test_a_forged_token_opens_nothing(changed: dict[str, Any], why: str) -> None:
    assert why in str(why_not(signed(**changed)))


def test_a_key_that_is_being_replaced_opens_still() -> None:
    keys = {"k2": OTHER_KEY, "k1": KEY}
    assert why_not(signed(), keys=keys) is None
    assert why_not(signed(key_id="k2", key=OTHER_KEY), keys=keys) is None


@pytest.mark.parametrize("algorithm", ["none", "HS512", "RS256", None])
def test_another_algorithm_is_no_token(algorithm: str | None) -> None:
    _, claims, signature = signed().split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "k1"}).encode())
    assert read(f"{header.decode().rstrip('=')}.{claims}.{signature}") is None


@pytest.mark.parametrize(
    "text",
    ["", "a.b.c", "..", "a.b", "é.é.é", "W10.W10.W10", "x" * 3_000, signed()[:-2], signed() + "."],
)
def test_what_is_no_token_opens_nothing(text: str) -> None:
    assert why_not(text) is not None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_token_of_which_a_character_is_changed_opens_nothing(place: int, step: int) -> None:
    text = signed()
    place %= len(text)
    other = chr((ord(text[place]) + step) % 256)
    changed = text[:place] + other + text[place + 1 :]
    parsed = read(changed)
    if parsed is None or parsed == read(text):  # the last character has bits that mean nothing
        return
    assert why_not(changed) is not None


def test_any_library_for_jwt_makes_the_same_token() -> None:
    """By RFC 7515, from the claims alone."""

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = {
        "iss": "billing",
        "aud": "corpus-billing",
        "sub": "freshet.corpus.v1/search",
        "iat": NOW,
        "exp": NOW + 60,
        "req": hashlib.sha256(b'{"query":"wheels"}').hexdigest(),
    }
    content = f"{part({'kid': 'k1', 'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    mac = hmac.new(KEY, content.encode(), hashlib.sha256).digest()
    text = f"{content}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    assert why_not(text) is None


def test_a_digest_is_the_same_once_the_request_has_crossed_temporal() -> None:
    asked: Any = SearchRequest(query="é", sources=["b"], groups=[])  # type: ignore[arg-type]
    assert request_digest(asked) == request_digest(SearchRequest(query="é", sources=("b",)))


def test_a_digest_says_every_field_that_was_set() -> None:
    requests = [
        SearchRequest(query="a"),
        SearchRequest(query="a", k=11),
        SearchRequest(query="a", groups=("staff",)),
        SearchRequest(query="a", sources=("staff",)),
        DescribeRequest(source="a"),
        AwaitFreshRequest(source="a", batch=1),
        AwaitFreshRequest(source="a", batch=2),
    ]
    assert len({request_digest(request) for request in requests}) == len(requests)


def test_a_contract_that_has_grown_gives_the_same_digest() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Older:
        query: str

    assert request_digest(Older(query="a")) == request_digest(SearchRequest(query="a"))
