"""Every type that crosses Temporal, and values of these types."""

import dataclasses
import enum
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from corpus.batch import BatchInput, BatchRef, Ingest
from corpus.service import BatchSubscriberService, CorpusService

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("ingest", "corpus", "freshness")
_SCALARS: dict[Any, Any] = {
    str: "Ünïcode",
    int: 2**53 + 1,
    float: 0.25,
    bool: True,
    bytes: b"\x00\xff",
}


def payload_types() -> list[Any]:
    """Annotated types of every public method of workflows and activities, and of Nexus operations."""
    kinds: dict[str, Any] = {}
    for method in _methods():
        for kind in typing.get_type_hints(method).values():
            kinds[str(kind)] = kind
    for service in (CorpusService, BatchSubscriberService):
        for operation in service.__nexus_service_definition__.operation_definitions.values():
            for kind in (operation.input_type, operation.output_type):
                kinds[str(kind)] = kind
    kinds.pop(str(type(None)), None)
    return [
        kinds[name] for name in sorted(kinds)
    ]  # the order of operations differs between processes


def _methods() -> Iterator[Callable[..., Any]]:
    for cls in _classes():
        for name, method in inspect.getmembers(cls, inspect.isfunction):
            if not name.startswith("_"):
                yield method


def _classes() -> Iterator[type]:
    for path in sorted(_modules()):
        module = importlib.import_module(".".join(path.relative_to(_ROOT).with_suffix("").parts))
        for cls in vars(module).values():
            own = inspect.isclass(cls) and cls.__module__ == module.__name__
            if own and cls.__name__.endswith(("Workflow", "Activities")):
                yield cls


def _modules() -> Iterator[Path]:
    for package in _PACKAGES:
        yield from (_ROOT / package).rglob("*workflows.py")
        yield from (_ROOT / package).rglob("*activities.py")


def parts(kind: Any) -> list[Any]:
    """A type and every type inside it."""
    inner = list(typing.get_args(kind))
    if dataclasses.is_dataclass(kind):
        inner += typing.get_type_hints(kind).values()
    collected = [kind]
    for each in inner:
        collected += parts(each)
    return collected


def make(kind: Any, *, full: bool) -> Any:
    """A value of a type; `full` fills what may be left out."""
    if kind is BatchInput:
        # It holds exactly one order, so its fields cannot be filled one by one.
        order = Ingest(refs=(make(BatchRef, full=full),))
        return BatchInput.of(order, source="s", batch=7, first_in_line=True)
    if dataclasses.is_dataclass(kind):
        return _make_dataclass(kind, full=full)
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    if typing.get_args(kind):
        return _make_generic(kind, full=full)
    return _SCALARS[kind]


def _make_dataclass(kind: Any, *, full: bool) -> Any:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    needed = [field.name for field in fields if full or not _has_default(field)]
    return kind(**{name: make(hints[name], full=full) for name in needed})


def _make_generic(kind: Any, *, full: bool) -> Any:
    origin = typing.get_origin(kind)
    inner = typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return make(inner[0], full=True) if full else None
    if origin is dict:
        return {"name": make(inner[1], full=full)}
    return origin([make(inner[0], full=full)] * 2) if full else origin()


def _has_default(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing
