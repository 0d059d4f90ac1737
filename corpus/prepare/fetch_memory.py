"""What was before this batch: how documents were fetched, since when events wait, and what a copy is a copy of."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from psycopg.rows import class_row

from corpus.database import Connection, fetch_all
from corpus.fetch.address import keepable, url_digest
from corpus.fetch.result import Fetched, StillTheSame, Validators
from corpus.prepare.events import REDRIVEN_FROM
from corpus.prepare.fold import Place
from corpus.source import record_version

_REDRIVEN_LETTER = re.compile("#([0-9]{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """How a document was fetched last (query `fetched_of`)."""

    document_id: str
    url_sha256: bytes
    content_sha256: bytes
    etag: str | None
    last_modified: str | None
    content_bytes: int | None

    @property
    def validators(self) -> Validators:
        """What its origin sent with it."""
        return Validators(etag=self.etag, last_modified=self.last_modified)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Since when a document, or a column, is waited for (query `waits_of`)."""

    dead_letter: int
    waits_since: datetime
    seconds: int

    @property
    def waits_since_ms(self) -> int:
        """The same as epoch milliseconds."""
        return round(self.waits_since.timestamp() * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReadAgain:
    """A record that a backfill read again, and that became a dead letter (query `read_again_of`)."""

    dead_letter: int
    topic: str
    partition: int
    record_offset: int
    key: bytes | None
    value_sha256: bytes

    def is_copied(self, key: bytes | None, value: bytes | None) -> bool:
        """Whether a record has the same bytes: anyone may write the header."""
        return (
            key == self.key
            and hashlib.sha256(value or b"").digest() == self.value_sha256
        )

    def place(self, timestamp_ms: int | None) -> Place:
        """Where it was first written; its copy has its time."""
        version = record_version(timestamp_ms, self.record_offset)
        return Place(version, self.topic, self.partition, self.record_offset)


def copies_of_backfill(
    connection: Connection, source: str, frame: pl.DataFrame
) -> dict[int, Place]:
    """The events that are copies of what a backfill read again, and could not use then: by row, where that is.

    The backfill has asked for the record, so that its copy counts as it would have: also where it is the record that
    the corpus has the document of.

    Args:
        connection: to PostgreSQL.
        source: of the events.
        frame: staged events.
    """
    is_redriven = frame["headers"].str.contains(REDRIVEN_FROM, literal=True)
    letters = {
        row: list(redriven_letters(frame["headers"][row]))
        for row in is_redriven.fill_null(value=False).arg_true()
    }
    numbers = sorted({number for each in letters.values() for number in each})
    if not numbers:
        return {}
    values = {"source": source, "dead_letters": numbers}
    found = fetch_all(connection, class_row(_ReadAgain), "read_again_of", values)
    originals = {original.dead_letter: original for original in found}
    copies: dict[int, Place] = {}
    for row, its_letters in letters.items():
        key, value, time_ms = (
            frame[name][row] for name in ("key", "value", "timestamp_ms")
        )
        for original in filter(None, map(originals.get, its_letters)):
            if original.is_copied(key, value):
                copies[row] = original.place(time_ms)
    return copies


def redriven_letters(headers: str | None) -> Iterator[int]:
    """The numbers of the dead letters that a record was; anyone may write the header, so each is looked up."""
    if not headers or REDRIVEN_FROM not in headers:
        return
    for name, value in json.loads(headers):
        if name == REDRIVEN_FROM and value is not None:
            text = base64.b64decode(value).decode("utf-8", "replace")
            yield from map(int, _REDRIVEN_LETTER.findall(text))


def fetched_json(url: str, outcome: Fetched | StillTheSame) -> str:
    """How a document was fetched, as the documents file has it."""
    return json.dumps(
        {
            "url_sha256": url_digest(url).hex(),
            "url": keepable(url),
            "host": outcome.host,
            "etag": outcome.validators.etag,
            "last_modified": outcome.validators.last_modified,
        }
    )
