"""One exit for text: whatever documents and failures say, it does nothing where it is shown."""

import ast
import csv
import io
import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.harmful import HARMFUL, harmful_characters
from workers import logs
from workers.cli import console
from workers.shown import export_cell, json_text, one_line, shown, shown_line

ROOT = Path(__file__).parents[3]
FORMULAS = (
    *("=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"),
    *("＝1", "＋1", "－1", "＠a", "=cmd|' /C calc'!A0", '"=1"', '"\t=1'),
)


@pytest.mark.parametrize("text", HARMFUL.values(), ids=HARMFUL)
def test_what_does_something_is_replaced_and_seen(text: str) -> None:
    for made in (shown(text), shown_line(text), one_line(text), export_cell(text)):
        assert not harmful_characters(made)
        assert not {"\r", "\x1b", "\u200d", "\u200c", "\ufe0f"} & set(made)
    assert "\ufffd" in shown(text)
    assert shown(shown(text)) == shown(text)


@pytest.mark.parametrize(
    "text",
    [
        *("plain [b] \\[/b]", "Grüße, naïve", "数据 データ", "e\u0301", "a\tb\nc"),
        *("👩‍👩‍👧 ❤️ 🏳️‍🌈 1️⃣", "می‌خواهم", "क्‍ष", "﷽", "“q” – — … \xa0"),
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert shown(text) == text


@given(st.text())
def test_no_text_harms(text: str) -> None:
    assert not harmful_characters(shown(text))
    line = shown_line(text)
    assert not harmful_characters(line)
    assert not {"\n", "\t"} & set(line)
    assert not {"\n", "\t"} & set(one_line(text))


@given(st.text() | st.sampled_from([*HARMFUL.values()]))
def test_json_is_exact_and_holds_nothing_that_harms(text: str) -> None:
    made = json_text({text: [text]})
    assert json.loads(made) == {text: [text]}
    assert not harmful_characters(made)


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_is_computed(formula: str, capsys: pytest.CaptureFixture[str]) -> None:
    console.write_cells([formula, -5, "plain"])
    out = capsys.readouterr().out
    (cells,) = csv.reader(io.StringIO(out), delimiter="\t", quoting=csv.QUOTE_NONE)
    assert cells[0].startswith("'")
    assert cells[1:] == ["-5", "plain"]


@pytest.mark.parametrize("text", HARMFUL.values(), ids=HARMFUL)
def test_every_way_out_of_a_command_goes_through_it(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise console.CommandError(f"no {text}")

    def breaks() -> None:
        raise KeyError(text)

    logging.getLogger().handlers.clear()
    console.write(text)
    console.write_text(text)
    console.write_cells([text])
    console.write_message(text)
    console.write_json({text: text})
    console.write_json_line({text: text})
    console.write_table([text], [[text]], empty=text)
    console.write_table([text], [], empty=text)
    for command in (fails, breaks):
        console.exit_code_of(command, debug=True)
        console.exit_code_of(command, debug=False)
    out, err = capsys.readouterr()
    assert not harmful_characters(out)
    assert not harmful_characters(err)


@pytest.mark.parametrize("text", HARMFUL.values(), ids=HARMFUL)
@pytest.mark.parametrize("form", ["json", "text"])
def test_a_log_shows_nothing_that_harms(
    text: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ValueError(text + "\n2026-01-01 00:00:00 CRITICAL storer corpus: forged")

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure("storer", level="INFO", form=form)
        root.info("title %s", text, extra={"action": "a", "source": text})
        try:
            fail()
        except ValueError:
            root.exception("failed")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    err = capsys.readouterr().err
    assert not harmful_characters(err)
    assert not any(line.startswith("2026-01-01") for line in err.split("\n"))


def test_a_message_of_several_lines_forges_no_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    formatter = logs._formatter("storer", "text")
    record = logging.makeLogRecord({"msg": "title a\n2026-01-01 00:00:00 CRITICAL forged"})
    first, *further = formatter.format(record).split("\n")
    assert first.endswith("title a")
    assert all(line.startswith("    ") for line in further)


# ── nothing goes past it ────────────────────────────────────────────────────────────────────────────────────────────

# Who may write to a stream, or make a text for a display, and why.
_EXITS = {
    "workers/cli/console.py": "the exit itself",
    "workers/cli/live.py": "shows what `table_of` and `text_of` made",
    "workers/cli/progress.py": "draws what `text_of` made",
    "workers/cli/parts_display.py": "draws what `text_of` made",
    "compose/demo.py": "clears its own line",
    "compose/env_example.py": "writes a generated page of its own texts",
}
_WRITERS = {"print", "echo", "secho", "print_exception", "print_exc"}


def written_past(path: Path) -> set[str]:
    """What in a file writes to standard output or error, or makes a text for rich."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(attr="stdout" | "stderr", value=ast.Name(id="sys")):
                found.add(node.attr)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in _WRITERS:
                found.add(name)
            case ast.ImportFrom(module="rich.text" | "rich.console" | "rich.markup"):
                found.update(alias.name for alias in node.names)
            case _:
                continue
    return found - {"Group", "RenderableType"}


# A stream is also asked whether it is a terminal, flushed, or given to the library of logs.
_ASKED_ONLY = {
    "workers/cli/main.py",
    "workers/cli/commands/stack.py",
    "workers/cli/commands/top.py",
    "workers/logs.py",
    "compose/local/supervisor.py",
}


@pytest.mark.parametrize("package", ["workers", "compose", "ingest", "corpus", "freshness"])
def test_no_module_writes_past_the_exit(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name in _EXITS:
            continue
        found = written_past(path)
        if name in _ASKED_ONLY:
            found -= {"stdout", "stderr"}
            assert ".write(" not in path.read_text(encoding="utf-8").replace("log.write(", ""), name
        assert not found, f"{name} writes by itself: {found}; use workers.cli.console"
