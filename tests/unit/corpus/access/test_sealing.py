"""What a team's key opens, and what it does not; both ends of a call, without a server."""

import base64
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    DataConverter,
    NexusSerializationContext,
    WorkflowSerializationContext,
)

from corpus.access.admission import KnownTeam
from corpus.access.client import opened_answers
from corpus.access.codec import ADMITTED, UNOPENED, AdmittedCall, GatewayCodec
from corpus.access.keys import add_key, read_keys
from corpus.access.sealing import ANSWER, REQUEST, Place, is_sealed, open_sealed, seal
from corpus.access.team import TeamSpec
from corpus.errors import ConfigurationError
from corpus.service import SearchHit, SearchRequest, SearchResponse
from workers.temporal.codec import EncryptionCodec

SECRET = "the levee breaks at noon"
KEY = b"k" * 32
PLACE = Place(team="billing", part=ANSWER, endpoint="e", operation="search")
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=SECRET.encode())
SEARCH = NexusSerializationContext("e", "freshet.corpus.v1", "search")
RESPONSE = SearchResponse(
    hits=(SearchHit(source="s", document_id="d", version=1, text=SECRET, score=1.0),)
)


def sealed(**changed: Any) -> Payload:
    options = {"key_id": "a", "key": KEY, "sources": "s"} | changed
    return seal(PLAIN, PLACE, **options)


# ── sealing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_opens_where_it_belongs_and_shows_nothing() -> None:
    one, other = sealed(), sealed()
    assert SECRET.encode() not in one.SerializeToString()
    assert one.data != other.data
    assert open_sealed(one, PLACE, {"b": b"x" * 32, "a": KEY}) == PLAIN
    assert one.metadata["freshet-sources"] == b"s"


@pytest.mark.parametrize(
    "changed",
    [{"team": "legal"}, {"endpoint": "f"}, {"operation": "describe_source"}, {"part": REQUEST}],
)
def test_it_opens_nowhere_else(changed: Any) -> None:
    place = dataclasses.replace(PLACE, **changed)
    with pytest.raises(ConfigurationError, match="does not decrypt with key 'a'"):
        open_sealed(sealed(), place, {"a": KEY})


def test_another_source_another_key_or_another_byte_is_refused() -> None:
    moved = sealed()
    moved.metadata["freshet-sources"] = b"other"
    added = sealed()
    added.metadata["x"] = b""
    changed = sealed()
    changed.data = changed.data[:-1] + bytes([changed.data[-1] ^ 1])
    short = sealed()
    short.data = b"short"
    for payload in (moved, added, changed, short):
        with pytest.raises(ConfigurationError, match="it was altered"):
            open_sealed(payload, PLACE, {"a": KEY})
    with pytest.raises(ConfigurationError, match="or the key is another one"):
        open_sealed(sealed(), PLACE, {"a": b"x" * 32})
    with pytest.raises(ConfigurationError, match="key 'a', which is not in the team's key file"):
        open_sealed(sealed(), PLACE, {"b": KEY})


def test_the_key_that_signs_does_not_encrypt() -> None:
    """Whoever learns one of the two uses has not learned the other."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    payload = sealed()
    with pytest.raises(InvalidTag):
        AESGCM(KEY).decrypt(payload.data[:12], payload.data[12:], None)


# ── both ends ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass
class Ends:
    """A team's client and a gateway, with a key file each."""

    team_file: Path
    gateway_file: Path
    answers: str = "encrypted"

    def known(self) -> KnownTeam:
        spec = TeamSpec(team="billing", endpoint="e", namespace="n", answers=self.answers)
        return KnownTeam(spec=spec, keys=read_keys(self.gateway_file))

    def gateway(self) -> DataConverter:
        codec = GatewayCodec(self.known, None)
        return dataclasses.replace(DataConverter.default, payload_codec=codec)

    def team(self, **options: Any) -> DataConverter:
        return opened_answers("billing", self.team_file, **options)

    async def answer(self) -> Payload:
        """As the gateway encodes it: with the key that signs the team's calls."""
        admitted = AdmittedCall(key_id=next(iter(read_keys(self.team_file))), sources=("s",))
        ADMITTED.set(admitted)
        [payload] = await self.gateway().with_context(SEARCH).encode([RESPONSE])
        return payload


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    made = Ends(tmp_path / "team.key", tmp_path / "gateway.key")
    add_key(made.gateway_file)
    made.team_file.write_bytes(made.gateway_file.read_bytes())
    return made


async def opened(converter: DataConverter, payload: Payload) -> Any:
    return (await converter.with_context(SEARCH).decode([payload], [SearchResponse]))[0]


async def test_an_answer_is_opened_by_its_team_only(ends: Ends, tmp_path: Path) -> None:
    payload = await ends.answer()
    assert is_sealed(payload)
    assert await opened(ends.team(), payload) == RESPONSE
    add_key(tmp_path / "legal.key")
    stranger = opened_answers("legal", tmp_path / "legal.key")
    with pytest.raises(ConfigurationError, match="not in the team's key file"):
        await opened(stranger, payload)
    thief = opened_answers("legal", ends.team_file)
    with pytest.raises(ConfigurationError, match="belongs to another team"):
        await opened(thief, payload)


async def test_an_answer_has_the_key_that_signed_its_call_so_rotation_needs_no_order(
    ends: Ends,
) -> None:
    before = await ends.answer()
    add_key(ends.gateway_file)  # the team does not have it yet
    assert await opened(ends.team(), await ends.answer()) == RESPONSE
    ends.team_file.write_bytes(ends.gateway_file.read_bytes())
    after = await ends.answer()
    assert after.metadata["freshet-key"] != before.metadata["freshet-key"]
    for payload in (before, after):
        assert await opened(ends.team(), payload) == RESPONSE
    # The old line is removed at last: what it sealed is closed, and what comes is open.
    newest = ends.team_file.read_text().splitlines()[0]
    for path in (ends.team_file, ends.gateway_file):
        path.write_text(newest + "\n")
    assert await opened(ends.team(), await ends.answer()) == RESPONSE
    with pytest.raises(ConfigurationError, match="not in the team's key file"):
        await opened(ends.team(), before)


async def test_a_plain_answer_is_refused_by_a_strict_client(ends: Ends) -> None:
    ends.answers = "plain"
    payload = await ends.answer()
    assert not is_sealed(payload)
    with pytest.raises(ConfigurationError, match='set `answers = "encrypted"`'):
        await opened(ends.team(), payload)
    assert await opened(ends.team(strict=False), payload) == RESPONSE


async def test_a_gateway_without_the_key_answers_nothing_in_plain(ends: Ends) -> None:
    ADMITTED.set(AdmittedCall(key_id="gone", sources=()))
    with pytest.raises(ConfigurationError, match="key 'gone' of team 'billing' was removed"):
        await ends.gateway().with_context(SEARCH).encode([RESPONSE])


async def test_a_request_is_sealed_and_one_that_does_not_open_is_no_request(ends: Ends) -> None:
    request = SearchRequest(query=SECRET)
    [payload] = await ends.team().with_context(SEARCH).encode([request])
    assert SECRET.encode() not in payload.SerializeToString()
    gateway = ends.gateway().with_context(SEARCH)
    assert await gateway.decode([payload], [SearchRequest]) == [request]
    ends.gateway_file.unlink()
    new = add_key(ends.gateway_file)
    assert new.encode() != payload.metadata["freshet-key"]
    assert await gateway.decode([payload], [SearchRequest]) == [None]
    assert "does not open with the team's key" in UNOPENED.get()


async def test_a_request_with_keys_of_somebody_else_is_no_request_either(ends: Ends) -> None:
    theirs, ours = (EncryptionCodec({name: name[0].encode() * 32}) for name in ("t", "o"))
    converter = dataclasses.replace(DataConverter.default, payload_codec=theirs)
    [payload] = await converter.encode([SearchRequest(query=SECRET)])
    codec = GatewayCodec(ends.known, ours)
    gateway = dataclasses.replace(DataConverter.default, payload_codec=codec)
    assert await gateway.with_context(SEARCH).decode([payload], [SearchRequest]) == [None]
    assert UNOPENED.get() == "the request is encrypted with a key that Freshet lacks"


async def test_what_is_no_call_is_left_to_the_teams_own_codec(ends: Ends) -> None:
    own = WorkflowSerializationContext("n", "w")
    other = NexusSerializationContext("e", "freshet.subscriber.v1", "batch_published")
    for context in (own, other):
        [payload] = await ends.team().with_context(context).encode([SECRET])
        assert base64.b64encode(payload.data) == base64.b64encode(f'"{SECRET}"'.encode())
    everything = ends.team(seal_own=True)
    [kept] = await everything.with_context(own).encode([SECRET])
    assert SECRET.encode() not in kept.SerializeToString()
    assert await everything.with_context(own).decode([kept], [str]) == [SECRET]
    [acknowledged] = await everything.with_context(other).encode([SECRET])
    assert not is_sealed(acknowledged)  # Freshet reads it


def test_a_client_without_a_key_says_so_at_its_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        opened_answers("billing", tmp_path / "none")
