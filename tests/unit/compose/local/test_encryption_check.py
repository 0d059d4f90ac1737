"""Remote means encrypted and verified, unless a setting says otherwise; loopback is not remote."""

from pathlib import Path

import pytest

from compose.local.checks import make_check
from compose.local.encryption_check import ENCRYPTION_CHECK
from corpus.errors import ConfigurationError
from workers.config.settings import load
from workers.config.ways import (
    is_remote,
    kafka_problems,
    open_staging,
    postgres_problems,
    require_safe,
    staging_problems,
    temporal_problems,
)

LOCAL = {
    "FRESHET_DATABASE_URL": "postgresql://u@127.0.0.1/d",
    "FRESHET_KAFKA_BOOTSTRAP": "localhost:9092",
    "TEMPORAL_ADDRESS": "[::1]:7233",
}
REMOTE = {
    "FRESHET_DATABASE_URL": "postgresql://u@db.example/d",
    "FRESHET_KAFKA_BOOTSTRAP": "127.0.0.1:9092,kafka.example:9092",
    "TEMPORAL_ADDRESS": "temporal.example:7233",
}


@pytest.mark.parametrize(
    ("host", "remote"),
    [
        *((host, False) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]")),
        *((host, False) for host in ("", "/run/postgresql", "@socket", "LOCALHOST.")),
        *((host, True) for host in ("db", "10.0.0.1", "192.168.1.1", "::2", "localhost.evil")),
    ],
)
def test_loopback_and_sockets_are_not_remote(host: str, remote: bool) -> None:
    assert is_remote(host) is remote


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        (None, "without encryption (sslmode=prefer)"),
        ("disable", "without encryption"),
        ("allow", "without encryption"),
        ("require", "not verified"),
        ("verify-ca", ""),
        ("verify-full", ""),
    ],
)
def test_postgres_is_verified(mode: str | None, says: str) -> None:
    problems = list(postgres_problems({"host": "127.0.0.1,db.example", "sslmode": mode}))
    assert len(problems) == bool(says)
    assert all(says in problem and "db.example" in problem for problem in problems)


def test_an_address_comes_before_the_name_of_postgres() -> None:
    assert not list(postgres_problems({"host": "db.example", "hostaddr": "127.0.0.1"}))
    assert list(postgres_problems({"host": "localhost", "hostaddr": "10.0.0.1"}))


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ({}, "without encryption"),
        ({"security.protocol": "SASL_PLAINTEXT"}, "without encryption"),
        ({"security.protocol": "SASL_SSL"}, ""),
        ({"security.protocol": "ssl"}, ""),
        ({"security.protocol": "ssl", "enable.ssl.certificate.verification": "false"}, "verified"),
        ({"security.protocol": "ssl", "ssl.endpoint.identification.algorithm": "none"}, "verified"),
    ],
)
def test_kafka_is_verified(properties: dict[str, str], says: str) -> None:
    problems = list(kafka_problems("localhost:9092,kafka.example:9092", properties))
    assert len(problems) == bool(says)
    assert all(says in problem and "kafka.example:9092" in problem for problem in problems)


def test_temporal_is_encrypted() -> None:
    address = "temporal.example:7233"
    assert list(temporal_problems(address, None))
    assert list(temporal_problems("", {"target_host": address, "tls": False}))
    assert not list(temporal_problems("", {"target_host": address, "tls": True}))
    assert not list(temporal_problems("", {"target_host": address, "api_key": "k"}))
    assert not list(temporal_problems("127.0.0.1:7233", None))


@pytest.mark.parametrize(
    ("url", "variables", "says"),
    [
        ("file:///staging", {"AWS_ENDPOINT": "http://minio:9000"}, ""),
        ("s3://b/p", {}, ""),
        ("s3://b/p", {"AWS_ENDPOINT": "http://127.0.0.1:9000"}, ""),
        ("s3://b/p", {"AWS_ENDPOINT": "https://minio.example"}, ""),
        ("s3://b/p", {"AZURE_ENDPOINT": "http://minio:9000"}, ""),
        ("s3://b/p", {"AWS_ENDPOINT": "http://minio:9000"}, "without encryption"),
        ("s3a://b/p", {"AWS_ENDPOINT_URL": "http://minio:9000"}, "without encryption"),
        ("S3://b/p", {"aws_endpoint_url_s3": "HTTP://minio:9000"}, "without encryption"),
        ("az://c/p", {"AZURE_STORAGE_ENDPOINT": "http://azurite:1"}, "without encryption"),
        ("http://dav.example/p", {}, "without encryption"),
        ("https://dav.example/p", {}, ""),
        ("s3://b/p", {"AWS_ALLOW_INVALID_CERTIFICATES": "true"}, "not verified"),
        (
            "s3://b/p",
            {"AWS_ALLOW_INVALID_CERTIFICATES": "1", "AWS_ENDPOINT": "https://minio"},
            "not verified",
        ),
        (
            "s3://b/p",
            {"AWS_ALLOW_INVALID_CERTIFICATES": "1", "AWS_ENDPOINT": "https://localhost"},
            "",
        ),
        ("s3://b/p", {"AWS_ALLOW_INVALID_CERTIFICATES": "false"}, ""),
    ],
)
def test_a_staging_store_is_verified(url: str, variables: dict[str, str], says: str) -> None:
    problems = list(staging_problems(url, variables))
    assert len(problems) == bool(says)
    assert all(says in problem for problem in problems)


def test_no_role_starts_on_a_way_that_is_not_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, REMOTE)
    monkeypatch.setenv("FRESHET_STAGING_URL", "s3://bucket/prefix")
    monkeypatch.setenv("AWS_ENDPOINT", "http://minio.example:9000")
    with pytest.raises(ConfigurationError) as caught:
        require_safe(load())
    for server in ("db.example", "kafka.example", "temporal.example", "minio.example"):
        assert server in str(caught.value)
    assert "FRESHET_ALLOW_PLAINTEXT=postgres,kafka,temporal,staging" in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"minio\.example.*PLAINTEXT=staging"):
        open_staging(load())
    monkeypatch.setenv("FRESHET_ALLOW_PLAINTEXT", "postgres,kafka,temporal,staging")
    require_safe(load())
    open_staging(load())


def set_all(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_doctor_names_each_server_and_the_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_all(monkeypatch, LOCAL)
    assert make_check(ENCRYPTION_CHECK, tmp_path).ok
    set_all(monkeypatch, REMOTE)
    made = make_check(ENCRYPTION_CHECK, tmp_path)
    assert not made.ok
    for host in ("db.example", "kafka.example", "temporal.example"):
        assert host in made.observed
    assert "FRESHET_ALLOW_PLAINTEXT" in made.remedy


def test_a_setting_allows_what_it_names_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_all(monkeypatch, REMOTE)
    monkeypatch.setenv("FRESHET_ALLOW_PLAINTEXT", "postgres, temporal")
    made = make_check(ENCRYPTION_CHECK, tmp_path)
    assert "kafka.example" in made.observed
    assert "db.example" not in made.observed
    monkeypatch.setenv("FRESHET_ALLOW_PLAINTEXT", "postgres,temporal,kafka")
    made = make_check(ENCRYPTION_CHECK, tmp_path)
    assert made.ok
    assert made.observed.endswith("postgres, kafka, temporal")
