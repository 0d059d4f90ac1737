"""What becomes of a candidate: which are prepared together, and how a result is added to its batch."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from corpus.clean.account import Account
from corpus.clean.blocks import CleaningFailure
from corpus.dead_letter import DeadLetterReason
from corpus.prepare.candidates import BatchState, Candidate
from corpus.prepare.divide import DividedDocument
from corpus.prepare.files import text_account, text_notes
from corpus.prepare.time_slice import Prepared, result_key

# Contents that are in memory together. A batch is cut by the bytes of its records, which may have been compressed.
_GROUP_BYTES = 64_000_000


def groups_of(
    batch: BatchState, candidates: Sequence[Candidate]
) -> Iterator[list[Candidate]]:
    """Candidates in their order, as many at once as memory takes; one larger content makes a group of its own."""
    group: list[Candidate] = []
    size = 0
    for candidate in candidates:
        content_bytes = batch.events.value("content_bytes", candidate.row) or 0
        if group and size + content_bytes > _GROUP_BYTES:
            yield group
            group = []
            size = 0
        group.append(candidate)
        size += content_bytes
    if group:
        yield group


def key_of(batch: BatchState, candidate: Candidate) -> str:
    """Names the result of an event: by its place, and by what it is prepared with."""
    row = candidate.row
    value = batch.events.value
    return result_key(
        value("topic", row),
        value("partition", row),
        value("offset", row),
        value("content_sha256", row),
        batch.rule(row).current,
        batch.space.fingerprint,
        candidate.reusable_sha256,
    )


def add_prepared(batch: BatchState, candidate: Candidate, result: Prepared) -> bool:
    """Add a document to the batch; False: its event is a dead letter now."""
    failure = _why_not(batch, result)
    if failure is not None:
        batch.events.dead_letter(candidate.row, failure.reason, failure.detail)
        return False
    assert isinstance(result, DividedDocument), "the other kind is a failure"
    document_id = candidate.document_id
    document = candidate.document
    stated = batch.events.value("stated_language", candidate.row)
    language = batch.languages.of(stated, result.sample)
    account = _account(batch, candidate, result)
    reusable = candidate.reusable
    if candidate.reusable_sha256 == result.cleaned_sha256:
        # The version before may have stated another type.
        notes = text_notes(account)
        batch.add(
            document_id, document, reused=reusable, account=notes, language=language
        )
    elif batch.is_deleted(document_id, document):
        batch.add(document_id, document)
    else:
        batch.add(
            document_id,
            document,
            cleaned_sha256=result.cleaned_sha256,
            chunks=result.chunks,
            account=text_account(account, result.unknown),
            is_again=candidate.is_again,
            language=language,
            parts=result.parts,
        )
    return True


def _account(
    batch: BatchState, candidate: Candidate, result: DividedDocument
) -> Account:
    """What became of a text, with what is known of its document in this batch."""
    if candidate.row not in batch.same_bytes:
        return result.account
    notes = replace(result.account.notes, same_bytes=1)
    return replace(result.account, notes=notes)


def _why_not(batch: BatchState, result: Prepared) -> CleaningFailure | None:
    """Why a document cannot be used; None: it can."""
    if isinstance(result, CleaningFailure):
        return result
    if any(chunk.sha256() in batch.refused_texts for chunk in result.chunks):
        return CleaningFailure(
            DeadLetterReason.NOT_EMBEDDABLE,
            f"model {batch.spec.model!r} makes no usable vector of one of its texts",
        )
    return None
