"""Whatever crosses Temporal survives it: every input and output of workflows, activities, signals, queries and Nexus
operations goes through the data converter, plain and encrypted, and comes back equal. Nothing large is in it.
"""

import dataclasses
import enum
import importlib
import inspect
import os
import types
import typing
from pathlib import Path
from typing import Any

import pytest
from temporalio.converter import DataConverter

from corpus.service import BatchSubscriberService, CorpusService
from workers.temporal.codec import EncryptionCodec

PACKAGES = ("ingest", "corpus", "freshness")
ROOT = Path(__file__).resolve().parents[2]


def payload_types() -> list[Any]:
    """Annotated types of every public method of workflows and activities, and of Nexus operations."""
    found: dict[str, Any] = {}
    for path in sorted(
        path
        for package in PACKAGES
        for kind in ("workflows", "activities")
        for path in (ROOT / package).rglob(f"*{kind}.py")
    ):
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for cls in vars(module).values():
            if (
                inspect.isclass(cls)
                and cls.__module__ == module.__name__
                and cls.__name__.endswith(("Workflow", "Activities"))
            ):
                for name, method in inspect.getmembers(cls, inspect.isfunction):
                    if not name.startswith("_"):
                        found |= {
                            str(kind): kind for kind in typing.get_type_hints(method).values()
                        }
    for service in (CorpusService, BatchSubscriberService):
        for operation in service.__nexus_service_definition__.operation_definitions.values():
            found |= {str(kind): kind for kind in (operation.input_type, operation.output_type)}
    found.pop(str(type(None)), None)
    return list(found.values())


def parts(kind: Any) -> list[Any]:
    """A type and everything inside it."""
    inner = list(typing.get_args(kind))
    if dataclasses.is_dataclass(kind):
        inner += typing.get_type_hints(kind).values()
    return [kind, *(part for each in inner for part in parts(each))]


def make(kind: Any, *, full: bool) -> Any:
    """A value of a type; `full` fills what may be left out."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        needed = [
            field.name for field in dataclasses.fields(kind) if full or not _has_default(field)
        ]
        return kind(**{name: make(hints[name], full=full) for name in needed})  # type: ignore[operator]
    if origin in (types.UnionType, typing.Union):
        return make(inner[0], full=full) if full else None
    if origin in (tuple, list):
        return origin([make(inner[0], full=full)] * 2) if full else origin()
    if origin is dict:
        return {"name": make(inner[1], full=full)}
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    return {str: "Ünïcode", int: 2**53 + 1, float: 0.25, bool: True, bytes: b"\x00\xff"}[kind]


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return (
        field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    )


PAYLOADS = payload_types()
DATACLASSES = list(
    {
        part.__name__: part
        for kind in PAYLOADS
        for part in parts(kind)
        if dataclasses.is_dataclass(part)
    }.values()
)
CONVERTERS = {
    "plain": DataConverter.default,
    "encrypted": dataclasses.replace(
        DataConverter.default, payload_codec=EncryptionCodec({"test": os.urandom(32)})
    ),
}


def test_all_of_them_are_found() -> None:
    assert {
        "BatchInput",
        "BatchRef",
        "SourceState",
        "PublishRequest",
        "BatchNotice",
        "FreshnessReport",
    } <= {kind.__name__ for kind in DATACLASSES}


@pytest.mark.parametrize("converter", CONVERTERS.values(), ids=CONVERTERS)
@pytest.mark.parametrize("full", [False, True], ids=["least", "full"])
@pytest.mark.parametrize("kind", PAYLOADS, ids=lambda kind: getattr(kind, "__name__", str(kind)))
async def test_it_comes_back_equal(kind: Any, full: bool, converter: DataConverter) -> None:
    value = make(kind, full=full)
    payloads = await converter.encode([value])
    assert await converter.decode(payloads, [kind]) == [value]


@pytest.mark.parametrize("kind", DATACLASSES, ids=lambda kind: kind.__name__)
def test_payloads_are_pointers_not_contents(kind: Any) -> None:
    assert bytes not in parts(kind), (
        "contents stay in the staging store and the database; carry a pointer"
    )


@pytest.mark.parametrize("kind", DATACLASSES, ids=lambda kind: kind.__name__)
def test_what_is_sent_does_not_change_afterwards(kind: Any) -> None:
    # An entity's state is the one that lives on in its workflow.
    assert kind.__dataclass_params__.frozen or kind.__name__ == "SourceState"
