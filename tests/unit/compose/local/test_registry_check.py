"""The doctor's check of the schema registry: reachable, a registry, and one whose schemas this login may read."""

from pathlib import Path

import pytest

from compose.local import service_checks
from corpus.errors import DependencyError
from tests.support.registry import registry_server
from tests.unit.compose.local.test_doctor import failure_of, raising, result_of, stack_home

__all__ = ["stack_home"]


def test_a_schema_registry_that_is_not_set(
    stack_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind: list[str] = []
    monkeypatch.setattr(service_checks, "_sources_behind_registry", lambda _home: behind)
    assert result_of("schema registry", stack_home).observed == "not set, and no source needs one"
    behind += ["articles", "wiki"]
    assert failure_of("schema registry", stack_home).endswith("wait for one: articles, wiki")
    monkeypatch.setattr(
        service_checks, "_sources_behind_registry", raising(DependencyError("PostgreSQL is away"))
    )
    unknown = result_of("schema registry", stack_home)
    assert (unknown.ok, unknown.observed.endswith("PostgreSQL is away")) == (True, True)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "refuses the login (HTTP 401)"),
        (503, "answers with HTTP 503"),
        (404, "as no schema registry does"),
    ],
)
def test_a_schema_registry_that_does_not_serve(
    stack_home: Path, monkeypatch: pytest.MonkeyPatch, status: int, words: str
) -> None:
    with registry_server() as server:
        monkeypatch.setenv("FRESHET_SCHEMA_REGISTRY_URL", server.url)
        answers = "answers, and this login may read schemas"
        assert result_of("schema registry", stack_home).observed == answers
        server.status = status
        assert words in failure_of("schema registry", stack_home)
    assert "does not answer" in failure_of("schema registry", stack_home)
