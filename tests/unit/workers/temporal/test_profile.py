"""Which Temporal server is meant."""

from pathlib import Path

import pytest

from corpus.errors import ConfigurationError
from workers.config.addresses import temporal_profile
from workers.config.settings import temporal_namespace


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable of Temporal's; a configuration file at the place where its tools look."""
    for name in ("ADDRESS", "PROFILE", "CONFIG_FILE", "NAMESPACE", "API_KEY", "TLS"):
        monkeypatch.delenv(f"TEMPORAL_{name}", raising=False)
    monkeypatch.delenv("FRESHET_TEMPORAL_NAMESPACE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "temporalio" / "temporal.toml"
    file.parent.mkdir()
    text = (
        '[profile.default]\naddress = "cloud:7233"\napi_key = "k"\n'
        '[profile.own]\naddress = "own:7233"\nnamespace = "docs"\n'
    )
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_that_nobody_named_is_left_alone() -> None:
    assert temporal_profile() is None
    assert temporal_namespace() == "freshet"


def test_a_profile_gives_address_and_namespace(
    monkeypatch: pytest.MonkeyPatch, environment: Path
) -> None:
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(environment))
    monkeypatch.setenv("TEMPORAL_PROFILE", "own")
    assert (temporal_profile() or {})["target_host"] == "own:7233"
    assert temporal_namespace() == "docs"


@pytest.mark.parametrize("name", ["TEMPORAL_NAMESPACE", "FRESHET_TEMPORAL_NAMESPACE"])
def test_a_variable_comes_before_the_profile(
    monkeypatch: pytest.MonkeyPatch, environment: Path, name: str
) -> None:
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(environment))
    monkeypatch.setenv("TEMPORAL_PROFILE", "own")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "other:7233")
    monkeypatch.setenv(name, "mine")
    assert (temporal_profile() or {})["target_host"] == "other:7233"
    assert temporal_namespace() == "mine"


def test_a_profile_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, environment: Path
) -> None:
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(environment))
    monkeypatch.setenv("TEMPORAL_PROFILE", "missing")
    with pytest.raises(ConfigurationError, match="'missing' not found"):
        temporal_profile()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("broken", b"x ="),
        ("odd", b"\xff\xfe"),
        ("other", b"profile = 3"),
        (
            "tls",
            b'[profile.default]\naddress = "a:1"\n'
            b'[profile.default.tls]\nclient_cert_path = "/nope"\nclient_key_path = "/nope"',
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: bytes
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    with pytest.raises(
        ConfigurationError, match=r"the Temporal profile that TEMPORAL_\* name"
    ) as caught:
        temporal_profile()
    assert "\n" not in str(caught.value)


def test_a_named_file_that_does_not_exist_is_not_another_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "missing.toml"))
    with pytest.raises(
        ConfigurationError, match=r"TEMPORAL_CONFIG_FILE='.*missing\.toml' is not a file"
    ):
        temporal_profile()
    monkeypatch.setenv("TEMPORAL_ADDRESS", "named:7233")
    assert (temporal_profile() or {})["target_host"] == "named:7233"


@pytest.mark.parametrize(
    "line",
    ["api_key = hunter2-canary", 'api_key = ["hunter2-canary"]', "api_key = 'hunter2-canary"],
)
def test_no_key_of_a_broken_file_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str
) -> None:
    file = tmp_path / "broken"
    file.write_text(f"[profile.default]\n{line}\n")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    with pytest.raises(ConfigurationError, match="line 2, column") as caught:
        temporal_profile()
    assert "hunter2" not in str(caught.value)


def test_a_key_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("first\n")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "own:7233")
    monkeypatch.setenv("TEMPORAL_API_KEY_FILE", str(file))
    assert (temporal_profile() or {})["api_key"] == "first"
    file.write_text("second")
    assert (temporal_profile() or {})["api_key"] == "second"
    monkeypatch.setenv("TEMPORAL_API_KEY", "third")
    with pytest.raises(ConfigurationError, match="keep one"):
        temporal_profile()
    monkeypatch.delenv("TEMPORAL_API_KEY")
    file.unlink()
    with pytest.raises(ConfigurationError, match=r"TEMPORAL_API_KEY_FILE=.* cannot be read"):
        temporal_profile()
