"""The values of `freshet.toml`: durations, sizes, counts, names; each with bounds, so that nothing overflows later."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

NAME = r"^[a-z0-9][a-z0-9_.-]{0,62}$"
# What Temporal takes: a name that its server, its web page and its command line write without quotes.
NAMESPACE = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,199}$"
ENDPOINT = r"^[a-zA-Z][a-zA-Z0-9-]{0,198}[a-zA-Z0-9]$"
MAX_TOPIC_LENGTH = 249
MAX_PARTITIONS = 1_000  # of a topic that Freshet creates
# Topics that brokers keep for themselves.
_RESERVED_TOPICS = (
    "__consumer_offsets",
    "__transaction_state",
    "__share_group_state",
    "__cluster_metadata",
    "__remote_log_metadata",
)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION_HINT = 'a duration such as "30d", "1h30m", "250ms" (units: ms, s, m, h, d, w), or a number of seconds'
_DURATION_PART = r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)"
# `ByteSize` would also take bits ("8Mbit"), and read the beginning of "8MB x" or "1,000".
_SIZE = r"[0-9]*\.?[0-9]+\s*([KMGTPE]I?B|[KMGTPE]|B)?"
_BYTE_SIZE = TypeAdapter(ByteSize)
_MAX_DAYS = 36_525  # 100 years
_MAX_SECONDS = _MAX_DAYS * 86_400
_MAX_BYTES = 10**15
_MAX_COUNT = 10**9


def seconds(value: Any) -> float:
    """A duration in seconds: a number of them, or text such as "30d", "1h30m", "250ms"; 100 years at most.

    Raises:
        ValueError: says what may be written.
    """
    match value:
        case timedelta():
            number = value.total_seconds()
        case str():
            number = _seconds_of_text(value.replace(" ", ""))
        case int() | float() if not isinstance(value, bool):
            number = value
        case _:
            raise ValueError(_DURATION_HINT)
    if not abs(number) <= _MAX_SECONDS:  # so, since nan is neither more nor less
        raise ValueError(f"a duration of at most {_MAX_DAYS:,} days (100 years)")
    return number


def _seconds_of_text(text: str) -> float:
    if not re.fullmatch(f"({_DURATION_PART})+", text):
        raise ValueError(_DURATION_HINT)
    total = 0.0
    for number, unit in re.findall(_DURATION_PART, text):
        total += float(number) * _UNITS[unit]
    return total


def size(value: Any) -> int:
    """A size in bytes: a whole number of them, or text such as "8MB", "512KiB", "1.5 GB"; 1,000,000 GB at most.

    Raises:
        ValueError: says what may be written.
    """
    number = _bytes_of_text(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(  # noqa: TRY004 - pydantic takes ValueError only
            'a size such as "8MB", "512KiB" (units: B, KB, MB, GB, KiB, MiB, GiB), or a whole number of bytes'
        )
    if number > _MAX_BYTES:
        raise ValueError("a size of at most 1000000GB")
    return number


def _bytes_of_text(text: str) -> int | None:
    """The size; None where the text is not one."""
    stated = text.strip()
    is_size = re.fullmatch(_SIZE, stated, re.IGNORECASE | re.ASCII)
    if not is_size:
        return None
    try:
        return int(_BYTE_SIZE.validate_python(text))
    except ValidationError:  # more digits than a float holds
        return _MAX_BYTES + 1


def topic(name: str) -> str:
    """The name of a topic that Kafka takes, and that is not one of its own.

    Raises:
        ValueError: says what is allowed.
    """
    if name in (".", "..") or not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", name):
        raise ValueError(
            f"a topic's name has 1 to {MAX_TOPIC_LENGTH} of the characters a-z A-Z 0-9 . _ - and is not . or .."
        )
    if name in _RESERVED_TOPICS:
        raise ValueError("a topic of Kafka's own")
    return name


def _whole_seconds(value: Any) -> int:
    number = seconds(value)
    whole = int(number)
    if number != whole:
        raise ValueError(f"whole seconds; {value!r} is {number:g} s")
    return whole


def _age(value: Any) -> int | None:
    """How old something may become; None where it says "forever"."""
    if value is None or value == FOREVER:
        return None
    return _whole_seconds(value)


def _milliseconds(value: Any) -> int:
    return round(seconds(value) * 1000)


def _written(
    reader: Callable[[Any], Any], example: str
) -> tuple[BeforeValidator, WithJsonSchema]:
    schema = {
        "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}],
        "examples": [example],
    }
    return BeforeValidator(reader), WithJsonSchema(schema)


Bytes = Annotated[int, Field(ge=1), *_written(size, "8MB")]
Seconds = Annotated[int, Field(ge=1), *_written(_whole_seconds, "30d")]
# None: for ever.
FOREVER = "forever"
Age = Annotated[
    Annotated[int, Field(ge=1)] | None,
    BeforeValidator(_age),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}],
            "examples": ["30d", FOREVER],
        }
    ),
]
# A day is the longest that one document may take: what waits for it counts milliseconds in 32 bits.
SecondsOfADay = Annotated[float, Field(gt=0, le=86_400), *_written(seconds, "20s")]
# Half of what one attempt to prepare a batch may take (`corpus.policies.PREPARE`): what it has got must be kept.
SecondsOfHalfAnHour = Annotated[float, Field(gt=0, le=1_800), *_written(seconds, "20s")]
Milliseconds = Annotated[int, Field(ge=0, le=60_000), *_written(_milliseconds, "50ms")]
Count = Annotated[int, Field(ge=1, le=_MAX_COUNT, strict=True)]
# A share beside those of others. Temporal takes 0.001 to 1,000.
Weight = Annotated[float, Field(ge=0.01, le=100, strict=True)]
Topic = Annotated[
    str,
    AfterValidator(topic),
    Field(json_schema_extra={"pattern": "^[a-zA-Z0-9._-]{1,249}$"}),
]
# As an event names it in `acl`.
Group = Annotated[str, Field(min_length=1, max_length=1_000)]
SourceName = Annotated[str, Field(pattern=NAME)]
Namespace = Annotated[str, Field(pattern=NAMESPACE)]
Endpoint = Annotated[str, Field(pattern=ENDPOINT)]
TaskQueue = Annotated[
    str,
    Field(pattern=r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]{0,198}[^\s\x00-\x1f\x7f])?$"),
]
