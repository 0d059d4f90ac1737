"""Each role connects with its own login, where it has one."""

import json
from pathlib import Path

import pytest

from workers.config.settings import load, of_role

ADDRESSES = {
    "kafka_bootstrap": "localhost:9092",
    "temporal_address": "localhost:7233",
    "database_url": "host=owner",
    "writer_database_url": "host=writer",
    "gateway_database_url": "host=gateway",
}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A local stack with two logins."""
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE", "PGHOST"):
        monkeypatch.delenv(name, raising=False)
    for name in ("DATABASE_URL", "WRITER_DATABASE_URL", "GATEWAY_DATABASE_URL"):
        monkeypatch.delenv(f"FRESHET_{name}", raising=False)
    monkeypatch.setenv("FRESHET_HOME", str(tmp_path))
    (tmp_path / "stack.json").write_text(json.dumps({"addresses": ADDRESSES}), encoding="utf-8")
    return tmp_path


def urls() -> list[str]:
    return [of_role(load(), role).database_url.reveal() for role in ("storer", "gateway")]


def test_the_local_stack_has_a_login_for_each() -> None:
    assert load().database_url == "host=owner"
    assert urls() == ["host=writer", "host=gateway"]


@pytest.mark.parametrize("ending", ["", "_FILE"])
def test_another_server_has_those_that_are_given(
    monkeypatch: pytest.MonkeyPatch, home: Path, ending: str
) -> None:
    path = home / "url"
    path.write_text("host=other", encoding="utf-8")
    value = str(path) if ending else "host=other"
    monkeypatch.setenv(f"FRESHET_DATABASE_URL{ending}", value)
    assert urls() == ["host=other", "host=other"]
    monkeypatch.setenv("FRESHET_WRITER_DATABASE_URL", "host=w")
    assert urls() == ["host=w", "host=w"]
    monkeypatch.setenv("FRESHET_GATEWAY_DATABASE_URL", "host=g")
    assert urls() == ["host=w", "host=g"]


def test_a_login_in_a_file_is_read_again(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    path = home / "url"
    path.write_text("host=w password=first", encoding="utf-8")
    monkeypatch.setenv("FRESHET_WRITER_DATABASE_URL_FILE", str(path))
    url = of_role(load(), "storer").database_url
    path.write_text("host=w password=second_one", encoding="utf-8")
    assert url == "host=w password=second_one"
    assert "second" not in repr(load())
