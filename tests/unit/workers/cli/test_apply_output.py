"""What `freshet apply` prints: the plan with --dry-run, what was done without, also before a failure."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import DependencyError
from workers.apply.change import Action, Change
from workers.apply.endpoints import Endpoint
from workers.cli.commands import ingest

CHANGES = [
    Change(kind="topic", name="t", action=Action.CREATE),
    Change(
        kind="endpoint",
        name="e",
        action=Action.CHANGE,
        current=Endpoint("n", "old"),
        desired=Endpoint("n", "new"),
    ),
    Change(kind="source", name="s", action=Action.UNLISTED),
]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FRESHET_DATABASE_URL", "host=unused")
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "unused:9092")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "unused:7233")
    path = tmp_path / "freshet.toml"
    path.write_text("[source.s]", encoding="utf-8")
    return path


def applying(monkeypatch: pytest.MonkeyPatch, failure: Exception | None = None) -> dict[str, Any]:
    """Report the changes, then fail; returns what the command asked for."""
    asked: dict[str, Any] = {}

    async def apply(
        _settings: Any, _config: Any, *, report: Callable[[Change[Any]], None], **options: Any
    ) -> None:
        asked.update(options)
        for change in CHANGES:
            report(change)
        if failure is not None:
            raise failure

    monkeypatch.setattr("workers.apply.plan.apply", apply)
    return asked


@pytest.mark.parametrize("dry_run", [False, True])
def test_lines(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dry_run: bool
) -> None:
    asked = applying(monkeypatch)
    ingest.apply(file, dry_run=dry_run, prune=True)
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "create     topic t",
        "change     endpoint e",
        "             target: n:old -> n:new",
        "unlisted   source s",
    ]
    assert "--prune retires" in printed.err
    assert ("nothing was changed" in printed.err) is dry_run
    del asked["on_wait"]
    assert asked == {"dry_run": dry_run, "prune": True}


def test_json_holds_what_was_done_before_a_failure(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    applying(monkeypatch, DependencyError("create source s: PostgreSQL does not answer"))
    with pytest.raises(DependencyError):
        ingest.apply(file, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["dry_run"] is False
    assert [(each["kind"], each["change"]) for each in printed["changes"]] == [
        ("topic", "create"),
        ("endpoint", "change"),
        ("source", "unlisted"),
    ]
    assert printed["changes"][1]["fields"] == [
        {"path": "target", "before": "n:old", "after": "n:new"}
    ]


def test_lines_are_printed_before_a_failure(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    applying(monkeypatch, DependencyError("x"))
    with pytest.raises(DependencyError):
        ingest.apply(file)
    assert len(capsys.readouterr().out.splitlines()) == 4
