"""Output that nothing can break, and which error is whose: the caller's, a service's, or ours."""

import errno
import io
import json
import logging
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors
from temporalio.service import RPCError, RPCStatusCode

from corpus.errors import ConfigurationError, DependencyError
from workers.cli import console
from workers.cli.console import CommandError, ExitCode, exit_code_and_message, exit_code_of
from workers.cli.main import require_utf8
from workers.cli.names import require_source


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (CommandError("no"), ExitCode.USAGE, "no"),
        (CommandError("late", ExitCode.UNAVAILABLE), ExitCode.UNAVAILABLE, "late"),
        (CommandError(""), ExitCode.USAGE, ""),
        (ConfigurationError("a\nb"), ExitCode.USAGE, "a b"),
        (DependencyError("away"), ExitCode.UNAVAILABLE, "away"),
        (psycopg.OperationalError("is closed"), ExitCode.UNAVAILABLE, "is closed"),
        (psycopg.InterfaceError("is closed"), ExitCode.UNAVAILABLE, "is closed"),
        (errors.AdminShutdown("shutting down"), ExitCode.UNAVAILABLE, "shutting down"),
        (errors.NumericValueOutOfRange("out of range"), ExitCode.USAGE, "out of range"),
        (
            errors.UndefinedTable("no relation"),
            ExitCode.USAGE,
            "run `freshet migrate` (no relation)",
        ),
        (errors.InsufficientPrivilege("denied"), ExitCode.USAGE, "grant it the right"),
        (errors.SyntaxError("near SELECT"), ExitCode.INTERNAL_ERROR, "near SELECT"),
        (
            KafkaException(KafkaError(KafkaError._INVALID_ARG)),
            ExitCode.USAGE,
            "FRESHET_KAFKA_PROPERTIES or an argument is wrong",
        ),
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), ExitCode.UNAVAILABLE, "Kafka: "),
        (KafkaException("odd"), ExitCode.UNAVAILABLE, "Kafka: odd"),
        (RPCError("away", RPCStatusCode.UNAVAILABLE, b""), ExitCode.UNAVAILABLE, "away"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x.json"),
            ExitCode.UNAVAILABLE,
            "x.json: No space left on device",
        ),
        (OSError(errno.EACCES, "denied", "x"), ExitCode.INTERNAL_ERROR, "denied"),
        (KeyError("x"), ExitCode.INTERNAL_ERROR, "'x'"),
        (ValueError(), ExitCode.INTERNAL_ERROR, "ValueError"),
    ],
    ids=lambda value: ascii(value)[:40] if isinstance(value, Exception) else "",
)
def test_whose_error(error: Exception, code: ExitCode, message: str) -> None:
    classified = exit_code_and_message(error)
    assert classified[0] == code
    assert message in classified[1]
    assert "\n" not in classified[1]


def failing(error: BaseException) -> Any:
    def command() -> None:
        raise error

    return command


def test_an_error_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(failing(CommandError("a\n  b")), debug=False) == 2
    assert capsys.readouterr() == ("", "freshet: a b\n")


def test_an_error_whose_help_was_shown_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(failing(CommandError("")), debug=False) == 2
    assert capsys.readouterr() == ("", "")


def test_an_interrupt_is_exit_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(failing(KeyboardInterrupt()), debug=False) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("result", "code"), [(None, 0), (0, 0), (ExitCode.CHECK_FAILED, 1), ("text", 0)]
)
def test_a_result_is_an_exit_code_or_success(result: Any, code: int) -> None:
    assert exit_code_of(lambda: result, debug=False) == code


def test_the_trace_of_an_unexpected_error_goes_to_the_log_of_a_role(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert exit_code_of(failing(KeyError("x")), debug=False) == 4
    assert capsys.readouterr().err == ""
    (record,) = caplog.records
    assert (record.levelno, record.__dict__["action"]) == (logging.CRITICAL, "unexpected_error")
    assert record.exc_info is not None


# ── output ──────────────────────────────────────────────────────────────────────────────────────────────────────────


HOSTILE = (
    *("a \\[/b]", "[bold]x[/bold]", "[/b]", "\\[", "[", "]", ":smile:", "[link=file:///x]y[/link]"),
    *(
        "\x1b[31mred",
        "\x9b31mred",
        "a\r\nb",
        "a\tb",
        "\x07\x08\x7f",
        "a\u2028b",
        "\ud800",
        "\udcff",
    ),
    *("x" * 5_000, "水" * 300, "e\u0301" * 300, "👩‍👩‍👧" * 100, "\u202eabc", "", " ", "\0"),
)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:30])
def test_a_table_shows_any_text_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    console.write_table(["name", text], [["a", text], [text, 1]])
    out = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\x07", "\r", "\0"} & set(out)
    for word in ("\\[/b]", "[bold]x[/bold]", ":smile:"):
        assert word not in text or word in out


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=80), min_size=1, max_size=3))
def test_no_text_breaks_a_table(capsys: pytest.CaptureFixture[str], texts: list[str]) -> None:
    console.write_table([*map(str, range(len(texts)))], [texts])
    out = capsys.readouterr().out
    letters = {character for text in texts for character in text if character.isalnum()}
    assert letters <= set(out)


def test_a_wide_text_is_folded_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    console.write_table(["a", "b"], [["x" * 1_000, "y" * 1_000]])
    out = capsys.readouterr().out
    assert (out.count("x"), out.count("y")) == (1_000, 1_000)
    assert max(map(len, out.splitlines())) <= 200


def test_values_are_shown_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    first_day = datetime(1, 1, 1, tzinfo=UTC)
    rows = [[None, 1.23456, 10**20, first_day], [datetime(2024, 5, 1, tzinfo=UTC), 0.0, None, "x"]]
    console.write_table(["a", "b", "c", "d"], rows)
    out = capsys.readouterr().out
    assert "1.235" in out
    assert str(10**20) in out
    assert " - " in out
    assert "0001-01-01" in out.replace("   1-", "0001-") or "1-01-01" in out


def test_no_row_is_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    console.write_table(["a"], [], empty="there is none")
    assert capsys.readouterr() == ("", "there is none\n")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\r\nb\tc ", "a b c"),
        ("\x1b[31m", "�[31m"),
        ("a\x9bb", "a�b"),
        ("a\u2028b", "a b"),
        ("", ""),
        ("[b]", "[b]"),
    ],
)
def test_the_text_of_others_is_one_harmless_line(text: str, line: str) -> None:
    assert console.one_line(text) == line


def test_json_holds_times_bytes_and_sets(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"at": datetime(2024, 5, 1, tzinfo=UTC), "hash": b"\xff", "s": {1}, "é": "\x1b"}
    console.write_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == {
        "at": "2024-05-01T00:00:00+00:00",
        "hash": "ff",
        "s": [1],
        "é": "\x1b",
    }
    assert "\x1b" not in out


def test_a_full_disk_under_the_output_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(CommandError, match="standard output: No space left on device") as caught:
        console.write("x")
    assert caught.value.code == ExitCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("007", 7), ("²", None), ("٣", None), ("-1", None), ("", None), ("9" * 1_001, None)],
    ids=lambda value: ascii(value)[:20],
)
def test_whole_numbers_have_ascii_digits(text: str, number: int | None) -> None:
    assert console.whole_number(text) == number


# ── arguments and names ─────────────────────────────────────────────────────────────────────────────────────────────


def test_bytes_that_are_not_utf8_are_refused() -> None:
    require_utf8(["search", "grüße ²", "🐟"])
    with pytest.raises(CommandError, match=r"argument 'a\\xff' is not UTF-8"):
        require_utf8(["search", "a\udcff"])


def test_a_source_that_does_not_exist_is_an_error() -> None:
    def database(row: Any) -> Any:
        return SimpleNamespace(execute=lambda *_: SimpleNamespace(fetchone=lambda: row))

    require_source(database(None), None)
    require_source(database(({},)), "peps")
    with pytest.raises(
        CommandError, match="there is no source 'nope'; `freshet sources` lists them"
    ):
        require_source(database(None), "nope")
