"""The contract with other teams as data: `python -m tests.contract.service_snapshot` writes service.json after an addition.

Anything but an addition is refused: other teams' code was built against what stands there.
"""

import dataclasses
import enum
import inspect
import json
import sys
import typing
from pathlib import Path
from typing import Any

from corpus import service

FILE = Path(__file__).with_name("service.json")


def current() -> dict[str, Any]:
    """Services, types, enums and constants of `corpus.service`."""
    found: dict[str, Any] = {"services": {}, "types": {}, "enums": {}, "constants": {}}
    for name, thing in sorted(vars(service).items()):
        if getattr(thing, "__module__", service.__name__) != service.__name__ or name.startswith(
            "_"
        ):
            continue
        definition = getattr(thing, "__nexus_service_definition__", None)
        if definition is not None:
            operations = definition.operation_definitions.values()
            found["services"][definition.name] = {
                operation.name: [_words(operation.input_type), _words(operation.output_type)]
                for operation in operations
            }
        elif dataclasses.is_dataclass(thing):
            found["types"][name] = _fields(thing)
        elif inspect.isclass(thing) and issubclass(thing, enum.Enum):
            found["enums"][name] = {member.name: member.value for member in thing}
        elif isinstance(thing, (int, str)) and name.isupper():
            found["constants"][name] = thing
    return found


def _fields(kind: Any) -> dict[str, list[str]]:
    """Field -> [type, default]; "required" where there is none."""
    hints = typing.get_type_hints(kind)
    return {
        field.name: [
            _words(hints[field.name]),
            "required" if field.default is dataclasses.MISSING else repr(field.default),
        ]
        for field in dataclasses.fields(kind)
    }


def _words(kind: Any) -> str:
    return (
        kind.__name__
        if inspect.isclass(kind) and not typing.get_args(kind)
        else str(kind).replace("corpus.service.", "")
    )


def breaks(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What of `before` is gone or another; an added field without a default."""
    found = []
    for group, things in before.items():
        for name, content in things.items():
            if name not in now[group]:
                found.append(f"{group}: {name} is gone")
            elif not isinstance(content, dict):
                found += (
                    [f"{group}: {name} was {content!r}, is {now[group][name]!r}"]
                    if content != now[group][name]
                    else []
                )
            else:
                found += _changed(f"{group}: {name}", content, now[group][name])
    for name, fields in now["types"].items():
        added = set(fields) - set(before["types"].get(name, fields))
        found += [
            f"types: {name}.{field} is new and has no default"
            for field in sorted(added)
            if fields[field][1] == "required"
        ]
    return found


def _changed(where: str, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    gone = [f"{where}.{name} is gone" for name in before if name not in now]
    return gone + [
        f"{where}.{name} was {old}, is {now[name]}"
        for name, old in before.items()
        if name in now and now[name] != old
    ]


def main() -> None:
    """See the module."""
    now = current()
    if FILE.exists() and (found := breaks(json.loads(FILE.read_text(encoding="utf-8")), now)):
        sys.exit(
            "\n".join(
                [*found, "only additions are allowed; a change of meaning is a new service name"]
            )
        )
    FILE.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
