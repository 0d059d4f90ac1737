"""Documents that an event points to: they are fetched, and then prepared like any other.

1. Only what may become a document is fetched: not what the head outranks, nor a version that is there already.
2. Where the head was fetched from the same address and stays as it was prepared, its origin is asked whether it has
   changed. "No" costs one request; and bytes that are the same cost no embedding, whatever the origin says.
3. What comes is prepared while the rest is on its way; its bytes are in memory only, and in no file.
4. What cannot be fetched is a dead letter. One that may pass is sent again by itself (`ingest.dead_letters.waiting`)
   after as long as it has waited already, until the source's `retry_for` is over. Versions fence it, so it waits
   without holding up others.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import filterfalse

from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from corpus.clean.blocks import CleaningFailure
from corpus.clean.cleaner import RawDocument
from corpus.database import Connection, database_errors_translated, fetch_all
from corpus.dead_letter import DeadLetterReason
from corpus.fetch.address import media_types, url_digest
from corpus.fetch.fetcher import Fetcher
from corpus.fetch.hosts import BATCH_SECONDS, Patience
from corpus.fetch.result import (
    Fetched,
    FetchRequest,
    NotFetched,
    Result,
    StillTheSame,
    Validators,
)
from corpus.prepare.candidates import BatchState, Candidate, Documents, candidates_of
from corpus.prepare.fetch_memory import (
    Remembered,
    Wait,
    fetched_json,
    redriven_letters,
)
from corpus.prepare.fold import FoldedDocument
from corpus.prepare.outcome import key_of
from corpus.prepare.same_bytes import SameBytes
from corpus.prepare.time_slice import (
    ReferenceNote,
    SliceOver,
    TimeSlice,
    result_key,
)
from corpus.source import SourceSpec

# (source specification, bytes, media types) -> the content, or why it is none. The package `ingest` provides it.
FetchedReader = Callable[
    [SourceSpec, bytes, Sequence[str]], str | bytes | CleaningFailure
]
# (batch, candidates, slice) -> ids of the documents whose event became a dead letter.
Prepare = Callable[[BatchState, Sequence[Candidate], TimeSlice], set[str]]

# Prepared together.
_GROUP_DOCUMENTS = 16
_GROUP_BYTES = 16_000_000
# Between two tries that are days apart in the end.
_MIN_RETRY_SECONDS = 30
_MAX_RETRY_SECONDS = 3_600


@dataclass(slots=True)
class _Group:
    """Documents that are prepared together."""

    documents: Documents = field(default_factory=dict[str, FoldedDocument])
    size: int = 0  # bytes

    @property
    def is_full(self) -> bool:
        return len(self.documents) >= _GROUP_DOCUMENTS or self.size >= _GROUP_BYTES


class References:
    """The documents of one batch that its events point to.

    Args:
        pool: of connections to PostgreSQL.
        batch: as it is prepared.
        read: what fetched bytes are.
        prepare: prepares candidates and adds them to the batch.
    """

    def __init__(
        self,
        pool: ConnectionPool[Connection],
        batch: BatchState,
        read: FetchedReader,
        prepare: Prepare,
    ) -> None:
        self._pool = pool
        self._batch = batch
        self._read = read
        self._prepare = prepare
        self._remembered: dict[str, Remembered] = {}
        self._waits: dict[int, Wait] = {}
        self._patience = Patience()
        self._same_bytes = SameBytes(pool, batch)

    def judge(self, documents: Documents, part: TimeSlice) -> set[str]:
        """Take the documents out that are fetched, and add them to the batch.

        Returns:
            Ids of those whose event became a dead letter; they have to be folded without it.

        Raises:
            SliceOver: the part's time is used up.
        """
        urls = self._batch.events.urls()
        referring = {
            document_id: document
            for document_id, document in documents.items()
            if document.winner in urls
        }
        if not referring:
            return set()
        self._look_up(referring)
        for document_id in list(referring):
            self._complete(document_id, referring[document_id])
            if self._is_settled(document_id, referring[document_id]):
                del referring[document_id]
            else:
                del documents[document_id]
        failed, missing = self._judge_again(referring, part)
        return failed | self._fetch(missing, part)

    # ── what is known ───────────────────────────────────────────────────────────────────────────────────────────────

    def _look_up(self, documents: Documents) -> None:
        events = self._batch.events
        letters = {
            number
            for document in documents.values()
            for number in redriven_letters(events.value("headers", _row(document)))
        }
        source = self._batch.spec.source
        ids = {"source": source, "document_ids": list(documents)}
        numbers = {"source": source, "dead_letters": list(letters)}
        with database_errors_translated(), self._pool.connection() as connection:
            rows = fetch_all(connection, class_row(Remembered), "fetched_of", ids)
            self._remembered = {row.document_id: row for row in rows}
            if letters:
                waits = fetch_all(connection, class_row(Wait), "waits_of", numbers)
                self._waits = {wait.dead_letter: wait for wait in waits}

    def _complete(self, document_id: str, document: FoldedDocument) -> None:
        """An event of the head's own version, or one that states no media type, says what the head says."""
        row = _row(document)
        events = self._batch.events
        head = self._batch.heads.get(document_id)
        if head is None or not self._is_of_head(document_id, row):
            return
        if events.value("content_type", row) is None:
            events.set_values(row, content_type=head.content_type)
        if head.version == document.winner_version:
            size = self._remembered[document_id].content_bytes
            digest = head.content_sha256
            events.set_values(row, content_sha256=digest, content_bytes=size)

    def _is_of_head(self, document_id: str, row: int) -> bool:
        """Whether the head was fetched from the address that an event names."""
        head = self._batch.heads.get(document_id)
        remembered = self._remembered.get(document_id)
        if head is None or remembered is None:
            return False
        url: str = self._batch.events.value("content_url", row)
        return (
            remembered.url_sha256 == url_digest(url)
            and remembered.content_sha256 == head.content_sha256
        )

    def _is_settled(self, document_id: str, document: FoldedDocument) -> bool:
        """Whether nothing has to be fetched to know what becomes of a document."""
        head = self._batch.heads.get(document_id)
        if head is None or not self._batch.is_outranked(head, document):
            return False
        return not self._batch.is_again(head, document, _row(document))

    def _known(self, document_id: str, document: FoldedDocument) -> Validators | None:
        """By what the origin may answer that nothing has changed; None: the bytes are needed."""
        batch, row = self._batch, _row(document)
        if not self._is_of_head(document_id, row):
            return None
        kept = batch.rule(row).kept
        head = batch.reusable_head(document_id, document, row, kept)
        if head is None or batch.is_again(head, document, row):
            return None
        if batch.events.value("stated_sha256", row) not in (None, head.content_sha256):
            return None
        stated = batch.events.value("stated_language", row)
        if batch.languages.without_text(stated, head) is None:
            return None
        validators = self._remembered[document_id].validators
        return None if validators.is_empty else validators

    # ── what a part before has fetched ──────────────────────────────────────────────────────────────────────────────

    def _judge_again(
        self, documents: Documents, part: TimeSlice
    ) -> tuple[set[str], Documents]:
        """Judge what was fetched already; returns failed ids, and the documents whose bytes are needed."""
        missing: Documents = {}
        ready: Documents = {}
        failed: set[str] = set()
        for document_id, document in documents.items():
            note = part.results.get(self._key(_row(document)))
            if not isinstance(note, ReferenceNote):
                missing[document_id] = document
            elif self._apply(_row(document), note):
                ready[document_id] = document
            else:
                failed.add(document_id)
        prepared: list[Candidate] = []
        self._same_bytes.note(ready)
        for candidate in candidates_of(self._batch, ready):
            if key_of(self._batch, candidate) in part.results:
                prepared.append(candidate)
            else:
                missing[candidate.document_id] = candidate.document
        return failed | self._prepare(self._batch, prepared, part), missing

    def _key(self, row: int) -> str:
        topic, partition, offset = self._batch.events.position(row)
        url = self._batch.events.value("content_url", row)
        return result_key("reference", topic, partition, offset, url)

    # ── fetching ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fetch(self, documents: Documents, part: TimeSlice) -> set[str]:
        spec = self._batch.spec
        by_row = {_row(document): name for name, document in documents.items()}
        failed: set[str] = set()
        self._patience = Patience(*part.fetching, seconds=BATCH_SECONDS)
        fetcher = Fetcher(
            spec.fetch,
            spec.pipeline.max_document_bytes,
            self._batch.hosts_left_alone,
            self._patience,
        )
        results = fetcher.fetch(self._in_order(documents))
        with closing(results):
            try:
                for group in self._groups(results, by_row, documents, part, failed):
                    self._same_bytes.note(group.documents)
                    candidates = candidates_of(self._batch, group.documents)
                    failed |= self._prepare(self._batch, candidates, part)
                    self._batch.contents.clear()
                    part.check()
            except SliceOver:
                self._keep_failures(fetcher.ready(), part)
                raise
        return failed

    def _keep_failures(self, results: Iterable[Result], part: TimeSlice) -> None:
        """What did not come is known without its bytes; what came is fetched again by the next slice."""
        for result in results:
            row, outcome = result.request.row, result.outcome
            if isinstance(outcome, NotFetched):
                part.add(self._key(row), self._why_not(row, outcome))

    def _in_order(self, documents: Documents) -> list[FetchRequest]:
        """Those that wait already are last, each time in another order, since some may keep others out."""
        requests = [self._request(*each) for each in documents.items()]
        waiting = list(filter(self._is_waiting, requests))
        random.shuffle(waiting)
        return list(filterfalse(self._is_waiting, requests)) + waiting

    def _is_waiting(self, request: FetchRequest) -> bool:
        headers = self._batch.events.value("headers", request.row)
        return any(one in self._waits for one in redriven_letters(headers))

    def _request(self, document_id: str, document: FoldedDocument) -> FetchRequest:
        row = _row(document)
        events = self._batch.events
        return FetchRequest(
            row=row,
            url=events.value("content_url", row),
            sha256=events.value("stated_sha256", row),
            known=self._known(document_id, document),
        )

    def _groups(
        self,
        results: Iterator[Result],
        by_row: Mapping[int, str],
        documents: Documents,
        part: TimeSlice,
        failed: set[str],
    ) -> Iterator[_Group]:
        """What has come, in groups; what will not come is noted as failed.

        Raises:
            SliceOver: the part's time is used up.
        """
        group = _Group()
        for result in results:
            row = result.request.row
            document_id = by_row[row]
            note = self._note(document_id, result)
            note = replace(note, waited_seconds=self._patience.waited)
            part.add(self._key(row), note)
            if self._apply(row, note):
                group.documents[document_id] = documents[document_id]
                group.size += len(result.content)
            else:
                failed.add(document_id)
            # What has come is prepared before a slice ends, so that the next one need not fetch it again.
            if group.is_full or (part.is_over and group.documents):
                yield group
                group = _Group()
            part.check()
        if group.documents:
            yield group

    def _note(self, document_id: str, result: Result) -> ReferenceNote:
        """What the event says, now that its document is fetched; or why there is none."""
        row = result.request.row
        outcome = result.outcome
        match outcome:
            case NotFetched():
                return self._why_not(row, outcome)
            case StillTheSame():
                head = self._batch.heads[document_id]
                return ReferenceNote(
                    content_type=head.content_type,
                    content_sha256=head.content_sha256,
                    content_bytes=self._remembered[document_id].content_bytes,
                    fetched=fetched_json(result.request.url, outcome),
                )
            case Fetched():
                return self._received(result, outcome)

    def _received(self, result: Result, fetched: Fetched) -> ReferenceNote:
        row = result.request.row
        own = self._batch.events.own_value("content_type", row)
        types = media_types(own, fetched.content_type, result.request.url)
        content = self._read(self._batch.spec, result.content, types)
        if isinstance(content, CleaningFailure):
            return ReferenceNote(reason=content.reason, detail=content.detail)
        stated = next(filter(None, types), "")
        media_type = stated.partition(";")[0].strip().lower() or None
        self._batch.contents[row] = RawDocument(content, media_type)
        return ReferenceNote(
            content_type=media_type,
            content_sha256=fetched.sha256,
            content_bytes=fetched.size,
            fetched=fetched_json(result.request.url, fetched),
        )

    def _why_not(self, row: int, outcome: NotFetched) -> ReferenceNote:
        if not outcome.may_pass:
            return ReferenceNote(reason=outcome.reason, detail=outcome.detail)
        headers = self._batch.events.value("headers", row)
        letters = redriven_letters(headers)
        wait = next((self._waits[one] for one in letters if one in self._waits), None)
        waited = 0 if wait is None else wait.seconds
        limit = self._batch.spec.fetch.retry_for_seconds
        # What was not asked for may be there at any moment.
        if waited >= limit and outcome.was_asked:
            detail = f"not fetched for {waited:,} s (fetch.retry_for = {limit:,} s): {outcome.detail}"
            return ReferenceNote(reason=DeadLetterReason.FETCH_FAILED, detail=detail)
        pause = min(max(waited, _MIN_RETRY_SECONDS), _MAX_RETRY_SECONDS)
        return ReferenceNote(
            reason=DeadLetterReason.FETCH_WAITS,
            detail=outcome.detail,
            waits_for=outcome.host,
            retry_seconds=max(pause, outcome.retry_after_seconds),
            waits_since_ms=None if wait is None else wait.waits_since_ms,
        )

    def _apply(self, row: int, note: ReferenceNote) -> bool:
        """Let the event say what its document is; False: it is a dead letter now."""
        values = asdict(note)
        reason = values.pop("reason")
        detail = values.pop("detail")
        del values["waited_seconds"]
        if reason is not None:
            self._batch.events.dead_letter(row, reason, detail or "")
            waits = {name: values[name] for name in _WAITS}
            self._batch.events.set_values(row, **waits)
            return False
        for name in _WAITS:
            del values[name]
        self._batch.events.set_values(row, **values)
        return True


_WAITS = ("waits_for", "retry_seconds", "waits_since_ms")


def _row(document: FoldedDocument) -> int:
    assert document.winner is not None, "an address is that of a winner"
    return document.winner
