"""`freshet clean`: what becomes of a file, without any service."""

import io
import json
import sys
from pathlib import Path

import pytest

from tests.support.commands import CommandLine
from tests.support.files.all import made

PAGE = (
    "<html><body><nav><a href='/'>Home</a></nav><main><h1>Mills</h1>"
    "<p>The mill stands by the river.</p></main></body></html>"
)


@pytest.fixture
def freshet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    (tmp_path / "page.html").write_text(PAGE)
    (tmp_path / "notes.md").write_text("# Notes\n\nThe sluice is open.\n")
    return CommandLine(tmp_path, monkeypatch, capsys)


def test_a_page_without_any_service(freshet: CommandLine) -> None:
    done = freshet("clean", "page.html", "--text")
    assert (done.code, done.stdout) == (0, "Mills\n\nThe mill stands by the river.\n")


def test_json_names_blocks_and_chunks(freshet: CommandLine) -> None:
    done = freshet("clean", "notes.md", "--json")
    shown = json.loads(done.stdout)
    assert shown["content_type"] == "text/markdown"
    assert [block["kind"] for block in shown["blocks"]] == ["heading", "paragraph"]
    (chunk,) = shown["chunks"]
    assert chunk["heading"] == "Notes"
    assert chunk["tokens"] > chunk["unknown_tokens"] == 0


def test_every_visible_text_on_request(freshet: CommandLine) -> None:
    assert "Home" in freshet("clean", "page.html", "--html", "all", "--text").stdout


def test_explain_shows_blocks(freshet: CommandLine) -> None:
    done = freshet("clean", "page.html", "--explain")
    assert done.code == 0
    assert "paragraph" in done.stdout


def test_as_a_source_of_a_file_does_it(freshet: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "freshet.toml").write_text('[source.pages]\npipeline.html = "all"\n')
    done = freshet("clean", "page.html", "-c", "freshet.toml", "-s", "pages", "--text")
    assert "Home" in done.stdout
    wrong = freshet("clean", "page.html", "-c", "freshet.toml", "-s", "page")
    assert wrong.code == 2
    assert "has no source 'page'; it has pages" in wrong.stderr


def test_standard_input(freshet: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Some text."), "utf-8"))
    assert freshet("clean", "-", "--text").stdout == "Some text.\n"


def test_the_context_that_the_model_is_given(freshet: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "freshet.toml").write_text('[source.pages]\ncontext = "headings"\n')
    arguments = ["clean", "notes.md", "-c", "freshet.toml", "-s", "pages", "--title", "Gates"]
    (chunk,) = json.loads(freshet(*arguments, "--json").stdout)["chunks"]
    assert (chunk["context"], chunk["text"]) == ("Gates", "# Notes\n\nThe sluice is open.")


def test_a_file_shows_its_pages_and_what_is_not_read(freshet: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "manual.pdf").write_bytes(made("partly.pdf").make())
    shown = json.loads(freshet("clean", "manual.pdf", "--json").stdout)
    assert shown["content_type"] == "application/pdf"
    assert shown["dropped"] == {"unread": 1_500}
    assert shown["chunks"][0]["text"].startswith("page 1")


def test_a_scan_is_refused_with_its_reason(freshet: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "scan").write_bytes(made("scan.pdf").make())
    done = freshet("clean", "scan")
    assert done.code == 1
    assert "scanned: none of its 2 pages has text" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["none.html"], 2, "none.html: No such file"),
        (["page.html", "-t", "image/png"], 1, "unsupported_content"),
        (["page.html", "-s", "pages"], 2, "--config and --source belong together"),
    ],
)
def test_what_goes_wrong_is_named(
    freshet: CommandLine, words: list[str], code: int, message: str
) -> None:
    done = freshet("clean", *words)
    assert done.code == code
    assert message in done.stderr


def test_the_charset_is_read_as_the_workers_read_it(freshet: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "gate.html").write_bytes(
        "<p>Schleusent\u00fcr 12 \u20ac</p>".encode("windows-1252")
    )
    done = freshet("clean", "gate.html", "-t", "text/html; charset=iso-8859-1", "--text")
    assert done.stdout == "Schleusent\u00fcr 12 \u20ac\n"


def test_bytes_that_are_no_text_would_be_a_dead_letter(
    freshet: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "zip.txt").write_bytes(b"PK\x03\x04rest")
    done = freshet("clean", "zip.txt")
    assert done.code == 1
    assert "not_decodable" in done.stderr


def test_what_the_model_does_not_know_is_said(freshet: CommandLine, tmp_path: Path) -> None:
    thai = "\u0e1b\u0e23\u0e30\u0e15\u0e39\u0e19\u0e49\u0e33"
    (tmp_path / "mixed.md").write_text(f"The sluice is open.\n\n{thai}\n", encoding="utf-8")
    said = "are unknown to the model, and stand for 8 characters (33.3%)"
    assert said in " ".join(freshet("clean", "mixed.md", "--explain").stdout.split())
    known = freshet("clean", "notes.md").stdout
    assert "per character; the model knows all of them" in " ".join(known.split())
    shown = json.loads(freshet("clean", "mixed.md", "--json").stdout)
    assert (shown["unknown_tokens"], shown["unknown_characters"]) == (1, 8)
    assert sum(chunk["unknown_characters"] for chunk in shown["chunks"]) == 8
