"""JSON that its schema allows, checked by jsonschema-rs.

Its regular expressions take linear time, and it fetches nothing.
"""

import json
from collections.abc import Callable
from typing import Any, cast

import jsonschema_rs

from ingest.decode.json_fields import read_json
from ingest.decode.registry.framing import unusable
from ingest.decode.registry.schemas import StoredSchema

# Steps that a check takes at most, references followed: a short schema can refer to itself in 2^40 ways.
MAX_STEPS = 100_000

Reader = Callable[[bytes, tuple[str, ...]], Any]


def json_reader(schema: StoredSchema) -> Reader:
    """What reads and checks the values of a schema.

    Raises:
        FieldError: it is no JSON Schema, refers to one that is not in the registry, or would take too long.
    """
    try:
        referenced = [(name, json.loads(text)) for name, text in schema.references]
        root = json.loads(schema.text)
        _Steps([root, *(one for _, one in referenced)]).count(root)
        validator = _validator(root, referenced)
    except RecursionError:
        raise unusable("it is nested too deeply") from None
    except (ValueError, TypeError) as error:
        raise unusable(f"it is no JSON Schema ({type(error).__name__})") from None

    def value_of(
        payload: bytes,
        unrepeated: tuple[str, ...],
    ) -> Any:
        value = read_json(payload, unrepeated)
        _check(validator, value)
        return value

    return value_of


def _validator(
    root: Any,
    referenced: list[tuple[str, Any]],
) -> Any:
    options: dict[str, Any] = {
        "retriever": _fetch_nothing,
        "pattern_options": jsonschema_rs.RegexOptions(),
    }
    if referenced:
        options["registry"] = jsonschema_rs.Registry(
            referenced, retriever=_fetch_nothing
        )
    return jsonschema_rs.validator_for(root, **options)


def _fetch_nothing(_uri: str) -> Any:
    raise ValueError("a schema that the registry does not have")


def _check(
    validator: Any,
    value: Any,
) -> None:
    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        path = "/".join(str(part) for part in error.schema_path)
        raise unusable(f"it breaks the rule /{path}") from None
    except ValueError as error:
        raise unusable(f"it cannot be checked ({type(error).__name__})") from None


class _Steps:
    """Counts the rules of a schema, with each reference as the rules that it stands for; a cycle counts once."""

    def __init__(
        self,
        schemas: list[Any],
    ) -> None:
        self._by_pointer: dict[str, Any] = {}
        self._counted: dict[str, int] = {}
        self._open: set[str] = set()
        for schema in schemas:
            self._index(schema, "#")

    def _index(
        self,
        part: Any,
        pointer: str,
    ) -> None:
        if isinstance(part, list):
            for number, each in enumerate(cast("list[Any]", part)):
                self._index(each, f"{pointer}/{number}")
            return
        if not isinstance(part, dict):
            return
        rules = cast("dict[str, Any]", part)
        self._by_pointer[pointer] = rules
        for name in ("$id", "id", "$anchor"):
            named = rules.get(name)
            if isinstance(named, str):
                self._by_pointer[named] = rules
                self._by_pointer[f"#{named}"] = rules
        for name, each in rules.items():
            self._index(each, f"{pointer}/{name}")

    def count(
        self,
        part: Any,
    ) -> int:
        """The rules of a part.

        Raises:
            FieldError: they are too many.
        """
        steps = 1
        if isinstance(part, list):
            steps += sum(self.count(each) for each in cast("list[Any]", part))
        elif isinstance(part, dict):
            rules = cast("dict[str, Any]", part)
            steps += sum(self.count(each) for each in rules.values())
            for name in ("$ref", "$dynamicRef", "$recursiveRef"):
                target = rules.get(name)
                if isinstance(target, str):
                    steps += self._of_reference(target)
        if steps > MAX_STEPS:
            raise unusable(
                f"to check a value by it takes more than {MAX_STEPS:,} steps"
            )
        return steps

    def _of_reference(
        self,
        target: str,
    ) -> int:
        counted = self._counted.get(target)
        if counted is not None:
            return counted
        part = self._by_pointer.get(target)
        if part is None:
            part = self._by_pointer.get(f"#{target.partition('#')[2]}")
        if part is None or target in self._open:
            return 1
        self._open.add(target)
        steps = self.count(part)
        self._open.discard(target)
        self._counted[target] = steps
        return steps
