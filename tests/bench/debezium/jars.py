"""Debezium's connector for PostgreSQL and Kafka Connect, fetched once per user by Maven; each jar is pinned."""

import shutil
from pathlib import Path

from compose.local.parts.maven import copy_jars, fetched_once
from compose.local.parts.pins import require_jars
from corpus.errors import DependencyError

DEBEZIUM_VERSION = "3.6.1.Final"
# The embedded engine brings Kafka Connect's own runtime along.
_JARS = (
    f"io.debezium:debezium-api:{DEBEZIUM_VERSION}",
    f"io.debezium:debezium-embedded:{DEBEZIUM_VERSION}",
    f"io.debezium:debezium-connector-postgres:{DEBEZIUM_VERSION}",
    "org.slf4j:slf4j-simple:1.7.36",
)
_PINS = Path(__file__).with_name("jars.sha256")


def jars() -> Path:
    """The folder of the jars.

    Raises:
        DependencyError: there is no Maven, it cannot fetch them, or they are not the pinned ones.
    """
    folder = fetched_once("debezium", DEBEZIUM_VERSION, _fetch)
    pairs = (line.split() for line in _PINS.read_text(encoding="ascii").splitlines())
    require_jars(folder, {name: digest for digest, name in pairs})
    return folder


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise DependencyError("Debezium's jars are fetched by Maven, and there is no mvn on PATH")
    copy_jars(maven, folder, _JARS, mark="", purpose="fetch Debezium's jars")
