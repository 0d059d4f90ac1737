"""Checks whether a schema allows a JSON value, in this process or in one with limits (`corpus.limits`).

Only `is_valid` remembers what it has found about a part of the value; `validate`, which names the rule, tries each
branch of a schema that refers to itself again: 3^16 times for 61 bytes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

_PATH_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check has found.

    Attributes:
        problem: why the value is refused; empty: it is allowed.
        has_rule: whether it breaks a rule that could be named.
    """

    problem: str = ""
    has_rule: bool = False


def compiled(
    text: str,
    references: Sequence[tuple[str, str]],
    patterns: jsonschema_rs.RegexOptions,
) -> Any:
    """What checks values: its patterns take linear time, and it fetches nothing.

    Args:
        text: of the schema.
        references: name and text of each schema that it refers to.
        patterns: how large they may become.

    Raises:
        TypeError: it is no schema; so is ValueError.
        ValueError: it refers to a schema that is not there, or has a pattern that is too large.
    """
    options: dict[str, Any] = {
        "retriever": _fetch_nothing,
        "pattern_options": patterns,
    }
    if references:
        referenced = [(name, json.loads(one)) for name, one in references]
        options["registry"] = jsonschema_rs.Registry(
            referenced, retriever=_fetch_nothing
        )
    return jsonschema_rs.validator_for(json.loads(text), **options)


def verdict(
    validator: Any,
    value: Any,
    *,
    names_rule: bool,
) -> Verdict:
    """Whether a value is allowed.

    Args:
        validator: of `compiled`.
        value: plain JSON.
        names_rule: whether the rule that it breaks is looked for, which takes longer than the check.
    """
    try:
        if validator.is_valid(value):
            return Verdict()
        if names_rule:
            validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        path = "/".join(str(part) for part in error.schema_path)
        shown = ascii(path[:_PATH_CHARACTERS])[1:-1]
        return Verdict(f"it breaks the rule /{shown}", has_rule=True)
    except ValueError as error:
        return Verdict(f"it cannot be checked ({type(error).__name__})")
    return Verdict("it breaks a rule", has_rule=True)


@dataclass(frozen=True, slots=True)
class SharedSchema:
    """A schema that a process is sent once (`corpus.limits.messages.Shared`).

    Attributes:
        shared_key: identifies it.
        definition: its text and those that it refers to, as JSON.
        validators: what was compiled of it, in this process.
    """

    shared_key: str
    definition: bytes
    validators: list[Any]

    def shared_definition(self) -> bytes:
        """What `of_definition` makes the schema from."""
        return self.shared_key.encode() + b"\n" + self.definition

    @classmethod
    def of_definition(cls, definition: bytes) -> "SharedSchema":
        """The schema; it is compiled by the first check, within its limits."""
        key, _, rest = definition.partition(b"\n")
        return cls(key.decode(), rest, [])

    def validator(self) -> Any:
        """What checks values by it."""
        if not self.validators:
            text, references = json.loads(self.definition)
            one = compiled(text, references, jsonschema_rs.RegexOptions())
            self.validators.append(one)
        return self.validators[0]


@dataclass(frozen=True, slots=True)
class Check:
    """The work on one value (`corpus.limits.work.Work`).

    Attributes:
        schema: that the value should be of.
        value: as JSON.
        names_rule: as in `verdict`.
    """

    schema: SharedSchema
    value: bytes
    names_rule: bool

    @property
    def results(self) -> tuple[type[Any], ...]:
        """Its verdict."""
        return (Verdict,)

    @property
    def characters(self) -> int:
        """Length of the value."""
        return len(self.value)

    def __call__(self) -> Verdict:
        """Whether it is allowed."""
        try:
            validator = self.schema.validator()
        except (ValueError, TypeError) as error:
            return Verdict(f"it is no JSON Schema ({type(error).__name__})")
        return verdict(validator, json.loads(self.value), names_rule=self.names_rule)


def _fetch_nothing(_uri: str) -> Any:
    raise ValueError("a schema that the registry does not have")
