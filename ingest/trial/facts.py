"""What the fields of some records have in common: their types, how often they are there, what they look like."""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from corpus.clean.files.kinds import is_file
from ingest.event import KafkaRecord

Fields = dict[str, Any]

_MAX_DEPTH = 4
_MAX_FIELDS = 400
_MAX_SHOWN = 200  # characters of a value that are looked at closely
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OTHER = re.compile(r"[^a-z0-9]+")
_OF_SYNTAX = re.compile(r"[{}]|\s=\s|^\s|\s$")
_HTML = re.compile(r"</[a-zA-Z][a-zA-Z0-9]*\s*>|<(?:!doctype|html|br|img)\b", re.I)
_MARKDOWN = re.compile(
    r"^#{1,6} \S|^```|^[-*] \S.*\n[-*] \S|\[[^\]\n]{1,99}\]\(\S", re.M
)


@dataclass(slots=True)
class Facts:
    """One field, in all records that were looked at."""

    path: str  # JMESPath
    name: str  # the last name, in small letters joined by "_"
    depth: int  # 1: the record's own
    present: int = 0  # records that have it, null included
    nulls: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])
    values: list[Any] = field(default_factory=list[Any])  # in order, without nulls

    @property
    def texts(self) -> list[str]:
        """Its values that are texts."""
        return [value for value in self.values if isinstance(value, str)]

    @property
    def is_text(self) -> bool:
        """Whether it is a text wherever it is something."""
        return set(self.kinds) == {"str"}

    @property
    def length(self) -> float:
        """Characters of its texts, on average."""
        texts = self.texts
        return sum(map(len, texts)) / max(1, len(texts))

    @property
    def is_distinct(self) -> bool:
        """Whether no two records have the same value."""
        shown = list(map(repr, self.values))
        return len(set(shown)) == len(shown)

    def look(
        self,
    ) -> str:
        """The media type that most of its texts look like; empty: plain text."""
        texts = self.texts
        html = sum(bool(_HTML.search(text)) for text in texts)
        markdown = sum(bool(_MARKDOWN.search(text)) for text in texts)
        if html * 2 > len(texts):
            return "text/html"
        if markdown * 2 > len(texts):
            return "text/markdown"
        return ""


def survey(
    rows: Iterable[Fields],
) -> dict[str, Facts]:
    """The facts about each field, by its path."""
    facts: dict[str, Facts] = {}
    for row in rows:
        for names, value in _walk(row, ()):
            path = path_of(names)
            known = facts.get(path)
            if known is None:
                if len(facts) >= _MAX_FIELDS:
                    continue
                known = Facts(path, plain_name(names[-1]), len(names))
                facts[path] = known
            _add(known, value)
    return facts


def _add(facts: Facts, value: Any) -> None:
    facts.present += 1
    if value is None:
        facts.nulls += 1
        return
    facts.kinds[type(value).__name__] += 1
    facts.values.append(value)


def _walk(row: Fields, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in row.items():
        if not _is_writable(name):
            continue
        names = (*above, name)
        if isinstance(value, dict) and len(names) < _MAX_DEPTH:
            yield from _walk(cast("Fields", value), names)
        elif not isinstance(value, dict):
            yield names, value


def _is_writable(name: str) -> bool:
    """Whether a path can have the name as it is: braces are of templates, and ` = ` ends a path."""
    is_short = 0 < len(name) <= _MAX_SHOWN
    return is_short and name.isprintable() and _OF_SYNTAX.search(name) is None


def path_of(names: Iterable[str]) -> str:
    """Names as a path of JMESPath."""
    return ".".join(map(_quoted, names))


def _quoted(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return name
    return json.dumps(name)


def plain_name(name: str) -> str:
    """A name as the lists of names have it: `updatedAt` and `Updated-At` are `updated_at`."""
    spaced = _CAPITAL.sub("_", name[:_MAX_SHOWN])
    return _OTHER.sub("_", spaced.lower()).strip("_")


def key_text(
    record: KafkaRecord,
) -> str:
    """The key as a field of a value would have it; empty where there is none."""
    if record.key is None:
        return ""
    try:
        written = json.loads(record.key)
    except (ValueError, RecursionError):
        written = None
    if isinstance(written, str | int) and not isinstance(written, bool):
        return str(written)
    return record.key.decode("utf-8", "replace")


def holds_file(text: str) -> bool:
    """Whether a text is the Base64 of a file, such as a PDF."""
    try:
        return is_file(base64.b64decode(text, validate=True))
    except ValueError:
        return False
