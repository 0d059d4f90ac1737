"""The id that an unreadable record states, however it is cut."""

import time

import pytest

from corpus.erase.spelling import names_in, quoted, stated_ids


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (b'{"id": "a", "op": [', {b"a"}),
        (b'{"id":7,"op"', {b"7"}),
        (b'{"content": "{\\"id\\": \\"b\\"}", "id" : "a"', {b"a"}),
        (b'{"parent": {"id": "b"}, "list": [{"id": 1}], "id": "a"', {b"a"}),
        (b'{"id": "a", "id": "b"}', {b"a", b"b"}),
        (b'{"id": "\\u00e9\\/x"', {"é/x".encode(), b"\\u00e9\\/x"}),
        (b'{"id": "cut', set()),
        (b'{"id": {"a": "b"}}', set()),
        (b'[{"id": "a"}]', set()),
        (b'"id": "a"', set()),
        (b"\xff\xfe\x00", set()),
        (b"", set()),
    ],
)
def test_the_outermost_object_states_it(value: bytes, ids: set[bytes]) -> None:
    assert stated_ids(value) == ids


def test_what_states_no_id_is_known_by_what_it_quotes() -> None:
    assert names_in(b'["a", "b", ') == {b"a", b", ", b"b"}
    assert names_in(b'{"id": "a", "see": "b"') == {b"a"}


def test_an_id_has_the_spellings_of_other_writers() -> None:
    assert quoted("é/x") == {
        '"é/x"'.encode(),
        '"é\\/x"'.encode(),
        b'"\\u00e9/x"',
        b'"\\u00e9\\/x"',
        b'"\\u00E9/x"',
        b'"\\u00E9\\/x"',
    }


@pytest.mark.parametrize("part", [b'\\"', b'"', b'{"id":', b"\\", b'["'])
def test_reading_takes_no_longer_than_the_record_is(part: bytes) -> None:
    begun = time.process_time()
    stated_ids(b'{"x": "' + part * 300_000)
    assert time.process_time() - begun < 3
