"""No command lets a document or a producer do something to the terminal, the log or the spreadsheet of its reader."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from corpus.service import DocumentPart, SearchHit
from tests.support.commands import CommandLine, commands
from tests.support.harmful import HARMFUL, harmful_characters
from tests.support.pipeline import Pipeline, make_event
from workers.cli.commands import search

pytestmark = pytest.mark.service

ALL = " ".join(HARMFUL.values())
MARKUP = "a \\[/b] [bold]x[/bold] [link=file:///x]y[/link]"
# Ids that a source may use: the others are refused, and are in dead letters.
IDS = (
    *("=1+1", "@x", "+1", "a[/b]\\[", "[red]", "\u202egpj", "pay\u200bpal"),
    "tag\U000e0041",
)
# Arguments of each command that shows what the database holds; the others need a stack, and show what these show.
SHOWS = {
    "batches": (),
    "documents": (),
    "document parts": (),
    "export": ("--source", "s"),
    "sweeps": (),
    "dead-letters list": ("--state", "any"),
    "document corrections": (),
    "freshness report": (),
    "audit list": (),
    "backfill status": (),
    "audit log": (),
    "teams list": (),
    "readers list": (),
    "purge list": (),
    "erasures": (),
    "subscriptions list": (),
    "installation show": (),
    "maintain": ("--dry-run", "--all"),
}
ELSEWHERE = {
    **dict.fromkeys(("status", "doctor", "drain", "top", "sources", "apply"), "needs a stack"),
    **dict.fromkeys(("source show", "source prepare"), "needs Kafka or Temporal"),
    **dict.fromkeys(("source skip", "source truncate"), "needs Kafka or Temporal"),
    **dict.fromkeys(("produce", "audit", "audit repair", "document correct"), "needs a stack"),
    **dict.fromkeys(("dead-letters redrive", "dead-letters discard"), "shows counts"),
    **dict.fromkeys(("freshness check", "freshness schedules"), "needs Temporal"),
    **dict.fromkeys(
        ("lineage", "dead-letters show", "search", "clean", "try"), "has a test of its own"
    ),
    **dict.fromkeys(("purge", "erase"), "needs Temporal"),
    "backfill": "needs a stack",
    **dict.fromkeys(("import", "bring-embeddings"), "have tests of their own"),
    **dict.fromkeys(("readers grant", "readers revoke"), "shows what the operator named"),
    **dict.fromkeys(("audit show", "config check"), "shows what the operator named"),
}


@pytest.fixture
def freshet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def in_header(text: str) -> str:
    """A text as the header of an e-mail has it, whatever its characters are."""
    written = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    return f"=?utf-8?b?{written}?="


@pytest.fixture
def hostile(pipeline: Pipeline, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A source whose producer writes what does something where it is shown, wherever it can."""
    monkeypatch.setenv("FRESHET_DATABASE_URL", database_url)
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    told = {"title": f"{ALL} {MARKUP}", "uri": f"http://x/{ALL}", "metadata": {"k": ALL}}
    content = f"# {MARKUP} {ALL}\n\nText {ALL}"
    mail = f"Subject: {in_header(ALL)}\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n"
    names = (MARKUP, *HARMFUL.values())
    for name in names:
        mail += f'--B\nContent-Type: text/plain; name="{in_header(name)}"\n\nText\n'
    encoded = base64.b64encode(f"{mail}--B--\n".encode()).decode()
    pipeline.ingest(
        *(make_event(document_id, 1, content, **told) for document_id in IDS),
        make_event("id \x1b[2J\x9b", 1, content),
        make_event("mail", 1, content_type="message/rfc822", content_base64=encoded),
        make_event("kind", 1, content, content_type=f"x/{ALL}"),
        {**make_event("version", 1, content), "version": ALL},
    )
    return pipeline


def test_every_command_that_reads_is_walked() -> None:
    with_json = {
        path
        for path, command in commands()
        if any("--json" in parameter.opts for parameter in command.params)
    }
    assert with_json == {*SHOWS, *ELSEWHERE}


@pytest.mark.usefixtures("hostile")
def test_commands_show_hostile_text_harmlessly_and_exactly(freshet: CommandLine) -> None:
    for path, arguments in SHOWS.items():
        done = freshet(*path.split(), *arguments)
        assert done.code in (0, 1), (path, done.stderr)
        assert not harmful_characters(done.stdout + done.stderr), path
        as_json = freshet(*path.split(), *arguments, "--json")
        assert not harmful_characters(as_json.stdout + as_json.stderr), path
        json.loads(as_json.stdout)
    exported = json.loads(freshet("export", "--source", "s", "--json").stdout)
    assert {row["id"] for row in exported} == {*IDS, "mail"}
    parts = json.loads(freshet("document", "parts", "--json").stdout)
    assert len(parts) >= len(
        HARMFUL
    )  # what a broken name leaves of a part may be its mail's own text
    titles = [row["title"] for row in json.loads(freshet("documents", "--json").stdout)]
    assert any(MARKUP in title for title in titles)


@pytest.mark.usefixtures("hostile")
def test_no_cell_of_an_export_is_computed(freshet: CommandLine) -> None:
    lines = freshet("export", "--source", "s").stdout.splitlines()[1:]
    assert len(lines) == len(IDS) + 1
    assert not [line for line in lines if line.startswith(("=", "+", "-", "@"))]
    assert {line.split("\t")[0] for line in lines} >= {"'=1+1", "'@x", "'+1", "a[/b]\\["}


@pytest.mark.usefixtures("hostile")
def test_lineage_shows_hostile_text(freshet: CommandLine) -> None:
    for document_id in IDS:
        done = freshet("lineage", "--source", "s", "--", document_id)
        assert done.code == 0, done.stderr
        assert not harmful_characters(done.stdout + done.stderr)


@pytest.mark.usefixtures("hostile")
def test_dead_letters_show_hostile_text(freshet: CommandLine) -> None:
    listed = json.loads(freshet("dead-letters", "list", "--state", "any", "--json").stdout)
    assert len(listed) == 3
    for row in listed:
        done = freshet("dead-letters", "show", str(row["dead_letter"]))
        assert done.code == 0, done.stderr
        assert not harmful_characters(done.stdout + done.stderr)


@pytest.mark.usefixtures("hostile")
def test_a_refusal_of_hostile_arguments_is_harmless(freshet: CommandLine) -> None:
    for words in (("lineage", ALL), ("export", "--source", ALL), ("clean", ALL), (ALL,)):
        words = tuple(word.encode("utf-8", "replace").decode() for word in words)
        done = freshet(*words)
        assert done.code == 2, done.stderr
        assert not harmful_characters(done.stdout + done.stderr)


def test_a_hit_shows_hostile_text(capsys: pytest.CaptureFixture[str]) -> None:
    text = f"{ALL} {MARKUP}"
    names = ("source", "document_id", "title", "uri", "heading", "text", "topic", "language")
    values: dict[str, Any] = dict.fromkeys(names, text)
    values["part"] = DocumentPart(number=1, name=text, within=text, media_type=text, start=0, end=1)
    hit = SearchHit.__new__(SearchHit)
    for name in SearchHit.__dataclass_fields__:
        object.__setattr__(hit, name, values.get(name, 1))
    search._show_hit(1, hit)
    shown = capsys.readouterr().out
    assert not harmful_characters(shown)
    assert MARKUP in shown
