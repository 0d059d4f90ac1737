"""Settings: each wrong value is one clear error with the setting's name.

Also where a value comes from, and what no error shows.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import ConfigurationError, DependencyError, FreshetError
from tests.unit.workers.config.wrong_servers import OF_REGISTRY, OF_REPLICA
from workers.cli.console import ExitCode, exit_code_and_message
from workers.config import readers
from workers.config.addresses import default_home
from workers.config.settings import SETTINGS, Settings, kafka_properties, load, temporal_namespace

ADDRESSES = {
    "FRESHET_DATABASE_URL": "postgresql://freshet@localhost/freshet",
    "FRESHET_KAFKA_BOOTSTRAP": "localhost:9092",
    "TEMPORAL_ADDRESS": "localhost:7233",
}
# At least one wrong value of every setting. "%" stands for a folder that exists.
WRONG = {
    "FRESHET_HOME": ["~no-such-user-here/x"],
    "FRESHET_DATABASE_URL": [
        *("nonsense", "postgresql://[", "=", "host='x", "a=b", "postgresql://u:p@ss@h/d"),
    ],
    "FRESHET_WRITER_DATABASE_URL": ["nonsense", "postgresql://["],
    "FRESHET_GATEWAY_DATABASE_URL": ["nonsense", "host='x"],
    "FRESHET_KAFKA_BOOTSTRAP": [
        "a b",
        ",",
        "a:b",
        "a:9092,,b:9092",
        "host=x",
        "a:999999",
        "http:/x",
    ],
    "FRESHET_KAFKA_PROPERTIES": ["%/missing", "%", "\x01"],
    "FRESHET_DATABASE_PASSWORD": ["\udcff"],
    "FRESHET_WRITER_DATABASE_PASSWORD": ["\udcff"],
    "FRESHET_GATEWAY_DATABASE_PASSWORD": ["\udcff"],
    "FRESHET_KAFKA_PASSWORD": ["\udcff"],
    "FRESHET_KAFKA_GROUP": [" ", "\t", "\udcff"],
    "FRESHET_STAGING_URL": ["staging", "/var/staging", "://x", "s3:", "\udcff", "s3://k:s@b"],
    "FRESHET_TEMPORAL_NAMESPACE": ["a b", "-a", "a/b", "ü", "x" * 201],
    "FRESHET_NEXUS_ENDPOINT": ["a", "1a", "a_b", "a-", "a b", "x" * 201],
    "FRESHET_DEVICE": ["gpu", "cuda:", "cuda:x", "CPU", "cpu ", "cuda:1000"],
    "FRESHET_PRECISION": ["fp16", "BF16", "auto "],
    "FRESHET_EMBED_THREADS": ["-1", "x", "1.5", "1000000", " 1", "1_0", "²", "٣"],
    "FRESHET_EMBED_BATCH": ["-1", "x", "1e3", "0x1"],
    "FRESHET_EMBED_SHARD": ["0", "-1", "x", "00"],
    "FRESHET_EMBED_BACKEND": ["tf", "Torch"],
    "FRESHET_PREPARE_PROCESSES": ["0", "x", "+1"],
    "FRESHET_PREPARE_MEMORY": ["0", "999", "4GB", "x"],
    "FRESHET_POSTGRES_PORT": ["0", "65536", "x", "-1", "5432.0"],
    "FRESHET_KAFKA_PORT": ["0", "65536"],
    "FRESHET_KAFKA_CONTROLLER_PORT": ["0", "65536"],
    "FRESHET_TEMPORAL_PORT": ["0", "65536"],
    "FRESHET_TEMPORAL_UI_PORT": ["0", "65536"],
    "FRESHET_LOG_LEVEL": ["info", "TRACE", "10"],
    "FRESHET_LOG_FORMAT": ["JSON", "yaml"],
}
# A file of keys is read by what connects to Temporal: tests/unit/workers/temporal/test_codec.py.
WRONG |= {
    "FRESHET_METRICS_PORT": ["0", "65536", "x"],
    "FRESHET_METRICS_HOST": ["localhost", "1.2.3", "::g"],
    "FRESHET_TEAM_KEYS": ["keys", "./keys", "~/keys"],
}
WRONG |= {"FRESHET_ALLOW_PLAINTEXT": ["redis", "kafka,", "postgres;kafka", "Kafka"]}
WRONG |= OF_REGISTRY | OF_REPLICA
READ_LATER = {"FRESHET_PAYLOAD_KEYS", "FRESHET_RERANK_MODEL"}
AT_THE_LIMIT = {
    "FRESHET_EMBED_THREADS": ["0", "999999", "007"],
    "FRESHET_EMBED_SHARD": ["1", "999999"],
    "FRESHET_PREPARE_PROCESSES": ["1"],
    "FRESHET_POSTGRES_PORT": ["1", "65535"],
    "FRESHET_METRICS_HOST": ["0.0.0.0", "::1"],
    "FRESHET_NEXUS_ENDPOINT": ["ab", "freshet-corpus-2", "x" * 200],
    "FRESHET_DEVICE": ["auto", "cpu", "cuda", "cuda:1", "mps", "xpu:0"],
    "FRESHET_TEMPORAL_NAMESPACE": ["a", "team.acct", "x" * 200],
    "FRESHET_KAFKA_BOOTSTRAP": [
        *["kafka", "kafka:9092", "a:1,b:2", "a:1, b:2", "[::1]:9092"],
        *["127.0.0.1:9092", "SASL_SSL://kafka.example:9093"],
    ],
    "FRESHET_STAGING_URL": ["file:///x", "s3://bucket/prefix", "gs://b", "file:///with space"],
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every address is set, and nothing else."""
    for name in ("TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE", "TEMPORAL_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FRESHET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name, value in ADDRESSES.items():
        monkeypatch.setenv(name, value)


def cases(values: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, each in values.items() for value in each]


def test_every_setting_has_a_wrong_value_here() -> None:
    assert {setting.name for setting in SETTINGS} == {*WRONG, *READ_LATER}


@pytest.mark.parametrize(("name", "value"), cases(WRONG), ids=lambda text: ascii(text)[1:30])
def test_a_wrong_value_names_its_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value.replace("%", str(tmp_path)))
    with pytest.raises(ConfigurationError, match=f"^{name}") as caught:
        load()
    code, message = exit_code_and_message(caught.value)
    assert code is ExitCode.USAGE
    assert message.startswith(name)
    assert "\n" not in message


@pytest.mark.parametrize(("name", "value"), cases(AT_THE_LIMIT), ids=lambda text: text[:30])
def test_a_value_at_its_limit_is_taken(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    field = name.removeprefix("FRESHET_").lower()
    resolved = getattr(load(), field)
    assert str(resolved) == (str(int(value)) if isinstance(resolved, int) else value)


def test_an_empty_value_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in SETTINGS:
        if setting.name not in ADDRESSES:
            monkeypatch.setenv(setting.name, "")
    settings = load()
    assert (settings.kafka_group, settings.device, settings.embed_shard) == ("freshet", "auto", 128)
    assert settings.kafka_properties == {}
    assert settings.postgres_port is None


def test_every_default_can_be_read() -> None:
    for setting in SETTINGS:
        if setting.default:
            setting.parse(setting.default)


# ── addresses ───────────────────────────────────────────────────────────────────────────────────────────────────────


def stack_file(home: Path, content: str | bytes) -> Path:
    home.mkdir(exist_ok=True)
    path = home / "stack.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return home


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("FRESHET_DATABASE_URL", "PostgreSQL"),
        ("FRESHET_KAFKA_BOOTSTRAP", "Kafka"),
        ("TEMPORAL_ADDRESS", "Temporal"),
    ],
)
def test_an_address_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, service: str
) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(DependencyError, match=f"no address of {service}: .*{name}") as caught:
        load()
    assert exit_code_and_message(caught.value)[0] is ExitCode.UNAVAILABLE


def test_the_local_stack_gives_what_is_not_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ADDRESSES:
        monkeypatch.delenv(name)
    addresses = {
        "database_url": "host=stack",
        "kafka_bootstrap": "stack:1",
        "temporal_address": "stack:2",
        "staging_url": "file:///stack",
        "temporal_ui": "",
    }
    home = stack_file(tmp_path / "stack", json.dumps({"addresses": addresses}))
    settings = load(home)
    assert settings.home == home
    assert settings.database_url == "host=stack"
    assert settings.kafka_bootstrap == "stack:1"
    assert settings.temporal_address == "stack:2"
    assert settings.staging_url == "file:///stack"
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "mine:1")
    assert load(home).kafka_bootstrap == "mine:1"


def test_libpq_names_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRESHET_DATABASE_URL")
    monkeypatch.setenv("PGSERVICE", "corpus")
    assert load().database_url == ""


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", "null", '{"addresses": []}', '{"addresses": null}', b"\xff", "[" * 90_000],
    ids=lambda content: str(content)[:20],
)
def test_a_damaged_stack_file_is_one_clear_error(tmp_path: Path, content: str | bytes) -> None:
    home = stack_file(tmp_path / "stack", content)
    with pytest.raises(ConfigurationError, match=r"stack\.json .*`freshet down`"):
        load(home)


@pytest.mark.parametrize("content", ["{}", '{"addresses": {}}', '{"addresses": {"x": 3}}'])
def test_a_stack_file_without_addresses_is_no_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    monkeypatch.delenv("FRESHET_KAFKA_BOOTSTRAP")
    with pytest.raises(DependencyError, match="no address of Kafka"):
        load(stack_file(tmp_path / "stack", content))


def test_a_home_that_is_a_file_is_no_stack(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert load(file).home == file


def test_without_a_home_directory_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FRESHET_HOME")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ConfigurationError, match="FRESHET_HOME"):
        default_home()


def test_the_state_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FRESHET_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_home() == tmp_path / "freshet"


def test_a_wrong_namespace_is_named_before_the_addresses_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FRESHET_TEMPORAL_NAMESPACE", "a b")
    with pytest.raises(ConfigurationError, match="FRESHET_TEMPORAL_NAMESPACE='a b'"):
        temporal_namespace()


# ── Kafka's properties ──────────────────────────────────────────────────────────────────────────────────────────────


def properties_of(path: Path, content: bytes) -> dict[str, str]:
    path.write_bytes(content)
    return readers.properties(str(path))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", {}),
        (b"# only\n\n   \n", {}),
        (b"a=1\nb = 2 \n", {"a": "1", "b": "2"}),
        (b"a=1\r\nb=2\r\n", {"a": "1", "b": "2"}),
        (b"\xef\xbb\xbfa=1\n", {"a": "1"}),
        (b"  # indented\na=1", {"a": "1"}),
        (b"sasl.password=a=b#c", {"sasl.password": "a=b#c"}),
        (b"a=", {"a": ""}),
        (b"a=1\na=2", {"a": "2"}),
        # Characters that Python takes for the end of a line, and a password may hold.
        ("a=x\x0by\x0cz\x1c\x85\u2028w".encode(), {"a": "x\x0by\x0cz\x1c\x85\u2028w"}),
        ("a=pässwörd\U0001f511".encode(), {"a": "pässwörd\U0001f511"}),
    ],
    ids=range(11),
)
def test_properties(tmp_path: Path, content: bytes, expected: dict[str, str]) -> None:
    assert properties_of(tmp_path / "p", content) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfea\x00", "cannot be read"),
        (b"a=1\nsecret", "line 2: it is not name=value"),
        (b"=secret", "line 1: it is not name=value"),
        (b" = secret", "line 1: it is not name=value"),
        (b"a=secret\x00", r"line 1: it holds the character U\+0000"),
        (b"\x00", "line 1"),
        (b"a=1\ncheck.crcs=true", "line 2: check.crcs is not supported"),
    ],
    ids=range(7),
)
def test_a_wrong_properties_file_names_the_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "p").write_bytes(content)
    monkeypatch.setenv("FRESHET_KAFKA_PROPERTIES", str(tmp_path / "p"))
    with pytest.raises(ConfigurationError, match=f"^FRESHET_KAFKA_PROPERTIES=.*{message}"):
        kafka_properties()


def test_a_secret_is_in_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = "correct-horse"
    file = tmp_path / "p"
    wrong: dict[str, Any] = {
        "FRESHET_DATABASE_URL": f"postgresql://u:{secret}@[",
        "FRESHET_KAFKA_PROPERTIES": str(file),
    }
    file.write_text(f"sasl.password {secret}\n")
    for name, value in wrong.items():
        with monkeypatch.context() as context:
            context.setenv(name, value)
            with pytest.raises(FreshetError) as caught:
                load()
            chain: BaseException | None = caught.value
            while chain is not None:
                assert secret not in str(chain)
                chain = chain.__cause__


def test_settings_are_declared_once() -> None:
    """Every field but the address that Temporal's own configuration gives."""
    names = {f"FRESHET_{field.upper()}" for field in Settings.__dataclass_fields__}
    assert names - {setting.name for setting in SETTINGS} == {"FRESHET_TEMPORAL_ADDRESS"}
    assert all(setting.help for setting in SETTINGS)


# ── secrets in files ────────────────────────────────────────────────────────────────────────────────────────────────


def secret_file(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_database_url_and_its_password_may_be_in_files_that_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FRESHET_DATABASE_URL")
    url = secret_file(tmp_path / "url", "postgresql://u:old@h/d\n")
    monkeypatch.setenv("FRESHET_DATABASE_URL_FILE", url)
    settings = load()
    assert settings.database_url == "postgresql://u:old@h/d"
    secret_file(tmp_path / "url", "postgresql://u:replaced@h/d")
    assert settings.database_url == "postgresql://u:replaced@h/d"
    password = secret_file(tmp_path / "password", "first")
    monkeypatch.setenv("FRESHET_DATABASE_PASSWORD_FILE", password)
    settings = load()
    assert "password=first" in settings.database_url.reveal()
    secret_file(tmp_path / "password", "second one")
    assert "password='second one'" in settings.database_url.reveal()
    assert "second" not in repr(settings)


def test_the_local_stack_keeps_its_own_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FRESHET_DATABASE_URL")
    monkeypatch.setenv("FRESHET_DATABASE_PASSWORD", "of another server")
    home = stack_file(tmp_path / "stack", json.dumps({"addresses": {"database_url": "host=stack"}}))
    assert load(home).database_url == "host=stack"
    monkeypatch.setenv("PGSERVICE", "corpus")
    assert load(home).database_url == "password='of another server'"


def test_kafka_s_password_comes_before_that_of_the_properties(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    properties = secret_file(tmp_path / "p", "sasl.username=u\nsasl.password=old")
    monkeypatch.setenv("FRESHET_KAFKA_PROPERTIES", properties)
    monkeypatch.setenv("FRESHET_KAFKA_PASSWORD_FILE", secret_file(tmp_path / "k", "new"))
    assert kafka_properties() == {"sasl.username": "u", "sasl.password": "new"}
    secret_file(tmp_path / "k", "newer")
    assert kafka_properties()["sasl.password"] == "newer"
    assert "newer" not in repr(load())


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.in_file], ids=lambda s: s.name)
def test_a_wrong_file_of_a_secret_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: Any
) -> None:
    monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setenv(f"{setting.name}_FILE", str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match=f"^{setting.name}_FILE=.*No such file"):
        load()
    monkeypatch.setenv(f"{setting.name}_FILE", secret_file(tmp_path / "empty", "\n"))
    with pytest.raises(ConfigurationError, match=f"^{setting.name}_FILE=.*is empty"):
        load()
    monkeypatch.setenv(setting.name, "host=a")
    with pytest.raises(ConfigurationError, match="are set; keep one"):
        load()
