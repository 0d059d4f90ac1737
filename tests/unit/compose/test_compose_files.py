"""The container files agree with the code: settings, versions, ports, namespaces, packages."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose.env_example import render
from compose.local.machine.ports import PORTS
from compose.local.parts import kafka, postgres, temporal
from compose.local.parts.java import KAFKA_VERSION
from compose.local.parts.role import ROLES
from compose.local.parts.schema_registry import REGISTRY_VERSION
from compose.local.parts.temporal_namespace import SEARCH_ATTRIBUTES
from compose.local.parts.temporal_program import CLI_VERSION
from compose.local.parts.variables import inherited_by
from corpus.database import MIN_PGVECTOR
from workers.config.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "compose"
COMPOSE = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
LISTED = [setting for setting in SETTINGS if not setting.name.endswith("_PASSWORD")]
SETTING_NAMES = {setting.name for setting in SETTINGS}


def test_compose_yaml_fits_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    completed = subprocess.run(
        [*command, str(FOLDER / "compose.yaml")], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_every_role_is_a_service() -> None:
    workers = [name for name, service in SERVICES.items() if "worker" in service.get("command", [])]
    assert workers == list(ROLES)
    for name in workers:
        assert SERVICES[name]["command"] == ["worker", name]


def test_ports_are_published_on_loopback_only_and_have_a_setting() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 6
    dashboard = SERVICES["grafana"]["ports"]
    assert dashboard == ["127.0.0.1:${GRAFANA_PORT:-13000}:3000"]
    for port in set(published) - set(dashboard):
        variable = re.fullmatch(r"127\.0\.0\.1:\$\{(\w+):-\d+\}:\d+", port)
        assert variable, port
        assert variable[1] in {*PORTS.values(), "FRESHET_SCHEMA_REGISTRY_PORT"}


def test_every_variable_of_ours_is_a_setting() -> None:
    named = set(re.findall(r"\bFRESHET_[A-Z_]+", COMPOSE))
    files = {f"{setting.name}_FILE" for setting in SETTINGS if setting.in_file}
    of_compose = {"FRESHET_VERSION", "FRESHET_READY_FILE", "FRESHET_SECRETS"}
    assert named - SETTING_NAMES - files == of_compose
    assert set(PORTS.values()) <= SETTING_NAMES


def test_versions_are_those_of_the_local_stack() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert SERVICES["temporal"]["image"] == f"temporalio/temporal:{CLI_VERSION.removeprefix('v')}"
    registry = SERVICES["schema-registry"]
    assert registry["image"] == f"apicurio/apicurio-registry:{REGISTRY_VERSION}"
    assert registry["profiles"] == ["registry"], "it runs only where it is asked for"
    image = re.fullmatch(
        r"pgvector/pgvector:(\d+)\.(\d+)\.(\d+)-pg18", SERVICES["postgres"]["image"]
    )
    assert image
    assert tuple(int(number) for number in image.groups()) >= MIN_PGVECTOR


def test_kafka_takes_records_of_the_same_size() -> None:
    environment = SERVICES["kafka"]["environment"]
    for name in ("KAFKA_MESSAGE_MAX_BYTES", "KAFKA_REPLICA_FETCH_MAX_BYTES"):
        assert environment[name] == str(kafka._RECORD_BYTES)


def test_temporal_has_the_same_options() -> None:
    command = set(SERVICES["temporal"]["command"])
    expected = {f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()}
    expected |= {f"--sqlite-pragma={pragma}" for pragma in temporal._PRAGMAS}
    expected |= {f"--dynamic-config-value={setting}" for setting in temporal._DYNAMIC}
    expected |= {"--namespace=freshet"}
    assert expected <= command


def test_postgres_has_the_same_memory_and_stops_fast() -> None:
    service = SERVICES["postgres"]
    settings = dict(word.split("=") for word in service["command"] if "=" in word)
    assert len(settings) == len(service["command"]) - 1
    for name, value in settings.items():
        name = name.removeprefix("--")
        assert postgres._SETTINGS[name] == value
    part = postgres.Postgres(home=Path("/home"), port=1)
    assert service["stop_signal"] == part.stop_signal.name


def test_nothing_runs_as_root_but_what_prepares_volumes() -> None:
    for name, service in SERVICES.items():
        if "build" in service:
            assert service["user"] == ("0:0" if name == "permissions" else "1000:1000")
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("package", ["corpus", "ingest", "freshness", "workers", "compose"])
def test_the_image_has_every_package(package: str) -> None:
    assert f"COPY {package} {package}\n" in (FOLDER / "Dockerfile").read_text(encoding="utf-8")


# ── env.example ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_env_example_is_current() -> None:
    assert (FOLDER / "env.example").read_text(encoding="utf-8") == render(), (
        "run: python -m compose.env_example > compose/env.example"
    )


def test_env_example_changes_nothing_until_a_line_is_uncommented() -> None:
    lines = render().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_every_setting_is_there_once_with_its_default() -> None:
    assignments = re.findall(r"^#([A-Z_]+)=(.*)$", render(), flags=re.MULTILINE)
    expected = [("FRESHET_SECRETS", "")]
    expected += [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")]
    expected += [(setting.name, setting.default) for setting in LISTED]
    assert assignments == expected


def test_secrets_are_marked() -> None:
    blocks = render().split("\n\n")
    for setting in LISTED:
        block = next(block for block in blocks if f"#{setting.name}=" in block)
        assert ("(secret)" in block) is setting.secret


def test_images_install_what_the_locks_name_by_hash() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    [command] = re.findall(r"^RUN (sed .*) > uv\.lock", dockerfile, re.MULTILINE)
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    first, *hashes = [line.strip(" \\") for line in done.stdout.splitlines()]
    assert first.startswith("uv==")
    assert hashes
    assert all(line.startswith("--hash=sha256:") for line in hashes)
    assert f"{first} \\\n" in (ROOT / "tools.lock").read_text(encoding="utf-8")
    for line in re.findall(r"(?:pip|uv pip) install .*", dockerfile):
        assert "--require-hashes" in line or "--constraint requirements.lock" in line, line
        assert "'.[" not in line or "--build-constraint tools.lock" in line, line


def test_every_package_and_tool_is_pinned_by_hash() -> None:
    for name in ("requirements.lock", "tools.lock"):
        text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", "")
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert len(lines) > 20
        for line in lines:
            assert re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


def test_make_fetches_nothing_without_a_lock() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    fetching = re.findall(r"^\t.*pip (?:install|sync) .*", makefile, re.MULTILINE)
    assert len(fetching) == 3
    for line in fetching:
        assert "--require-hashes" in line or "--build-constraint tools.lock" in line, line


# ── what each service gets ──────────────────────────────────────────────────────────────────────────────────────────

ANY_ROLE = {"payload_keys", "temporal_api_key"}
OF_KAFKA = {"kafka_properties", "kafka_password"}
OF_REGISTRY = {f"schema_registry_{name}" for name in ("login", "token", "ca", "certificate")}
SECRETS = {
    "postgres": {"owner_password"},
    "migrate": {"owner_password", "writer_password", "gateway_password"} | ANY_ROLE,
    "consumer": {"writer_password"} | OF_KAFKA | OF_REGISTRY | ANY_ROLE,
    "orchestrator": {"writer_password"} | OF_KAFKA | ANY_ROLE,
    "preparer": {"writer_password"} | OF_KAFKA | OF_REGISTRY | ANY_ROLE,
    "embedder": {"writer_password"} | ANY_ROLE,
    "storer": {"writer_password"} | ANY_ROLE,
    "gateway": {"gateway_password"} | ANY_ROLE,
}
# Libraries that read no file: the variables of the roles that use them.
BY_VALUE = {"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS"}
BY_VALUE |= {"GOOGLE_SERVICE_ACCOUNT_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AWS_ACCESS_KEY_ID"}
SECRET_NAME = re.compile(".*(PASSWORD|SECRET|TOKEN|KEY|KEY_ID|HEADERS)")


def test_each_service_sees_only_the_secrets_that_it_needs() -> None:
    seen = {
        name: set(service["secrets"]) for name, service in SERVICES.items() if "secrets" in service
    }
    assert seen == SECRETS
    for name, service in SERVICES.items():
        assert "env_file" not in service, name
        for value in (service.get("environment") or {}).values():
            for file in re.findall(r"/run/secrets/(\w+)", value or ""):
                assert file in SECRETS[name]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_gets_the_variables_that_it_gets_in_the_local_stack(role: str) -> None:
    names = set(SERVICES[role]["environment"])
    own = {"FRESHET_DATABASE_URL", "FRESHET_DATABASE_PASSWORD_FILE"}
    assert own <= names
    wanted = inherited_by(role)
    assert {name for name in names - own if not wanted.fullmatch(name)} == set()
    assert {name for name in names if SECRET_NAME.fullmatch(name)} <= BY_VALUE
    uses = ROLES[role].uses
    assert ("FRESHET_KAFKA_PROPERTIES" in names) is uses("Kafka")
    assert ("FRESHET_SCHEMA_REGISTRY_URL" in names) is uses("schema registry")
    assert ("AWS_SECRET_ACCESS_KEY" in names) is uses("staging")
    assert ("HF_TOKEN" in names) is uses("model files")
    mounts = SERVICES[role].get("volumes", [])
    assert any(mount.startswith("staging:") for mount in mounts) is uses("staging")


def test_every_setting_reaches_a_service_or_is_of_the_local_stack() -> None:
    reached = {name for role in ROLES for name in SERVICES[role]["environment"]}
    reached |= set(SERVICES["migrate"]["environment"])
    given_apart = {f"{name.removesuffix('_FILE')}" for name in reached if name.endswith("_FILE")}
    local = {*PORTS.values(), "FRESHET_SCHEMA_REGISTRY_PORT"}
    # TEMPORAL_NAMESPACE carries the one; `freshet apply` reads the other.
    local |= {"FRESHET_TEMPORAL_NAMESPACE", "FRESHET_NEXUS_ENDPOINT"}
    assert SETTING_NAMES - reached - given_apart - local == set()


def test_no_password_has_a_default_and_each_is_in_a_file() -> None:
    assert "POSTGRES_PASSWORD" not in SERVICES["postgres"]["environment"]
    secrets: dict[str, dict[str, str]] = yaml.safe_load(COMPOSE)["secrets"]
    assert set(secrets) == set().union(*SECRETS.values())
    for name, secret in secrets.items():
        assert set(secret) == {"file"}
        if name.endswith("_password") and name != "kafka_password":
            assert secret["file"] == f"${{FRESHET_SECRETS:-./secrets}}/{name}"
    for text in (COMPOSE, render()):
        assert not re.findall(r"://[^/\s$]*:[^/\s]*@", text)
