"""Responses of bounded size: what is missing is said, and nothing else changes."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.converter import DataConverter

from corpus.answer.bounds import bounded
from corpus.service import MAX_HITS, MAX_RESPONSE_BYTES, SearchHit, SearchResponse


def make_hit(text: str = "wheels", **fields: Any) -> SearchHit:
    return SearchHit(source="peps", document_id="d", version=1, text=text, score=1.0, **fields)


def size(response: SearchResponse) -> int:
    """Bytes of the hits as JSON, as the bound counts them."""
    return sum(len(json.dumps(asdict(hit), separators=(",", ":"))) + 1 for hit in response.hits)


async def payload_size(response: SearchResponse) -> int:
    payloads = await DataConverter.default.encode([response])
    return len(payloads[0].data)


def test_what_fits_stays_as_it_is() -> None:
    response = SearchResponse(hits=(make_hit(),) * MAX_HITS)
    assert bounded(response) is response


@pytest.mark.parametrize("text", ["x", "\u0436", "\N{GRINNING FACE}", "\n", '"', "\x01"], ids=ascii)
async def test_the_payload_is_far_below_the_limit_of_temporal(text: str) -> None:
    """Two megabytes; characters that JSON escapes count as what is sent."""
    response = bounded(SearchResponse(hits=(make_hit(text * 300_000),) * 10))
    assert await payload_size(response) <= MAX_RESPONSE_BYTES + 100
    assert await payload_size(response) > MAX_RESPONSE_BYTES * 0.99
    assert response.cut
    assert response.hits_left_out == 0
    assert all(hit.cut and hit.text for hit in response.hits)


def test_short_hits_stay_whole_and_leave_their_share_to_long_ones() -> None:
    hits = (make_hit("short"), make_hit("x" * 500_000), make_hit("also short"))
    response = bounded(SearchResponse(hits=hits))
    assert [hit.text for hit in response.hits[::2]] == ["short", "also short"]
    assert [hit.cut for hit in response.hits] == [False, True, False]
    assert len(response.hits[1].text) > MAX_RESPONSE_BYTES - 2_000


def test_metadata_that_is_too_long_is_left_out_whole() -> None:
    metadata = json.dumps({"a": "x" * 500_000})
    (hit,) = bounded(SearchResponse(hits=(make_hit(metadata=metadata),))).hits
    assert (hit.metadata, hit.text, hit.cut) == ("{}", "wheels", True)


def test_a_hit_that_does_not_fit_without_its_text_is_counted() -> None:
    long_title = make_hit(title="x" * 500_000)
    response = bounded(SearchResponse(hits=(make_hit(), long_title, make_hit())))
    assert [hit.title for hit in response.hits] == [None, None]
    assert (response.cut, response.hits_left_out) == (True, 1)


def test_a_cut_is_no_place_inside_a_character() -> None:
    """An accent that is a code point of its own stays with its letter."""
    text = "e\N{COMBINING ACUTE ACCENT}" * 1_000
    for max_bytes in range(600, 640):
        (hit,) = bounded(SearchResponse(hits=(make_hit(text),)), max_bytes).hits
        assert text.startswith(hit.text)
        assert len(hit.text) % 2 == 0


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(st.text(max_size=60).map(lambda text: text * 40), min_size=1, max_size=8),
    max_bytes=st.integers(min_value=0, max_value=8_000),
)
def test_a_bounded_response_is_a_fixed_point_within_the_bound(texts, max_bytes) -> None:
    whole = SearchResponse(hits=tuple(make_hit(text) for text in texts))
    response = bounded(whole, max_bytes)
    assert size(response) <= max_bytes
    assert bounded(response, max_bytes) == response
    assert len(response.hits) + response.hits_left_out == len(texts)
    assert response.cut is (size(whole) > max_bytes)
    for hit in response.hits:
        assert any(text.startswith(hit.text) for text in texts)
        assert replace(hit, text="", cut=False) == make_hit("")
