"""Which team claims a call: by its task queue, its namespace as the server says it, and its token."""

from typing import Any

import pytest

from corpus.access.admission import Arrival, KnownTeam, caller_namespaces, refusal
from corpus.access.keys import add_key, key_file, read_keys
from corpus.access.team import READING, Right, TeamSpec, team_queue
from corpus.access.token import Call, sign
from corpus.answer.requests import MAX_TIMEOUT_SECONDS
from corpus.errors import ConfigurationError, UnreadableSpecError

KEY = b"k" * 32
NOW = 1_764_161_411
SPEC = TeamSpec(team="billing", endpoint="corpus-billing", namespace="billing", sources=("a",))
TEAM = KnownTeam(spec=SPEC, keys={"k1": KEY})
LINK = "temporal:///namespaces/{}/workflows/w/r/history?eventID=5&eventType=NexusOperationScheduled"


def arrival(**changed: Any) -> Arrival:
    call = Call(service="s", operation="o", endpoint="corpus-billing", digest="d")
    text = sign(call, team="billing", key_id="k1", key=KEY, now=NOW)
    fields = {
        "service": "s",
        "operation": "o",
        "token": text,
        "namespaces": frozenset({"billing"}),
        "digest": "d",
    }
    return Arrival(**(fields | changed))


def test_the_team_of_the_queue_claims_its_call() -> None:
    assert refusal(arrival(), TEAM, NOW) is None
    assert refusal(arrival(namespaces=frozenset()), TEAM, NOW) is None  # the server names none


@pytest.mark.parametrize(
    ("changed", "team", "why"),
    [
        ({}, None, "the endpoint is no team's"),
        ({"namespaces": frozenset({"stranger"})}, TEAM, "namespace 'stranger' is not the team's"),
        ({"namespaces": frozenset({"billing", "x"})}, TEAM, "namespace 'x' is not the team's"),
        ({"token": ""}, TEAM, "there is no token"),
        ({"token": "a.b.c"}, TEAM, "the token cannot be read"),
        ({"operation": "other"}, TEAM, "the token is of another operation"),
        ({}, KnownTeam(spec=SPEC, keys={}), "the token's key is not one of the team's"),
    ],
)
def test_no_other_call_is_claimed(
    changed: dict[str, Any], team: KnownTeam | None, why: str
) -> None:
    assert refusal(arrival(**changed), team, NOW) == why


def test_a_cancellation_comes_as_long_as_a_wait_may_take_with_the_token_of_its_call() -> None:
    longest = NOW + MAX_TIMEOUT_SECONDS
    assert refusal(arrival(digest=None), TEAM, longest) is None
    assert refusal(arrival(digest=None, token=""), TEAM, longest) == "there is no token"
    later = longest + 2 * 86_400
    assert refusal(arrival(digest=None), TEAM, later) == "the token has expired"
    earlier = NOW - 3_600
    assert "of the future" in (refusal(arrival(digest=None), TEAM, earlier) or "")


def test_the_namespace_is_read_from_the_links_of_the_server() -> None:
    assert caller_namespaces([LINK.format("a%20b"), "https://x/namespaces", "", "::"]) == {"a b"}


def test_a_link_that_no_server_writes_is_nobodys_and_no_error() -> None:
    names = caller_namespaces(["temporal://[/namespaces/billing/x"])
    assert refusal(arrival(namespaces=names), TEAM, NOW) == "namespace '?' is not the team's"


def test_keys_are_not_shown() -> None:
    assert "keys" not in repr(TEAM)


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_key_comes_first_and_the_others_stay(tmp_path: Any) -> None:
    path = key_file(tmp_path / "keys", "billing")
    ids = [add_key(path) for _ in range(3)]
    keys = read_keys(path)
    assert list(keys) == ids[::-1]
    assert {len(key) for key in keys.values()} == {32}
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# none\n",
        "k1=c2hvcnQ=\n",
        "no key",
        "=" + "A" * 44,
        "k=é",
        f"k={'A' * 44}\nk={'B' * 44}",
    ],
)
def test_a_file_without_keys_is_refused_and_shows_nothing(tmp_path: Any, text: str) -> None:
    path = tmp_path / "billing.key"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as refused:
        read_keys(path)
    assert "c2hvcnQ" not in str(refused.value)
    assert "AAAA" not in str(refused.value)


# ── specifications ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_team_comes_back_as_it_was_stored() -> None:
    assert TeamSpec.from_json(SPEC.to_json() | {"later": 1}) == SPEC
    with pytest.raises(UnreadableSpecError):
        TeamSpec.from_json({"team": "billing"})


def test_to_operate_is_never_a_default() -> None:
    assert Right.OPERATE not in READING
    assert SPEC.rights == READING
    assert SPEC.task_queue == team_queue("billing") == "freshet-nexus.billing"
