"""Logs: one JSON object per line (or plain text), with a constant message, an `action`, and context fields."""

import logging
import sys
import time
import traceback
from typing import Any

from workers.shown import json_text, shown

_STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; line breaks in values are escaped, so no text can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
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
            line["error"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json_text(line, default=str)


class TextFormatter(logging.Formatter):
    """A record as one line of text, and the lines of a trace below it, set in, so that no text can forge a record."""

    def format(self, record: logging.LogRecord) -> str:
        first, *further = shown(super().format(record)).split("\n")
        return "\n    ".join((first, *further))


def _formatter(role: str, form: str) -> logging.Formatter:
    if form == "json":
        return JsonFormatter()
    return TextFormatter(f"%(asctime)s %(levelname)s {role} %(name)s: %(message)s")


def configure(role: str, *, level: str, form: str) -> None:
    """Set up a process's logs on standard error.

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
