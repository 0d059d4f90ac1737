"""Values on the wire: the plain JSON of the SDK, made and read in one step where a value is a dataclass.

The SDK copies a dataclass value by value to write it, and asks for the type hints of a dataclass for each one that it
reads. In a workflow each of these steps also passes through the sandbox. msgspec writes and reads the same JSON; what
it does not take is left to the SDK, with its errors.
"""

import dataclasses
import functools
from typing import Any

import msgspec
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    CompositePayloadConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
)


class _DataclassJSON(JSONPlainPayloadConverter):
    """As the SDK's, faster for dataclasses."""

    def to_payload(self, value: Any) -> Payload | None:
        """JSON with sorted names, as the SDK writes it."""
        if not dataclasses.is_dataclass(value):
            return super().to_payload(value)
        try:
            data = msgspec.json.encode(value, order="sorted")
        except (TypeError, ValueError, OverflowError):
            # A half of a surrogate pair, for one, which JSON of ASCII can hold.
            return super().to_payload(value)
        return Payload(metadata={"encoding": self.encoding.encode()}, data=data)

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """The value; one that msgspec refuses is read, or refused, by the SDK."""
        decoder = _decoder(type_hint)
        if decoder is not None:
            try:
                return _whole(decoder.decode(payload.data))
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass
        return super().from_payload(payload, type_hint)


def _whole(value: Any) -> Any:
    """A value that has its defaults itself.

    Where a class has no slots, msgspec leaves them to the class when it reads, and leaves them out when it writes.
    """
    if hasattr(value, "__dict__"):
        for name in value.__dataclass_fields__:
            object.__setattr__(value, name, getattr(value, name))
    return value


@functools.cache
def _decoder(type_hint: Any) -> msgspec.json.Decoder[Any] | None:
    """Reads dataclasses of a type; None: the type is no dataclass, or has a part that msgspec has no rule for."""
    if not dataclasses.is_dataclass(type_hint):
        return None
    try:
        return msgspec.json.Decoder(type_hint)
    except TypeError:
        return None


class PayloadConverter(CompositePayloadConverter):
    """The SDK's converters in their order, with that of dataclasses in place of plain JSON."""

    def __init__(self) -> None:
        """For the SDK, which makes one for each workflow."""
        kinds = DefaultPayloadConverter.default_encoding_payload_converters
        super().__init__(*map(_replaced, kinds))


def _replaced(converter: Any) -> Any:
    if isinstance(converter, JSONPlainPayloadConverter):
        return _SHARED
    return converter


_SHARED = _DataclassJSON()
