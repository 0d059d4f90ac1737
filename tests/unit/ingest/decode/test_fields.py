"""Fields of an event, at both sides of every limit."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dead_letter import DeadLetterReason
from ingest.decode import fields
from ingest.decode.fields import FieldError
from ingest.event import Op

INVALID_ID = DeadLetterReason.INVALID_ID
INVALID_FIELD = DeadLetterReason.INVALID_FIELD


def refusal(read: Any, value: Any) -> FieldError:
    with pytest.raises(FieldError) as caught:
        read(value)
    return caught.value


# ── ids ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "value",
    ["a", "A b", " a", "é" * 500, "a" * 1_000, "😀" * 250, "\u200ba", "a/b?c#d", "\ue000", "0"],
)
def test_an_id_is_taken_as_it_is(value: str) -> None:
    assert fields.document_id(value) == value
    assert fields.key_as_id(value.encode()) == value


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("é" * 501, "1,002 bytes"),
        ("a" * 1_001, "1,001 bytes"),
        ("😀" * 250 + "a", "1,001 bytes"),
        ("a\0b", "U+0000"),
        ("a\x85", "U+0085"),
        ("a\x7f", "U+007F"),
        ("\ud800", "U+D800"),
        ("\udcff", "U+DCFF"),
        ("\uffff", "U+FFFF"),
        ("", "blank"),
        (" \t ".replace("\t", "\u00a0"), "blank"),
        ("\u200b \u2060\ufeff", "blank"),
        (True, "text"),
        (None, "text"),
        (1.5, "text"),
        (["a"], "text"),
    ],
)
def test_what_is_not_an_id_is_refused(value: Any, word: str) -> None:
    error = refusal(fields.document_id, value)
    assert (error.reason, word in error.detail) == (INVALID_ID, True)


def test_a_number_as_an_id_is_its_digits() -> None:
    assert fields.document_id(-5) == "-5"
    assert fields.document_id(2**63) == "9223372036854775808"


@settings(deadline=None)
@given(st.text(min_size=1, max_size=1_100))
def test_an_id_is_never_changed(text: str) -> None:
    try:
        accepted = fields.document_id(text)
    except FieldError:
        return
    assert accepted == text
    assert len(accepted.encode()) <= fields.MAX_ID_BYTES


# ── versions ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (2**63 - 1, 2**63 - 1),
        ("0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("007", 7),
        (3.0, 3),
        (2.0**53 - 1, 2**53 - 1),
        (None, None),
        ("", None),
    ],
)
def test_a_version_is_a_bigint_from_zero(value: Any, expected: int | None) -> None:
    assert fields.version(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(-1, 2**63, True, 1.5, 2.0**53, float("inf"), float("nan"), -0.5),
        *(
            "9223372036854775808",
            "-1",
            "1.0",
            "²",
            "٣",
            " 1",
            "1e3",
            [1],
            {},
            "99999999999999999999",
        ),
    ],
    ids=repr,
)
def test_what_is_not_a_version_is_refused(value: Any) -> None:
    error = refusal(fields.version, value)
    assert error.reason is INVALID_FIELD
    assert error.detail.startswith("version is ")


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("T" * 1_000, "T" * 1_000),
        ("T" * 1_001, "T" * 999 + "…"),
        ("T" * 100_000, "T" * 999 + "…"),
        ("a\r\nERROR forged", "a ERROR forged"),
        (" a ", "a"),
        ("\0\n", None),
        ("a\ud800", "a�"),
        ("", None),
        (None, None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_title_is_one_line_of_1000_characters_at_most(value: Any, expected: str | None) -> None:
    assert fields.title(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("u" * 8_192, "u" * 8_192),
        ("u" * 8_193, None),
        ("u\r\nv\x1b[31m", "uv[31m"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("\0", None),
        ("", None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_uri_is_text_or_left_out(value: Any, expected: str | None) -> None:
    assert fields.uri(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("TEXT/HTML; Charset=UTF-8", "text/html"),
        (" text/plain ", "text/plain"),
        ("x" * 201, "x" * 200),
        (";charset=utf-8", None),
        ("a\0b\n", "ab"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_media_type_has_no_parameters(value: Any, expected: str | None) -> None:
    assert fields.content_type(value) == expected


@pytest.mark.parametrize("read", [fields.title, fields.uri, fields.content_type])
@pytest.mark.parametrize("value", [5, True, ["a"], {}], ids=repr)
def test_what_is_not_text_is_named(read: Any, value: Any) -> None:
    error = refusal(read, value)
    assert error.detail == f"{read.__name__} is {value!r}; it must be text"


@settings(deadline=None)
@given(st.text(alphabet=st.characters()))
def test_any_text_becomes_storable(text: str) -> None:
    damaged = text + "\ud83d" + text + "\ude00\0"
    for read in (fields.title, fields.uri, fields.content_type, fields.repair):
        stored = read(damaged)
        assert stored is None or "\0" not in stored
        (stored or "").encode()


@pytest.mark.parametrize(("value", "op"), [(None, Op.UPSERT), ("Delete ", Op.DELETE)])
def test_an_operation_is_read_in_any_case(value: Any, op: Op) -> None:
    assert fields.operation(value) is op


@pytest.mark.parametrize("value", ["", "merge", 1, True, ["delete"], "dele\0te"], ids=repr)
def test_another_operation_is_refused(value: Any) -> None:
    assert "upsert or delete" in refusal(fields.operation, value).detail


# ── access lists ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), ([], ()), (["team a"], ("team a",)), (["x"] * 1_000, ("x",) * 1_000)],
    ids=lambda value: repr(value)[:20],
)
def test_an_access_list_is_taken_as_it_is(value: Any, expected: tuple[str, ...] | None) -> None:
    assert fields.acl(value) == expected


@pytest.mark.parametrize(
    "value",
    ["everybody", [1], [""], ["a", None], ["a\0"], ["\ud800"], {"a": 1}, True, ["x"] * 1_001],
    ids=lambda value: ascii(value)[:20],
)
def test_a_malformed_access_list_is_refused(value: Any) -> None:
    error = refusal(fields.acl, value)
    assert (error.reason, "at most 1000 names" in error.detail) == (INVALID_FIELD, True)


# ── metadata ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (-(2**63), -(2**63)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (2**4_000, hex(2**4_000)),
        (True, True),
        (1.5, 1.5),
        (None, None),
        ("a\0\ud800", "a�"),
    ],
    ids=lambda value: ascii(value)[:20] if not isinstance(value, int) else "number",
)
def test_metadata_holds_what_jsonb_can(value: Any, expected: Any) -> None:
    assert fields.metadata({"k\0": [value]}) == {"k": [expected]}


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")], ids=repr)
def test_metadata_has_finite_numbers(value: float) -> None:
    assert "finite" in refusal(fields.metadata, {"a": {"b": [value]}}).detail


@pytest.mark.parametrize("value", [[1], "text", 5, True], ids=repr)
def test_metadata_is_an_object(value: Any) -> None:
    assert "an object" in refusal(fields.metadata, value).detail


def test_absent_metadata_is_empty() -> None:
    assert fields.metadata(None) == {}


# ── values in messages ──────────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(
    st.text(alphabet=st.characters()) | st.binary() | st.integers() | st.lists(st.text()),
    st.integers(5, 100),
)
def test_a_shown_value_is_one_short_printable_line(value: Any, limit: int) -> None:
    text = fields.shown(value, limit)
    assert len(text) <= limit
    assert text.isprintable()
    text.encode()


# ── language ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        ("", None),
        (" \n ", None),
        ("de-AT", "de-AT"),
        (" pt-BR\n", "pt-BR"),
        ("d\0e", "d e"),
        ("\ud800", "\ufffd"),
        ("x" * 5_000, "x" * fields.MAX_LANGUAGE),
        (7, "7"),
        (["de", "en"], "['de', 'en']"),
        ({"code": "de"}, "{'code': 'de'}"),
    ],
)
def test_a_language_is_kept_as_the_event_says_it(value: Any, kept: str | None) -> None:
    """Whether it is one is for the preparation to say: an event with another one is no dead letter."""
    assert fields.language(value) == kept


@given(st.integers(min_value=0, max_value=10**25), st.integers(min_value=0, max_value=60))
def test_digits_are_their_number_or_none_and_never_another(number: int, width: int) -> None:
    expected = number if number < 10**19 else None
    assert fields.digits_as_number(str(number).zfill(width)) == expected
