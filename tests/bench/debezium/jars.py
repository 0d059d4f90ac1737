"""Debezium's connector for PostgreSQL and Kafka Connect, and a converter to Avro, fetched once per user by Maven.

Each jar is pinned. Confluent's own converter is not on Maven Central; Apicurio's writes the same wire format.
"""

import shutil
from collections.abc import Sequence
from functools import partial
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
CONVERTER_VERSION = "2.6.13.Final"
_CONVERTER = (f"io.apicurio:apicurio-registry-utils-converter:{CONVERTER_VERSION}",)


def jars() -> Path:
    """The folder of the jars.

    Raises:
        DependencyError: there is no Maven, it cannot fetch them, or they are not the pinned ones.
    """
    return _pinned("debezium", DEBEZIUM_VERSION, _JARS, "jars.sha256")


def converter_jars() -> Path:
    """The folder of the jars of the converter.

    Raises:
        DependencyError: as `jars`.
    """
    name = "apicurio-converter"
    return _pinned(name, CONVERTER_VERSION, _CONVERTER, "converter.sha256")


def _pinned(name: str, version: str, wanted: Sequence[str], pins: str) -> Path:
    folder = fetched_once(name, version, partial(_fetch, wanted))
    lines = Path(__file__).with_name(pins).read_text(encoding="ascii").splitlines()
    pairs = (line.split() for line in lines)
    require_jars(folder, {name: digest for digest, name in pairs})
    return folder


def _fetch(wanted: Sequence[str], folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise DependencyError("Debezium's jars are fetched by Maven, and there is no mvn on PATH")
    copy_jars(maven, folder, wanted, mark="", purpose="fetch Debezium's jars")
