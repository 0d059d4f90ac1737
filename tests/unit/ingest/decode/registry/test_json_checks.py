"""The check of a JSON value ends, whatever its schema and the value are, and no other thread waits for it."""

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from ingest.decode.fields import FieldError
from ingest.decode.registry import json_schema
from ingest.decode.registry.json_schema import Reader, json_reader
from ingest.decode.registry.json_steps import Steps
from ingest.decode.registry.schemas import StoredSchema

NODE = {"properties": {"x": {"$ref": "#/$defs/n"}}}
BRANCHES: dict[str, Any] = {
    "allOf": {"allOf": [NODE, NODE]},
    "anyOf": {"anyOf": [{**NODE, "const": 1}, {**NODE, "const": 2}]},
    "oneOf": {"oneOf": [NODE, {"type": "array"}, {**NODE, "minProperties": 9}]},
    "if": {"if": NODE, "then": NODE, "else": NODE},
    "unevaluated": {"anyOf": [NODE], "unevaluatedProperties": {"$ref": "#/$defs/n"}},
    "dynamic": {
        "$dynamicAnchor": "n",
        "allOf": [{"properties": {"x": {"$dynamicRef": "#n"}}}] * 2,
    },
}
CHECK = 60.0  # seconds; a machine may be busy, and what does not end takes years


def reader(schema: Any) -> Reader:
    return json_reader(StoredSchema("JSON", json.dumps(schema), ()))


def nested(depth: int) -> bytes:
    return b'{"x":' * depth + b"1" + b"}" * depth


def outcome(read: Reader, payload: bytes) -> str:
    try:
        read(payload, (), "docs")
    except FieldError as error:
        return error.detail
    return "allowed"


@contextmanager
def other_thread() -> Generator[list[float]]:
    """A thread that counts; yields when it did."""
    ticks: list[float] = []
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(0.02):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=count)
    thread.start()
    yield ticks
    ended.set()
    thread.join()


@pytest.mark.parametrize("name", BRANCHES)
def test_a_schema_that_refers_to_itself_is_checked_at_any_depth(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_schema, "CHECK_SECONDS", CHECK)
    monkeypatch.setattr(json_schema, "NAMING_SECONDS", 0.1)
    read = reader({"$defs": {"n": BRANCHES[name]}, "$ref": "#/$defs/n"})
    expected = "it breaks a rule"
    if name in ("allOf", "if", "unevaluated", "dynamic"):
        expected = "allowed"
    for depth in (16, 24, 60):
        assert outcome(read, nested(depth)) == expected


def test_texts_of_many_kinds_of_nodes_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_schema, "CHECK_SECONDS", CHECK)
    kinds = [f"kind{number}" for number in range(8)]
    nodes = [
        {
            "properties": {
                "content": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "type": {"const": kind},
            },
            "required": ["type"],
        }
        for kind in kinds
    ]
    read = reader({"$defs": {"node": {"oneOf": nodes}}, "$ref": "#/$defs/node"})
    value: Any = {"type": "kind0"}
    wrong: Any = {"type": "nothing"}
    for number in range(20):
        kind = kinds[number % 8]
        value = {"type": kind, "content": [value] * 2 if number < 4 else [value]}
        wrong = {"type": kind, "content": [wrong]}
    assert outcome(read, json.dumps(value).encode()) == "allowed"
    assert outcome(read, json.dumps(wrong).encode()).startswith("it breaks")


def endless() -> Any:
    """A short schema without a cycle whose check takes 2.6^40 steps."""
    schema: Any = {"properties": {"z": True}}
    for _ in range(40):
        schema = {"anyOf": [schema], "unevaluatedProperties": False}
    return schema


def test_a_check_without_end_is_ended_while_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_schema, "CHECK_SECONDS", 1.0)
    read = reader(endless())
    began = time.monotonic()
    with other_thread() as ticks:
        for _ in range(json_schema.MAX_SLOW):
            assert outcome(read, b'{"z": 1}') == "to check it takes longer than 1 s"
    assert time.monotonic() - began < CHECK
    assert len(ticks) > 10
    # Its other values are refused at once, since each would hold its batch.
    began = time.monotonic()
    assert "is not checked" in outcome(read, b'{"z": 1}')
    assert time.monotonic() - began < 1.0
    assert outcome(reader({"type": "object"}), b'{"z": 1}') == "allowed"


def test_a_rule_that_cannot_be_named_soon_is_not_looked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_schema, "CHECK_SECONDS", CHECK)
    monkeypatch.setattr(json_schema, "NAMING_SECONDS", CHECK)
    read = reader({"$defs": {"n": BRANCHES["oneOf"]}, "$ref": "#/$defs/n"})
    assert outcome(read, b'{"x":{"x":1}}').startswith("it breaks the rule /")
    monkeypatch.setattr(json_schema, "NAMING_SECONDS", 0.1)
    for _ in range(json_schema.MAX_SLOW):
        assert outcome(read, nested(40)) == "it breaks a rule"
    assert outcome(read, b'{"x":{"x":1}}') == "it breaks a rule"


@pytest.mark.parametrize(
    ("schema", "payload"),
    [
        ({"pattern": "[ab]*a[ab]{300}[c-z]"}, b'"' + b"ab" * 100_000 + b'"'),
        ({"items": {"pattern": "[ab]*a[ab]{30}[c-z]"}}, b'["' + b"ab" * 200_000 + b'"]'),
        ({"items": {"allOf": [{"minimum": 2}] * 300}}, b"[" + b"1," * 20_000 + b"1]"),
    ],
    ids=["a large pattern", "a long text", "many values"],
)
def test_what_takes_long_keeps_no_other_thread(
    schema: Any, payload: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_schema, "CHECK_SECONDS", CHECK)
    read = reader(schema)

    def here(*_: Any, **__: Any) -> None:
        raise AssertionError("it is checked where it keeps all others")

    monkeypatch.setattr("ingest.decode.registry.json_checks.verdict", here)
    assert outcome(read, payload) != "allowed"


UNBOUNDED: dict[str, Any] = {
    "itself": {"properties": {"x": {"$ref": "#"}}},
    "each other": {
        "$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"items": {"$ref": "#/$defs/a"}}},
        "$ref": "#/$defs/a",
    },
    "an anchor": {"$defs": {"a": {"$anchor": "a"}}, "$ref": "#a"},
    "an id": {"$defs": {"a": {"$id": "a.json"}}, "$ref": "a.json"},
    "dynamic": {"$dynamicAnchor": "a", "items": {"$dynamicRef": "#a"}},
    "unevaluated": {"unevaluatedItems": {"type": "string"}},
    "elsewhere": {"$ref": "https://example.org/x.json"},
    "an escape": {"$defs": {"a/b": {}, "a": {"b": {"items": {}}}}, "$ref": "#/$defs/a/b"},
    "a format": {"format": "regex"},
}


@pytest.mark.parametrize("name", UNBOUNDED)
def test_a_schema_whose_steps_are_not_known_is_checked_apart(name: str) -> None:
    assert not Steps(UNBOUNDED[name], []).is_bounded


def test_an_ordinary_schema_is_checked_here() -> None:
    schema = {
        "$id": "https://example.org/doc",
        "$defs": {"author": {"properties": {"id": {"type": "string", "format": "uuid"}}}},
        "properties": {"a": {"$ref": "#/$defs/author"}, "b": {"$ref": "#/$defs/author"}},
        "patternProperties": {"^x-": {"pattern": "^[a-z]+$"}},
    }
    steps = Steps(schema, [])
    assert (steps.is_bounded, steps.patterns) == (True, 2)
    assert steps.rules < 40


def test_slow_values_of_long_ago_count_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr(json_schema.time, "monotonic", lambda: now[0])
    patience = json_schema._Patience()
    for _ in range(5 * json_schema.MAX_SLOW):
        patience.lose()
        now[0] += json_schema.SLOW_PAUSE_SECONDS
        assert not patience.is_over()
    for _ in range(json_schema.MAX_SLOW):
        patience.lose()
    assert patience.is_over()
