"""Durations, sizes and names, at their limits and beyond."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from workers.config import values
from workers.config.values import seconds, size, topic

HUNDRED_YEARS = 36_525 * 86_400


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        *[("30d", 2_592_000), ("1h30m", 5_400), ("250ms", 0.25), ("1.5s", 1.5), (7, 7)],
        *[("0s", 0), ("1w", 604_800), ("1d 2h", 93_600), ("36525d", HUNDRED_YEARS)],
        *[(HUNDRED_YEARS, HUNDRED_YEARS), (0.001, 0.001), (timedelta(hours=1), 3_600)],
    ],
)
def test_durations(written: Any, expected: float) -> None:
    assert seconds(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        *["", "5", "d", "-1d", "1y", True, False, [1], {}, None, b"1d", "1D", "1 day", "d1"],
        *["1..5s", ".5s", "1.s", "٣d", "1d\x00", "36526d", HUNDRED_YEARS + 1, "9" * 5_000 + "d"],
        *[float("nan"), float("inf"), float("-inf"), 10**400, "1e3s", "0x1s"],
    ],
    ids=lambda written: repr(written)[:20],
)
def test_no_durations(written: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(written)


@given(st.integers(0, 900), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: str) -> None:
    factors = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
    assert seconds(f"{number}{unit}") == pytest.approx(number * factors[unit])
    assert seconds(f"{number}{unit}0s") == seconds(f"{number}{unit}")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        *[("8MB", 8_000_000), ("1kib", 1024), ("12", 12), (5, 5), ("0.5 GB", 500_000_000)],
        *[("512KiB", 524_288), ("1.5 GB", 1_500_000_000), (" 8 mb ", 8_000_000), ("1B", 1)],
        *[("1MiB", 1_048_576), ("2gib", 2 * 2**30), ("0", 0), ("1000000GB", 10**15)],
    ],
)
def test_sizes_that_could_be_written_from_the_start(written: Any, expected: int) -> None:
    assert size(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [("8M", 8_000_000), ("1k", 1_000), ("1TB", 10**12), ("1TiB", 2**40), (".5MB", 500_000)],
)
def test_sizes_that_came_with_pydantic(written: str, expected: int) -> None:
    assert size(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        # Read by `ByteSize`, and not what anybody means.
        *["8MB x", "1,000", "8mbit", "8 Mbit", "1_000", "８MB", "8MB\x00", "8.MB", "0.5.5MB"],
        *["", "MB", "8XB", "8 XB", "-1", "-1MB", "+1MB", "1e3", "0x10", "8Ki", "8 M B", "١MB"],
        *[True, False, 1.5, float("inf"), float("nan"), None, [8], {}, b"8MB"],
    ],
    ids=lambda written: ascii(written)[:20],
)
def test_no_sizes(written: Any) -> None:
    with pytest.raises(ValueError, match=r"a size such as \"8MB\""):
        size(written)


@pytest.mark.parametrize(
    "written",
    ["1000001GB", "1EB", 10**15 + 1, 2**63, 10**400, "9" * 400, "9" * 5_000, "9" * 400 + "GB"],
    ids=lambda written: (
        str(type(written).__name__) + repr(written)[:12] if isinstance(written, str) else "int"
    ),
)
def test_sizes_beyond_the_limit(written: Any) -> None:
    with pytest.raises(ValueError, match="a size of at most 1000000GB"):
        size(written)


@given(st.integers(0, 10**15))
def test_a_number_of_bytes_is_itself(number: int) -> None:
    assert size(number) == size(str(number)) == size(f"{number}B") == number


@given(st.text(max_size=20))
def test_any_text_is_a_size_or_a_clear_error(text: str) -> None:
    try:
        assert 0 <= size(text) <= 10**15
    except ValueError as error:
        assert "a size" in str(error)


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_a_clear_error(text: str) -> None:
    try:
        assert 0 <= seconds(text) <= HUNDRED_YEARS
    except ValueError as error:
        assert "a duration" in str(error)


@pytest.mark.parametrize(
    ("kind", "allowed", "refused"),
    [
        (values.Bytes, [1, 10**15], [0, -1, "0", "0.4B"]),
        (values.Seconds, [1, "1s", HUNDRED_YEARS], [0, -1, "500ms", 1.5]),
        (values.SecondsOfADay, ["1ms", 86_400, "1d"], [0, 86_400.001, "25h"]),
        (values.SecondsOfHalfAnHour, ["1ms", 1_800, "30m"], [0, 1_800.001, "31m"]),
        (values.Milliseconds, [0, "0ms", "60s", 60], ["60.001s", 61, -1]),
        (values.Count, [1, 10**9], [0, 10**9 + 1, "1", 1.0, True]),
        (
            values.SourceName,
            ["a", "0", "a" * 63, "a.b_c-d"],
            ["", "A", "-a", "a" * 64, "a b", "ü", "a\n"],
        ),
        (values.Namespace, ["a", "A.b", "x" * 200], ["", "-a", "a b", "a/b", "x" * 201]),
        (values.Endpoint, ["ab", "a-b", "x" * 200], ["a", "-a", "a-", "1a", "a_b", "x" * 201]),
        (
            values.TaskQueue,
            ["q", "my queue", "ü", "x" * 200],
            ["", " ", " q", "q ", "a\tb", "x" * 201],
        ),
        (
            values.Topic,
            ["a", "A.b_c-d", "x" * 249],
            ["", ".", "..", "a b", "x" * 250, "__consumer_offsets"],
        ),
    ],
    ids=lambda each: "" if isinstance(each, list) else str(each)[:40],
)
def test_bounds(kind: Any, allowed: list[Any], refused: list[Any]) -> None:
    adapter = TypeAdapter(kind)
    for value in allowed:
        adapter.validate_python(value)
    for value in refused:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_a_topic_of_kafkas_own_says_so() -> None:
    with pytest.raises(ValueError, match="Kafka's own"):
        topic("__transaction_state")
