"""Headers of a record as `freshet.dead_letter` stores them: [[name, base64 or null], ...]."""

import base64
from collections.abc import Sequence

# As confluent_kafka takes and returns them.
Headers = list[tuple[str, str | bytes | None]]


def stored_headers(stored: Sequence[tuple[str, str | None]] | None) -> Headers:
    """The headers in their bytes."""
    return [(name, _decoded(value)) for name, value in stored or []]


def _decoded(value: str | None) -> bytes | None:
    if value is None:
        return None
    return base64.b64decode(value)
