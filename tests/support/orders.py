"""References and orders for tests that need no staged files."""

from typing import Any

from corpus.batch import (
    BatchKind,
    BatchRef,
    BatchReport,
    BatchState,
    Correct,
    Erase,
    Expire,
    PreparedBatch,
    PrepareRequest,
    PublishRequest,
    StagedFile,
)
from corpus.staging.layout import events_name

DIGEST = "0" * 64


def make_ref(
    first_offset: int,
    next_offset: int,
    *,
    source: str = "s",
    partition: int = 0,
    staged_bytes: int = 100,
    epoch: int = 0,
    topic_id: str = "i",
) -> BatchRef:
    """A reference to records of topic `t`; its file does not exist."""
    return BatchRef(
        source=source,
        cluster_id="c",
        topic="t",
        topic_id=topic_id,
        partition=partition,
        first_offset=first_offset,
        next_offset=next_offset,
        records=next_offset - first_offset,
        staged_bytes=staged_bytes,
        url=events_name(source, "t", partition, first_offset, next_offset, DIGEST),
        sha256=DIGEST,
        staged_at_ms=0,
        epoch=epoch,
    )


def make_expiry(request_id: str = "r") -> Expire:
    """An order to expire whatever was not observed for a second."""
    return Expire(request_id=request_id, rule="expire_after=1s", expire_after_seconds=1)


def make_correction(document_id: str = "d") -> Correct:
    """An order to give a document version 3."""
    return Correct(
        document_id=document_id,
        old_version=2**60,
        new_version=3,
        reason="a mistake",
        requested_by="op@machine",
    )


def make_erasure(number: int = 0) -> Erase:
    """An order to erase what the database has under this number."""
    return Erase(erasure=f"00000000-0000-4000-8000-{number:012}")


def make_prepared(request: PrepareRequest, file: StagedFile, **others: Any) -> PreparedBatch:
    """What preparing returns: each of its files is `file`, but for what `others` say."""
    files = dict.fromkeys(("events", "documents", "chunks", "texts"), file)
    space = {"model": "m", "prefix": "", "space_id": 1, "space_fingerprint": "f"}
    fields = {"source": request.source, "batch": request.batch, "pipeline": "p"}
    return PreparedBatch(**(files | space | fields | others))


def make_published(request: PublishRequest) -> BatchReport:
    """What publishing returns."""
    batch = request.batch
    return BatchReport(
        source=batch.source,
        batch=batch.batch,
        kind=BatchKind.INGEST,
        state=BatchState.PUBLISHED,
    )
