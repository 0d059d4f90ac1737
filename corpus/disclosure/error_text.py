"""What an error says outside the process that met it: its kind, its place, and words that hold no values.

A library's message may quote what it was working on: a row, a line of a file, a connection string. So only three kinds
of words leave a process, in a log, a failure that Temporal keeps, a dead letter, a notice or an output: those of
Freshet's own errors, those that a server's protocol fixes, and the name and place of any other error.
"""

import json
import os
import re
import traceback
from collections.abc import Iterator
from typing import Any

from corpus.errors import FreshetError, place_of

# What every library has the same words for, wherever it puts them in its message: why a service was not reached.
_SERVICE_WORDS = re.compile(
    r"connection refused|connection reset|broken pipe|timed out|deadline exceeded|dns error|certificate \w+"
    r"|unauthenticated|permission ?denied|request unauthorized|unimplemented|unavailable|no such file or directory"
    r"|\(os error \d{1,3}\)|\b[45]\d\d(?: [a-z]+){1,2}\b|profile '[\w.-]{1,60}' not found|line \d+, column \d+"
    r"|\b(?:max|schedule|export)_[a-z_]{1,30}\b",
    re.IGNORECASE,
)
_MAX_CAUSES = 20


def public_text(error: BaseException) -> str:
    """One line about an error, without any value that its library quotes."""
    if isinstance(error, FreshetError):
        return _one_line(str(error))
    for describe in (
        _of_temporal,
        _of_postgres,
        _of_kafka,
        _of_the_system,
        _of_python,
    ):
        described = describe(error)
        if described is not None:
            return described
    return f"{type(error).__name__} in {place_of(error)}"


def service_text(error: BaseException) -> str:
    """Why a service or a file of settings cannot be used, in the words that all libraries have for it."""
    words: list[str] = []
    for match in _SERVICE_WORDS.finditer(str(error)):
        word = match[0]
        if word.startswith("(os error"):
            number = re.sub(r"\D", "", word)
            word = os.strerror(int(number))
        words.append(word)
    found = list(dict.fromkeys(words))
    return ", ".join(found) or type(error).__name__


def public_trace(error: BaseException) -> str:
    """The trace of an error and of its causes: files, lines and the lines' code, without any value."""
    parts: list[str] = []
    for cause in _with_causes(error):
        frames = traceback.format_tb(cause.__traceback__)
        name = f"{type(cause).__module__}.{type(cause).__qualname__}"
        heading = "Traceback (most recent call last):\n"
        parts.append(f"{heading}{''.join(frames)}{name}: {public_text(cause)}\n")
    return "\nwhich led to:\n\n".join(reversed(parts))


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """The error, then what led to it."""
    current: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if current is None:
            return
        yield current
        before = current.__cause__
        if before is None and not current.__suppress_context__:
            before = current.__context__
        current = before


def _one_line(text: str) -> str:
    return " ".join(text.split())


# ── libraries whose errors a protocol words ─────────────────────────────────────────────────────────────────────────


def _of_temporal(error: BaseException) -> str | None:
    """Temporal's and Nexus' own; the failures that they carry were worded by this module where they were made."""
    module = type(error).__module__
    if not module.startswith(("temporalio.", "nexusrpc.")):
        return None
    status = getattr(error, "status", None)
    name = getattr(status, "name", "")
    text = _one_line(str(error))
    return f"{name}: {text}" if name else text


# Conditions of PostgreSQL whose message names objects of the schema, roles and hosts, and no value of a row.
_WORDED_STATES = (
    *(
        "08",
        "0A",
        "23",
        "25",
        "28",
        "3D",
        "3F",
        "40",
        "42",
        "53",
        "54",
        "55",
        "57",
        "58",
    ),
    "FR",  # raised by Freshet's own functions
)


def _of_postgres(error: BaseException) -> str | None:
    """The server's condition. Its lines DETAIL and CONTEXT quote rows, and some messages the value they refuse.

    The driver is known by its name, since workflows import this module and may import no driver.
    """
    packages = {base.__module__.partition(".")[0] for base in type(error).__mro__}
    if "psycopg_pool" in packages:
        return _one_line(str(error))
    if "psycopg" not in packages:
        return None
    refusal: Any = error
    kind = type(error).__name__
    if refusal.sqlstate is None:
        # Raised by the driver: about a connection, in libpq's words; or about a value, which it then quotes.
        names = {base.__name__ for base in type(error).__mro__}
        is_of_connection = names & {"OperationalError", "InterfaceError"}
        return _one_line(str(error)) if is_of_connection else kind
    message = refusal.diag.message_primary
    if message is None:  # no server worded it
        return _one_line(str(error)) or kind
    if not refusal.sqlstate.startswith(_WORDED_STATES):
        return f"{kind} ({refusal.sqlstate})"
    return f"{_one_line(message)} ({refusal.sqlstate})"


def _of_kafka(error: BaseException) -> str | None:
    """Kafka's code and librdkafka's words for it, which quote a property only where they refuse it."""
    if type(error).__name__ != "KafkaException":
        return None
    reason: Any = next(iter(error.args), None)
    if not hasattr(reason, "str"):
        return _one_line(str(error))
    return kafka_text(reason)


# About a property: fixed words and its name, which a pasted key never is.
_PROPERTY = re.compile(
    r'(?:No such|Invalid value for) configuration property:? "[a-z0-9_.]+"'
    r"|\b(?:ssl|sasl|security)(?:\.[a-z0-9_]+)+\b"
)


def kafka_text(reason: Any) -> str:
    """What a `KafkaError` says; one about properties may quote their values, so that it only names the property."""
    words = _one_line(str(reason.str()))
    name = str(reason.name())
    if name != "_INVALID_ARG":
        return words
    named = _PROPERTY.search(words)
    if named is None:
        return name
    return named[0]


def _of_the_system(error: BaseException) -> str | None:
    """An error of the operating system, by its number; its message may name anything."""
    if not isinstance(error, OSError) or error.errno is None:
        return None
    return f"{type(error).__name__}: {os.strerror(error.errno)}"


def _of_python(error: BaseException) -> str | None:
    """Which module is missing; what the JSON parser expected, and where."""
    if isinstance(error, ImportError) and error.name:
        return f"{type(error).__name__}: {error.name} cannot be imported"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    return None
