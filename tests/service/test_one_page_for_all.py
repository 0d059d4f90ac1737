"""A page that an origin gives for everything is no change of the documents: on a real database."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import age, ask, due_after_an_hour, expire, pointing
from tests.support.pipeline import Pipeline
from tests.support.reference_server import Answer, Server, serving

pytestmark = pytest.mark.service


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def docs(database_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    with due_after_an_hour(database_url, tmp_path) as made:
        yield made


def wall(handler: Any) -> None:
    """A page for everything that is another one each time: it has a token, and repeats the address."""
    token = secrets.token_hex(16)
    page = f"<p>Log in to see {handler.path}.</p><input name=csrf value={token}>"
    handler.send(page.encode(), Content_Type="text/html")


def fixed(handler: Any) -> None:
    handler.send(b"Under maintenance.", Content_Type="text/plain")


@pytest.mark.parametrize("page", [wall, fixed])
def test_one_page_for_everything_is_no_change(docs: Pipeline, server: Server, page: Answer) -> None:
    names = ("a", "b", "c", "d")
    docs.ingest(*(pointing(name, server.url(f"/{name}/{name}")) for name in names))
    before = docs.visible()
    age(docs)
    server.answers |= dict.fromkeys("abc", page)
    server.texts["/d/d"] = "A text that has changed."
    asked = ask(docs)
    assert (asked.unanswered, asked.changed, asked.to_read) == (3, 1, 1)
    assert "3 documents are overdue and could not be asked for" in asked.problem
    assert "the same page for different documents" in asked.problem
    assert asked.problem.endswith(f"({server.host})")
    assert (expire(docs), docs.visible()) == (0, before)
    server.answers.clear()
    assert ask(docs).renewed == 3


def test_copies_of_one_document_change_together(docs: Pipeline, server: Server) -> None:
    copies = {name: server.url(f"/plain/{name}") for name in "abc"}
    for name in copies:
        server.texts[f"/plain/{name}"] = "A text, and its copies."
    docs.ingest(*(pointing(name, url) for name, url in copies.items()))
    age(docs)
    for name in copies:
        server.texts[f"/plain/{name}"] = "Another text, and its copies."
    assert ask(docs).changed == 3
    # Also one after the other.
    age(docs, "a")
    docs.ingest(pointing("a", copies["a"], 2))
    assert ask(docs).changed == 2


def test_a_page_that_the_corpus_has_of_another_address_is_no_change(
    docs: Pipeline, server: Server
) -> None:
    """One document is due after the other: the first may be taken in, and no more."""
    docs.ingest(*(pointing(name, server.url(f"/plain/{name}")) for name in "ab"))
    server.answers["plain"] = fixed
    docs.ingest(pointing("a", server.url("/plain/a"), 2))
    age(docs, "b")
    asked = ask(docs)
    assert (asked.unanswered, asked.changed) == (1, 0)
    assert "the same page for different documents" in asked.problem
    # It is no page of its host: another host may have it as well.
    with serving() as other:
        docs.ingest(pointing("b", other.url("/plain/b"), 2))
        age(docs, "b")
        other.answers["plain"] = fixed
        assert ask(docs).changed == 1
