"""Try the preparation as it is now on some documents of a source: how many of their texts would have to be embedded?

Records are read from Kafka, cleaned and split as the preparer does it; nothing is written.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from corpus.clean.blocks import CleanedDocument
from corpus.clean.cleaner import Cleaner, RawDocument
from corpus.database import Connection, fetch_all
from corpus.embed.known_texts import known_texts
from corpus.embed.spaces import registered
from corpus.embed.tokenizer import ChunkTokenizer, load_tokenizer, read_embedding_spec
from corpus.errors import ConfigurationError
from corpus.preparation import PreparationSpec
from corpus.source import SourceSpec
from corpus.split.splitter import TooManyChunks, split
from ingest.decode.staged_content import content_of
from ingest.event import KafkaRecord
from ingest.prepare_again import PreparePlan, fingerprints_now
from ingest.stage import headers_json

ReadRecord = Callable[[str, int, int], KafkaRecord | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the preparation as it is now makes of some documents."""

    tried: int = 0  # documents whose records were read
    not_read: int = 0  # documents whose record Kafka did not give
    dead_letters: int = 0  # of those tried: they stay as they are
    chunks: int = 0
    new_texts: int = 0  # distinct texts that have no vector yet

    def estimate(self, documents: int) -> int | None:
        """About how many texts so many documents have to embed; None: no document could be tried."""
        if not self.tried:
            return None
        return round(documents * self.new_texts / self.tried)

    def line(self, documents: int) -> str:
        """The estimate for a person."""
        estimate = self.estimate(documents)
        if estimate is None:
            return f"none of {self.not_read:,} records could be read, so the texts to embed cannot be estimated"
        line = (
            f"about {estimate:,} texts to embed: of {self.chunks:,} chunks that {self.tried:,} of these documents "
            f"have now, {self.new_texts:,} have a new text"
        )
        if self.dead_letters:
            line += f"; {self.dead_letters:,} become dead letters and stay as they are"
        if self.not_read:
            line += f"; {self.not_read:,} more have no record"
        return line


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """A row of the query `sample_prepared_otherwise`."""

    topic: str
    partition: int
    offset: int
    content_sha256: bytes
    content_type: str | None
    title: str | None


def sample(
    connection: Connection,
    read: ReadRecord,
    spec: SourceSpec,
    plan: PreparePlan,
    limit: int,
) -> Sample:
    """Try the preparation on some of the documents of a plan.

    Args:
        connection: to PostgreSQL.
        read: gives the record at (topic, partition, offset), if Kafka has it.
        spec: of the source.
        plan: for it.
        limit: documents at most.

    Raises:
        ConfigurationError: the model's files are not available.
    """
    documents = _documents(connection, plan, spec.pipeline, limit)
    contents = [_content(read, spec, document) for document in documents]
    raw: list[RawDocument] = []
    titles: list[str] = []
    for content, document in zip(contents, documents, strict=True):
        if content is not None:
            raw.append(RawDocument(content, document.content_type))
            titles.append(document.title or "")
    with Cleaner() as cleaner:
        cleaned = cleaner.clean(raw, spec.pipeline)
    tokenizer = load_tokenizer(spec.model, spec.prefix)
    split_texts = [
        _hashes(document, title, tokenizer, spec)
        for document, title in zip(cleaned, titles, strict=True)
        if isinstance(document, CleanedDocument)
    ]
    usable = [hashes for hashes in split_texts if hashes is not None]
    return Sample(
        tried=len(raw),
        not_read=len(documents) - len(raw),
        dead_letters=len(raw) - len(usable),
        chunks=sum(map(len, usable)),
        new_texts=_count_unseen(connection, spec, usable),
    )


def _documents(
    connection: Connection,
    plan: PreparePlan,
    preparation: PreparationSpec,
    limit: int,
) -> list[_Document]:
    values = {
        "source": plan.source,
        **fingerprints_now(preparation),
        "topics": [partition.topic for partition in plan.partitions],
        "partitions": [partition.partition for partition in plan.partitions],
        "first_offsets": [partition.first_offset for partition in plan.partitions],
        "limit": limit,
    }
    factory = class_row(_Document)
    return fetch_all(connection, factory, "sample_prepared_otherwise", values)


def _content(
    read: ReadRecord, spec: SourceSpec, document: _Document
) -> str | bytes | None:
    record = read(document.topic, document.partition, document.offset)
    if record is None or record.value is None:
        return None
    headers = headers_json(record.headers)
    content_sha256 = document.content_sha256
    try:
        return content_of(spec, record.key, record.value, headers, content_sha256)
    except ConfigurationError:
        return None  # another record is at this place, or the format was changed


def _hashes(
    document: CleanedDocument,
    title: str,
    tokenizer: ChunkTokenizer,
    spec: SourceSpec,
) -> Sequence[bytes] | None:
    """The hashes of a document's chunks; None: its event would be a dead letter."""
    if spec.pipeline.on_empty == "dead_letter" and document.account.is_emptied:
        return None
    try:
        chunks = split(
            document, tokenizer, spec.pipeline, context=spec.context, title=title
        )
    except TooManyChunks:
        return None
    return [chunk.sha256() for chunk in chunks]


def _count_unseen(
    connection: Connection, spec: SourceSpec, hashes: Iterable[Sequence[bytes]]
) -> int:
    """How many distinct texts have no vector in the source's embedding space."""
    distinct = {digest for of_document in hashes for digest in of_document}
    space = read_embedding_spec(spec.model, spec.prefix, spec.context)
    space_id = registered(connection, space.fingerprint())
    return len(distinct) - len(known_texts(connection, space_id, distinct))
