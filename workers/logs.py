"""Logs: one JSON object per line (or plain text), with a constant message, an `action`, and context fields.

An error is logged by its kind, its place and words without values, whoever logs it: a library's message may quote what
it was working on (`corpus/disclosure/error_text.py`).
"""

import asyncio
import copy
import logging
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, cast

from typing_extensions import override

from corpus.disclosure.error_text import public_text, public_trace
from workers.shown import json_text, shown

logger = logging.getLogger(__name__)

_MAX_DEPTH = 4  # of lists in lists
_DEEPER = "..."
_CONTAINERS = (Mapping, list, set, frozenset, tuple)
_STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class PublicFormatter(logging.Formatter):
    """A record as text; errors among its arguments and fields, and its trace, are without values."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return super().format(_without_values(record))

    @override
    def formatException(self, ei: Any) -> str:
        return public_trace(ei[1])


class JsonFormatter(PublicFormatter):
    """A record as one line of JSON; line breaks in values are escaped, so no text can forge a line."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        record = _without_values(record)
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{second}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {
            name: value
            for name, value in record.__dict__.items()
            if name not in _STANDARD and not name.startswith("temporal_")
        }
        if record.exc_info and record.exc_info[1]:
            line["error"] = public_trace(record.exc_info[1])
        return json_text(line, default=str)


class TextFormatter(PublicFormatter):
    """A record as one line of text, and the lines of a trace below it, set in, so that no text can forge a record."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        first, *further = shown(super().format(record)).split("\n")
        return "\n    ".join((first, *further))


def _without_values(record: logging.LogRecord) -> logging.LogRecord:
    """A copy of a record whose errors are worded; other handlers of the process see the record as it is."""
    worded = copy.copy(record)
    worded.exc_text = None
    for name, value in record.__dict__.items():
        if name not in _STANDARD:
            setattr(worded, name, _worded(value))
    worded.args = cast(
        "tuple[object, ...] | Mapping[str, object]", _worded(record.args)
    )
    if isinstance(record.msg, BaseException):
        worded.msg = public_text(record.msg)
    return worded


def _worded(value: object, depth: int = 0) -> object:
    """A value whose errors are worded, also those in lists, tuples, sets and mappings."""
    if isinstance(value, BaseException):
        return public_text(value)
    if isinstance(value, _CONTAINERS) and depth > _MAX_DEPTH:
        return _DEEPER
    inside = partial(_worded, depth=depth + 1)
    match value:
        case Mapping():
            items = cast("Mapping[object, object]", value).items()
            return {inside(key): inside(item) for key, item in items}
        case list() | set() | frozenset():
            return [inside(item) for item in cast("Iterable[object]", value)]
        case tuple():
            return tuple(inside(item) for item in cast("Iterable[object]", value))
        case _:
            return value


def _formatter(role: str, form: str) -> logging.Formatter:
    if form == "json":
        return JsonFormatter()
    return TextFormatter(f"%(asctime)s %(levelname)s {role} %(name)s: %(message)s")


def configure(role: str, *, level: str, form: str) -> None:
    """Set up a process's logs on standard error, also of what nothing caught.

    Args:
        role: of the process; a line of text names it.
        level: name of the lowest level that is written.
        form: "json" or "text".
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(role, form))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in (
        "httpx",
        "httpx2",
        "sentence_transformers",
        "transformers",
        "urllib3",
    ):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Python writes these with their messages.
    threading.excepthook = _log_of_thread
    sys.unraisablehook = _log_unraisable


def log_uncaught_of_loop(
    _loop: asyncio.AbstractEventLoop, context: dict[str, Any]
) -> None:
    """Log what a task raised that nothing awaits: asyncio's own handler shows the message and all arguments."""
    error = context.get("exception")
    extra = {"action": "uncaught", "what": str(context.get("message", ""))}
    logger.error("an error was not awaited", exc_info=error, extra=extra)


def _log_of_thread(arguments: threading.ExceptHookArgs) -> None:
    extra = {"action": "uncaught"}
    logger.error("a thread ended", exc_info=arguments.exc_value, extra=extra)


def _log_unraisable(arguments: "sys.UnraisableHookArgs") -> None:
    extra = {"action": "uncaught"}
    error = arguments.exc_value
    logger.error("an error could not be raised", exc_info=error, extra=extra)
