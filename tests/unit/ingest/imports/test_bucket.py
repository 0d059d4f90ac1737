"""What a bucket says of a file is the same in a listing and when the file is read."""

from datetime import UTC, datetime

import pytest

from ingest.imports.bucket import _stamp

AT = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.mark.parametrize(
    ("listed", "read"),
    [('"ab"', '"ab"'), ("0x8D", '"0x8D"'), ('W/"ab"', 'W/"ab"'), (None, None), ("", None)],
)
def test_an_etag_has_its_quotes(listed: str | None, read: str | None) -> None:
    """Azure's listings leave them out, and its answers have them."""
    assert _stamp(5, AT, listed) == _stamp(5, AT, read)
    assert _stamp(5, AT, listed).etag == (read or "")
