"""The reading commands with the logins of auditors and of SQL clients, and the grants of the latter."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from corpus.access.log import rows, verify
from corpus.sessions.roles import AUDITOR, READER, WRITER
from tests.support.logins import login
from tests.support.pipeline import Pipeline, make_event
from workers.cli.console import ExitCode
from workers.cli.main import run

pytestmark = pytest.mark.service

TITLE = "Levee"
TEXT = "The levee breaks at noon."
TEXTS = (TITLE, TEXT, "example.org")
# Each with a word that its answer has.
LEDGER = (
    ("lineage hr --source s --json", '"document_id": "hr"'),
    ("lineage chunk:1 --json", '"version": 1'),
    ("lineage hr", "hr"),
    ("documents --json", '"document_id": "hr"'),
    ("documents --history", "hr"),
    ("documents --lossy --below 1", ""),
    ("documents --unknown --above 0", ""),
    ("batches --json", '"batch": 1'),
    ("export --source s", "hr"),
    ("dead-letters list --json", '"reason"'),
    ("document corrections --json", "[]"),
    ("subscriptions list --json", "[]"),
    ("erasures --json", "[]"),
    ("purge list --json", "[]"),
    ("sweeps --json", "[]"),
    ("audit list --json", "[]"),
    ("audit log --json", "["),
    ("audit log --verify --json", '"verified": true'),
    ("teams list --json", "[]"),
    ("readers list --json", "[]"),
    ("installation show --json", "{"),
    ("freshness report --json", ""),
)


@pytest.fixture
def corpus(pipeline: Pipeline) -> Pipeline:
    pipeline.ingest(
        make_event("open", 1, "The mill."),
        make_event("hr", 1, TEXT, title=TITLE, uri="https://example.org/levee", acl=["hr"]),
        b"no json",
    )
    return pipeline


@pytest.fixture
def freshet(
    corpus: Pipeline, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Runs a command line with the login of a connection string; gives its exit code and what it wrote."""
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")

    def command(url: str, line: str) -> tuple[int, str]:
        monkeypatch.setenv("FRESHET_DATABASE_URL", url)
        capfd.readouterr()
        code = run(line.split())
        written = capfd.readouterr()
        return code, written.out + written.err

    yield command


def problem(freshet: Any, url: str, line: str, word: str) -> str | None:
    """What is wrong with the answer of a command."""
    code, written = freshet(url, line)
    if code not in (ExitCode.OK, ExitCode.CHECK_FAILED) or word not in written:
        return f"{line}: exit code {code}: {written}"
    return next((f"{line} shows {text}" for text in TEXTS if text in written), None)


def test_an_auditor_runs_every_command_that_reads_the_ledger_and_sees_no_text(
    corpus: Pipeline, freshet: Any
) -> None:
    with login(corpus.database_url, AUDITOR) as url:
        problems = [problem(freshet, url, line, word) for line, word in LEDGER]
        assert "titles, addresses and texts are not shown" in freshet(url, "lineage hr")[1]
    assert [one for one in problems if one is not None] == []


# What a login of an SQL client reads with commands: rows of documents that it may see, no counts over all of them.
OF_READERS = ("lineage {} --json", "documents --id {} --json", "export --source s --json")


def test_a_login_of_an_sql_client_reads_what_it_is_granted_with_commands(
    corpus: Pipeline, freshet: Any
) -> None:
    url = corpus.database_url
    with login(url, READER) as analyst:
        user = conninfo_to_dict(analyst)["user"]
        code, written = freshet(analyst, "documents --json")
        assert (code, written) == (ExitCode.OK, "[]\n")
        granted = freshet(url, f"readers grant {user} --source s --json")
        assert granted[0] == ExitCode.OK
        [row] = json.loads(granted[1])
        assert (row["sources"], row["groups"], row["state"]) == (["s"], [], "reads")
        for line in OF_READERS:
            assert "open" in freshet(analyst, line.format("open"))[1], line
            assert TITLE not in freshet(analyst, line.format("hr"))[1], line
        assert freshet(url, f"readers grant {user} -s s --group hr --group it")[0] == ExitCode.OK
        shown = freshet(analyst, "lineage hr --json")[1]
        assert TITLE in shown and TEXT[:20] in shown
        assert freshet(url, f"readers revoke {user}")[0] == ExitCode.OK
        assert freshet(analyst, "documents --json") == (ExitCode.OK, "[]\n")
        # All of it is in the log of the source.
        logged = [
            (entry.action, entry.detail.get("groups")) for entry in rows(corpus.connection, "s", 10)
        ]
        assert logged == [
            ("readers revoke", None), ("readers grant", ["hr", "it"]), ("readers grant", []),
        ]  # fmt: skip
        assert {entry.detail["login"] for entry in rows(corpus.connection, "s", 10)} == {user}
        assert verify(corpus.connection, "s") == []


def test_who_may_grant_and_what_is_refused(corpus: Pipeline, freshet: Any) -> None:
    url = corpus.database_url
    code, written = freshet(url, "readers grant nobody --source never")
    assert code == ExitCode.USAGE
    assert "there is no source 'never'" in written
    code, written = freshet(url, "readers revoke nobody")
    assert code == ExitCode.USAGE
    assert "is granted nothing" in written
    code, written = freshet(url, "readers grant nobody --source s")
    assert code == ExitCode.OK
    assert "there is no such login" in written
    assert "GRANT freshet_reader TO" in written
    assert "nobody" in freshet(url, "readers list")[1]
    with login(url, WRITER) as writer:
        for line in ("readers grant me --source s", "readers revoke nobody"):
            code, written = freshet(writer, line)
            assert code == ExitCode.USAGE, written
            assert "permission denied for table reader_grant" in written
    with login(url) as stranger:
        assert freshet(stranger, "readers list")[0] == ExitCode.USAGE
    # What was refused is not in the log as done.
    assert [entry.action for entry in rows(corpus.connection, "s", 10)] == ["readers grant"]
