"""Messages between the worker and its processes: plain values (msgpack), never code.

The sender names a class and gives its fields; the receiver makes the value itself. What comes from a process that reads
documents is believed to be nothing but bytes: the worker decides which types a result may have, and checks every field.
"""

import struct
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Protocol, TypeVar, cast

import msgspec

from corpus.limits.work import Limit

Value = TypeVar("Value")

# Length of the message that follows, in bytes.
HEADER = struct.Struct(">Q")
_NIL = msgspec.msgpack.encode(None)


class Shared(Protocol):
    """A value that is too large to be in every message: each process is sent it once, and keeps it.

    Attributes:
        shared_key: identifies it; equal keys mean equal values.
    """

    shared_key: str

    def shared_definition(self) -> bytes:
        """What `of_definition` makes the value from."""
        ...

    @classmethod
    def of_definition(cls, definition: bytes) -> Any:
        """The value."""
        ...


class Boxed:
    """A value whose class its message names, so that only the sender has to know it."""

    def __init__(self, value: Any) -> None:
        self.value = value


class SharedDefinition(msgspec.Struct, array_like=True):
    """A shared value, as it is sent."""

    kind: str
    key: str
    definition: bytes


class OutcomeMessage(msgspec.Struct, kw_only=True):
    """What became of one document."""

    is_last: bool = False  # of its group, or of the time for the group
    limit: Limit | None = None  # None: there is a result
    detail: str = ""
    kind: int = 0  # of the result: its place in the work's `results`
    result: msgspec.Raw = msgspec.Raw(_NIL)


class Packer:
    """Values → a message, and what has to be sent with it.

    Attributes:
        shared: by key, what the packed values refer to.
        modules: of the classes that the packed values name.
    """

    def __init__(self) -> None:
        self.shared: dict[str, Shared] = {}
        self.modules: set[str] = set()
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._replaced)

    def pack(self, values: list[Boxed]) -> bytes:
        """The message."""
        return self._encoder.encode(values)

    def definition(self, key: str) -> SharedDefinition:
        """The message's shared value with this key."""
        shared = self.shared[key]
        kind = type(shared)
        return SharedDefinition(_name(kind), key, shared.shared_definition())

    def _replaced(self, value: Any) -> Any:
        """What is sent for a value that is not plain."""
        if isinstance(value, Boxed):
            inner: Any = value.value
            kind = cast(type[Any], type(inner))
            self.modules.add(kind.__module__)
            return _name(kind), self._encoder.encode(inner)
        self.modules.add(type(value).__module__)
        key: str = value.shared_key
        self.shared[key] = value
        return key


class Unpacker:
    """Messages → values, in a process that reads documents; its classes have to be imported already."""

    def __init__(self) -> None:
        self._shared: dict[str, Any] = {}
        self._boxes = self._decoder(list[Boxed])
        self._definitions = msgspec.msgpack.Decoder(list[SharedDefinition])
        self._decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {}

    @property
    def keys(self) -> list[str]:
        """Of the shared values that it has."""
        return list(self._shared)

    def keep(self, message: bytes) -> None:
        """Keep shared values."""
        for sent in self._definitions.decode(message):
            kind = _imported(sent.kind)
            self._shared[sent.key] = kind.of_definition(sent.definition)

    def unpack(self, message: bytes) -> list[Any]:
        """The values of a message that `Packer` made."""
        return [box.value for box in self._boxes.decode(message)]

    def _decoder(self, kind: Any) -> "msgspec.msgpack.Decoder[Any]":
        return msgspec.msgpack.Decoder(kind, dec_hook=self._restored)

    def _restored(self, kind: type[Any], sent: Any) -> Any:
        """The value for which something else was sent."""
        if kind is not Boxed:
            return self._shared[sent]
        name, fields = sent
        if name not in self._decoders:
            self._decoders[name] = self._decoder(_imported(name))
        return Boxed(self._decoders[name].decode(fields))


def pack_plain(value: Any) -> bytes:
    """A plain value → a message."""
    return _plain_encoder().encode(value)


def unpack_as(kind: Callable[..., Value], message: Any) -> Value:
    """A message → a value of exactly this type.

    Raises:
        ValueError: it is none.
    """
    decoder = _plain_decoder(kind)
    try:
        return decoder.decode(message)
    except msgspec.MsgspecError as error:
        raise ValueError("the message is not what it should be") from error


def frame(message: bytes) -> bytes:
    """A message with its length before it."""
    return HEADER.pack(len(message)) + message


@cache
def _plain_encoder() -> msgspec.msgpack.Encoder:
    return msgspec.msgpack.Encoder()


@cache
def _plain_decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(kind)


def _name(kind: type[Any]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _imported(name: str) -> Any:
    """The class of this name, of a module that is imported already: a confined process cannot read another."""
    module, _, qualname = name.partition(":")
    return getattr(sys.modules[module], qualname)


def import_all(modules: list[str]) -> None:
    """Import modules by name."""
    for name in modules:
        import_module(name)
