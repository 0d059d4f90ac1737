"""What is attached to an e-mail is found as a document of its own, and is there and gone with its mail."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import psycopg
import pytest

from corpus.access.withholding import show_all_again
from corpus.answer.search import search
from corpus.service import DocumentPart, SearchHit, SearchRequest
from corpus.sessions.roles import AUDITOR
from ingest import prepare_again
from ingest.consume.withholder import Withholder
from ingest.prepare_again import PreparePlan
from tests.service.test_erasure import found_in_tables
from tests.support.fake_kafka import FakeCluster
from tests.support.files import pdfs
from tests.support.files.made import MAIL, PDF, words
from tests.support.logins import reader, session
from tests.support.pipeline import Event, Pipeline, make_event
from tests.support.purging import Purging

LEVELS = ("levels.pdf", PDF, pdfs.pages(3, per_page=120))
DAY = 86_400
NOTES = ("notes.txt", "text/plain", b"The quillwort grows at the weir.")
SEALED = ("sealed.pdf", PDF, pdfs.encrypted("gate"))
IN_LEVELS = words("page2x", 1)[0]


def mail_event(
    document_id: str,
    version: int,
    *attached: tuple[str, str, bytes],
    subject: str = "Levels of May",
    within: str = "",
    **other: Any,
) -> Event:
    """A mail with what is attached; `within`: it is forwarded in a mail with this subject."""
    message = _message(subject)
    for name, kind, content in attached:
        main, _, sub = kind.partition("/")
        message.add_attachment(content, maintype=main, subtype=sub, filename=name)
    if within:
        outer = _message(within)
        outer.add_attachment(message)
        message = outer
    encoded = base64.b64encode(message.as_bytes()).decode()
    other = {"content_type": MAIL, "content_base64": encoded, "title": subject} | other
    return make_event(document_id, version, **other)


def _message(subject: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["Subject"] = subject
    message.set_content(f"The keeper of the sluice sends {subject}.")
    return message


def names_of(hits: Sequence[SearchHit]) -> list[str | None]:
    return [hit.part.name if hit.part else None for hit in hits]


def find(pipeline: Pipeline, text: str, **request: Any) -> list[tuple[str, str | None]]:
    hits = pipeline.search(text, mode="text", **request)
    return [(hit.document_id, hit.part.name if hit.part else None) for hit in hits]


def parts_in_table(pipeline: Pipeline) -> list[Any]:
    return pipeline.connection.execute(
        """SELECT d.document_id, d.version, p.part ->> 'name' FROM freshet.document d,
           jsonb_array_elements(d.parts) AS p (part) ORDER BY d.document_key, p.part -> 'number'"""
    ).fetchall()


def test_an_attachment_is_a_hit_of_its_own(pipeline: Pipeline) -> None:
    pipeline.ingest(mail_event("m", 1, LEVELS, NOTES, SEALED))
    (hit,) = pipeline.search(IN_LEVELS, mode="text", k=1)
    assert hit.part is not None
    assert hit.part == DocumentPart(
        number=1,
        name="levels.pdf",
        within="Levels of May",
        media_type=PDF,
        start=hit.part.start,
        end=hit.part.end,
    )
    assert (hit.document_id, hit.title, hit.heading) == ("m", "Levels of May", "page 2")
    assert hit.part.start <= hit.start < hit.part.end
    assert "keeper" not in hit.text
    assert find(pipeline, "quillwort") == [("m", "notes.txt")]
    assert find(pipeline, "keeper sluice") == [("m", None)]
    # What is not read is named in the text of the mail.
    assert find(pipeline, "needs a password") == [("m", None)]


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_every_mode_names_the_part(pipeline: Pipeline, mode: str) -> None:
    pipeline.ingest(mail_event("m", 1, NOTES))
    hits = pipeline.search("The quillwort grows at the weir.", mode=mode)
    assert set(names_of(hits)) == {None, "notes.txt"}
    assert names_of(hits)[0] == "notes.txt"


def test_an_attachment_is_found_by_its_name(pipeline: Pipeline) -> None:
    pipeline.ingest(mail_event("m", 1, LEVELS, NOTES))
    assert set(find(pipeline, "levels.pdf")) == {("m", "levels.pdf")}
    # Another name of the same text embeds nothing, and is what is found from then on.
    renamed = ("gauges.pdf", *LEVELS[1:])
    report = pipeline.ingest(mail_event("m", 2, renamed, NOTES))
    assert (report.applied, report.texts_embedded) == (1, 0)
    assert find(pipeline, "levels.pdf") == []
    assert set(find(pipeline, "gauges.pdf")) == {("m", "gauges.pdf")}
    assert pipeline.wrongly_indexed() == []


def test_a_forwarded_attachment_embeds_nothing(pipeline: Pipeline) -> None:
    pipeline.ingest(mail_event("m", 1, LEVELS), make_event("own", 1, "The mill."))
    forwarded = mail_event("f", 1, LEVELS, within="Fwd: Levels of May")
    report = pipeline.ingest(forwarded)
    # The text of the mail that forwards it; that of the mail inside is the same.
    assert (report.applied, report.texts_embedded) == (1, 1)
    [hit] = [hit for hit in pipeline.search(IN_LEVELS, mode="text") if hit.document_id == "f"]
    assert hit.part is not None
    assert hit.part.within == "Fwd: Levels of May > Levels of May"
    alone = base64.b64encode(LEVELS[2]).decode()
    report = pipeline.ingest(make_event("alone", 1, content_type=PDF, content_base64=alone))
    assert (report.applied, report.texts_embedded) == (1, 0)


def test_a_version_without_the_attachment_and_the_one_before(pipeline: Pipeline) -> None:
    pipeline.ingest(mail_event("m", 1, LEVELS, NOTES))
    report = pipeline.ingest(mail_event("m", 2, NOTES))
    assert report.texts_embedded == 0
    assert find(pipeline, IN_LEVELS) == []
    assert find(pipeline, "quillwort") == [("m", "notes.txt")]
    (old,) = pipeline.search(IN_LEVELS, mode="text", sources=("s",), as_of_batch=1)
    assert old.part is not None
    assert (old.version, old.part.name, old.part.number) == (1, "levels.pdf", 1)
    (now,) = pipeline.search("quillwort", mode="text")
    assert now.part is not None
    assert (now.version, now.part.number) == (2, 1)


def test_a_deleted_or_expired_mail_takes_its_attachments_along(pipeline: Pipeline) -> None:
    pipeline.ingest(mail_event("m", 1, LEVELS), mail_event("x", 1, NOTES))
    pipeline.ingest(make_event("m", 2, op="delete"))
    assert find(pipeline, IN_LEVELS) == []
    assert find(pipeline, "quillwort") == [("x", "notes.txt")]
    assert pipeline.expire(after_seconds=1).documents_expired == 1
    assert find(pipeline, "quillwort") == []
    # Sent again it comes back as it was, parts included.
    renewed = mail_event("x", 1, NOTES, expires_at="2100-01-01T00:00:00Z")
    assert pipeline.ingest(renewed).texts_embedded == 0
    assert find(pipeline, "quillwort") == [("x", "notes.txt")]


def test_who_may_read_the_mail_may_read_its_attachments(pipeline: Pipeline) -> None:
    pipeline.ingest(mail_event("m", 1, LEVELS, acl=["hr", "it"]))

    def seen_by(group: str) -> list[str | None]:
        request = SearchRequest(query=IN_LEVELS, mode="text")
        found = search(pipeline.connection, request, pipeline.embedder.of, reader=reader(group))
        return names_of(found.hits)

    assert seen_by("it") == seen_by("hr") == ["levels.pdf"]
    assert seen_by("others") == []
    # A revocation is withheld when its record is read, before its batch is published.
    withholder = Withholder(pipeline.pool)
    records = pipeline.records([mail_event("m", 2, LEVELS, acl=["hr"])])
    reference = pipeline.stage(records, withhold=withholder.withhold)
    assert (seen_by("it"), seen_by("hr")) == ([], ["levels.pdf"])
    pipeline.run(reference)
    show_all_again(pipeline.connection, "s")
    assert (seen_by("it"), seen_by("hr")) == ([], ["levels.pdf"])


def test_nothing_of_an_erased_mails_attachments_remains(pipeline: Pipeline) -> None:
    pipeline.ingest(mail_event("m", 1, ("quillwort-4711.txt", *NOTES[1:])))
    pipeline.ingest(mail_event("m", 2, ("other-4711.txt", *NOTES[1:])))
    assert found_in_tables(pipeline.connection, "4711", "quillwort").keys() >= {
        "document",
        "chunk",
    }
    pipeline.erase("m")
    assert found_in_tables(pipeline.connection, "4711", "quillwort") == {}
    assert find(pipeline, "quillwort") == []


def test_a_purge_forgets_the_names(pipeline: Pipeline) -> None:
    purging = Purging(pipeline)
    pipeline.ingest(mail_event("m", 1, NOTES), mail_event("x", 1, LEVELS))
    pipeline.ingest(mail_event("m", 2, NOTES))
    pipeline.expire(after_seconds=1)
    assert len(parts_in_table(pipeline)) == 3
    purging.age(3)
    purging.keep(history_seconds=2 * DAY)
    purging.run()
    assert parts_in_table(pipeline) == []


def test_a_corrected_version_keeps_its_parts(pipeline: Pipeline) -> None:
    pipeline.ingest(mail_event("m", 900, NOTES), mail_event("x", 1, LEVELS))
    pipeline.correct("m", 900, 2)
    (hit,) = pipeline.search("quillwort", mode="text")
    assert (hit.version, names_of([hit])) == (2, ["notes.txt"])


def test_an_unchanged_mail_keeps_its_parts(pipeline: Pipeline) -> None:
    pipeline.ingest(mail_event("m", 1, NOTES))
    pipeline.ingest(mail_event("m", 2, NOTES))
    renamed = mail_event("m", 3, NOTES, title="Another title")
    assert pipeline.ingest(renamed).chunks_opened == 0
    (hit,) = pipeline.search("quillwort", mode="text")
    assert (hit.version, names_of([hit])) == (3, ["notes.txt"])


def test_auditors_do_not_read_what_parts_are_called(pipeline: Pipeline) -> None:
    pipeline.ingest(mail_event("m", 1, NOTES))
    with session(pipeline.database_url, AUDITOR) as auditor:
        assert auditor.execute("SELECT document_id FROM freshet.document").fetchall() == [("m",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            auditor.execute("SELECT parts FROM freshet.document")


# ── prepared again ──────────────────────────────────────────────────────────────────────────────────────────────────


def as_before_parts(pipeline: Pipeline) -> None:
    """The corpus as the version before left it: no parts, and one fingerprint for all documents."""
    before = pipeline.spec.pipeline.fingerprint()
    pipeline.connection.execute(
        "UPDATE freshet.document SET parts = NULL, pipeline = %s", (before,)
    )


def planned(pipeline: Pipeline) -> PreparePlan:
    """What `freshet source prepare` would do, with Kafka as the pipeline's records are in it."""
    cluster: Any = FakeCluster({"s": 1}, {("s", 0): (0, pipeline.next_offset.get(0, 0))})
    cluster.id = "cluster"
    cluster.topic_ids = {"s": pipeline.topic_id}
    return prepare_again.plan(pipeline.connection, cluster, "s")


def test_an_upgrade_prepares_nothing_and_names_only_mails(pipeline: Pipeline) -> None:
    mail, other = mail_event("m", 1, NOTES), make_event("other", 1, "The mill.")
    records = pipeline.records([mail, other])
    pipeline.run(pipeline.stage(records))
    as_before_parts(pipeline)
    again = pipeline.ingest(mail, other, {**mail, "version": 2})
    assert (again.applied, again.unchanged, again.texts_embedded) == (1, 1, 0)
    assert find(pipeline, "quillwort") == [("m", None)]
    plan = planned(pipeline)
    assert (plan.documents, plan.of_older_version) == (1, 1)


def test_mails_are_prepared_again_when_an_operator_asks(pipeline: Pipeline) -> None:
    records = pipeline.records([mail_event("m", 1, NOTES), make_event("other", 1, "The mill.")])
    pipeline.run(pipeline.stage(records))
    as_before_parts(pipeline)
    prepare_again.carry_out(pipeline.connection, planned(pipeline))
    [[epoch]] = pipeline.connection.execute("SELECT epoch FROM freshet.source").fetchall()
    report = pipeline.run(replace(pipeline.stage(records), epoch=epoch))
    assert (report.applied, report.unchanged, report.texts_embedded) == (1, 1, 0)
    assert find(pipeline, "quillwort") == [("m", "notes.txt")]
    assert planned(pipeline).documents == 0
    [pipelines] = pipeline.connection.execute(
        "SELECT array_agg(pipeline ORDER BY document_id) FROM freshet.document WHERE is_head"
    ).fetchall()
    spec = pipeline.spec.pipeline
    assert pipelines == ([spec.fingerprint_of(MAIL), spec.fingerprint()],)
