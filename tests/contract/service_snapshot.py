"""The contract with other teams, kept as data in service.json.

`python -m tests.contract.service_snapshot` records an addition. Anything but an addition is refused, since other
teams' code was built against what service.json holds. Names of Python classes are not on the wire, so a class may get
a new name, provided that its former name can still be imported.
"""

import dataclasses
import enum
import inspect
import json
import re
import sys
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

from corpus import service

FILE = Path(__file__).with_name("service.json")


def current(module: ModuleType = service) -> dict[str, Any]:
    """Services, types, enums, constants and former names of a contract module."""
    snapshot: dict[str, Any] = {
        "services": {},
        "types": {},
        "enums": {},
        "constants": {},
        "classes": {},
        "aliases": {},
    }
    for name, value in sorted(vars(module).items()):
        defined_here = getattr(value, "__module__", module.__name__) == module.__name__
        if defined_here and not name.startswith("_"):
            _add(snapshot, name, value)
    return snapshot


def _add(snapshot: dict[str, Any], name: str, value: Any) -> None:
    if inspect.isclass(value) and value.__name__ != name:
        snapshot["aliases"][name] = value.__name__
    elif (definition := getattr(value, "__nexus_service_definition__", None)) is not None:
        snapshot["classes"][definition.name] = name
        snapshot["services"][definition.name] = {
            operation.name: [_type_name(operation.input_type), _type_name(operation.output_type)]
            for _, operation in sorted(definition.operation_definitions.items())
        }
    elif dataclasses.is_dataclass(value):
        snapshot["types"][name] = _fields(value)
    elif inspect.isclass(value) and issubclass(value, enum.Enum):
        snapshot["enums"][name] = {member.name: member.value for member in value}
    elif isinstance(value, (int, str)) and name.isupper():
        snapshot["constants"][name] = value


def _fields(kind: Any) -> dict[str, list[str]]:
    """Field -> [type, default]; the default is "required" where there is none."""
    hints = typing.get_type_hints(kind)
    return {
        field.name: [_type_name(hints[field.name]), _default(field)]
        for field in dataclasses.fields(kind)
    }


def _default(field: dataclasses.Field[Any]) -> str:
    return "required" if field.default is dataclasses.MISSING else repr(field.default)


def _type_name(kind: Any) -> str:
    if inspect.isclass(kind) and not typing.get_args(kind):
        return kind.__name__
    return re.sub(r"\b(?:\w+\.)+(?=[A-Z])", "", str(kind))


def breaks(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is missing or different in `now`, and every added field without a default."""
    expected = _with_current_names(before, now["aliases"])
    problems: list[str] = []
    for group, entries in expected.items():
        for name, content in entries.items():
            if name in now[group]:
                problems += _differences(f"{group}: {name}", content, now[group][name])
            else:
                problems.append(f"{group}: {name} is gone")
    return problems + _new_required_fields(expected["types"], now["types"])


def _with_current_names(snapshot: dict[str, Any], aliases: dict[str, str]) -> dict[str, Any]:
    """The snapshot with the current name of every class whose former name can still be imported."""
    renamed = dict(snapshot)
    for group in ("types", "enums"):
        renamed[group] = {aliases.get(name, name): kept for name, kept in snapshot[group].items()}
    for group in ("services", "types", "classes"):  # what names classes in its content
        renamed[group] = _renamed(renamed.get(group, {}), aliases)
    return renamed


def _renamed(content: Any, aliases: dict[str, str]) -> Any:
    if isinstance(content, dict):
        return {name: _renamed(value, aliases) for name, value in content.items()}
    if isinstance(content, list):
        return [_renamed(value, aliases) for value in content]
    return re.sub(r"\w+", lambda word: aliases.get(word[0], word[0]), content)


def _differences(where: str, before: Any, now: Any) -> list[str]:
    if not isinstance(before, dict):
        return [] if before == now else [f"{where} was {before!r}, is {now!r}"]
    gone = [f"{where}.{name} is gone" for name in before if name not in now]
    kept = [name for name in before if name in now]
    changed = [
        f"{where}.{name} was {before[name]}, is {now[name]}"
        for name in kept
        if now[name] != before[name]
    ]
    return gone + changed


def _new_required_fields(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    for name, fields in now.items():
        added = set(fields) - set(before.get(name, fields))
        required = sorted(field for field in added if fields[field][1] == "required")
        problems += [f"types: {name}.{field} is new and has no default" for field in required]
    return problems


def main() -> None:
    """See the module."""
    now = current()
    if FILE.exists():
        problems = breaks(json.loads(FILE.read_text(encoding="utf-8")), now)
        if problems:
            rule = "only additions are allowed; a change of meaning gets a new service name"
            sys.exit("\n".join([*problems, rule]))
    FILE.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
