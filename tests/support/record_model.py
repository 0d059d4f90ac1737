"""What the records of a document come to, said by comparing every pair of them: a model of `corpus.prepare.fold`."""

import hashlib
import json
from dataclasses import dataclass

from tests.support.pipeline import make_event

# By name, so that a history is short to read; the second has several chunks, and shares some with the third.
_PARAGRAPHS = [f"Paragraph {n}: " + "the gauging station at the weir. " * 20 for n in range(4)]
CONTENTS = {
    "short": "short",
    "long": "\n\n".join(_PARAGRAPHS[:3]),
    "edited": "\n\n".join(_PARAGRAPHS[1:]),
    "empty": "",
}


def content_sha256(name: str) -> str:
    """Of a content as it is received."""
    return hashlib.sha256(CONTENTS[name].encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Written:
    """A record as the model knows it."""

    what: str  # upsert, delete, gone (a delete without a version), poison
    name: str
    version: int = 0
    content: str = "empty"  # of CONTENTS
    end: str | None = None
    at_ms: int  # of the record; of its first writing if it was redriven
    partition: int = 0
    offset: int = 0
    log: str = ""  # empty: redriven
    headers: tuple[tuple[str, bytes | None], ...] = ()

    def order(self) -> tuple[int, int, int]:
        """Where its time and place put it."""
        return (self.at_ms * 2**20 + self.offset % 2**20, self.partition, self.offset)

    def deletes(self, other: "Written") -> bool:
        """Whether this delete without a version was written after the other record."""
        if self.log and self.log == other.log:
            return self.offset > other.offset
        return self.order()[0] >= other.order()[0]

    def value(self) -> bytes | None:
        if self.what == "gone":
            return None
        if self.what == "poison":
            return b"no json"
        if self.what == "delete":
            return json.dumps(make_event(self.name, self.version, op="delete")).encode()
        ends = {} if self.end is None else {"expires_at": self.end}
        plain = make_event(self.name, self.version, CONTENTS[self.content], **ends)
        return json.dumps(plain | {"content_type": "text/plain"}).encode()


@dataclass(frozen=True)
class Standing:
    """What the records of one document come to."""

    version: int
    content: str
    end: str | None


def standing(records: list[Written]) -> Standing | None:
    """The document, or None if it is deleted; by comparing every record with every other."""
    versions = [one for one in records if one.what in ("upsert", "delete")]
    if not versions:
        return None
    greatest = max(one.version for one in versions)
    group = [one for one in versions if one.version == greatest]
    first = min(group, key=Written.order)
    gone = [one for one in records if one.what == "gone"]
    if first.what == "delete" or any(one.deletes(other) for one in gone for other in group):
        return None
    ends = [one.end for one in group if one.what == "upsert" and one.end is not None]
    return Standing(greatest, first.content, max(ends, default=None))
