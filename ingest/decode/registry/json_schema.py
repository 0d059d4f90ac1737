"""JSON that its schema allows, checked by jsonschema-rs, which keeps Python's lock meanwhile: no other thread runs.

A value is checked here only where the schema says how many steps that takes. How long others take depends on the value
(a schema that refers to itself, large patterns), so these are checked in a process that is ended after a time.
"""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

import jsonschema_rs

from corpus.limits.fair_queue import QueuedBatch
from corpus.limits.processes import LimitedProcesses
from corpus.limits.work import Limit, Overrun
from ingest.decode.json_fields import read_json
from ingest.decode.registry import json_checks
from ingest.decode.registry.framing import unusable
from ingest.decode.registry.json_checks import Check, SharedSchema, Verdict
from ingest.decode.registry.json_steps import Steps
from ingest.decode.registry.schemas import StoredSchema

# Checked here: a tenth of a second where each step is the slowest that there is.
MAX_STEPS_HERE = 1_000_000
MAX_PATTERN_BYTES_HERE = 300_000  # bytes of a value, times patterns
_MAX_PATTERNS_HERE = 100
# Bytes of a compiled pattern; of one that is larger, each byte takes so many times as long.
_PATTERN_SIZES_HERE = (20_000, 1_000_000)
CHECK_SECONDS = 5.0
NAMING_SECONDS = 0.5
# Values that take too long are refused unread after so many, and for so long: each of them holds its batch.
MAX_SLOW = 3
SLOW_PAUSE_SECONDS = 300.0
_PROCESSES = 2
_MEMORY_MB = 2_000

# Reads a payload of a topic; the names that an object may not have twice.
Reader = Callable[[bytes, tuple[str, ...], str], Any]

_processes = LimitedProcesses(
    _PROCESSES, memory_mb=_MEMORY_MB, preload=[json_checks.__name__]
)


def json_reader(schema: StoredSchema) -> Reader:
    """What reads and checks the values of a schema.

    Raises:
        FieldError: it is no JSON Schema, or would take too long.
    """
    try:
        referenced = [json.loads(text) for _, text in schema.references]
        steps = Steps(json.loads(schema.text), referenced)
        here = _here(schema, steps)
    except RecursionError:
        raise unusable("it is nested too deeply") from None
    except (ValueError, TypeError) as error:
        raise unusable(f"it is no JSON Schema ({type(error).__name__})") from None
    apart = _Apart(schema)

    def value_of(
        payload: bytes,
        unrepeated: tuple[str, ...],
        topic: str,
    ) -> Any:
        value = read_json(payload, unrepeated)
        if here is not None and here.may_check(payload):
            found = json_checks.verdict(here.validator, value, names_rule=True)
        else:
            found = apart.verdict(value, topic)
        if found.problem:
            raise unusable(found.problem)
        return value

    return value_of


class _Here(NamedTuple):
    """What checks values in this process.

    Attributes:
        validator: of the schema.
        rules: of the schema.
        patterns: of the schema, a large one counted as several.
    """

    validator: Any
    rules: int
    patterns: int

    def may_check(
        self,
        payload: bytes,
    ) -> bool:
        """Whether the check of a value takes few steps; each value in it is behind a comma or a bracket."""
        values = payload.count(b",") + payload.count(b"{") + payload.count(b"[") + 1
        if self.rules * values > MAX_STEPS_HERE:
            return False
        return self.patterns * len(payload) <= MAX_PATTERN_BYTES_HERE


def _here(
    schema: StoredSchema,
    steps: Steps,
) -> _Here | None:
    """What checks values in this process; None: none is checked here."""
    if not steps.is_bounded or steps.patterns > _MAX_PATTERNS_HERE:
        return None
    smallest = _PATTERN_SIZES_HERE[0]
    for size in _PATTERN_SIZES_HERE:
        limits = jsonschema_rs.RegexOptions(size_limit=size)
        try:
            validator = json_checks.compiled(schema.text, (), limits)
        except ValueError:
            if not steps.patterns:
                raise
            continue  # perhaps a pattern is larger
        return _Here(validator, steps.rules, steps.patterns * size // smallest)
    return None


class _Apart:
    """Checks values of a schema in a process with limits.

    Args:
        schema: of the values.
    """

    def __init__(
        self,
        schema: StoredSchema,
    ) -> None:
        definition = json.dumps([schema.text, schema.references]).encode()
        key = hashlib.sha256(definition).hexdigest()
        self._schema = SharedSchema(key, definition, [])
        self._checking = _Patience()
        self._naming = _Patience()

    def verdict(
        self,
        value: Any,
        topic: str,
    ) -> Verdict:
        """Whether a value is allowed.

        Raises:
            DependencyError: no process can be started.
            RecursionError: it is nested too deeply.
        """
        if self._checking.is_over():
            return _NOT_CHECKED
        written = json.dumps(value).encode()
        check = Check(self._schema, written, names_rule=False)
        found = _run(check, CHECK_SECONDS, topic)
        if isinstance(found, Overrun):
            self._checking.lose()
            return _overrun(found)
        if not found.has_rule or self._naming.is_over():
            return found
        check = Check(self._schema, written, names_rule=True)
        named = _run(check, NAMING_SECONDS, topic)
        if isinstance(named, Overrun):
            self._naming.lose()
            return found
        return named


class _Patience:
    """How long slow values of a schema are borne."""

    def __init__(self) -> None:
        self._slow_at: list[float] = []
        self._over_until = 0.0

    def is_over(self) -> bool:
        """Whether so many were slow that none is tried now."""
        return time.monotonic() < self._over_until

    def lose(self) -> None:
        """A value was slow; those of long ago say nothing of the next ones."""
        now = time.monotonic()
        recent = [at for at in self._slow_at if now - at < SLOW_PAUSE_SECONDS]
        self._slow_at = [*recent, now]
        if len(self._slow_at) >= MAX_SLOW:
            self._slow_at = []
            self._over_until = now + SLOW_PAUSE_SECONDS


def _run(
    check: Check,
    seconds: float,
    topic: str,
) -> Verdict | Overrun:
    # A process reads the values of one topic only.
    outcomes = _processes.run([check], seconds, QueuedBatch(topic, 0, 1))
    with closing(outcomes):
        return next(outcomes)


def _overrun(overrun: Overrun) -> Verdict:
    if overrun.limit is Limit.TIME:
        return Verdict(f"to check it takes longer than {CHECK_SECONDS:g} s")
    return Verdict(f"it cannot be checked (limit: {overrun.limit.value})")


_NOT_CHECKED = Verdict(
    f"it is not checked: {MAX_SLOW} values of this schema took longer than {CHECK_SECONDS:g} s each, "
    f"and for {SLOW_PAUSE_SECONDS:g} s all are refused"
)
