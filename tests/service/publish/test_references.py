"""Documents that events point to: from a record to what readers see, on a real database and a server on loopback."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.batch import PrepareRequest
from corpus.clean.cleaner import Cleaner
from corpus.errors import TimeSliceUsedError
from corpus.specs.fetch import FetchSpec
from corpus.specs.formats import MappingSpec
from ingest.event import KafkaRecord
from tests.support.files import pdfs
from tests.support.files.made import DOCX, PDF
from tests.support.pipeline import NOW_MS, Pipeline, make_event
from tests.support.reference_server import Server, late, serving, silent, status

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def cleaner() -> Iterator[Cleaner]:
    with Cleaner(processes=1) as made:
        yield made


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def docs(database_url: str, tmp_path: Path, cleaner: Cleaner, server: Server) -> Iterator[Pipeline]:
    fetch = FetchSpec(internal_hosts=("127.0.0.1",), plain_http=True, timeout_seconds=2.0)
    with Pipeline(database_url, tmp_path, cleaner=cleaner, fetch=fetch) as made:
        yield made


def pointing(document_id: str, version: int, url: str, **other: Any) -> dict[str, Any]:
    event = make_event(document_id, version)
    del event["content_type"]
    return event | {"content_url": url} | other


def texts(docs: Pipeline) -> dict[str, tuple[int, str]]:
    return docs.visible()


def letters(docs: Pipeline) -> list[tuple[str, str]]:
    query = "SELECT reason, detail FROM freshet.dead_letter ORDER BY dead_letter"
    return docs.connection.execute(query).fetchall()


def test_a_document_is_fetched_and_an_unchanged_one_costs_a_request(
    docs: Pipeline, server: Server
) -> None:
    server.texts["/plain/a"] = "The first text of the weir."
    url = server.url("/plain/a")
    report = docs.ingest(pointing("a", 1, url))
    assert (report.applied, report.texts_embedded) == (1, 1)
    assert texts(docs) == {"a": (1, "The first text of the weir.")}
    report = docs.ingest(pointing("a", 2, url))
    assert (report.applied, report.texts_embedded, report.chunks_reused) == (1, 0, 1)
    assert server.requests["/plain/a"] == 2
    assert server.conditions["/plain/a"] is not None
    row = docs.connection.execute(
        "SELECT version, content_type, content_bytes, content_sha256 FROM freshet.document WHERE is_head"
    ).fetchone()
    body = b"The first text of the weir."
    assert row == (2, "text/plain", len(body), hashlib.sha256(body).digest())
    # The same events again ask nobody.
    report = docs.ingest(pointing("a", 2, url), pointing("a", 1, url))
    assert (report.unchanged, report.superseded) == (1, 1)
    assert server.requests["/plain/a"] == 2
    server.texts["/plain/a"] = "The second text."
    report = docs.ingest(pointing("a", 3, url))
    assert texts(docs) == {"a": (3, "The second text.")}
    docs.ingest(pointing("a", 4, server.url("/plain/elsewhere")))
    assert server.conditions["/plain/elsewhere"] is None
    docs.ingest(make_event("a", 5, "A text of its own."))
    fetched = docs.connection.execute("SELECT count(*) FROM freshet.fetched").fetchone()
    assert fetched == (0,)


def test_bytes_that_are_the_same_are_not_embedded_again(docs: Pipeline, server: Server) -> None:
    server.answers["bare"] = lambda handler: handler.send(b"Bare text.", Content_Type="text/plain")
    docs.ingest(pointing("a", 1, server.url("/bare/a")))
    report = docs.ingest(pointing("a", 2, server.url("/bare/a")))
    assert (report.applied, report.texts_embedded, report.chunks_reused) == (1, 0, 1)


def test_a_wrong_media_type_of_the_origin_or_the_name_is_noted(
    docs: Pipeline, server: Server
) -> None:
    file = pdfs.pages(1)
    server.answers["page"] = lambda handler: handler.send(file, Content_Type="text/html")
    server.answers["blob"] = lambda handler: handler.send(
        file, Content_Type="application/octet-stream"
    )
    docs.ingest(
        pointing("origin", 1, server.url("/page/a")),
        pointing("name", 1, server.url("/blob/a.docx")),
        pointing("right", 1, server.url("/blob/a.pdf")),
        pointing("nothing", 1, server.url("/blob/a")),
    )
    rows = docs.connection.execute("SELECT document_id, content_type, notes FROM freshet.document")
    noted = {name: stated for name, stated, notes in rows if notes.get("read_as") == PDF}
    assert noted == {"origin": "text/html", "name": DOCX}
    assert set(docs.visible()) == {"origin", "name", "right", "nothing"}


def test_the_bytes_of_another_address_are_noted_and_refused_nowhere(
    docs: Pipeline, server: Server
) -> None:
    """A login page for everything, or a copy: nothing in the bytes says which."""
    server.answers["wall"] = lambda handler: handler.send(b"Log in.", Content_Type="text/plain")
    first = docs.ingest(
        *(pointing(name, 1, server.url(f"/wall/{name}")) for name in "abc"),
        pointing("own", 1, server.url("/plain/own")),
        pointing("same address", 1, server.url("/plain/own")),
    )
    assert (first.applied, first.dead_lettered) == (5, 0)
    # Also one that comes alone, and one that its next version points elsewhere.
    docs.ingest(pointing("d", 1, server.url("/wall/d")))
    server.texts["/plain/moved"] = "The document /plain/own says that the weir was open."
    docs.ingest(pointing("own", 2, server.url("/plain/moved")))
    docs.ingest(pointing("own", 3, server.url("/plain/moved2")))
    rows = docs.connection.execute(
        "SELECT document_id, notes FROM freshet.document WHERE visible_to IS NULL"
    )
    noted = {name for name, notes in rows if notes == {"same_bytes": 1}}
    assert len(noted & set("abc")) == 2
    assert noted - set("abc") == {"d"}
    (notes,) = docs.connection.execute("SELECT notes FROM freshet.batch WHERE batch = 1").fetchall()
    assert notes == ({"same_bytes": 2},)


def test_the_media_type_of_the_origin_the_event_and_the_name(
    docs: Pipeline, server: Server
) -> None:
    page = b"<html><body><main><p>A page of text.</p></main></body></html>"
    server.answers["page"] = lambda handler: handler.send(page, Content_Type="text/html")
    server.answers["blob"] = lambda handler: handler.send(
        b"# Title\n\nMarkdown text.", Content_Type="application/octet-stream"
    )
    docs.ingest(
        pointing("page", 1, server.url("/page/a")),
        pointing("raw", 1, server.url("/page/a"), content_type="text/plain"),
        pointing("blob", 1, server.url("/blob/a.md")),
    )
    shown = texts(docs)
    assert shown["page"][1] == "A page of text."
    assert "<main>" in shown["raw"][1]
    row = docs.connection.execute(
        "SELECT content_type FROM freshet.document WHERE document_id = 'blob'"
    ).fetchone()
    assert row == ("text/markdown",)


def test_what_fails_for_good_and_what_waits(docs: Pipeline, server: Server) -> None:
    server.answers |= {"missing": status(404), "busy": status(503), "silent": silent}
    wrong = hashlib.sha256(b"other").hexdigest()
    report = docs.ingest(
        pointing("good", 1, server.url("/plain/good")),
        pointing("missing", 1, server.url("/missing/a?token=s3cr3t")),
        pointing("wrong", 1, server.url("/plain/b"), content_sha256=wrong),
        pointing("inside", 1, "http://10.0.0.1/a"),
        pointing("bucket", 1, "s3://bucket/a"),
        pointing("both", 1, server.url("/plain/c"), content="Text."),
        pointing("odd", 1, "ftp://host/a"),
        pointing("busy", 1, server.url("/busy/a")),
        pointing("silent", 1, server.url("/silent/a")),
    )
    assert (report.applied, report.dead_lettered, report.records) == (1, 8, 9)
    reasons = [reason for reason, _ in letters(docs)]
    assert sorted(reasons) == sorted(
        ["fetch_failed"] * 2 + ["fetch_refused"] * 2 + ["invalid_field"] * 2 + ["fetch_waits"] * 2
    )
    assert all("s3cr3t" not in detail for _, detail in letters(docs))
    waiting = docs.connection.execute(
        "SELECT host, retry_at > waits_since FROM freshet.waiting_fetch"
    ).fetchall()
    assert waiting == [(server.host, True)] * 2


def redriven(docs: Pipeline, number: int) -> KafkaRecord:
    """The record of a dead letter as it is redriven."""
    row = docs.connection.execute(
        "SELECT topic, partition, record_offset, key, value FROM freshet.dead_letter WHERE dead_letter = %s",
        (number,),
    ).fetchone()
    assert row is not None
    topic, partition, offset, key, value = row
    place = f"{topic}/{partition}/{offset}#{number}".encode()
    time_ms = str(NOW_MS + offset).encode()
    headers = (("freshet.redriven-from", place), ("freshet.redriven-timestamp", time_ms))
    return KafkaRecord(
        topic=topic,
        partition=partition,
        offset=0,
        timestamp_ms=NOW_MS + 1_000,
        key=key,
        value=value,
        headers=headers,
    )


def test_what_waits_is_fenced_by_its_version_and_gives_up_in_the_end(
    docs: Pipeline, server: Server
) -> None:
    server.answers["busy"] = status(503)
    docs.ingest(pointing("a", 5, server.url("/busy/a")))
    docs.connection.execute(
        "UPDATE freshet.waiting_fetch SET waits_since = now() - interval '1000 s'"
    )
    docs.ingest(redriven(docs, 1))
    rows = docs.connection.execute(
        """SELECT extract(epoch FROM now() - waits_since)::int >= 1000,
                  extract(epoch FROM retry_at - now())::int BETWEEN 900 AND 1100
           FROM freshet.waiting_fetch ORDER BY dead_letter"""
    ).fetchall()
    assert rows[1] == (True, True)
    docs.connection.execute("UPDATE freshet.waiting_fetch SET waits_since = now() - interval '2 d'")
    docs.ingest(redriven(docs, 2))
    assert [reason for reason, _ in letters(docs)] == ["fetch_waits", "fetch_waits", "fetch_failed"]
    del server.answers["busy"]
    docs.ingest(make_event("a", 6, "A newer text."))
    report = docs.ingest(redriven(docs, 1))
    assert report.superseded == 1
    assert texts(docs) == {"a": (6, "A newer text.")}


def test_an_older_event_stands_in_until_the_newer_one_comes(docs: Pipeline, server: Server) -> None:
    server.answers["busy"] = status(503)
    docs.ingest(make_event("a", 1, "Old text."), pointing("a", 2, server.url("/busy/a")))
    assert texts(docs) == {"a": (1, "Old text.")}
    del server.answers["busy"]
    docs.ingest(redriven(docs, 1))
    assert texts(docs)["a"][0] == 2


def test_older_versions_do_not_ask_a_host_again_that_is_away(
    docs: Pipeline, server: Server
) -> None:
    server.answers["silent"] = silent
    versions = [
        pointing(f"d{n}", version, server.url(f"/silent/{n}-{version}"))
        for n in range(6)
        for version in range(1, 6)
    ]
    report = docs.ingest(*versions)
    assert report.dead_lettered == 30
    assert server.asked <= 8


def test_a_mapped_address(docs: Pipeline, server: Server) -> None:
    mapping = MappingSpec(
        id="key", version="rev", content_url=server.url("/plain/{file}"), content_sha256="sum?"
    )
    fields = {name: getattr(docs.spec, name) for name in docs.spec.__dataclass_fields__}
    docs.spec = type(docs.spec)(**{**fields, "format": "json", "mapping": mapping})
    docs.configure()
    docs.ingest(b'{"key": "a", "rev": 1, "file": "x.txt"}', b'{"key": "b", "rev": 1}')
    assert list(texts(docs)) == ["a"]
    assert [reason for reason, _ in letters(docs)] == ["invalid_field"]


def test_nothing_is_kept_of_what_is_erased(docs: Pipeline, server: Server) -> None:
    docs.ingest(*(pointing(name, 1, server.url(f"/plain/{name}")) for name in "ab"))
    docs.erase("a")
    rows = docs.connection.execute("SELECT document_id, url FROM freshet.fetched").fetchall()
    assert rows == [("b", server.url("/plain/b"))]
    docs.ingest(pointing("a", 2, server.url("/plain/a")))
    assert list(texts(docs)) == ["b"]
    assert server.requests["/plain/a"] == 1


def test_a_slice_that_ends_keeps_what_was_fetched(
    docs: Pipeline, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.prepare.preparer.SLICE_SECONDS", 0.0)
    server.answers["missing"] = status(404)
    # The others come when what is missing has been said, so that every slice has it to keep.
    server.answers["plain"] = late(0.5)
    events = [pointing("missing", 1, server.url("/missing/a"))]
    events.extend(pointing(f"d{n}", 1, server.url(f"/plain/{n}")) for n in range(6))
    ref = docs.stage(docs.records(events))
    progress = None
    for _ in range(60):
        request = PrepareRequest(source="s", batch=1, refs=(ref,), progress=progress)
        try:
            prepared = docs.preparer.prepare(request)
        except TimeSliceUsedError as error:
            [progress] = error.details
        else:
            break
    docs.embed(prepared)
    report = docs.publish([ref], prepared, 1)
    assert (report.applied, report.dead_lettered) == (6, 1)
    assert server.requests["/missing/a"] == 1


def test_a_batch_whose_documents_do_not_come_gives_its_place_back(
    docs: Pipeline, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.prepare.preparer.SLICE_SECONDS", 0.0)
    server.answers["missing"] = status(404)
    events = [pointing(f"d{n}", 1, server.url(f"/missing/{n}")) for n in range(3)]
    ref = docs.stage(docs.records(events))
    progress = None
    slices = 0
    while True:
        request = PrepareRequest(source="s", batch=1, refs=(ref,), progress=progress)
        try:
            prepared = docs.preparer.prepare(request)
        except TimeSliceUsedError as error:
            [progress] = error.details
            slices += 1
        else:
            break
    assert slices >= 1
    assert server.asked <= 6
    report = docs.publish([ref], prepared, 1)
    assert report.dead_lettered == 3


def test_what_a_batch_has_waited_counts_in_its_next_slices(
    docs: Pipeline, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.prepare.preparer.SLICE_SECONDS", 0.0)
    monkeypatch.setattr("corpus.prepare.references.BATCH_SECONDS", 1.0)
    server.answers["busy"] = status(503)
    events = [pointing(f"d{n}", 1, server.url(f"/busy/{n}")) for n in range(9)]
    ref = docs.stage(docs.records(events))
    with pytest.raises(TimeSliceUsedError) as stopped:
        docs.preparer.prepare(PrepareRequest(source="s", batch=1, refs=(ref,)))
    monkeypatch.setattr("corpus.prepare.preparer.SLICE_SECONDS", 60.0)
    [progress] = stopped.value.details
    request = PrepareRequest(source="s", batch=1, refs=(ref,), progress=progress)
    docs.publish([ref], docs.preparer.prepare(request), 1)
    details = [detail for _, detail in letters(docs)]
    assert len(details) == 9
    assert sum("the batch has waited" in detail for detail in details) >= 4


def test_base64_of_headers_that_anyone_may_write(docs: Pipeline, server: Server) -> None:
    server.answers["busy"] = status(503)
    event = pointing("a", 1, server.url("/busy/a"))
    key, value = b"a", json.dumps(event).encode()
    for position in (
        b"\xff\xfe#99",
        b"t/0/0#123456789012345678",
        base64.b64encode(b"x"),
        b"",
        None,
    ):
        odd = KafkaRecord(
            topic="",
            partition=0,
            offset=0,
            timestamp_ms=NOW_MS,
            key=key,
            value=value,
            headers=(("freshet.redriven-from", position),),
        )
        docs.ingest(odd)
    assert {reason for reason, _ in letters(docs)} == {"fetch_waits"}
