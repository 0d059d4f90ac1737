"""Files of keys: one `id=base64` per line, newest first; empty lines and lines that begin with `#` are left out."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A line with a key, or with what should be one."""

    number: int  # from 1
    name: str
    key: bytes = field(repr=False)  # empty where it is not base64


def key_lines(content: str) -> Iterator[KeyLine]:
    """The lines of a file; whoever uses the keys decides how long they must be."""
    for number, line in enumerate(content.splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, _, encoded = text.partition("=")
        yield KeyLine(number, name, _decoded(encoded))


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        return b""
