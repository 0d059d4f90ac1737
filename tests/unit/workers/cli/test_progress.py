"""The line that says how far a command is: in a terminal, in a pipe, and for programs."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.produce import ProduceProgress
from tests.support.polling import wait_until
from workers.cli import progress
from workers.cli.commands.moving.produce import progress_sentence
from workers.cli.progress import PlainLine, ProgressLine, TerminalLine, progress_line

ROOT = Path(__file__).resolve().parents[4]
CODE = """
import sys, time
from workers.cli.progress import progress_line
from workers.cli.console import write_message
with progress_line() as line:
    for text in sys.argv[1:]:
        line.show(text)
        time.sleep(0.3)
write_message("done")
"""
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_a_terminal(*texts: str, columns: int = 60, term: str = "xterm") -> str:
    """What a terminal of this width gets on standard error."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": term, "COLUMNS": str(columns), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *texts], stderr=theirs, cwd=ROOT, env=environment
    )
    os.close(theirs)
    received = b""
    while True:
        try:
            chunk = os.read(ours, 65_536)
        except OSError:  # Linux: the other end is closed
            break
        if not chunk:
            break
        received += chunk
    os.close(ours)
    assert process.wait(30) == 0
    return received.decode("utf-8")


def test_in_a_terminal_one_line_changes_in_place() -> None:
    received = in_a_terminal("first", "second \x1b[31m [/b]")
    shown = CONTROLS.sub("", received)
    assert "first" in shown
    assert "second �[31m [/b]" in shown
    assert "\x1b[31m" not in received
    assert shown.endswith("done\r\n")
    # The cursor goes back over the line, so the screen never has two of them.
    assert received.count("\n") <= 3


def test_a_line_that_is_too_long_is_cut_to_the_width() -> None:
    shown = CONTROLS.sub("", in_a_terminal("x" * 500, columns=40))
    frames = [frame for frame in re.split(r"[\r\n]+", shown) if "x" in frame]
    assert frames
    assert all(len(frame) <= 40 and frame.rstrip().endswith("…") for frame in frames)


def test_a_poor_terminal_gets_no_control_sequences() -> None:
    assert in_a_terminal("first", term="dumb") == "done\r\n"


def test_a_pipe_gets_nothing_in_the_first_seconds() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, "first"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.stderr) == ("", "done\n")


def test_without_a_terminal_a_line_comes_after_each_interval(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = PlainLine(seconds=0.1)

    def shown() -> str:
        line.show("a\nb\x1b")
        return capsys.readouterr().err

    line.show("too early")
    assert capsys.readouterr().err == ""
    assert wait_until(shown, 5) == "a b�\n"
    line.show("too early")
    assert capsys.readouterr().err == ""
    assert wait_until(shown, 5) == "a b�\n"


class Standard:
    def __init__(self, *, terminal: bool) -> None:
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("terminal", "term", "silent", "kind"),
    [
        (True, "xterm", False, TerminalLine),
        (True, "dumb", False, PlainLine),
        (True, "", False, PlainLine),
        (False, "xterm", False, PlainLine),
        (True, "xterm", True, ProgressLine),
    ],
)
def test_the_line_suits_standard_error(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, term: str, silent: bool, kind: type
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(progress.sys, "stderr", Standard(terminal=terminal))
    assert type(progress_line(silent=silent)) is kind


# ── what produce shows ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sent", "acknowledged", "is_read", "sentence"),
    [
        (0, 0, False, "0 records acknowledged, 0 per second; reading e.jsonl"),
        (1_500, 1_000, False, "1,000 records acknowledged, 500 per second; reading e.jsonl"),
        (
            1_500,
            1_000,
            True,
            "1,000 records acknowledged, 500 per second; waiting for 500 acknowledgements",
        ),
        (1_500, 1_500, True, "1,500 records acknowledged, 750 per second; reading e.jsonl"),
    ],
)
def test_produce_says_what_it_waits_for(
    sent: int, acknowledged: int, is_read: bool, sentence: str
) -> None:
    now = ProduceProgress(
        file="e.jsonl",
        sent=sent,
        acknowledged=acknowledged,
        acknowledged_bytes=0,
        seconds=2.0,
        is_read=is_read,
    )
    assert progress_sentence(now) == sentence


def test_a_rate_before_any_time_has_passed() -> None:
    start = ProduceProgress(
        file="e", sent=0, acknowledged=0, acknowledged_bytes=0, seconds=0.0, is_read=False
    )
    assert "0 per second" in progress_sentence(start)
