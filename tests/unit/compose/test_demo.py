"""The demo: what it prints is correct, and it ends with a sentence and an exit code."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compose import demo
from compose.demo import DemoError, Sums, describe_progress, quoted

SUMS = Sums(
    batches=3,
    records=60,
    applied=55,
    unchanged=4,
    superseded=1,
    dead_lettered=2,
    texts_embedded=900,
    chunks_reused=30,
)
NOTHING = Sums(0, 0, 0, 0, 0, 0, 0, 0)


def test_progress_is_one_line_with_every_count() -> None:
    assert describe_progress(SUMS, 12.0) == (
        "    12.0 s: 60 records in 3 batches (5 per second): 55 applied, 4 unchanged, 1 superseded, "
        "2 dead letters; 900 texts embedded, 30 chunks reused"
    )
    assert describe_progress(NOTHING, 0.0).startswith("     0.0 s: 0 records in 0 batches (0 per")


def test_sums_are_counted_from_the_beginning_of_the_demo() -> None:
    assert SUMS.since(NOTHING) == SUMS
    assert SUMS.since(SUMS) == NOTHING


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["search", "a b", "-k", "1"], 'search "a b" -k 1'), ([], ""), (["x"], "x")],
)
def test_commands_are_shown_as_a_person_types_them(arguments: list[str], text: str) -> None:
    assert quoted(arguments) == text


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            DemoError("no notice reached the team"),
            1,
            "The demo stopped: no notice reached the team",
        ),
        (KeyboardInterrupt(), 130, "`make demo` continues it"),
        (None, 0, ""),
    ],
)
def test_the_demo_ends_with_a_sentence_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException | None,
    code: int,
    text: str,
) -> None:
    def run() -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(demo, "_run", run)
    assert demo.main() == code
    assert text in capsys.readouterr().err


def test_a_command_that_fails_ends_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "FRESHET", [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(DemoError, match='`freshet search "a b"` ended with exit code 3'):
        demo._freshet("search", "a b")
    assert capsys.readouterr().err == '$ freshet search "a b"\n'


class FakeDisplay:
    """Follows without a database."""

    def __init__(self, _connection: object) -> None:
        pass

    def follow(self, process: "subprocess.Popen[Any]") -> None:
        process.wait()

    def finish(self) -> None:
        pass


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import sys; sys.exit(2 if 'produce' in sys.argv else 0)", "produce .* exit code 2"),
        ("import sys; sys.exit(1 if 'drain' in sys.argv else 0)", "drain .* exit code 1"),
    ],
)
def test_a_stream_that_does_not_arrive_ends_the_demo(
    monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    monkeypatch.setattr(demo, "FRESHET", [sys.executable, "-c", script])
    monkeypatch.setattr(demo, "_Display", FakeDisplay)
    connection: Any = SimpleNamespace()
    with pytest.raises(DemoError, match=message):
        demo._produce(connection, "peps.base.jsonl.zst")


def test_a_notice_that_does_not_come_ends_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "_NOTICE_SECONDS", 0.1)
    notices = tmp_path / "notices.jsonl"
    with pytest.raises(DemoError, match="no notice reached the team within 0 s; `freshet subscr"):
        demo._show_notice(notices, 0)
    notices.write_text('{"batch": 1}\n')
    with pytest.raises(DemoError):
        demo._show_notice(notices, 1)  # the notice of an earlier run
    notices.write_text('{"batch": 1}\n{"batch": 2}\n')
    demo._show_notice(notices, 1)
    assert 'received a notice: {"batch": 2}' in capsys.readouterr().err


def test_the_next_steps_name_commands_that_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.support.commands import command_paths

    monkeypatch.setenv("FRESHET_HOME", str(tmp_path))
    demo._print_next_steps()
    text = capsys.readouterr().err
    known = set(command_paths())
    for words in re.findall(r"freshet ([a-z]+(?: [a-z]+)?)", text):
        assert words in known or words.split()[0] in known
    assert "None" not in text
    assert all(len(line) <= 120 + len(str(tmp_path)) for line in text.splitlines())


def test_the_files_and_the_document_of_the_demo_exist() -> None:
    for name in ("freshet.toml", "peps.base.jsonl.zst", "peps.changes.jsonl.zst"):
        assert (demo.EXAMPLE / name).exists()
