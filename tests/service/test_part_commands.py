"""What commands say about what is attached to e-mails."""

import json

import pytest

from corpus.sessions.roles import AUDITOR
from tests.service.publish.test_parts import LEVELS, NOTES, SEALED, mail_event
from tests.support.logins import login
from tests.support.pipeline import Pipeline, make_event
from workers.cli.commands import corpus, document, search

pytestmark = pytest.mark.service


@pytest.fixture
def mails(pipeline: Pipeline, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A mail with two attachments and one that is not read, and a document without any."""
    monkeypatch.setenv("FRESHET_DATABASE_URL", database_url)
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    pipeline.ingest(mail_event("m", 1, LEVELS, NOTES, SEALED), make_event("other", 1, "The mill."))
    return pipeline


@pytest.mark.usefixtures("mails")
def test_parts_are_listed_with_what_became_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    document.list_parts(as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert [(row["number"], row["name"], row["reason"]) for row in rows] == [
        (1, "levels.pdf", None),
        (2, "notes.txt", None),
        (3, "sealed.pdf", "encrypted"),
    ]
    assert {row["within"] for row in rows} == {"Levels of May"}
    document.list_parts(source="s", document="m", unread=True)
    shown = capsys.readouterr().out
    assert "needs a password" in shown
    assert "notes.txt" not in shown
    document.list_parts(document="other")
    assert "there is no such attachment" in "".join(capsys.readouterr())
    document.list_parts(limit=1)
    assert "1 of 3 are shown" in capsys.readouterr().err


@pytest.mark.usefixtures("mails")
def test_lineage_names_the_parts_of_each_version(capsys: pytest.CaptureFixture[str]) -> None:
    corpus.lineage("m")
    shown = capsys.readouterr().out
    assert "part      2 notes.txt (text/plain), 27 of 27 characters kept" in shown
    assert "part      3 sealed.pdf (application/pdf), not read, " in shown
    corpus.lineage("m", as_json=True)
    [version] = json.loads(capsys.readouterr().out)
    assert [part["name"] for part in version["parts"]] == ["levels.pdf", "notes.txt", "sealed.pdf"]
    corpus.lineage("other")
    assert "part " not in capsys.readouterr().out


def test_a_hit_shows_the_attachments_name_and_the_mails_subject(
    mails: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    (hit,) = mails.search("quillwort", mode="text")
    search._show_hit(1, hit)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith('1. notes.txt, attached to "Levels of May"  [s:m v1, score')


def test_an_auditor_is_not_shown_names(
    mails: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with login(mails.database_url, AUDITOR) as url:
        monkeypatch.setenv("FRESHET_DATABASE_URL", url)
        document.list_parts()
        corpus.lineage("m")
    shown = "".join(capsys.readouterr())
    assert "attachments are not shown: this login may not read what they are called" in shown
    assert "levels.pdf" not in shown
