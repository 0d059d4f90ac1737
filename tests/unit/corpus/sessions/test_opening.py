"""What a connection is opened with."""

import pytest

from corpus.sessions.opening import connection_arguments

CHOSEN = {
    "host=one,two": "primary",
    "postgresql://one,two/db": "primary",
    "postgresql://one,two/db?target_session_attrs=any": None,
    "postgresql://one/db": None,
    "host=one": None,
    "": None,
    "no connection string": None,
}


@pytest.fixture(autouse=True)
def without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGTARGETSESSIONATTRS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("url", CHOSEN)
def test_of_several_hosts_the_primary_is_meant_unless_another_is_named(url: str) -> None:
    assert connection_arguments(url, "x").get("target_session_attrs") == CHOSEN[url]


def test_hosts_and_choice_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "one,two")
    assert connection_arguments("", "x")["target_session_attrs"] == "primary"
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "standby")
    assert "target_session_attrs" not in connection_arguments("", "x")
