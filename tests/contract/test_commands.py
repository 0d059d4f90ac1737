"""Every command explains itself, and answers bad input with one clear line and an exit code.

The code is 2, or 3 where a service has no address. The commands run in the test's process, except where only a
process of its own shows the behaviour.
"""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.contract.bad_calls import BAD
from tests.support.commands import NO_STACK, ROOT, CommandLine, commands
from workers.cli.main import take_debug_option, usage_problem

TREE = dict(commands())
NOWHERE = {
    "FRESHET_DATABASE_URL": "host=127.0.0.1 port=1",
    "FRESHET_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "TEMPORAL_ADDRESS": "127.0.0.1:1",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("input")
    (folder / "broken.toml").write_text("x = [\n", encoding="utf-8")
    (folder / "wrong.toml").write_text("[source.peps]\nbogus = 1\n", encoding="utf-8")
    (folder / "loop.toml").write_text(
        '[source.peps]\ntopics = ["peps", "peps.dead-letters"]\n', encoding="utf-8"
    )
    (folder / "right.toml").write_text("[source.peps]\n", encoding="utf-8")
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00")
    return folder


@pytest.fixture
def freshet(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    return CommandLine(folder, monkeypatch, capsys)


@pytest.mark.parametrize(("line", "message"), BAD, ids=[ascii(line[:80]) for line, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(
    freshet: CommandLine, line: str, message: str
) -> None:
    done = freshet(*line.split())
    assert done.code == (3 if message == NO_STACK else 2), done.stderr
    assert message in done.stderr
    assert done.stderr.startswith("freshet: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_every_group_is_tried() -> None:
    take_anything = {"down", "status", "doctor"}
    tried = {line.split()[0] for line, _ in BAD}
    assert {path.split()[0] for path in TREE} - tried <= take_anything


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "FRESHET_EMBED_SHARD",
            "many",
            "FRESHET_EMBED_SHARD='many' is not a whole number of at least 1",
        ),
        ("FRESHET_EMBED_SHARD", "²", "FRESHET_EMBED_SHARD='²' is not a whole number of at least 1"),
        (
            "FRESHET_EMBED_SHARD",
            "9999999999",
            "is not a whole number of at least 1 and at most 999999",
        ),
        ("FRESHET_LOG_FORMAT", "xml", "FRESHET_LOG_FORMAT='xml' is not one of json, text"),
        (
            "FRESHET_KAFKA_PROPERTIES",
            "missing.properties",
            "FRESHET_KAFKA_PROPERTIES='missing.properties' cannot be read",
        ),
        (
            "FRESHET_DATABASE_URL",
            "garbage",
            "FRESHET_DATABASE_URL is not a connection string; write postgresql://",
        ),
        (
            "FRESHET_PAYLOAD_KEYS",
            "missing.keys",
            "FRESHET_PAYLOAD_KEYS='missing.keys' cannot be read",
        ),
    ],
)
def test_a_wrong_setting_is_named(
    freshet: CommandLine, name: str, value: str, message: str
) -> None:
    done = freshet("worker", "storer", **(NOWHERE | {name: value}))
    assert (done.code, done.stderr.count("\n")) == (2, 1), done.stderr
    assert message in done.stderr
    assert "garbage" not in done.stderr  # a connection string holds a password


def test_a_wrong_address_is_named(freshet: CommandLine) -> None:
    done = freshet("freshness", "schedules", **(NOWHERE | {"TEMPORAL_ADDRESS": "a b:x"}))
    assert (done.code, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "Temporal's address 'a b:x' (TEMPORAL_ADDRESS)" in done.stderr


def test_a_wrong_property_is_named(freshet: CommandLine, folder: Path) -> None:
    (folder / "wrong.properties").write_text("nope=1\n", encoding="utf-8")
    properties = {"FRESHET_KAFKA_PROPERTIES": "wrong.properties"}
    done = freshet("produce", "--topic", "t", "right.toml", **NOWHERE, **properties)
    assert (done.code, done.stderr.count("\n")) == (2, 1), done.stderr
    assert (
        'FRESHET_KAFKA_PROPERTIES or an argument is wrong: No such configuration property: "nope"'
        in done.stderr
    )


def test_a_wrong_port_is_named(freshet: CommandLine) -> None:
    done = freshet("up", "--detach", FRESHET_KAFKA_PORT="²")
    message = "freshet: FRESHET_KAFKA_PORT='²' is not a port from 1 to 65535\n"
    assert (done.code, done.stderr) == (2, message)


def test_an_empty_topic_is_refused(freshet: CommandLine) -> None:
    done = freshet("produce", "--topic", "", "right.toml")
    assert (done.code, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "--topic ''" in done.stderr


def test_a_service_that_is_down_is_exit_code_3(freshet: CommandLine) -> None:
    done = freshet("batches", **NOWHERE)
    assert done.code == 3, done.stderr
    assert done.stderr.startswith("freshet: PostgreSQL does not answer")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("config schema", "standard output"),
        ("config check right.toml", "standard output"),
        ("--help", "cannot write"),
    ],
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_no_room_for_the_answer(
    freshet: CommandLine, monkeypatch: pytest.MonkeyPatch, words: str, what: str
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        done = freshet(*words.split())
        with suppress(OSError):
            full.close()
    assert (done.code, done.stderr) == (3, f"freshet: {what}: No space left on device\n")


# ── debug ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "words", ["search x --as-of nonsense --debug", "--debug search x --as-of nonsense"]
)
def test_debug_shows_a_trace(freshet: CommandLine, words: str) -> None:
    done = freshet(*words.split())
    assert done.code == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("freshet: --as-of 'nonsense'")


def test_debug_is_taken_wherever_it_is() -> None:
    assert take_debug_option(["search", "x", "--debug"]) == (["search", "x"], True)
    assert take_debug_option(["--debug", "search", "x"]) == (["search", "x"], True)
    assert take_debug_option(["search", "--", "--debug"]) == (["search", "--", "--debug"], False)


# ── what only a process shows ───────────────────────────────────────────────────────────────────────────────────────


def test_a_process_ends_with_the_exit_code_and_one_line(freshet: CommandLine) -> None:
    done = freshet.process("search", "x", "--as-of", "nonsense")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("freshet: --as-of 'nonsense'")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_error(freshet: CommandLine, folder: Path) -> None:
    line = f"{sys.executable} -m workers config schema | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env=freshet.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unexpected_error_is_one_line_that_says_how_to_see_more() -> None:
    code = "from workers.cli.console import run_command; run_command(lambda: {}['x'], debug=False)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        4,
        "freshet: internal error: KeyError in <string>:1. "
        "Run the command again with --debug to see where it happened.\n",
    )


def test_the_command_tree_imports_no_heavy_library() -> None:
    """A command imports what it needs when it runs, so that every other one starts at once."""
    heavy = {"pydantic", "polars", "numpy", "psycopg", "confluent_kafka", "temporalio", "torch"}
    code = "import sys, typer.main, workers.cli.main as m; typer.main.get_command(m.build()); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not heavy & {name.partition(".")[0] for name in done.stdout.split()}


# ── help ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", TREE)
def test_help_says_what_it_is_for(path: str) -> None:
    command = TREE[path]
    assert command.help, path
    silent = [
        parameter.name
        for parameter in command.params
        if not getattr(parameter, "help", None) and parameter.name != "help"
    ]
    assert not silent, f"{path}: say what these are for"


def test_every_read_has_json() -> None:
    reads = {
        "search",
        "batches",
        "documents",
        "lineage",
        "drain",
        "export",
        "sweeps",
        "sources",
        "status",
        "doctor",
        "apply",
        "produce",
    }
    reads |= {
        "freshness report",
        "freshness check",
        "freshness schedules",
        "subscriptions list",
        "dead-letters list",
        "dead-letters show",
        "document corrections",
        "document parts",
    }
    for path in reads:
        assert any("--json" in parameter.opts for parameter in TREE[path].params), path


def test_a_group_without_a_command_shows_its_help(freshet: CommandLine) -> None:
    done = freshet("source")
    assert done.code == 2
    assert "resume" in done.stdout + done.stderr


@pytest.mark.parametrize("words", ["--help", "produce -h", "dead-letters redrive --help"])
def test_help_is_data_and_no_error(freshet: CommandLine, words: str) -> None:
    done = freshet(*words.split())
    assert (done.code, done.stderr) == (0, "")
    assert "Usage: freshet" in done.stdout


def test_a_usage_problem_is_one_line() -> None:
    class Problem(Exception):
        ctx = None

        def format_message(self) -> str:
            return "first\n  second."

    assert usage_problem(Problem()) == "first second. See `freshet --help`."
