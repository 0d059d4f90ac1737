"""Files between the steps of a batch (claim check): their names and their columns.

A file's name is derived from its content, so that a repeated attempt writes the same file. Workflows carry pointers
(`BatchRef`, `StagedFile`) and never open them. `corpus.staging.store` keeps the files, `corpus.staging.frames` reads
and writes them as Parquet.

Every column is declared here, once: the Polars schemas of the files, the types of the COPY statements and their order
are derived from these tables. The columns of the tables `incoming_*` that a batch is copied into
(`sql/queries/publish.sql`) are compared with them by a test. The module uses the standard library only.
"""

import re
from dataclasses import dataclass
from enum import Enum

_EVENTS_NAME = re.compile(
    r"events/(?P<source>[^/]+)/(?P<topic>[^/]+)/(?P<partition>[0-9]+)"
    r"/[0-9]+-(?P<next_offset>[0-9]+)-[0-9a-f]+\.parquet"
)
_BACKFILL_NAME = re.compile(
    r"backfills/(?P<source>[^/]+)/(?P<backfill>[0-9]+)/(?P<topic>[^/]+)/(?P<partition>[0-9]+)"
    r"/[0-9]+-(?P<next_offset>[0-9]+)-[0-9a-f]+\.parquet"
)
_BATCH_FILE_NAME = re.compile(
    r"batches/(?P<source>[^/]+)/(?P<batch>[0-9]+)/[a-z]+-[0-9a-f]+\.parquet"
)


class ColumnType(Enum):
    """The type of a column: its name in Polars, and in PostgreSQL."""

    TEXT = ("String", "text")
    INT4 = ("Int32", "int4")
    INT8 = ("Int64", "int8")
    BOOL = ("Boolean", "bool")
    BYTES = ("Binary", "bytea")
    EPOCH_MS = ("Int64", "timestamptz")  # milliseconds since 1970 UTC in the file
    TEXTS = ("List(String)", "text[]")
    INT4S = ("List(Int32)", "int4[]")

    def __init__(self, polars: str, postgres: str) -> None:
        self.polars = polars
        self.postgres = postgres


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a file."""

    name: str
    type: ColumnType
    renamed: str | None = None
    """Its name in the database, where that is another one."""
    is_added: bool = False
    """Files of earlier versions lack it; it is null there."""

    @property
    def database_name(self) -> str:
        """Its name in the table that it is copied into."""
        return self.renamed or self.name


Columns = tuple[Column, ...]

_DOCUMENT_ID = Column("document_id", ColumnType.TEXT)
_OUTCOME = Column("outcome", ColumnType.TEXT)
_OP = Column("op", ColumnType.TEXT)  # "upsert" or "delete"
_VERSION = Column(
    "version", ColumnType.INT8
)  # null: a delete without one, see STAGED_EVENTS
_RAW_SHA256 = Column("raw_sha256", ColumnType.BYTES)  # of the Kafka value
_TEXT_SHA256 = Column("text_sha256", ColumnType.BYTES)  # of a chunk: `Chunk.sha256`
_TEXT = Column("text", ColumnType.TEXT)

# Where a Kafka record was, and its time.
_RECORD = (
    Column("topic", ColumnType.TEXT),
    Column("partition", ColumnType.INT4),
    Column("offset", ColumnType.INT8, renamed="record_offset"),
    Column(
        "timestamp_ms", ColumnType.EPOCH_MS, renamed="record_at"
    ),  # null: the record has none
)
# The record as it came.
_ORIGINAL = (
    Column("key", ColumnType.BYTES),
    Column("value", ColumnType.BYTES),
    Column("headers", ColumnType.TEXT),  # JSON: [[name, base64 or null], ...]
)
# Why a record became no document.
_REASON = (
    Column(
        "reason", ColumnType.TEXT
    ),  # a DeadLetterReason, or the rule that ignored the record
    Column("detail", ColumnType.TEXT),  # one line for a person
)
# What an event says about its document, apart from the content.
_DESCRIPTION = (
    Column("uri", ColumnType.TEXT),
    Column("title", ColumnType.TEXT),
    Column("content_type", ColumnType.TEXT),
    Column("metadata", ColumnType.TEXT),  # a JSON object
    Column("acl", ColumnType.TEXTS),
    Column("event_at_ms", ColumnType.EPOCH_MS, renamed="event_at"),
    Column("expires_at_ms", ColumnType.EPOCH_MS, renamed="expires_at"),
    Column(
        "content_bytes", ColumnType.INT8
    ),  # of the content as received: UTF-8 or a file
    Column("content_sha256", ColumnType.BYTES),  # of the same bytes
    Column("stated_language", ColumnType.TEXT, is_added=True),  # as the event says it
)

# A micro-batch of the consumer, one row per Kafka record. The outcome decides which columns have values, besides those
# of the record itself:
#
#   "event"        op, document_id, version, the description, raw_sha256
#   "dead_letter"  reason, detail, and document_id where it could be read
#   "ignored"      reason: the rule
#
# The content is not a column: it is in `value`, and only documents that really changed are decoded again for it. So an
# unchanged document costs no copy of its text, and an event that fails later still has its original bytes.
#
# A delete without a version (a Kafka tombstone where versions come from the event) has its record's version beside: it
# deletes what was written before it.
STAGED_EVENTS: Columns = (
    *_RECORD,
    _OUTCOME,
    _OP,
    _DOCUMENT_ID,
    _VERSION,
    *_DESCRIPTION,
    _RAW_SHA256,
    *_REASON,
    *_ORIGINAL,
    # Columns of the record's row that did not change and are not in it: what the event says of its document is not
    # known without them (`corpus.prepare.unchanged`). Null: it says all.
    Column("unavailable", ColumnType.TEXTS, is_added=True),
    Column("previous_id", ColumnType.TEXT, is_added=True),  # document that it was
    Column("next_id", ColumnType.TEXT, is_added=True),  # of a delete: that it became
    # Where the content is, and the SHA-256 that the event states of it; its size and hash are not known then.
    Column("content_url", ColumnType.TEXT, is_added=True),
    Column("stated_sha256", ColumnType.BYTES, is_added=True),
)

# The events of a prepared batch. Outcomes: "event" (the publishing transaction decides), "superseded", "unchanged",
# "dead_letter", "ignored". Original bytes are kept for dead letters only.
PREPARED_EVENTS: Columns = (
    *_RECORD,
    _OUTCOME,
    *_REASON,
    _OP,
    _DOCUMENT_ID,
    _VERSION,
    *_ORIGINAL,
    # Of a dead letter that is tried again by itself: where its document is, in how many seconds, and since when it
    # waits (null: since this batch).
    Column("waits_for", ColumnType.TEXT, is_added=True),
    Column("retry_seconds", ColumnType.INT4, is_added=True),
    Column(
        "waits_since_ms", ColumnType.EPOCH_MS, renamed="waits_since_at", is_added=True
    ),
)

# The documents of a prepared batch, one row per document whose events may act: the winner, and the newest delete
# without a version. `corpus.prepare.fold` has the rule; places and marks are JSON as it has them.
DOCUMENTS: Columns = (
    _DOCUMENT_ID,
    *_RECORD,  # of the winner, or of the delete without a version where there is no winner
    _OP,  # null: there is no winner
    _VERSION,  # of the winner
    Column("first_record", ColumnType.TEXT),  # place of the winner
    # Who may read, by the last upserts of the winner's version; null: it has none, or an earlier Freshet wrote this.
    Column("grants", ColumnType.TEXT, is_added=True),
    Column("written", ColumnType.TEXT),  # marks of the winner's version
    Column("observed_at_ms", ColumnType.EPOCH_MS, renamed="observed_at"),
    Column("deletes", ColumnType.TEXT),  # marks of the deletes without a version
    Column("tombstone_topic", ColumnType.TEXT),  # record of the newest of them
    Column("tombstone_partition", ColumnType.INT4),
    Column("tombstone_offset", ColumnType.INT8),
    # For the version before: the version of the winner if these deletes delete it, or -1.
    Column("tombstone_floor", ColumnType.INT8),
    Column(
        "reuse_key", ColumnType.INT8
    ),  # `document_key` of the version whose chunks stay as they are
    # The corpus has this version, of another preparation; its chunks are replaced by these.
    Column("is_again", ColumnType.BOOL, is_added=True),
    # The winner is a copy of what a backfill read: it counts as if a backfill read it.
    Column("is_copy", ColumnType.BOOL, is_added=True),
    *_DESCRIPTION,
    Column("cleaned_sha256", ColumnType.BYTES),  # of the cleaned text
    _RAW_SHA256,
    # What became of the text, where the document was cleaned; null: as in the version whose chunks stay.
    Column("received_characters", ColumnType.INT8),  # white space not counted
    Column("kept_characters", ColumnType.INT8),
    Column("dropped", ColumnType.TEXT),  # JSON: characters per rule
    Column("tokens", ColumnType.INT8),  # of the chunks, special tokens not counted
    Column(
        "unknown_tokens", ColumnType.INT8
    ),  # of them, those the model has no word for
    # That these tokens stand for.
    Column("unknown_characters", ColumnType.INT8, is_added=True),
    # JSON: where the text is from (`corpus.clean.account.Notes`).
    Column("notes", ColumnType.TEXT, is_added=True),
    # Of the text, see `corpus.prepare.language`; null: there is no text, or an earlier version prepared it.
    Column("language", ColumnType.TEXT, is_added=True),
    Column("language_from", ColumnType.TEXT, is_added=True),
    Column("language_note", ColumnType.TEXT, is_added=True),
    # JSON: columns of the row that a later change may leave out; null: the source has none.
    Column("kept_columns", ColumnType.TEXT, is_added=True),
    # `document_key` of the head that columns were taken from, 0: there was none; null: none were taken.
    Column("taken_from", ColumnType.INT8, is_added=True),
    # JSON: of the delete without a version behind the winner its log, offset, record version, and the id of the
    # document that this one became, as it says; an empty list: there are several, which say different things.
    Column("tombstone", ColumnType.TEXT, is_added=True),
    # JSON: where the content was fetched, and how its origin recognises it; null: the event had it.
    Column("fetched", ColumnType.TEXT, is_added=True),
    # JSON: a list of `corpus.clean.parts.Part`, where the document was cleaned; null: it has none.
    Column("parts", ColumnType.TEXT, is_added=True),
    # Fingerprint of its preparation; null: that of the batch.
    Column("pipeline", ColumnType.TEXT, is_added=True),
)

# The chunks of a prepared batch's documents, one row per occurrence in a document.
CHUNKS: Columns = (
    _DOCUMENT_ID,
    Column("ordinal", ColumnType.INT4),  # in reading order, from 0
    Column("start", ColumnType.INT4),  # character offset in the cleaned text
    _TEXT_SHA256,
    Column("heading", ColumnType.TEXT),  # headings above it, joined by " > "
    Column("token_count", ColumnType.INT4),  # special tokens included
    Column("truncated", ColumnType.BOOL),  # the model reads only the beginning
    _TEXT,
    # Of the part of the document that it is in; null: it is in none.
    Column("part_name", ColumnType.TEXT, is_added=True),
)

# Texts that the embedding space has not seen, one row per text. They are read by the embed step and not copied.
TEXTS: Columns = (
    _TEXT_SHA256,
    _TEXT,
    Column("token_ids", ColumnType.INT4S),  # without special tokens
)


def events_name(
    source: str,
    topic: str,
    partition: int,
    first_offset: int,
    next_offset: int,
    digest: str,
    backfill: int = 0,
) -> str:
    """Name of a staged micro-batch; `digest` is the SHA-256 of its content, hex.

    What a backfill reads has a folder of its own: publishing removes what lies below the position in the other one.
    """
    folder = f"events/{source}"
    if backfill:
        folder = f"backfills/{source}/{backfill}"
    offsets = f"{first_offset}-{next_offset}"
    return f"{folder}/{topic}/{partition}/{offsets}-{digest[:16]}.parquet"


def batch_file_name(source: str, batch: int, part: str, digest: str) -> str:
    """Name of a file between two steps of a batch; `digest` is the SHA-256 of its content, hex."""
    return f"batches/{source}/{batch}/{part}-{digest[:16]}.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedRange:
    """Where the records of a staged micro-batch end, by its name."""

    source: str
    topic: str
    partition: int
    next_offset: int  # exclusive
    backfill: int = 0  # that reads them again


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFileName:
    """What the name of a file between two steps of a batch says."""

    source: str
    batch: int


def parse_name(name: str) -> StagedRange | BatchFileName | None:
    """What the name of a staged file says; None where it is no name of this module."""
    if events := _EVENTS_NAME.fullmatch(name) or _BACKFILL_NAME.fullmatch(name):
        return StagedRange(
            source=events["source"],
            topic=events["topic"],
            partition=int(events["partition"]),
            next_offset=int(events["next_offset"]),
            backfill=int(events.groupdict().get("backfill", 0)),
        )
    if batch := _BATCH_FILE_NAME.fullmatch(name):
        return BatchFileName(source=batch["source"], batch=int(batch["batch"]))
    return None


def staged_range(name: str) -> StagedRange | None:
    """The range in a name that `events_name` made; None for any other name."""
    events = parse_name(name)
    return events if isinstance(events, StagedRange) else None


def is_of_records(name: str, *, below: int) -> bool:
    """Whether it is the name of a micro-batch whose offsets are all below this one."""
    events = staged_range(name)
    return events is not None and not events.backfill and events.next_offset <= below


def is_of_batch(name: str, source: str, *, up_to: int) -> bool:
    """Whether it is the name of a file of this batch of the source, or of an earlier one."""
    file = parse_name(name)
    return (
        isinstance(file, BatchFileName)
        and file.source == source
        and file.batch <= up_to
    )
