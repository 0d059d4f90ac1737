"""Times: RFC 3339, epoch numbers of four units, and the edges of the calendar."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.decode.fields import FieldError
from ingest.decode.times import expiry_ms, number_or_text, time_ms

AT = 1_714_564_800_000  # 2024-05-01T12:00:00Z
FIRST_MS, LAST_MS = -62_135_510_400_000, 253_402_214_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-05-01T12:00:00Z", AT),
        ("2024-05-01t12:00:00z", AT),
        ("2024-05-01T12:00:00.5Z", AT + 500),
        ("2024-05-01T12:00:00,5Z", AT + 500),
        ("2024-05-01T12:00:00.123456789Z", AT + 123),
        ("2024-05-01T12:00:00.1239999999999999Z", AT + 123),
        ("2024-05-01T14:00:00+02:00", AT),
        ("2024-05-01T14:00:00+0200", AT),
        ("2024-05-01T14:00:00+02", AT),
        ("2024-05-01T08:30:00-03:30", AT),
        ("2024-05-01 12:00:00", AT),
        ("2024-05-01_12:00:00", AT),
        ("2024-05-01 12:00:00 UTC", AT),
        ("2024-05-01 14:00:00 +02:00", AT),
        (" 2024-05-01T12:00:00Z\n", AT),
        (" " * 100 + "2024-05-01T12:00:00Z", AT),
        ("2024-05-01T14:00:00." + "0" * 90 + "+02:00", AT),
        ("20240501T120000Z", AT),
        ("2024-W18-3T12:00:00Z", AT),
        ("2024-05-01T12:00", AT),
        ("2024-05-01T12", AT),
        ("2024-05-01", AT - 43_200_000),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000),
        ("2016-12-31T23:59:60.7+00:00", 1_483_228_799_700),
        ("1969-12-31T23:59:59.9995Z", -1),
    ],
)
def test_iso_8601_in_its_common_spellings(value: str, expected: int) -> None:
    assert time_ms(value) == expected


@pytest.mark.parametrize("unit", [1000, 1, 1 / 1_000, 1 / 1_000_000], ids=["s", "ms", "us", "ns"])
@pytest.mark.parametrize("at", [AT, AT - AT % 86_400_000])
def test_the_size_of_a_number_says_its_unit(at: int, unit: float) -> None:
    assert time_ms(round(at / unit)) == at


def test_seconds_may_have_a_fraction() -> None:
    assert time_ms(AT / 1000 + 0.25) == AT + 250


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "yesterday", "2024", "2024-05", "12:00", "2024-05-01T", "T12:00:00Z"),
        *("2024-02-30T00:00:00Z", "2023-02-29", "2024-13-01", "2024-00-01", "2024-05-01T25:00:00Z"),
        *("2024-05-01T12:60:00Z", "2024-05-01T12:00:61Z", "2024-05-01T12:00:00+99:00"),
        *("10000-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "-2024-05-01", "2024-05-01x12:00"),
        *("1714564800", "1714564800000", "1700010112345", "2024-05-0112:00", "٢٠٢٤-05-01"),
        *(
            "2024-05-01T12:00:00 CEST",
            "\ud800" * 19 + "Z",
            "2" * 1_000_000,
            "2024-05-01T12:00:60." + "0" * 60 + "+02:00",
        ),
        *(
            None,
            True,
            False,
            [],
            {},
            float("nan"),
            float("inf"),
            float("-inf"),
            1e300,
            1e20,
            10**30,
        ),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_is_not_a_time_is_none(value: Any) -> None:
    assert time_ms(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0001-01-01T23:59:59.999Z", None),
        ("0001-01-02T00:00:00Z", -62_135_510_400_000),
        ("9999-12-31T00:00:00Z", 253_402_214_400_000),
        ("9999-12-31T00:00:00.001Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        (-62_135_510_400, FIRST_MS),
        (-62_135_510_401, None),
    ],
)
def test_the_edges_of_the_calendar_are_what_postgresql_stores(
    value: Any, expected: int | None
) -> None:
    assert time_ms(value) == expected


@settings(deadline=None)
@given(
    st.integers(FIRST_MS, LAST_MS),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
    st.sampled_from(["T", " "]),
)
def test_every_millisecond_in_every_zone_is_exact(at_ms: int, minutes: int, separator: str) -> None:
    zone = timezone(timedelta(minutes=minutes))
    try:
        local = (EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)
    except OverflowError:
        return
    assert time_ms(local.isoformat(sep=separator, timespec="milliseconds")) == at_ms


@settings(deadline=None)
@given(
    st.text(alphabet="0123456789-:TtZz+., UTCW_", max_size=30)
    | st.text()
    | st.floats()
    | st.integers()
)
def test_no_value_raises_and_every_time_can_be_stored(value: Any) -> None:
    at_ms = time_ms(value)
    assert at_ms is None or FIRST_MS <= at_ms <= LAST_MS


@pytest.mark.parametrize("value", [None, ""])
def test_a_document_may_have_no_expiry(value: Any) -> None:
    assert expiry_ms(value) is None


@pytest.mark.parametrize("value", ["soon", " ", True, [], 1e300, "2024-02-30"], ids=repr)
def test_an_expiry_that_cannot_be_read_is_an_error(value: Any) -> None:
    with pytest.raises(FieldError, match=r"expires_at is .*; it must be a time such as"):
        expiry_ms(value)


@pytest.mark.parametrize("digits", [str(AT), str(AT).zfill(40), str(AT * 1_000_000).zfill(20)])
def test_digits_of_a_header_are_a_number_whatever_zeros_are_in_front(digits: str) -> None:
    assert time_ms(number_or_text(digits)) == AT


def test_digits_that_are_no_time_are_never_cut() -> None:
    assert time_ms(number_or_text(f"{AT}{AT}")) is None
    with pytest.raises(FieldError, match="expires_at"):
        expiry_ms(number_or_text("1" * 100_000))
