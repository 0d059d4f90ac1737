"""Search responses of bounded size: long texts are cut, and the response says so. Pure."""

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, replace

from corpus.service import MAX_RESPONSE_BYTES, SearchHit, SearchResponse

# A character is at least one byte, so no response holds more of one text.
MAX_TEXT_CHARACTERS = MAX_RESPONSE_BYTES
_SEPARATORS = (",", ":")
_NO_METADATA = "{}"


def bounded(
    response: SearchResponse, max_bytes: int = MAX_RESPONSE_BYTES
) -> SearchResponse:
    """The response with at most `max_bytes` of hits, as JSON is sent.

    1. a response that fits stays as it is
    2. every hit gets an equal share; what short hits leave of theirs, the long ones share
    3. a hit that is longer loses the end of its text, and its metadata if that alone is too long
    4. a hit that does not fit even so is left out and counted
    """
    # Step 1.
    sizes = [_size(hit) for hit in response.hits]
    if sum(sizes) <= max_bytes:
        return response
    # Step 2.
    share = _share(sizes, max_bytes)
    # Step 3.
    fitted = [
        hit if size <= share else _fitted(hit, share)
        for hit, size in zip(response.hits, sizes, strict=True)
    ]
    # Step 4.
    hits = tuple(hit for hit in fitted if hit is not None)
    left_out = response.hits_left_out + len(fitted) - len(hits)
    return replace(response, hits=hits, cut=True, hits_left_out=left_out)


def _size(hit: SearchHit) -> int:
    """Bytes of a hit in the JSON of a response, the comma after it included."""
    return _json_bytes(asdict(hit)) + 1


def _json_bytes(value: object) -> int:
    # Temporal's converter escapes what is not ASCII, so that characters are bytes.
    return len(json.dumps(value, separators=_SEPARATORS))


def _share(sizes: Sequence[int], max_bytes: int) -> int:
    """The greatest size per hit with which all of them fit."""
    left, hits = max_bytes, len(sizes)
    for size in sorted(sizes):
        if size * hits > left:
            break
        left -= size
        hits -= 1
    return left // hits


def _fitted(hit: SearchHit, max_bytes: int) -> SearchHit | None:
    """The hit with the longest beginning of its text that fits; None where the rest alone does not."""
    without_text = replace(hit, text="", cut=True)
    if _size(without_text) > max_bytes:
        without_text = replace(without_text, metadata=_NO_METADATA)
    left = max_bytes - _size(without_text)
    if left < 0:
        return None
    return replace(without_text, text=_beginning(hit.text, left))


def _beginning(text: str, max_bytes: int) -> str:
    """The longest beginning of a text with at most `max_bytes` in JSON that ends between two characters."""
    low, high = 0, min(len(text), max_bytes)
    while low < high:
        middle = (low + high + 1) // 2
        if _json_bytes(text[:middle]) - len('""') <= max_bytes:
            low = middle
        else:
            high = middle - 1
    while 0 < low < len(text) and unicodedata.combining(text[low]):
        low -= 1
    return text[:low]
