"""What would become of some records under a source's specification, as far as no other record decides it.

They are decoded, cleaned and split as the consumer and the preparer do it. Nothing is written, and no service is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from corpus.clean.blocks import CleanedDocument
from corpus.clean.cleaner import Cleaner, RawDocument
from corpus.dead_letter import DeadLetterReason
from corpus.embed.tokenizer import ChunkTokenizer, load_tokenizer
from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from corpus.split.splitter import TooManyChunks, split
from corpus.versions.truncation import UNDECIDED
from ingest.decode.decoder import decode, placed
from ingest.event import ChangeEvent, KafkaRecord
from ingest.stage import Row, row_of


class Outcome(StrEnum):
    """What becomes of a record."""

    UPSERT = "upsert"
    DELETE = "delete"
    IGNORED = "ignored"  # by a rule
    DEAD_LETTER = "dead letter"
    HALTS = "halts"  # the source stops at it, and asks


# With these, a person has something to do.
BAD = frozenset({Outcome.DEAD_LETTER, Outcome.HALTS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What would become of one record."""

    partition: int
    offset: int
    outcome: Outcome
    document_id: str | None = None
    version: int | None = None
    title: str | None = None
    characters: int | None = None  # of the cleaned text; None: there is none
    chunks: int | None = None  # None: there is no text, or no model to count them with
    reason: str = ""  # of a dead letter, or the rule by which it is ignored
    detail: str = ""  # for people


@dataclass(slots=True)
class Trial:
    """What would become of some records."""

    records: list[Tried]
    without_model: str = ""  # why no chunks are counted; empty: they are

    @property
    def is_good(self) -> bool:
        """Whether none needs a person."""
        return not any(record.outcome in BAD for record in self.records)

    def counts(
        self,
    ) -> dict[str, int]:
        """How many records have each outcome."""
        counts = dict.fromkeys(map(str, Outcome), 0)
        for record in self.records:
            counts[record.outcome] += 1
        return counts


def try_records(
    records: Sequence[KafkaRecord], spec: SourceSpec, *, topic_id: str, now_ms: int
) -> Trial:
    """Try a specification on records.

    Args:
        records: by partition, in the order of their offsets.
        spec: of the source.
        topic_id: of their topic.
        now_ms: by this machine's clock, epoch milliseconds UTC.
    """
    tried: list[Tried] = []
    contents: dict[int, RawDocument] = {}
    before: KafkaRecord | None = None
    for number, record in enumerate(records):
        follows = before is not None and before.partition == record.partition
        row = row_of(
            record,
            spec,
            before if follows else None,
            topic_id=topic_id,
            now_ms=now_ms,
        )
        tried.append(_tried(record, row, spec))
        content = _content(record, row, spec)
        if content is not None:
            contents[number] = content
        before = record
    return _with_texts(tried, contents, spec)


def _tried(record: KafkaRecord, row: Row, spec: SourceSpec) -> Tried:
    missing = row.get("unavailable") or ()
    detail: str = row.get("detail") or ""
    if missing:
        names = ", ".join(missing)
        detail = f"the change leaves out {names}; it is taken from the version before"
    return Tried(
        partition=record.partition,
        offset=record.offset,
        outcome=_outcome(row, spec),
        document_id=row.get("document_id"),
        version=row.get("version"),
        title=row.get("title"),
        reason=row.get("reason") or "",
        detail=detail,
    )


def _outcome(row: Row, spec: SourceSpec) -> Outcome:
    match row["outcome"]:
        case "event":
            return Outcome(row["op"])
        case "ignored":
            stops = spec.debezium.truncate == "stop"
            if row.get("reason") == UNDECIDED and stops:
                return Outcome.HALTS
            return Outcome.IGNORED
        case _:
            return Outcome.DEAD_LETTER


def _content(record: KafkaRecord, row: Row, spec: SourceSpec) -> RawDocument | None:
    """The document as it came; None where the record has none."""
    if row["outcome"] != "event" or row.get("op") != "upsert":
        return None
    decoded = decode(placed(record), spec)
    if not isinstance(decoded, ChangeEvent) or decoded.content is None:
        return None
    return RawDocument(decoded.content, decoded.content_type)


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _with_texts(
    tried: list[Tried], contents: dict[int, RawDocument], spec: SourceSpec
) -> Trial:
    trial = Trial(tried)
    if not contents:
        return trial
    tokenizer: ChunkTokenizer | None = None
    try:
        tokenizer = load_tokenizer(spec.model, spec.prefix)
    except ConfigurationError as error:
        trial.without_model = str(error)
    with Cleaner() as cleaner:
        cleaned = cleaner.clean([*contents.values()], spec.pipeline)
    for number, document in zip(contents, cleaned, strict=True):
        told = tried[number]
        if not isinstance(document, CleanedDocument):
            tried[number] = _refused(told, document.reason, document.detail)
        elif spec.pipeline.on_empty == "dead_letter" and document.account.is_emptied:
            tried[number] = _refused(told, DeadLetterReason.NO_TEXT_LEFT, _EMPTIED)
        else:
            tried[number] = _with_chunks(told, document, tokenizer, spec)
    return trial


_EMPTIED = "nothing is left of its readable text"


def _refused(tried: Tried, reason: str, detail: str) -> Tried:
    return replace(
        tried, outcome=Outcome.DEAD_LETTER, reason=str(reason), detail=detail
    )


def _with_chunks(
    tried: Tried,
    document: CleanedDocument,
    tokenizer: ChunkTokenizer | None,
    spec: SourceSpec,
) -> Tried:
    characters = document.account.kept
    if tokenizer is None:
        return replace(tried, characters=characters)
    try:
        chunks = split(
            document,
            tokenizer,
            spec.pipeline,
            context=spec.context,
            title=tried.title or "",
        )
    except TooManyChunks as error:
        return _refused(tried, DeadLetterReason.TOO_MANY_CHUNKS, str(error))
    return replace(tried, characters=characters, chunks=len(chunks))
