"""The container files say what the code says."""

import subprocess
import sys
from pathlib import Path

import yaml

from compose.env_example import render
from compose.local.parts.role import ROLES
from compose.local.parts.temporal import SEARCH_ATTRIBUTES

FOLDER = Path(__file__).resolve().parents[3] / "compose"


def services() -> dict[str, dict]:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]


def test_env_example_is_current() -> None:
    assert (FOLDER / "env.example").read_text() == render(), (
        "run: python -m compose.env_example > compose/env.example"
    )


def test_compose_yaml_fits_the_compose_specification() -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(FOLDER / "compose.yaml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_role_is_a_service() -> None:
    assert {
        name
        for name, service in services().items()
        if service.get("command", [""])[:1] == ["worker"]
    } == set(ROLES)


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in services().values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_temporal_has_our_search_attributes() -> None:
    command = services()["temporal"]["command"]
    assert {f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()} <= set(
        command
    )
