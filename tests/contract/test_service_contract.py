"""`corpus/service.py` only grows: other teams' code was built against what service.json holds."""

import copy
import json
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import Any

import pytest

from corpus import service
from tests.contract.service_snapshot import FILE, breaks, current

RECORDED = json.loads(FILE.read_text(encoding="utf-8"))


def test_nothing_is_taken_away() -> None:
    assert not breaks(RECORDED, current()), (
        "only additions are allowed; a change of meaning gets a new service name"
    )


def test_additions_are_recorded() -> None:
    assert current() == RECORDED, "run: python -m tests.contract.service_snapshot"


def test_the_former_name_of_wait_outcome_is_the_same_class() -> None:
    assert service.Why is service.WaitOutcome
    assert service.Why("timeout") is service.WaitOutcome.TIMEOUT


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("types", "SearchHit", "uri"), None, "types: SearchHit.uri is gone"),
        (("types", "SearchHit", "uri"), ["str", "required"], "types: SearchHit.uri was"),
        (
            ("types", "SearchHit", "brand_new"),
            ["str", "required"],
            "types: SearchHit.brand_new is new and has no default",
        ),
        (("types", "SearchHit", "harmless"), ["str", "''"], ""),
        (("types", "Harmless"), {"field": ["str", "required"]}, ""),
        (
            ("services", "freshet.corpus.v1", "search"),
            None,
            "services: freshet.corpus.v1.search is gone",
        ),
        (
            ("services", "freshet.corpus.v1", "search"),
            ["SearchRequest", "SearchHit"],
            "services: freshet.corpus.v1.search was",
        ),
        (("classes", "freshet.corpus.v1"), "Corpus", "classes: freshet.corpus.v1 was"),
        (("enums", "WaitOutcome", "TIMEOUT"), None, "enums: WaitOutcome.TIMEOUT is gone"),
        (("enums", "WaitOutcome"), None, "enums: WaitOutcome is gone"),
        (("aliases", "Why"), None, "aliases: Why is gone"),
        (("aliases", "Why"), "SearchHit", "types: AwaitFreshResponse.why was"),
        (("constants", "MAX_HITS"), 10, "constants: MAX_HITS was 100, is 10"),
    ],
)
def test_what_counts_as_a_break(path: tuple[str, ...], value: object, message: str) -> None:
    before = copy.deepcopy(RECORDED)
    before["types"]["AwaitFreshResponse"]["why"] = ["Why", "required"]  # recorded before the rename
    changed = copy.deepcopy(RECORDED)
    *parents, name = path
    parent = changed
    for step in parents:
        parent = parent[step]
    if value is None:
        del parent[name]
    else:
        parent[name] = value
    problems = breaks(before, changed)
    if message:
        assert any(problem.startswith(message) for problem in problems), problems
    else:
        assert not problems


# ── a class gets a new name ─────────────────────────────────────────────────────────────────────────────────────────


def contract(**names: Any) -> ModuleType:
    module = ModuleType("contract")
    for kind in names.values():
        kind.__module__ = "contract"
    vars(module).update(names)
    return module


def colours(name: str, *values: str) -> type[StrEnum]:
    return StrEnum(name, [(value.upper(), value) for value in values])


def message_type(kind: type[StrEnum]) -> type[Any]:
    @dataclass
    class Message:
        colour: kind  # type: ignore[valid-type]  # the class is made in the test
        others: tuple[kind, ...] = ()  # type: ignore[valid-type]

    return Message


Old = colours("Old", "red")
New = colours("New", "red")
BEFORE = current(contract(Old=Old, Message=message_type(Old)))


def test_a_new_name_is_compatible_while_the_former_one_can_be_imported() -> None:
    renamed = contract(New=New, Old=New, Message=message_type(New))
    assert breaks(BEFORE, current(renamed)) == []


def test_a_new_name_without_the_former_one_is_a_break() -> None:
    renamed = contract(New=New, Message=message_type(New))
    assert breaks(BEFORE, current(renamed)) == [
        "types: Message.colour was ['Old', 'required'], is ['New', 'required']",
        "types: Message.others was ['tuple[Old, ...]', '()'], is ['tuple[New, ...]', '()']",
        "enums: Old is gone",
    ]


def test_a_new_name_does_not_hide_a_change() -> None:
    other = colours("New", "blue")
    renamed = contract(New=other, Old=other, Message=message_type(other))
    assert breaks(BEFORE, current(renamed)) == ["enums: New.RED is gone"]


def test_a_former_name_that_another_class_takes_is_a_break() -> None:
    other = colours("Other", "green")
    kinds = {"New": New, "Other": other, "Old": other, "Message": message_type(New)}
    assert "enums: Other.RED is gone" in breaks(BEFORE, current(contract(**kinds)))
