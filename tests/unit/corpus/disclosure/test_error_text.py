"""What an error says outside its process: kinds, places and fixed words; never what a library quotes."""

import errno
import json
import os

import polars as pl
import psycopg
import pytest
from confluent_kafka import KafkaException, Producer
from temporalio.exceptions import ApplicationError

from corpus.disclosure.error_text import public_text, public_trace, service_text
from corpus.errors import ConfigurationError, PermanentError

SECRET = "hunter2-canary"


class ScriptedDiagnostics:
    """The parts of a server's error."""

    message_primary = f'invalid input syntax for type integer: "{SECRET}"'


class BadValue(psycopg.errors.InvalidTextRepresentation):
    """As the server words it."""

    diag = ScriptedDiagnostics()  # type: ignore[assignment]


def raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def polars_error() -> BaseException:
    try:
        pl.Series([SECRET]).cast(pl.Int64, strict=True)
    except Exception as error:
        assert SECRET in str(error)
        return error
    raise AssertionError


def kafka_error() -> BaseException:
    with pytest.raises(KafkaException) as caught:
        Producer({"bootstrap.servers": "x", "security.protocol": "ssl", "ssl.key.pem": SECRET})
    return caught.value


def json_error() -> BaseException:
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads(f'{{"a": {SECRET}}}')
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        KeyError(SECRET),
        BadValue(SECRET),
        psycopg.DataError(f"cannot dump {SECRET}"),
        psycopg.ProgrammingError(f'missing "=" after "{SECRET}" in connection info string'),
        OSError(errno.ENOENT, SECRET, SECRET),
        UnicodeEncodeError("utf-8", SECRET, 0, 1, SECRET),
        polars_error(),
        kafka_error(),
        json_error(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_value_is_in_the_text_or_the_trace(error: BaseException) -> None:
    caught = raised(error)
    outer = PermanentError("it failed")
    outer.__cause__ = caught
    for text in (public_text(caught), public_trace(caught), public_trace(outer)):
        assert SECRET not in text.replace("ssl.key.pem", "")
        assert text
    assert type(caught).__name__ in public_trace(outer)


def test_our_own_words_and_the_servers_condition_stay() -> None:
    own = ConfigurationError("FRESHET_X is\n wrong")
    assert public_text(own) == "FRESHET_X is wrong"
    assert public_text(ApplicationError("a", type="B")) == "B: a"
    assert public_text(psycopg.OperationalError("connection refused")) == "connection refused"
    assert public_text(raised(ValueError("x"))).startswith("ValueError in ")
    assert public_text(OSError(errno.ENOSPC, "x")) == "OSError: No space left on device"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"error with {SECRET}: tcp connect: Connection refused (os error 111)", "Connection"),
        (f"TOML parse error at line 3, column 11\n3 | api_key = {SECRET}", "line 3, column 11"),
        ("Generic S3 error: 503 slow down", "503 slow down"),
        (SECRET, "RuntimeError"),
    ],
)
def test_a_service_is_described_in_the_words_that_all_have(message: str, expected: str) -> None:
    text = service_text(RuntimeError(message))
    assert text.startswith(expected)
    assert SECRET not in text
    assert os.strerror(errno.ECONNREFUSED) not in text or "refused" in message


def test_a_trace_ends_also_where_causes_go_round() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert public_trace(first)
