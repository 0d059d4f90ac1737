"""Which documents are cleaned, and what becomes of those that cannot be used; without a database."""

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
import pytest

from corpus.chunk import text_sha256
from corpus.clean.account import Account, DropRule, visible_length
from corpus.clean.blocks import CleanedDocument, CleaningFailure
from corpus.clean.cleaner import RawDocument
from corpus.dead_letter import DeadLetterReason
from corpus.embed.spaces import Space
from corpus.embed.tokenizer import load_tokenizer, read_embedding_spec
from corpus.limits.fair_queue import QueuedBatch
from corpus.preparation import PREPARATION_VERSION, PreparationSpec, preparation_rules
from corpus.prepare.candidates import BatchState
from corpus.prepare.events import JudgedEvents
from corpus.prepare.heads import Head
from corpus.prepare.language import Languages
from corpus.prepare.preparer import Preparer
from corpus.prepare.time_slice import TimeSlice
from corpus.source import SourceSpec
from corpus.staging.frames import schema_of
from corpus.staging.layout import STAGED_EVENTS
from tests.support.fakes import MODEL

SPEC = SourceSpec(source="s", topics=("t",), pipeline=PreparationSpec(max_chunks=2, max_tokens=16))
PIPELINE = SPEC.pipeline.fingerprint()
TOO_LONG = "A sentence that is long enough. " * 20
BROKEN = "cannot be cleaned"


HIDDEN = Account(kept=0, dropped=((DropRule.HIDDEN, 7),))
SCRIPT = Account(kept=0, dropped=((DropRule.MACHINE, 7),))


def cleaned_document(content: str) -> CleanedDocument:
    dropped = {"<hidden>": HIDDEN, "<script>": SCRIPT}
    if content in dropped:
        return CleanedDocument("", account=dropped[content])
    return CleanedDocument(content.lower(), account=Account(kept=visible_length(content)))


@dataclass
class FakeCleaner:
    """Lower-cases contents, and remembers them."""

    cleaned: list[str] = field(default_factory=list)

    def clean_then(
        self,
        documents: Sequence[RawDocument],
        _spec: PreparationSpec,
        steps: Sequence[Callable[[CleanedDocument], Any]],
        _batch: QueuedBatch,
    ) -> Generator[Any]:
        for document, step in zip(documents, steps, strict=True):
            self.cleaned.append(document.content)
            if document.content == BROKEN:
                yield CleaningFailure(DeadLetterReason.CLEANING_FAILED, "broken")
            else:
                yield step(cleaned_document(document.content))


@pytest.fixture(scope="module")
def space() -> Space:
    spec = read_embedding_spec(MODEL, "")
    return Space(1, spec.fingerprint(), spec, load_tokenizer(MODEL, ""))


def content_of(_spec: SourceSpec, _key: Any, value: bytes, _headers: str, _hash: bytes) -> str:
    return json.loads(value)["content"]


def upsert(document_id: str, version: int, content: str) -> dict[str, Any]:
    return {
        "op": "upsert",
        "document_id": document_id,
        "version": version,
        "content_type": "text/plain",
        "value": json.dumps({"content": content}).encode(),
        "content_sha256": text_sha256(content),
        "raw_sha256": text_sha256(f"{document_id} {version} {content}"),
    }


def delete(document_id: str, version: int | None) -> dict[str, Any]:
    """A deletion; version None: a relative tombstone."""
    return {"op": "delete", "document_id": document_id, "version": version, "raw_sha256": b""}


def head(document_id: str, version: int, content: str) -> Head:
    return Head(
        document_id=document_id,
        document_key=10 + version,
        version=version,
        visible=True,
        expired=False,
        content_sha256=text_sha256(content),
        cleaned_sha256=text_sha256(content.lower()),
        pipeline=PIPELINE,
        space_id=1,
        content_type="text/plain",
    )


class Judged:
    """A batch that was judged: its documents by id, the outcomes of its events, and the contents that were cleaned."""

    def __init__(
        self,
        space: Space,
        events: list[dict[str, Any]],
        heads: Sequence[Head],
        spec: SourceSpec = SPEC,
        detector: Callable[[str], str | None] = lambda _: None,
        prepare_again: str | None = None,
    ) -> None:
        columns = dict.fromkeys(schema_of(STAGED_EVENTS))
        record = {"topic": "t", "partition": 0, "outcome": "event", "headers": "[]"}
        rows = [columns | record | {"offset": n} | event for n, event in enumerate(events)]
        frame = pl.DataFrame(rows, schema=schema_of(STAGED_EVENTS), orient="row")
        cleaner = FakeCleaner()
        preparer = Preparer(
            store=None,  # type: ignore[arg-type]
            pool=None,  # type: ignore[arg-type]
            cleaner=cleaner,  # type: ignore[arg-type]
            spaces=None,  # type: ignore[arg-type]
            content_of=content_of,
        )
        judged = JudgedEvents(frame)
        by_id = {known.document_id: known for known in heads}
        languages = Languages(spec, {"english", "german", "simple"}, detector)
        preparation = preparation_rules(spec.pipeline, prepare_again)
        batch = BatchState(spec, space, judged, by_id, preparation, languages)
        preparer._judge(batch, judged.fold(), TimeSlice({}, 60))
        self.documents = {row["document_id"]: row for row in batch.documents}
        self.chunks = [(chunk.document_id, chunk.chunk.text) for chunk in batch.chunks]
        self.outcomes = judged.prepared()["outcome"].to_list()
        self.cleaned = cleaner.cleaned


def test_a_new_document_is_cleaned_and_split(space: Space) -> None:
    judged = Judged(space, [upsert("a", 1, "One")], [])
    assert judged.chunks == [("a", "one")]
    assert judged.documents["a"]["cleaned_sha256"] == text_sha256("one")
    assert judged.documents["a"]["reuse_key"] is None


def test_a_document_says_what_became_of_its_text(space: Space) -> None:
    row = Judged(space, [upsert("a", 1, "One \u6c34")], []).documents["a"]
    assert (row["received_characters"], row["kept_characters"], row["dropped"]) == (4, 4, "{}")
    assert row["tokens"] == 2


def test_tokens_that_the_model_does_not_know_are_counted(space: Space) -> None:
    row = Judged(space, [upsert("a", 1, "one ᚠ two ᚢ")], []).documents["a"]
    assert (row["tokens"], row["unknown_tokens"], row["unknown_characters"]) == (4, 2, 2)


def test_reused_chunks_keep_the_account_of_their_version(space: Space) -> None:
    row = Judged(space, [upsert("a", 2, "One")], [head("a", 1, "One")]).documents["a"]
    assert (row["received_characters"], row["tokens"]) == (None, None)


def test_a_document_that_lost_all_its_text_is_a_dead_letter(space: Space) -> None:
    judged = Judged(space, [upsert("a", 1, "One"), upsert("a", 2, "<hidden>")], [])
    assert judged.outcomes == ["event", "dead_letter"]
    assert judged.documents["a"]["version"] == 1


@pytest.mark.parametrize("content", ["<script>", ""], ids=["nothing readable", "nothing at all"])
def test_a_document_without_text_to_read_is_published_empty(content: str, space: Space) -> None:
    judged = Judged(space, [upsert("a", 1, content)], [])
    assert (judged.outcomes, judged.chunks) == (["event"], [])


def test_a_source_may_publish_what_lost_all_its_text(space: Space) -> None:
    pipeline = replace(SPEC.pipeline, on_empty="publish")
    events = [upsert("a", 1, "<hidden>")]
    judged = Judged(space, events, [], replace(SPEC, pipeline=pipeline))
    assert judged.outcomes == ["event"]
    assert json.loads(judged.documents["a"]["dropped"]) == {"hidden": 7}


def test_the_same_bytes_are_not_cleaned(space: Space) -> None:
    judged = Judged(space, [upsert("a", 2, "One")], [head("a", 1, "One")])
    assert (judged.cleaned, judged.chunks) == ([], [])
    assert judged.documents["a"]["reuse_key"] == 11


def test_the_same_cleaned_text_keeps_its_chunks(space: Space) -> None:
    judged = Judged(space, [upsert("a", 2, "ONE")], [head("a", 1, "One")])
    assert (judged.cleaned, judged.chunks) == (["ONE"], [])
    assert judged.documents["a"]["reuse_key"] == 11


def test_an_older_version_is_not_cleaned(space: Space) -> None:
    judged = Judged(space, [upsert("a", 1, "Zero")], [head("a", 1, "One")])
    assert judged.cleaned == []
    assert judged.documents["a"]["cleaned_sha256"] is None


def test_another_preparation_cleans_the_same_bytes_again(space: Space) -> None:
    known = replace(head("a", 1, "One"), pipeline="another")
    judged = Judged(space, [upsert("a", 2, "One")], [known])
    assert (judged.cleaned, judged.documents["a"]["reuse_key"]) == (["One"], None)


OLDER = SPEC.pipeline.fingerprint(PREPARATION_VERSION - 1)


def test_an_upgrade_alone_prepares_no_unchanged_document(space: Space) -> None:
    known = replace(head("a", 1, "One"), pipeline=OLDER)
    judged = Judged(space, [upsert("a", 2, "One")], [known])
    assert (judged.cleaned, judged.documents["a"]["reuse_key"]) == ([], 11)


def test_after_an_upgrade_a_changed_document_is_prepared_anew(space: Space) -> None:
    """Its text may be the same and its chunks other ones, so that the cleaned text alone says nothing."""
    known = replace(head("a", 1, "One"), pipeline=OLDER)
    judged = Judged(space, [upsert("a", 2, "ONE")], [known])
    assert (judged.cleaned, judged.documents["a"]["reuse_key"]) == (["ONE"], None)


@pytest.mark.parametrize("version", [1, 2])
def test_what_an_operator_asks_for_is_prepared_again(version: int, space: Space) -> None:
    """Read again, and sent again under another version."""
    known = replace(head("a", 1, "One"), pipeline=OLDER)
    judged = Judged(space, [upsert("a", version, "One")], [known], prepare_again=PIPELINE)
    assert judged.chunks == [("a", "one")]
    row = judged.documents["a"]
    assert (row["reuse_key"], row["is_again"]) == (None, version == 1)


@pytest.mark.parametrize(
    ("change", "content"),
    [
        ({"pipeline": PIPELINE}, "One"),
        ({"visible": False}, "One"),
        ({"version": 2}, "One"),
        ({}, "Another content under the same version"),
    ],
    ids=["prepared so already", "withdrawn", "older", "another content"],
)
def test_nothing_else_is_prepared_again(change: dict[str, Any], content: str, space: Space) -> None:
    known = replace(head("a", 1, "One"), **({"pipeline": OLDER} | change))
    judged = Judged(space, [upsert("a", 1, content)], [known], prepare_again=PIPELINE)
    assert (judged.cleaned, judged.documents["a"]["is_again"]) == ([], False)


def test_what_was_asked_for_an_earlier_preparation_counts_no_more(space: Space) -> None:
    known = replace(head("a", 1, "One"), pipeline=OLDER)
    judged = Judged(space, [upsert("a", 1, "One")], [known], prepare_again=OLDER)
    assert judged.cleaned == []


def test_a_document_that_cannot_be_prepared_again_stays_and_its_event_says_so(space: Space) -> None:
    known = replace(head("a", 1, BROKEN), pipeline=OLDER)
    judged = Judged(space, [upsert("a", 1, BROKEN)], [known], prepare_again=PIPELINE)
    assert (judged.outcomes, judged.documents) == (["dead_letter"], {})


def test_a_deleted_document_reuses_nothing(space: Space) -> None:
    events = [upsert("a", 2, "One"), delete("a", None)]
    judged = Judged(space, events, [head("a", 1, "One")])
    assert judged.documents["a"]["reuse_key"] is None
    assert judged.chunks == []


def test_a_delete_needs_no_content(space: Space) -> None:
    judged = Judged(space, [delete("a", 2), delete("b", None)], [head("a", 1, "One")])
    assert judged.cleaned == []
    assert [judged.documents[name]["op"] for name in "ab"] == ["delete", None]


@pytest.mark.parametrize("content", [BROKEN, TOO_LONG], ids=["not cleaned", "too many chunks"])
def test_an_event_that_cannot_be_used_gives_way_to_the_next_best(
    content: str, space: Space
) -> None:
    events = [upsert("a", 1, "One"), upsert("a", 3, content), upsert("a", 2, "Two")]
    judged = Judged(space, events, [])
    assert judged.outcomes == ["superseded", "dead_letter", "event"]
    assert judged.chunks == [("a", "two")]
    assert judged.documents["a"]["version"] == 2


def test_a_document_without_any_usable_event_is_not_published(space: Space) -> None:
    judged = Judged(space, [upsert("a", 1, BROKEN), upsert("a", 2, BROKEN)], [])
    assert judged.documents == {}
    assert judged.outcomes == ["dead_letter", "dead_letter"]


def test_a_deleted_version_that_cannot_be_used_keeps_nothing_out(space: Space) -> None:
    events = [upsert("a", 7, BROKEN), delete("a", None), upsert("a", 6, "Six")]
    judged = Judged(space, events, [])
    assert judged.outcomes == ["dead_letter", "event", "event"]
    assert judged.documents["a"]["tombstone_floor"] == -1
    assert judged.chunks == [("a", "six")]


def test_a_deleted_version_that_can_be_used_keeps_older_ones_out(space: Space) -> None:
    events = [upsert("a", 7, "Seven"), delete("a", None), upsert("a", 6, "Six")]
    judged = Judged(space, events, [])
    assert judged.outcomes == ["event", "event", "superseded"]
    assert judged.documents["a"]["tombstone_floor"] == 7
    assert judged.cleaned == ["Seven"]
    assert judged.chunks == []


def test_a_text_that_repeats_is_listed_at_every_place(space: Space) -> None:
    judged = Judged(space, [upsert("a", 1, "One"), upsert("b", 1, "ONE")], [])
    assert judged.chunks == [("a", "one"), ("b", "one")]


def test_an_empty_document_has_no_chunks_and_is_published(space: Space) -> None:
    judged = Judged(space, [upsert("a", 1, "")], [])
    assert (judged.outcomes, judged.chunks) == (["event"], [])
    assert judged.documents["a"]["cleaned_sha256"] == text_sha256("")


def test_another_language_of_the_same_content_cleans_nothing(space: Space) -> None:
    event = upsert("a", 2, "One") | {"stated_language": "de"}
    judged = Judged(space, [event], [head("a", 1, "One")])
    row = judged.documents["a"]
    assert (judged.cleaned, judged.chunks) == ([], [])
    assert (row["language"], row["language_from"], row["reuse_key"]) == ("german", "event", 11)


def test_the_same_content_is_cleaned_once_to_detect_its_language(space: Space) -> None:
    spec = replace(SPEC, detect_language=True)
    before = head("a", 1, "One")
    judged = Judged(space, [upsert("a", 2, "One")], [before], spec, lambda _: "de")
    row = judged.documents["a"]
    assert (judged.cleaned, judged.chunks) == (["One"], [])
    assert (row["language"], row["language_from"], row["reuse_key"]) == ("german", "detected", 11)
    known = replace(before, language="german", language_from="detected")
    assert Judged(space, [upsert("a", 2, "One")], [known], spec).cleaned == []
