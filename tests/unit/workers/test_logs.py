"""Logs: one line of JSON per record, whatever the values hold."""

import asyncio
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from workers import logs


@pytest.fixture(autouse=True)
def root_logger_kept() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def formatted(message: str = "m", **extra: Any) -> tuple[str, dict[str, Any]]:
    record = logging.makeLogRecord(
        {"name": "corpus.embed", "msg": message, "levelname": "INFO", "created": 1.5, "msecs": 500}
        | extra
    )
    line = logs.JsonFormatter().format(record)
    return line, json.loads(line)


def test_a_line_has_time_level_logger_message_and_context() -> None:
    _, line = formatted(action="shard_embedded", texts=3)
    assert line == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "info",
        "logger": "corpus.embed",
        "message": "m",
        "action": "shard_embedded",
        "texts": 3,
    }


@pytest.mark.parametrize(
    "value",
    [
        *('a\n{"level":"critical"}', "a\r\nb", "\x1b[31m", "\x00", "\u2028", '"', "\\"),
        *({"nested": ["\n"]}, ["\n"], None, 1.5, object, b"\n"),
    ],
    ids=ascii,
)
def test_no_value_forges_a_line(value: Any) -> None:
    text, line = formatted(source=value)
    assert len(text.split("\n")) == 1
    assert line["source"] == value or isinstance(line["source"], str)


def test_the_trace_of_an_error_is_one_field() -> None:
    try:
        {}["x\ny"]
    except KeyError:
        text, line = formatted(exc_info=sys.exc_info())
    assert "Traceback" in line["error"]
    assert "\n" not in text


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_error_is_shown_raw_wherever_it_is(
    capsys: pytest.CaptureFixture[str], form: str
) -> None:
    logs.configure("storer", level="INFO", form=form)
    error = ValueError("secret row")
    nested: list[Any] = [error]
    nested.append(nested)
    values: list[Any] = [[error], (1, error), {error}, {"a": [{"b": error}]}, {error: 1}, nested]
    for value in values:
        logging.getLogger("corpus").info("seen %s", value, extra={"field": value})
        logging.getLogger("corpus").info("seen %(a)s", {"a": value}, extra={"action": "x"})
    shown = capsys.readouterr().err
    assert shown.count("seen") == 2 * len(values)
    assert "secret row" not in shown


def test_what_temporal_adds_is_left_out() -> None:
    assert "temporal_activity" not in formatted(temporal_activity={"a": 1})[1]


@pytest.mark.parametrize(
    ("form", "beginning"), [("json", '{"time": "'), ("text", "20")], ids=["json", "text"]
)
def test_a_process_logs_to_standard_error(
    capsys: pytest.CaptureFixture[str], form: str, beginning: str
) -> None:
    logs.configure("storer", level="WARNING", form=form)
    logging.getLogger("corpus").info("too little")
    logging.getLogger("httpx").info("noise")
    logging.getLogger("corpus").warning("batch %s", 5, extra={"action": "a"})
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(beginning)
    assert "batch 5" in err


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_message_of_a_library_is_logged(capsys: pytest.CaptureFixture[str], form: str) -> None:
    secret = "hunter2-canary"
    logs.configure("storer", level="INFO", form=form)
    log = logging.getLogger("other.library")
    with pytest.raises(ValueError, match=secret) as caught:
        raise ValueError(secret) from KeyError(secret)
    error = caught.value
    log.error("failed", exc_info=error)
    log.error("failed: %s", error)
    log.error("failed: %(why)s", {"why": error})
    log.error(error)
    log.error("failed", extra={"why": error})
    written = capsys.readouterr().err
    assert secret not in written
    assert written.count("ValueError in workers/test_logs.py:") >= 3
    assert "KeyError" in written


async def test_what_nothing_caught_is_logged_without_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = "hunter2-canary"
    hooks = threading.excepthook, sys.unraisablehook
    logs.configure("storer", level="INFO", form="json")
    asyncio.get_running_loop().set_exception_handler(logs.log_uncaught_of_loop)

    def fail() -> None:
        raise ValueError(secret)

    try:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(0)
    finally:
        threading.excepthook, sys.unraisablehook = hooks
    written = capsys.readouterr().err
    assert secret not in written
    assert written.count('"action": "uncaught"') == 2
